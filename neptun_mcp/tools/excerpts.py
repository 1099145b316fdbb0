"""Which part of a file's text a list shows: the lines that match, or the beginning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
        parts: lines that follow each other, with where they begin in the whole text.
        length: characters of the whole text.
        total: how many places of the whole text match.
        places: those of them that are in the parts, the best first; of a whole text with very many not all.
    """

    parts: Sequence[tuple[int, str]]
    length: int
    total: int = 0
    places: Sequence[int] = ()

    @property
    def text(self) -> str:
        return GAP.join([lines for _, lines in self.parts])

    @property
    def start(self) -> int:
        return self.parts[0][0]

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
        if len(self.text) <= most:
            return self
        if most <= 0:
            return Excerpt([(0, "")], self.length, self.total)
        if not self.places:
            start, text = self.parts[0]
            return replace(self, parts=[(start, text[: line_end(text, 0, most)])])
        spans: list[_Span] = []
        for place in self.places:
            if (merged := self._with_lines(place, spans, most)) is None:
                break
            spans = merged
        spans = spans or [self._around(self.places[0], most)]
        parts: list[tuple[int, str]] = []
        for start, end in spans:
            begin, text = self._part_of(start)
            parts.append((start, text[start - begin : end - begin]))
        places = [place for place in self.places if any(start <= place < end for start, end in spans)]
        return replace(self, parts=parts, places=places)

    def _part_of(self, place: int) -> tuple[int, str]:
        return max(part for part in self.parts if part[0] <= place)

    def _with_lines(self, place: int, spans: list[_Span], most: int) -> list[_Span] | None:
        """The spans with the line of a place and one around it, or with that line alone; None if neither fits."""
        if any(start <= place < end for start, end in spans):
            return spans
        begin, text = self._part_of(place)
        own = _line(text, place - begin)
        before = _line(text, own[0] - 1) if own[0] else own
        after = _line(text, own[1]) if own[1] < len(text) else own
        for start, end in ((before[0], after[1]), own):
            merged = _merge([*spans, (begin + start, begin + end)])
            if sum(end - start for start, end in merged) + len(GAP) * (len(merged) - 1) <= most:
                return merged
        return None

    def _around(self, place: int, most: int) -> _Span:
        """A part of a long line, around a place."""
        begin, text = self._part_of(place)
        start = max(0, min(place - begin - most // 4, len(text) - most))
        if start:
            start = text.find("\n", start - 1, place - begin) + 1 or start
        return begin + start, begin + line_end(text, max(start, place - begin), start + most)


def marked(text: str, needles: Sequence[str], pace: Pace) -> Excerpt:
    """A whole text, and where it matches.

    A person who looks for several words means the rarest one, which tells most, on the lines with most of the others.
    """
    if not needles or not text:
        return Excerpt([(0, text)], len(text))
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
        return Excerpt([(0, text)], len(text))
    rarest = min(there, key=lambda needle: totals[needle])
    places = firsts[rarest]
    if len(there) > 1:
        places = sorted(places, key=lambda place: -len(contained(text[slice(*_line(text, place))], there, pace)))
    return Excerpt([(0, text)], len(text), totals[rarest], places)


def _positions(folded: str, needle: str, position: int, most: int) -> list[int]:
    """Where a needle is in a text, from a position on."""
    found: list[int] = []
    while len(found) < most and (position := folded.find(needle, position)) >= 0:
        found.append(position)
        position += len(needle)
    return found


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


def line_end(text: str, start: int, end: int) -> int:
    """Where to cut a text: at `end`, or before it at the end of a line, unless much would be lost."""
    return len(text) if end >= len(text) else text.rfind("\n", (start + end) // 2, end) + 1 or end
