"""neptun-mcp: an MCP server that lets an assistant look up and tidy a person's Neptun projects.

For other programs: `create_server` embeds the server, `NeptunClient` is the web API without MCP, `Settings` are the
`NEPTUN_*` variables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__

if TYPE_CHECKING:
    from .neptun.client import NeptunClient
    from .neptun.errors import NeptunError
    from .neptun.session import Credentials
    from .server import create_server
    from .settings import Settings

__all__ = ["Credentials", "NeptunClient", "NeptunError", "Settings", "create_server"]

_HOMES = {
    "Credentials": "neptun.session",
    "NeptunClient": "neptun.client",
    "NeptunError": "neptun.errors",
    "Settings": "settings",
    "create_server": "server",
}


def __getattr__(name: str) -> Any:
    """Imported when used: `neptun-mcp --version` needs none of it, and `NeptunClient` needs no MCP."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
