"""What leaves the process as traces and metrics: no ids, paths, names or secrets. Needs the extra `otel`.

The MCP SDK and HTTPX's instrumentation make the spans, and the latter measures requests to Neptun. Calls and sign-ins
are counted from their log lines, so that log and metrics agree. Names follow OpenTelemetry's conventions for MCP, HTTP
servers and HTTP clients, where they have one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import NoOpTracerProvider, Status, StatusCode, set_tracer_provider
from opentelemetry.util.http import sanitize_method
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from .._version import __version__
from ..neptun.transport import route_of
from ..tools import create_tools
from ..tools.prompts import create_prompts

MAX_TEXT = 200
"""Characters of a span's name, or of an attribute."""

PROBES = ("HEAD /api/auth/check", "GET /api/_auth/session", "GET /api/shared/collections/{collection_id}")
"""Requests that are sent to learn whether they are refused."""

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Seconds: most of those of OpenTelemetry's convention for HTTP, and the usual time limit of a call."""

NAMES = ("gen_ai.tool.name", "gen_ai.prompt.name")
"""Attributes with the name of a tool or a prompt, as the caller says it."""

SENT = ("mcp.", "gen_ai.", "rpc.", "error.", "http.request.method", "http.response.status_code", "server.", "network.")
"""Beginnings of the names of attributes that are sent as they are."""


def _otlp(signal: str) -> bool:
    """Whether traces or metrics are sent, by the usual variables."""
    endpoint = any(os.environ.get(f"OTEL_EXPORTER_OTLP_{kind}ENDPOINT") for kind in ("", f"{signal}_"))
    return os.environ.get(f"OTEL_{signal}_EXPORTER", "otlp" if endpoint else "none") == "otlp"


class Telemetry(logging.Handler):
    """Traces and metrics of one server, while it runs. It counts what is logged of calls and of sign-ins.

    Args:
        gauges: what is looked at when metrics are read, by name.
        metrics: whether `/metrics` is served.
    """

    def __init__(self, gauges: Mapping[str, Callable[[], int]], *, metrics: bool) -> None:
        super().__init__(logging.INFO)
        os.environ.setdefault("OTEL_SERVICE_NAME", "neptun-mcp")
        os.environ.setdefault("OTEL_SEMCONV_STABILITY_OPT_IN", "http")
        resource = Resource.create({"service.version": __version__})
        self._tracer = TracerProvider(resource=resource, span_limits=SpanLimits(max_attribute_length=MAX_TEXT))
        self._registry = CollectorRegistry()
        readers: list[MetricReader] = []
        if metrics:
            ProcessCollector(registry=self._registry)
            GCCollector(registry=self._registry)
            readers.append(PrometheusMetricReader(registry=self._registry, scope_info_enabled=False))
        if _otlp("METRICS"):
            readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
        self._meter = MeterProvider(readers, resource=resource)
        meter = self._meter.get_meter("neptun-mcp", __version__)
        self._requests = _seconds(meter, "http.server.request.duration")
        self._calls = _seconds(meter, "mcp.server.operation.duration")
        self._waits = _seconds(meter, "neptun_mcp.turn.wait.duration")
        self._sign_ins = meter.create_counter("neptun_mcp.sign_in.events")
        # Other names that callers use are shown nowhere.
        self._names = {known.name for known in (*create_tools(), *create_prompts())}
        for name, value in gauges.items():
            meter.create_observable_gauge(name, [_observer(value)])

    @contextmanager
    def running(self) -> Generator[None]:
        """Trace and count, in the whole process, while the block runs."""
        tracer = NoOpTracerProvider()
        if _otlp("TRACES"):
            self._tracer.add_span_processor(RedactedSpans(OTLPSpanExporter(), self._names))
            set_tracer_provider(self._tracer)
            tracer = self._tracer
        logger = logging.getLogger("neptun_mcp")
        logger.addHandler(self)
        HTTPX2ClientInstrumentor().instrument(tracer_provider=tracer, meter_provider=self._meter)
        try:
            yield
        finally:
            HTTPX2ClientInstrumentor().uninstrument()
            logger.removeHandler(self)
            self._tracer.shutdown()
            self._meter.shutdown()

    def emit(self, record: logging.LogRecord) -> None:
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        if record.name == "neptun_mcp.sign_in" and "outcome" in fields:
            self._sign_ins.add(1, {"event": str(record.msg), "outcome": fields["outcome"]})
        elif record.name == "neptun_mcp.calls":
            tool = fields["tool"] if fields["tool"] in self._names else "_OTHER"
            about = {"mcp.method.name": "tools/call", "gen_ai.tool.name": tool, "outcome": fields["outcome"]}
            about |= {"error.type": fields["reason"]} if "reason" in fields else {}
            self._calls.record(fields["ms"] / 1000, about)
            self._waits.record(fields["waited_ms"] / 1000)

    def count_request(self, scope: Scope, status: int | None, seconds: float) -> None:
        """Count a request, its answer's HTTP status, if it got one, and the time that it took."""
        # Callers may invent methods, which are counted together.
        attributes: dict[str, str] = {"http.request.method": sanitize_method(scope["method"])}
        if status:
            attributes["http.response.status_code"] = str(status)
        if "endpoint" in scope:  # else the path is not served, and may be anything
            attributes["http.route"] = scope["path"]
        self._requests.record(seconds, attributes)

    async def answer(self, request: Request) -> Response:
        """`/metrics`, for those who call this process by its address: a gateway passes on a name."""
        try:
            host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
            local = host == "localhost" or bool(ip_address(host))
        except ValueError:
            local = False
        if not local:
            return JSONResponse({"error": "There is nothing here."}, 404)
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


def _seconds(meter: Meter, name: str) -> Histogram:
    return meter.create_histogram(name, unit="s", explicit_bucket_boundaries_advisory=BUCKETS)


def _observer(value: Callable[[], int]) -> Callable[[CallbackOptions], list[Observation]]:
    return lambda _: [Observation(value())]


class RedactedSpans(BatchSpanProcessor):
    """Hands spans to an exporter: routes instead of addresses, known names only, no texts of exceptions.

    The instrumentations' own redaction leaves paths, which hold ids, and what exceptions say, which may repeat headers.
    """

    def __init__(self, exporter: SpanExporter, names: Collection[str]) -> None:
        super().__init__(exporter)
        self._names = names

    def on_end(self, span: ReadableSpan) -> None:
        super().on_end(self._redacted(span))

    def _redacted(self, span: ReadableSpan) -> ReadableSpan:
        # Callers choose the names of tools and methods, and there is no other limit to them.
        name, code, given = span.name[:MAX_TEXT], span.status.status_code, span.attributes or {}
        attributes = {key: value for key, value in given.items() if key.startswith(SENT)}
        for key in NAMES:
            if attributes.get(key, "") not in ("", *self._names):
                del attributes[key]
                name = name.partition(" ")[0]
        if "url.full" in given:
            parts = urlsplit(str(given["url.full"]))
            route = route_of(parts.path)
            name = f"{given['http.request.method']} {route}"
            attributes |= {"url.full": f"{parts.scheme}://{parts.netloc}{route}", "http.route": route}
            if name in PROBES and "http.response.status_code" in given:
                # It was answered, and that is what was asked.
                code = StatusCode.UNSET
                attributes.pop("error.type", None)
        return ReadableSpan(
            name=name,
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            attributes=attributes,
            links=span.links,
            kind=span.kind,
            status=Status(code),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )
