"""Which part of a file's text a list shows: the lines that match, or the beginning."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TypeAlias

from pydantic_core import to_json

from ..neptun.threads import Pace
from .folding import contained, folded_pieces, unfolded

PREVIEW = 500
"""Characters of a file's text in a list, at most."""

GAP = "…\n"
"""Stands for the lines that are left out between two others."""

_MOST = 200  # places that are looked at; the others are only counted

_Part: TypeAlias = tuple[int, str]  # where it begins in the whole text, and what it holds


@dataclass(frozen=True)
class Excerpt:
    """A short text, or of a longer one the lines that match, or its beginning.

    Attributes:
        parts: what is shown, the best first.
        length: characters of the whole text.
        total: how many places of the whole text match.
        places: those of them that are shown, the best first.
    """

    parts: Sequence[_Part]
    length: int
    total: int = 0
    places: Sequence[int] = ()

    @property
    def text(self) -> str:
        """The parts in their order, with a mark where something is left out between them."""
        text, end = "", None
        for start, lines in sorted(self.parts):
            text += f"{GAP if end not in (None, start) else ''}{lines}"
            end = start + len(lines)
        return text

    @property
    def is_all(self) -> bool:
        return sum(len(lines) for _, lines in self.parts) == self.length

    def fields(self) -> dict[str, Any]:
        """What a list says of a file's text; None for what need not be said."""
        is_all = self.is_all
        return {
            "text": self.text,
            "text_length": None if is_all else self.length,
            "text_offset": min(self.parts)[0] or None,
            "matches": None if is_all or self.total <= len(self.places) else self.total,
        }

    def of(self, parts: Sequence[_Part]) -> Excerpt:
        """Some parts of it."""
        places = [place for place in self.places if any(start <= place < start + len(lines) for start, lines in parts)]
        return replace(self, parts=parts, places=places)

    def within(self, room: int) -> Excerpt:
        """The best part of it that takes at most `room` bytes as JSON."""
        if json_size(self.text) <= room:
            return self
        kept: list[_Part] = []
        best = _best_lines(self.parts[0][1], self.places) if self.is_all else self.parts
        for part in best if room else ():
            if json_size(self.of([*kept, part]).text) <= room:
                kept.append(part)
            elif self.of([part]).places:
                break  # what follows stands around this line
        most = room
        while not kept:
            part = _around(self.parts[0], self.places[0] if self.places else 0, most)
            size = json_size(part[1])
            if size <= room:
                kept.append(part)
            else:
                most = len(part[1]) * room // size
        return self.of(kept)


def excerpt_of(text: str, needles: Sequence[str], pace: Pace) -> Excerpt:
    """What a list shows of a text in which needles, folded ones, may be found: `PREVIEW` characters at most."""
    whole = Excerpt([(0, text)], len(text), *_matches(text, needles, pace))
    return whole if len(text) <= PREVIEW else whole.of(_best_lines(text, whole.places))


def _best_lines(text: str, places: Sequence[int]) -> list[_Part]:
    """The lines with the first of these places, each with the lines around it, or the beginning of the text."""
    parts: list[_Part] = []
    covered, room = set[int](), PREVIEW + len(GAP)
    for place in places:
        if place in covered:
            continue
        for start, line in _line_and_those_around(text, place):
            end = start + len(line)
            size = len(line) + len(GAP) * (1 - (start - 1 in covered) - (end in covered))
            if size <= room and start not in covered:
                parts.append((start, line))
                covered.update(range(start, end))
                room -= size
            elif place not in covered:
                return parts or [_around((start, line), place, PREVIEW)]
    return parts or [_around((0, text), 0, PREVIEW)]


def _matches(text: str, needles: Sequence[str], pace: Pace) -> tuple[int, list[int]]:
    """How many places of a text match, and where some of them are, the best first.

    A person who looks for several words means the rarest one, which tells most, on the lines with most of the others.
    """
    totals = dict.fromkeys(needles, 0)
    firsts: dict[str, list[int]] = {needle: [] for needle in needles}
    for piece in folded_pieces(text, max(map(len, needles)) - 1, pace) if needles else ():
        for needle in needles:
            # What ends within the part that was carried was counted with the part before.
            begin = max(0, piece.carried - len(needle) + 1)
            count = piece.folded.count(needle, begin)
            totals[needle] += count
            if count and (more := _MOST - len(firsts[needle])):
                found = islice(re.compile(re.escape(needle)).finditer(piece.folded, begin), more)
                positions = [max(0, match.start() - piece.carried) for match in found]
                firsts[needle] += [piece.start + index for index in unfolded(piece.part, positions)]
    there = [needle for needle in needles if totals[needle]]
    if not there:
        return 0, []
    rarest = min(there, key=lambda needle: totals[needle])
    places = firsts[rarest]
    if len(there) > 1:
        places = sorted(places, key=lambda place: -len(contained(_line(text, place)[1], there, pace)))
    return totals[rarest], places


def _line_and_those_around(text: str, place: int) -> Iterator[_Part]:
    start, line = _line(text, place)
    yield start, line
    if start:
        yield _line(text, start - 1)
    if start + len(line) < len(text):
        yield _line(text, start + len(line))


def _line(text: str, place: int) -> _Part:
    """The line that a character is in, its end included; of a long one more than an excerpt may have."""
    start = text.rfind("\n", max(0, place - PREVIEW), place) + 1 or max(0, place - PREVIEW)
    end = text.find("\n", place, place + PREVIEW) + 1 or min(len(text), place + PREVIEW)
    return start, text[start:end]


def _around(part: _Part, place: int, most: int) -> _Part:
    """At most `most` characters of a part, some of them before a place in it."""
    start, text = part
    begin = max(0, min(place - start - most // 4, len(text) - most))
    return start + begin, text[begin : line_end(text, begin, begin + most)]


def line_end(text: str, start: int, end: int) -> int:
    """Where to cut a text: at `end`, or before it at the end of a line, unless much would be lost."""
    return len(text) if end >= len(text) else text.rfind("\n", (start + end) // 2, end) + 1 or end


def json_size(text: str) -> int:
    """The bytes that a text takes within JSON in UTF-8."""
    return len(to_json(text)) - 2
