"""What operators see of calls: a line in the log for each, an audit line for each that may change something, traces."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import Any, cast

from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.server.mcpserver.tools import Tool
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from ..log import request_id_of
from ..tools.arguments import parsed_arguments
from ..tools.results import DeletionResult
from ..tools.tools import changes_something
from .gate import caller_of
from .turns import Turn

_log = logging.getLogger(__name__)
_calls = logging.getLogger("neptun_mcp.calls")
_audit = logging.getLogger("neptun_mcp.audit")
for _logger in (_calls, _audit):
    _logger.setLevel(logging.INFO)  # whatever is set for the others


def remember_outcome(request: Request[Any], outcome: BaseModel | BaseException) -> None:
    """Keep what a tool returned or raised until its call is logged and answered."""
    request.state.outcome = outcome


def call_logger(tools: Iterable[Tool]) -> ServerMiddleware[Any]:
    """Middleware of the MCP server that logs each call of a tool, whatever its outcome."""
    audited = {tool.name: tool for tool in tools if changes_something(tool)}

    async def log_call(ctx: ServerRequestContext[Any, Request[Any]], call_next: CallNext) -> HandlerResult:
        # A notification of this name is no call: nothing runs, and nobody is answered.
        if ctx.method != "tools/call" or ctx.request is None or ctx.request_id is None:
            return await call_next(ctx)
        started = perf_counter()
        outcome, answer = "failed", None
        try:
            answer = cast("Mapping[str, Any]", await call_next(ctx))
            outcome = _outcome(answer)
            return cast("HandlerResult", answer)
        except (MCPError, ValidationError):  # the latter is the SDK's, of parameters that are none
            outcome = "refused"
            raise
        finally:
            params: Mapping[str, Any] = ctx.params or {}
            name = str(params.get("name"))
            common = {"request_id": request_id_of(ctx.request.headers), "caller": caller_of(ctx.request).id[:16] or "-"}
            turn: Turn = ctx.request.state.turn
            milliseconds = round((perf_counter() - started - turn.waited) * 1000, 1)
            call = {"tool": name[:40], "outcome": outcome, "ms": milliseconds, **common}
            _calls.info("call", extra={"fields": call})
            if name in audited and outcome != "asked":
                returned: object = getattr(ctx.request.state, "outcome", None)
                happened = _what_happened(audited[name], params, outcome, returned, answer)
                _audit.info("deletion", extra={"fields": {**happened, **common}})

    return log_call


def _outcome(answer: Mapping[str, Any]) -> str:
    if answer.get("resultType") == "input_required":
        return "asked"
    return "error" if answer.get("isError") else "ok"


def _what_happened(
    tool: Tool,
    params: Mapping[str, Any],
    outcome: str,
    returned: object,
    answer: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What was to be deleted, and what happened to it."""
    if isinstance(returned, DeletionResult):
        deleted = "deleted" if returned.deleted else "declined"
        return {"outcome": deleted, "project_id": returned.project_id, "import_id": returned.import_id}
    given = parsed_arguments(params.get("arguments")) or {}
    ids = {name: str(given.get(name))[:20] for name in tool.parameters["properties"] if name.endswith("_id")}
    return {"outcome": outcome, **ids} | ({"why": answer["content"][0]["text"]} if answer else {})


def start_tracing() -> Callable[[], None]:
    """Send traces as the usual `OTEL_*` variables say; needs the extra `otel`.

    Without `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_TRACES_EXPORTER=otlp` nothing
    happens.

    Returns:
        A function that sends the rest, to be called at the end.
    """
    endpoint = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{kind}ENDPOINT") for kind in ("", "TRACES_"))
    if os.environ.get("OTEL_TRACES_EXPORTER", "otlp" if endpoint else "none") != "otlp":
        return lambda: None
    os.environ.setdefault("OTEL_SERVICE_NAME", "neptun-mcp")
    # Further variables may capture headers, but not the session.
    os.environ.setdefault("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS", "cookie,set-cookie")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        from .traces import trace_calls
    except ImportError:
        _log.warning("no traces are sent: install neptun-mcp with the extra otel")
        return lambda: None
    return trace_calls(OTLPSpanExporter()).shutdown
