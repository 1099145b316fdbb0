"""Long lists are read beside the event loop, in small pieces, and no longer than somebody waits for them."""

from __future__ import annotations

import json
import threading
from typing import Any

import anyio
import anyio.to_thread
import pytest
from starlette.responses import Response

from neptun_mcp.neptun.models import ProjectImport, read_items
from neptun_mcp.neptun.threads import SMALL, THREADS, Pace, Stopped, paced
from tests.support import PATIENCE, WEBSHOP, CountingPace, Site, client_for, import_item, resources

pytestmark = pytest.mark.anyio


async def test_a_small_piece_of_work_is_done_at_once() -> None:
    assert await paced(SMALL, lambda _: threading.get_ident()) == threading.get_ident()


async def test_more_runs_in_few_threads() -> None:
    running: set[int] = set()
    most = 0
    release = threading.Event()

    def work(pace: Pace) -> None:
        nonlocal most
        running.add(threading.get_ident())
        most = max(most, len(running))
        if len(running) == THREADS:
            release.set()
        release.wait(PATIENCE)
        running.discard(threading.get_ident())

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(paced, SMALL + 1, work)
    assert most == THREADS


async def test_it_ends_when_nobody_waits_any_more() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(pace: Pace) -> None:
        try:
            while True:
                pace.step(1_000)
                begun.set()
        finally:
            ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(paced, SMALL + 1, work)
        await anyio.to_thread.run_sync(begun.wait, PATIENCE)
        tasks.cancel_scope.cancel()
    assert await anyio.to_thread.run_sync(ended.wait, PATIENCE)


async def test_it_takes_no_more_of_the_processors_time_than_it_may() -> None:
    def work(pace: Pace) -> None:
        while True:
            pace.step(100)

    with pytest.raises(Stopped):
        await paced(SMALL + 1, work, seconds=0.05)


@pytest.mark.parametrize(("count", "is_long"), [(200, False), (20_000, True)])
async def test_only_a_long_list_is_read_in_a_thread(
    site: Site, monkeypatch: pytest.MonkeyPatch, count: int, is_long: bool
) -> None:
    body = json.dumps([import_item(id) for id in range(1, count + 1)])
    site.answers[f"GET {resources(WEBSHOP, 'imports')}"] = Response(body, media_type="application/json")
    works: list[Any] = []
    run_sync = anyio.to_thread.run_sync

    async def run(work: Any, *given: Any, **options: Any) -> Any:
        works.append(work)
        return await run_sync(work, *given, **options)

    async with client_for(site, user_id=1) as client:
        monkeypatch.setattr(anyio.to_thread, "run_sync", run)
        assert len((await client.list_imports(WEBSHOP)).items) == count
        monkeypatch.undo()
    assert len(works) == (1 if is_long else 0)


def test_no_piece_is_long() -> None:
    pace = CountingPace()
    steps = pace.steps
    raw = [import_item(id) for id in range(1, 5_001)]
    assert len(read_items(ProjectImport, raw, pace).items) == 5_000
    assert (len(steps), max(steps)) == (25, 4_000)
    steps.clear()
    assert len(read_items(ProjectImport, [*raw, {}], pace).items) == 5_000
    assert max(steps) <= 4_000
    assert len(steps) >= 5_000
