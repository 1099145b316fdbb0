"""How this program was started, as a person would type it: advice that names the command has to work when followed."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import sysconfig
from importlib.metadata import distribution
from pathlib import Path

_NAME = "neptun-mcp"


def command_line() -> str:
    """The command as it was started: `neptun-mcp`, `.venv/bin/neptun-mcp`, `uvx neptun-mcp`, `python -m neptun_mcp`, …

    Returns:
        What to type before a command such as `login`, quoted for a shell; empty in a bundle (MCPB), which has settings
        in its host in place of a command.
    """
    prefix = Path(sys.prefix)
    if (prefix.parent / "manifest.json").exists():
        return ""
    if "archive-v0" in prefix.parts:  # uv's cache; `uvx` puts it on PATH for the time of the run
        return _by_runner("uvx", "--from")
    if ".cache" in prefix.parts and "pipx" in prefix.parts:
        return _by_runner("pipx run", "--spec")
    if "UV_RUN_RECURSION_DEPTH" in os.environ:
        return f"uv run {_NAME}"
    started = sys.argv[0]
    if Path(started).stem != _NAME:
        if Path(started).name == "__main__.py" and Path(started).parent == Path(__file__).parent:
            return _by_python()
        # Another program serves, such as uvicorn.
        started = shutil.which(_NAME, path=sysconfig.get_path("scripts")) or ""
    return _shortest(started) if started else _by_python()


def _by_runner(runner: str, option: str) -> str:
    """A command that installs for one run, with what it was told to install."""
    import json

    origin = distribution(_NAME).read_text("direct_url.json")
    if not origin:
        return f"{runner} {_NAME}"
    found = json.loads(origin)
    url = str(found["url"])
    if "vcs_info" in found:
        url = f"{found['vcs_info']['vcs']}+{url}"
    return f"{runner} {option} {_quoted(url.removeprefix('file://'))} {_NAME}"


def _by_python() -> str:
    for name in ("python", "python3"):
        if shutil.which(name) == sys.executable:
            return f"{name} -m neptun_mcp"
    return f"{_quoted(sys.executable)} -m neptun_mcp"


def _shortest(program: str) -> str:
    """The name alone where that finds this very program."""
    found = shutil.which(_NAME)
    if found and Path(found).with_suffix("") == Path(program).absolute().with_suffix(""):
        return _NAME
    return program if program == _NAME else _quoted(program)


def _quoted(word: str) -> str:
    """A word for the shell of this system."""
    if os.name != "nt":
        return shlex.quote(word)
    return f'"{word}"' if " " in word else word
