"""Sessions of MCP 2025-11-25 and before, kept in one process, so that the people behind these hosts can be asked, too.

Such a host says what it can do only at the beginning of its session, and a person's answer is a request of its own,
which has to reach the process in which the call waits for it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from time import perf_counter
from typing import Any, NamedTuple, cast

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.server.session import ServerSession
from mcp.server.streamable_http import REQUEST_CANCELLED, check_accept_headers
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult, InitializeRequestParams, JSONRPCMessage, JSONRPCRequest
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import ValidationError
from sse_starlette.sse import AppStatus
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from ..tools.context import can_ask
from ..tools.not_done import NotDone
from .callers import caller_of
from .deadlines import Ending
from .gate import MAX_BODY
from .refusals import Refused, refused
from .turns import Disconnected, Turn

MCP_SESSION_HEADER = "Mcp-Session-Id"

MAX_SESSIONS = 1000
"""In a process, each of some 50 kB. With one more, whoever has most loses the one that was not used for longest."""

MAX_INITIALIZE = 4 * 2**10
"""Bytes of a request that begins a session. The session keeps it, up to 25 times as large; who sends more gets none."""

OVERLAP_SECONDS = 1.0
"""How long a request waits for the end of another one with its id, whose answer the host may have already."""

IDLE_SECONDS = 12 * 3600.0
"""How long a session is kept unused. A host that is told that it has ended (404) is to begin another one."""


def let_calls_finish() -> None:
    """At the end of this process, let streams last as long as their calls; by default the library cuts them off."""
    AppStatus.disable_automatic_graceful_drain()


class _Owner(NamedTuple):
    """Who began a session: nobody else can use it, and those of one person are counted together."""

    principal: str
    person: str


class McpSessions:
    """ASGI application with sessions for hosts that can ask in them, in front of one without for all other requests.

    A session belongs to who began it: nobody else can use it. What it began with stays.
    """

    def __init__(self, stateless: StreamableHTTPSessionManager) -> None:
        self._stateless = stateless
        self._stateful = StreamableHTTPSessionManager(
            stateless.app, session_idle_timeout=IDLE_SECONDS, max_sessions=None, max_request_body_size=MAX_BODY
        )
        self._owners = OrderedDict[str, _Owner]()  # by session, the one not used for longest first
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
        session = request.headers.get(MCP_SESSION_HEADER)
        era = request.headers.get("mcp-protocol-version", "2025-03-26")
        if era not in HANDSHAKE_PROTOCOL_VERSIONS or (session is None and not _opens_session(request)):
            await self._stateless.handle_request(scope, receive, send)
            return
        owner = _Owner(caller_of(request).principal, request.state.person)
        known = self._owners.get(session or "")
        if session and (known is None or known.principal != owner.principal):
            raise _unknown()
        async with self._only_once(session or "", request.state.message):
            await self._stateful.handle_request(scope, receive, self._noting(scope, owner, receive, send))

    @asynccontextmanager
    async def _only_once(self, session: str, message: JSONRPCMessage | None) -> AsyncGenerator[None]:
        """Raises Refused if a message asks for what another one in its session has asked for already."""
        if not session or not isinstance(message, JSONRPCRequest):
            yield
            return
        if message.method == "initialize":
            # It could take back that the host can ask, and with it the question before a deletion.
            words = "This MCP session has begun already. To begin another one, leave the header Mcp-Session-Id out."
            raise refused(400, words)
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
            raise refused(409, words)
        self._in_flight[request] = anyio.Event()
        try:
            yield
        finally:
            self._in_flight.pop(request).set()

    def _noting(self, scope: Scope, owner: _Owner, receive: Receive, send: Send) -> Send:
        """`send`, which notes from an answer that a session is used, has begun or has ended."""
        is_unknown = False

        async def send_and_note(message: Message) -> None:
            nonlocal is_unknown
            if message["type"] == "http.response.start":
                is_unknown = message["status"] == 404
                # Not later: the peer may be gone by then, and the session would be kept beside those that are counted.
                await self._note(scope["method"], message, owner)
                if is_unknown:
                    await _unknown().answer(scope, receive, send)
            if not is_unknown:
                await send(message)

        return send_and_note

    async def _note(self, method: str, start: Message, owner: _Owner) -> None:
        session = Headers(raw=start["headers"]).get(MCP_SESSION_HEADER)
        if session is None or start["status"] >= 400:
            return
        if method == "DELETE":
            self._owners.pop(session, None)
            return
        self._owners[session] = owner
        self._owners.move_to_end(session)
        if len(self._owners) > MAX_SESSIONS:
            [(most, _)] = Counter(owner.person for owner in self._owners.values()).most_common(1)
            await self._end(next(session for session, owner in self._owners.items() if owner.person == most))

    async def _end(self, session: str) -> None:
        del self._owners[session]
        headers = [(MCP_SESSION_HEADER.lower().encode(), session.encode())]
        scope: Scope = {"type": "http", "method": "DELETE", "headers": headers}
        # Whole, even if the request that took its place is over.
        with anyio.CancelScope(shield=True):
            await self._stateful.handle_request(scope, _receive_nothing, _send_nowhere)


def _unknown() -> Refused:
    return refused(
        404,
        "This MCP session is not known here: the server was restarted, nothing used the session for long, or the "
        "server runs as several processes, which NEPTUN_MCP_SESSIONS=1 does not allow. "
        "The host has to connect to the server again; restarting the host does that.",
        note="it is in an unknown MCP session, as after a restart or a long pause; if it happens at other times, run a "
        "single process",
    )


def _opens_session(request: Request[Any]) -> bool:
    """Whether it is the `initialize` of a host that can ask the person.

    The others gain nothing by a session, and some of them do not survive its end.
    """
    message = request.state.message
    if (
        not isinstance(message, JSONRPCRequest)
        or message.method != "initialize"
        or request.state.size > MAX_INITIALIZE
        or not all(check_accept_headers(request))
    ):
        return False
    try:
        opening = InitializeRequestParams.model_validate(message.params, by_name=False)
    except ValidationError:
        return False
    return can_ask(opening.capabilities)


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
