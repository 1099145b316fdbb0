"""Nobody stops the server, and nobody takes another's turn."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import socket
import sys
import weakref
from dataclasses import replace
from time import process_time, thread_time
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2 as httpx
import pytest
from anyio.abc import SocketStream
from anyio.from_thread import start_blocking_portal
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from neptun_mcp.serving import bodies, gate, mcp_sessions, process, turns
from neptun_mcp.serving import http as serving
from neptun_mcp.serving.deadlines import Ending
from neptun_mcp.serving.turns import MAX_WAITING
from neptun_mcp.sign_in import forms
from neptun_mcp.sign_in.refusals import Refused
from neptun_mcp.tools.context import Report
from tests.running_neptun import BOB_COOKIE
from tests.serving.support import (
    DELETE_IMPORT,
    LIST_FILES,
    LIST_IMPORTS,
    Caller,
    HeldNeptun,
    content_in,
    error_in,
    start_in_process,
)
from tests.serving.test_mcp_sessions import ALICE, EVENTS, INITIALIZE, Session
from tests.sign_in.browser import Browser
from tests.sign_in.support import sign_in_server
from tests.support import Json, Site, http_client, until

pytestmark = pytest.mark.anyio

CALL: Json = {"name": "list_resources", "arguments": LIST_FILES}


async def test_headers_and_queries_are_limited_on_every_route(site: Site) -> None:
    async with sign_in_server(site) as server:
        for path in (
            "/authorize",
            "/sign-in",
            "/health",
            "/ready",
            "/mcp",
            "/none",
            "/.well-known/oauth-authorization-server",
        ):
            long = await server.app.http.get(path, headers={"Cookie": "\\" * (gate.MAX_HEADER + 1)})
            assert long.status_code == 431, path
            for query in ("x" * (gate.MAX_HEADER + 1), "&" * forms.MAX_FIELDS):
                assert (await server.app.http.get(f"{path}?{query}")).status_code == 414, path
    assert site.requests == []


async def test_bodies_are_short_where_no_token_is_needed_and_so_are_the_answers(site: Site) -> None:
    async with sign_in_server(site) as server:
        for path in ("/register", "/authorize", "/token", "/revoke", "/sign-in", "/sign-in/cookie", "/sign-in/refuse"):
            long = await server.app.http.post(path, content=b"x" * (gate.MAX_PUBLIC_BODY + 1))
            assert long.status_code == 413, path
        ones = f'{{"redirect_uris": ["http://localhost/"], "grant_types": [{"1," * 15_000}1]}}'
        refused = await server.app.http.post("/register", content=ones, headers={"Content-Type": "application/json"})
    assert refused.status_code == 400
    assert len(refused.content) < 1_000


async def half_a_body(url: str, path: str) -> SocketStream:
    stream = await anyio.connect_tcp(remote_host="127.0.0.1", remote_port=urlsplit(url).port or 0)
    form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9"
    await stream.send(f"POST {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n{form}\r\n\r\na=".encode())
    return stream


async def test_of_too_many_half_read_bodies_the_oldest_makes_room(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "MAX_PUBLIC_BODIES", 3)
    monkeypatch.setattr(bodies, "BODY_SECONDS", 60)
    async with sign_in_server(site) as server:
        stalled = [await half_a_body(server.url, "/token") for _ in range(5)]
        for stream in stalled[:2]:
            assert b" 408 " in await stream.receive()
        assert (await server.app.register()).status_code == 201
        for stream in stalled:
            await stream.aclose()


async def test_one_person_has_one_line_however_many_sessions_they_bring(site: Site) -> None:
    """Forty log-ins of Alice have as many turns as one; Bob waits for none of them."""
    neptun, statuses = HeldNeptun(site), list[int]()
    cookies = [neptun.store.new_cookie(neptun.store.sessions[COOKIE]) for _ in range(40)]
    async with start_in_process(site, mcp_credentials="caller", max_connections=4) as caller:
        bob = replace(caller, headers={"Neptun-Session": BOB_COOKIE})
        alices = [replace(caller, headers={"Neptun-Session": cookie}) for cookie in cookies]
        for known in (bob, *alices):
            await known.call("list_imports", LIST_IMPORTS)

        async def call(alice: Caller) -> None:
            statuses.append((await alice.post("tools/call", CALL)).status_code)

        async with anyio.create_task_group() as tasks:
            for alice in alices:
                tasks.start_soon(call, alice)
            await until(lambda: len(statuses) == len(alices) - 1 - MAX_WAITING and neptun.held == 1)
            assert set(statuses) == {429}
            assert content_in(await bob.call("list_imports", {"project_id": 7}))["total"] == 1
            assert (await caller.http.get(f"{caller.url}/health")).status_code == 200
            neptun.released = True
    assert neptun.most == 1
    assert statuses.count(200) == 1 + MAX_WAITING


async def test_of_many_refusals_the_rest_is_not_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers that try again at once would take all of the processor."""
    monkeypatch.setattr(gate, "HOLD_SECONDS", 1200)
    sent = list[int]()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            sent.append(message["status"])

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    refusing, answering = Response(status_code=401), Response()
    scope: Scope = {"type": "http", "query_string": b"", "headers": [], "path": "/"}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await (answering if scope["path"] == "/health" else refusing)(scope, receive, send)

    limits = gate.Limits(app, Ending())
    async with anyio.create_task_group() as tasks:
        for _ in range(3 * gate.MAX_REFUSALS):
            tasks.start_soon(limits, scope, receive, send)
        await anyio.wait_all_tasks_blocked()
        await limits({**scope, "path": "/health"}, receive, send)
        tasks.cancel_scope.cancel()
    assert sent[-1] == 200
    assert gate.MAX_REFUSALS <= sent.count(401) < 3 * gate.MAX_REFUSALS


async def test_sign_ins_of_one_person_count_as_one(site: Site) -> None:
    neptun = HeldNeptun(site)
    async with sign_in_server(site, max_connections=4) as server:
        first, second = server.caller(await server.tokens()), server.caller(await server.tokens())
        async with anyio.create_task_group() as tasks:
            for caller in (first, second):
                tasks.start_soon(caller.post, "tools/call", CALL)
            await until(lambda: neptun.held == 1)
            neptun.released = True
    assert neptun.most == 1


async def test_all_kinds_of_waiting_are_one_budget(site: Site) -> None:
    neptun, asked, statuses = HeldNeptun(site), list[Json](), list[int]()
    async with start_in_process(site, mcp_credentials="caller", max_connections=4, timeout=600) as caller:
        caller.headers = {"Neptun-Session": COOKIE}
        await caller.call("list_imports", LIST_IMPORTS)
        session = await Session.begin(caller, **ALICE)

        async def ask() -> None:
            async with session.calling("delete_import", DELETE_IMPORT) as events:
                asked.append(await anext(events))
                await anyio.sleep_forever()

        async def call() -> None:
            statuses.append((await caller.post("tools/call", CALL)).status_code)

        async with anyio.create_task_group() as tasks:
            for _ in range(MAX_WAITING // 2):
                tasks.start_soon(ask)
            await until(lambda: len(asked) == MAX_WAITING // 2)
            for _ in range(MAX_WAITING // 2 + 2):
                tasks.start_soon(call)
            await until(lambda: statuses == [429] and neptun.held == 1)
            bob = replace(caller, headers={"Neptun-Session": BOB_COOKIE})
            assert (await bob.post("tools/list", {})).status_code == 200
            neptun.released = True
            tasks.cancel_scope.cancel()
    assert site.deletions() == []


async def test_strangers_who_try_passwords_keep_nobody_waiting_who_has_signed_in_before(site: Site) -> None:
    neptun = HeldNeptun(site, "/nowhere")
    async with sign_in_server(site, max_connections=4) as server:
        await server.code()  # from now on the browser is known
        page, strange = await server.page(), httpx.AsyncClient(base_url=server.url, verify=False)
        neptun.path = "/api/auth/login"
        async with strange, anyio.create_task_group() as tasks:
            stranger = Browser(strange)
            theirs = await stranger.open(server.app.link())

            async def guess(number: int) -> None:
                await stranger.submit(theirs, email=f"{number}@example.com", password="x")

            for number in range(1 + MAX_WAITING):
                tasks.start_soon(guess, number)
            await until(lambda: neptun.held == 1)
            refused = await stranger.submit(theirs, email="new@example.com", password="x")
            assert refused.status_code == 429
            neptun.path = "/nowhere"
            assert (await server.browser.submit(page, email=EMAIL, password=PASSWORD)).status_code == 303
            assert (await stranger.submit(theirs, email="new@example.com", password="x")).status_code == 429
            neptun.released = True
            tasks.cancel_scope.cancel()


async def test_a_request_whose_client_has_left_the_line_is_dropped(site: Site) -> None:
    neptun = HeldNeptun(site)
    settings: Json = {"mcp_credentials": "caller", "max_connections": 4, "confirm_delete": "off"}
    async with start_in_process(site, **settings) as caller:
        caller.headers = {"Neptun-Session": COOKIE}
        await caller.call("list_imports", LIST_IMPORTS)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller.post, "tools/call", CALL)
            await until(lambda: neptun.held == 1)
            with anyio.move_on_after(0.3):
                await caller.call("delete_import", DELETE_IMPORT)
            neptun.released = True
        await caller.call("list_imports", LIST_IMPORTS)  # its turn comes after the one that was left
    assert site.deletions() == []


async def connected() -> Message:
    await anyio.sleep_forever()
    raise AssertionError


class Full(socket.socket):
    """A listener in a process that may open no more files."""

    def accept(self) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@pytest.mark.skipif(sys.platform == "win32", reason="its event loop accepts in another way")
def test_a_full_process_says_so_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if Python words it in another way."""
    monkeypatch.setattr(logging.getLogger("asyncio"), "filters", [])
    process.one_line_when_full()

    async def fill() -> None:
        loop, full = asyncio.get_running_loop(), list[dict[str, Any]]()
        loop.set_exception_handler(lambda _, context: full.append(context))
        with Full() as listener:
            listener.bind(("127.0.0.1", 0))
            async with await loop.create_server(asyncio.Protocol, sock=listener):
                with socket.create_connection(listener.getsockname()):
                    await until(lambda: bool(full))
        for _ in range(100):
            loop.default_exception_handler(full[0])
        loop.default_exception_handler({"message": "another fault", "exception": ValueError()})

    asyncio.run(fill())  # in a loop of its own, which would accept again after a second
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(" (")[0] for line in said] == ["no further connection can be accepted now", "another fault"]
    assert [record.exc_info is None for record in caplog.records] == [True, False]


async def busy(seconds: float) -> None:
    until = process_time() + seconds
    while process_time() < until:
        pass


async def test_waiting_for_a_turn_takes_no_longer_than_a_call_may() -> None:
    line = turns.Turns(1, seconds=0.1)
    async with line.take("alice", connected):
        with pytest.raises(Refused) as refused:
            async with line.take("alice", connected):
                pass
        async with line.take("bob", connected):
            pass
    assert refused.value.status == 429
    assert "for its turn" in refused.value.words


async def test_who_keeps_the_processor_busy_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "CREDIT_SECONDS", 0.001)
    monkeypatch.setattr(turns, "REST_SECONDS", 600)
    line = turns.Turns(1, seconds=0.1, share=1e-6)

    async def call(person: str) -> None:
        async with line.take(person, connected) as turn:
            await turn.measured(busy(0.01))

    await call("alice")
    await call("alice")  # nobody else is there
    await call("bob")
    await call("alice")
    with pytest.raises(Refused) as refused:
        await call("alice")
    assert refused.value.status == 429
    await call("carol")


@pytest.mark.parametrize("kind", ["call", "notification", "renewal", "page"])
async def test_every_kind_of_request_is_work(site: Site, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    site.sandbox()
    async with sign_in_server(site) as server:
        alice = server.caller(tokens := await server.tokens())
        bob = server.caller(await server.tokens(cookie=BOB_COOKIE))
        in_session = replace(alice, headers={**alice.headers, "Mcp-Session-Id": "x"})
        note = in_session.message("notifications/cancelled", {})
        del note["json"]["id"]

        async def send() -> int:
            match kind:
                case "call":
                    return (await alice.post("tools/list", {})).status_code
                case "notification":
                    return (await alice.http.post(f"{alice.url}/mcp", **note)).status_code
                case "renewal":
                    return (await server.app.refresh(tokens["refresh_token"])).status_code
                case _:
                    return (await server.app.http.get("/authorize?x")).status_code

        monkeypatch.setattr(turns, "REQUEST_SECONDS", 600)
        monkeypatch.setattr(turns, "REST_SECONDS", 600)
        assert await send() in (200, 202, 400)
        with anyio.move_on_after(0.2) as wait:
            await send()
        assert wait.cancelled_caught
        assert (await bob.post("tools/list", {})).status_code == 200
        assert (await server.app.http.get("/health")).status_code == 200


MESSAGES = dict[str, Json](
    call={"id": 1, "method": "tools/call", "params": {"name": "list_imports", "arguments": LIST_IMPORTS}},
    notification={"method": "notifications/cancelled", "params": {"requestId": 9}},
    reply={"id": 1, "result": {"action": "accept"}},
    beginning={"id": 1, "method": "initialize", "params": INITIALIZE},
)


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("where", ["2026-07-28", "2025-11-25", "session"])
async def test_no_kind_of_message_is_far_more_work_than_is_counted(
    site: Site, monkeypatch: pytest.MonkeyPatch, message: str, where: str
) -> None:
    """Of what most of them need, more than half is carried out in tasks that the SDK begins."""
    site.sandbox()
    monkeypatch.setattr(mcp_sessions, "MAX_SESSIONS", 3)
    counted = list[float]()

    def count(turn: turns.Turn, seconds: float) -> None:
        counted.append(seconds)

    monkeypatch.setattr(turns.Turn, "worked", count)
    http, server = http_client(), start_in_process(site, mcp_credentials="caller", mcp_sessions=where == "session")
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(server) as remote:
        async with http:
            caller = replace(remote, http=http, headers=ALICE, era="2025-11-25" if where == "session" else where)
            headers = {**caller.message("", {})["headers"], **EVENTS}
            if where == "session" and message != "beginning":
                headers = (await Session.begin(caller, **headers)).headers

            async def send(times: int) -> None:
                for _ in range(times):
                    answer = await http.post(
                        f"{remote.url}/mcp", json={"jsonrpc": "2.0", **MESSAGES[message]}, headers=headers
                    )
                    assert answer.status_code < 500

            await send(10)
            counted.clear()
            begun = portal.call(thread_time)
            await send(30)
            taken = portal.call(thread_time) - begun
    assert sum(counted) + 30 * turns.REQUEST_SECONDS > 0.5 * taken


async def test_the_work_for_one_person_is_not_counted_against_another_who_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "CREDIT_SECONDS", 0)
    monkeypatch.setattr(turns, "REQUEST_SECONDS", 0)
    monkeypatch.setattr(turns, "REST_SECONDS", 600)
    line, bob_has_his_turn, alice_is_done = turns.Turns(1, 600, share=1e-3), anyio.Event(), anyio.Event()

    async def bobs() -> None:
        async with line.take("bob", connected) as turn:
            bob_has_his_turn.set()
            await turn.measured(alice_is_done.wait())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bobs)
        await bob_has_his_turn.wait()
        async with line.take("alice", connected) as turn:
            await turn.measured(busy(0.05))
        alice_is_done.set()
    for person, must_wait in (("bob", False), ("alice", True)):
        with anyio.move_on_after(0.1 if must_wait else 10) as wait:
            async with line.take(person, connected):
                pass
        assert wait.cancelled_caught == must_wait, person


async def test_what_a_cancelled_request_held_goes_with_it() -> None:
    """Long answers would stay in memory until Python looks for garbage."""
    held = list[weakref.ref[Ending]]()

    async def wait() -> None:
        large = Ending()  # anything
        held.append(weakref.ref(large))
        await anyio.sleep_forever()

    gc.disable()
    try:
        async with turns.Turns(1, 600).take("alice", connected) as turn:
            task = asyncio.ensure_future(turn.measured(wait()))
            await until(lambda: bool(held))
            task.cancel()
            await asyncio.wait([task])
        del task
        assert held[0]() is None
    finally:
        gc.enable()


async def test_the_work_of_a_call_in_the_task_of_its_request_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With MCP 2026-07-28 the SDK carries a call out there, else in another task."""
    counted = list[float]()

    def count(turn: turns.Turn, seconds: float) -> None:
        counted.append(seconds)

    async def request(turn: turns.Turn) -> None:
        await turn.measured(busy(0.05))

    monkeypatch.setattr(turns.Turn, "worked", count)
    async with turns.Turns(1, 600).take("alice", connected) as turn:
        begun = thread_time()
        await turn.measured(request(turn))
    assert 0 < sum(counted) <= turns.UNSEEN * (thread_time() - begun)


async def test_a_failing_call_leaves_no_garbage(site: Site) -> None:
    """It would hold the request's body, of 256 kB, until it is looked for."""
    gc.collect()
    gc.disable()
    try:
        async with start_in_process(site, session_cookie=COOKIE) as caller:
            for _ in range(3):
                error_in(await caller.call("list_imports", {"project_id": 1, "query": "a" * 2000}))
        assert sum(isinstance(found, Report) for found in gc.get_objects()) < 3
    finally:
        gc.enable()


# MCP sessions


async def test_a_session_keeps_what_it_was_begun_with(site: Site) -> None:
    async with start_in_process(site, session_cookie=COOKIE) as caller:
        session = await Session.begin(caller)
        again = await session.post("initialize", {**INITIALIZE, "capabilities": {}})
        assert again.status_code == 400
        async with session.calling("delete_import", DELETE_IMPORT) as events:
            assert (await anext(events))["method"] == "elicitation/create"
    assert site.deletions() == []


async def test_an_id_is_in_flight_once_in_a_session(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_sessions, "OVERLAP_SECONDS", 0.1)
    neptun = HeldNeptun(site)
    async with start_in_process(site, session_cookie=COOKIE) as caller:
        session = await Session.begin(caller)
        async with session.calling("list_resources", LIST_FILES) as events:
            await until(lambda: neptun.held == 1)
            session.calls -= 1
            again = await session.post("tools/list", {})
            assert again.status_code == 409
            monkeypatch.undo()
            neptun.released = True
            assert content_in(await anext(events))["total"] > 0
        for _ in range(3):
            session.calls -= 1  # a host that always sends the same
            assert await session.status() == 200


async def test_invented_sessions_end_no_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_sessions, "MAX_SESSIONS", 3)
    async with start_in_process(site, mcp_credentials="caller") as caller:
        caller.headers = {"Neptun-Session": COOKIE}
        await caller.call("list_imports", LIST_IMPORTS)
        alices = await Session.begin(caller, **ALICE)
        for number in range(6):
            await Session.begin(caller, **{"Neptun-Session": f"{number}{COOKIE}"})
        assert await alices.status() == 200


@pytest.mark.parametrize("tool", ["list_imports", "delete_import"])
async def test_an_ended_session_is_401_for_every_tool(site: Site, tool: str) -> None:
    store = site.sandbox()
    async with sign_in_server(site, confirm_delete="off") as server:
        allowed = await server.tokens(email=EMAIL, password=PASSWORD, access="delete")
        caller = server.caller(allowed)
        store.sessions.clear()
        answer = await caller.post("tools/call", {"name": tool, "arguments": {"project_id": 1, "import_id": 104}})
        if tool == "list_imports":
            answer = await caller.post("tools/call", {"name": tool, "arguments": LIST_IMPORTS})
    assert answer.status_code == 401


async def test_not_ready_says_why(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "READY_SECONDS", 0.1)
    HeldNeptun(site, "/api/auth/check")
    async with start_in_process(site, session_cookie=COOKIE) as caller:
        assert (await caller.http.get(f"{caller.url}/ready")).status_code == 503
    assert "not ready: Neptun did not answer within 0.1 seconds." in caplog.text
