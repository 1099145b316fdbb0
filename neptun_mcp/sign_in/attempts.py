"""How often an account may be tried, so that nobody guesses its password, and nobody locks its owner out."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass

import anyio
from pydantic import BaseModel, Field

ATTEMPTS = 5
"""How often one account may be tried within `ATTEMPTS_SECONDS`, in this process."""

ATTEMPTS_SECONDS = 5 * 60
MAX_ACCOUNTS = 20_000
"""Accounts that were tried in the last `ATTEMPTS_SECONDS`; more have to wait. Each takes some 300 bytes."""

MAX_KNOWN = 5


class KnownBrowser(BaseModel):
    """What a browser carries, sealed, in which somebody has signed in with a password.

    Attributes:
        id: tells it from other browsers.
        accounts: digests of the last accounts.
    """

    id: str = Field(default_factory=lambda: secrets.token_urlsafe(12))
    accounts: list[str] = []

    def with_account(self, account: str) -> KnownBrowser:
        others = [other for other in self.accounts if other != account]
        return KnownBrowser(id=self.id, accounts=[account, *others][:MAX_KNOWN])


@dataclass
class _Tried:
    until: float
    times: int = 0


class Attempts:
    """Counts the attempts of this process.

    A browser in which somebody has signed in to the account before is counted by itself: however often others try,
    it can. Counts expire; they are never evicted.
    """

    def __init__(self) -> None:
        self._tried = OrderedDict[str, _Tried]()  # as they began, so that those whose time is over come first

    def take(self, account: str, browser: KnownBrowser | None) -> float:
        """Count an attempt.

        Args:
            account: a digest of it.
            browser: the one in which it is made, if somebody has signed in there.

        Returns:
            Seconds to wait before the account may be tried; 0 if now.
        """
        now, key = anyio.current_time(), _key(account, browser)
        while self._tried and next(iter(self._tried.values())).until <= now:
            self._tried.popitem(last=False)
        if key not in self._tried:
            if len(self._tried) >= MAX_ACCOUNTS:
                return next(iter(self._tried.values())).until - now
            self._tried[key] = _Tried(now + ATTEMPTS_SECONDS)
        tried = self._tried[key]
        if tried.times >= ATTEMPTS:
            return tried.until - now
        tried.times += 1
        return 0

    def give_back(self, account: str, browser: KnownBrowser | None) -> None:
        """An attempt does not count: Neptun could not say whether it was right."""
        if tried := self._tried.get(_key(account, browser)):
            tried.times -= 1

    def forget(self, account: str, browser: KnownBrowser | None) -> None:
        """None of the attempts counts any more: the last one was right."""
        self._tried.pop(_key(account, browser), None)


def _key(account: str, browser: KnownBrowser | None) -> str:
    return f"{account} {browser.id}" if browser and account in browser.accounts else account
