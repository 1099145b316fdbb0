"""Stopping one person: what the file says counts soon, and what cannot be read changes nothing."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from neptun_mcp.log import digest
from neptun_mcp.neptun.secret_files import MAX_SECRET_FILE
from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from neptun_mcp.serving import refused_people
from neptun_mcp.serving.refused_people import RefusedPeople
from tests.running_neptun import BOB_COOKIE
from tests.serving.support import HEADERS, HOST, LIST_IMPORTS, TOKEN, start_in_process
from tests.serving.test_mcp_sessions import Session
from tests.sign_in.support import sign_in_server
from tests.support import ERAS, Json, Site, failure

pytestmark = pytest.mark.anyio

TEAM: Json = {"mcp_credentials": "caller", "mcp_token": TOKEN, "mcp_allowed_hosts": HOST}


async def until_status(status: int, send: Callable[[], Awaitable[int]]) -> None:
    with anyio.fail_after(30):
        while True:
            if await send() == status:
                return
            await anyio.sleep(refused_people.READ_SECONDS)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused_people, "READ_SECONDS", 0.01)


@pytest.mark.parametrize("era", ERAS)
async def test_a_person_is_stopped_and_no_other(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, era: str
) -> None:
    file = tmp_path / "refused"
    file.write_text("")
    async with start_in_process(site, mcp_refused_file=file, **TEAM) as caller:
        caller.era = era
        caller.headers = HEADERS

        async def call() -> int:
            return (await caller.post("tools/call", {"name": "list_imports", "arguments": LIST_IMPORTS})).status_code

        assert await call() == 200
        file.write_text("# left in March\nuser-1  # Alice\n")
        await until_status(403, call)
        response = await caller.post("tools/call", {"name": "list_imports", "arguments": LIST_IMPORTS})
        assert response.status_code == 403
        assert "may not use this server" in response.json()["error"]["message"]
        assert "refused: NEPTUN_MCP_REFUSED_FILE names user-1" in caplog.text
        caller.headers = {**HEADERS, "Neptun-Session": BOB_COOKIE}
        assert (await caller.post("tools/list", {})).status_code == 200
        file.write_text("")
        caller.headers = HEADERS
        await until_status(200, call)
    assert COOKIE not in caplog.text


async def test_who_cannot_be_told_is_not_served(site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "refused"
    file.write_text("user-7")
    async with start_in_process(site, mcp_refused_file=file, **TEAM) as caller:
        caller.headers = HEADERS
        site.answers["GET /api/_auth/session"] = failure(503)
        assert (await caller.post("tools/list", {})).status_code == 503
        (refused,) = [vars(record)["fields"] for record in caplog.records if record.name == "neptun_mcp.requests"]
        assert (refused["status"], refused["reason"]) == (503, "neptun_failed")
        del site.answers["GET /api/_auth/session"]
        assert (await caller.post("tools/list", {})).status_code == 200


async def test_a_stopped_person_neither_renews_nor_signs_in_again(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "refused"
    file.write_text("")
    async with sign_in_server(site, mcp_refused_file=file) as server:
        tokens, code = await server.tokens(), await server.code()

        async def call() -> int:
            return (await server.caller(tokens).post("tools/list", {})).status_code

        file.write_text("user-1")
        await until_status(403, call)
        called = await server.caller(tokens).post("tools/list", {})
        renewed = await server.app.refresh(tokens["refresh_token"])
        exchanged = await server.app.exchange(code)
        again = await server.browser.submit(await server.page(), email=EMAIL, password=PASSWORD)
        assert [answer.status_code for answer in (called, renewed, exchanged, again)] == [403] * 4
        assert {answer.json()["error"] for answer in (renewed, exchanged)} == {"access_denied"}
        assert "You may not use this server any more" in again.text
        others = await server.browser.submit(await server.page(), cookie=BOB_COOKIE)
        assert others.status_code == 303
        file.write_text("")
        await until_status(200, call)
        assert (await server.app.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.parametrize("mode", ["environment", "caller"])
async def test_a_running_session_of_a_stopped_person_ends(site: Site, tmp_path: Path, mode: str) -> None:
    file = tmp_path / "refused"
    file.write_text("")
    given: Json = {**TEAM, "mcp_credentials": mode, "mcp_sessions": True, "session_cookie": COOKIE}
    async with start_in_process(site, mcp_refused_file=file, **given) as caller:
        session = await Session.begin(caller, **HEADERS)
        assert await session.status() == 200
        file.write_text("user-1" if mode == "caller" else f"token-{digest(TOKEN)[:16]}")
        await until_status(403, session.status)
        file.write_text("")
        await until_status(200, session.status)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfuser-7\r\nuser-9\r\n",
        "user-7\r\n".encode("utf-16"),
        b"# left in March\n\n  user-7  # Alice",
        b"user-7#Alice\n\xff",
    ],
)
def test_a_file_is_read_however_it_was_written(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "refused"
    file.write_bytes(content)
    refused = RefusedPeople(file)
    assert [refused.has_user(7), refused.has_user(8)] == [True, False]


def test_a_line_that_names_nobody_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "refused"
    file.write_text("user-7 left in March\nuser-8\ntoken-0123456789abcdef\n")
    refused = RefusedPeople(file)
    with refused.kept_up_to_date():
        pass
    file.write_text("User-7\nuser-07\nuser-8\ntoken-0f8fad5b-d9cb-46")  # the last is of an application's old id
    refused.read_again(file)
    assert [refused.has_user(7), refused.has_user(8)] == [False, True]
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [line.partition(".")[0] for line in told] == [
        "NEPTUN_MCP_REFUSED_FILE names nobody in 1 of its lines",
        "NEPTUN_MCP_REFUSED_FILE names nobody in 2 of its lines",
    ]


async def test_no_request_waits_for_the_file(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disk may hang."""
    monkeypatch.setattr(refused_people, "READ_SECONDS", 3600)
    file = tmp_path / "refused"
    file.write_text("user-7")
    async with start_in_process(site, mcp_refused_file=file, **TEAM) as caller:
        caller.headers = HEADERS
        file.write_text("user-1")
        assert (await caller.post("tools/list", {})).status_code == 200


@pytest.mark.parametrize("kind", ["none", "directory", "pipe", "long"])
def test_what_was_read_last_holds(tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    file = tmp_path / "refused"
    file.write_text("user-7")
    refused = RefusedPeople(file)
    file.unlink()
    match kind:
        case "directory":
            file.mkdir()
        case "pipe":
            os.mkfifo(file)
        case "long":
            file.write_bytes(b"#" * (MAX_SECRET_FILE + 1))
        case _:
            pass
    for _ in range(3):
        refused.read_again(file)
        assert [refused.has_user(7), refused.has_user(8)] == [True, False]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    if file.exists():
        file.rmdir() if kind == "directory" else file.unlink()
    file.write_text("user-8")
    refused.read_again(file)
    assert [refused.has_user(7), refused.has_user(8)] == [False, True]


def test_a_file_that_cannot_be_read_at_the_start_is_a_wrong_setting(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ValueError, match=rf"^NEPTUN_MCP_REFUSED_FILE: cannot be read \({why}\)$"):
            RefusedPeople(path)
