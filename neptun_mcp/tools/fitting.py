"""How results are made to fit a context window."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pydantic_core import to_json

from ..neptun.models import UserFile
from ..neptun.threads import Pace
from .excerpts import Excerpt, excerpt_of, json_size, line_end

MAX_BYTES = 20_000
"""The size of a result as JSON in UTF-8. Copilot CLI puts a longer one into a file, and shows 500 characters of it."""

ROOM = MAX_BYTES - 1_000
"""What the items may take: around them stand their number, where the next page begins, reasons for leaving some out."""

_NUMBERS = 40  # bytes of text_offset and matches, which depend on how much of a text is shown


class Row(NamedTuple):
    """An item of a list.

    Attributes:
        item: as Neptun sent it; without its text once there is an excerpt.
        project_id: the project that it is in, where a list is of all of them.
        replaced_by: the id of the import that replaces it, where duplicates were asked for.
    """

    item: Any
    project_id: int | None = None
    replaced_by: int | None = None
    excerpt: Excerpt | None = None

    def with_excerpt(self, needles: Sequence[str], pace: Pace) -> Row:
        """The row of a file, with as much of its text as a list ever shows; any other as it is."""
        if self.excerpt or not isinstance(self.item, UserFile) or self.item.text is None:
            return self
        item = self.item.model_copy(update={"text": None})
        return self._replace(item=item, excerpt=excerpt_of(self.item.text, needles, pace))

    def shortened(self, limit: int) -> Row:
        """The row with each field cut to `limit` characters, but for the excerpt."""
        long = [(name, value) for name, value in self.item if isinstance(value, str) and len(value) > limit]
        cut = {name: f"{value[: limit - 1]}…" for name, value in long}
        return self._replace(item=self.item.model_copy(update=cut)) if long else self

    def fields(self, room: int) -> dict[str, Any]:
        """What is shown of the row, with at most `room` bytes of its text."""
        more = self.excerpt.within(room).fields() if self.excerpt else {}
        if self.project_id:
            more["project_id"] = self.project_id
        return present({**self.item.__dict__, **more, "replaced_by": self.replaced_by})


def present(fields: dict[str, Any]) -> dict[str, Any]:
    """Those of the fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def fitted(rows: Iterable[Row], room: int = ROOM) -> list[dict[str, Any]]:
    """As many rows, from the first on, as fit without their texts, and of these as much as then fits of each.

    At least one, if need be with its fields cut.
    """
    fit: list[tuple[Row, dict[str, Any]]] = []
    for row in rows:
        bare = row.fields(0)
        if (size := _size(bare)) > room:
            if fit:
                break
            row = _cut(row, room)
            bare = row.fields(0)
            size = _size(bare)
        room -= size
        fit.append((row, bare))
    wishes = [json_size(row.excerpt.text) if row.excerpt else 0 for row, _ in fit]
    most = _fair_share(wishes, room - _NUMBERS * len(fit))
    return [row.fields(most) if row.excerpt else bare for row, bare in fit]


def _fair_share(wishes: Sequence[int], room: int) -> int:
    """The most that each may take so that all fit, where those with small wishes leave room to the others."""
    for index, wish in enumerate(sorted(wishes)):
        share = max(0, room) // (len(wishes) - index)
        if wish > share:
            return share
        room -= wish
    return max(wishes, default=0)


def _size(fields: dict[str, Any]) -> int:
    """The bytes of an item in a list, as JSON; if that is far too much, less, but more than a result."""
    least = sum(len(value) for value in fields.values() if isinstance(value, str))
    return least if least > MAX_BYTES else len(to_json(fields)) + 1


def _cut(row: Row, room: int) -> Row:
    """A row whose fields are cut so that it fits the room: a million characters of title are not worth a window."""
    for limit in (2_000, 200, 20):
        short = row.shortened(limit)
        if _size(short.fields(0)) <= room:
            return short
    raise AssertionError("fields of 20 characters always fit")  # pragma: no cover


def single(item: Any, text_offset: int = 0) -> dict[str, Any]:
    """An item by itself; a file with its text from a character on, as far as it fits (-1: the last character)."""
    if not isinstance(item, UserFile) or (whole := item.text) is None:
        return fitted([Row(item)])[0]
    start = text_offset if text_offset >= 0 else max(0, len(whole) + text_offset)
    (fields,) = fitted([Row(item.model_copy(update={"text": ""}))], MAX_BYTES // 2)
    room = ROOM - _size({**fields, "text_length": len(whole), "text_offset": start, "next_text_offset": len(whole)})
    end = line_end(whole, start, start + _fitting_length(whole[start : start + room], room))
    shown = {
        "text": whole[start:end],
        "text_length": len(whole) if end - start < len(whole) else None,
        "text_offset": start or None,
        "next_text_offset": end if end < len(whole) else None,
    }
    return present({**fields, **shown})


def _fitting_length(text: str, room: int) -> int:
    """How many characters of a text, from the first on, take at most `room` bytes as JSON."""
    return bisect_right(range(len(text) + 1), room, lo=1, key=lambda end: json_size(text[:end])) - 1
