"""Later pages of a list come from the list that the first page showed.

Neptun sends whole lists. Remembered, a list is transferred once however many pages are read, and a list that changes
meanwhile is seen once, whole, without repetitions or gaps, as long as it is remembered. Lists are kept in memory only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from sys import getsizeof
from time import monotonic
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from ..neptun.models import Item, texts_of
from ..neptun.session import Session
from ..neptun.threads import Pace
from .pace import ITEM

REMEMBERED_SECONDS = 300.0
"""How long a list is remembered."""

_ITEM_BYTES = 1_000  # an item without its texts, as measured
_PIECE = 500  # items that are counted at once

_NAME, _NAMES = 100, 200  # characters of a name; names of a person's projects

EVERY_PROJECT = 0
"""Stands for the id of a project in the key of a list over all of them."""

SentT = TypeVar("SentT", bound=Any)


@dataclass(frozen=True)
class Sent(Generic[SentT]):
    """What Neptun has sent.

    Attributes:
        value: the list, or the single resource.
        gone: the ids of the imports that have been deleted since.
        anew: whether a later page had to be asked for, because the list was not remembered.
    """

    value: SentT
    gone: frozenset[int] = frozenset()
    anew: bool = False


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
    what: tuple[Hashable, ...]


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
        self._lists: dict[Key, tuple[Sent[Any], int, float]] = {}  # with size, and until when
        self._names: WeakKeyDictionary[Session, tuple[int, float, Mapping[int, str]]] = WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._lists)

    def name_projects(self, session: Session, names: Mapping[int, str]) -> None:
        """Remember the names of a person's projects, to show them."""
        short = {id: name[:_NAME] for id, name in list(names.items())[:_NAMES]}
        self._names[session] = (session.changes, self._clock() + self._seconds, short)

    def names(self, session: Session) -> Mapping[int, str]:
        """The names of a person's projects, as far as they were seen lately."""
        changes, until, names = self._names.get(session, (-1, 0.0, {}))
        return names if changes == session.changes and self._clock() < until else {}

    def holds(self, key: Key, value: Any) -> bool:
        """Whether this very list is remembered."""
        return key in self._lists and self._lists[key][0].value is value

    @staticmethod
    async def key(session: Session, project_id: int, *what: Hashable) -> Key:
        """The key of a list, as the person's session is now."""
        await session.notice_log_in()
        return Key(session, session.changes, project_id, what)

    async def find(self, key: Key, later: bool, ask: Callable[[], Awaitable[SentT]]) -> Sent[SentT]:
        """The list, or the single resource, that a later page continues if it is remembered; else what Neptun has now.

        Args:
            key: which list it is.
            later: whether the page continues another.
            ask: asks Neptun.
        """
        self._expire()
        if later and key in self._lists:
            return self._lists[key][0]
        # Not needed any more, and it may be as large as what comes.
        self._lists.pop(key, None)
        return Sent(await ask(), anew=later)

    def remember(self, key: Key, value: Any, size: int) -> None:
        """Remember what Neptun has sent, in place of what it sent before, if there is more to read of it.

        Args:
            size: bytes of memory that it takes, as `memory_of` counts them; 0 if there is no more to read.
        """
        if self.holds(key, value):
            return
        self._lists.pop(key, None)
        if size:
            self._lists[key] = Sent(value), size, self._clock() + self._seconds
            self._expire()
            # Without asyncio, under trio, it is forgotten with the next call.
            with suppress(RuntimeError):
                asyncio.get_running_loop().call_later(self._seconds + 0.1, self._expire)

    def forget(self, session: Session, project_id: int, deleted: int | None = None) -> None:
        """Forget a person's lists of a project, of which something may be gone.

        Args:
            deleted: the import that is certainly gone: lists of imports are read on without it.
        """
        for key, (sent, size, until) in list(self._lists.items()):
            if key.session is not session or key.project_id not in (project_id, EVERY_PROJECT):
                continue
            if deleted and key.what[0] == "imports":
                self._lists[key] = replace(sent, gone=sent.gone | {deleted}), size, until
            else:
                del self._lists[key]

    def project_of_import(self, session: Session, import_id: int) -> int | None:
        """The project that has an import, as far as the lists tell that are remembered."""
        for key, (sent, _, _) in self._lists.items():
            if key.session is session and key.what[0] == "imports" and import_id not in sent.gone:
                for item in sent.value.items:
                    if item.id == import_id:
                        return key.project_id or item.project_id
        return None

    def _expire(self) -> None:
        now, total = self._clock(), sum(size for _, size, _ in self._lists.values())
        for key, (_, size, until) in list(self._lists.items()):
            if until <= now or total > self.max_bytes or key.changes != key.session.changes:
                total -= size
                del self._lists[key]


def memory_of(items: Sequence[Item], pace: Pace) -> int:
    """The bytes of memory that items of one model and their texts take, as Python counts them."""
    total = 0
    for start in range(0, len(items), _PIECE):
        piece = items[start : start + _PIECE]
        pace.step(len(piece) * ITEM // 4)
        total += len(piece) * _ITEM_BYTES + sum(map(getsizeof, texts_of(piece)))
    return total
