"""`neptun-mcp` and `neptun-mcp serve`: serves on stdin and stdout, or over HTTP."""

from __future__ import annotations

import argparse
import signal
import sys

from .._version import __version__
from ..command_line import command_line
from ..serving import process
from . import listen, refuse, settings_or_exit, tell


def run(options: argparse.Namespace) -> None:
    """Serve until stdin is closed, or over HTTP until a signal."""
    if options.http:
        _over_http(options)
    elif {"host", "port"} & vars(options).keys():
        refuse("--host and --port go with --http. Add it, or leave them out.")
    else:
        _on_stdio(options)


def _on_stdio(options: argparse.Namespace) -> None:
    # There is nothing to tidy up, and cancelled at a bad moment the SDK would end with a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if closed := [name for name in ("stdin", "stdout") if name in options.closed_streams]:
        refuse(
            "An assistant's host speaks to this server on stdin and stdout, but "
            f"{' and '.join(closed)} {'are' if closed[1:] else 'is'} closed. Start it with both open, as a host does.",
        )
    with process.start_up():
        settings = settings_or_exit(options)
        if sys.stdin.isatty():
            tell(
                f"neptun-mcp {__version__} is an MCP server: it waits for an assistant's host on stdin, which here is "
                f"your keyboard. To see what it does: {command_line()} demo. For the rest: {command_line()} --help. "
                "Ctrl-C ends it."
            )
        import anyio

        from ..server import create_server
        from ..serving.stdio import serve

        with process.without_rich():
            server = create_server(settings)
        process.read_long_bodies()
    anyio.run(serve, server, settings.timeout)


def _over_http(options: argparse.Namespace) -> None:
    host, port = getattr(options, "host", "127.0.0.1"), getattr(options, "port", 8000)
    with process.start_up():
        settings = settings_or_exit(options)
        from ..serving.http import build_asgi_app
        from ..serving.web_server import serve

        try:
            with process.without_rich():
                app = build_asgi_app(settings, host)
        except ValueError as error:
            refuse(str(error))
        listener = listen(host, port, "--host and --port")
    serve(app, settings, listener)
