"""Who sent a request: the token, the sign-in, the Neptun session, and the person behind them."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request

from ..log import digest
from ..neptun.client import NeptunClient
from ..neptun.cookies import cookie_value, how_to_get_cookie
from ..neptun.session import Credentials
from ..sign_in.refusals import unauthorized
from ..sign_in.routes import SignIn
from ..tools.context import EVERYTHING, Scope
from ..tools.words import NoSession

MAX_CLIENTS = 1024
"""Callers whose sessions are remembered, to ask Neptun for a user id once and not at every call."""

MAX_NEW_CLIENTS = 64
"""Sessions that are remembered although their user is not known yet."""

SESSION_HEADER = "Neptun-Session"


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    Attributes:
        token: the token's digest, or the short id of the application to which a person signed in; empty if none is
            needed.
        cookie: the session of the header `Neptun-Session`, or of the person who signed in; None if there is none.
        sign_in: tells one sign-in of a person from another; empty without.
        user_id: the person's id in Neptun, if the token or Neptun has said it.
        scope: what the person allowed when signing in, less what the address takes away.
    """

    token: str
    cookie: str | None = field(default=None, repr=False)
    sign_in: str = ""
    user_id: int | None = None
    scope: Scope = EVERYTHING

    @property
    def principal(self) -> str:
        """What an MCP session, and an answer of the person, is bound to: token, Neptun session, and scope."""
        session = digest(self.cookie) if self.cookie else self.token
        return f"{self.token} {session} {self.scope.project_id or ''} {bool(self.scope.no_deletion)}"

    @property
    def person(self) -> str:
        """The person whose turns a request takes: by the user id once it is known, else by what let the request in.

        Never by what a peer can invent: a session that Neptun has not confirmed, or the registration of an application.
        """
        if self.user_id is not None:
            return f"user {self.user_id}"
        return f"sign-in {self.sign_in}" if self.sign_in else f"token {self.token}"

    def name(self, user_id: int | None) -> str:
        """What the log calls a caller: the same for a person whenever and however they call, once their id is known.

        Args:
            user_id: the Neptun user whose account is used. Where all callers share one, it tells nothing about them.
        """
        if self.cookie and user_id is not None:
            return f"user-{user_id}"
        if self.token:
            return f"token-{self.token[:16]}"
        return f"session-{digest(self.cookie)[:16]}" if self.cookie else "-"


def caller_of(request: Any) -> Caller:
    """Who sent a request that went through a `Gate`."""
    return request.state.caller


class Tokens:
    """Authenticates callers by a token, if one is needed.

    Args:
        tokens: any of them lets a caller in; without tokens everybody is let in.
        with_sessions: whether the header `Neptun-Session` is read.
    """

    def __init__(self, tokens: Sequence[str], *, with_sessions: bool) -> None:
        self._tokens = [digest(token) for token in tokens]
        self._with_sessions = with_sessions

    def __call__(self, headers: Headers) -> Caller:
        token = self._token(headers.getlist("authorization")) if self._tokens else ""
        given = headers.getlist(SESSION_HEADER) if self._with_sessions else []
        # Of several, one may not be the gateway's.
        return Caller(token, cookie_value(given[0]) if len(given) == 1 else None)

    def _token(self, given: Sequence[str]) -> str:
        """The digest of the caller's token."""
        how = "Send the header Authorization: Bearer TOKEN, once."
        if not given:
            raise unauthorized(f"The request carries no token. {how}", no_token=True)
        scheme, _, token = given[0].strip().partition(" ")
        if len(given) > 1 or scheme.lower() != "bearer":
            raise unauthorized(f"The header Authorization does not hold the word Bearer and one token. {how}")
        known = digest(token.strip())
        # Every one is compared, so that the time tells nothing.
        if not any([hmac.compare_digest(known, good) for good in self._tokens]):
            raise unauthorized("This server does not know the token. Ask its operator for one.")
        return known


_LOOKS_UP = Scope(
    no_deletion="This sign-in is for looking up only. The person can sign in to this server again and allow deletions "
    "there, or do it on the Neptun website."
)
_MAY_DELETE = Scope(always_ask=True)


def signed_in(sign_in: SignIn, headers: Headers) -> Caller:
    """The person who has signed in with a browser, and the application to which they did.

    Raises:
        Refused: the request has no valid token.
    """
    access = sign_in.access(headers)
    scope = _MAY_DELETE if access.may_delete else _LOOKS_UP
    return Caller(access.client_id, access.cookie, sign_in=access.sign_in, user_id=access.user_id, scope=scope)


def advice_on_header(address: str) -> str:
    """What to do if the session of the header `Neptun-Session` is missing or has ended."""
    return (
        f"Put a fresh session cookie into the header {SESSION_HEADER}, in your host's entry for this server "
        f"({how_to_get_cookie(address)})."
    )


class Clients:
    """A client for each session of a caller, over the connections of one that is given.

    Args:
        neptun: that one; callers without a session use it as it is.
        advice: how a caller gets a session; empty if none is needed.
    """

    def __init__(self, neptun: NeptunClient, advice: str) -> None:
        self._neptun = neptun
        self._advice = advice
        self._clients = OrderedDict[str, NeptunClient]()  # by cookie, the one not used for longest first

    def client_for(self, request: Request[Any]) -> NeptunClient:
        """The client for a request, in its caller's session.

        Raises:
            NoSession: the caller should have one.
        """
        caller = caller_of(request)
        if caller.cookie is None:
            if self._advice:
                wrong = f"The request does not carry the header {SESSION_HEADER} once, with a session cookie."
                raise NoSession(f"{wrong} {self._advice}")
            return self._neptun
        if caller.cookie not in self._clients:
            self._make_room()
            self._clients[caller.cookie] = self._neptun.with_options(credentials=Credentials(cookie=caller.cookie))
        self._clients.move_to_end(caller.cookie)
        return self._clients[caller.cookie]

    def _make_room(self) -> None:
        """Forget a session, but none that Neptun has confirmed for one that may be invented."""
        new = [cookie for cookie, client in self._clients.items() if client.session.known_user_id is None]
        if len(new) >= MAX_NEW_CLIENTS:
            del self._clients[new[0]]
        elif len(self._clients) >= MAX_CLIENTS:
            self._clients.popitem(last=False)

    def with_user_id(self, caller: Caller) -> Caller:
        """A caller with the id in Neptun, if it is known."""
        if caller.user_id is None and (client := self._clients.get(caller.cookie or "")):
            return replace(caller, user_id=client.session.known_user_id)
        return caller
