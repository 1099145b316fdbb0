"""How messages reach the server: on stdio, and over Streamable HTTP for many people.

`stdio` is one way. The other: `web_server` starts what `http` builds; `gate` lets requests in, with `callers`,
`narrowing`, `bodies`, `turns` and `refused_people`; `mcp_sessions` and `observability` stand around the MCP server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.applications import Starlette


def create_app() -> Starlette:
    """The ASGI application of `web_server`, which stdio does without: it costs a tenth of the start."""
    from .web_server import create_app

    return create_app()
