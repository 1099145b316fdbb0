"""`neptun-mcp` and `neptun-mcp serve`: serves on stdin and stdout, or over HTTP."""

from __future__ import annotations

import argparse
import signal
import sys

from .. import tuning
from .._version import __version__
from . import MISUSE, SUCCESS, settings_or_exit, tell


def run(options: argparse.Namespace) -> int:
    """Serve until stdin is closed, or over HTTP until a signal."""
    return _over_http(options) if options.http else _on_stdio(options)


def _on_stdio(options: argparse.Namespace) -> int:
    # There is nothing to tidy up, and cancelled at a bad moment the SDK would end with a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with tuning.imports():
        settings = settings_or_exit(options)
        if sys.stdin.isatty():
            tell(
                f"neptun-mcp {__version__} is an MCP server: it waits for an assistant's host on stdin, which",
                "here is your keyboard. To see what it does: neptun-mcp demo. For the rest: neptun-mcp --help.",
                "Ctrl-C ends it.",
            )
        import anyio

        from ..server import create_server
        from ..stdio import serve

        server = create_server(settings)
        tuning.read_long_bodies()
    anyio.run(serve, server, settings.timeout)
    return SUCCESS


def _over_http(options: argparse.Namespace) -> int:
    with tuning.imports():
        settings = settings_or_exit(options)
        from ..remote.app import build_asgi_app, serve

        try:
            app = build_asgi_app(settings, options.host)
        except ValueError as error:
            tell(str(error))
            return MISUSE
        tuning.read_long_bodies()
    serve(app, settings, options.host, options.port)
    return SUCCESS
