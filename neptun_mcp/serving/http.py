"""The application for many people, over Streamable HTTP: any number of processes that share nothing but a key.

A request passes through `gate.Limits`, which hold for every route. Its path leads to a page of the sign-in, a probe, or
`/mcp`: a `Gate`, MCP sessions if they are kept, the SDK's server.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import anyio
from mcp.server.context import ServerMiddleware
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateSecurity
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..account import create_client
from ..neptun.client import NeptunClient
from ..neptun.errors import NeptunError
from ..server import build_server, lowlevel_server
from ..settings import Settings, bracketed, is_loopback
from ..sign_in.routes import ADVICE, SignIn
from ..tools.context import Report, Shared
from ..tools.pages import Pages
from ..tools.words import CALLER, OPERATOR, explained
from .bodies import Bodies
from .callers import Clients, Tokens, advice_on_header, caller_of, signed_in
from .checks import check_settings, warn_of_gaps
from .deadlines import Ending
from .gate import MAX_PUBLIC_BODIES, MAX_PUBLIC_BODY, Gate, Limits, Public
from .mcp_sessions import McpSessions, end_calls
from .observability import CallLog, follow_trace, start_telemetry
from .refused_people import RefusedPeople
from .turns import Turns

MAX_WAITING_IN_ONE_ACCOUNT = 256
"""Requests that may wait where all people share an account, and cannot be told apart."""

READY_SECONDS = 5.0
"""The time limit of a check whether Neptun is reachable, and how long its outcome is remembered."""

_log = logging.getLogger(__name__)


def build_asgi_app(settings: Settings, host: str = "") -> Starlette:
    """The ASGI application: `/mcp` behind its `Gate`, the probes, and the routes of the sign-in, if people sign in.

    Args:
        settings: which account is used, and who may call.
        host: the address that it listens on, if known. Only a loopback address needs no tokens.

    Raises:
        ValueError: a setting that this host needs is missing.
    """
    check_settings(settings, host)
    neptun, people, turns = create_client(settings), RefusedPeople(settings.mcp_refused_file), _turns(settings)
    calls, ending = CallLog(), Ending()
    sign_in = SignIn(neptun, settings, people.has_user) if settings.mcp_credentials == "sign-in" else None
    keeps_sessions = _keeps_mcp_sessions(settings, host)
    renewal = advice_on_header(neptun.address) if settings.mcp_credentials == "caller" else ADVICE if sign_in else ""
    clients = Clients(neptun, renewal)
    server = _mcp_server(
        settings,
        clients,
        renewal,
        keeps_sessions=keeps_sessions,
        # Answers that are refused for their state are logged, too.
        around=(end_calls(ending), calls.log_call),
    )
    mcp, probes = McpSessions(server, are_kept=keeps_sessions), _Probes(neptun, turns, not renewal)
    gate = Gate(
        app=mcp.handle_request,
        methods=("POST", "DELETE") if keeps_sessions else ("POST",),
        hosts=_hosts(settings, host),
        authenticate=partial(signed_in, sign_in) if sign_in else Tokens(settings.tokens, with_sessions=bool(renewal)),
        clients=clients,
        people=people,
        on_ended=sign_in.session_ended if sign_in else None,
        turns=turns,
    )
    gauges = {"neptun_mcp.ready": lambda: int(probes.are_good), "neptun_mcp.sessions": lambda: len(mcp)}
    telemetry = start_telemetry(settings, gauges)
    routes = [Route("/mcp", gate), Route("/mcp/", gate), *_public_routes(sign_in, turns)]
    routes += [Route("/health", probes.health), Route("/ready", probes.ready)]
    routes += [Route("/metrics", telemetry.answer)] if telemetry and settings.mcp_metrics else []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        await warn_of_gaps(settings)
        with telemetry.running() if telemetry else nullcontext():
            async with neptun, mcp.run(), calls.run():
                with people.kept_up_to_date(), ending.begins_with_signals():
                    yield

    limits = Middleware(Limits, ending, telemetry.count_request if telemetry else None)
    app = Starlette(False, routes, [limits], {404: _not_found}, lifespan)
    # It would redirect to an absolute address, which behind a gateway is the wrong one, and unencrypted.
    app.router.redirect_slashes = False
    return app


async def _not_found(request: Request[Any], error: Exception) -> Response:
    return JSONResponse({"error": f"There is nothing here: MCP is at {request.scope['root_path']}/mcp."}, 404)


def _mcp_server(
    settings: Settings,
    clients: Clients,
    renewal: str,
    *,
    keeps_sessions: bool,
    around: Sequence[ServerMiddleware[Any]],
) -> Server[Any]:
    shared = Shared(
        clients.client_for,
        Pages(settings.max_response_bytes),
        settings.project_id,
        settings.confirm_delete,
        _report_of,
        keeps_sessions,
        scope_for=lambda request: caller_of(request).scope,
        reader=replace(CALLER, renewal=renewal),
        read_only=settings.read_only,
    )

    keys = settings.state_keys or [os.urandom(32)]
    bound = RequestStateSecurity(keys=keys, bind_principal=lambda ctx: caller_of(ctx.request).principal)
    server = build_server(
        lambda _: nullcontext(shared), outermost=(follow_trace,), around=around, request_state_security=bound
    )
    lowlevel = lowlevel_server(server)
    # Otherwise the SDK looks in a schema, at each call, for arguments that travel in headers too: there are none.
    lowlevel.get_tool_input_schema = dict[str, dict[str, Any]]().get
    return lowlevel


def _report_of(request: Any) -> Report:
    """Where the tools report a call, which waits for another turn after each question."""
    request.state.report.queued = request.state.turn.queued
    return request.state.report


def _turns(settings: Settings) -> Turns:
    if settings.mcp_credentials == "environment":
        waiting = MAX_WAITING_IN_ONE_ACCOUNT
        return Turns(2 * settings.max_connections, settings.timeout, waiting=waiting, share=math.inf)
    # A call takes up to three connections: a person leaves some to the others.
    return Turns(max(1, settings.max_connections // 4), settings.timeout)


def _hosts(settings: Settings, host: str) -> set[str]:
    """The names by which callers reach the server, as in an address."""
    public = urlsplit(settings.mcp_public_url or "").hostname
    names = [*(settings.mcp_allowed_hosts or ()), *([public] if public else ())]
    return {bracketed(name.lower()) for name in names or ("127.0.0.1", "localhost", "::1", host)}


def _keeps_mcp_sessions(settings: Settings, host: str) -> bool:
    """Whether sessions of the older protocol are kept, which have to be served by one process.

    By default they are if only this machine can call, where no gateway would distribute the calls.
    """
    if settings.mcp_sessions is not None:
        return settings.mcp_sessions
    public = urlsplit(settings.mcp_public_url or "http://localhost").hostname or ""
    return is_loopback(host) and not settings.mcp_allowed_hosts and is_loopback(public)


def _public_routes(sign_in: SignIn | None, turns: Turns) -> list[Route]:
    """The routes of the sign-in, which need no token."""
    if sign_in is None:
        return []
    bodies, routes = Bodies(MAX_PUBLIC_BODY, MAX_PUBLIC_BODIES), sign_in.routes()
    for route in routes:
        route.app = Public(route.app, bodies, turns, sign_in.sender)
    return routes


@dataclass
class _Probes:
    """Whether the process is alive, and whether calls can succeed, which is checked every `READY_SECONDS` at most."""

    neptun: NeptunClient
    turns: Turns
    one_account: bool
    are_good: bool = False
    _checked: float = -math.inf
    _lock: anyio.Lock = field(default_factory=anyio.Lock)

    async def health(self, request: Request[Any]) -> Response:
        self.turns.notice("/health")
        return JSONResponse({"status": "alive"})

    async def ready(self, request: Request[Any]) -> Response:
        async with self._lock:
            if anyio.current_time() - self._checked >= READY_SECONDS:
                self.are_good = await self._check()
                self._checked = anyio.current_time()
        if self.are_good:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "Neptun cannot be used: the log says why"}, 503)

    async def _check(self) -> bool:
        try:
            with anyio.fail_after(READY_SECONDS):
                await self.neptun.check_reachable()
                if self.one_account:
                    await self.neptun.check_login()
        except (NeptunError, TimeoutError) as error:
            slow = f"Neptun did not answer within {READY_SECONDS:g} seconds."
            _log.warning("not ready: %s", explained(error, OPERATOR) if isinstance(error, NeptunError) else slow)
            return False
        return True
