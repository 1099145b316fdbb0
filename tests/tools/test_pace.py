"""Long work on texts runs beside the event loop, in pieces, and ends."""

from __future__ import annotations

import threading

import anyio
import anyio.to_thread
import pytest

from neptun_mcp.neptun.models import UserFile
from neptun_mcp.neptun.threads import SMALL, Pace
from neptun_mcp.neptun.time_limit import TimeLimit
from neptun_mcp.tools import lists
from neptun_mcp.tools.folding import ITEM, contained, work_on
from neptun_mcp.tools.lists import Wanted
from neptun_mcp.tools.query import parse_query, search
from neptun_mcp.tools.words import NotDone
from tests.support import PATIENCE, CountingPace

pytestmark = pytest.mark.anyio

GROWS = "ﷺ"
"""Eighteen characters when it is compared."""

FILES = Wanted("user-files", parse_query("", UserFile), 50, 0)
LARGE = [UserFile(id=1)] * (SMALL // ITEM + 1)


async def test_it_ends_with_the_time_limit() -> None:
    began, ended, seconds = threading.Event(), threading.Event(), 0.05

    def work(pace: Pace) -> None:
        began.set()
        try:
            while True:
                contained(GROWS * 10_000, ["x"], pace)
        finally:
            ended.set()

    while not began.is_set():  # on a busy machine the time may be over before the thread begins
        with pytest.raises(NotDone, match="resource_id"):
            await FILES.in_time(LARGE, TimeLimit(seconds), work)
        seconds *= 2
    await anyio.to_thread.run_sync(ended.wait, PATIENCE)
    assert ended.is_set()


async def test_it_has_a_ceiling_whatever_the_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "SEARCH_SECONDS", 0.05)

    def work(pace: Pace) -> None:
        while True:
            pace.step(100)

    with pytest.raises(NotDone, match="Look through one project at a time"):
        await FILES.in_time(LARGE, TimeLimit(10 * PATIENCE), work)


@pytest.mark.parametrize("text", [GROWS * 300_000, "x" * 30_000_000])
def test_no_piece_is_long(text: str) -> None:
    pace = CountingPace()
    assert search([UserFile(id=1, text=text)], parse_query("absent", UserFile), pace) == []
    assert max(pace.steps) <= 5_000
    assert sum(pace.steps) >= work_on(text)


def test_each_item_counts() -> None:
    pace = CountingPace()
    files = [UserFile(id=id, text="x") for id in range(1, 1_001)]
    search(files, parse_query("absent", UserFile), pace)
    assert len(pace.steps) >= 1_000
