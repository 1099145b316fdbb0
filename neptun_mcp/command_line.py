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
    if (Path(sys.prefix).parent / "manifest.json").exists():
        return ""
    parts = Path(sys.prefix).parts
    # `uvx` puts uv's cache on PATH for the time of the run.
    runner = "uvx --from" if "archive-v0" in parts else "pipx run --spec" if {".cache", "pipx"} <= {*parts} else ""
    if runner:
        origin = _origin()
        return f"{runner} {_quoted(origin)} {_NAME}" if origin else f"{runner.rpartition(' ')[0]} {_NAME}"
    if "UV_RUN_RECURSION_DEPTH" in os.environ:
        return f"uv run {_NAME}"
    started = sys.argv[0]
    if Path(started) == Path(__file__).with_name("__main__.py"):
        started = ""
    elif Path(started).stem != _NAME:  # another program serves, such as uvicorn
        started = shutil.which(_NAME, path=sysconfig.get_path("scripts")) or ""
    if not started:
        python = next((name for name in ("python", "python3") if shutil.which(name) == sys.executable), "")
        return f"{python or _quoted(sys.executable)} -m neptun_mcp"
    found = shutil.which(_NAME)
    is_found = found and Path(found).with_suffix("") == Path(started).absolute().with_suffix("")
    return _NAME if is_found else _quoted(started)


def _origin() -> str:
    """What this program was installed from, a path or an address; empty if it came from a package index."""
    import json
    from urllib.request import url2pathname

    origin = json.loads(distribution(_NAME).read_text("direct_url.json") or "{}")
    url = str(origin.get("url", ""))
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}"
    return url2pathname(url.removeprefix("file://")) if url.startswith("file://") else url


def _quoted(word: str) -> str:
    """A word for the shell of this system."""
    if os.name != "nt":
        return shlex.quote(word)
    return f'"{word}"' if " " in word else word
