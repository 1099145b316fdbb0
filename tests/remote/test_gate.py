"""Who may come in, and how much at once."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from neptun_mcp import Settings
from neptun_mcp.remote import gate
from neptun_mcp.remote.app import build_asgi_app
from neptun_mcp.sandbox import BOB_COOKIE, COOKIE
from tests.processes import COMMAND, environment, run, start
from tests.remote.support import (
    HEADERS,
    HOST,
    LIST_FILES,
    LIST_IMPORTS,
    OTHER_TOKEN,
    TOKEN,
    Caller,
    HeldNeptun,
    answering,
    content_in,
    error_in,
    free_port,
    start_in_process,
)
from tests.support import Json, Site, resources, until

pytestmark = pytest.mark.anyio

OPEN: Json = {"session_cookie": COOKIE}
CLOSED: Json = {**OPEN, "mcp_token": f"{TOKEN},{OTHER_TOKEN}", "mcp_allowed_hosts": HOST}
AUTHORIZED = f"Authorization: Bearer {TOKEN}"


@pytest.mark.parametrize("era", ["2025-11-25", "2026-07-28"])
async def test_both_eras_without_a_session(site: Site, era: str) -> None:
    async with start_in_process(site, **OPEN) as caller:
        caller.era = era
        response = await caller.post("tools/call", {"name": "list_imports", "arguments": LIST_IMPORTS})
        assert content_in(response.json())["total"] == 7
        assert "mcp-session-id" not in response.headers
        for method in ("GET", "DELETE"):
            refused = await caller.http.request(method, f"{caller.url}/mcp", headers={"Accept": "text/event-stream"})
            assert (refused.status_code, refused.headers["allow"]) == (405, "POST")


async def test_on_loopback_only_what_is_addressed_to_it(site: Site) -> None:
    async with start_in_process(site, **OPEN) as caller:
        for header, value, status in (
            ("Host", "localhost", 200),
            ("Host", "[::1]:8000", 200),
            ("Host", "evil.example", 421),
            ("Host", "127.0.0.1.evil.example:80", 421),
            ("Origin", "http://localhost:6274", 200),
            ("Origin", "http://evil.example", 403),
            ("Origin", "null", 403),
        ):
            caller.headers = {header: value}
            assert (await caller.post("tools/list", {})).status_code == status, value


async def test_every_token_lets_in(site: Site) -> None:
    async with start_in_process(site, "0.0.0.0", **CLOSED) as caller:
        for token in (TOKEN, OTHER_TOKEN):
            caller.headers = {"Host": HOST, "Authorization": f"bearer {token}"}
            assert content_in(await caller.call("list_imports", LIST_IMPORTS))["total"] == 7


async def test_the_tokens_of_a_file(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN}\n")
    async with start_in_process(
        site, "0.0.0.0", **{**CLOSED, "mcp_token": OTHER_TOKEN, "mcp_token_file": file}
    ) as caller:
        for token in (TOKEN, OTHER_TOKEN):
            caller.headers = {"Host": HOST, "Authorization": f"Bearer {token}"}
            assert (await caller.post("tools/list", {})).status_code == 200


async def test_no_other_token_lets_in(site: Site) -> None:
    async with start_in_process(site, "0.0.0.0", **CLOSED) as caller:
        for given in (None, "", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN):
            caller.headers = {"Host": HOST} | ({} if given is None else {"Authorization": given})
            for path in ("/mcp", "/", "/elsewhere"):
                refused = await caller.http.post(f"{caller.url}{path}", headers=caller.headers)
                assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer"), given
        assert site.requests == []


async def test_other_hosts_are_refused_with_a_good_token(site: Site) -> None:
    async with start_in_process(site, "0.0.0.0", **CLOSED) as caller:
        caller.headers = {**HEADERS, "Host": "other.example.com"}
        assert (await caller.post("tools/list", {})).status_code == 421


def test_refuses_to_start_without_tokens_and_hosts(site: Site) -> None:
    token: Json = {"mcp_token": TOKEN}
    hosts: Json = {"mcp_allowed_hosts": HOST}
    none: Json = {}
    starts = (("0.0.0.0", none), ("0.0.0.0", token), ("192.168.1.5", hosts), ("127.0.0.1", hosts), ("", token))
    for host, given in starts:
        with pytest.raises(ValueError, match=r"NEPTUN_MCP_TOKEN .* NEPTUN_MCP_ALLOWED_HOSTS"):
            build_asgi_app(Settings(base_url=site.url, **given), host)


def test_the_factory_needs_a_key_for_all_processes() -> None:
    program = (sys.executable, "-m", "uvicorn", "--factory", "neptun_mcp.remote:create_app", "--port", "0")
    ran = run(program=program, mcp_token=TOKEN, mcp_allowed_hosts=HOST)
    assert ran.code != 0
    assert ran.stderr.endswith("ValueError: NEPTUN_MCP_STATE_KEY has to be set: the same one for all processes\n")


def test_the_command_says_what_is_missing() -> None:
    ran = run("serve", "--http", "--host", "0.0.0.0")
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("NEPTUN_MCP_TOKEN (or NEPTUN_MCP_TOKEN_FILE) and NEPTUN_MCP_ALLOWED_HOSTS have to be")


async def test_the_command_serves_on_loopback_without_settings(site: Site, tmp_path: Path) -> None:
    port = str(free_port())
    command = (*COMMAND, "serve", "--http", "--port", port)
    async with start(tmp_path / "log", *command, env=environment(base_url=site.url)) as child:
        await answering(f"http://127.0.0.1:{port}/health", child.process)


@pytest.mark.parametrize("given", [{"mcp_token": "short"}, {"mcp_token": f"{TOKEN} {TOKEN}"}, {"mcp_state_key": "x"}])
def test_weak_keys_are_malformed(given: Json) -> None:
    with pytest.raises(ValueError, match="32 or more"):
        Settings(**given)


def test_a_token_file_of_weak_keys_is_malformed(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("short")
    with pytest.raises(ValueError, match="NEPTUN_MCP_TOKEN_FILE: must hold keys of 32 or more"):
        Settings(mcp_token_file=file)


def test_a_token_file_that_cannot_be_read_is_malformed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="NEPTUN_MCP_TOKEN_FILE: cannot be read"):
        Settings(mcp_token_file=tmp_path / "none")


# Bodies


async def status_of(url: str, length: int, *more: str, body: str = "") -> int:
    """The status of the answer to a request whose body is announced, but not sent, or not all of it."""
    lines = ["POST /mcp HTTP/1.1", f"Host: {HOST}", f"Content-Length: {length}", *more, "", body]
    async with await anyio.connect_tcp(remote_host="127.0.0.1", remote_port=urlsplit(url).port or 0) as stream:
        await stream.send("\r\n".join(lines).encode())
        return int((await stream.receive()).split()[1])


async def test_a_wrong_token_is_answered_before_a_body_is_read(site: Site) -> None:
    async with start_in_process(site, "0.0.0.0", **CLOSED) as caller:
        assert await status_of(caller.url, 1000) == 401


async def test_a_body_that_is_announced_too_long_is_not_read(site: Site) -> None:
    async with start_in_process(site, "0.0.0.0", **CLOSED) as caller:
        assert await status_of(caller.url, gate.MAX_BODY + 1, AUTHORIZED) == 413


async def test_a_body_that_grows_too_long_is_refused(site: Site) -> None:
    async def endless() -> AsyncGenerator[bytes]:
        for _ in range(gate.MAX_BODY // 2**16 + 1):
            yield b" " * 2**16

    async with start_in_process(site, **OPEN) as caller:
        response = await caller.http.post(f"{caller.url}/mcp", content=endless())
        assert response.status_code == 413


async def test_a_slow_body_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.05)
    async with start_in_process(site, "0.0.0.0", **CLOSED) as caller:
        assert await status_of(caller.url, 1000, AUTHORIZED, body="{") == 408


async def test_a_caller_who_goes_in_the_middle_of_a_body_leaves_nothing_in_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async with start_in_process(site, "0.0.0.0", **CLOSED) as caller:
        with anyio.move_on_after(0.05):
            await status_of(caller.url, 1000, AUTHORIZED, body="{")
        caller.headers = HEADERS
        assert (await caller.post("tools/list", {})).status_code == 200
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


# Turns


async def test_a_greedy_caller_does_not_starve_the_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_WAITING", 5)
    neptun, statuses = HeldNeptun(site), list[int]()
    settings: Json = {"mcp_credentials": "caller", "max_connections": 4}

    async with start_in_process(site, **settings) as caller:
        alice = Caller(caller.url, caller.http, {"Neptun-Session": COOKIE})
        bob = Caller(caller.url, caller.http, {"Neptun-Session": BOB_COOKIE})

        async def greedy() -> None:
            response = await alice.post("tools/call", {"name": "list_resources", "arguments": LIST_FILES})
            statuses.append(response.status_code)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(greedy)
            await until(lambda: len(statuses) == 14 and neptun.held > 0)
            assert content_in(await bob.call("list_imports", {"project_id": 7}))["total"] == 1
            neptun.released = True
    assert sorted(statuses) == [200] * 6 + [429] * 14
    assert neptun.most == 1


async def test_a_stream_of_notifications_keeps_no_call_waiting_and_ends(site: Site) -> None:
    async with start_in_process(site, mcp_credentials="caller", max_connections=1, timeout=3) as caller:
        caller.headers = {"Neptun-Session": COOKIE}
        message = caller.message("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        message["headers"]["Accept"] = "application/json, text/event-stream"
        async with caller.http.stream("POST", f"{caller.url}/mcp", **message) as stream:
            events = (json.loads(line[5:]) async for line in stream.aiter_lines() if line.startswith("data:"))
            assert (await anext(events))["method"] == "notifications/subscriptions/acknowledged"
            assert content_in(await caller.call("list_imports", LIST_IMPORTS))["total"] == 7
            assert (await anext(events))["result"]["resultType"] == "complete"
            assert [event async for event in events] == []


async def test_alive_and_ready_need_no_token(site: Site) -> None:
    async with start_in_process(site, "0.0.0.0", **CLOSED) as caller:
        assert (await caller.http.get(f"{caller.url}/health")).status_code == 200
        assert (await caller.http.get(f"{caller.url}/ready")).status_code == 200
        assert (await caller.http.get(f"{caller.url}/ready")).status_code == 200
    assert site.requests == ["HEAD /api/auth/check"], "the answer is remembered"
    assert site.cookies == [None]


async def test_not_ready_where_neptun_cannot_be_reached() -> None:
    async with start_in_process(Site("http://127.0.0.1:1"), **OPEN, timeout=0.1) as caller:
        assert (await caller.http.get(f"{caller.url}/health")).status_code == 200
        assert (await caller.http.get(f"{caller.url}/ready")).status_code == 503


async def test_not_ready_without_an_account_for_everybody(site: Site) -> None:
    async with start_in_process(site) as caller:
        response = await caller.http.get(f"{caller.url}/ready")
        assert (response.status_code, response.json()) == (503, {"status": "no Neptun credentials are set"})
    async with start_in_process(site, mcp_credentials="caller") as caller:
        assert (await caller.http.get(f"{caller.url}/ready")).status_code == 200


async def test_a_refused_call_is_words(site: Site) -> None:
    async with start_in_process(site, **OPEN) as caller:
        assert "There is no project 9" in error_in(await caller.call("list_imports", {"project_id": 9}))
        assert f"GET {resources(9, 'imports')}" in site.requests
