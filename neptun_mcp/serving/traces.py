"""What leaves the process in traces: no ids of people, no texts, no secrets. Needs the extra `otel`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor
from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status, set_tracer_provider

from ..neptun.transport import route_of

MAX_TEXT = 200
"""Characters of a name or an attribute. The names of tools and methods are what callers sent."""

_URLS = ("http.url", "url.full")  # the older and the newer convention
_METHODS = ("http.method", "http.request.method")
_SAID_OF_EXCEPTIONS = ("exception.type", "exception.escaped")


def trace_calls(exporter: SpanExporter) -> TracerProvider:
    """Send a span for each message of MCP, which the SDK makes, and for each request to Neptun."""
    provider = TracerProvider(span_limits=SpanLimits(max_attribute_length=MAX_TEXT))
    provider.add_span_processor(_NameCutter())
    provider.add_span_processor(BatchSpanProcessor(RedactingExporter(exporter)))
    set_tracer_provider(provider)
    HTTPX2ClientInstrumentor().instrument(tracer_provider=provider)
    return provider


class _NameCutter(SpanProcessor):
    """Cuts names before they are kept: there is no limit for them."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        span.update_name(span.name[:MAX_TEXT])


class RedactingExporter(SpanExporter):
    """Hands spans on to another exporter: with routes in place of addresses, and without what exceptions say."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_redacted(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _redacted(span: ReadableSpan) -> ReadableSpan:
    attributes = dict(span.attributes or {})
    return ReadableSpan(
        name=_with_route(attributes) or span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        # An exception may repeat what Neptun sent, such as a header line that cannot be parsed.
        events=[Event(event.name, _said(event.attributes), event.timestamp) for event in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _with_route(attributes: dict[str, Any]) -> str:
    """Put the route in place of the path, which holds a person's id; return a name for the span, if it has a path."""
    name = ""
    for url in attributes.keys() & _URLS:
        parts = urlsplit(str(attributes[url]))
        route = route_of(parts.path)
        attributes |= {url: f"{parts.scheme}://{parts.netloc}{route}", "http.route": route}
        name = f"{next(attributes[method] for method in _METHODS if method in attributes)} {route}"
    return name


def _said(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (attributes or {}).items() if name in _SAID_OF_EXCEPTIONS}
