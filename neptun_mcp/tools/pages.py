"""Later pages of a list come from the list that the first page showed.

Neptun sends whole lists. Remembered, a list is transferred once however many pages are read, and a list that changes
meanwhile is seen once, whole, without repetitions or gaps, as long as it is remembered. Lists are kept in memory only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from time import monotonic
from typing import Any, TypeVar, cast

from ..neptun.models import Item, Listing, text_fields
from ..neptun.session import Session

SECONDS = 300.0
"""How long a list is remembered."""

_ITEM_BYTES = 1_000  # an item without its texts, as measured

SentT = TypeVar("SentT", bound=Listing[Any] | Item)


@dataclass(frozen=True)
class Key:
    """Which list it is.

    Attributes:
        session: the person's session.
        changes: how often its cookie had changed.
        project_id: the project.
        what: the type of the resources, and the id of a single one; or the kind of the imports.
    """

    session: Session
    changes: int
    project_id: int
    what: tuple[str | int | None, ...]


@dataclass(frozen=True)
class _Remembered:
    sent: Listing[Any] | Item
    size: int
    until: float


class Pages:
    """The lists of which there is more to read.

    Args:
        max_bytes: what all of them may take together; the oldest goes first.
        seconds: how long each is remembered.
        clock: the time in seconds.
    """

    def __init__(self, max_bytes: int, seconds: float = SECONDS, clock: Callable[[], float] = monotonic) -> None:
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._clock = clock
        self._lists: dict[Key, _Remembered] = {}

    def __len__(self) -> int:
        return len(self._lists)

    @staticmethod
    async def key(session: Session, project_id: int, *what: str | int | None) -> Key:
        """The key of a list, as the person's session is now."""
        await session.notice_log_in()
        return Key(session, session.changes, project_id, what)

    async def find(self, key: Key, later: bool, ask: Callable[[], Awaitable[SentT]]) -> SentT:
        """The list, or the single resource, that a later page continues if it is remembered; else what Neptun has now.

        Args:
            key: which list it is.
            later: whether the page continues another.
            ask: asks Neptun.
        """
        self._expire()
        if later and (known := self._lists.get(key)):
            return cast(SentT, known.sent)
        # Not needed any more, and it may be as large as what comes.
        self._lists.pop(key, None)
        return await ask()

    def remember(self, key: Key, sent: Listing[Any] | Item, more: bool) -> None:
        """Remember what Neptun has sent, in place of what it sent before, if there is more to read of it."""
        known = self._lists.get(key)
        if known and known.sent is sent:
            return
        self._lists.pop(key, None)
        if more:
            size = _size(sent.items if isinstance(sent, Listing) else [sent])
            self._lists[key] = _Remembered(sent, size, self._clock() + self._seconds)
            self._expire()
            # Without asyncio, under trio, it is forgotten with the next call.
            with suppress(RuntimeError):
                asyncio.get_running_loop().call_later(self._seconds + 0.1, self._expire)

    def forget(self, session: Session, project_id: int) -> None:
        """Forget a person's lists of a project, of which something may be gone."""
        for key in [key for key in self._lists if key.session is session and key.project_id == project_id]:
            del self._lists[key]

    def _expire(self) -> None:
        now, total = self._clock(), sum(known.size for known in self._lists.values())
        for key, known in list(self._lists.items()):
            if known.until <= now or total > self._max_bytes or key.changes != key.session.changes:
                total -= known.size
                del self._lists[key]


def _size(items: Sequence[Item]) -> int:
    """About how many bytes of memory items of one model take. Written for speed: each first page pays for it."""
    if not items:
        return 0
    texts_of: Callable[[Item], tuple[str | None, ...]] = attrgetter(*text_fields(type(items[0])))
    texts: Iterable[str | None] = chain.from_iterable(map(texts_of, items))
    return _ITEM_BYTES * len(items) + sum(map(len, filter(None, texts)))
