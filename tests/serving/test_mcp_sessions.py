"""Sessions for hosts of MCP 2025-11-25 and before, whose people can be asked through them."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import anyio
import httpx2 as httpx
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from pydantic import SecretStr
from starlette.types import Message, Scope

from neptun_mcp import Settings
from neptun_mcp.neptun.time_limit import TimeLimit
from neptun_mcp.sandbox import COOKIE
from neptun_mcp.serving import mcp_sessions, process
from neptun_mcp.serving.http import build_asgi_app
from neptun_mcp.tools import context
from tests.processes import environment
from tests.running_neptun import BOB_COOKIE
from tests.serving.support import (
    ASKABLE,
    DELETE_IMPORT,
    HEADERS,
    LIST_FILES,
    LIST_IMPORTS,
    REMOTE,
    STARTED,
    TOKEN,
    Caller,
    HeldNeptun,
    content_in,
    error_in,
    listen,
    start_in_process,
    worker,
)
from tests.sign_in.support import sign_in_server
from tests.support import NO, PATIENCE, YES, Json, Person, Site, content_of, error_of, http_client, until

pytestmark = pytest.mark.anyio

ERA = "2025-11-25"
EVENTS = {"Accept": "application/json, text/event-stream"}
INITIALIZE: Json = {
    "protocolVersion": ERA,
    "capabilities": ASKABLE,
    "clientInfo": {"name": "test", "version": "1"},
}
ALICE = {"Neptun-Session": COOKIE}


@asynccontextmanager
async def connected(caller: Caller, person: Person | None) -> AsyncGenerator[Client]:
    """The SDK's client, and the person who can be asked, if any."""
    http = http_client()
    transport = streamable_http_client(f"{caller.url}/mcp", http_client=http)
    async with http, Client(transport, mode="legacy", elicitation_callback=person) as client:
        assert client.protocol_version == ERA
        yield client


@dataclass
class Session:
    """A session, in which each request is sent as a test says."""

    caller: Caller
    headers: dict[str, str]
    calls: int = 0

    @classmethod
    async def begin(cls, caller: Caller, **headers: str) -> Session:
        begun = cls(caller, {**headers, **EVENTS})
        response = await begun.post("initialize", INITIALIZE)
        assert response.status_code == 200
        begun.headers["Mcp-Session-Id"] = response.headers["mcp-session-id"]
        return begun

    def message(self, method: str, params: Json) -> Json:
        self.calls += 1
        body = {"jsonrpc": "2.0", "id": self.calls, "method": method, "params": params}
        return {"json": body, "headers": self.headers}

    async def post(self, method: str, params: Json) -> httpx.Response:
        return await self.caller.http.post(f"{self.caller.url}/mcp", **self.message(method, params))

    async def status(self) -> int:
        return (await self.post("tools/list", {})).status_code

    async def end(self) -> int:
        return (await self.caller.http.delete(f"{self.caller.url}/mcp", headers=self.headers)).status_code

    async def answer(self, question: Json, **content: object) -> int:
        """Fill in the form, or agree to what was asked."""
        result = {"action": "accept", "content": content or {"delete": True}}
        reply = {"jsonrpc": "2.0", "id": question["id"], "result": result}
        return (await self.caller.http.post(f"{self.caller.url}/mcp", json=reply, headers=self.headers)).status_code

    @asynccontextmanager
    async def calling(self, tool: str, arguments: Json) -> AsyncGenerator[AsyncGenerator[Json]]:
        """What the server sends while it answers a call."""
        message = self.message("tools/call", {"name": tool, "arguments": arguments})
        async with self.caller.http.stream("POST", f"{self.caller.url}/mcp", **message) as response:
            yield (json.loads(line[5:]) async for line in response.aiter_lines() if line.startswith("data:"))


async def test_the_person_is_asked(site: Site) -> None:
    person = Person(NO, YES)
    async with start_in_process(site, session_cookie=COOKIE) as caller, connected(caller, person) as client:
        assert not content_of(await client.call_tool("delete_import", DELETE_IMPORT))["deleted"]
        assert content_of(await client.call_tool("delete_import", DELETE_IMPORT))["deleted"]
    assert len(person.questions) == 2
    assert len(site.deletions()) == 1


@pytest.mark.parametrize("capabilities", [{}, {"elicitation": {"url": {}}}, {"elicitation": "yes"}])
async def test_a_host_that_cannot_ask_is_given_none(site: Site, capabilities: Json) -> None:
    async with start_in_process(site, session_cookie=COOKIE) as caller:
        opening = Session(caller, EVENTS)
        response = await opening.post("initialize", {**INITIALIZE, "capabilities": capabilities})
        assert "mcp-session-id" not in response.headers


async def test_from_a_host_that_cannot_ask_nothing_is_deleted(site: Site) -> None:
    async with start_in_process(site, session_cookie=COOKIE) as caller, connected(caller, None) as client:
        assert content_of(await client.call_tool("list_imports", LIST_IMPORTS))["total"] == 7
        refused = error_of(await client.call_tool("delete_import", DELETE_IMPORT))
    assert refused.endswith("It can be deleted on the Neptun website, or from a host that asks.")
    assert site.deletions() == []


async def test_without_a_session_the_same_server_answers_too(site: Site) -> None:
    async with start_in_process(site, session_cookie=COOKIE) as caller:
        for era in (ERA, "2026-07-28"):
            caller.era = era
            response = await caller.post("tools/call", {"name": "list_imports", "arguments": LIST_IMPORTS})
            assert content_in(response.json())["total"] == 7
            assert "mcp-session-id" not in response.headers
        caller.era = ERA
        assert "the person has to agree" in error_in(await caller.call("delete_import", DELETE_IMPORT))
    assert site.deletions() == []


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, True),
        ({"mcp_sessions": False}, False),
        ({"mcp_allowed_hosts": "mcp.example.com", "mcp_token": TOKEN}, False),
        ({"mcp_allowed_hosts": "mcp.example.com", "mcp_token": TOKEN, "mcp_sessions": True}, True),
    ],
)
async def test_sessions_are_kept_where_one_process_serves(site: Site, settings: Json, kept: bool) -> None:
    async with start_in_process(site, session_cookie=COOKIE, **settings) as caller:
        host = settings.get("mcp_allowed_hosts", "127.0.0.1")
        caller.headers = {"Host": host, "Authorization": f"Bearer {TOKEN}", **EVENTS}
        caller.era = ERA
        response = await caller.post("initialize", INITIALIZE)
        assert ("mcp-session-id" in response.headers) == kept
        get = await caller.http.get(f"{caller.url}/mcp", headers=caller.headers)
        assert (get.status_code, get.headers["allow"]) == (405, "POST, DELETE" if kept else "POST")


async def test_a_session_is_its_owners(site: Site) -> None:
    async with start_in_process(site, mcp_credentials="caller") as caller:
        alices = await Session.begin(caller, **ALICE)
        bobs = Session(caller, {**alices.headers, "Neptun-Session": BOB_COOKIE})
        async with alices.calling("delete_import", DELETE_IMPORT) as events:
            question = await anext(events)
            assert (await bobs.answer(question), await bobs.status(), await bobs.end()) == (404, 404, 404)
            assert await alices.answer(question) == 202
            assert content_in(await anext(events))["deleted"]
        assert (await alices.status(), await alices.end(), await alices.status()) == (200, 200, 404)


async def test_a_question_keeps_no_call_waiting(site: Site) -> None:
    async with start_in_process(site, mcp_credentials="caller", max_connections=1) as caller:
        session = await Session.begin(caller, **ALICE)
        delete = partial(session.calling, "delete_import", DELETE_IMPORT)
        async with delete() as first, delete() as second:
            question, other = await anext(first), await anext(second)
            assert await session.status() == 200
            await session.answer(question)
            assert content_in(await anext(first))["deleted"]
            await session.answer(other)
            assert "no longer in project 1" in error_in(await anext(second))


async def test_the_time_of_a_call_is_without_that_of_the_person(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async with start_in_process(site, mcp_credentials="caller") as caller:
        session = await Session.begin(caller, **ALICE)
        began = perf_counter()
        async with session.calling("delete_import", DELETE_IMPORT) as events:
            question = await anext(events)
            asked = perf_counter()
            await anyio.sleep(0.2)
            answered = perf_counter()
            await session.answer(question)
            assert content_in(await anext(events))["deleted"]
        took = perf_counter() - began - (answered - asked)
    (call,) = [record.__dict__["fields"] for record in caplog.records if record.name == "neptun_mcp.calls"]
    assert 0 < call["ms"] <= took * 1000


async def test_an_answer_arrives_while_calls_wait(site: Site) -> None:
    neptun = HeldNeptun(site)
    async with start_in_process(site, mcp_credentials="caller", max_connections=1) as caller:
        session = await Session.begin(caller, **ALICE)
        async with session.calling("delete_import", DELETE_IMPORT) as events, anyio.create_task_group() as tasks:
            question = await anext(events)
            tasks.start_soon(session.post, "tools/call", {"name": "list_resources", "arguments": LIST_FILES})
            await until(lambda: neptun.held == 1)
            assert await session.answer(question) == 202
            assert site.deletions() == [], "the call goes on when it has a turn again"
            neptun.released = True
            assert content_in(await anext(events))["deleted"]


async def test_what_a_call_waits_after_a_question_counts_against_its_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    neptun, limits = HeldNeptun(site), list[float]()

    def noted(seconds: float) -> TimeLimit:
        limits.append(seconds)
        return TimeLimit(seconds)

    monkeypatch.setattr(context, "TimeLimit", noted)
    async with start_in_process(site, mcp_credentials="caller", max_connections=1) as caller:
        session = await Session.begin(caller, **ALICE)
        await session.post("tools/call", {"name": "list_imports", "arguments": LIST_IMPORTS})  # then it is known whose
        async with session.calling("list_imports", {}) as events, anyio.create_task_group() as tasks:
            question = await anext(events)
            (form,) = question["params"]["requestedSchema"]["properties"].values()
            tasks.start_soon(session.post, "tools/call", {"name": "list_resources", "arguments": LIST_FILES})
            await until(lambda: neptun.held == 1)
            await session.answer(question, project=form["enum"][0])
            await anyio.wait_all_tasks_blocked()
            neptun.released = True
            assert content_in(await anext(events))["imports"]
    assert limits[-1] < limits[0]


async def test_a_call_ends_with_its_connection(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with start_in_process(site, mcp_credentials="caller", max_connections=1) as caller:
        session = await Session.begin(caller, **ALICE)
        async with session.calling("delete_import", DELETE_IMPORT) as events:
            question = await anext(events)
        await until(lambda: "neptun_mcp.audit" in {record.name for record in caplog.records})
        await session.answer(question)
        assert await session.status() == 200
    assert site.deletions() == []


async def test_whose_sign_in_has_ended_is_told_to_sign_in_again(site: Site) -> None:
    store = site.sandbox()
    async with sign_in_server(site, mcp_sessions=True) as server:
        caller = server.caller(await server.tokens())
        session = await Session.begin(caller, **{name: str(value) for name, value in caller.headers.items()})
        call: Json = {"name": "list_imports", "arguments": LIST_IMPORTS}
        assert (await session.post("tools/call", call)).status_code == 200
        store.sessions.clear()
        refused = await session.post("tools/call", call)
        assert refused.status_code == 401
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]


async def test_an_unused_session_ends(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mcp_sessions, "IDLE_SECONDS", 1)  # a session that begins is not to end meanwhile
    async with start_in_process(site, session_cookie=COOKIE) as caller:
        session = await Session.begin(caller)
        await anyio.sleep(1.5)
        ended = await session.post("tools/list", {})
        assert ended.status_code == 404
        assert "The host has to connect to the server again" in ended.json()["error"]["message"]
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "neptun_mcp.requests"]
    assert warning.startswith("refused: it is in an unknown MCP session")
    assert session.headers["Mcp-Session-Id"] not in caplog.text


async def test_of_too_many_sessions_the_one_not_used_for_longest_ends(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp_sessions, "MAX_SESSIONS", 2)
    async with start_in_process(site, session_cookie=COOKIE) as caller:
        first, second = await Session.begin(caller), await Session.begin(caller)
        assert await first.status() == 200
        third = await Session.begin(caller)
        assert [await session.status() for session in (first, second, third)] == [200, 404, 200]
        await third.end()
        fourth = await Session.begin(caller)
        assert [await session.status() for session in (first, fourth)] == [200, 200]


async def test_who_begins_many_sessions_ends_their_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_sessions, "MAX_SESSIONS", 2)
    async with start_in_process(site, mcp_credentials="caller") as caller:
        for cookie in (COOKIE, BOB_COOKIE):  # until Neptun has said whose they are, they count together
            caller.headers = {"Neptun-Session": cookie}
            await caller.call("list_imports", {})
        alices = await Session.begin(caller, **ALICE)
        bobs = [await Session.begin(caller, **{"Neptun-Session": BOB_COOKIE}) for _ in range(3)]
        assert [await session.status() for session in (alices, *bobs)] == [200, 404, 404, 200]


async def test_what_a_session_begins_with_is_not_kept_at_any_length(site: Site) -> None:
    long: Json = {
        **INITIALIZE,
        "capabilities": {**ASKABLE, "experimental": {"x": {"y": [[]] * mcp_sessions.MAX_INITIALIZE}}},
    }
    async with start_in_process(site, session_cookie=COOKIE) as caller:
        begun = await Session(caller, EVENTS).post("initialize", long)
        assert (begun.status_code, "mcp-session-id" in begun.headers) == (200, False)


async def test_sessions_of_which_nobody_heard_count_too(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The application is called as an ASGI server does whose client is gone."""
    caplog.set_level(logging.INFO, "mcp.server")
    monkeypatch.setattr(mcp_sessions, "MAX_SESSIONS", 2)
    app = build_asgi_app(Settings(base_url=site.url, session_cookie=SecretStr(COOKIE)), "127.0.0.1")
    request = httpx.Request(
        "POST",
        "http://localhost/mcp",
        json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE},
        headers=EVENTS,
    )
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    scope: Scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers, "query_string": b""}

    async def give_up() -> None:
        messages: list[Message] = [{"type": "http.disconnect"}, {"type": "http.request", "body": request.read()}]

        async def receive() -> Message:
            return messages.pop() if len(messages) > 1 else messages[0]

        await app(scope, receive, send_nowhere)

    async def send_nowhere(message: Message) -> None:
        pass

    async with listen(app):
        for _ in range(5):
            await give_up()
        await until(lambda: caplog.text.count("Terminating session") >= 3)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
async def test_sigterm_lets_a_call_in_a_session_finish(site: Site, tmp_path: Path) -> None:
    neptun = HeldNeptun(site)
    env = environment(base_url=site.url, **REMOTE, mcp_sessions="1")
    http = http_client()
    async with worker(tmp_path / "log", env) as (url, child), http:
        session = await Session.begin(Caller(url, http), **HEADERS)

        async def end() -> None:
            await until(lambda: neptun.held == 1)
            child.process.send_signal(signal.SIGTERM)
            await anyio.sleep(1)  # streams of the library end within half a second, if it is let
            neptun.released = True

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end)
            async with session.calling("list_resources", LIST_FILES) as events:
                assert content_in(await anext(events))["total"] > 0
        await child.exit_code()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=pytest.mark.slow) if way == "service" else way for way in STARTED]
)
async def test_however_it_is_started_it_takes_many_connections_and_ends_what_waits_for_a_message(
    site: Site, tmp_path: Path, way: str
) -> None:
    import resource

    few = ("sh", "-c", 'ulimit -S -n 64; exec "$0" "$@"')
    env = environment(base_url=site.url, **REMOTE, mcp_sessions="1", timeout="600")
    http = http_client()
    async with worker(tmp_path / "log", env, way, below=few) as (url, child), http:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert child.limit_of_files() in (0, min(most, process.MAX_OPEN))
        caller = Caller(url, http, {**HEADERS, **EVENTS})
        session = await Session.begin(caller, **HEADERS)
        async with session.calling("delete_import", DELETE_IMPORT) as events:
            question = await anext(events)
            child.process.send_signal(signal.SIGTERM)
            with anyio.fail_after(PATIENCE):
                cancelled, result = await anext(events), await anext(events)
        assert cancelled["params"]["requestId"] == question["id"]
        assert content_in(result)["message"] == (
            "The question came back without an answer; the host may not have shown it. Nothing was deleted."
        )
        await child.exit_code()
    assert site.deletions() == []
