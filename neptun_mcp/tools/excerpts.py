"""Which part of a file's text a list shows: the lines that match, or the beginning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

from pydantic_core import to_json

from ..neptun.threads import Pace
from .folding import contained, folded_pieces, unfolded

PREVIEW = 500
"""Characters of a file's text in a list, at most."""

GAP = "…\n"
"""Stands for the lines that are left out between two others."""

_MOST = 200  # places of which the best are shown; of more there is only the number

_Span: TypeAlias = tuple[int, int]  # from a character up to another


@dataclass(frozen=True)
class Excerpt:
    """A text, or lines of it.

    Attributes:
        text: with `GAP` between lines that do not follow each other.
        length: characters of the whole text.
        start: the character of the whole text at which this begins.
        total: how many places of the whole text match.
        places: where `text` matches, the best places first; of a whole text with very many not all.
        pieces: where the lines after each gap begin: in `text`, and in the whole text.
    """

    text: str
    length: int
    total: int = 0
    places: Sequence[int] = ()
    pieces: Sequence[tuple[int, int]] = ((0, 0),)

    @property
    def start(self) -> int:
        return self.pieces[0][1]

    @property
    def matches(self) -> int | None:
        """How many places of the whole text match, if that is more than are in this part."""
        return self.total if len(self.text) < self.length and self.total > len(self.places) else None

    def within(self, room: int) -> Excerpt:
        """The best part of at most `PREVIEW` characters that takes at most `room` bytes as JSON."""
        most = min(PREVIEW, room)
        while True:
            part = self._of_length(most)
            size = len(to_json(part.text)) - 2
            if size <= room or most <= 0:
                return part
            most = len(part.text) * room // size

    def _of_length(self, most: int) -> Excerpt:
        text, parts = self.text, list[_Span]()
        if len(text) <= most:
            return self
        if most <= 0:
            return Excerpt("", self.length, self.total)
        if not self.places:
            return Excerpt(text[: line_end(text, 0, most)], self.length, self.total, pieces=self.pieces[:1])
        for place in self.places:
            if (merged := _with_lines(text, place, parts, most)) is None:
                break
            parts = merged
        return self._part(parts or [_around(text, self.places[0], most)])

    def _part(self, spans: Sequence[_Span]) -> Excerpt:
        pieces: list[tuple[int, int]] = []
        begins = accumulate((end - start + len(GAP) for start, end in spans), initial=0)
        moved = [(start, end, begin) for (start, end), begin in zip(spans, begins, strict=False)]
        for start, _, begin in moved:
            known, original = max(piece for piece in self.pieces if piece[0] <= start)
            pieces.append((begin, original + start - known))
        places = [place - start + begin for place in self.places for start, end, begin in moved if start <= place < end]
        text = GAP.join(self.text[start:end] for start, end in spans)
        return Excerpt(text, self.length, self.total, places, pieces)


def marked(text: str, needles: Sequence[str], pace: Pace) -> Excerpt:
    """A whole text, and where it matches.

    A person who looks for several words means the rarest one, which tells most, on the lines with most of the others.
    """
    if not needles or not text:
        return Excerpt(text, len(text))
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
        return Excerpt(text, len(text))
    rarest = min(there, key=lambda needle: totals[needle])
    places = firsts[rarest]
    if len(there) > 1:
        places = sorted(places, key=lambda place: -len(contained(text[slice(*_line(text, place))], there, pace)))
    return Excerpt(text, len(text), totals[rarest], places)


def _positions(folded: str, needle: str, position: int, most: int) -> list[int]:
    """Where a needle is in a text, from a position on."""
    found: list[int] = []
    while len(found) < most and (position := folded.find(needle, position)) >= 0:
        found.append(position)
        position += len(needle)
    return found


def _with_lines(text: str, place: int, parts: list[_Span], most: int) -> list[_Span] | None:
    """The parts with the line of a place and one around it, or with that line alone; None if neither fits."""
    if any(start <= place < end for start, end in parts):
        return parts
    own = _line(text, place)
    before = _line(text, own[0] - 1) if own[0] else own
    after = _line(text, own[1]) if own[1] < len(text) else own
    before, after = (own if text[slice(*line)] == GAP else line for line in (before, after))
    for wanted in ((before[0], after[1]), own):
        merged = _merge([*parts, wanted])
        if sum(end - start for start, end in merged) + len(GAP) * (len(merged) - 1) <= most:
            return merged
    return None


def _merge(parts: list[_Span]) -> list[_Span]:
    merged: list[_Span] = []
    for start, end in sorted(parts):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _line(text: str, place: int) -> _Span:
    """The line that a character is in, its end included; of a long one more than an excerpt may have."""
    start = text.rfind("\n", max(0, place - PREVIEW), place) + 1 or max(0, place - PREVIEW)
    end = text.find("\n", place, place + PREVIEW) + 1 or min(len(text), place + PREVIEW)
    return start, end


def _around(text: str, place: int, most: int) -> _Span:
    """A part of a long line, around a place."""
    start = max(0, min(place - most // 4, len(text) - most))
    if start:
        start = text.find("\n", start - 1, place) + 1 or start
    return start, line_end(text, max(start, place), start + most)


def line_end(text: str, start: int, end: int) -> int:
    """Where to cut a text: at `end`, or before it at the end of a line, unless much would be lost."""
    return len(text) if end >= len(text) else text.rfind("\n", (start + end) // 2, end) + 1 or end
