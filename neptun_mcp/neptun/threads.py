"""Work in threads: long work in small pieces, while the event loop goes on, and work that may never end."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

SMALL = 20_000
"""The work that is done on the event loop: it takes some milliseconds. A character that is not ASCII counts as one."""

THREADS = 2
"""More would keep each other, and the event loop, waiting: Python runs one at a time."""

_PIECE = 4_096
_limiter: RunVar[anyio.CapacityLimiter] = RunVar("threads for long work")

T = TypeVar("T")


class Stopped(Exception):
    """Nobody waits for this work any more, or it takes too long."""


class Pace:
    """Counts work, and lets others run after each piece of it.

    Args:
        seconds: the processor's time that it may take in a thread; None for small work on the event loop.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.stopped = False
        self._seconds = seconds
        self._until = math.inf
        self._done = 0

    def step(self, work: int) -> None:
        """Call this before each small piece of work, of `work` characters.

        Raises:
            Stopped: the work has to end.
        """
        self._done += work
        if self._seconds is not None and self._done >= _PIECE:
            self._done = 0
            if self.stopped or time.thread_time() > self._until:
                raise Stopped
            time.sleep(0)

    def run(self, work: Callable[[Pace], T]) -> T:
        """What `work` returns; its time begins now."""
        self._until = time.thread_time() + (self._seconds or 0)
        return work(self)


async def paced(size: int, work: Callable[[Pace], T], *, seconds: float = math.inf) -> T:
    """What `work` returns. A large one runs in a thread, and ends soon after the caller is cancelled.

    Args:
        size: how much work it is, about, in characters.
        work: is given the pace to keep.
        seconds: the processor's time that it may take.

    Raises:
        Stopped: it takes longer.
    """
    if size <= SMALL:
        return work(Pace())
    limiter = _limiter.get(None)
    if limiter is None:
        _limiter.set(limiter := anyio.CapacityLimiter(THREADS))
    pace = Pace(seconds)
    try:
        return await anyio.to_thread.run_sync(pace.run, work, abandon_on_cancel=True, limiter=limiter)
    finally:
        pace.stopped = True


def in_time(work: Callable[[], T], seconds: float) -> T:
    """What `work` returns. It runs in a thread that does not keep the process alive, if it never ends.

    Raises:
        TimeoutError: it takes longer.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return outcome.result(seconds)
    except FutureTimeoutError:  # which is another one before Python 3.11
        raise TimeoutError from None
