"""The session ends, is another's, or has no right: what the server does about it, and what it does not do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.types import CallToolResult

from neptun_mcp.sandbox import COOKIE, PASSWORD
from neptun_mcp.sandbox.store import ANONYMOUS_COOKIE
from tests.support import content_of

from .neptun import GUARD_401, HANDLER_401, LOG_IN, Caller, Neptun, Place, World, caller, neptun, words_of
from .server import Action, Exchange, answer, http

pytestmark = pytest.mark.anyio

CALLS = 50
TOOLS = (Place.IMPORTS, Place.FILES, Place.DELETE)
REFUSED = "Neptun refused the session: the cookie is expired or wrong."


@pytest.fixture
async def one(anyio_backend: str) -> AsyncGenerator[Neptun]:
    async with neptun() as one:
        yield one.has_one_project()


async def in_flight(one: Neptun, client: Caller, ending: Callable[[], None]) -> list[CallToolResult]:
    """What many calls come to whose requests have all arrived when the session ends."""
    arrived = 0
    ended = anyio.Event()

    async def wait_for_all(exchange: Exchange) -> None:
        nonlocal arrived
        arrived += 1
        if arrived == CALLS:
            ending()
            ended.set()
        await ended.wait()
        await one.healthy(exchange)

    results: list[CallToolResult] = []

    async def call() -> None:
        results.append(await client.list_files())

    one.server.requests.clear()
    one.break_at(Place.FILES, wait_for_all, times=CALLS)
    async with anyio.create_task_group() as tasks:
        for _ in range(CALLS):
            tasks.start_soon(call)
    assert len(results) == CALLS
    return results


def cookies(one: Neptun) -> set[str | None]:
    """Every cookie that was sent."""
    return {request.headers.get("cookie") for request in one.server.requests}


# The session ends in the middle of a conversation


async def test_with_a_log_in_everyone_goes_on_after_one(one: Neptun) -> None:
    async with caller(one.settings(user_id=1, max_connections=CALLS, **LOG_IN)) as client:
        content_of(await client.list_files())
        for result in await in_flight(one, client, one.store.sessions.clear):
            content_of(result)
    assert len(one.asked_for(Place.LOGIN)) == 1
    assert len(one.asked_for(Place.CHECK)) == 1
    assert len(one.asked_for(Place.FILES)) == 2 * CALLS


async def test_with_a_cookie_file_everyone_goes_on_with_what_it_holds_now(one: Neptun, tmp_path: Path) -> None:
    file = tmp_path / "cookie"
    file.write_text(COOKIE)

    def renew() -> None:
        alice = one.store.sessions.pop(COOKIE)
        file.write_text(f"neptun-session={one.store.new_cookie(alice)}; Path=/\n")

    settings = one.settings(user_id=1, max_connections=CALLS, session_cookie=None, session_cookie_file=file)
    async with caller(settings) as client:
        content_of(await client.list_files())
        for result in await in_flight(one, client, renew):
            content_of(result)
    assert len(one.asked_for(Place.CHECK)) == 1
    assert not one.asked_for(Place.LOGIN)


async def test_with_a_cookie_everyone_is_told_to_get_a_fresh_one(one: Neptun) -> None:
    async with caller(one.settings(user_id=1, max_connections=CALLS)) as client:
        content_of(await client.list_files())
        for result in await in_flight(one, client, one.store.sessions.clear):
            words = words_of(result)
            assert words.startswith(REFUSED)
            assert "put it in NEPTUN_SESSION_COOKIE" in words
    assert len(one.asked_for(Place.CHECK)) == 1
    assert len(one.asked_for(Place.FILES)) == CALLS


async def test_with_a_log_in_that_fails_everyone_is_told_and_the_next_call_tries_again(one: Neptun) -> None:
    async with caller(one.settings(user_id=1, max_connections=CALLS, **LOG_IN)) as client:
        content_of(await client.list_files())
        one.break_at(Place.LOGIN, answer(503, retry_after=0), times=3)
        for result in await in_flight(one, client, one.store.sessions.clear):
            assert "failed on its side (status 503)" in words_of(result)
        assert len(one.asked_for(Place.LOGIN)) == 3
        content_of(await client.list_files())


async def test_a_caller_who_goes_away_in_the_middle_of_the_log_in_leaves_it_to_the_next(one: Neptun) -> None:
    begun, left = anyio.Event(), anyio.Event()

    async def wait(exchange: Exchange) -> None:
        begun.set()
        await exchange.gone()
        left.set()

    one.break_at(Place.LOGIN, wait, times=1)
    async with caller(one.settings(user_id=1, **LOG_IN)) as client, anyio.create_task_group() as tasks:
        with anyio.CancelScope() as first:

            async def second() -> None:
                await begun.wait()
                tasks.start_soon(go)
                await anyio.sleep(0.05)
                first.cancel()

            async def go() -> None:
                content_of(await client.list_files())

            tasks.start_soon(second)
            await client.list_files()
        assert first.cancelled_caught
        with anyio.fail_after(5):
            await left.wait()
    assert one.asked == "login login files"


async def test_no_right_is_told_after_every_session_but_the_last_was_refused(one: Neptun, tmp_path: Path) -> None:
    file = tmp_path / "cookie"
    file.write_text("stale-too")
    credentials = {**LOG_IN, "session_cookie": "stale", "session_cookie_file": file}
    async with caller(one.settings(user_id=1, **credentials)) as client:
        words = words_of(await client.call("list_imports", project_id=7))
    assert words.startswith("There is no project 7, or it is not yours.")
    assert len(one.asked_for(Place.LOGIN)) == 1


async def test_a_cookie_file_that_is_not_renewed_yet_is_named(one: Neptun, tmp_path: Path) -> None:
    file = tmp_path / "cookie"
    file.write_text("stale")
    settings = one.settings(user_id=1, session_cookie=None, session_cookie_file=file)
    async with caller(settings) as client:
        words = words_of(await client.list_files())
        assert words.startswith(f"{REFUSED} Save a fresh cookie in {file}")
        assert "no need to restart" in words
        file.write_text(COOKIE)
        content_of(await client.list_files())


def make_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def fill_with_noise(file: Path) -> None:
    file.write_bytes(b"\xff\x00" * 100)


USELESS: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing": (Path.unlink, "cannot be read: No such file or directory"),
    "empty": (Path.touch, "holds no session cookie"),
    "noise": (fill_with_noise, "holds no session cookie"),
    "a directory": (make_directory, "cannot be read: Is a directory"),
}


@pytest.mark.parametrize(("spoil", "says"), USELESS.values(), ids=USELESS.keys())
async def test_a_cookie_file_that_is_of_no_use_is_named(
    one: Neptun, tmp_path: Path, spoil: Callable[[Path], None], says: str
) -> None:
    file = tmp_path / "cookie"
    file.touch()
    spoil(file)
    async with caller(one.settings(session_cookie=None, session_cookie_file=file)) as client:
        words = words_of(await client.list_files())
    assert f"NEPTUN_SESSION_COOKIE_FILE {says}" in words
    assert str(file) in words
    assert not one.server.requests


async def test_cookie_file_and_log_in_are_tried_in_this_order(one: Neptun, tmp_path: Path) -> None:
    file = tmp_path / "cookie"
    file.write_text("stale-too")
    settings = one.settings(user_id=1, **{**LOG_IN, "session_cookie": "stale", "session_cookie_file": file})
    async with caller(settings) as client:
        content_of(await client.list_files())
    assert one.asked == "files check files check login files"


# A log-in


@pytest.mark.parametrize("refusal", [answer(401, b"{}"), answer(400, b"{}")], ids=["401", "400"])
async def test_a_refused_password_is_not_tried_again(one: Neptun, refusal: Action) -> None:
    one.break_at(Place.LOGIN, refusal, times=1)
    async with caller(one.settings(user_id=1, **LOG_IN)) as client:

        async def call() -> None:
            assert "not tried again" in words_of(await client.list_files())

        async with anyio.create_task_group() as tasks:
            for _ in range(CALLS):
                tasks.start_soon(call)
        await call()
    assert one.asked == "login"


NO_GOOD: dict[str, tuple[str | None, str]] = {
    "none": (None, "accepted the log-in but gave no session"),
    "of another name": ("session=abcdefgh; Path=/", "accepted the log-in but gave no session"),
    "empty": ("neptun-session=; Path=/", "accepted the log-in but gave no session"),
    "anonymous": (f"neptun-session={ANONYMOUS_COOKIE}; Path=/", "refuses even a session that is fresh"),
}


@pytest.mark.parametrize(("cookie", "says"), NO_GOOD.values(), ids=NO_GOOD.keys())
async def test_a_log_in_that_gives_no_good_session_is_told(one: Neptun, cookie: str | None, says: str) -> None:
    one.break_at(Place.LOGIN, answer(200, b'{"user": {"id": 1}}', set_cookie=cookie))
    async with caller(one.settings(user_id=1, **LOG_IN)) as client:
        words = words_of(await client.list_files())
    assert says in words
    assert len(one.asked_for(Place.LOGIN)) <= 3


# An anonymous session takes the place of no other


async def test_an_anonymous_session_that_comes_with_an_answer_is_not_taken(one: Neptun) -> None:
    def add(status: int, body: bytes, headers: dict[str, Any]) -> bytes:
        return http(status, body, **{**headers, "set_cookie": f"neptun-session={ANONYMOUS_COOKIE}; Path=/"})

    for place in Place:
        one.break_at(place, one.altered(add))
    async with caller(one.settings()) as client:
        for place in (*TOOLS, Place.PROJECTS, *TOOLS):
            await client.ask_for(place)
    assert cookies(one) == {f"neptun-session={COOKIE}"}


@pytest.mark.parametrize("place", TOOLS, ids=lambda place: place.word)
async def test_an_anonymous_session_that_comes_with_a_refusal_is_not_taken(one: Neptun, place: Place) -> None:
    one.break_at(place, GUARD_401, times=1)
    async with caller(one.settings(user_id=1)) as client:
        words_of(await client.ask_for(place))
        content_of(await client.ask_for(place))
    assert cookies(one) == {f"neptun-session={COOKIE}"}


async def test_a_renewed_cookie_is_not_needed_while_the_old_one_is_good(one: Neptun) -> None:
    async with caller(one.settings()) as client:
        content_of(await client.list_files())
        content_of(await client.list_files())
    assert one.asked == "session files files"
    assert cookies(one) == {f"neptun-session={COOKIE}"}


# A good session without the right

CALLS_ELSEWHERE: dict[str, dict[str, Any]] = {
    "list_imports": {"project_id": 7},
    "list_resources": {"project_id": 7, "resource_type": "user-files"},
    "delete_import": {"project_id": 7, "import_id": 301},
}


@pytest.mark.parametrize("tool", CALLS_ELSEWHERE)
async def test_no_right_is_no_reason_to_log_in(world: World, tool: str) -> None:
    async with caller(world.neptun.settings(user_id=1, **LOG_IN)) as client:
        content_of(await client.list_files())
        world.neptun.server.requests.clear()
        words = words_of(await client.call(tool, **CALLS_ELSEWHERE[tool]))
    assert 'There is no project 7, or it is not yours. Your projects are: 1 "webshop".' in words
    assert not world.neptun.asked_for(Place.LOGIN)
    assert not world.neptun.asked_for(Place.DELETE)
    assert world.neptun.holds(301)


@pytest.mark.parametrize("place", [*TOOLS, Place.PROJECTS], ids=lambda place: place.word)
async def test_the_user_id_of_another_person_is_told(world: World, place: Place) -> None:
    for credentials in ({}, LOG_IN):
        async with caller(world.neptun.settings(user_id=2, **credentials)) as client:
            words = words_of(await client.ask_for(place))
        assert words.startswith("NEPTUN_USER_ID is 2, but the session belongs to user 1.")
        assert "Remove NEPTUN_USER_ID" in words
    assert len(world.neptun.asked_for(Place.LOGIN)) == 1
    assert not world.neptun.asked_for(Place.DELETE)


# A deployment whose check of the session is not what it should be


@pytest.mark.parametrize("check", [answer(404, b"{}"), answer(404, b"<html>"), answer(200, b"<html>")])
async def test_without_a_check_the_session_itself_tells(one: Neptun, check: Action) -> None:
    one.break_at(Place.CHECK, check)
    one.break_at(Place.FILES, HANDLER_401)
    async with caller(one.settings(user_id=1)) as client:
        assert "failed on its side (status 401)" in words_of(await client.list_files())


async def test_without_a_check_a_bad_session_is_known_all_the_same(one: Neptun) -> None:
    one.break_at(Place.CHECK, answer(404, b"{}"))
    async with caller(one.settings(user_id=1, session_cookie="stale")) as client:
        assert words_of(await client.list_files()).startswith(REFUSED)
    assert one.asked == "files check session"


@pytest.mark.parametrize("place", TOOLS, ids=lambda place: place.word)
async def test_a_check_that_fails_does_not_make_the_session_a_bad_one(one: Neptun, place: Place) -> None:
    one.break_at(Place.CHECK, answer(503, retry_after=0))
    one.break_at(place, HANDLER_401)
    async with caller(one.settings(user_id=1)) as client:
        words = words_of(await client.ask_for(place))
    assert "failed on its side (status 503)" in words
    assert REFUSED not in words
    assert PASSWORD not in words
