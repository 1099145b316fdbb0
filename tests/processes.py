"""The command in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

COMMAND = [sys.executable, "-m", "neptun_mcp"]


@dataclass(frozen=True)
class Ran:
    """What a run of the command left behind."""

    code: int | str | None
    stdout: str
    stderr: str


def run(*arguments: str, stdin: int = subprocess.DEVNULL, environment: Mapping[str, str] | None = None) -> Ran:
    """The command in a process of its own."""
    process = subprocess.run(
        [*COMMAND, *arguments],
        stdin=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    return Ran(process.returncode, process.stdout, process.stderr)


Command: TypeAlias = Callable[..., Ran]
