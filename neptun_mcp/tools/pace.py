"""Long work on texts, done in small pieces: beside the event loop, in few threads, and within the call's time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from ..neptun.time_limit import TimeLimit
from .not_done import NotDone

SMALL = 20_000
"""The work that is done on the event loop: it takes some milliseconds. A character that is not ASCII counts as one."""

THREADS = 2
"""More would keep each other, and the event loop, waiting: Python runs one at a time."""

SECONDS = 20.0
"""The processor's time that one call may take for this, whatever NEPTUN_TIMEOUT allows."""

ASCII = 64
"""So many characters of ASCII are as much work as one other."""

ITEM = 20
"""An item is as much work as so many characters."""

_PIECE = 4_096
_limiter: RunVar[anyio.CapacityLimiter] = RunVar("threads for work on texts")

T = TypeVar("T")


class _Stopped(Exception):
    """Nobody waits for this work any more, or it takes too long."""


class Pace:
    """Counts work, and lets others run after each piece of it.

    Args:
        in_thread: whether the work runs beside the event loop.
    """

    def __init__(self, *, in_thread: bool = False) -> None:
        self.stopped = False
        self._in_thread = in_thread
        self._done = 0

    def step(self, work: int) -> None:
        """To be called before each piece of work. It must be a small one.

        Args:
            work: how much it is, in characters.
        """
        if not self._in_thread:
            return
        self._done += work
        if self._done >= _PIECE:
            self._done = 0
            if self.stopped or time.thread_time() > self._until:
                raise _Stopped
            time.sleep(0)

    def run(self, work: Callable[[Pace], T]) -> T:
        self._until = time.thread_time() + SECONDS
        return work(self)


def work_on(text: str) -> int:
    """How much work a text is."""
    return len(text) // ASCII if text.isascii() else len(text)


async def paced(limit: TimeLimit, size: int, work: Callable[[Pace], T]) -> T:
    """What `work` returns. A large one runs in a thread.

    Args:
        limit: the time that the call may take.
        size: how much work it is, about, in characters.
        work: is given the pace to keep.

    Raises:
        NotDone: the time did not suffice.
    """
    if size <= SMALL:
        return work(Pace())
    pace = Pace(in_thread=True)
    limiter = _limiter.get(None)
    if limiter is None:
        _limiter.set(limiter := anyio.CapacityLimiter(THREADS))
    try:
        with limit.spend():
            return await anyio.to_thread.run_sync(pace.run, work, abandon_on_cancel=True, limiter=limiter)
    except (TimeoutError, _Stopped):
        raise NotDone(
            "To look through so much takes more time than a call has. "
            "Look through one project at a time, or read a single file with resource_id."
        ) from None
    finally:
        pace.stopped = True
