"""Writes docs/demo.svg, the picture of the demo in the README: python packaging/picture.py"""

from __future__ import annotations

import os
import re
from pathlib import Path

import anyio
from rich.console import Console

from neptun_mcp.commands.demo import demo

PICTURE = Path(__file__).parents[1] / "docs" / "demo.svg"

_FONT_ELSEWHERE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def picture() -> str:
    """The chat of the demo as SVG, 80 columns wide, with the reader's own fonts."""
    with open(os.devnull, "w") as nowhere:
        console = Console(
            record=True,
            width=80,
            file=nowhere,
            force_terminal=True,
            color_system="standard",
            highlight=False,
            markup=False,
        )
        anyio.run(demo, console.print)
    svg = console.export_svg(title="neptun-mcp demo", unique_id="demo")
    return _FONT_ELSEWHERE.sub("", svg).replace("Fira Code", "ui-monospace, Menlo, Consolas")


if __name__ == "__main__":
    PICTURE.write_text(picture(), "utf-8")
