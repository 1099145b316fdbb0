"""Later pages of a list come from the list that the first page showed.

Neptun sends whole lists. Remembered, a list is transferred once however many pages are read, and a list that changes
meanwhile is seen once, whole, without repetitions or gaps, as long as it is remembered. Lists are kept in memory only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, NamedTuple, TypeVar

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

SentT = TypeVar("SentT")


class Key(NamedTuple):
    """Which list it is.

    Attributes:
        session: the person's session.
        changes: how often its cookie had changed.
        project_id: the project; `EVERY_PROJECT` for all of them, None for the list of projects.
        what: `imports` and their kind, or the type of the resources and the id of a single one; over all projects also
            the query. Empty for the list of projects.
    """

    session: Session
    changes: int
    project_id: int | None
    what: tuple[Hashable, ...]


@dataclass(eq=False)
class Sent(Generic[SentT]):
    """What Neptun has sent.

    Attributes:
        key: which list it is.
        value: the list, or the single resource.
        gone: the ids of the imports that have been deleted since.
        size: bytes of memory that it takes; 0 before it is remembered.
        until: when it is forgotten.
    """

    key: Key
    value: SentT
    gone: frozenset[int] = frozenset()
    size: int = 0
    until: float = 0.0


class Pages:
    """The lists of which there is more to read.

    Args:
        max_bytes: what all of them may take together; the oldest goes first.
        seconds: how long each is remembered.
        clock: the time in seconds.
    """

    def __init__(
        self, max_bytes: int, seconds: float = REMEMBERED_SECONDS, clock: Callable[[], float] = monotonic
    ) -> None:
        self.max_bytes = max_bytes
        self._seconds = seconds
        self._clock = clock
        self._lists: dict[Key, Sent[Any]] = {}

    def __len__(self) -> int:
        return len(self._lists)

    def recall(self, key: Key) -> Sent[Any] | None:
        """A list, if it is remembered."""
        self._expire()
        return self._lists.get(key)

    async def find(self, key: Key, later: bool, ask: Callable[[], Awaitable[SentT]]) -> Sent[SentT]:
        """The list, or the single resource, that a later page continues if it is remembered; else what Neptun has now.

        Args:
            key: which list it is.
            later: whether the page continues another.
            ask: asks Neptun.
        """
        if later and (sent := self.recall(key)):
            return sent
        # Not needed any more, and it may be as large as what comes.
        self._lists.pop(key, None)
        return Sent(key, await ask())

    def remember(self, sent: Sent[Any], size: int) -> None:
        """Remember what Neptun has sent, because there is more to read of it.

        Args:
            size: bytes of memory that it takes, as `memory_of` counts them.
        """
        if sent.size:
            return
        self._lists.pop(sent.key, None)
        sent.size, sent.until = size, self._clock() + self._seconds
        self._lists[sent.key] = sent
        self._expire()
        # Without asyncio, under trio, it is forgotten with the next call.
        with suppress(RuntimeError):
            asyncio.get_running_loop().call_later(self._seconds + 0.1, self._expire)

    def forget(self, session: Session, project_id: int, deleted: int | None = None) -> None:
        """Forget a person's lists of a project, of which something may be gone.

        Args:
            deleted: the import that is certainly gone: lists of imports are read on without it.
        """
        for key, sent in list(self._lists.items()):
            if key.session is not session or key.project_id not in (project_id, EVERY_PROJECT):
                continue
            if deleted and key.what[0] == "imports":
                sent.gone |= {deleted}
            else:
                del self._lists[key]

    def _expire(self) -> None:
        now, total = self._clock(), sum(sent.size for sent in self._lists.values())
        for key, sent in list(self._lists.items()):
            if sent.until <= now or total > self.max_bytes or key.changes != key.session.changes:
                total -= sent.size
                del self._lists[key]


def memory_of(items: Sequence[Item], pace: Pace) -> int:
    """The bytes of memory that items of one model and their texts take, as Python counts them."""
    total = 0
    for start in range(0, len(items), _PIECE):
        piece = items[start : start + _PIECE]
        pace.step(len(piece) * ITEM // 4)
        total += len(piece) * _ITEM_BYTES + sum(map(str.__sizeof__, texts_of(piece)))
    return total
