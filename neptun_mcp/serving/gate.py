"""Who may call over HTTP, how much at once, and which account is used."""

from __future__ import annotations

import hmac
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..log import digest
from ..neptun.client import NeptunClient
from ..neptun.cookies import cookie_value, how_to_get_cookie
from ..neptun.errors import SessionRefused
from ..neptun.session import Credentials
from ..sign_in.routes import ADVICE, NoAccess, SignIn
from ..tools.not_done import NoSession
from ..tools.report import Report
from ..tools.scope import EVERYTHING
from ..tools.scope import Scope as ToolScope
from .narrowing import narrowed
from .refusals import Refused, refused, unauthorized
from .turns import Turns

MAX_HEADER = 8 * 2**10
"""Bytes of a header, as in most servers. A session takes about 440."""

MAX_BODY = 256 * 2**10
"""Bytes. The longest arguments and the state of a question take a few thousand."""

BODY_SECONDS = 10.0

MAX_SESSIONS = 1024
"""Callers whose sessions are remembered, to ask Neptun for a user id once and not at every call."""

MAX_NEW_SESSIONS = 64
"""Sessions that are remembered although their user is not known yet."""

SESSION_HEADER = "Neptun-Session"
MCP_SESSION_HEADER = "Mcp-Session-Id"

_AUTHORITY = re.compile(r"(\[[\da-f:.]+\]|[^\s:/@\[\]]+)(?::\d{0,5})?", re.ASCII)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    Attributes:
        token: the token's digest, or the number of the application to which a person signed in; empty if no token is
            needed.
        cookie: the session of the header `Neptun-Session`, or of the person who signed in; None if there is none.
        no_session: what is wrong with that header, two sentences; empty if nothing is.
        scope: what the person allowed when signing in, less what the address takes away.
    """

    token: str
    cookie: str | None = field(default=None, repr=False)
    no_session: str = ""
    scope: ToolScope = EVERYTHING

    @property
    def id(self) -> str:
        """A digest of the session, else of the token: it distinguishes callers in the log, and their turns."""
        return digest(self.cookie) if self.cookie else self.token

    @property
    def principal(self) -> str:
        """What an MCP session, and an answer of the person, is bound to: token, Neptun session, and scope."""
        return f"{self.token} {self.id} {self.scope.project_id or ''} {bool(self.scope.no_deletion)}"


def caller_of(request: Request[Any]) -> Caller:
    """Who sent a request that went through a `Gate`."""
    return request.state.caller


class Gate:
    """ASGI application that lets good requests through to another one.

    It checks first what costs least: where the request is addressed to, the length of its headers, who sent it. Only
    then it reads a body, and lets the caller wait for a turn.

    Args:
        app: what is behind it.
        methods: the HTTP methods that it answers.
        hosts: the names by which callers reach the server.
        authenticate: who sent a request with these headers; raises `Refused` if nobody who may call.
        sessions: the sessions of callers, if each has one.
        on_ended: the answer to a call for which Neptun refused the session; None if words for the assistant will do.
        at_once: how many requests of one caller are processed at the same time; the others wait for a turn.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        methods: Sequence[str],
        hosts: Sequence[str],
        authenticate: Callable[[Headers], Caller],
        sessions: Sessions | None,
        on_ended: Callable[[], Refused] | None = None,
        at_once: int,
    ) -> None:
        self._app = app
        self._methods = methods
        self._hosts = {bracketed(host.lower()) for host in hosts}
        self._authenticate = authenticate
        self._sessions = sessions
        self._on_ended = on_ended
        self._turns = Turns(at_once)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            self._check_address(headers)
            _check_length(headers)
            caller = self._authenticate(headers)
            caller = replace(caller, scope=narrowed(caller.scope, scope["query_string"]))
            self._check_form(scope["method"], headers)
            body = await _read_body(headers, receive)
            async with self._turns.take((self._turns_of(caller), _kind(headers, body))) as turn:
                state = {**scope.get("state", {}), "caller": caller, "turn": turn, "report": Report()}
                scope = {**scope, "headers": _tolerant(headers), "state": state}
                await self._app(scope, replay(body, receive), self._unless_ended(scope, receive, send))
            if caller.cookie and self._sessions:
                self._sessions.note_confirmed(caller.cookie)
        except _Disconnected:
            pass
        except Refused as refusal:
            await refusal.response(scope, receive, send)

    def _check_address(self, headers: Headers) -> None:
        """Refuse what is addressed to another host, or comes from a web page of another site."""
        given = headers.getlist("host")
        if len(given) != 1 or not self._is_ours(given[0]):
            _log.warning(
                "refused: Host is %a; if people use this name, add it to NEPTUN_MCP_ALLOWED_HOSTS",
                given[0][:100] if given else None,
            )
            raise refused(
                421,
                "This server does not answer to the host name in the request. "
                "Use the address that its operator gave you; the operator sets its names in NEPTUN_MCP_ALLOWED_HOSTS.",
            )
        for origin in headers.getlist("origin"):
            scheme, _, authority = origin.lower().partition("://")
            if scheme not in ("http", "https") or not self._is_ours(authority):
                _log.warning("refused: Origin is %a", origin[:100])
                raise refused(403, "Web pages of other sites may not call this server. Call it from its own address.")

    def _check_form(self, method: str, headers: Headers) -> None:
        if method not in self._methods:
            needed = f"The HTTP method has to be {' or '.join(self._methods)}."
            if method == "GET":  # as of a browser
                needed = f"This is an MCP server: add this address to your host instead of opening it. {needed}"
            raise refused(405, needed, {"Allow": ", ".join(self._methods)})
        # A form of a web page could have another type.
        if method == "POST" and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise refused(415, "The Content-Type of a request has to be application/json.")

    def _is_ours(self, authority: str) -> bool:
        """Whether it is one of the hosts, with a port and without."""
        found = _AUTHORITY.fullmatch(authority.lower())
        return found is not None and not self._hosts.isdisjoint((found[0], found[1]))

    def _unless_ended(self, scope: Scope, receive: Receive, send: Send) -> Send:
        """`send`, but with another answer if Neptun refused the caller's session."""
        replaced = False

        async def send_unless_ended(message: Message) -> None:
            nonlocal replaced
            ended = isinstance(scope["state"]["report"].outcome, SessionRefused)
            if self._on_ended and ended and message["type"] == "http.response.start":
                replaced = True
                await self._on_ended().response(scope, receive, send)
            elif not replaced:
                await send(message)

        return send_unless_ended

    def _turns_of(self, caller: Caller) -> str:
        """Whose turns a request takes. Sessions can be invented: until Neptun has confirmed them, they share some."""
        if caller.cookie and self._sessions and not self._sessions.is_confirmed(caller.cookie):
            return caller.token
        return caller.id


def bracketed(host: str) -> str:
    """A host as it stands in an address: one of IPv6 in brackets."""
    return f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host


def _check_length(headers: Headers) -> None:
    if any(len(value) > MAX_HEADER for _, value in headers.raw):
        raise refused(431, f"A header is longer than {MAX_HEADER} bytes. A Neptun session takes about 440.")


def _tolerant(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers as the SDK wants them, which compares some more strictly than HTTP does."""
    kept = [(name, value) for name, value in headers.raw if name not in (b"accept", b"content-type")]
    accepted = ", ".join(headers.getlist("accept")).strip() or "*/*"
    return [*kept, (b"accept", accepted.encode("latin-1")), (b"content-type", b"application/json")]


class _Disconnected(Exception):
    pass


async def _read_body(headers: Headers, receive: Receive) -> bytes:
    announced = headers.get("content-length", "")
    too_long = announced.isdecimal() and (len(announced) > 9 or int(announced) > MAX_BODY)
    body, more = bytearray(), True
    with anyio.move_on_after(BODY_SECONDS):
        while more and not too_long:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Disconnected
            body += message.get("body", b"")
            more = message.get("more_body", False)
            too_long = len(body) > MAX_BODY
        if too_long:
            raise refused(413, f"The request is longer than {MAX_BODY} bytes.")
        return bytes(body)
    raise refused(408, "The request did not arrive completely in time.", {"Connection": "close"})


def replay(body: bytes, receive: Receive) -> Receive:
    """`receive` as it was before a body was read from it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _kind(headers: Headers, body: bytes) -> str:
    """What kind of turn a request takes, so that the other kinds keep no call waiting, and are not kept by calls."""
    listen = "subscriptions/listen"
    if headers.get("mcp-method") == listen and method_of(body) == listen:  # only the newer era compares them
        return "stream"  # lasts, and asks nothing of Neptun
    if MCP_SESSION_HEADER in headers and not method_of(body):
        return "reply"  # of the person to whom a call has put a question
    return "call"


def method_of(body: bytes) -> str:
    """The method of a request in JSON-RPC; empty if the body is anything else."""
    try:
        message = from_json(body)
    except ValueError:
        return ""
    match message:
        case {"id": _, "method": str(method)}:
            return method
        case _:
            return ""


class Public:
    """ASGI middleware for what needs no token: limits body size, time and concurrency.

    Args:
        app: what is behind it.
        at_once: how many requests are processed at the same time; the others wait for a turn. So strangers do not take
            the connections to Neptun from callers.
    """

    def __init__(self, app: ASGIApp, *, at_once: int) -> None:
        self._app = app
        self._turns = Turns(at_once)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        try:
            body = await _read_body(headers, receive)
            async with self._turns.take(None) as turn:

                async def send_after_turn(message: Message) -> None:
                    turn.end()  # who does not read the answer keeps nobody waiting
                    await send(message)

                await self._app(scope, replay(body, receive), send_after_turn)
        except _Disconnected:
            pass
        except Refused as refusal:
            await refusal.response(scope, receive, send)


class Tokens:
    """Authenticates callers by a token, if one is needed.

    Args:
        tokens: any of them lets a caller in; without tokens everybody is let in.
        own_sessions: use the header `Neptun-Session`.
    """

    def __init__(self, tokens: Sequence[str], *, own_sessions: bool) -> None:
        self._tokens = [digest(token) for token in tokens]
        self._own_sessions = own_sessions

    def __call__(self, headers: Headers) -> Caller:
        token = self._token(headers.getlist("authorization")) if self._tokens else ""
        if not self._own_sessions:
            return Caller(token)
        given = headers.getlist(SESSION_HEADER)
        if len(given) > 1:
            # One of them may not be the gateway's.
            advice = "A gateway has to replace the one that arrives, not to add another."
            return Caller(token, None, f"The request carries the header {SESSION_HEADER} more than once. {advice}")
        cookie = cookie_value(given[0]) if given else None
        if cookie is None:
            wrong = "The header {} holds no session cookie" if given else "The request carries no header {}"
            return Caller(token, None, f"{wrong.format(SESSION_HEADER)}.")
        return Caller(token, cookie)

    def _token(self, given: Sequence[str]) -> str:
        """The digest of the caller's token."""
        if not given:
            words = "The request carries no token. Send one in the header Authorization: Bearer TOKEN."
            raise unauthorized(words, no_token=True)
        if len(given) > 1:
            raise unauthorized("The request carries the header Authorization more than once. Send it once.")
        scheme, _, token = given[0].strip().partition(" ")
        if scheme.lower() != "bearer":
            raise unauthorized("The header Authorization lacks the word Bearer. Send Authorization: Bearer TOKEN.")
        known = digest(token.strip())
        # Every one is compared, so that the time tells nothing.
        good = [hmac.compare_digest(known, good) for good in self._tokens]
        if not any(good):
            raise unauthorized("The token is not one of this server. Ask its operator for one.")
        return known


_LOOKS_UP = ToolScope(
    no_deletion="This sign-in is for looking up only. The person can sign in to this server again and allow deletions "
    "there, or do it on the Neptun website."
)
_MAY_DELETE = ToolScope(always_ask=True)


class SignedIn:
    """Authenticates people who have signed in with a browser, and the applications to which they did."""

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in = sign_in

    def __call__(self, headers: Headers) -> Caller:
        try:
            access = self._sign_in.access(headers)
        except NoAccess as error:
            raise unauthorized(
                error.words, no_token=error.no_token, resource_metadata=self._sign_in.metadata_url
            ) from None
        return Caller(access.client_id, access.cookie, scope=_MAY_DELETE if access.may_delete else _LOOKS_UP)

    def ended(self) -> Refused:
        """The answer to a call for which Neptun refused the session: it makes applications sign people in again."""
        words = f"The Neptun session has ended. {ADVICE}"
        return unauthorized(words, resource_metadata=self._sign_in.metadata_url)


def advice_on_header(address: str) -> str:
    """What to do if the session of the header `Neptun-Session` is missing or has ended."""
    return (
        f"Put a fresh session cookie into the header {SESSION_HEADER}, in your host's entry for this server "
        f"({how_to_get_cookie(address)})."
    )


class Sessions:
    """The clients for callers' sessions, over the connections of `neptun`.

    Sessions that Neptun has confirmed are kept apart, so that invented ones displace none of them.

    Args:
        advice: what to do if a session is missing or has ended.
        confirmed: all of them are, since Neptun was asked before they came here.
    """

    def __init__(self, neptun: NeptunClient, advice: str, *, confirmed: bool = False) -> None:
        self._neptun = neptun
        self.advice = advice
        self._all_confirmed = confirmed
        self._confirmed = OrderedDict[str, NeptunClient]()
        self._new = OrderedDict[str, NeptunClient]()

    def client_for(self, request: Request[Any]) -> NeptunClient:
        """The client for a request, in its caller's session.

        Raises:
            NoSession: the request has none.
        """
        caller = caller_of(request)
        if caller.cookie is None:
            raise NoSession(f"{caller.no_session} {self.advice}")
        known = self._confirmed if self.is_confirmed(caller.cookie) else self._new
        client = known.get(caller.cookie) or self._neptun.with_options(credentials=Credentials(cookie=caller.cookie))
        _keep(known, caller.cookie, client, MAX_SESSIONS if known is self._confirmed else MAX_NEW_SESSIONS)
        return client

    def is_confirmed(self, cookie: str) -> bool:
        """Whether Neptun has said whose session it is."""
        return self._all_confirmed or cookie in self._confirmed

    def note_confirmed(self, cookie: str) -> None:
        """Keep a session with the confirmed ones if Neptun has said, in the call that ends now, whose it is."""
        client = self._new.get(cookie)
        if client and client.session.known_user_id is not None:
            _keep(self._confirmed, cookie, self._new.pop(cookie), MAX_SESSIONS)


def _keep(clients: OrderedDict[str, NeptunClient], cookie: str, client: NeptunClient, limit: int) -> None:
    clients[cookie] = client
    clients.move_to_end(cookie)
    if len(clients) > limit:
        clients.popitem(last=False)
