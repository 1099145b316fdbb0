"""Two ways to start: `serve --http`, whose web server loses no request when it ends, and an application for another."""

from __future__ import annotations

import logging
import math
import signal
import socket
import sys
from select import select
from types import FrameType
from typing import Any

import anyio
import uvicorn
from anyio.lowlevel import checkpoint
from pydantic import ValidationError
from starlette.applications import Starlette

from .._version import __version__
from ..log import configure_logging
from ..settings import Settings, bracketed, problems
from . import process
from .deadlines import end_unread_connections
from .http import build_asgi_app

GRACE_SECONDS = 5
"""How much longer than the time limit of a call the process may take to end."""

LEAVING_SECONDS = 3
"""How much of that time open connections wait for another request: longer than nginx, set up as in docs/remote.md,
keeps those that it does not use."""

BACKLOG, QUEUE = 1, 1024
"""How many connections are accepted before anything else runs, and how many the system keeps until then. Of those that
it turns away, peers try again after a second, then after three, then after seven."""

MAX_HEAD = 32 * 2**10
"""Bytes of an address and all headers together, in the web server."""

_log = logging.getLogger("neptun_mcp.serve")
_log.setLevel(logging.INFO)  # whatever is set for the others


def create_app() -> Starlette:
    """The ASGI application, as the environment describes it; for the command line of a web server.

    It knows neither its address nor how many processes there are, so it needs the settings for any address and for
    several processes.

    Raises:
        SystemExit: a setting is malformed or missing; stderr says which, in a line each.
    """
    try:
        settings = Settings()
        configure_logging(settings)
        if not settings.mcp_state_key:
            raise ValueError("NEPTUN_MCP_STATE_KEY has to be set: the same one for all processes")
        with process.start_up(), process.without_rich():
            app = build_asgi_app(settings)
    except ValueError as error:
        lines = problems(error) if isinstance(error, ValidationError) else [str(error)]
        sys.stderr.write("\n".join([*lines, ""]))
        sys.exit(2)
    # uvicorn's own lines go the same way.
    uvicorn_log = logging.getLogger("uvicorn")
    uvicorn_log.handlers.clear()
    uvicorn_log.propagate = True
    process.serve_many()
    _log.info("serving", extra={"fields": _described(settings)})
    return app


def serve(app: Starlette, settings: Settings, listener: socket.socket) -> None:
    """Serve in this process until SIGINT or SIGTERM; in-flight calls finish."""
    process.serve_many()
    end_unread_connections(listener)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_config=None,
        log_level="info",
        access_log=False,
        backlog=BACKLOG,
        timeout_keep_alive=settings.mcp_keep_alive,
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_graceful_shutdown=math.ceil(settings.timeout) + GRACE_SECONDS - LEAVING_SECONDS,
    )
    host, port = listener.getsockname()[:2]
    here, public = f"http://{bracketed(host)}:{port}", settings.mcp_public_url
    fields = ({"listens_on": here} if public else {}) | _described(settings)
    _log.info("MCP is at %s/mcp", public or here, extra={"fields": fields})
    _Server(config).run(sockets=[listener])


def _described(settings: Settings) -> dict[str, Any]:
    """What the log says at the start."""
    sample = {} if settings.sandbox == "off" else {"neptun": "sample data"}
    return {"version": __version__, "credentials": settings.mcp_credentials, "tokens": len(settings.tokens), **sample}


class _Server(uvicorn.Server):
    """A web server that loses no request when it ends."""

    _leaving_seconds = LEAVING_SECONDS

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGINT:  # somebody waits for the end, and no gateway is there
            self._leaving_seconds = 0
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(QUEUE)  # asyncio has it listen with `BACKLOG`, for both

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no connection, and let peers end those that there are, with their next answer or unused.

        uvicorn closes unused ones at once. A request that a gateway sends at that moment would be lost: it may be a
        deletion, so the gateway does not send it to another process. So would one on a connection that the system has
        taken, and this process not yet.
        """
        quiet = 0
        for _ in range(QUEUE):
            quiet = 0 if select(sockets or (), (), (), 0)[0] else quiet + 1
            if quiet > 3:
                break
            await checkpoint()  # the event loop accepts some, and in another round takes them over
        for server in self.servers:
            server.close()
        for _ in range(20 * self._leaving_seconds):
            if not self.server_state.connections or self.force_exit:
                break
            await anyio.sleep(1 / 20)
        await super().shutdown(sockets)
