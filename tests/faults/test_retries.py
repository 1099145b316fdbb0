"""Reads are retried if that can help, within the time limit of the call. How many requests each fault causes
is pinned in `test_matrix`."""

from __future__ import annotations

import random
import re
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from itertools import pairwise

import anyio
import pytest

from tests.support import content_of

from .neptun import LOG_IN, FaultyNeptun, Place, open_tools, plain_error_of, start_neptun
from .server import Action, Exchange, answer, say, stay_silent

pytestmark = pytest.mark.anyio

READS = (Place.IMPORTS, Place.FILES, Place.PROJECTS, Place.SESSION, Place.LOGIN)
BUSY = answer(503, retry_after=0)
PASSING: dict[str, Action] = {"busy": BUSY, "connection closed": say()}
ABSURD = ["soon", "-1", "1e999", "nan", "86401", "", "0x10", "1 2", "Wed, 99 Foo 2015", "\xff"]


def pauses(neptun: FaultyNeptun) -> list[float]:
    """Seconds between the requests."""
    times = [request.at for request in neptun.server.requests]
    return [later - earlier for earlier, later in pairwise(times)]


def slowly(seconds: float, then: Action) -> Action:
    async def action(exchange: Exchange) -> None:
        await anyio.sleep(seconds)
        await then(exchange)

    return action


@pytest.mark.parametrize("place", READS, ids=lambda place: place.word)
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
async def test_a_temporary_fault_goes_unnoticed(neptun: FaultyNeptun, place: Place, fault: Action) -> None:
    neptun.break_at(place, fault, times=1)
    async with open_tools(neptun.settings(**(LOG_IN if place is Place.LOGIN else {}))) as tools:
        content_of(await tools.ask_for(place))
    assert len(neptun.asked_for(place)) == 2


async def test_two_temporary_faults_go_unnoticed(neptun: FaultyNeptun) -> None:
    neptun.break_at(Place.FILES, BUSY, times=2)
    async with open_tools(neptun.settings()) as tools:
        content_of(await tools.list_files())
    assert neptun.asked == "session files files files"


async def test_each_pause_is_longer_than_the_one_before(neptun: FaultyNeptun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", min)  # the shortest that can be drawn
    neptun.break_at(Place.FILES, answer(500))
    async with open_tools(neptun.settings(user_id=1)) as tools:
        plain_error_of(await tools.list_files())
    first, second = pauses(neptun)
    assert first >= 0.25
    assert second >= 0.5


async def test_retry_after_sets_the_pause(neptun: FaultyNeptun) -> None:
    date, soon = (format_datetime(datetime(2026, 1, 1, 0, 0, s, tzinfo=timezone.utc), usegmt=True) for s in (0, 1))
    neptun.break_at(Place.FILES, answer(429, retry_after=1), times=1)
    neptun.break_at(Place.IMPORTS, answer(503, date=date, retry_after=soon), times=1)
    async with open_tools(neptun.settings(user_id=1)) as tools, anyio.create_task_group() as tasks:
        tasks.start_soon(tools.list_files)
        tasks.start_soon(tools.list_imports)
    for place in (Place.FILES, Place.IMPORTS):
        first, second = neptun.asked_for(place)
        assert second.at - first.at >= 1


async def test_a_date_to_wait_for_is_measured_against_that_of_the_answer(neptun: FaultyNeptun) -> None:
    """The clocks of the two machines may be hours apart."""
    async with open_tools(neptun.settings(user_id=1, timeout=20)) as tools:
        for hours in (-5, 0, 1):
            there = datetime.now(timezone.utc) + timedelta(hours=hours)
            date, until = (format_datetime(there + timedelta(seconds=s), usegmt=True) for s in (0, 77))
            neptun.heal()
            neptun.break_at(Place.FILES, answer(429, date=date, retry_after=until))
            assert "Wait 77 seconds" in plain_error_of(await tools.list_files())


@pytest.mark.parametrize("status", [429, 503])
async def test_a_pause_beyond_the_time_limit_is_left_to_the_assistant(neptun: FaultyNeptun, status: int) -> None:
    date, hour = (format_datetime(datetime(2026, 1, 1, h, tzinfo=timezone.utc), usegmt=True) for h in (0, 1))
    async with open_tools(neptun.settings(user_id=1, timeout=20)) as tools:
        for wait, seconds in (("60", "60"), ("86400", "86400"), (hour, "3600")):
            neptun.heal()
            neptun.break_at(Place.FILES, answer(status, date=date, retry_after=wait))
            words = plain_error_of(await tools.list_files())
            assert neptun.asked == "files"
            assert re.search(rf"Wait {seconds} seconds" if status == 429 else "try again in a minute", words)


async def test_an_absurd_retry_after_is_ignored(neptun: FaultyNeptun) -> None:
    """One call for each, at the same time; the number of the project tells them apart."""

    async def be_absurd(exchange: Exchange) -> None:
        project = int(exchange.request.target.split("/")[5])
        await answer(429, retry_after=ABSURD[project - 1])(exchange)

    neptun.break_at(Place.FILES, be_absurd)
    async with open_tools(neptun.settings(user_id=1, max_connections=20)) as tools:

        async def call(project: int) -> None:
            result = await tools.call("list_resources", project_id=project, resource_type="user-files")
            assert "Wait a minute" in plain_error_of(result)

        async with anyio.create_task_group() as tasks:
            for project in range(1, len(ABSURD) + 1):
                tasks.start_soon(call, project)
    assert len(neptun.server.requests) == 3 * len(ABSURD)


async def test_attempts_and_pauses_count_against_the_time_limit() -> None:
    async def call(place: Place) -> None:
        async with start_neptun() as neptun:
            neptun.has_one_project().break_at(place, BUSY, times=1)
            neptun.break_at(place, stay_silent())
            async with open_tools(neptun.settings(timeout=2, **(LOG_IN if place is Place.LOGIN else {}))) as tools:
                words = plain_error_of(await tools.ask_for(place))
            assert "did not answer completely within 2 seconds" in words
            assert len(neptun.asked_for(place)) == 2, "there is no time for a third"

    async with anyio.create_task_group() as tasks:
        for place in READS:
            tasks.start_soon(call, place)


async def test_all_requests_of_a_call_count_against_its_time_limit(neptun: FaultyNeptun) -> None:
    for place in (Place.SESSION, Place.PROJECTS, Place.IMPORTS):
        neptun.break_at(place, slowly(0.7, neptun.healthy))
    async with open_tools(neptun.settings(timeout=2)) as tools:
        words = plain_error_of(await tools.ask_for(Place.PROJECTS))
    assert "did not answer completely within 2 seconds" in words


async def test_an_idle_connection_that_neptun_has_closed_is_replaced(neptun: FaultyNeptun) -> None:
    async def hang_up_when_reused(exchange: Exchange) -> None:
        await (say() if exchange.request.reused else neptun.healthy)(exchange)

    async with open_tools(neptun.settings(user_id=1)) as tools:
        for place in (Place.IMPORTS, Place.FILES, Place.PROJECTS):
            content_of(await tools.ask_for(place))
            neptun.heal()
            neptun.break_at(place, hang_up_when_reused)
            content_of(await tools.ask_for(place))
            assert [request.reused for request in neptun.asked_for(place)] == [True, False]


# A running server is asked for each kind of import by itself


async def test_a_kind_that_fails_once_is_asked_for_again(anyio_backend: str) -> None:
    async with start_neptun("observed") as neptun, open_tools(neptun.settings(user_id=1)) as tools:
        usual = content_of(await tools.list_imports())
        neptun.heal()
        neptun.break_at(Place.IMPORTS, BUSY, times=1)
        assert content_of(await tools.list_imports()) == usual
        assert len(neptun.server.requests) == 4


async def test_a_kind_that_keeps_failing_is_not_skipped(anyio_backend: str) -> None:
    async with start_neptun("observed") as neptun, open_tools(neptun.settings(user_id=1)) as tools:
        content_of(await tools.list_imports())
        neptun.heal()

        async def be_busy_for_one_kind(exchange: Exchange) -> None:
            await (BUSY if "installation" in exchange.request.target else neptun.healthy)(exchange)

        neptun.break_at(Place.IMPORTS, be_busy_for_one_kind)
        assert "failed on its side (status 503)" in plain_error_of(await tools.list_imports())
        assert len(neptun.server.requests) == 5
