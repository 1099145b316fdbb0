"""What is seen from outside: the log of calls and deletions, and traces."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from neptun_mcp import Settings
from neptun_mcp._version import __version__
from neptun_mcp.log import RedactingFormatter
from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from neptun_mcp.sandbox.state import seal
from neptun_mcp.serving import observability
from neptun_mcp.serving.http import build_asgi_app
from neptun_mcp.serving.turns import MAX_WAITING
from tests.processes import environment
from tests.running_neptun import BOB_COOKIE
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
    HeldNeptun,
    content_in,
    error_in,
    listen,
    start_in_process,
    worker,
)
from tests.serving.test_mcp_sessions import Session
from tests.sign_in.support import sign_in_server
from tests.support import ERAS, Json, Site, failure, http_client, resources, until

pytestmark = pytest.mark.anyio

CALL: Json = {"name": "delete_import", "arguments": DELETE_IMPORT}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
DISAGREED: Json = {"neptun_mcp.tools.questions:ask_deletion": {"action": "decline"}}
GATEWAY_HEADERS = {**HEADERS, "X-Request-Id": "gateway-1"}
UNKNOWN = f"token-{sha256(TOKEN.encode()).hexdigest()[:16]}"


@asynccontextmanager
async def caller_of_worker(log: Path, env: dict[str, str]) -> AsyncGenerator[Caller]:
    http = http_client()
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
    # Which token was used shows during a rotation who still sends the old one.
    assert {line["token"] for line in (*calls, *deletions)} == {UNKNOWN.removeprefix("token-")}
    assert not any(secret in log for secret in (COOKIE, TOKEN, STATE_KEY))


def fields_of(caplog: pytest.LogCaptureFixture, *names: str) -> list[Json]:
    """What the log has of calls, deletions or refused requests."""
    loggers = [f"neptun_mcp.{name}" for name in names]
    return [getattr(record, "fields", {}) for record in caplog.records if record.name in loggers]


@pytest.mark.parametrize(
    ("settings", "path", "arguments"),
    [
        ({"read_only": True}, "/mcp", {}),
        ({}, "/mcp?read_only=1", {}),
        ({}, "/mcp?project_id=3", {}),
        ({}, "/mcp?project_id=3", {"project": "webshop", "project_id": 0}),
    ],
)
async def test_a_deletion_that_is_withheld_is_refused(
    site: Site, caplog: pytest.LogCaptureFixture, settings: Json, path: str, arguments: Json
) -> None:
    call = {"name": "delete_import", "arguments": {**DELETE_IMPORT, **arguments}}
    async with start_in_process(site, session_cookie=COOKIE, **settings) as caller:
        error_in((await caller.post("tools/call", call, path)).json())
    lines = fields_of(caplog, "calls", "audit")
    assert [(line["outcome"], line["reason"]) for line in lines] == [("error", "refused")] * 2
    assert (lines[1]["import_id"], lines[1].get("asked")) == (104, None)
    assert (lines[1]["project_id"], lines[1]["project"]) == (1, "webshop")
    assert site.deletions() == []


async def test_a_deletion_of_what_is_gone_when_the_answer_comes_was_asked(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async with start_in_process(site, session_cookie=COOKIE) as caller:
        asked = [await caller.call("delete_import", DELETE_IMPORT) for _ in range(4)]
        states = [answer["result"]["requestState"] for answer in asked]

        async def answered(responses: Json, state: str | None) -> None:
            error_in(await caller.call("delete_import", DELETE_IMPORT, inputResponses=responses, requestState=state))

        await asked_and_answered(caller, AGREED)
        await answered(AGREED, states[0])
        await answered(DISAGREED, states[1])
        await answered({}, states[2])
        await answered(AGREED, None)  # nothing was asked
        site.answers[f"GET {resources(1, 'imports')}"] = failure(500)
        await answered(AGREED, states[3])
    lines = fields_of(caplog, "audit")
    assert [(line["outcome"], line.get("asked"), line.get("answered")) for line in lines] == [
        ("deleted", True, "yes"),
        ("error", True, "yes"),
        ("error", True, "declined"),
        ("error", None, None),
        ("error", None, None),
        ("error", True, "yes"),
    ]


async def test_a_deletion_that_a_sign_in_does_not_allow_is_refused(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async with sign_in_server(site) as server:
        caller = server.caller(await server.tokens())
        error_in(await caller.call("delete_import", DELETE_IMPORT))
    (line,) = fields_of(caplog, "audit")
    assert (line["outcome"], line["reason"], line["caller"], line["user_id"]) == ("error", "refused", "user-1", 1)
    assert line["sign_in"] in [event.get("sign_in") for event in fields_of(caplog, "sign_in")]


async def test_a_deletion_names_the_program_of_a_host_that_says_no_name(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async with start_in_process(site, session_cookie=COOKIE, confirm_delete="off") as caller:
        caller.era, caller.headers = "2025-11-25", {"User-Agent": "codex/0.171"}
        content_in(await caller.call("delete_import", DELETE_IMPORT))
        caller.era = "2026-07-28"
        content_in(await caller.call("delete_import", {"project_id": 1, "import_id": 105}))
    named = [(line.get("host"), line.get("user_agent")) for line in fields_of(caplog, "audit")]
    assert named == [(None, "codex/0.171"), ("test", None)]


async def test_a_question_without_an_answer_was_asked(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async with start_in_process(site, session_cookie=COOKIE) as caller:
        session = await Session.begin(caller)
        async with session.calling("delete_import", DELETE_IMPORT) as messages:
            assert (await anext(messages))["method"] == "elicitation/create"
        await until(lambda: bool(fields_of(caplog, "audit")))
    (line,) = fields_of(caplog, "audit")
    assert (line["outcome"], line["asked"], line.get("answered")) == ("failed", True, None)
    assert site.deletions() == []


@pytest.mark.parametrize("confirm", ["ask", "off", "require"])
async def test_a_deletion_names_the_project(site: Site, caplog: pytest.LogCaptureFixture, confirm: str) -> None:
    """If nobody was asked, the name is asked for afterwards."""
    async with start_in_process(site, session_cookie=COOKIE, confirm_delete=confirm) as caller:
        match confirm:
            case "ask":
                await asked_and_answered(caller, AGREED)
            case "off":
                content_in(await caller.call("delete_import", DELETE_IMPORT))
            case _:
                caller.capabilities = {}
                error_in(await caller.call("delete_import", DELETE_IMPORT))
    (line,) = fields_of(caplog, "audit")
    assert (line["outcome"], line["project_id"], line["project"]) == (
        "error" if confirm == "require" else "deleted",
        1,
        "webshop",
    )


async def test_a_deletion_that_is_withheld_names_the_person(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async with start_in_process(site, "0.0.0.0", **REMOTE) as caller:
        caller.headers = HEADERS
        error_in((await caller.post("tools/call", CALL, "/mcp?read_only=1")).json())
    (line,) = fields_of(caplog, "audit")
    assert (line["project"], line["user_id"], line["caller"]) == ("webshop", 1, "user-1")


@pytest.mark.parametrize("answer", ["slow", "failed", "unknown"])
async def test_a_deletion_waits_for_no_name(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(observability, "NAMING_SECONDS", 0.1)
    deletion = DELETE_IMPORT
    if answer == "slow":
        HeldNeptun(site, "/projects")
    elif answer == "failed":
        site.answers["GET /api/users/1/projects"] = failure(500)
    else:
        deletion = {**DELETE_IMPORT, "project_id": 99}
    async with start_in_process(site, session_cookie=COOKIE, confirm_delete="off") as caller:
        response = await caller.call("delete_import", deletion)
        assert response["result"]["isError"] == (answer == "unknown")
    (line,) = fields_of(caplog, "audit")
    assert line["import_id"] == 104
    assert "project" not in line


async def test_each_call_is_a_line_of_text(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async with start_in_process(site, "0.0.0.0", **REMOTE) as caller:
        caller.headers = {**HEADERS, "X-Request-Id": "not one id, but words"}
        await caller.call('no "such" tool', {})
    (call,) = [record for record in caplog.records if record.name == "neptun_mcp.calls"]
    line = r'.* INFO neptun_mcp.calls: call tool="no \\"such\\" tool" outcome=error reason=caller_mistake '
    line += r"ms=[\d.]+ waited_ms=[\d.]+ request_id=[0-9a-f]{32} caller="
    line += f"{UNKNOWN} token={UNKNOWN.removeprefix('token-')}"
    assert re.fullmatch(line, RedactingFormatter([]).format(call))


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
        self.metrics: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            (self.metrics if scope["path"] == "/v1/metrics" else self.bodies).append(
                await Request(scope, receive).body()
            )
            await Response(media_type="application/x-protobuf")(scope, receive, send)

    def resource(self) -> list[Any]:
        trace: Any = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
        (first, *_) = trace.ExportTraceServiceRequest.FromString(self.bodies[0]).resource_spans
        return list(first.resource.attributes)

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
        conventions = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
        captured = {"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST": ".*"}
        env = environment(base_url=site.url, **REMOTE) | traced | conventions | captured
        async with caller_of_worker(tmp_path / "log", env) as caller:
            async with caller.http.stream("GET", f"{caller.url}/ready") as ready:
                assert ready.status_code == 200
            caller.headers = {**GATEWAY_HEADERS, "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
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
    assert attributes["http.request.method"].string_value == "GET"
    assert attributes["http.route"].string_value == route
    assert attributes["http.response.status_code"].int_value == 200
    assert attributes["url.full"].string_value == f"{site.url}{route}"
    # The caller's trace goes on, in the spans as in the log.
    assert call.trace_id.hex() == TRACE
    assert f"trace_id={TRACE}" in (tmp_path / "log").read_text()
    assert "tools/call" in [span.name for span in spans]
    versions = [
        attribute.value.string_value for attribute in collector.resource() if attribute.key == "service.version"
    ]
    assert versions == [__version__]
    probes = [span for span in spans if span.name == "HEAD /api/auth/check"]
    assert probes
    assert not [span for span in probes if span.status.code]
    assert b"mcp.server.operation.duration" in collector.metrics[-1]
    everything = b"".join([*collector.bodies, *collector.metrics])
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
        "x" * 41,
    )
    assert not [secret for secret in secrets if secret.encode() in everything]


@with_otel
def test_what_exceptions_say_is_not_traced() -> None:
    """An HTTP library repeats a header line that it cannot parse."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from neptun_mcp.serving.telemetry import RedactedSpans

    memory, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(RedactedSpans(memory, ()))
    line = f"illegal header line: {COOKIE}"
    with pytest.raises(ValueError, match="illegal"), provider.get_tracer("").start_as_current_span("GET"):
        raise ValueError(line)
    provider.shutdown()
    (span,) = memory.get_finished_spans()
    assert list(span.events) == []
    assert not span.status.is_ok
    assert COOKIE not in span.to_json()


async def test_without_the_extra_the_server_serves(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "neptun_mcp.serving.telemetry", None)  # as if it could not be imported
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    async with start_in_process(site, session_cookie=COOKIE) as caller:
        content_in(await caller.call("list_imports", LIST_IMPORTS))
    assert "no traces are sent, which needs the extra otel: " in caplog.text


@with_otel
async def test_metrics_count_what_is_logged_and_name_nobody(site: Site) -> None:
    async with start_in_process(site, session_cookie=COOKIE, mcp_metrics=True) as caller:
        content_in(await caller.call("list_imports", LIST_IMPORTS))
        error_in(await caller.call("list_imports", {"project_id": 987_654_321}))
        error_in(await caller.call("webshop", {}))
        await caller.http.get(f"{caller.url}/ready")
        await caller.http.post(f"{caller.url}/mcp", headers={"Host": "elsewhere"})
        metrics = (await caller.http.get(f"{caller.url}/metrics")).text
        for host in ("mcp.example.com", "localhost.example.com", "", "[::1", "[x]"):
            assert (await caller.http.get(f"{caller.url}/metrics", headers={"Host": host})).status_code in (400, 404)
    counts = dict(re.findall(r"^(\w+\{.*\}) ([\d.]+)$", metrics, re.MULTILINE))
    assert {"list_imports", "_OTHER"} == set(re.findall(r'gen_ai_tool_name="(.*?)"', metrics))
    calls = {
        line: count for line, count in counts.items() if line.startswith("mcp_server_operation_duration_seconds_count")
    }
    told = {(re.findall(r'error_type="(\w+)"', line) or ["-"])[0]: float(count) for line, count in calls.items()}
    assert told == {"-": 1, "not_found": 1, "caller_mistake": 1}
    assert "neptun_mcp_turn_wait_duration_seconds_count 3.0" in metrics
    assert "neptun_mcp_ready 1.0" in metrics
    assert re.search(r'http_client_request_duration_seconds_count\{.*http_response_status_code="200"', metrics)
    assert re.search(
        r'http_server_request_duration_seconds_count\{.*status_code="421".*http_route="/mcp"', metrics
    ) or (re.search(r'http_server_request_duration_seconds_count\{.*http_route="/mcp".*status_code="421"', metrics))
    assert not [word for word in ("987654321", "webshop", "users/", COOKIE, "elsewhere") if word in metrics]


@with_otel
async def test_metrics_count_a_sign_in_that_fails_on_the_side_of_neptun(site: Site) -> None:
    async with sign_in_server(site, mcp_metrics=True) as server:
        page = await server.page()
        site.answers["POST /api/auth/login"] = failure(500)
        failed = await server.browser.submit(page, email=EMAIL, password=PASSWORD)
        metrics = (await server.app.http.get("/metrics")).text
    assert failed.status_code == 503
    assert 'neptun_mcp_sign_in_events_total{event="sign-in",outcome="failed"} 1.0' in metrics


def test_metrics_without_the_extra_are_refused_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neptun_mcp.serving.telemetry", None)  # as if it could not be imported
    with pytest.raises(ValueError, match=r"^NEPTUN_MCP_METRICS needs the extra otel: install neptun-mcp\[otel\] "):
        build_asgi_app(Settings(mcp_metrics=True), "127.0.0.1")


async def test_a_refused_request_is_a_line(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async with start_in_process(site, mcp_token=TOKEN) as caller:
        for header in ({}, {"Authorization": "Bearer stolen"}):
            header["traceparent"] = f"00-{TRACE}-00f067aa0ba902b7-01"
            assert (await caller.http.post(f"{caller.url}/mcp", headers=header)).status_code == 401
    lines = fields_of(caplog, "requests")
    assert [line["trace_id"] for line in lines] == [TRACE] * 2
    assert [(line["status"], line["reason"], line.get("token")) for line in lines] == [
        (401, "no_token", None),
        (401, "wrong_token", sha256(b"stolen").hexdigest()[:16]),
    ]


@pytest.mark.parametrize("era", ERAS)
async def test_a_refused_request_says_who_sent_it_and_a_deletion_is_audited(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, era: str
) -> None:
    file = tmp_path / "refused"
    file.write_text("user-1")
    async with start_in_process(site, "0.0.0.0", **REMOTE, mcp_refused_file=file) as caller:
        caller.era, caller.headers = era, HEADERS
        for name, arguments in (("list_imports", LIST_IMPORTS), ("delete_import", DELETE_IMPORT)):
            assert (await caller.post("tools/call", {"name": name, "arguments": arguments})).status_code == 403
        assert (await caller.post("tools/call", CALL, "/mcp?read_only=perhaps")).status_code == 400
    requests, (deletion,) = fields_of(caplog, "requests"), fields_of(caplog, "audit")
    assert [(line["status"], line["caller"]) for line in requests] == [
        (403, "user-1"),
        (403, "user-1"),
        (400, "user-1"),
    ]
    about = {"outcome": "refused", "reason": "refused", "project_id": 1, "import_id": 104, "user_id": 1}
    assert {**deletion, **about, "caller": "user-1", "token": UNKNOWN.removeprefix("token-")} == deletion
    assert deletion["request_id"] == requests[1]["request_id"]
    assert site.deletions() == []


async def test_whose_requests_are_too_many_is_named(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    neptun = HeldNeptun(site)
    async with start_in_process(site, "0.0.0.0", **REMOTE, max_connections=4, timeout=600) as caller:
        caller.headers = HEADERS
        content_in(await caller.call("list_imports", LIST_IMPORTS))
        async with anyio.create_task_group() as tasks:
            for _ in range(1 + MAX_WAITING):
                tasks.start_soon(caller.call, "list_resources", LIST_FILES)
            await until(lambda: neptun.held == 1)
            await anyio.wait_all_tasks_blocked()
            assert (await caller.post("tools/call", CALL)).status_code == 429
            neptun.released = True
            tasks.cancel_scope.cancel()
    (request,), (deletion,) = fields_of(caplog, "requests"), fields_of(caplog, "audit")
    assert (request["status"], request["reason"], request["caller"]) == (429, "too_much_waiting", "user-1")
    assert (deletion["outcome"], deletion["reason"], deletion["caller"]) == ("refused", "too_much_waiting", "user-1")


async def test_who_became_known_while_a_request_arrived_is_named(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async with start_in_process(site, "0.0.0.0", **REMOTE) as caller:
        caller.headers = HEADERS

        async def body() -> AsyncGenerator[bytes]:
            yield b"{"
            content_in(await caller.call("list_imports", LIST_IMPORTS))

        headers = {**HEADERS, "Content-Type": "application/json"}
        assert (await caller.http.post(f"{caller.url}/mcp", content=body(), headers=headers)).status_code == 400
    (request,) = fields_of(caplog, "requests")
    assert request["caller"] == "user-1"


async def test_each_sign_in_that_comes_to_nothing_is_a_line(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async with sign_in_server(site) as server:
        tokens, app = await server.tokens(), server.app
        old = await server.page()
        server.browser.http.cookies.clear()
        caplog.clear()
        await server.browser.submit(old, email=EMAIL, password=PASSWORD)
        for path in ("/sign-in", "/token", "/revoke", "/register"):
            await app.http.post(path, content=b"5", headers={"Content-Type": "text/plain"})
        await app.token(grant_type="password")
        await app.exchange("invented", resource="https://elsewhere.example.com/mcp")
        await app.token(
            grant_type="refresh_token",
            refresh_token=tokens["refresh_token"],
            resource="https://elsewhere.example.com/mcp",
        )
        await app.http.post("/revoke", data={"client_id": app.registration["client_id"]})
        for query in ("client_id=unknown", app.link(response_type="token").partition("?")[2]):
            await app.http.get(f"/authorize?{query}")
        await app.http.post("/authorize", content=b"5", headers={"Content-Type": "text/plain"})
    events = [
        (record.getMessage(), getattr(record, "fields", {})["outcome"])
        for record in caplog.records
        if record.name == "neptun_mcp.sign_in"
    ]
    assert events == [
        ("sign-in", "expired"),
        ("sign-in", "invalid_request"),
        ("exchange", "invalid_request"),
        ("revocation", "invalid_request"),
        ("registration", "invalid_request"),
        ("exchange", "unsupported_grant_type"),
        ("exchange", "invalid_target"),
        ("renewal", "invalid_target"),
        ("revocation", "invalid_request"),
        ("authorization", "invalid_client"),
        ("authorization", "unsupported_response_type"),
        ("authorization", "invalid_request"),
    ]


async def test_a_token_that_is_not_good_is_one_line(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async with sign_in_server(site) as server:
        caplog.clear()
        for headers in ({}, {"Authorization": "Bearer stolen"}):
            refused = await server.app.http.post("/mcp", headers=headers)
            assert refused.status_code == 401
    lines = fields_of(caplog, "requests", "sign_in")
    stolen = sha256(b"stolen").hexdigest()[:16]
    assert [line.get("token") for line in lines] == [None, stolen]
    assert [line["reason"] if "reason" in line else line["outcome"] for line in lines] == ["no_token", "unknown"]


async def test_a_session_that_has_ended_is_one_line(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    store = site.sandbox()
    async with sign_in_server(site) as server:
        caller = server.caller(await server.tokens())
        store.sessions.clear()
        caplog.clear()
        assert (await caller.post("tools/call", {"name": "list_imports", "arguments": {}})).status_code == 401
    assert [line["reason"] for line in fields_of(caplog, "calls", "requests", "sign_in")] == ["session_ended"]
