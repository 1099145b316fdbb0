"""`neptun-mcp whoami`: says which account the server uses."""

from __future__ import annotations

import argparse

import anyio

from ..account import create_client
from ..neptun.errors import NeptunError
from ..settings import Settings
from ..tools.words import explained
from . import FAILURE, SUCCESS, say, settings_or_exit, tell


def run(options: argparse.Namespace) -> int:
    """Ask Neptun whose session it is."""
    settings = settings_or_exit(options)
    try:
        user, address = anyio.run(_user, settings)
    except NeptunError as error:
        tell(explained(error))
        return FAILURE
    source = "the environment" if settings.has_credentials else "neptun-mcp login"
    say(f"User {user} at {address}, by {'the sandbox' if settings.sandbox != 'off' else source}.")
    return SUCCESS


async def _user(settings: Settings) -> tuple[int, str]:
    async with create_client(settings) as neptun:
        return await neptun.user_id(), neptun.address
