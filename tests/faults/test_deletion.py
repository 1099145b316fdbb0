"""A deletion that goes wrong is sent once. Then the list is checked, or the outcome is said to be unknown."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import anyio
import pytest

from neptun_mcp.sandbox import COOKIE
from tests.support import PATIENCE, YES, Json, Person, content_of

from .neptun import (
    GUARD_401,
    HANDLER_401,
    HTML,
    IMPORT,
    LOG_IN,
    FaultyNeptun,
    Place,
    Rig,
    open_tools,
    plain_error_of,
    start_neptun,
)
from .server import Action, Exchange, answer, http, open_tunnel, say, serve, stay_silent
from .test_addresses import certificate, trusted

pytestmark = pytest.mark.anyio

GONE = f"Import {IMPORT} is gone. Neptun's answer was lost or unclear, so the list was checked."
UNASKED = " This server did not ask anyone."
STILL_THERE = f"Import {IMPORT} is still there"
MAY_YET_GO = f"{STILL_THERE}, but may yet go: look with list_imports first."
UNKNOWN = f"Whether import {IMPORT} was deleted is unknown: look with list_imports first."
NOTHING = "Nothing was deleted."

UNCLEAR: dict[str, Action] = {
    "connection closed": say(),
    "connection reset": say(reset=True),
    "answer that stops half-way": say(http(200, content_length=100), b"["),
    "answer that stops half-way by a reset": say(http(200, content_length=100), b"[", reset=True),
    "408": answer(408),
    "429": answer(429, retry_after=0),
    "500": answer(500, retry_after=0),
    "502 with HTML": answer(502, HTML, content_type="text/html"),
    "503": answer(503, retry_after=0),
    "504": answer(504),
    "200 with HTML": answer(200, HTML, content_type="text/html"),
    "200 with broken JSON": answer(200, b"{"),
    "202": answer(202),
    "404 with HTML": answer(404, HTML),
    "409": answer(409, b"{}"),
    "418 with HTML": answer(418, HTML),
    "423": answer(423, b"{}"),
    "redirect": answer(302, location="/login"),
    "compressed in a broken way": answer(200, b"nonsense", content_encoding="gzip"),
    "too large": answer(200, b" " * 2**21),
}


async def resolved_by_looking(rig: Rig, reply: Action, obeyed: bool) -> None:
    neptun, tools = rig.neptun, rig.tools
    neptun.break_at(Place.DELETE, neptun.obeying(reply) if obeyed else reply, times=1)
    outcome = await tools.delete_import()
    if obeyed:
        result = content_of(outcome)
        assert (result["deleted"], result["message"]) == (True, GONE + UNASKED)
    else:
        assert MAY_YET_GO in plain_error_of(outcome)
    assert neptun.holds(IMPORT) is not obeyed
    assert len(neptun.asked_for(Place.DELETE)) == 1


@pytest.mark.parametrize("reply", UNCLEAR.values(), ids=UNCLEAR.keys())
async def test_after_an_unclear_answer_the_list_is_checked(rig: Rig, reply: Action) -> None:
    await resolved_by_looking(rig, reply, obeyed=False)
    rig.neptun.heal()
    await resolved_by_looking(rig, reply, obeyed=True)


async def test_without_an_answer_the_list_is_checked_within_the_time_limit(anyio_backend: str) -> None:
    async def after(said: bytes, obeyed: bool) -> None:
        async with start_neptun() as neptun, open_tools(neptun.settings(user_id=1, timeout=4)) as tools:
            await resolved_by_looking(Rig(neptun, tools), stay_silent(said), obeyed)

    async with anyio.create_task_group() as tasks:
        for said in (b"", http(200, content_length=100)):
            tasks.start_soon(after, said, False)
            tasks.start_soon(after, said, True)


@dataclass(frozen=True)
class Refusal:
    """A refusal, and what is said if the import is still there after it."""

    reply: Action
    says: tuple[str, ...]


REFUSALS = {
    "401": Refusal(HANDLER_401, ("Neptun answered 401", f"{STILL_THERE}.")),
    "403": Refusal(answer(403, b"{}"), ("Neptun answered 403", f"{STILL_THERE}.")),
    "404, a database that failed": Refusal(answer(404, b"{}"), ("failed on its side", f"{STILL_THERE}.")),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
async def test_after_a_refusal_the_list_is_checked(rig: Rig, refusal: Refusal) -> None:
    neptun, tools = rig.neptun, rig.tools
    neptun.break_at(Place.DELETE, refusal.reply, times=1)
    words = plain_error_of(await tools.delete_import())
    for part in refusal.says:
        assert part in words
    assert neptun.holds(IMPORT)

    # Someone else was faster.
    neptun.break_at(Place.DELETE, neptun.obeying(refusal.reply), times=1)
    result = content_of(await tools.delete_import())
    assert result["deleted"]
    assert "was gone already" in result["message"]
    assert len(neptun.asked_for(Place.DELETE)) == 2


BLIND: dict[str, Action] = {
    "failing": answer(500, retry_after=0),
    "HTML": answer(200, HTML),
    "gone": say(),
    "refusing": GUARD_401,
    "unreadable": answer(200, b'{"imports": [{"id": 105}]}'),
    "unreadable in part": answer(200, b'{"imports": [{"id": 1, "source_type": "a", "source_path": "b"}, {"id": 105}]}'),
}


async def unknown_after(rig: Rig, look: Action) -> None:
    neptun = rig.neptun

    async def drop_and_go_blind(exchange: Exchange) -> None:
        neptun.break_at(Place.IMPORTS, look)
        await say()(exchange)

    neptun.break_at(Place.DELETE, drop_and_go_blind)
    assert UNKNOWN in plain_error_of(await rig.tools.delete_import())
    assert len(neptun.asked_for(Place.DELETE)) == 1


async def test_a_refusal_of_a_database_that_is_stopping_is_a_failure_with_an_unknown_outcome(documented: Rig) -> None:
    """Seen: the DELETE is 404, and the lists are 500 from then on."""

    async def refuse_and_fail(exchange: Exchange) -> None:
        documented.neptun.break_at(Place.IMPORTS, answer(500, retry_after=0))
        await answer(404, b"{}")(exchange)

    documented.neptun.break_at(Place.DELETE, refuse_and_fail)
    words = plain_error_of(await documented.tools.delete_import())
    assert "failed on its side (status 500)" in words
    assert UNKNOWN in words
    assert "Check the ids" not in words


@pytest.mark.parametrize("look", BLIND.values(), ids=BLIND.keys())
async def test_the_outcome_is_unknown_if_the_list_cannot_be_read(documented: Rig, look: Action) -> None:
    await unknown_after(documented, look)


async def test_the_outcome_is_unknown_if_the_list_does_not_come_in_time() -> None:
    async with start_neptun() as neptun, open_tools(neptun.settings(user_id=1, timeout=2)) as tools:
        await unknown_after(Rig(neptun, tools), stay_silent())


async def test_a_deletion_that_outlives_the_call_is_not_reported_as_failed() -> None:
    async with start_neptun() as neptun, open_tools(neptun.settings(user_id=1, timeout=2)) as tools:
        done = anyio.Event()

        async def delete_when_the_client_has_given_up(exchange: Exchange) -> None:
            await exchange.gone()
            await anyio.sleep(0.5)
            await neptun.answered(exchange.request)
            done.set()

        neptun.break_at(Place.DELETE, delete_when_the_client_has_given_up)
        words = plain_error_of(await tools.delete_import())
        # Two thirds of the time, or more on a busy machine: the rest is for the list.
        assert re.search(r"did not answer completely within (1\.\d|2) seconds", words)
        assert MAY_YET_GO in words
        with anyio.fail_after(PATIENCE):
            await done.wait()
        assert "There is no import 105" in plain_error_of(await tools.delete_import())
        assert len(neptun.asked_for(Place.DELETE)) == 1


async def test_a_deletion_is_not_sent_on_a_connection_that_neptun_may_just_be_closing() -> None:
    async with start_neptun() as neptun, open_tools(neptun.settings(user_id=1)) as tools:

        async def hang_up_when_reused(exchange: Exchange) -> None:
            await (say() if exchange.request.reused else neptun.healthy)(exchange)

        neptun.break_at(Place.DELETE, hang_up_when_reused)
        assert content_of(await tools.delete_import())["deleted"]
        assert neptun.asked == "imports delete"


# A deletion that certainly did not arrive


async def test_without_a_connection_nothing_was_deleted() -> None:
    async with start_neptun() as neptun, open_tools(neptun.settings(user_id=1)) as tools:

        async def answer_and_close_down(exchange: Exchange) -> None:
            neptun.server.refuse_connections()
            await neptun.altered(with_close)(exchange)

        neptun.break_at(Place.IMPORTS, answer_and_close_down)
        words = plain_error_of(await tools.delete_import())
        assert "refused the connection" in words
        assert NOTHING in words
        assert neptun.asked == "imports"


async def test_without_a_tunnel_through_the_proxy_nothing_was_deleted() -> None:
    async def open_the_first_tunnel(exchange: Exchange) -> None:
        await (open_tunnel if exchange.request.connection == 1 else answer(407))(exchange)

    async with trusted(), start_neptun(tls=certificate()) as neptun, serve(open_the_first_tunnel) as gate:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HTTPS_PROXY", gate.url)
            async with open_tools(neptun.settings(user_id=1)) as tools:
                neptun.break_at(Place.IMPORTS, neptun.altered(with_close))
                words = plain_error_of(await tools.delete_import())
    assert "on the way to https://localhost" in words
    assert NOTHING in words
    assert neptun.asked == "imports"


def with_close(status: int, body: bytes, headers: dict[str, str]) -> bytes:
    return http(status, body, **{**headers, "connection": "close"})


# The session ends between the look and the deletion


def ending_session(neptun: FaultyNeptun) -> Action:
    """The first deletion finds that the session has just ended."""

    async def action(exchange: Exchange) -> None:
        neptun.store.sessions.clear()
        await neptun.healthy(exchange)

    return action


async def test_a_deletion_refused_for_its_session_is_sent_again_after_a_log_in() -> None:
    async with start_neptun() as neptun, open_tools(neptun.settings(user_id=1, **LOG_IN)) as tools:
        neptun.break_at(Place.DELETE, ending_session(neptun), times=1)
        result = content_of(await tools.delete_import())
        assert (result["deleted"], result["message"]) == (True, f"Import {IMPORT} was deleted.{UNASKED}")
        assert neptun.asked == "login imports delete check login delete"


@pytest.mark.parametrize("deleted", [True, False])
async def test_after_an_unclear_second_deletion_the_list_is_checked_too(deleted: bool) -> None:
    async with start_neptun() as neptun, open_tools(neptun.settings(user_id=1, **LOG_IN)) as tools:
        neptun.break_at(Place.DELETE, ending_session(neptun), times=1)
        neptun.break_at(Place.DELETE, neptun.obeying(say()) if deleted else say())
        result = await tools.delete_import()
        assert (content_of(result)["message"] == GONE + UNASKED) if deleted else (MAY_YET_GO in plain_error_of(result))
        assert neptun.asked == "login imports delete check login delete imports"


def refuse(neptun: FaultyNeptun) -> None:
    neptun.break_at(Place.LOGIN, answer(401, b"{}"))


def fail(neptun: FaultyNeptun) -> None:
    neptun.break_at(Place.LOGIN, answer(503, retry_after=0))


AFTER_THE_SESSION: dict[str, tuple[Json, Callable[[FaultyNeptun], None] | None, str]] = {
    "nothing to log in with": ({}, None, "Neptun refused the session"),
    "a log-in that is refused": ({**LOG_IN, "session_cookie": COOKIE}, refuse, "Neptun refused the log-in"),
    "a log-in that fails": ({**LOG_IN, "session_cookie": COOKIE}, fail, "failed on its side (status 503)"),
}


@pytest.mark.parametrize(("settings", "spoil", "happened"), AFTER_THE_SESSION.values(), ids=AFTER_THE_SESSION.keys())
async def test_without_a_session_left_nothing_was_deleted(
    settings: Json, spoil: Callable[[FaultyNeptun], None] | None, happened: str
) -> None:
    async with start_neptun() as neptun, open_tools(neptun.settings(user_id=1, **settings)) as tools:
        neptun.break_at(Place.DELETE, ending_session(neptun), times=1)
        if spoil:
            spoil(neptun)
        words = plain_error_of(await tools.delete_import())
        assert happened in words
        assert NOTHING in words
        assert len(neptun.asked_for(Place.DELETE)) == 1
        assert neptun.holds(IMPORT)


async def test_a_name_that_does_not_come_in_time_leaves_time_for_the_deletion() -> None:
    person = Person(YES)
    async with start_neptun() as neptun, open_tools(neptun.settings(user_id=1, timeout=2), person=person) as tools:
        neptun.break_at(Place.PROJECTS, stay_silent())
        assert content_of(await tools.delete_import())["deleted"] is True
    assert " from project 1? " in person.questions[0]
