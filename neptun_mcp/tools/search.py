"""Which items a query finds, and where in a text it does. Case, accents, width and normalisation do not matter."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

from ..neptun.models import Dated, DatedT, Item, UserFile, text_fields

_CHUNK = 200


def search(items: Sequence[DatedT], query: str) -> Sequence[DatedT]:
    """The items that contain each word of the query, as a part of a word too, in any field that is text."""
    words = fold(query).split()
    return [item for item in items if _contains(item, words)] if words else items


def find(text: str, query: str) -> int:
    """Where the first of the query's words that is in a text begins; 0 if none is."""
    words = fold(query).split()
    folded = fold(text) if words else ""
    positions = (folded.find(word) for word in words)
    first = next((position for position in positions if position >= 0), 0)
    return first if text.isascii() else _unfolded(text, first)


def fold(text: str) -> str:
    """A text as it is compared.

    Each character is folded by itself, so the parts of a text may be folded one by one.
    """
    if text.isascii():
        return text.lower()
    # To normalise a long run of combining marks at once takes quadratic time.
    chunks = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
    text = "".join([unicodedata.normalize("NFKD", chunk) for chunk in chunks])
    # A text has few different ones, which are removed in half the time one kind after the other.
    for _ in range(8):
        if not (mark := _marks().search(text)):
            break
        text = text.replace(mark[0], "")
    return _marks().sub("", text).casefold()


@cache
def _marks() -> re.Pattern[str]:
    # Only those of the basic plane: with others in the set, the search of a text takes ten times as long.
    marks = [chr(code) for code in range(0x300, 0x10000) if unicodedata.combining(chr(code))]
    return re.compile(f"[{''.join(marks)}]")


def _unfolded(text: str, position: int) -> int:
    """The index of the character that a position in the folded text comes from."""
    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        length = len(fold(text[low:middle]))
        if length <= position:
            low, position = middle, position - length
        else:
            high = middle
    return low


def _contains(item: Dated, words: list[str]) -> bool:
    """Whether each word is somewhere in the item. The text of a file, which may be long, is looked at last."""
    fields = item.__dict__
    short = fold("\n".join([fields[name] for name in _short_fields(type(item)) if fields[name]]))
    missing = [word for word in words if word not in short]
    if not missing or not isinstance(item, UserFile) or not item.text:
        return not missing
    text = fold(item.text)
    return all(word in text for word in missing)


@cache
def _short_fields(model: type[Item]) -> list[str]:
    return [name for name in text_fields(model) if name != "text"]
