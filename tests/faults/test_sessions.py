"""The session ends, belongs to somebody else or lacks access: what the server does, and what it does not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.types import CallToolResult

from neptun_mcp.sandbox import COOKIE, PASSWORD
from tests.running_neptun import ANONYMOUS_COOKIE
from tests.support import PATIENCE, content_of

from .neptun import (
    GUARD_401,
    HANDLER_401,
    LOG_IN,
    FaultyNeptun,
    Place,
    Rig,
    WebshopTools,
    open_tools,
    plain_error_of,
)
from .server import Action, Exchange, answer, http, say

pytestmark = pytest.mark.anyio

CALLS = 50
TOOLS = (Place.IMPORTS, Place.FILES, Place.DELETE)
REFUSED = "Neptun refused the session: the cookie is expired or wrong."


async def in_flight(neptun: FaultyNeptun, tools: WebshopTools, ending: Callable[[], None]) -> list[CallToolResult]:
    """The results of many calls whose requests have all arrived when the session ends."""
    arrived = 0
    ended = anyio.Event()

    async def wait_for_all(exchange: Exchange) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == CALLS:
            ending()
            ended.set()
        await ended.wait()
        await neptun.healthy(exchange)

    results: list[CallToolResult] = []

    async def call() -> None:
        results.append(await tools.list_files())

    neptun.server.requests.clear()
    neptun.break_at(Place.FILES, wait_for_all, times=CALLS)
    async with anyio.create_task_group() as tasks:
        for _ in range(CALLS):
            tasks.start_soon(call)
    assert len(results) == CALLS
    return results


def cookies(neptun: FaultyNeptun) -> set[str | None]:
    """Every cookie that was sent."""
    return {request.headers.get("cookie") for request in neptun.server.requests}


# The session ends in the middle of a conversation


async def test_with_a_log_in_one_log_in_serves_all_calls(neptun: FaultyNeptun) -> None:
    async with open_tools(neptun.settings(user_id=1, max_connections=CALLS, **LOG_IN)) as tools:
        async with anyio.create_task_group() as tasks:
            for _ in range(CALLS):
                tasks.start_soon(tools.list_files)
        assert len(neptun.asked_for(Place.LOGIN)) == 1
        for result in await in_flight(neptun, tools, neptun.store.sessions.clear):
            content_of(result)
    assert len(neptun.asked_for(Place.LOGIN)) == 1
    assert len(neptun.asked_for(Place.CHECK)) == 1
    assert len(neptun.asked_for(Place.FILES)) == 2 * CALLS


async def test_with_a_cookie_file_all_calls_use_its_new_content(neptun: FaultyNeptun, tmp_path: Path) -> None:
    file = tmp_path / "cookie"
    file.write_text(COOKIE)

    def renew() -> None:
        alice = neptun.store.sessions.pop(COOKIE)
        file.write_text(f"neptun-session={neptun.store.new_cookie(alice)}; Path=/\n")

    settings = neptun.settings(user_id=1, max_connections=CALLS, session_cookie=None, session_cookie_file=file)
    async with open_tools(settings) as tools:
        content_of(await tools.list_files())
        for result in await in_flight(neptun, tools, renew):
            content_of(result)
    assert len(neptun.asked_for(Place.CHECK)) == 1
    assert not neptun.asked_for(Place.LOGIN)


async def test_with_a_cookie_every_call_asks_for_a_fresh_one(neptun: FaultyNeptun) -> None:
    async with open_tools(neptun.settings(user_id=1, max_connections=CALLS)) as tools:
        content_of(await tools.list_files())
        for result in await in_flight(neptun, tools, neptun.store.sessions.clear):
            words = plain_error_of(result)
            assert words.startswith(REFUSED)
            assert "or put a fresh cookie there" in words
    assert len(neptun.asked_for(Place.CHECK)) == 1
    assert len(neptun.asked_for(Place.FILES)) == CALLS


async def test_a_failed_log_in_fails_all_waiting_calls_and_the_next_tries_again(neptun: FaultyNeptun) -> None:
    async with open_tools(neptun.settings(user_id=1, max_connections=CALLS, **LOG_IN)) as tools:
        content_of(await tools.list_files())
        neptun.break_at(Place.LOGIN, answer(503, retry_after=0), times=3)
        for result in await in_flight(neptun, tools, neptun.store.sessions.clear):
            assert "failed on its side (status 503)" in plain_error_of(result)
        assert len(neptun.asked_for(Place.LOGIN)) == 3
        content_of(await tools.list_files())


async def test_a_call_cancelled_during_the_log_in_leaves_it_to_the_next(neptun: FaultyNeptun) -> None:
    begun, left = anyio.Event(), anyio.Event()

    async def wait(exchange: Exchange) -> None:
        begun.set()
        await exchange.gone()
        left.set()

    neptun.break_at(Place.LOGIN, wait, times=1)
    async with open_tools(neptun.settings(user_id=1, **LOG_IN)) as tools, anyio.create_task_group() as tasks:
        with anyio.CancelScope() as first:

            async def second() -> None:
                await begun.wait()
                tasks.start_soon(go)
                await anyio.sleep(0.05)
                first.cancel()

            async def go() -> None:
                content_of(await tools.list_files())

            tasks.start_soon(second)
            await tools.list_files()
        assert first.cancelled_caught
        with anyio.fail_after(PATIENCE):
            await left.wait()
    assert neptun.asked == "login login files"


async def test_missing_access_is_found_after_stale_sessions_were_renewed(neptun: FaultyNeptun, tmp_path: Path) -> None:
    file = tmp_path / "cookie"
    file.write_text("stale-too")
    credentials = {**LOG_IN, "session_cookie": "stale", "session_cookie_file": file}
    async with open_tools(neptun.settings(user_id=1, **credentials)) as tools:
        words = plain_error_of(await tools.call("list_imports", project_id=7))
    assert words.startswith("There is no project 7, or it is not yours.")
    assert len(neptun.asked_for(Place.LOGIN)) == 1


async def test_a_stale_cookie_file_is_named(neptun: FaultyNeptun, tmp_path: Path) -> None:
    file = tmp_path / "cookie"
    file.write_text("stale")
    settings = neptun.settings(user_id=1, session_cookie=None, session_cookie_file=file)
    async with open_tools(settings) as tools:
        words = plain_error_of(await tools.list_files())
        assert words.startswith(f"{REFUSED} Save a fresh cookie in {file}")
        assert "no need to restart" in words
        file.write_text(COOKIE)
        content_of(await tools.list_files())


def make_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def fill_with_noise(file: Path) -> None:
    file.write_bytes(b"\xff\x00" * 100)


USELESS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (Path.touch, "holds no session cookie"),
    "noise": (fill_with_noise, "holds no session cookie"),
    "two words": (lambda file: file.write_text("two words"), "holds no session cookie"),
    "too large": (lambda file: file.write_bytes(b"x" * 65_537), "cannot be read: it is larger than 64 kB"),
}
if sys.platform != "win32":  # which says: permission denied
    USELESS["a directory"] = (make_directory, "cannot be read: Is a directory")


@pytest.mark.parametrize(("spoil", "says"), USELESS.values(), ids=USELESS.keys())
async def test_an_unusable_cookie_file_is_named(
    neptun: FaultyNeptun, tmp_path: Path, spoil: Callable[[Path], object], says: str
) -> None:
    file = tmp_path / "cookie"
    file.touch()
    spoil(file)
    async with open_tools(neptun.settings(session_cookie=None, session_cookie_file=file)) as tools:
        words = plain_error_of(await tools.list_files())
    assert f"NEPTUN_SESSION_COOKIE_FILE {says}" in words
    assert str(file) in words
    assert not neptun.server.requests


async def test_cookie_file_and_log_in_are_tried_in_order(neptun: FaultyNeptun, tmp_path: Path) -> None:
    file = tmp_path / "cookie"
    file.write_text("stale-too")
    settings = neptun.settings(user_id=1, **{**LOG_IN, "session_cookie": "stale", "session_cookie_file": file})
    async with open_tools(settings) as tools:
        content_of(await tools.list_files())
    assert neptun.asked == "files check files check login files"
    sent = [request.headers["cookie"] for request in neptun.asked_for(Place.FILES)]
    assert sent[:2] == ["neptun-session=stale", "neptun-session=stale-too"]


# A log-in


@pytest.mark.parametrize(
    ("refusal", "asked"),
    [(answer(401, b"{}"), "login database login"), (answer(400, b"{}"), "login")],
    ids=["401", "400"],
)
async def test_a_refused_password_is_not_tried_again(neptun: FaultyNeptun, refusal: Action, asked: str) -> None:
    neptun.break_at(Place.LOGIN, refusal, times=2 if "database" in asked else 1)
    async with open_tools(neptun.settings(user_id=1, **LOG_IN)) as tools:

        async def call() -> None:
            assert "not tried again" in plain_error_of(await tools.list_files())

        async with anyio.create_task_group() as tasks:
            for _ in range(CALLS):
                tasks.start_soon(call)
        await call()
    assert neptun.asked == asked


async def test_a_log_in_refused_in_the_moment_of_an_outage_is_tried_once_more(neptun: FaultyNeptun) -> None:
    """Seen: the log-in is 401 while the database restarts, and the probe a moment later says that it is up."""
    neptun.break_at(Place.LOGIN, answer(401, b"{}"), times=1)
    async with open_tools(neptun.settings(user_id=1, **LOG_IN)) as tools:
        content_of(await tools.list_files())
    assert neptun.asked == "login database login files"


UNAVAILABLE: dict[str, Action] = {
    "failing": answer(500, b"{}"),
    "busy": answer(429),
    "closed": say(),
    "HTML": answer(502),
}


@pytest.mark.parametrize("probe", UNAVAILABLE.values(), ids=UNAVAILABLE.keys())
async def test_a_log_in_that_is_refused_while_neptun_is_down_says_nothing_about_the_password(
    neptun: FaultyNeptun, probe: Action
) -> None:
    neptun.break_at(Place.LOGIN, answer(401, b"{}"))
    neptun.break_at(Place.DATABASE, probe)
    async with open_tools(neptun.settings(user_id=1, **LOG_IN)) as tools:
        words = plain_error_of(await tools.list_files())
        assert "refused the log-in" not in words
        assert "try again" in words.lower()
        assert neptun.asked == "login database"
        neptun.heal()
        content_of(await tools.list_files())


NO_GOOD: dict[str, tuple[str | None, str]] = {
    "none": (None, "accepted the log-in but gave no session"),
    "of another name": ("session=abcdefgh; Path=/", "accepted the log-in but gave no session"),
    "empty": ("neptun-session=; Path=/", "accepted the log-in but gave no session"),
    "too long": (f"neptun-session={'x' * 9_000}; Path=/", "accepted the log-in but gave no session"),
    "blanks": (f"neptun-session{' ' * 60_000}; Path=/", "accepted the log-in but gave no session"),
    "anonymous": (f"neptun-session={ANONYMOUS_COOKIE}; Path=/", "refuses even a session that is fresh"),
}


@pytest.mark.parametrize(("cookie", "says"), NO_GOOD.values(), ids=NO_GOOD.keys())
async def test_a_log_in_without_a_valid_session_is_reported(
    neptun: FaultyNeptun, cookie: str | None, says: str
) -> None:
    neptun.break_at(Place.LOGIN, answer(200, b'{"user": {"id": 1}}', set_cookie=cookie))
    async with open_tools(neptun.settings(user_id=1, **LOG_IN)) as tools:
        words = plain_error_of(await tools.list_files())
    assert says in words
    assert len(neptun.asked_for(Place.LOGIN)) <= 4


# An anonymous session replaces no other


async def test_an_anonymous_session_in_an_answer_is_not_used(neptun: FaultyNeptun) -> None:
    def add(status: int, body: bytes, headers: dict[str, Any]) -> bytes:
        return http(status, body, **{**headers, "set_cookie": f"neptun-session={ANONYMOUS_COOKIE}; Path=/"})

    for place in Place:
        neptun.break_at(place, neptun.altered(add))
    async with open_tools(neptun.settings()) as tools:
        for place in (*TOOLS, Place.PROJECTS, *TOOLS):
            await tools.ask_for(place)
    assert cookies(neptun) == {f"neptun-session={COOKIE}"}


@pytest.mark.parametrize("place", TOOLS, ids=lambda place: place.word)
async def test_an_anonymous_session_in_a_refusal_is_not_used(neptun: FaultyNeptun, place: Place) -> None:
    neptun.break_at(place, GUARD_401, times=1)
    async with open_tools(neptun.settings(user_id=1)) as tools:
        plain_error_of(await tools.ask_for(place))
        content_of(await tools.ask_for(place))
    assert cookies(neptun) == {f"neptun-session={COOKIE}"}


async def test_a_valid_cookie_is_kept_even_if_a_renewed_one_arrives(neptun: FaultyNeptun) -> None:
    async with open_tools(neptun.settings()) as tools:
        content_of(await tools.list_files())
        content_of(await tools.list_files())
    assert neptun.asked == "session files files"
    assert cookies(neptun) == {f"neptun-session={COOKIE}"}


# A valid session without access

CALLS_ELSEWHERE: dict[str, dict[str, Any]] = {
    "list_imports": {"project_id": 7},
    "list_resources": {"project_id": 7, "resource_type": "user-files"},
    "delete_import": {"project_id": 7, "import_id": 301},
}


@pytest.mark.parametrize("tool", CALLS_ELSEWHERE)
async def test_missing_access_causes_no_log_in(rig: Rig, tool: str) -> None:
    async with open_tools(rig.neptun.settings(user_id=1, **LOG_IN)) as tools:
        content_of(await tools.list_files())
        rig.neptun.server.requests.clear()
        words = plain_error_of(await tools.call(tool, **CALLS_ELSEWHERE[tool]))
        assert "There is no project 7, or it is not yours." in words
        assert 'Your projects are: 1 "webshop".' in words
    assert not rig.neptun.asked_for(Place.LOGIN)
    assert not rig.neptun.asked_for(Place.DELETE)
    assert rig.neptun.holds(301)


@pytest.mark.parametrize("place", [*TOOLS, Place.PROJECTS], ids=lambda place: place.word)
async def test_a_user_id_of_somebody_else_is_reported(rig: Rig, place: Place) -> None:
    for credentials in ({}, LOG_IN):
        async with open_tools(rig.neptun.settings(user_id=2, **credentials)) as tools:
            words = plain_error_of(await tools.ask_for(place))
        assert words.startswith("NEPTUN_USER_ID is 2, but the session belongs to user 1.")
        assert "Remove NEPTUN_USER_ID" in words
    assert len(rig.neptun.asked_for(Place.LOGIN)) == 1
    assert not rig.neptun.asked_for(Place.DELETE)


# Deployments without a working check of the session


@pytest.mark.parametrize("check", [answer(404, b"{}"), answer(404, b"<html>"), answer(200, b"<html>")])
async def test_without_the_check_the_session_is_asked(neptun: FaultyNeptun, check: Action) -> None:
    neptun.break_at(Place.CHECK, check)
    neptun.break_at(Place.FILES, HANDLER_401)
    async with open_tools(neptun.settings(user_id=1)) as tools:
        assert "failed on its side (status 401)" in plain_error_of(await tools.list_files())
        assert plain_error_of(await tools.call("list_imports", project_id=99)).startswith("There is no project 99")


async def test_without_the_check_a_bad_session_is_still_recognised(neptun: FaultyNeptun) -> None:
    neptun.break_at(Place.CHECK, answer(404, b"{}"))
    async with open_tools(neptun.settings(user_id=1, session_cookie="stale")) as tools:
        assert plain_error_of(await tools.list_files()).startswith(REFUSED)
    assert neptun.asked == "files check session"


@pytest.mark.parametrize("place", TOOLS, ids=lambda place: place.word)
async def test_a_failing_check_does_not_make_the_session_bad(neptun: FaultyNeptun, place: Place) -> None:
    neptun.break_at(Place.CHECK, answer(503, retry_after=0))
    neptun.break_at(place, HANDLER_401)
    async with open_tools(neptun.settings(user_id=1)) as tools:
        words = plain_error_of(await tools.ask_for(place))
    assert "failed on its side (status 503)" in words
    assert REFUSED not in words
    assert PASSWORD not in words
