"""What a request has to be before anything acts on it: how long, of what type, addressed to whom, sent by whom."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import anyio
from mcp.types import INVALID_REQUEST, PARSE_ERROR, JSONRPCMessage, JSONRPCRequest
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..neptun.errors import SessionRefused
from ..sign_in.forms import MAX_FIELDS, check_type
from ..sign_in.refusals import Refused
from ..sign_in.routes import PATHS, refusal_at
from ..tools.context import Report
from .bodies import Bodies, replay
from .callers import Caller, Clients, caller_of
from .deadlines import Ending
from .messages import NoMessage, read_message
from .narrowing import narrowed
from .observability import log_refusal
from .refused_people import RefusedPeople
from .turns import Disconnected, Turns

MAX_HEADER = 8 * 2**10
"""Bytes of a header, or of the query of an address, as in most servers. A session takes about 440."""

MAX_BODY, MAX_BODIES = 256 * 2**10, 128
"""Bytes of a call, and how many of them may be half read. The longest arguments and the state of a question take a few
thousand."""

MAX_PUBLIC_BODY, MAX_PUBLIC_BODIES = 32 * 2**10, 256
"""The same where no token is needed."""

MAX_REFUSALS, HOLD_SECONDS = 50, 10.0
"""Refusals that a process answers in a second, and for how long at most others are held back."""

_AUTHORITY = re.compile(r"(\[[\da-f:.]+\]|[^\s:/@\[\]]+)(?::\d{0,5})?", re.ASCII)


@dataclass
class Limits:
    """ASGI middleware for every route: answers what is refused, not too fast, and limits the headers and the query.

    Answered at once, peers that try again at once would take all of the processor. A refusal that is held back takes a
    connection, which has one request at a time. When the server ends, an answer is the last one on its connection.

    Attributes:
        app: what is behind it.
        ending: the server's.
        count: called with each request, the status of its answer, if it got one, and the seconds that it took.
    """

    app: ASGIApp
    ending: Ending
    count: Callable[[Scope, int | None, float], None] | None = None
    _next: float = field(default=0.0, init=False)  # when the next refusal is due

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = perf_counter(), None

        async def send_or_hold(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if 400 <= message["status"] < 500:
                    await self._hold_back()
                if self.ending.has_begun:
                    message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            await send(message)

        try:
            _check_size(scope)
            await self.app(scope, receive, send_or_hold)
        except Disconnected:
            pass
        except Refused as refusal:
            await _answer(refusal, Request(scope))(scope, receive, send_or_hold)
        finally:
            if self.count:
                self.count(scope, status, perf_counter() - started)

    async def _hold_back(self) -> None:
        now = anyio.current_time()
        self._next = min(max(self._next, now - 1) + 1 / MAX_REFUSALS, now + HOLD_SECONDS)
        if self._next > now:
            await anyio.sleep(self._next - now)


def _answer(refusal: Refused, request: Request[Any]) -> Response:
    """The answer to a request that goes no further, which is logged."""
    log_refusal(refusal, request)
    path = request.scope["path"]
    return refusal_at(path, refusal) if path in PATHS else _response(refusal)


def _response(refusal: Refused) -> Response:
    error = {"code": INVALID_REQUEST, "message": refusal.words}
    body = refusal.body or {"jsonrpc": "2.0", "id": None, "error": error}
    return JSONResponse(body, refusal.status, refusal.headers)


def _check_size(scope: Scope) -> None:
    query = scope["query_string"]
    if any(len(value) > MAX_HEADER for _, value in scope["headers"]):
        raise Refused(f"A header is longer than {MAX_HEADER} bytes. A Neptun session takes about 440.", 431)
    if len(query) > MAX_HEADER or query.count(b"&") >= MAX_FIELDS:
        raise Refused("The query of the address is too long. Send less.", 414)


@dataclass(kw_only=True)
class Gate:
    """ASGI application that lets good requests through to another one.

    It checks first what costs least: where the request is addressed to, who sent it. Only then does it read a body, and
    let the caller wait for a turn.

    Attributes:
        app: what is behind it.
        methods: the HTTP methods that it answers.
        hosts: the names by which callers reach the server, in lower case, those of IPv6 in brackets.
        authenticate: who sent a request with these headers; raises `Refused` if they may not call.
        clients: those of callers.
        people: who is refused.
        on_ended: the answer to a call for which Neptun refused the session; None if words for the assistant will do.
        turns: of the people who call.
    """

    app: ASGIApp
    methods: Sequence[str]
    hosts: set[str]
    authenticate: Callable[[Headers], Caller]
    clients: Clients
    people: RefusedPeople
    on_ended: Callable[[], Refused] | None
    turns: Turns
    _bodies: Bodies = field(default_factory=lambda: Bodies(MAX_BODY, MAX_BODIES), init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._check_address(headers)
        caller, report = self.clients.with_user_id(self.authenticate(headers)), Report()
        state = {**scope.get("state", {}), "caller": caller, "report": report}
        request = Request({**scope, "headers": _tolerant(headers), "state": state})
        try:
            state["caller"] = caller = replace(caller, scope=narrowed(caller.scope, scope["query_string"]))
            self._check_form(scope["method"], headers)
            body = await self._bodies.read(caller.person, headers, receive)
            message, body = _message_in(body) if scope["method"] == "POST" else (None, body)
            state |= {"message": message, "size": len(body)}
            # A reply to a question must not wait for calls.
            kind = "" if message is None or isinstance(message, JSONRPCRequest) else "replies"
            async with self.turns.take(caller.person, receive, kind) as turn:
                state["turn"] = turn
                await self.people.check(request, self.clients)
                answer = self._unless_ended(request, receive, send)
                await turn.measured(self.app(request.scope, replay(body, receive), answer))
        except Refused as refusal:
            state["caller"] = self.clients.with_user_id(caller_of(request))  # it may be known by now
            await _answer(refusal, request)(scope, receive, send)
        finally:
            # What it holds of an error leads back to the request, and would keep it until garbage is looked for.
            report.outcome = None

    def _check_address(self, headers: Headers) -> None:
        """Refuse what is addressed to another host, or comes from a web page of another site."""
        given = headers.getlist("host")
        if len(given) != 1 or not self._is_ours(given[0]):
            name = ascii(given[0][:100] if given else None)
            raise Refused(
                "This server does not answer to the host name in the request. "
                "Use the address that its operator gave you; the operator sets its names in NEPTUN_MCP_ALLOWED_HOSTS.",
                421,
                note=f"Host is {name}; if people use this name, add it to NEPTUN_MCP_ALLOWED_HOSTS",
            )
        for origin in headers.getlist("origin"):
            scheme, _, authority = origin.lower().partition("://")
            if scheme not in ("http", "https") or not self._is_ours(authority):
                words = "Web pages of other sites may not call this server. Call it from its own address."
                raise Refused(words, 403, note=f"Origin is {origin[:100]!a}")

    def _check_form(self, method: str, headers: Headers) -> None:
        if method not in self.methods:
            needed = f"The HTTP method has to be {' or '.join(self.methods)}."
            if method == "GET":  # as of a browser
                needed = f"This is an MCP server: add this address to your host instead of opening it. {needed}"
            raise Refused(needed, 405, headers={"Allow": ", ".join(self.methods)})
        if method == "POST":
            check_type(headers, "application/json")  # a form of a web page could have another

    def _is_ours(self, authority: str) -> bool:
        """Whether it is one of the hosts, with a port and without."""
        found = _AUTHORITY.fullmatch(authority.lower())
        return found is not None and not self.hosts.isdisjoint((found[0], found[1]))

    def _unless_ended(self, request: Request[Any], receive: Receive, send: Send) -> Send:
        """`send`, but with another answer if Neptun refused the caller's session.

        The start of an answer is held back until it is known which one it will be: a stream starts before its call.
        """
        on_ended = self.on_ended
        if on_ended is None:
            return send
        started = list[Message]()
        replaced = False

        async def send_unless_ended(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start":
                started.append(message)
            elif not replaced:
                if started and _says_session_ended(request.state.report.outcome):
                    replaced = True
                    await _response(on_ended())(request.scope, receive, send)
                    return
                if started:
                    await send(started.pop())
                await send(message)

        return send_unless_ended


def _says_session_ended(outcome: object) -> bool:
    """Whether Neptun refused the session in a call, whatever the call was about."""
    while isinstance(outcome, BaseException):
        if isinstance(outcome, SessionRefused):
            return True
        outcome = outcome.__cause__
    return False


def _tolerant(headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers as the SDK wants them: it compares some more strictly than HTTP does."""
    kept = [(name, value) for name, value in headers.raw if name not in (b"accept", b"content-type")]
    accepted = ", ".join(headers.getlist("accept")).strip() or "*/*"
    return [*kept, (b"accept", accepted.encode("latin-1")), (b"content-type", b"application/json")]


def _message_in(body: bytes) -> tuple[JSONRPCMessage, bytes]:
    """The message of a body, and the body as the SDK reads it."""
    try:
        if found := read_message(body, "request"):
            return found
        raise NoMessage(PARSE_ERROR, "The request is empty. Send one JSON-RPC 2.0 message per request.")
    except NoMessage as error:
        raise Refused(str(error), body=error.answer.model_dump(mode="json", exclude_unset=True)) from None


@dataclass
class Public:
    """ASGI middleware for routes that need no token: limits what a request may cost. Each route checks what it may be.

    Attributes:
        app: what is behind it.
        bodies: reads those of all such routes.
        turns: each path has turns of its own for all strangers, and for each sender who is known.
        sender: who sent a request, if that is sealed in it; else empty.
    """

    app: ASGIApp
    bodies: Bodies
    turns: Turns
    sender: Callable[[Request], Awaitable[str]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        if scope["method"] == "POST":
            body = await self.bodies.read(None, Headers(scope=scope), receive)
        sender = await self.sender(Request(scope, replay(body, receive))) or "strangers"
        async with self.turns.take(sender, receive, scope["path"]) as turn:

            async def send_after_turn(message: Message) -> None:
                turn.end()  # a peer that does not read the answer keeps nobody waiting
                await send(message)

            await turn.measured(self.app(scope, replay(body, receive), send_after_turn))
