"""How what a person types on the page becomes a Neptun session."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..log import digest
from ..neptun.client import NeptunClient
from ..neptun.cookies import cookie_value
from ..neptun.errors import LoginRefused, NeptunError, SessionRefused
from ..neptun.session import Credentials
from .attempts import Attempts, KnownBrowser

MAX_COOKIE = 4_096
"""Characters of a pasted session, as in browsers; a real one has about 440."""

_SEALED_SESSION = re.compile(r"Fe26\.2(\*|%2A)[\w*%-]{100,}", re.ASCII)
"""The form of Neptun's session cookies (recorded): Neptun need not be asked about what has another one."""

_log = logging.getLogger("neptun_mcp.sign_in")


@dataclass(frozen=True)
class LoggedIn:
    """A person's Neptun session.

    Attributes:
        cookie: its cookie.
        user_id: the person's id.
        browser: what the browser is to carry from now on; None for what it has.
    """

    cookie: str = field(repr=False)
    user_id: int
    browser: KnownBrowser | None = None


class NotLoggedIn(Exception):
    """What the person has to correct.

    Attributes:
        outcome: a word for the log.
        status: the HTTP status of the page.
        errors: as the page shows them, by the name of the field.
    """

    def __init__(self, outcome: str, status: int, errors: Mapping[str, str]) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.status = status
        self.errors = errors


class LogIn:
    """Logs people in to Neptun.

    Args:
        neptun: its connections are used.
    """

    def __init__(self, neptun: NeptunClient) -> None:
        self._neptun = neptun
        self._attempts = Attempts()

    async def with_password(self, fields: Mapping[str, str], browser: KnownBrowser | None) -> LoggedIn:
        """The session for an e-mail address and a password.

        Args:
            fields: those of the form.
            browser: the browser's, if somebody has signed in there before.

        Raises:
            NotLoggedIn: there is none.
        """
        email, password = fields.get("email", "").strip(), fields.get("password", "")
        missing = {
            name: f"Enter your {word}."
            for name, word, given in (("email", "e-mail address", email), ("password", "password", password))
            if not given
        }
        if missing:
            raise NotLoggedIn("wrong", 422, missing)
        account = digest(email.casefold())[:32]
        if wait := self._attempts.take(account, browser):
            raise NotLoggedIn("limited", 429, {"": _too_many(wait)})
        try:
            session = await self._session(Credentials(email=email, password=password))
        except LoginRefused:
            wrong = "The e-mail address or the password is wrong. Both are case-sensitive."
            raise NotLoggedIn("wrong", 422, {"password": wrong}) from None
        except NotLoggedIn:
            self._attempts.give_back(account, browser)
            raise
        self._attempts.forget(account, browser)
        return LoggedIn(*session, (browser or KnownBrowser()).with_account(account))

    async def with_cookie(self, fields: Mapping[str, str]) -> LoggedIn:
        """The session whose cookie the person pasted.

        Raises:
            NotLoggedIn: it is none.
        """
        cookie = cookie_value(fields.get("cookie", ""), MAX_COOKIE)
        if cookie is None or not _SEALED_SESSION.fullmatch(cookie):
            wrong = "This is not a session cookie. Copy the value of neptun-session again."
            raise NotLoggedIn("wrong", 422, {"cookie": wrong})
        try:
            return LoggedIn(*await self._session(Credentials(cookie=cookie)))
        except SessionRefused:
            wrong = "Neptun does not accept this cookie: it is expired or wrong. Copy it again."
            raise NotLoggedIn("wrong", 422, {"cookie": wrong}) from None

    async def _session(self, credentials: Credentials) -> tuple[str, int]:
        neptun = self._neptun.with_options(credentials=credentials)
        try:
            cookie, user = await neptun.log_in()
            return cookie, user.id
        except (LoginRefused, SessionRefused):
            raise
        except NeptunError as error:
            _log.warning("nobody can sign in: %s", error)
            words = "Neptun cannot be reached, or does not answer as expected. Try again in a minute."
            raise NotLoggedIn("failed", 503, {"": words}) from None


def _too_many(seconds: float) -> str:
    minutes = math.ceil(seconds / 60)
    later = "1 minute" if minutes == 1 else f"{minutes} minutes"
    return (
        f"There were too many attempts for this account. Try again in {later}, or use a browser in which you have "
        "signed in to it here before."
    )
