"""`neptun-mcp demo`, and its picture in the README."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from runpy import run_path

import pytest

from neptun_mcp.commands.demo import CHAT
from tests.processes import Command

ROOT = Path(__file__).parents[2]


def test_the_demo_is_a_chat_that_fits_a_screen_and_ends_with_what_to_do_next(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    demo = command("demo")
    assert (demo.code, demo.stderr) == (0, "")
    lines = demo.stdout.splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 80
    said = " ".join(demo.stdout.split())
    for words, tool, _ in CHAT:
        assert f"you {words} assistant {tool}(" in said
    assert "https://github.com/example/checkout-forms failed 2026-09-02" in said
    assert "asks you Delete the public repository" in said
    assert "you yes Import 105 was deleted." in said
    assert said.endswith("neptun-mcp install --sandbox.")
    assert "neptun-mcp login, then " in said


def test_the_picture_shows_the_demo_of_today() -> None:
    drawn = run_path(str(ROOT / "packaging" / "picture.py"))["picture"]()
    kept = (ROOT / "docs" / "demo.svg").read_text("utf-8")
    assert words(kept) == words(drawn), "run: python packaging/picture.py"


def test_the_picture_needs_nothing_from_elsewhere() -> None:
    kept = re.sub("<text.*?</text>", "", (ROOT / "docs" / "demo.svg").read_text("utf-8"))
    assert set(re.findall(r"https?://[^\"' )]+", kept)) <= {"http://www.w3.org/2000/svg", "https://www.textualize.io"}


def words(svg: str) -> str:
    """What stands in a picture. How it is drawn depends on the version of rich."""
    return " ".join(unescape(" ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))).split())
