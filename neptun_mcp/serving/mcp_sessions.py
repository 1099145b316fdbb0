"""Sessions of MCP 2025-11-25 and before, kept in one process, so that the people behind these hosts can be asked, too.

Such a host says only at the beginning of its session what it can do, and a person's answer is a request of its own,
which has to reach the process in which the call waits for it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from time import perf_counter
from typing import Any, cast

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.session import ServerSession
from mcp.server.streamable_http import MCP_SESSION_ID_HEADER, REQUEST_CANCELLED, check_accept_headers
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult, InitializeRequestParams, JSONRPCMessage, JSONRPCRequest
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from ..sign_in.refusals import Refused
from ..tools.context import can_ask
from ..tools.words import NotDone
from .callers import Caller, caller_of
from .deadlines import Ending
from .gate import MAX_BODY
from .turns import Disconnected, Turn

MAX_SESSIONS = 1000
"""In a process, each of some 50 kB. With one more, whoever has most loses the one that was not used for longest."""

MAX_INITIALIZE = 4 * 2**10
"""Bytes of a request that begins a session. The session keeps it, up to 45 times as large; a longer one begins none."""

BEGIN_SECONDS = 0.002
"""The processor time that the SDK takes to begin a session, and to end another one, in tasks of their own."""

OVERLAP_SECONDS = 1.0
"""How long a request waits for the end of another one with its id, whose answer the host may have already."""

IDLE_SECONDS = 12 * 3600.0
"""How long a session is kept unused. A host that is told that it has ended (404) should begin another one."""


class McpSessions:
    """ASGI application: the MCP server, with sessions for hosts that can ask in them, without for all other requests.

    A session belongs to the caller who began it: nobody else can use it. What it began with stays.

    Args:
        server: the SDK's.
        are_kept: whether there are sessions. They tie a caller to a process.
    """

    def __init__(self, server: Server[Any], *, are_kept: bool) -> None:
        self._are_kept = are_kept
        # Streams are of no use to tools that answer at once.
        self._stateless = StreamableHTTPSessionManager(
            server, stateless=True, json_response=True, max_request_body_size=MAX_BODY
        )
        self._stateful = StreamableHTTPSessionManager(
            server, session_idle_timeout=IDLE_SECONDS, max_sessions=None, max_request_body_size=MAX_BODY
        )
        self._owners = OrderedDict[str, Caller]()  # by session, the one not used for longest first
        self._in_flight = dict[tuple[str, str], anyio.Event]()  # by session and id, and when it is over

    def __len__(self) -> int:
        return len(self._owners)

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[None]:
        """Answer requests, and keep sessions, while the block runs."""
        async with self._stateless.run(), self._stateful.run():
            yield

    async def handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that went through a `Gate`."""
        request = Request(scope)
        session = request.headers.get(MCP_SESSION_ID_HEADER, "")
        era = request.headers.get("mcp-protocol-version", HANDSHAKE_PROTOCOL_VERSIONS[0])
        may_belong = self._are_kept and era in HANDSHAKE_PROTOCOL_VERSIONS
        if not may_belong or not (session or _opens_session(request)):
            await self._stateless.handle_request(scope, receive, send)
            return
        caller, owner = caller_of(request), self._owners.get(session)
        if session and (owner is None or owner.principal != caller.principal):
            raise _unknown()

        async def send_and_note(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] == 404:
                    raise _unknown()
                # Not later: the peer may be gone by then, and the session would be kept beside those that are counted.
                if message["status"] < 400:
                    await self._note(scope["method"], Headers(raw=message["headers"]), caller)
            await send(message)

        if not session:
            request.state.turn.worked(BEGIN_SECONDS)
        async with self._only_once(session, request.state.message):
            await self._stateful.handle_request(scope, receive, send_and_note)

    @asynccontextmanager
    async def _only_once(self, session: str, message: JSONRPCMessage | None) -> AsyncGenerator[None]:
        """Raises Refused if a message repeats what another one in its session has asked for."""
        if not session or not isinstance(message, JSONRPCRequest):
            yield
            return
        if message.method == "initialize":
            # It could take back that the host can ask, and with it the question before a deletion.
            words = "This MCP session has begun already. To begin another one, leave the header Mcp-Session-Id out."
            raise Refused(words)
        request = (session, str(message.id))
        if earlier := self._in_flight.get(request):
            # Some hosts use an id again as soon as they have the answer.
            with anyio.move_on_after(OVERLAP_SECONDS):
                await earlier.wait()
        if request in self._in_flight:
            words = (
                "A request with this id is in flight in this MCP session. "
                "Send each request of a session with an id of its own."
            )
            raise Refused(words, 409)
        self._in_flight[request] = anyio.Event()
        try:
            yield
        finally:
            self._in_flight.pop(request).set()

    async def _note(self, method: str, headers: Headers, caller: Caller) -> None:
        """Note from the headers of an answer that a session is used, has begun or has ended."""
        session = headers[MCP_SESSION_ID_HEADER]
        self._owners.pop(session, None)
        if method == "DELETE":
            return
        self._owners[session] = caller
        if len(self._owners) > MAX_SESSIONS:
            [(most, _)] = Counter(owner.person for owner in self._owners.values()).most_common(1)
            await self._end(next(session for session, owner in self._owners.items() if owner.person == most))

    async def _end(self, session: str) -> None:
        del self._owners[session]
        headers = [(MCP_SESSION_ID_HEADER.encode(), session.encode())]
        scope: Scope = {"type": "http", "method": "DELETE", "headers": headers}
        # Whole, even if the request that took its place is over.
        with anyio.CancelScope(shield=True):
            await self._stateful.handle_request(scope, _nothing, _nothing)


async def _nothing(*_: Message) -> Any:
    """What is received from, and sent to, a peer that is not there."""
    return {"type": "http.disconnect"}


def _unknown() -> Refused:
    return Refused(
        "This MCP session is not known here: the server was restarted, nothing used the session for long, or the "
        "server runs as several processes, which NEPTUN_MCP_SESSIONS=1 does not allow. "
        "The host has to connect to the server again; restarting the host does that.",
        404,
        note="it is in an unknown MCP session, as after a restart or a long pause; if it happens at other times, run a "
        "single process",
    )


def _opens_session(request: Request[Any]) -> bool:
    """Whether it is the `initialize` of a host that can ask the person.

    The others gain nothing by a session, and some of them do not survive its end.
    """
    message = request.state.message
    if not isinstance(message, JSONRPCRequest) or message.method != "initialize":
        return False
    with suppress(ValidationError):
        opening = InitializeRequestParams.model_validate(message.params, by_name=False)
        is_small = request.state.size <= MAX_INITIALIZE
        return is_small and all(check_accept_headers(request)) and can_ask(opening.capabilities)
    return False


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
                return await turn.measured(call_next(ctx))
            with anyio.CancelScope() as turn.call:
                asking = _Asking(ctx.session, turn, ending)
                return await turn.measured(call_next(replace(ctx, session=cast("ServerSession", asking))))
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
            self._turn.asking += perf_counter() - asked
        try:
            await self._turn.begin()
        except (Refused, Disconnected):
            words = "The person answered, but the call waited too long to go on. Nothing was done; make the call again."
            raise NotDone(words) from None
        return answer
