"""Which part of a file's text a list shows: the lines that match, or the beginning."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic_core import to_json

from .folding import contained, folded_pieces, unfolded
from .pace import Pace

PREVIEW = 500
"""Characters of a file's text in a list, at most."""

GAP = "…\n"
"""Stands for the lines that are left out between two others."""

_MOST = 200  # places of which the best are shown; of more there is only the number


@dataclass(frozen=True)
class Excerpt:
    """A part of a text.

    Attributes:
        text: lines of it, with `GAP` between those that do not follow each other.
        start: the character at which the first of them begins.
        matches: how many places of the text match, if that is more than are shown.
    """

    text: str
    start: int = 0
    matches: int | None = None


@dataclass
class Places:
    """Where the rarest of several needles is in a text, and which lines have most of the others, too.

    Attributes:
        total: how often it is there.
        ranked: where, the best places first.
    """

    total: int = 0
    ranked: list[int] = field(default_factory=list[int])


def find_places(text: str, needles: Sequence[str], pace: Pace) -> Places:
    """The places that a person means who looks for several words: the rarest one tells most."""
    if not needles or not text:
        return Places()
    totals = dict.fromkeys(needles, 0)
    firsts: dict[str, list[int]] = {needle: [] for needle in needles}
    for piece in folded_pieces(text, max(map(len, needles)) - 1, pace):
        for needle in needles:
            # What ends within the part that was carried was counted with the part before.
            begin = max(0, piece.carried - len(needle) + 1)
            totals[needle] += piece.folded.count(needle, begin)
            positions = _positions(piece.folded, needle, begin, _MOST - len(firsts[needle]))
            if positions:
                inside = [max(0, position - piece.carried) for position in positions]
                firsts[needle] += [piece.start + index for index in unfolded(piece.part, inside)]
    there = [needle for needle in needles if totals[needle]]
    if not there:
        return Places()
    rarest = min(there, key=lambda needle: totals[needle])
    places = firsts[rarest]
    if len(there) > 1:
        places = sorted(places, key=lambda place: -len(contained(_line_at(text, place), there, pace)))
    return Places(totals[rarest], places)


def excerpt(text: str, places: Places, room: int) -> Excerpt:
    """The best part of a text.

    Args:
        places: what matches.
        room: bytes that it may take as JSON. It has at most `PREVIEW` characters.
    """
    most = min(PREVIEW, room)
    while True:
        shown = _of_length(text, places, most)
        excess = len(to_json(shown.text)) - 2 - room
        if excess <= 0 or most <= 0:
            return shown
        # A character takes from one to six bytes.
        most -= max(1, excess // 6)


def _positions(folded: str, needle: str, position: int, most: int) -> list[int]:
    """Where a needle is in a text, from a position on."""
    found: list[int] = []
    while len(found) < most and (position := folded.find(needle, position)) >= 0:
        found.append(position)
        position += len(needle)
    return found


def _of_length(text: str, places: Places, most: int) -> Excerpt:
    if len(text) <= most:
        return Excerpt(text)
    if most <= 0:
        return Excerpt("", 0, places.total or None)
    if not places.ranked:
        return Excerpt(text[: line_end(text, 0, most)])
    parts: list[tuple[int, int]] = []
    for place in places.ranked:
        if (merged := _with_lines(text, place, parts, most)) is None:
            break
        parts = merged
    parts = parts or [_around(text, places.ranked[0], most)]
    in_order = sorted(places.ranked)
    seen = sum(bisect_left(in_order, end) - bisect_left(in_order, start) for start, end in parts)
    shown = GAP.join(text[start:end] for start, end in parts)
    return Excerpt(shown, parts[0][0], places.total if places.total > seen else None)


def _with_lines(text: str, place: int, parts: list[tuple[int, int]], most: int) -> list[tuple[int, int]] | None:
    """The parts with the line of a place and one around it, or with that line alone; None if neither fits."""
    if any(start <= place < end for start, end in parts):
        return parts
    own = _line(text, place, most)
    before = _line(text, own[0] - 1, most) if own[0] else own
    after = _line(text, own[1], most) if own[1] < len(text) else own
    for wanted in ((before[0], after[1]), own):
        merged = _merge([*parts, wanted])
        if sum(end - start for start, end in merged) + len(GAP) * (len(merged) - 1) <= most:
            return merged
    return None


def _merge(parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(parts):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _line(text: str, place: int, most: int) -> tuple[int, int]:
    """The line that a character is in, its end included; of a long one as much as is certainly too much."""
    start = text.rfind("\n", max(0, place - most), place) + 1 or max(0, place - most)
    end = text.find("\n", place, place + most) + 1 or min(len(text), place + most)
    return start, end


def _line_at(text: str, place: int) -> str:
    start, end = _line(text, place, PREVIEW)
    return text[start:end]


def _around(text: str, place: int, most: int) -> tuple[int, int]:
    """A part of a long line, around a place."""
    start = max(0, min(place - most // 4, len(text) - most))
    if start:
        start = text.find("\n", start - 1, place) + 1 or start
    return start, line_end(text, max(start, place), start + most)


def line_end(text: str, start: int, end: int) -> int:
    """Where to cut a text: at `end`, or before it at the end of a line, unless much would be lost."""
    return len(text) if end >= len(text) else text.rfind("\n", (start + end) // 2, end) + 1 or end
