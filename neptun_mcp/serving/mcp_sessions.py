"""Sessions of MCP 2025-11-25 and before, kept in one process, so that the people behind these hosts can be asked, too.

Such a host says what it can do only at the beginning of its session, and a person's answer is a request of its own,
which has to reach the process in which the call waits for it.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from time import perf_counter
from typing import Any, cast

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.streamable_http import REQUEST_CANCELLED, check_accept_headers
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult, InitializeRequest
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import ValidationError
from sse_starlette.sse import AppStatus
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from ..tools.context import can_ask
from .deadlines import Ending
from .gate import MAX_BODY, MCP_SESSION_HEADER, caller_of, method_of, replay
from .refusals import refused
from .turns import Turn

MAX_SESSIONS = 1000
"""In a process, each of some 50 kB. With one more, whoever has most loses the one that was not used for longest."""

MAX_INITIALIZE = 16 * 2**10
"""Bytes of a request that begins a session. The session keeps it, up to 25 times as large; who sends more gets none."""

IDLE_SECONDS = 12 * 3600.0
"""How long a session is kept unused. A host that is told that it has ended (404) is to begin another one."""

_UNKNOWN = refused(
    404,
    "This MCP session is not known here: the server was restarted, nothing used the session for long, or the server "
    "runs as several processes, which NEPTUN_MCP_SESSIONS=1 does not allow. "
    "The host has to connect to the server again; restarting the host does that.",
)

_log = logging.getLogger(__name__)


def let_calls_finish() -> None:
    """At the end of this process, let streams last as long as their calls; by default the library cuts them off."""
    AppStatus.disable_automatic_graceful_drain()


class McpSessions:
    """ASGI application with sessions for hosts that can ask in them, in front of one without for all other requests.

    The owner of a session is who began it: nobody else can use it.
    """

    def __init__(self, stateless: StreamableHTTPSessionManager) -> None:
        self._stateless = stateless
        self._stateful = StreamableHTTPSessionManager(
            stateless.app, session_idle_timeout=IDLE_SECONDS, max_sessions=None, max_request_body_size=MAX_BODY
        )
        self._owners = OrderedDict[str, AuthenticatedUser]()  # by session, the one not used for longest first

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[None]:
        """Answer requests, and keep sessions, while the block runs."""
        async with self._stateless.run(), self._stateful.run():
            yield

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that went through a `Gate`."""
        body: bytes = (await receive())["body"]
        receive = replay(body, receive)
        if not _wants_session(Request(scope), body):
            await self._stateless.handle_request(scope, receive, send)
            return
        owner = AuthenticatedUser(AccessToken(token="", client_id=caller_of(Request(scope)).principal, scopes=[]))
        started: list[Message] = []

        async def send_late(message: Message) -> None:
            # A stream starts before the call, whose outcome may ask for another status.
            if message["type"] == "http.response.start":
                started.append(message)
                # Not later: the peer may be gone by then, and the session would be kept beside those that are counted.
                await self._note(scope["method"], message, owner)
                return
            if started:
                start = started.pop()
                if start["status"] == 404:
                    _log.warning(
                        "refused: a request in an unknown MCP session, as after a restart or a long pause; "
                        "if it happens at other times, run a single process"
                    )
                    await _UNKNOWN.response(scope, receive, send)
                    return
                await send(start)
            await send(message)

        await self._stateful.handle_request({**scope, "user": owner}, receive, send_late)

    async def _note(self, method: str, start: Message, owner: AuthenticatedUser) -> None:
        """Note that a session is used, has begun or has ended, as an answer says."""
        session = Headers(raw=start["headers"]).get(MCP_SESSION_HEADER)
        if session is None or start["status"] >= 400:
            return
        if method == "DELETE":
            self._owners.pop(session, None)
            return
        self._owners[session] = owner
        self._owners.move_to_end(session)
        if len(self._owners) > MAX_SESSIONS:
            [(most, _)] = Counter(user.username for user in self._owners.values()).most_common(1)
            await self._end(next(session for session, user in self._owners.items() if user.username == most))

    async def _end(self, session: str) -> None:
        headers = [(MCP_SESSION_HEADER.lower().encode(), session.encode())]
        scope: Scope = {"type": "http", "method": "DELETE", "headers": headers, "user": self._owners.pop(session)}
        # Whole, even if the request that took its place is over.
        with anyio.CancelScope(shield=True):
            await self._stateful.handle_request(scope, _receive_nothing, _send_nowhere)


def _wants_session(request: Request[Any], body: bytes) -> bool:
    if request.headers.get("mcp-protocol-version", "2025-03-26") not in HANDSHAKE_PROTOCOL_VERSIONS:
        return False
    if len(body) > MAX_INITIALIZE and method_of(body) == "initialize":
        return False
    if MCP_SESSION_HEADER in request.headers or request.method != "POST":
        return True
    return all(check_accept_headers(request)) and _can_ask(body)


def _can_ask(body: bytes) -> bool:
    """Whether a message is the `initialize` of a host that can ask the person.

    The others gain nothing by a session, and some of them do not survive its end.
    """
    try:
        opening = InitializeRequest.model_validate_json(body, by_name=False)
    except ValidationError:
        return False
    return can_ask(opening.params.capabilities)


async def _receive_nothing() -> Message:
    return {"type": "http.request", "body": b""}


async def _send_nowhere(message: Message) -> None:
    pass


def end_calls(ending: Ending) -> ServerMiddleware[Any]:
    """Middleware of the MCP server: a call's turn ends with it, and it ends with the HTTP request that brought it.

    While the person is asked the call needs no turn. When the server ends, the question stays unanswered.
    """

    async def middleware(ctx: ServerRequestContext[Any, Request[Any]], call_next: CallNext) -> HandlerResult:
        if ctx.request is None or ctx.request_id is None:
            return await call_next(ctx)
        turn: Turn = ctx.request.state.turn
        try:
            if not ctx.session.can_send_request:
                return await call_next(ctx)
            with anyio.CancelScope() as turn.call:
                asking = _Asking(ctx.session, turn, ending)
                return await call_next(replace(ctx, session=cast("ServerSession", asking)))
        finally:
            turn.call = None
            turn.end()
        raise MCPError(REQUEST_CANCELLED, "The connection was closed before the call was over.")

    return middleware


class _Asking:
    """A session that takes no turn while it asks the person."""

    def __init__(self, session: ServerSession, turn: Turn, ending: Ending) -> None:
        self._session = session
        self._turn = turn
        self._ending = ending

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def elicit_form(self, *args: Any, **options: Any) -> ElicitResult:
        self._turn.end()
        asked = perf_counter()
        answer = ElicitResult(action="cancel")
        try:
            with self._ending.cancels():
                answer = await self._session.elicit_form(*args, **options)
        finally:
            self._turn.waited += perf_counter() - asked
        await self._turn.begin()
        return answer
