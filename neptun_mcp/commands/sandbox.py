"""`neptun-mcp sandbox`: serves the sample Neptun on a port, for curl or another client."""

from __future__ import annotations

import argparse
import os

import anyio

from .. import sandbox
from ..command_line import command_line
from ..neptun.models import COOKIE_NAME
from ..sandbox.listening import serve
from . import end_at_once, fail, show


def run(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    end_at_once()
    port = getattr(options, "port", 8765)

    def started(url: str) -> None:
        show(
            f"A Neptun with sample data is at {url} (Ctrl-C ends it). Try:\n\n"
            f"  curl -H 'Cookie: {COOKIE_NAME}={sandbox.COOKIE}' {url}/api/users/1/projects\n\n"
            f"  NEPTUN_BASE_URL={url} NEPTUN_EMAIL={sandbox.EMAIL} NEPTUN_PASSWORD='{sandbox.PASSWORD}' \\\n"
            f"    {command_line()} call list_imports project_id=1\n"
        )

    async def serve_sandbox() -> None:
        await serve(sandbox.create_app(contract=options.contract), port=port, started=started)

    try:
        anyio.run(serve_sandbox)
    except OSError as error:
        fail(f"Port {port} cannot be used: {os.strerror(error.errno or 0)}. Choose another with --port.")
