"""Writes docs/demo.svg, the picture of the demo in the README: python packaging/picture.py"""

from __future__ import annotations

import os
from pathlib import Path

import anyio
from rich.console import Console

from neptun_mcp.commands.demo import DELETION, IMPORTS, RESOURCES, demo

PICTURE = Path(__file__).parents[1] / "docs" / "demo.svg"


def main() -> None:
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=100, file=nowhere, force_terminal=True, color_system="standard")
        anyio.run(demo, console, False, (IMPORTS, RESOURCES[-1], DELETION))
    PICTURE.write_text(console.export_svg(title="neptun-mcp demo"), "utf-8")


if __name__ == "__main__":
    main()
