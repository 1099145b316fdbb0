"""`neptun-mcp whoami`: says which account the server uses."""

from __future__ import annotations

import argparse

from ..command_line import command_line
from ..neptun.errors import CredentialsMissing, NeptunError
from ..tools.words import TERMINAL, explained
from . import account, as_typed, fail, kept_elsewhere, say, settings_or_exit


def run(options: argparse.Namespace) -> None:
    """Ask Neptun whose session it is."""
    settings = settings_or_exit(options)
    try:
        user = account(settings)
    except NeptunError as error:
        kept = kept_elsewhere(settings.base_url) if isinstance(error, CredentialsMissing) else ""
        fail(as_typed(options, explained(error, TERMINAL)), *filter(None, [kept]))
    if settings.sandbox != "off":
        say(f"{user} of the sample data, because NEPTUN_SANDBOX or --sandbox is set.")
        return
    how = "the settings in the environment" if settings.has_credentials else f"{command_line()} login"
    say(f"Logged in to {settings.base_url} as {user}, by {how}.")
