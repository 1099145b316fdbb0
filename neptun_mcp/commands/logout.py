"""`neptun-mcp logout`: removes the session that `login` kept."""

from __future__ import annotations

import argparse

from ..account import session_store
from . import fail, say, settings_or_exit, why
from .whoami import kept_elsewhere


def run(options: argparse.Namespace) -> None:
    """Remove the session of the address that is set."""
    address = settings_or_exit(options).base_url
    try:
        removed = session_store().remove(address)
    except OSError as error:
        fix = "Correct or delete the file" if error.filename else "Unlock the keyring"
        fail(f"The session could not be removed: {why(error)}. {fix}, and log out again.")
    say(
        f"Logged out of {address}."
        if removed
        else f"No session was kept for {address}. {kept_elsewhere(address)}".rstrip()
    )
