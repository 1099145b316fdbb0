"""Texts as they are compared: case, accents, width and normalisation do not matter. A long one is folded in pieces."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import accumulate
from typing import NamedTuple

from ..neptun.threads import Pace

ASCII = 64
"""This many ASCII characters are as much work as one other character."""

ITEM = 20
"""An item is as much work as this many characters."""

_PIECE = 4_096
_CHUNK = 200


def work_on(text: str) -> int:
    """How much work a text is."""
    return len(text) // ASCII if text.isascii() else len(text)


class Piece(NamedTuple):
    """A part of a text, where it begins, and its folded form, after `carried` characters of the part before."""

    start: int
    part: str
    carried: int
    folded: str


def fold(text: str) -> str:
    """A text as it is compared.

    Each character is folded by itself, so the parts of a text may be folded one by one.
    """
    if text.isascii():
        return text.lower()
    # To normalise a long run of combining marks at once takes quadratic time.
    chunks = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
    text = "".join([unicodedata.normalize("NFKD", chunk) for chunk in chunks])
    # A text has few different marks; to remove one after the other takes half the time.
    for _ in range(8):
        if not (mark := _marks().search(text)):
            break
        text = text.replace(mark[0], "")
    return _marks().sub("", text).casefold()


def folded_pieces(text: str, overlap: int, pace: Pace) -> Iterator[Piece]:
    """A text, folded piece by piece; `overlap` characters of each stand at the beginning of the next one, too."""
    size = _PIECE * (ASCII if text.isascii() else 1)
    before = ""
    for start in range(0, len(text), size):
        part = text[start : start + size]
        pace.step(work_on(part))
        folded = before + fold(part)
        yield Piece(start, part, len(before), folded)
        before = folded[max(0, len(folded) - overlap) :] if overlap else ""


def contained(text: str, needles: Sequence[str], pace: Pace) -> set[str]:
    """Those of the needles, folded ones, that are in a text."""
    missing = {*needles}
    for piece in folded_pieces(text, max(map(len, needles)) - 1, pace):
        missing -= {needle for needle in missing if needle in piece.folded}
        if not missing:
            break
    return {*needles} - missing


def unfolded(text: str, positions: Iterable[int]) -> list[int]:
    """The indices of the characters that positions in a folded text come from."""
    if text.isascii():
        return [*positions]
    ends = [*accumulate(map(_folded_length, text))]
    return [min(bisect_right(ends, position), len(text) - 1) for position in positions]


@lru_cache(maxsize=5_000)
def _folded_length(character: str) -> int:
    return len(fold(character))


@cache
def _marks() -> re.Pattern[str]:
    # Only those of the basic plane: with others in the set, the search of a text takes ten times as long.
    marks = [chr(code) for code in range(0x300, 0x10000) if unicodedata.combining(chr(code))]
    return re.compile(f"[{''.join(marks)}]")
