"""What operators see of calls: a line in the log for each, an audit line for each that may change something, traces."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.shared.exceptions import MCPError
from opentelemetry.context import attach, detach
from opentelemetry.propagate import extract
from pydantic import ValidationError
from starlette.requests import Request

from ..command_line import command_to_add
from ..log import digest, request_id_of
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
from ..settings import Settings
from ..tools.arguments import parsed_arguments
from ..tools.context import Report, Shared
from ..tools.not_done import NoSession, NotAllowed, NotDone, NotThere
from ..tools.results import DeletionResult
from ..tools.tools import audited_tools
from .callers import Caller, caller_of
from .turns import Turn

if TYPE_CHECKING:
    from .telemetry import Telemetry

_log = logging.getLogger(__name__)
_calls = logging.getLogger("neptun_mcp.calls")
_audit = logging.getLogger("neptun_mcp.audit")
for _logger in (_calls, _audit):
    _logger.setLevel(logging.INFO)  # whatever is set for the others


def report_of_request(request: Request[Any]) -> Report:
    """Where the tools report the call that came with a request."""
    report: Report = request.state.report
    report.waited = request.state.turn.queued
    return report


async def log_call(ctx: ServerRequestContext[Shared, Request[Any]], call_next: CallNext) -> HandlerResult:
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
    except (MCPError, ValidationError):  # the latter is the SDK's, of parameters that are none
        outcome = "refused"
        raise
    finally:
        turn: Turn = ctx.request.state.turn
        report = report_of_request(ctx.request)
        name = str((ctx.params or {}).get("name"))
        reason = {"reason": reason_of(report.outcome)} if outcome in ("error", "refused") else {}
        user_id = _user_id(ctx)
        common = {
            "request_id": request_id_of(ctx.request.headers),
            "caller": caller_name(caller_of(ctx.request), user_id),
        }
        times = {
            "ms": round((perf_counter() - started - turn.waited) * 1000, 1),
            "waited_ms": round(turn.queued * 1000, 1),
        }
        _calls.info("call", extra={"fields": {"tool": name[:40], "outcome": outcome, **reason, **times, **common}})
        if name in audited_tools() and outcome != "asked":
            happened = _what_happened(ctx, report, outcome, answer)
            _audit.info("deletion", extra={"fields": {**happened, **reason, "user_id": user_id, **common}})


def _user_id(ctx: ServerRequestContext[Shared, Request[Any]]) -> int | None:
    """Whose account a call used, as far as that is known."""
    assert ctx.request is not None  # noqa: S101
    if user_id := caller_of(ctx.request).user_id:
        return user_id
    try:
        return ctx.lifespan_context.client_for(ctx.request).session.known_user_id
    except NotDone:
        return None


def caller_name(caller: Caller, user_id: int | None) -> str:
    """What the log calls a caller: the same for a person whenever and however they call, once their id is known.

    Args:
        caller: who sent the request.
        user_id: the Neptun user whose account is used. Where all callers share one, it tells nothing about them.
    """
    if caller.cookie and user_id is not None:
        return f"user-{user_id}"
    if caller.token:
        return f"token-{caller.token[:16]}"
    return f"session-{digest(caller.cookie)[:16]}" if caller.cookie else "-"


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
)
"""Why a call failed, by the classes of its error; the first that fits."""


def reason_of(error: object) -> str:
    """A word for the log, of those in docs/remote.md: why a call failed.

    Args:
        error: as the tool raised it; anything else if the call did not come so far.
    """
    if isinstance(error, DeletionFailed):
        return reason_of(error.cause)
    if isinstance(error, BaseException):
        known = [reason for reason, classes in _REASONS if isinstance(error, classes)]
        return known[0] if known else "caller_mistake" if isinstance(error, ToolError) else "internal"
    return "caller_mistake"


def _what_happened(
    ctx: ServerRequestContext[Shared, Request[Any]], report: Report, outcome: str, answer: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What was to be deleted, who was asked, and what happened to it. Fields without a value are left out."""
    given = parsed_arguments((ctx.params or {}).get("arguments")) or {}
    result, found = report.outcome, report.found
    if isinstance(result, DeletionResult):
        outcome = "deleted" if result.deleted else "declined"
    host = ctx.session.client_params.client_info if ctx.session.client_params else None
    fields = {
        "outcome": outcome,
        "project_id": report.project_id or _number(given.get("project_id")),
        "project": report.project_name,
        "import_id": found.id if found else _number(given.get("import_id")),
        "path": found.source_path[:200] if found else None,
        "host": host.name[:100] if host else None,
        "host_version": host.version[:100] if host else None,
        "asked": report.asked,
        "answered": report.answered,
        "why": answer["content"][0]["text"] if answer and outcome == "error" else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


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


def start_telemetry(settings: Settings, **parts: Any) -> Telemetry | None:
    """Traces and metrics as the settings and the usual `OTEL_*` variables say; None if there are none.

    Args:
        settings: say whether there is `/metrics`.
        parts: see `Telemetry`.

    Raises:
        ValueError: metrics are set, and the extra `otel` is not installed.
    """
    if not (settings.mcp_metrics or any(name.startswith("OTEL_EXPORTER_OTLP") for name in os.environ)):
        return None
    try:
        from .telemetry import Telemetry
    except ImportError:
        if settings.mcp_metrics:
            raise ValueError(f"NEPTUN_MCP_METRICS needs the extra otel: {command_to_add('otel')}") from None
        _log.warning("no traces are sent, which needs the extra otel: %s", command_to_add("otel"))
        return None
    return Telemetry(**parts, metrics=settings.mcp_metrics)
