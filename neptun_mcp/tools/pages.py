"""Later pages of a list come from the list that the first page showed.

Neptun sends whole lists. Remembered, a list is transferred once however many pages are read, and a list that changes
meanwhile is seen once, whole, without repetitions or gaps, as long as it is remembered. Lists are kept in memory only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from ..neptun.models import Item, texts_of
from ..neptun.session import Session
from ..neptun.threads import Pace
from .folding import ITEM

REMEMBERED_SECONDS = 300.0
"""How long a list is remembered."""

_ITEM_BYTES = 1_000  # an item without its texts, as measured
_PIECE = 500  # items that are counted at once

EVERY_PROJECT = 0
"""Stands for the id of a project in the key of a list over all of them."""

T = TypeVar("T")


class Key(NamedTuple):
    """Which list it is.

    Attributes:
        changes: how often the session's cookie had changed.
        project_id: the project; `EVERY_PROJECT` for all of them, None for the list of projects.
        what: `imports` or the type of the resources, the kind, and the query; of a single resource its type and its id;
            nothing for the list of projects.
    """

    session: Session
    changes: int
    project_id: int | None
    what: tuple[Hashable, ...]


class _Kept(NamedTuple):
    value: Any
    size: int
    until: float


class Pages:
    """The lists with more to read, which together take `max_bytes` of memory at most; the oldest goes first."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._kept: dict[Key, _Kept] = {}

    def recall(self, key: Key) -> Any:
        """What is remembered of this key; None if nothing is."""
        self._expire()
        return self._kept[key].value if key in self._kept else None

    async def find(self, key: Key, later: bool, ask: Callable[[], Awaitable[T]]) -> tuple[T, bool]:
        """What a later page continues, if it is remembered, else what Neptun has now; and whether it is the latter."""
        if later and (value := self.recall(key)):
            return value, False
        # Not needed any more, and it may be as large as what comes.
        self._kept.pop(key, None)
        return await ask(), True

    def remember(self, key: Key, value: Any, size: int) -> None:
        """Remember what Neptun has sent, because there is more to read of it. Its size is in bytes of memory."""
        self._kept.pop(key, None)
        self._kept[key] = _Kept(value, size, monotonic() + REMEMBERED_SECONDS)
        self._expire()
        # Without asyncio, under trio, it is forgotten with the next call.
        with suppress(RuntimeError):
            asyncio.get_running_loop().call_later(REMEMBERED_SECONDS + 0.1, self._expire)

    def forget(self, session: Session, project_id: int, deleted: int | None = None) -> None:
        """Forget a person's lists of a project; if an import is certainly gone, lists of imports go on without it."""
        for key, kept in list(self._kept.items()):
            if key.session is not session or key.project_id not in (project_id, EVERY_PROJECT):
                continue
            if deleted and key.what[0] == "imports":
                kept.value.gone.add(deleted)
            else:
                del self._kept[key]

    def _expire(self) -> None:
        now, total = monotonic(), sum(kept.size for kept in self._kept.values())
        for key, kept in list(self._kept.items()):
            if kept.until <= now or total > self.max_bytes or key.changes != key.session.changes:
                total -= kept.size
                del self._kept[key]


def memory_of(items: Sequence[Item], pace: Pace) -> int:
    """The bytes of memory that items of one model and their texts take, as Python counts them."""
    total = 0
    for start in range(0, len(items), _PIECE):
        piece = items[start : start + _PIECE]
        pace.step(len(piece) * ITEM // 4)
        total += len(piece) * _ITEM_BYTES + sum(map(str.__sizeof__, texts_of(piece)))
    return total
