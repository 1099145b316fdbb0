"""What operators see of calls: a line in the log for each, an audit line for each that may change something, traces."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import anyio
from anyio.abc import TaskGroup
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.shared.exceptions import MCPError
from mcp.types import Implementation, JSONRPCRequest
from opentelemetry.context import attach, detach
from opentelemetry.propagate import extract
from pydantic import ValidationError
from starlette.requests import Request

from ..log import digest, event_log, ids_of, request_id_of
from ..neptun.client import NeptunClient
from ..neptun.errors import (
    BadRequest,
    CredentialsMissing,
    DeletionFailed,
    Denied,
    LoginRefused,
    NeptunError,
    SessionRefused,
    TimedOut,
    Unreachable,
    WrongUser,
)
from ..neptun.time_limit import TimeLimit
from ..settings import Settings
from ..sign_in.refusals import Refused
from ..tools.arguments import parsed_arguments
from ..tools.context import Report, Shared
from ..tools.projects import matching
from ..tools.tools import audited_tools
from ..tools.words import NoSession, NotAllowed, NotDone, NotThere
from .callers import Caller, caller_of

if TYPE_CHECKING:
    from .telemetry import Telemetry

_log = logging.getLogger(__name__)
_log_call, _log_deletion, _log_refusal = event_log("calls"), event_log("audit"), event_log("requests")

_INSTALL_EXTRA = "install neptun-mcp[otel] the way you installed neptun-mcp"

MAX_NAMING, NAMING_SECONDS = 16, 5.0
"""For how many deletions at a time Neptun is asked for the project's name, and how many seconds that may take."""


class CallLog:
    """The log of calls, and the audit trail of those that may have changed something.

    The latter names the project. If its name is not known, Neptun is asked for it once the call is over: no call waits
    for that.
    """

    _tasks: TaskGroup
    _naming = 0

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[None]:
        """Write the log while the block runs, and a little longer."""
        async with anyio.create_task_group() as self._tasks:
            yield

    async def log_call(self, ctx: ServerRequestContext[Shared, Request[Any]], call_next: CallNext) -> HandlerResult:
        """Middleware of the MCP server that logs each call of a tool, whatever its outcome."""
        # A notification of this name is no call: nothing runs, and nobody is answered.
        if ctx.method != "tools/call" or ctx.request is None or ctx.request_id is None:
            return await call_next(ctx)
        started = perf_counter()
        outcome, answer = "failed", None
        try:
            answer = cast("Mapping[str, Any]", await call_next(ctx))
            asked = answer.get("resultType") == "input_required"
            outcome = "asked" if asked else "error" if answer.get("isError") else "ok"
            return cast("HandlerResult", answer)
        except (MCPError, ValidationError):  # the latter is the SDK's, for malformed parameters
            outcome = "refused"
            raise
        finally:
            request, params = ctx.request, ctx.params or {}
            name, turn, caller, neptun = str(params.get("name")), request.state.turn, caller_of(request), None
            with suppress(NoSession):
                neptun = ctx.lifespan_context.client_for(request)
            user_id = caller.user_id or (neptun.session.known_user_id if neptun else None)
            common = {"request_id": request_id_of(request.headers), **_who(caller, user_id)}
            reason = reason_of(request.state.report.outcome) if outcome in ("error", "refused") else None
            ms = round((perf_counter() - started - turn.asking) * 1000, 1)
            waited_ms = round(turn.queued * 1000, 1)
            _log_call("call", tool=name[:40], outcome=outcome, reason=reason, ms=ms, waited_ms=waited_ms, **common)
            if name in audited_tools() and outcome != "asked":
                given = parsed_arguments(params.get("arguments")) or {}
                host = ctx.session.client_params.client_info if ctx.session.client_params else None
                why = answer["content"][0]["text"] if answer and outcome == "error" else None
                happened = _what_happened(request, outcome, given, host)
                fields = {**happened, "why": why, "reason": reason, "user_id": user_id, **common}
                named = fields["project"] or reason == "session_ended"
                if neptun and not named and self._naming < MAX_NAMING:
                    called = str(given.get("project") or "")
                    self._tasks.start_soon(self._name_project, fields, called, caller, neptun)
                else:
                    _log_deletion("deletion", **fields)

    async def _name_project(self, fields: dict[str, Any], called: str, caller: Caller, neptun: NeptunClient) -> None:
        self._naming += 1
        try:
            projects = (await neptun.with_options(time_limit=TimeLimit(NAMING_SECONDS)).list_projects()).items
            id = fields["project_id"]
            same = [project for project in projects if project.id == id] if id else matching(projects, called)
            if len(same) == 1:
                fields |= {"project_id": same[0].id, "project": same[0].name}
            fields["user_id"] = user_id = neptun.session.known_user_id
            fields["caller"] = caller.name(user_id)  # the person's, if this was the first that Neptun heard
        except NeptunError:
            pass
        finally:
            self._naming -= 1
            _log_deletion("deletion", **fields)


def log_refusal(refusal: Refused, request: Request[Any]) -> None:
    """Log that a request goes no further, and who sent it if that is known; a deletion has its audit line, too."""
    caller: Caller | None = getattr(request.state, "caller", None)
    who = _who(caller, caller.user_id) if caller else {"caller": None}
    common = {**ids_of(request.headers), "caller": who["caller"]}
    reason = _REFUSALS.get(refusal.status, "caller_mistake")
    token = request.headers.get("authorization", "").partition(" ")[2].strip()
    if token and refusal.status == 401:
        reason = "wrong_token"
    if refusal.note is not None:
        said = f"refused: {refusal.note}" if refusal.note else "refused"
        _log_refusal(said, status=refusal.status, reason=reason, token=digest(token)[:16] if token else None, **common)
    message = getattr(request.state, "message", None)
    params = message.params or {} if isinstance(message, JSONRPCRequest) and message.method == "tools/call" else {}
    if caller and params.get("name") in audited_tools():
        happened = _what_happened(request, "refused", parsed_arguments(params.get("arguments")) or {})
        _log_deletion("deletion", **happened, reason=reason, user_id=caller.user_id, **{**common, **who})


def _who(caller: Caller, user_id: int | None) -> dict[str, str | None]:
    used = {"sign_in": digest(caller.sign_in)[:16]} if caller.sign_in else {"token": caller.token[:16] or None}
    return {"caller": caller.name(user_id), **used}


_REFUSALS = {401: "no_token", 403: "refused", 429: "too_much_waiting", 503: "neptun_failed"}
"""Why a request was refused, by its status; all others are the caller's mistake."""

_Errors: TypeAlias = type[BaseException] | tuple[type[BaseException], ...]
_REASONS: Sequence[tuple[str, _Errors]] = (
    ("session_ended", (CredentialsMissing, SessionRefused, LoginRefused, WrongUser, NoSession)),
    ("not_found", (Denied, NotThere)),
    ("refused", NotAllowed),
    ("caller_mistake", (BadRequest, NotDone, ValidationError)),
    ("neptun_slow", TimedOut),
    ("neptun_unreachable", Unreachable),
    ("neptun_failed", NeptunError),
    ("internal", UnexpectedToolError),
    ("caller_mistake", (ToolError, MCPError)),
    ("internal", BaseException),
)
"""Why a call failed, by the classes of its error; the first that fits."""


def reason_of(error: object) -> str:
    """A word for the log, of those in docs/remote.md: why a call failed.

    Args:
        error: as the tool raised it; anything else if the call did not get that far.
    """
    if isinstance(error, DeletionFailed):
        return reason_of(error.cause)
    return next((reason for reason, classes in _REASONS if isinstance(error, classes)), "caller_mistake")


def _what_happened(
    request: Request[Any], outcome: str, given: Mapping[str, Any], host: Implementation | None = None
) -> dict[str, Any]:
    """What was to be deleted, who was asked, and what happened to it."""
    report: Report = request.state.report
    result, found = report.outcome, report.found
    if isinstance(result, Mapping):
        outcome = "gone" if report.gone_before else "deleted" if result["deleted"] else "declined"
    # Without a session, a host of MCP 2025-11-25 and before does not say its name.
    user_agent = "" if host else request.headers.get("user-agent", "")
    return {
        "outcome": outcome,
        "project_id": report.project_id or _number(given.get("project_id")) or None,
        "project": report.project_name,
        "import_id": found.id if found else _number(given.get("import_id")),
        "path": found.source_path[:200] if found else None,
        "host": host.name[:100] if host else None,
        "host_version": host.version[:100] if host else None,
        "user_agent": user_agent[:100] or None,
        "asked": report.asked,
        "answered": report.answered,
    }


def _number(given: Any) -> int | None:
    """An id as hosts send it, or None."""
    return int(given) if re.fullmatch(r"[0-9]{1,16}", str(given)) else None


async def follow_trace(ctx: ServerRequestContext[Any, Request[Any] | None], call_next: CallNext) -> HandlerResult:
    """Middleware of the MCP server: the caller's trace, as the header `traceparent` names it, goes on here."""
    if ctx.request is None or "traceparent" not in ctx.request.headers:
        return await call_next(ctx)
    token = attach(extract(ctx.request.headers))
    try:
        return await call_next(ctx)
    finally:
        detach(token)


def start_telemetry(settings: Settings, gauges: Mapping[str, Callable[[], int]]) -> Telemetry | None:
    """Traces and metrics as the settings and the usual `OTEL_*` variables say; None if there are none.

    Args:
        settings: say whether there is `/metrics`.
        gauges: see `Telemetry`.

    Raises:
        ValueError: metrics are set, and the extra `otel` is not installed.
    """
    if not (settings.mcp_metrics or any(name.startswith("OTEL_EXPORTER_OTLP") for name in os.environ)):
        return None
    try:
        from .telemetry import Telemetry
    except ImportError:
        if settings.mcp_metrics:
            raise ValueError(f"NEPTUN_MCP_METRICS needs the extra otel: {_INSTALL_EXTRA}.") from None
        _log.warning("no traces are sent, which needs the extra otel: %s", _INSTALL_EXTRA)
        return None
    return Telemetry(gauges, metrics=settings.mcp_metrics)
