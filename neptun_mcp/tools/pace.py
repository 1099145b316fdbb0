"""Long work on texts, beside the event loop and within the call's time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..neptun import threads
from ..neptun.threads import Pace, Stopped
from ..neptun.time_limit import TimeLimit
from .not_done import NotDone

WORK_SECONDS = 20.0
"""The processor's time that one call may take for this, whatever NEPTUN_TIMEOUT allows."""

ASCII = 64
"""So many characters of ASCII are as much work as one other."""

ITEM = 20
"""An item is as much work as so many characters."""

T = TypeVar("T")


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
    if size <= threads.SMALL:
        return work(Pace())
    try:
        with limit.spend():
            return await threads.paced(size, work, seconds=WORK_SECONDS)
    except (TimeoutError, Stopped):
        raise NotDone(
            "This search takes longer than one call may. "
            "Look through one project at a time, or read a single file with resource_id."
        ) from None
