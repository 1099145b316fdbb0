"""Where the session comes from, how it is checked, and how it is renewed.

This is not an auth class of HTTPX: in an auth flow the answer to the check would replace the refusal that the caller
waits for, and intermediate answers are read without a size limit.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from operator import contains
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import anyio
import anyio.to_thread
from pydantic import Field, TypeAdapter
from pydantic_core import from_json

from . import errors
from .cookies import cookie_value
from .models import COOKIE_NAME, MAX_ID, Item, text_fields, texts_of
from .secret_files import MAX_SECRET_FILE, path_text, read_secret_file, shown_path
from .store import SessionStore
from .threads import Pace, in_time
from .transport import Transport

_SENDABLE = re.compile(r"[!-:<-~]+")  # what can stand in a Cookie header as one value
_UNESCAPED = re.compile(r"[\w.~-]*", re.ASCII)
_SHORTEST_PASSWORD = 8  # Neptun's own rule, recorded; a shorter one never logs in
_USER_ID = TypeAdapter(Annotated[int, Field(gt=0, le=MAX_ID)])
_NO_COLLECTION = "00000000-0000-4000-8000-000000000000"
_PIECE = 200  # items that are looked through at a time
_COOKIES = 3  # that are tried: the configured one, that of the file, that of a log-in

_FILE_SECONDS = 5.0
_REFUSAL_SECONDS = (15.0, 300.0)
"""How long a refused log-in is not tried again, so that the account is not locked. The first refusal may still be
that of an outage."""

_log = logging.getLogger(__name__)

# A file on a hung mount must not stop everything else.
_in_thread = partial(anyio.to_thread.run_sync, abandon_on_cancel=True)

T = TypeVar("T")


def _without(secret: str, text: str) -> str:
    """A text without a secret, as it is, in JSON, or percent-encoded, in which form it works too."""
    for form in {secret, json.dumps(secret, ensure_ascii=False)[1:-1], quote(secret, safe="")}:
        if len(form) >= _SHORTEST_PASSWORD:
            text = re.sub(re.escape(form), "[secret]", text, flags=re.IGNORECASE)  # %2a is %2A
    return text


@dataclass(frozen=True)
class Credentials:
    """How to get a session: a cookie, a file that holds one, or e-mail address and password.

    With several, the cookie is used first; once it is refused, the file, then the log-in.

    Attributes:
        cookie: the value of the session cookie.
        cookie_file: a file that holds it; read again when the session is refused.
        email: e-mail address to log in with, together with the password.
        password: the password.
        kept: where a log-in keeps its session, used if there is nothing else; found anew when the person logs in again.

    Raises:
        ValueError: the cookie holds characters that no cookie has; `cookie_value` takes them off.
    """

    cookie: str | None = field(default=None, repr=False)
    cookie_file: Path | None = None
    email: str | None = None
    password: str | None = field(default=None, repr=False)
    kept: SessionStore | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        # HTTP libraries repeat a malformed header in their errors.
        if self.cookie and not _SENDABLE.fullmatch(self.cookie):
            raise ValueError("the session cookie holds blanks, line ends or other characters that no cookie has")


@dataclass(frozen=True)
class User:
    """Whose session it is: the person's id in Neptun, and the e-mail address there, empty if it says none."""

    id: int
    email: str = ""


def _email(value: Any) -> str:
    """An e-mail address that can be shown on one line; empty if it is none (RFC 5321, 4.5.3.1: 254 characters)."""
    is_shown = isinstance(value, str) and len(value) <= 254 and value.isprintable() and "@" in value
    return value if is_shown else ""


class _NoUser(errors.Unauthorized):
    """The session has no user: it is a bad one, or it is good and the server does not say whose it is."""


class Session:
    """One caller's session with Neptun. Nothing in it is shared with another caller.

    Attributes:
        configured_user_id: the person's id as configured, or None.
        changes: how often one cookie took the place of another: what was seen before may be another person's.
    """

    def __init__(self, transport: Transport, credentials: Credentials, user_id: int | None = None) -> None:
        self._transport = transport
        self._credentials = credentials
        self.configured_user_id = user_id
        self.changes = 0
        self._user: User | None = None
        self._cookie: str | None = None
        self._stamp: object = None
        self._used: deque[str] = deque(maxlen=4)
        self._login_refused_until = -math.inf
        self._logins_refused = 0
        self._lock = anyio.Lock()
        self._user_lock = anyio.Lock()
        self._rounds = 0  # of renewals
        self._failure: errors.NeptunError | None = None  # of the latest of them

    @property
    def known_user_id(self) -> int | None:
        """The user's id, if Neptun has said whose session it is."""
        return self._user.id if self._user else None

    async def run(self, attempt: Callable[[str], Awaitable[T]]) -> T:
        """What `attempt` returns when it is called with a session cookie; again with another one after a 401.

        Raises:
            CredentialsMissing: there is no source of a session, or it cannot be read.
            Unauthorized: the session is good: the 401 meant that there is no such thing, or no right to it.
            SessionRefused: the session is bad, and there is no other.
            NotLikeNeptun: every session is bad, fresh ones too.
            LoginRefused: e-mail address and password were refused, now or in the last minutes.
        """
        await self.notice_log_in()
        cookie = self._cookie or await self._renewed(None)
        for _ in range(_COOKIES):
            try:
                return await attempt(cookie)
            except errors.Unauthorized as refusal:
                try:
                    cookie = await self._renewed(cookie)
                except errors.Unauthorized:
                    raise (self._unknown_user() if isinstance(refusal, _NoUser) else refusal) from None
        raise errors.NotLikeNeptun(self._transport.address, "it refuses even a session that is fresh from the log-in")

    async def notice_log_in(self) -> None:
        """Forget the cookie of a log-in if the person has logged in or out since."""
        if kept := self._credentials.kept:
            stamp = await _in_thread(kept.stamp)
            if stamp != self._stamp:
                self.changes += self._cookie is not None
                self._cookie, self._stamp = None, stamp

    async def user_id(self, cookie: str) -> int:
        """The id of the session's user: as configured, else asked of Neptun, once.

        Raises:
            Unauthorized: the session has no user; it is anonymous, expired or wrong.
        """
        return self.configured_user_id or (await self.actual_user(cookie)).id

    async def actual_user(self, cookie: str) -> User:
        """The session's user, whatever is configured. Raises as `user_id` does."""
        async with self._user_lock:
            if self._user is not None and cookie == self._cookie:
                return self._user
            user = await self._ask_user(cookie)
            if user is None:
                raise _NoUser
            if cookie == self._cookie:
                self._user = user
            return user

    async def _renewed(self, refused: str | None) -> str:
        """A cookie to replace the refused one (None: the first one).

        However many callers wait, the session is checked once and renewed once, and all of them get the outcome.
        """
        arrived = self._rounds
        async with self._lock:
            if self._cookie is not None and self._cookie != refused:
                return self._cookie
            # The outcome of a round that began before this caller's refusal says nothing about it.
            if self._failure is None or self._rounds == arrived:
                self._rounds, self._failure = self._rounds + 1, None
                try:
                    return await self._renew(refused)
                except errors.NeptunError as error:
                    self._failure = copy(error)
            raise copy(self._failure)

    async def _renew(self, refused: str | None) -> str:
        if refused is not None and await self.is_valid(refused):
            _log.debug("session: still valid, so the refusal is about what was asked for")
            raise errors.Unauthorized
        cookie = await self._next_cookie(refused)
        self._used.append(cookie)
        self._cookie, self._user = cookie, None
        self.changes += refused is not None
        return cookie

    def redact(self, items: Sequence[Item], pace: Pace) -> None:
        """Take the secrets of this session, which the server may have echoed, out of items of one model."""
        for secret in {*self._used, self._credentials.password or ""} - {""}:
            # What all forms share is the one thing to look for in texts that may be long; quickest with 64 characters.
            core = max(_UNESCAPED.findall(secret), key=len)[:64]
            for start in range(0, len(items), _PIECE):
                piece = items[start : start + _PIECE]
                pace.step(len(piece))
                if any(map(contains, texts_of(piece), repeat(core))):
                    for item in piece:
                        for name in text_fields(type(item)):
                            if value := getattr(item, name):
                                setattr(item, name, _without(secret, value))

    async def _next_cookie(self, refused: str | None) -> str:
        """A cookie other than the refused one, from the first source that has one."""
        known = self._credentials
        if known.cookie and refused is None:
            return known.cookie
        if known.cookie_file:
            cookie = await self._from_file(known.cookie_file)
            if cookie != refused:
                _log.debug("session: read from the cookie file")
                return cookie
        if known.email and known.password:
            _log.debug("session: logging in")
            return await self._login(known.email, known.password)
        if known.kept:
            cookie = await self._from_log_in(known.kept)
            if cookie and cookie != refused:
                _log.debug("session: read from the log-in")
                return cookie
        if refused is None:
            raise errors.CredentialsMissing(self._transport.address)
        raise errors.SessionRefused(self._transport.address, known.cookie_file, kept=known.kept is not None)

    async def _from_log_in(self, kept: SessionStore) -> str | None:
        try:
            return cookie_value(await _in_thread(kept.load, self._transport.address) or "")
        except OSError as error:
            problem = f"{error.strerror}{f' ({error.filename})' if error.filename else ''}"
            raise errors.StoreUnreadable(self._transport.address, problem, error.filename or "") from None

    async def _from_file(self, path: Path) -> str:
        try:
            text = await _in_thread(in_time, partial(read_secret_file, path), _FILE_SECONDS)
        except TimeoutError:
            # Not to be looked at: that would take as long again.
            problem = f"could not be read in time ({path_text(path)})"
        except OSError as error:
            problem = f"cannot be read: {error.strerror}{shown_path(path)}"
        else:
            if cookie := cookie_value(text, MAX_SECRET_FILE):
                return cookie
            problem = f"holds no session cookie{shown_path(path)}"
        raise errors.CookieFileUnusable(self._transport.address, problem)

    async def _login(self, email: str, password: str) -> str:
        if (wait := self._login_refused_until - anyio.current_time()) > 0:
            raise errors.LoginRefused(wait)
        # What cannot be encoded is no text of Neptun's either, and an error of the encoder would repeat it.
        form = {
            name: text.encode("utf-8", "replace").decode() for name, text in (("email", email), ("password", password))
        }
        # Without a cookie: sent along with a good one, a log-in is refused with 403 (recorded).
        log_in = partial(self._transport.read, "POST", "/api/auth/login", json=form)
        try:
            try:
                answer = await log_in()
            except errors.Unauthorized:
                # So a running server answers in the moment of an outage, too: only the second time it is believed.
                await self.check_database()
                answer = await log_in()
        except (errors.Unauthorized, errors.BadRequest):
            # 400 is the answer to a password that breaks the site's own rules (recorded).
            wait = _REFUSAL_SECONDS[min(self._logins_refused, len(_REFUSAL_SECONDS) - 1)]
            self._logins_refused += 1
            self._login_refused_until = anyio.current_time() + wait
            raise errors.LoginRefused(wait) from None
        except errors.Denied as error:
            what = f"it answered the log-in with status {error.status}"
            raise errors.NotLikeNeptun(self._transport.address, what) from None
        given = [line for line in answer.headers.get_list("set-cookie") if line.startswith(f"{COOKIE_NAME}=")]
        if not (cookie := cookie_value(given[-1]) if given else None):
            raise errors.NotLikeNeptun(self._transport.address, "it accepted the log-in but gave no session")
        self._logins_refused = 0
        return cookie

    async def check_database(self) -> None:
        """With its database down, a running server refuses every log-in as if the password were wrong (recorded).

        What is asked for needs no session: it is 404 with the database up, and 500 with it down (recorded).

        Raises:
            Unavailable: Neptun, or the way to it, is down.
        """
        with suppress(errors.Denied, errors.BadRequest, errors.NotLikeNeptun):
            await self._transport.send("GET", f"/api/shared/collections/{_NO_COLLECTION}")

    async def is_valid(self, cookie: str | None) -> bool:
        """Whether Neptun accepts a cookie. Raises UserNotSaid if it has no page that tells, as every Neptun has."""
        try:
            await self._transport.read("HEAD", "/api/auth/check", cookie=cookie)
        except errors.Unauthorized:
            return False
        except (errors.Denied, errors.NotLikeNeptun):
            # A deployment without this endpoint: the session itself tells.
            return await self._ask_user(cookie) is not None
        return True

    async def _ask_user(self, cookie: str | None) -> User | None:
        """The user of a session; None for an anonymous one, which has an id of its own but no user (recorded)."""
        try:
            answer = await self._transport.read("GET", "/api/_auth/session", cookie=cookie)
            session: Any = from_json(answer.body)
            user = session.get("user")
            if user is None:
                return None
            return User(_USER_ID.validate_python(user["id"]), _email(user.get("primary_email")))
        except errors.Unauthorized:
            return None
        except (errors.Denied, ValueError, TypeError, KeyError, AttributeError):
            raise self._unknown_user() from None

    def _unknown_user(self) -> errors.UserNotSaid:
        return errors.UserNotSaid(self._transport.address, "it does not say whose session this is")
