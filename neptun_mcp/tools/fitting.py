"""How results are made to fit a context window."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, takewhile
from typing import Any, NamedTuple, TypeVar

from pydantic_core import to_json

from ..neptun.models import Item, ProjectImport, UserFile, texts_of
from ..neptun.threads import Pace
from .excerpts import PREVIEW, Excerpt, line_end, marked
from .results import ShownFile, as_shown

MAX_BYTES = 20_000
"""The size of a result as JSON in UTF-8. Copilot CLI puts a longer one into a file, and shows 500 characters of it."""

ROOM = MAX_BYTES - 1_000
"""What the items may take: around them stand their number, where the next page begins, reasons for leaving some out."""

_NUMBERS = 40  # bytes of text_offset and matches, which depend on how much of a text is shown

ShownT = TypeVar("ShownT", bound=Item)


class Row(NamedTuple):
    """An item of a list, which may show a part of a text.

    Attributes:
        item: as it is shown, a file without its text.
        excerpt: the text of a file.
    """

    item: Any
    excerpt: Excerpt | None = None

    def within(self, room: int) -> Any:
        """The item, with as much of its text as takes so many bytes."""
        if not self.excerpt:
            return self.item
        part = self.excerpt.within(room)
        text = part.text
        shown = {
            "text": text,
            "text_length": part.length if len(text) < part.length else None,
            "text_offset": part.start or None,
            "matches": part.matches,
        }
        return self.item.model_copy(update=shown)


def row_of(item: Item, needles: Sequence[str], pace: Pace, **more: int | None) -> Row:
    """The row of an item, and where the text of a file matches. An import is shown as it was read."""
    if isinstance(item, ProjectImport) and not more:
        return Row(item)
    if isinstance(item, UserFile) and item.text is not None:
        return Row(as_shown(item, text=None, **more), marked(item.text, needles, pace))
    return Row(as_shown(item, **more))


def fitted(rows: Sequence[Row], room: int = ROOM) -> list[Any]:
    """As many items, from the first on, as fit without their texts, and of these as much as then fits of each.

    At least one, if need be with its fields cut.
    """
    shown = [row.within(0) for row in rows]
    if size_of(*shown) > room:
        ends = accumulate(map(size_of, shown))
        fit = sum(1 for _ in takewhile(lambda end: end <= room, ends))
        rows = rows[:fit] or [Row(cut(shown[0], room), rows[0].excerpt)]
        shown = [row.within(0) for row in rows]
    excerpts = [row.excerpt and row.excerpt.within(6 * PREVIEW) for row in rows]
    if not any(excerpts):
        return shown
    wishes = [len(to_json(excerpt.text)) if excerpt else 0 for excerpt in excerpts]
    most = _fair_share(wishes, room - size_of(*shown) - _NUMBERS * len(shown))
    return [Row(row.item, excerpt).within(most) for row, excerpt in zip(rows, excerpts, strict=True)]


def _fair_share(wishes: Sequence[int], room: int) -> int:
    """The most that each may take so that all fit, where those with small wishes leave room to the others."""
    for index, wish in enumerate(sorted(wishes)):
        share = max(0, room) // (len(wishes) - index)
        if wish > share:
            return share
        room -= wish
    return max(wishes, default=0)


def size_of(*items: Item) -> int:
    """The bytes of items of one model in a list, as JSON; if that is far too much, less, but more than a result."""
    least = sum(map(len, texts_of(items)))
    return least if least > MAX_BYTES else len(to_json(items, exclude_none=True))


def cut(item: ShownT, room: int) -> ShownT:
    """A copy whose fields are cut so that it fits the room: a million characters of title are not worth a window."""
    for limit in (2_000, 200, 20):
        short = shortened(item, limit)
        if size_of(short) <= room:
            return short
    raise AssertionError("fields of 20 characters always fit")  # pragma: no cover


def shortened(item: ShownT, limit: int) -> ShownT:
    """An item, the fields of which have at most so many characters, but for the text of a file."""
    long = {k: v for k, v in item if isinstance(v, str) and len(v) > limit and k != "text"}
    return item.model_copy(update={k: v[: limit - 1] + "…" for k, v in long.items()}) if long else item


def full_text(file: ShownFile, text_offset: int) -> ShownFile:
    """A file with its text from a character on, as far as it fits.

    Args:
        file: with its whole text.
        text_offset: a negative one counts from the end.
    """
    whole = file.text or ""
    start = text_offset if text_offset >= 0 else max(0, len(whole) + text_offset)
    ends = {"text_length": len(whole), "text_offset": start or None, "next_text_offset": len(whole)}
    bare = file.model_copy(update={**ends, "text": None if file.text is None else ""})
    if size_of(bare) > MAX_BYTES // 2:
        bare = cut(bare, MAX_BYTES // 2)
    room = ROOM - size_of(bare)
    end = line_end(whole, start, start + _fitting_length(whole[start : start + room], room))
    return bare.model_copy(
        update={
            "text": None if file.text is None else whole[start:end],
            "text_length": len(whole) if end - start < len(whole) else None,
            "next_text_offset": end if end < len(whole) else None,
        }
    )


def _fitting_length(text: str, room: int) -> int:
    """How many characters of a text, from the first on, take at most `room` bytes as JSON."""
    return bisect_right(range(len(text) + 1), room, lo=1, key=lambda end: len(to_json(text[:end]))) - 1
