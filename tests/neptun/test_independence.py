"""The library speaks of Neptun, and of nothing that is built on it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import neptun_mcp

LIBRARY = Path(neptun_mcp.__file__).parent / "neptun"

FOREIGN = re.compile(
    r"(?-i:\bNEPTUN\b)"  # settings
    r"|\bmcp|model context|elicit"
    r"|\bhosts?\b|\bassistants?\b|\btools?\b|\bcommands?\b|\brestart"
    r"|\b(?:call|with|by|in) (?:list|delete) (?:imports?|resources)\b",
    re.IGNORECASE,
)
OWN = re.compile(r"host names?|//host\b|raw_host\b|info\[\"host\"\]|developer tools \(F12\)")
"""Of an address, of HTTPX, of a browser."""

WITHIN_NAMES = re.compile(r"_|(?<=[a-z])(?=[A-Z])")
"""Where the words of a name meet."""


@pytest.mark.parametrize("module", sorted(LIBRARY.glob("*.py")), ids=lambda module: module.stem)
def test_nothing_in_the_library_speaks_of_what_is_built_on_it(module: Path) -> None:
    text = WITHIN_NAMES.sub(" ", OWN.sub("", module.read_text("utf-8")))
    assert [text.count("\n", 0, found.start()) + 1 for found in FOREIGN.finditer(text)] == []
