"""What is seen of calls from outside: a line in the log for each, one more for each deletion, and traces."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, cast
from uuid import uuid4

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from starlette.requests import Request

from .gate import caller_of

_log = logging.getLogger(__name__)
_calls = logging.getLogger("neptun_mcp.calls")
_audit = logging.getLogger("neptun_mcp.audit")
for _logger in (_calls, _audit):
    _logger.setLevel(logging.INFO)  # whatever is set for the others

_REQUEST_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_ID_IN_PATH = re.compile(r"(?<=/)(users|projects|imports)/[^/?]+")
_WORD_FOR_ID = {"users": "{user_id}", "projects": "{project_id}", "imports": "{import_id}"}


async def log_call(ctx: ServerRequestContext[Any, Request[Any]], call_next: CallNext) -> HandlerResult:
    """Middleware of the MCP server: logs each call of a tool, whatever becomes of it."""
    if ctx.method != "tools/call" or ctx.request is None:
        return await call_next(ctx)
    started = perf_counter()
    outcome, result = "failed", None
    try:
        result = await call_next(ctx)
        outcome = _outcome(cast("Mapping[str, Any]", result))
        return result
    except MCPError:
        outcome = "refused"
        raise
    finally:
        params: Mapping[str, Any] = ctx.params or {}
        common = {"request_id": _request_id(ctx.request), "caller": caller_of(ctx.request).id[:16] or "-"}
        milliseconds = round((perf_counter() - started) * 1000, 1)
        fields = {"tool": str(params.get("name"))[:40], "outcome": outcome, "ms": milliseconds, **common}
        _calls.info("call", extra={"fields": fields})
        if params.get("name") == "delete_import" and outcome != "asked":
            _audit.info("deletion", extra={"fields": {**_deletion(params, outcome, result), **common}})


def _outcome(result: Mapping[str, Any]) -> str:
    if result.get("resultType") == "input_required":
        return "asked"
    return "error" if result.get("isError") else "ok"


def _deletion(params: Mapping[str, Any], outcome: str, result: Any) -> dict[str, Any]:
    """What was to be deleted, and what became of it."""
    arguments = params.get("arguments")
    given: Mapping[str, Any] = cast("Mapping[str, Any]", arguments) if isinstance(arguments, dict) else {}
    wanted = {name: str(given.get(name))[:20] for name in ("project_id", "import_id")}
    if outcome == "ok":
        done = result["structuredContent"]
        return {"outcome": "deleted" if done["deleted"] else "declined"} | {name: done[name] for name in wanted}
    why = {"why": result["content"][0]["text"]} if outcome == "error" else {}
    return {"outcome": outcome, **wanted, **why}


def _request_id(request: Request[Any]) -> str:
    """The gateway's id of the request, where it gives one."""
    given = request.headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex


def start_tracing() -> Callable[[], None]:
    """Send traces where the usual `OTEL_*` variables say; needs the extra `otel`.

    The SDK of MCP makes a span for each message, the instrumentation of HTTPX one for each request to Neptun. Without
    `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_TRACES_EXPORTER=otlp` nothing happens.

    Returns:
        What sends the rest, to be called at the end.
    """
    endpoint = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{kind}ENDPOINT") for kind in ("", "TRACES_"))
    if os.environ.get("OTEL_TRACES_EXPORTER", "otlp" if endpoint else "none") != "otlp":
        return lambda: None
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        _log.warning("no traces are sent: install neptun-mcp with the extra otel")
        return lambda: None
    os.environ.setdefault("OTEL_SERVICE_NAME", "neptun-mcp")
    # Where headers are captured, by further variables, the session is not among them.
    os.environ.setdefault("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS", "cookie,set-cookie")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    HTTPX2ClientInstrumentor().instrument(tracer_provider=provider, async_request_hook=_without_ids)
    return provider.shutdown


async def _without_ids(span: Any, request: Any) -> None:
    """Name a span by its route: the path holds a person's id."""
    method, url = request[0].decode(), request[1]
    route = _ID_IN_PATH.sub(lambda match: f"{match[1]}/{_WORD_FOR_ID[match[1]]}", url.path)
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.route": route, "http.url": str(url.copy_with(path=route, query=None))})
