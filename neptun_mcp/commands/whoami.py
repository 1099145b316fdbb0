"""`neptun-mcp whoami`: says which account the server uses; other commands name accounts as it does."""

from __future__ import annotations

import argparse

import anyio

from ..account import create_client, session_store
from ..command_line import command_line
from ..neptun.errors import CredentialsMissing, NeptunError
from ..neptun.session import User
from ..settings import Settings
from ..tools.words import TERMINAL, explained
from . import as_typed, fail, say, settings_or_exit


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


def account(settings: Settings) -> str:
    """Whose account the settings lead to, as a person knows it.

    Raises:
        NeptunError: it cannot be found out.
    """

    async def user() -> User:
        async with create_client(settings) as neptun:
            return await neptun.user()

    return shown_user(anyio.run(user))


def shown_user(user: User) -> str:
    """Whom a person knows by this account: the e-mail address, and the id, which settings and messages name."""
    return f"{user.email} (user {user.id})" if user.email else f"user {user.id}"


def kept_elsewhere(address: str) -> str:
    """A sentence that names the other addresses with a session of `login`; empty if there is none."""
    kept = [other for other in session_store().addresses() if other != address]
    sessions, it = ("A session is", "it") if len(kept) == 1 else ("Sessions are", "one")
    return f"{sessions} kept for {' and '.join(kept)}: --base-url or NEPTUN_BASE_URL chooses {it}." if kept else ""
