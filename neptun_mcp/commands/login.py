"""`neptun-mcp login`: logs in to Neptun, and keeps the session for the server."""

from __future__ import annotations

import argparse
import getpass
import os
import re
import sys
from collections.abc import Iterator

import anyio

from ..account import create_client, session_store
from ..command_line import command_line
from ..neptun.cookies import cookie_value, how_to_get_cookie
from ..neptun.errors import LoginRefused, NeptunError, SessionRefused
from ..neptun.secret_files import MAX_SECRET_FILE, read_secret
from ..neptun.session import Credentials, User
from ..settings import Settings
from ..tools.words import TERMINAL, advice, happened, login_command
from . import as_typed, fail, refuse, say, settings_or_exit, tell, why
from .whoami import shown_user

_KEYS = re.compile(r"\x1b\[[\d;]*[A-Za-z~]")
"""What keys without a character send, and some terminals around what is pasted."""

_SHORTEST = 20
"""Characters of a session cookie; a real one has about 440."""


def run(options: argparse.Namespace) -> None:
    """Ask for a log-in, check it, and keep its session."""
    settings = settings_or_exit(options)
    if settings.sandbox != "off":
        refuse("The sandbox needs no log-in. To log in to Neptun, leave out --sandbox and unset NEPTUN_SANDBOX.")
    if not (options.cookie or sys.stdin.isatty()):
        refuse(
            "E-mail address and password are asked for at a terminal. A cookie can come from a file: "
            f"{login_command(settings.base_url, ' --cookie < FILE')}"
        )
    try:
        credentials = _pasted(settings.base_url) if options.cookie else _typed(settings.base_url)
    except OSError as error:
        fail(f"The cookie cannot be read: {error.strerror}. Nothing is kept.")
    if credentials is None:
        wanted = "the value of the cookie neptun-session" if options.cookie else "e-mail address and password"
        fail(f"What you entered is not a log-in, so nothing was saved. Enter {wanted}.")
    try:
        cookie, user = anyio.run(_open_session, settings, credentials)
    except NeptunError as error:
        fail(f"{happened(error)} Nothing is kept.", as_typed(options, _advice(error, settings.base_url)))
    try:
        place = session_store().save(settings.base_url, cookie)
    except OSError as error:
        fail(f"The session cannot be kept: {why(error)}. Correct that, or move the file away, and log in again.")
    say(f"Logged in to {settings.base_url} as {shown_user(user)}. The session is kept in {place}.")
    if settings.has_credentials:
        tell(
            "NEPTUN_SESSION_COOKIE, NEPTUN_SESSION_COOKIE_FILE or NEPTUN_EMAIL is set here, and is used instead. "
            "Unset it to use this session."
        )
    say(f"Next: {command_line()} install adds the server to your host; one that has it needs no restart.")


async def _open_session(settings: Settings, credentials: Credentials) -> tuple[str, User]:
    """The cookie of a session that Neptun accepts, and its user."""
    async with create_client(settings) as client:
        return await client.with_options(credentials=credentials).log_in()


def _advice(error: NeptunError, address: str) -> str:
    if isinstance(error, LoginRefused):
        how = login_command(address, " --cookie")
        return f"Both are case-sensitive. If you sign in with GitHub or a passkey, there is no password: use {how}."
    return "Copy it again." if isinstance(error, SessionRefused) else advice(error, TERMINAL)


def _typed(address: str) -> Credentials | None:
    """E-mail address and password, as typed at the terminal."""
    tell(f"Log in to {address} (with GitHub or a passkey: {login_command(address, ' --cookie')}).")
    print("E-mail: ", end="", file=sys.stderr, flush=True)
    email = sys.stdin.readline().strip()
    try:
        password = _KEYS.sub("", getpass.getpass("Password: ")) if email else ""
    except (EOFError, UnicodeDecodeError):
        return None
    return Credentials(email=email, password=password) if password else None


def _pasted(address: str) -> Credentials | None:
    """A cookie, however it is pasted: that may take several lines, and an empty one ends it."""
    if not sys.stdin.isatty():
        cookie = cookie_value(read_secret(sys.stdin.buffer), MAX_SECRET_FILE)
        return Credentials(cookie=cookie) if cookie else None
    tell(f"Paste the session cookie of {address} and press Enter. To get it, {how_to_get_cookie(address)}.")
    pasted = ""
    for line in _pasted_lines("Cookie (not shown): "):
        pasted += f"{line}\n"
        # A form of several lines, or another try after one that was no cookie.
        cookie = cookie_value(pasted, MAX_SECRET_FILE) or cookie_value(line, MAX_SECRET_FILE)
        if cookie and len(cookie) >= _SHORTEST:
            return Credentials(cookie=cookie)
        if not line or len(pasted) > MAX_SECRET_FILE:
            break
    return None


def _pasted_lines(prompt: str) -> Iterator[str]:
    """Lines of any length, which are not shown; an empty one at the end of the input.

    In its usual mode a terminal keeps 4,095 characters of a line (macOS: 1,023) and drops the rest without a word, so
    this reads characters as they come.
    """
    try:
        import termios
        import tty
    except ImportError:  # Windows, which has no such limit
        while True:
            yield getpass.getpass(prompt)
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSADRAIN)
        while True:
            print(prompt, end="", file=sys.stderr, flush=True)
            line = b""
            while (typed := os.read(terminal, 1)) not in b"\r\n\x04":  # Enter, Ctrl-D, or the end
                if typed in b"\x15\x17":  # Ctrl-U, Ctrl-W
                    line = b""
                elif typed in b"\b\x7f":  # Backspace
                    line = line.decode(errors="replace")[:-1].encode()
                else:
                    line += typed
            print(file=sys.stderr)
            yield _KEYS.sub("", line.decode(errors="replace"))
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
