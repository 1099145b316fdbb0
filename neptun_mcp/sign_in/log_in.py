"""Turns what a person types on the page into a Neptun session, and limits how often an account may be tried, so that
nobody guesses its password or locks its owner out."""

from __future__ import annotations

import logging
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import TypeAlias

import anyio
from pydantic import BaseModel, Field

from ..log import digest
from ..neptun.client import NeptunClient
from ..neptun.cookies import cookie_value
from ..neptun.errors import LoginRefused, NeptunError, SessionRefused
from ..neptun.session import Credentials
from .refusals import Refused

MAX_COOKIE = 4_096
"""Characters of a pasted session, as in browsers; a real one has about 440."""

ATTEMPTS = 5
"""How often one account may be tried within `ATTEMPTS_SECONDS`, in this process."""

ATTEMPTS_SECONDS = 5 * 60
MAX_ACCOUNTS = 20_000
"""Accounts that were tried in the last `ATTEMPTS_SECONDS`; more have to wait. Each takes some 300 bytes."""

MAX_KNOWN = 5

_SEALED_SESSION = re.compile(r"Fe26\.2(\*|%2A)[\w*%-]{100,}", re.ASCII)
"""The form of Neptun's session cookies (recorded): Neptun need not be asked about what has another one."""

_log = logging.getLogger("neptun_mcp.sign_in")


class KnownBrowser(BaseModel):
    """What a browser in which somebody has signed in with a password carries, sealed.

    Attributes:
        id: tells it from other browsers.
        accounts: digests of the last accounts.
    """

    id: str = Field(default_factory=lambda: secrets.token_urlsafe(12))
    accounts: list[str] = []

    def with_account(self, account: str) -> KnownBrowser:
        others = [other for other in self.accounts if other != account]
        return KnownBrowser(id=self.id, accounts=[account, *others][:MAX_KNOWN])


LoggedIn: TypeAlias = tuple[str, int, KnownBrowser | None]
"""The cookie of a person's Neptun session, the person's id, and what the browser carries from now on; None for what it
has."""


class NotLoggedIn(Refused):
    """What the person has to correct.

    Attributes:
        errors: as the page shows them, by the name of the field.
    """

    def __init__(self, error: str, status: int, errors: Mapping[str, str]) -> None:
        super().__init__(" ".join(errors.values()), status, error)
        self.errors = errors


class LogIn:
    """Logs people in to Neptun, over the connections of a client."""

    def __init__(self, neptun: NeptunClient) -> None:
        self._neptun = neptun
        self._attempts = _Attempts()

    async def with_password(self, fields: Mapping[str, str], browser: KnownBrowser | None) -> LoggedIn:
        """The session for an e-mail address and a password.

        Args:
            fields: those of the form.
            browser: the browser's, if somebody has signed in there before.

        Raises:
            NotLoggedIn: there is none.
        """
        labels = {"email": "e-mail address", "password": "password"}
        missing = {name: f"Enter your {label}." for name, label in labels.items() if not fields.get(name, "").strip()}
        if missing:
            raise NotLoggedIn("wrong", 422, missing)
        email, password = fields["email"].strip(), fields["password"]
        account = digest(email.casefold())[:32]
        # A browser in which somebody has signed in to the account before is counted by itself: strangers who try the
        # account do not lock its owner out there.
        counted = f"{account} {browser.id}" if browser and account in browser.accounts else account
        if not self._attempts.take(counted):
            words = (
                f"There were too many attempts for this account. Try again in {ATTEMPTS_SECONDS // 60} minutes, or use "
                "a browser in which you have signed in to it here before."
            )
            raise NotLoggedIn("limited", 429, {"": words})
        wrong = {"password": "The e-mail address or the password is wrong. Both are case-sensitive."}
        try:
            cookie, user_id = await self._session(Credentials(email=email, password=password), wrong)
        except NotLoggedIn as problem:
            if problem.error == "failed":
                self._attempts.give_back(counted)
            raise
        self._attempts.forget(counted)
        return cookie, user_id, (browser or KnownBrowser()).with_account(account)

    async def with_cookie(self, fields: Mapping[str, str]) -> LoggedIn:
        """The session whose cookie the person pasted.

        Raises:
            NotLoggedIn: it is none.
        """
        cookie = cookie_value(fields.get("cookie", ""), MAX_COOKIE)
        if cookie is None or not _SEALED_SESSION.fullmatch(cookie):
            wrong = "This is not a session cookie. Copy the value of neptun-session again."
            raise NotLoggedIn("wrong", 422, {"cookie": wrong})
        refused = {"cookie": "Neptun does not accept this cookie: it is expired or wrong. Copy it again."}
        return *await self._session(Credentials(cookie=cookie), refused), None

    async def _session(self, credentials: Credentials, wrong: Mapping[str, str]) -> tuple[str, int]:
        neptun = self._neptun.with_options(credentials=credentials)
        try:
            cookie, user = await neptun.log_in()
            return cookie, user.id
        except (LoginRefused, SessionRefused):
            raise NotLoggedIn("wrong", 422, wrong) from None
        except NeptunError as error:
            _log.warning("nobody can sign in: %s", error)
            words = "Neptun cannot be reached, or does not answer as expected. Try again in a minute."
            raise NotLoggedIn("failed", 503, {"": words}) from None


class _Attempts:
    """Counts the attempts of this process. Counts expire; they are never evicted."""

    def __init__(self) -> None:
        # How often, and until when that counts; as they began, so that those whose time is over come first.
        self._tried = OrderedDict[str, tuple[int, float]]()

    def take(self, account: str) -> bool:
        """Count an attempt, unless an account may not be tried now."""
        now = anyio.current_time()
        while self._tried and next(iter(self._tried.values()))[1] <= now:
            self._tried.popitem(last=False)
        times, until = self._tried.get(account, (0, now + ATTEMPTS_SECONDS))
        if times >= ATTEMPTS or (account not in self._tried and len(self._tried) >= MAX_ACCOUNTS):
            return False
        self._tried[account] = times + 1, until
        return True

    def give_back(self, account: str) -> None:
        """An attempt does not count: Neptun could not say whether it was right."""
        if account in self._tried:
            times, until = self._tried[account]
            self._tried[account] = times - 1, until

    def forget(self, account: str) -> None:
        """No attempt counts any more: the last one was right."""
        self._tried.pop(account, None)
