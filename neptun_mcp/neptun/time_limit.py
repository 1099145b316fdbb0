"""How long a call may take, and what happens if a part of it takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup


class TimeLimit:
    """The time that one call may take, however many requests it makes.

    Only time inside `spend` counts: a person who reads a question takes none of it.

    Attributes:
        seconds: the limit.
        spent: the seconds that were used so far.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.spent = 0.0

    @contextmanager
    def spend(self, share: float = 1.0) -> Generator[None]:
        """Let the block take what is left, or a share of it.

        Raises:
            TimeoutError: the block took longer, and was cancelled.
        """
        allowed = max(0.0, self.seconds - self.spent) * share
        started = anyio.current_time()
        try:
            with anyio.fail_after(allowed):
                yield
        finally:
            self.spent += min(allowed, anyio.current_time() - started)


def start_later(
    tasks: TaskGroup, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]
) -> Callable[[], object]:
    """Start a task in a while; the function that is returned keeps it from being started."""
    try:
        # A task that sleeps until then would cost every request a twentieth of its time.
        return asyncio.get_running_loop().call_later(seconds, tasks.start_soon, work).cancel
    except RuntimeError:  # trio
        waiting = anyio.CancelScope()

        async def wait() -> None:
            with waiting:
                await anyio.sleep(seconds)
                tasks.start_soon(work)

        tasks.start_soon(wait)
        return waiting.cancel
