"""Who may call over HTTP, how much at once, and which account is used."""

from __future__ import annotations

import hmac
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any

import anyio
from mcp.server.transport_security import RequestBodyLimitMiddleware
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..neptun.client import NeptunClient
from ..neptun.errors import how_to_get_cookie
from ..neptun.session import Credentials, cookie_value
from ..tools.questions import Refusal

MAX_BODY = 256 * 2**10
"""Bytes. The longest arguments and the state of a question take a few thousand."""

BODY_SECONDS = 10.0
MAX_WAITING = 256
"""Requests of one caller that may wait for a turn; one more is answered with 429."""

MAX_SESSIONS = 1024
"""Callers whose sessions are remembered, to ask Neptun for a user id once and not at every call."""

SESSION_HEADER = "Neptun-Session"

OPEN_PATHS = ("/health", "/ready")


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    Attributes:
        token: the token's digest; empty if none is needed.
        cookie: the session of the header `Neptun-Session`; None if that is not used, missing or malformed.
    """

    token: str
    cookie: str | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """A digest of the session, else of the token: it distinguishes callers in the log, and their turns."""
        return digest(self.cookie) if self.cookie else self.token

    @property
    def principal(self) -> str:
        """What an answer of the person is bound to: token and session."""
        return f"{self.token} {self.id}"


def digest(secret: str) -> str:
    """SHA-256 in hexadecimal. Tokens and sessions are too long to be guessed from it."""
    return sha256(secret.encode()).hexdigest()


def caller_of(request: Request[Any]) -> Caller:
    """Who sent a request that went through a `Gate`."""
    return request.state.caller


class Gate:
    """ASGI middleware that authenticates callers and limits body size, time and concurrency.

    Args:
        app: what is behind it.
        tokens: any of them lets a caller in; without tokens everybody is let in.
        own_sessions: use the header `Neptun-Session`.
        at_once: how many requests of one caller are processed at the same time; the others wait for a turn.
    """

    def __init__(self, app: ASGIApp, *, tokens: Sequence[str], own_sessions: bool, at_once: int) -> None:
        self._app = app
        self._tokens = [digest(token) for token in tokens]
        self._own_sessions = own_sessions
        self._turns = defaultdict[tuple[str, bool], anyio.CapacityLimiter](lambda: anyio.CapacityLimiter(at_once))
        self._with_body = RequestBodyLimitMiddleware(self._in_turn, MAX_BODY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        token = self._token(headers)
        if token is None:
            await _refusal(401, "A valid bearer token is needed.", {"WWW-Authenticate": "Bearer"})(scope, receive, send)
            return
        if scope["method"] != "POST":
            # Without sessions there is no stream to open, and none to end.
            await _refusal(405, "Only POST is answered here.", {"Allow": "POST"})(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = Caller(token, self._cookie(headers))
        try:
            await self._with_body(scope, _in_time(receive), send)
        except _Disconnected:
            pass
        except _TooSlow:
            await _refusal(408, "The request took too long.", {"Connection": "close"})(scope, receive, send)

    def _token(self, headers: Headers) -> str | None:
        """The digest of the caller's token, empty if none is needed; None for a wrong one."""
        if not self._tokens:
            return ""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = digest(token.strip()) if scheme.lower() == "bearer" else ""
        # Every one is compared, so that the time tells nothing.
        good = [hmac.compare_digest(given, known) for known in self._tokens]
        return given if any(good) else None

    def _cookie(self, headers: Headers) -> str | None:
        given = headers.getlist(SESSION_HEADER)
        # Of two headers, one may not be the gateway's.
        return cookie_value(given[0]) if self._own_sessions and len(given) == 1 else None

    async def _in_turn(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller: Caller = scope["state"]["caller"]
        # A stream of notifications lasts, and asks nothing of Neptun: it keeps no call waiting.
        stream = Headers(scope=scope).get("mcp-method") == "subscriptions/listen"
        key = (caller.id, stream)
        turns = self._turns[key]
        if turns.statistics().tasks_waiting >= MAX_WAITING:
            await _refusal(429, "Too many requests at once.", {"Retry-After": "1"})(scope, receive, send)
            return
        try:
            async with turns:
                await self._app(scope, receive, send)
        finally:
            if not turns.borrowed_tokens and not turns.statistics().tasks_waiting:
                self._turns.pop(key, None)


class _Disconnected(Exception):
    pass


class _TooSlow(Exception):
    pass


def _in_time(receive: Receive) -> Receive:
    """`receive`, with a time limit for the whole body."""
    deadline = anyio.current_time() + BODY_SECONDS
    complete = False

    async def receive_in_time() -> Message:
        nonlocal complete
        if complete:
            return await receive()
        with anyio.move_on_after(deadline - anyio.current_time()):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Disconnected
            complete = not message.get("more_body", False)
            return message
        raise _TooSlow

    return receive_in_time


def _refusal(status: int, message: str, headers: dict[str, str]) -> Response:
    return JSONResponse({"error": message}, status, headers)


def client_finder(neptun: NeptunClient) -> Callable[[Request[Any]], NeptunClient]:
    """A function that finds the client for a request: over the connections of `neptun`, in the caller's session.

    The function raises `Refusal` if the request has none.
    """
    advice = (
        f"Send a fresh session cookie in the request header {SESSION_HEADER} ({how_to_get_cookie(neptun.address)})."
    )

    @lru_cache(MAX_SESSIONS)
    def client(cookie: str) -> NeptunClient:
        return neptun.with_options(credentials=Credentials(cookie=cookie, renewal_advice=advice))

    def client_for(request: Request[Any]) -> NeptunClient:
        cookie = caller_of(request).cookie
        if cookie is None:
            raise Refusal(f"The request carries no Neptun session. {advice}")
        return client(cookie)

    return client_for
