"""`neptun-mcp sandbox`: serves the sample Neptun on a port, for curl or another client."""

from __future__ import annotations

import argparse

import uvicorn

from .. import sandbox
from ..command_line import command_line
from ..neptun.models import COOKIE_NAME
from . import end_at_once, listen, show


def run(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    end_at_once()
    listener = listen("127.0.0.1", getattr(options, "port", 8765), "--port")
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    show(
        f"A Neptun with sample data is at {url} (Ctrl-C ends it). Try:\n\n"
        f"  curl -H 'Cookie: {COOKIE_NAME}={sandbox.COOKIE}' {url}/api/users/1/projects\n\n"
        f"  NEPTUN_BASE_URL={url} NEPTUN_EMAIL={sandbox.EMAIL} NEPTUN_PASSWORD='{sandbox.PASSWORD}' \\\n"
        f"    {command_line()} call list_imports project_id=1\n"
    )
    app = sandbox.create_app(contract=options.contract)
    config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_config=None, access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
