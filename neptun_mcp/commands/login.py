"""`neptun-mcp login`: logs in to Neptun, and keeps the session for the server."""

from __future__ import annotations

import argparse
import getpass
import sys

import anyio

from ..account import create_client, session_store
from ..neptun.cookies import cookie_value, how_to_get_cookie
from ..neptun.errors import LoginRefused, NeptunError, SessionRefused
from ..neptun.secret_files import MAX_SECRET_FILE
from ..neptun.session import Credentials
from ..settings import Settings
from ..tools.words import advice, happened
from . import FAILURE, MISUSE, SUCCESS, settings_or_exit, show, tell

_SHORTEST = 20
"""Characters of a session cookie; a real one has about 440."""


def run(options: argparse.Namespace) -> int:
    """Ask for a log-in, check it, and keep its session."""
    settings = settings_or_exit(options)
    if settings.sandbox != "off":
        tell("The sandbox needs no log-in. Unset NEPTUN_SANDBOX to log in to Neptun.")
        return MISUSE
    if not (options.cookie or sys.stdin.isatty()):
        tell(
            "E-mail address and password are asked for at a terminal. A cookie can come from a file:",
            "neptun-mcp login --cookie < FILE",
        )
        return MISUSE
    credentials = _pasted(settings.base_url) if options.cookie else _typed(settings.base_url)
    if credentials is None:
        tell("Nothing that could be a log-in was entered. Nothing is kept.")
        return FAILURE
    try:
        user, cookie = anyio.run(_open_session, settings, credentials)
    except NeptunError as error:
        tell(f"{happened(error)} Nothing is kept.", _advice(error))
        return FAILURE
    try:
        place = session_store().save(settings.base_url, cookie)
    except OSError as error:
        tell(f"The session cannot be kept: {error.strerror} ({error.filename}).")
        return FAILURE
    show(f"Logged in to {settings.base_url} as user {user}. The session is kept in {place}.")
    if settings.has_credentials:
        tell("NEPTUN_SESSION_COOKIE, NEPTUN_SESSION_COOKIE_FILE or NEPTUN_EMAIL is set here, and goes first.")
    return SUCCESS


async def _open_session(settings: Settings, credentials: Credentials) -> tuple[int, str]:
    """The user and the cookie of a session that Neptun accepts."""
    async with create_client(settings) as client:
        neptun = client.with_options(credentials=credentials)
        cookie = await neptun.session_cookie()
        return await neptun.user_id(), cookie


def _advice(error: NeptunError) -> str:
    if isinstance(error, LoginRefused):
        return "Both are case-sensitive. With GitHub or a passkey there is no password: use neptun-mcp login --cookie."
    return "Copy it again." if isinstance(error, SessionRefused) else advice(error)


def _typed(address: str) -> Credentials | None:
    """E-mail address and password, as typed at the terminal."""
    tell(f"Log in to {address} (with GitHub or a passkey: neptun-mcp login --cookie).")
    print("E-mail: ", end="", file=sys.stderr, flush=True)
    email = sys.stdin.readline().strip()
    password = _hidden("Password: ") if email else ""
    return Credentials(email=email, password=password) if password else None


def _pasted(address: str) -> Credentials | None:
    """A cookie in any form in which people paste it, which may take several lines; an empty line ends it."""
    if not sys.stdin.isatty():
        cookie = cookie_value(sys.stdin.read(MAX_SECRET_FILE), MAX_SECRET_FILE)
        return Credentials(cookie=cookie) if cookie else None
    tell(f"Paste the session cookie of {address} and press Enter. To get it, {how_to_get_cookie(address)}.")
    pasted = ""
    while line := _hidden("Cookie (not shown): "):
        pasted += f"{line}\n"
        cookie = cookie_value(pasted)
        if cookie and len(cookie) >= _SHORTEST:
            return Credentials(cookie=cookie)
    return None


def _hidden(prompt: str) -> str:
    """What is typed without being shown; empty at the end of the input."""
    try:
        return getpass.getpass(prompt)
    except EOFError:
        return ""
