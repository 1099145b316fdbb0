"""What is seen from outside: the log of calls and deletions, and traces."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from neptun_mcp.sandbox import BOB_COOKIE, COOKIE
from neptun_mcp.sandbox.state import seal
from tests.processes import environment
from tests.serving.support import (
    AGREED,
    DELETE_IMPORT,
    HEADERS,
    LIST_FILES,
    LIST_IMPORTS,
    REMOTE,
    STATE_KEY,
    TOKEN,
    Caller,
    content_in,
    error_in,
    listen,
    start_in_process,
    worker,
)
from tests.support import ERAS, Json, Site, failure, resources

pytestmark = pytest.mark.anyio

DISAGREED: Json = {"neptun_mcp.tools.questions:ask_deletion": {"action": "decline"}}
GATEWAY_HEADERS = {**HEADERS, "X-Request-Id": "gateway-1"}
UNKNOWN = f"token-{sha256(TOKEN.encode()).hexdigest()[:16]}"


@asynccontextmanager
async def caller_of_worker(log: Path, env: dict[str, str]) -> AsyncGenerator[Caller]:
    http = httpx.AsyncClient(timeout=30)
    async with worker(log, env) as (url, _), http:
        yield Caller(url, http, GATEWAY_HEADERS)


async def asked_and_answered(caller: Caller, responses: Json) -> Json:
    state = (await caller.call("delete_import", DELETE_IMPORT))["result"]["requestState"]
    return await caller.call("delete_import", DELETE_IMPORT, inputResponses=responses, requestState=state)


async def test_each_call_and_each_deletion_is_a_json_line(site: Site, tmp_path: Path) -> None:
    env = environment(base_url=site.url, **REMOTE, confirm_delete="require", log_format="json", log_level="error")
    async with caller_of_worker(tmp_path / "log", env) as caller:
        content_in(await caller.call("list_imports", LIST_IMPORTS))
        error_in(await caller.call("list_imports", {"limit": "many"}))
        await caller.call('no "such" tool', {})
        await caller.call("list_imports", LIST_IMPORTS, inputResponses=5)
        await asked_and_answered(caller, DISAGREED)
        as_text: Any = json.dumps(DELETE_IMPORT)
        await caller.call("delete_import", as_text, inputResponses=AGREED, requestState="tampered")
        site.answers[f"DELETE {resources(1, 'imports/104')}"] = failure(500)
        error_in(await asked_and_answered(caller, AGREED))
        del site.answers[f"DELETE {resources(1, 'imports/104')}"]
        await asked_and_answered(caller, AGREED)
        caller.capabilities = {}
        error_in(await caller.call("delete_import", {"project_id": 1, "import_id": "105"}))
        caller.headers = {**GATEWAY_HEADERS, "Neptun-Session": seal("ended")}
        error_in(await caller.call("list_imports", LIST_IMPORTS))
    log = (tmp_path / "log").read_text()
    lines: list[Json] = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    calls = [line for line in lines if line["logger"] == "neptun_mcp.calls"]
    deletions = [line for line in lines if line["logger"] == "neptun_mcp.audit"]
    assert [(line["tool"], line["outcome"], line.get("reason")) for line in calls] == [
        ("list_imports", "ok", None),
        ("list_imports", "error", "caller_mistake"),
        ('no "such" tool', "error", "caller_mistake"),
        ("list_imports", "refused", "caller_mistake"),
        ("delete_import", "asked", None),
        ("delete_import", "ok", None),
        ("delete_import", "refused", "caller_mistake"),
        ("delete_import", "asked", None),
        ("delete_import", "error", "neptun_failed"),
        ("delete_import", "asked", None),
        ("delete_import", "ok", None),
        ("delete_import", "error", "refused"),
        ("list_imports", "error", "session_ended"),
    ]
    assert all(line["ms"] > 0 and line["waited_ms"] >= 0 for line in calls)
    told = [(line["outcome"], line.get("asked"), line.get("answered"), line["import_id"]) for line in deletions]
    assert told == [
        ("declined", True, "declined", 104),
        ("refused", None, None, 104),
        ("error", True, "yes", 104),
        ("deleted", True, "yes", 104),
        ("error", None, None, 105),
    ]
    assert "Import 104 is still there" in deletions[2]["why"]
    about = {"user_id": 1, "project_id": 1, "path": "/home/alice/webshop", "host": "test", "host_version": "1"}
    assert {**deletions[3], **about} == deletions[3]
    everyone = {(line["request_id"], line["caller"]) for line in (*calls[:-1], *deletions)}
    assert everyone == {("gateway-1", "user-1")}
    assert calls[-1]["caller"] == UNKNOWN
    assert not any(secret in log for secret in (COOKIE, TOKEN, STATE_KEY))


async def test_each_call_is_a_line_of_text(site: Site, tmp_path: Path) -> None:
    async with caller_of_worker(tmp_path / "log", environment(base_url=site.url, **REMOTE)) as caller:
        caller.headers = {**HEADERS, "X-Request-Id": "not one id, but words"}
        await caller.call('no "such" tool', {})
    line = r'INFO neptun_mcp.calls: call tool="no \\"such\\" tool" outcome=error reason=caller_mistake '
    line += r"ms=[\d.]+ waited_ms=[\d.]+ request_id=[0-9a-f]{32} caller="
    assert re.search(line + UNKNOWN, (tmp_path / "log").read_text())


@pytest.mark.parametrize("era", ERAS)
async def test_a_call_that_wants_no_answer_is_no_call(site: Site, caplog: pytest.LogCaptureFixture, era: str) -> None:
    async with start_in_process(site, session_cookie=COOKIE) as caller:
        caller.era = era
        message = caller.message("tools/call", {"name": "delete_import", "arguments": DELETE_IMPORT})
        del message["json"]["id"]
        response = await caller.http.post(f"{caller.url}/mcp", **message)
        assert (response.status_code, response.content) == (202, b"")
        assert content_in(await caller.call("list_imports", LIST_IMPORTS))["total"] == 7
    assert [record.getMessage() for record in caplog.records if record.name.startswith("neptun_mcp.")] == ["call"]
    assert [record for record in caplog.records if record.exc_info] == []


class Collector:
    """Takes traces over OTLP."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.bodies.append(await Request(scope, receive).body())
            await Response(media_type="application/x-protobuf")(scope, receive, send)

    def spans(self) -> list[Any]:
        trace: Any = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
        requests = [trace.ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


with_otel = pytest.mark.skipif(find_spec("opentelemetry.sdk") is None, reason="the extra otel is not installed")


@with_otel
async def test_traces_name_routes_and_no_person(site: Site, tmp_path: Path) -> None:
    collector = Collector()
    async with listen(collector) as endpoint:
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_COMPRESSION": "none"}
        conventions = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup"}
        captured = {"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST": ".*"}
        env = environment(base_url=site.url, **REMOTE) | traced | conventions | captured
        async with caller_of_worker(tmp_path / "log", env) as caller:
            content_in(await caller.call("list_resources", LIST_FILES))
            for session in (BOB_COOKIE, seal("ended")):
                caller.headers = {**HEADERS, "Neptun-Session": session}
                error_in(await caller.call("delete_import", DELETE_IMPORT))
            error_in(await caller.call("x" * 1000, {}))
    spans = collector.spans()
    (call,) = [span for span in spans if span.name == "tools/call list_resources"]
    (request,) = [span for span in spans if span.name.endswith("/user-files")]
    route = "/api/users/{user_id}/projects/{project_id}/resources/user-files"
    assert request.name == f"GET {route}"
    assert (request.trace_id, request.parent_span_id) == (call.trace_id, call.span_id)
    attributes = {attribute.key: attribute.value for attribute in request.attributes}
    assert attributes["http.method"].string_value == "GET"
    assert attributes["http.route"].string_value == route
    assert attributes["http.status_code"].int_value == 200
    assert attributes["http.request.method"].string_value == "GET"
    assert attributes["http.url"] == attributes["url.full"]
    assert attributes["url.full"].string_value == f"{site.url}{route}"
    assert f"tools/call {'x' * 189}" in [span.name for span in spans]
    everything = b"".join(collector.bodies)
    secrets = (
        COOKIE,
        BOB_COOKIE,
        seal("ended"),
        TOKEN,
        "users/1",
        "users/2",
        "projects/1",
        "imports/104",
        "webshop",
        "x" * 201,
    )
    assert not [secret for secret in secrets if secret.encode() in everything]


@with_otel
def test_what_exceptions_say_is_not_traced() -> None:
    """An HTTP library repeats a header line that it cannot parse."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from neptun_mcp.serving.traces import RedactingExporter

    memory, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(RedactingExporter(memory)))
    line = f"illegal header line: {COOKIE}"
    with pytest.raises(ValueError, match="illegal"), provider.get_tracer("").start_as_current_span("GET"):
        raise ValueError(line)
    (span,) = memory.get_finished_spans()
    assert [(event.name, event.attributes) for event in span.events] == [
        ("exception", {"exception.type": "ValueError", "exception.escaped": "False"})
    ]
    assert not span.status.is_ok
    assert COOKIE not in span.to_json()


async def test_without_the_extra_the_server_serves(site: Site, tmp_path: Path) -> None:
    """A package that cannot be imported stands for one that is not there."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['opentelemetry.exporter'] = None")
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "PYTHONPATH": str(tmp_path)}
    async with caller_of_worker(tmp_path / "log", environment(base_url=site.url, **REMOTE) | traced) as caller:
        content_in(await caller.call("list_imports", LIST_IMPORTS))
    assert "install neptun-mcp with the extra otel" in (tmp_path / "log").read_text()
