"""One server for many people, over Streamable HTTP: any number of processes that share nothing but a key."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import anyio
import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp.server.request_state import RequestStateSecurity
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .._version import __version__
from ..account import create_client, credentials_of, sample_login
from ..log import configure_logging
from ..neptun.client import NeptunClient
from ..neptun.errors import NeptunError
from ..server import build_server
from ..settings import HOW_TO_MAKE_KEY, Settings, bracketed, is_loopback, problems
from ..sign_in.routes import ADVICE, SignIn
from ..tools import create_tools
from ..tools.context import Shared
from ..tools.pages import Pages
from ..tools.prompts import create_prompts
from ..tools.words import CALLER, OPERATOR, explained, login_command
from . import process
from .bodies import Bodies
from .callers import Clients, SignedIn, Tokens, advice_on_header, caller_of
from .deadlines import Ending, end_unread_connections
from .gate import MAX_PUBLIC_BODIES, MAX_PUBLIC_BODY, Gate, Limits, Public
from .mcp_sessions import McpSessions, end_calls, let_calls_finish
from .observability import CallLog, follow_trace, report_of_request, start_telemetry
from .refused_people import RefusedPeople
from .turns import Turns

MCP_PATHS = ("/mcp", "/mcp/")
METRICS_PATH = "/metrics"
HEALTH_PATHS = ("/health", "/ready")

MAX_WAITING_IN_ONE_ACCOUNT = 256
"""Requests that may wait where all people share an account, and cannot be told apart."""

READY_SECONDS = 5.0
"""The time limit of a check whether Neptun is reachable, and how long its outcome is remembered."""

GRACE_SECONDS = 5
"""How much longer than the time limit of a call the process takes to end at most."""

LEAVING_SECONDS = 3
"""How much of that time open connections wait for another request: longer than nginx, set up as in docs/remote.md,
keeps those that it does not use."""

BACKLOG, QUEUE = 32, 1024
"""How many connections are accepted before anything else runs, and how many the system keeps until then. Of those that
it turns away, peers try again after a second, then after three, then after seven."""

MAX_HEAD = 32 * 2**10
"""Bytes of an address and all headers together, in the web server."""

_log = logging.getLogger(__name__)
_serve = logging.getLogger("neptun_mcp.serve")
_serve.setLevel(logging.INFO)  # whatever is set for the others


def create_app() -> Starlette:
    """The ASGI application, as the environment describes it; for the command line of a web server.

    It knows neither its address nor how many processes there are, so every setting that other addresses or several
    processes need has to be set.

    Raises:
        SystemExit: a setting is malformed or missing; stderr says which, in a line each.
    """
    try:
        settings = Settings()
        configure_logging(settings)
        if not settings.mcp_state_key:
            raise ValueError("NEPTUN_MCP_STATE_KEY has to be set: the same one for all processes")
        with process.start_up(), process.without_rich():
            app = build_asgi_app(settings)
    except ValueError as error:
        lines = problems(error) if isinstance(error, ValidationError) else [str(error)]
        sys.stderr.write("\n".join([*lines, ""]))
        sys.exit(2)
    # uvicorn's own lines go the same way.
    uvicorn_log = logging.getLogger("uvicorn")
    uvicorn_log.handlers.clear()
    uvicorn_log.propagate = True
    prepare_process()
    _serve.info("serving", extra={"fields": _described(settings)})
    return app


def prepare_process() -> None:
    """Set what a process that serves many people needs, once for all that it does."""
    let_calls_finish()
    process.read_long_bodies()
    process.allow_many_connections()


def serve(app: Starlette, settings: Settings, listener: socket.socket) -> None:
    """Serve in this process until SIGINT or SIGTERM; in-flight calls finish."""
    prepare_process()
    end_unread_connections(listener)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_config=None,
        log_level="info",
        access_log=False,
        backlog=BACKLOG,
        timeout_keep_alive=settings.mcp_keep_alive,
        h11_max_incomplete_event_size=MAX_HEAD,
        timeout_graceful_shutdown=math.ceil(settings.timeout) + GRACE_SECONDS - LEAVING_SECONDS,
    )
    host, port = listener.getsockname()[:2]
    here, public = f"http://{bracketed(host)}:{port}", settings.mcp_public_url
    fields = {"listens_on": here} if public else {}
    fields |= _described(settings)
    if settings.sandbox != "off":
        fields["neptun"] = "sample data"
    _serve.info("MCP is at %s/mcp", public or here, extra={"fields": fields})
    server = _Server(config)
    config.app = server.ends_connections(app)
    server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """A web server that loses no request when it ends."""

    _leaving_seconds = LEAVING_SECONDS

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGINT:  # somebody waits for the end, and no gateway is there
            self._leaving_seconds = 0
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(QUEUE)  # asyncio has it listen with `BACKLOG`, for both

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no connection, and let peers end those that there are, with their next answer or unused.

        uvicorn closes unused ones at once. A request that a gateway sends at that moment would be lost: it may be a
        deletion, so the gateway does not send it to another process.
        """
        for server in self.servers:
            server.close()
        for _ in range(20 * self._leaving_seconds):
            if not self.server_state.connections or self.force_exit:
                break
            await anyio.sleep(1 / 20)
        await super().shutdown(sockets)

    def ends_connections(self, app: ASGIApp) -> ASGIApp:
        """The application, whose answers are the last on their connections once the process has been told to end."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            async def send_last(message: Message) -> None:
                if self.should_exit and message["type"] == "http.response.start":
                    message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
                await send(message)

            await app(scope, receive, send_last)

        return answer


def _described(settings: Settings) -> dict[str, Any]:
    """What the log says at the start."""
    return {"version": __version__, "credentials": settings.mcp_credentials, "tokens": len(settings.tokens)}


def build_asgi_app(settings: Settings, host: str = "") -> Starlette:
    """The ASGI application: `/mcp` behind its `Gate`, `/health` and `/ready`, and what people sign in by, if they do.

    Args:
        settings: which account is used, and who may call.
        host: the address that it listens on, if known. Only a loopback address needs no tokens.

    Raises:
        ValueError: a setting that this host needs is missing.
    """
    check_settings(settings, host)
    parts = _Parts(settings, host)
    routes, gauges = parts.routes(), parts.gauges()
    names = [*(tool.name for tool in create_tools(read_only=False)), *(prompt.name for prompt in create_prompts())]
    telemetry = start_telemetry(settings, names=names, routes=[route.path for route in routes], gauges=gauges)
    middleware = [Middleware(Limits)]
    if telemetry:
        middleware.insert(0, Middleware(telemetry.measuring))
        if settings.mcp_metrics:
            routes.append(Route(METRICS_PATH, telemetry.answer))

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        if telemetry:
            telemetry.start()
        await _warn_of_gaps(settings)
        async with parts.run():
            yield
        if telemetry:
            telemetry.stop()

    app = Starlette(routes=routes, middleware=middleware, exception_handlers={404: _not_found}, lifespan=lifespan)
    # It would redirect to an absolute address, which behind a gateway is the wrong one, and unencrypted.
    app.router.redirect_slashes = False
    return app


class _Parts:
    """What an application is made of, as the settings say."""

    def __init__(self, settings: Settings, host: str) -> None:
        self._settings = settings
        self._neptun = neptun = create_client(settings)
        self._people = people = RefusedPeople(settings.mcp_refused_file)
        self._calls, self._ending = CallLog(), Ending()
        address = settings.mcp_public_url
        self._hosts = (*(settings.mcp_allowed_hosts or ()), *([urlsplit(address).hostname or ""] if address else ()))
        self._hosts = self._hosts or ("127.0.0.1", "localhost", "::1", host)
        self._clients, self._sign_in = None, None
        if settings.mcp_credentials == "environment":
            waiting = MAX_WAITING_IN_ONE_ACCOUNT
            self._turns = Turns(2 * settings.max_connections, settings.timeout, waiting=waiting, share=math.inf)
        else:
            self._clients = Clients(neptun, ADVICE if address else advice_on_header(neptun.address))
            # A call takes up to three connections: a person leaves some to the others.
            self._turns = Turns(max(1, settings.max_connections // 4), settings.timeout)
        if address:
            hint, read_only = sample_login(settings), settings.read_only
            self._sign_in = SignIn(
                neptun, address, settings.state_keys, read_only=read_only, hint=hint, is_refused=people.has_user
            )
        self._readiness = _Readiness(neptun, one_account=not self._clients)
        keeps_sessions = _keeps_mcp_sessions(settings, host)
        stateless = self._mcp_server(keeps_sessions)
        self._mcp = McpSessions(stateless) if keeps_sessions else stateless

    def routes(self) -> list[Route]:
        """What is served, but for the metrics."""
        signed_in = SignedIn(self._sign_in) if self._sign_in else None
        gate = Gate(
            self._mcp.handle_request,
            methods=("POST", "DELETE") if isinstance(self._mcp, McpSessions) else ("POST",),
            hosts=self._hosts,
            authenticate=signed_in or Tokens(self._settings.tokens, own_sessions=self._clients is not None),
            clients=self._clients,
            people=self._people,
            on_ended=signed_in.ended if signed_in else None,
            turns=self._turns,
        )
        routes = [Route(path, gate) for path in MCP_PATHS]
        if self._sign_in:
            bodies = Bodies(MAX_PUBLIC_BODY, MAX_PUBLIC_BODIES)
            for route in self._sign_in.routes():
                route.app = Public(route.app, bodies, self._turns, self._sign_in.sender)
                routes.append(route)
        return [*routes, *map(Route, HEALTH_PATHS, (self._health, self._readiness.answer))]

    async def _health(self, request: Request[Any]) -> Response:
        self._turns.notice("/health")
        return JSONResponse({"status": "alive"})

    def gauges(self) -> dict[str, Callable[[], int]]:
        """What metrics look at when they are read."""
        sessions = {"neptun_mcp.sessions": self._mcp.__len__} if isinstance(self._mcp, McpSessions) else {}
        return {"neptun_mcp.ready": lambda: int(self._readiness.ready), **sessions}

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[None]:
        """Serve while the block runs."""
        async with self._neptun, self._mcp.run(), self._calls.run():
            with self._people.kept_up_to_date(), self._ending.begins_with_signals(), process.one_line_when_full():
                yield

    def _mcp_server(self, keeps_sessions: bool) -> StreamableHTTPSessionManager:
        settings, clients, neptun = self._settings, self._clients, self._neptun
        shared = Shared(
            clients.client_for if clients else lambda _: neptun,
            Pages(settings.max_response_bytes),
            settings.project_id,
            settings.confirm_delete,
            report_of_request,
            keeps_sessions,
            scope_for=lambda request: caller_of(request).scope,
            reader=replace(CALLER, renewal=clients.advice if clients else ""),
        )

        @asynccontextmanager
        async def lifespan(server: MCPServer[Any]) -> AsyncGenerator[Shared]:
            yield shared

        def principal(ctx: ServerRequestContext[Any, Any]) -> str:
            assert ctx.request is not None  # noqa: S101
            return caller_of(ctx.request).principal

        security = RequestStateSecurity(keys=settings.state_keys or [os.urandom(32)], bind_principal=principal)
        server = build_server(
            create_tools(read_only=settings.read_only),
            lifespan,
            outermost=(follow_trace,),
            # Answers that are refused for their state are logged, too.
            around=(end_calls(self._ending), self._calls.log_call),
            request_state_security=security,
        )
        # Sessions would tie a caller to a process, streams are of no use to tools that answer at once.
        server.streamable_http_app(
            stateless_http=True,
            json_response=True,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # the gate's part
        )
        # Otherwise the SDK looks in a schema, at each call, for arguments that travel in headers too: there are none.
        server.session_manager.app.get_tool_input_schema = dict[str, dict[str, Any]]().get
        return server.session_manager


def check_settings(settings: Settings, host: str) -> None:
    """Whether a server with these settings could begin to serve.

    Args:
        settings: which account is used, and who may call.
        host: the address that it would listen on, if known.

    Raises:
        ValueError: settings are missing on this host, or contradict each other; or a file that they name is no use.
    """
    RefusedPeople(settings.mcp_refused_file)
    address, tokens, hosts = settings.mcp_public_url, settings.tokens, settings.mcp_allowed_hosts
    if settings.mcp_credentials != "sign-in":
        if address:
            raise ValueError("NEPTUN_MCP_PUBLIC_URL goes with NEPTUN_MCP_CREDENTIALS=sign-in: set both, or neither")
        if hosts or not is_loopback(host):
            why = "NEPTUN_MCP_ALLOWED_HOSTS is set" if hosts else f"it listens on {host or 'an address unknown here'}"
            needed = {
                "NEPTUN_MCP_TOKEN": (tokens, f"a token (make one with: {HOW_TO_MAKE_KEY})"),
                "NEPTUN_MCP_ALLOWED_HOSTS": (hosts, "the host names by which they do (such as mcp.example.com)"),
            }
            _check_set(needed, f"Others may reach this server, since {why}, so it")
        return
    needed = {
        "NEPTUN_MCP_PUBLIC_URL": (address, "the address by which people reach it (such as https://mcp.example.com)"),
        "NEPTUN_MCP_STATE_KEY": (settings.state_keys, f"a key (make one with: {HOW_TO_MAKE_KEY})"),
    }
    _check_set(needed, "With NEPTUN_MCP_CREDENTIALS=sign-in this server")
    if tokens:
        raise ValueError(
            "NEPTUN_MCP_TOKEN and NEPTUN_MCP_TOKEN_FILE do not go with NEPTUN_MCP_CREDENTIALS=sign-in: "
            "people get tokens by signing in"
        )


def _check_set(needed: Mapping[str, tuple[object, str]], who: str) -> None:
    """Raises ValueError if some of the settings are missing, each given with its value and what it is in words."""
    missing = {name: words for name, (value, words) in needed.items() if not value}
    if missing:
        are = "are" if len(missing) > 1 else "is"
        raise ValueError(f"{' and '.join(missing)} {are} not set. {who} needs {' and '.join(missing.values())}.")


async def _warn_of_gaps(settings: Settings) -> None:
    """Log what is not set although people will miss it."""
    if settings.mcp_allowed_hosts and not settings.state_keys:
        _serve.warning(
            "NEPTUN_MCP_STATE_KEY is not set: a person's answer is refused after a restart, and by another process. "
            "Set the same key for all processes; make one with: %s",
            HOW_TO_MAKE_KEY,
        )
    kept = credentials_of(settings).kept
    if settings.mcp_credentials != "environment" or settings.sandbox != "off" or kept is None:
        return
    with suppress(OSError):  # then calls, and /ready, say why it cannot be read
        if await anyio.to_thread.run_sync(kept.load, settings.base_url) is None:
            _serve.warning(
                "No Neptun credentials are set, so calls will fail. "
                "Run %s (no restart is needed), or set NEPTUN_SESSION_COOKIE and restart.",
                login_command(settings.base_url),
            )


def _keeps_mcp_sessions(settings: Settings, host: str) -> bool:
    """Whether sessions of the older protocol are kept, which have to be served by one process.

    By default they are if only this machine can call, where no gateway would distribute the calls.
    """
    if settings.mcp_sessions is not None:
        return settings.mcp_sessions
    address = urlsplit(settings.mcp_public_url or "http://localhost").hostname or ""
    return is_loopback(host) and not settings.mcp_allowed_hosts and is_loopback(address)


async def _not_found(request: Request[Any], error: Exception) -> Response:
    return JSONResponse({"error": f"There is nothing here: MCP is at {request.scope['root_path']}/mcp."}, 404)


class _Readiness:
    """Whether calls can succeed, found out at most once in a while."""

    def __init__(self, neptun: NeptunClient, *, one_account: bool) -> None:
        self._neptun = neptun
        self._one_account = one_account
        self.ready = False
        self._checked = -math.inf
        self._lock = anyio.Lock()

    async def answer(self, request: Request[Any]) -> Response:
        async with self._lock:
            if anyio.current_time() - self._checked >= READY_SECONDS:
                self.ready = await self._check()
                self._checked = anyio.current_time()
        if self.ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "Neptun cannot be used: the log says why"}, 503)

    async def _check(self) -> bool:
        try:
            with anyio.fail_after(READY_SECONDS):
                await self._neptun.check_reachable()
                if self._one_account:
                    await self._neptun.check_login()
        except (NeptunError, TimeoutError) as error:
            slow = f"Neptun did not answer within {READY_SECONDS:g} seconds."
            _log.warning("not ready: %s", explained(error, OPERATOR) if isinstance(error, NeptunError) else slow)
            return False
        return True
