"""What the tests share: a site on a port, recordings to replay, and an assistant's host with a person."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from queue import Queue
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, unquote

import anyio
import httpx2 as httpx
from anyio.from_thread import start_blocking_portal
from mcp.client.client import Client
from mcp.client.session import ClientRequestContext
from mcp.types import CallToolResult, ElicitRequestFormParams, ElicitRequestParams, ElicitResult, TextContent
from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from neptun_mcp import Credentials, NeptunClient, Settings, create_server
from neptun_mcp.neptun.threads import Pace
from neptun_mcp.sandbox import COOKIE
from neptun_mcp.sandbox.state import Store, seal
from neptun_mcp.tools.fitting import MAX_BYTES

from .listening import serve
from .running_neptun import ANONYMOUS_COOKIE, RunningNeptun, create_app

Json: TypeAlias = dict[str, Any]
ContractName: TypeAlias = Literal["observed", "documented"]

CONTRACTS: tuple[ContractName, ...] = ("observed", "documented")
RESOURCE_TYPES = ("user-files", "template-collections", "github-installations", "chat-conversations")
USER = "/api/users/1"
WEBSHOP, SCRATCH, ORDERS = 1, 2, 3
"""Alice's projects in the sample data."""


def resources(project: int, end: str) -> str:
    """The path of a project's imports or resources."""
    return f"{USER}/projects/{project}/resources/{end}"


def import_item(id: Any = 1, source_path: str = "/srv", **fields: Any) -> Json:
    """An import as Neptun sends it."""
    return {"id": id, "source_type": "local_folder", "source_path": source_path, **fields}


PATIENCE = 60.0
"""Seconds after which a test that still waits has failed, however busy the machine is."""

HELLO: Json = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
GREETING = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO})
"""How a host begins a session."""


class CountingPace(Pace):
    """Notes how large the pieces of work are."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def step(self, work: int) -> None:
        self.steps.append(work)


async def until(is_so: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for something for which there is no event."""
    with anyio.fail_after(seconds):
        while not is_so():  # noqa: ASYNC110
            await anyio.sleep(0.01)


def http_client(**options: Any) -> httpx.AsyncClient:
    """A client as patient as the tests. It does not read the certificates of this machine, which takes its time."""
    return httpx.AsyncClient(timeout=PATIENCE, verify=False, **options)


# The site


@dataclass
class Site:
    """A web site on a port of this machine, and what was asked of it.

    Attributes:
        url: its address.
        app: what answers.
        neptun: the one of `sandbox`, whose parts can be made to fail.
        answers: answers that go before the app's, by method and path with query, such as `GET /api/users/1`.
        turns: what answers from a request on.
        requests: the method and the path with query of each request, in order.
        cookies: the session cookie of each request, in order.
    """

    url: str = ""
    app: ASGIApp = field(default_factory=create_app)
    neptun: RunningNeptun = field(init=False)
    answers: dict[str, Response] = field(default_factory=dict[str, Response])
    turns: dict[str, ASGIApp] = field(default_factory=dict[str, ASGIApp])
    requests: list[str] = field(default_factory=list[str])
    cookies: list[str | None] = field(default_factory=list["str | None"])

    def sandbox(self, contract: ContractName = "observed") -> Store:
        """Answer as a fresh Neptun. Returns its store."""
        app = create_app(contract=contract)
        self.app, self.neptun = app, app
        return self.neptun.store

    def deletions(self) -> list[str]:
        return [request for request in self.requests if request.startswith("DELETE")]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = request_line(scope)
        self.requests.append(request)
        self.cookies.append(session_in(Request(scope).headers.get("cookie")))
        self.app = self.turns.get(request, self.app)
        await self.answers.get(request, self.app)(scope, receive, send)


@contextmanager
def start_site() -> Generator[Site]:
    """A site that answers from its own thread, for any number of tests and event loops."""
    site = Site()
    started = Queue[str]()
    app = Starlette(routes=[Route("/{path:path}", site)])
    with start_blocking_portal() as portal:
        server = portal.start_task_soon(partial(serve, app, started=started.put))
        site.url = started.get(timeout=PATIENCE)
        yield site
        site.sandbox()  # so that nothing is held any longer
        server.cancel()


def client_for(site: Site, *, user_id: Any = None, **credentials: Any) -> NeptunClient:
    """A client of a site, with Alice's cookie unless other credentials are given."""
    known = Credentials(**(credentials or {"cookie": COOKIE}))
    return NeptunClient(known, user_id=user_id, base_url=site.url)


def request_line(scope: Scope) -> str:
    """Method, path and query of a request, as they were sent."""
    query = scope["query_string"].decode()
    return f"{scope['method']} {scope['raw_path'].decode()}" + (f"?{query}" if query else "")


def session_in(cookie: str | None) -> str | None:
    """The session in a Cookie header. Recorded: quotes and percent-encoding make no difference."""
    found = re.search(r'neptun-session="?([^;"]*)', cookie or "")
    return unquote(found[1]) if found else None


def failure(status: int, body: Any = None) -> Response:
    """A refusal as documented. The header spares the tests the pause before a request is sent again."""
    body = {"statusCode": status, "message": "no reason"} if body is None else body
    return JSONResponse(body, status, {"Retry-After": "0"})


def end_session(store: Store, cookie: str) -> None:
    """End the session that a cookie belongs to: none of its cookies is good any more."""
    ended = store.sessions[cookie]
    store.sessions = {cookie: session for cookie, session in store.sessions.items() if session is not ended}


# Recordings of a running server

_SUBSTITUTES = {
    "<cookie:carol2>": seal("carol"),
    "<cookie:alice>": COOKIE,
    "<cookie:alice, percent-encoded>": quote(COOKIE, safe=""),
    "<sealed-session user_id=1 len=441>": COOKIE,
    "<sealed-session anonymous (no user) len=334>": ANONYMOUS_COOKIE,
    "<sealed-session anonymous (no user) len=377>": ANONYMOUS_COOKIE,
    "<sealed-session bad len=421>": COOKIE[:421],
    "<sealed-session bad len=441>": COOKIE[::-1],
}


@dataclass(frozen=True)
class Recording:
    """One recorded exchange, with cookies of the sandbox in place of those that were taken out of it."""

    name: str
    request: Json
    response: Json

    @property
    def request_line(self) -> str:
        return f"{self.request['method']} {self.request['path']}"

    @property
    def session(self) -> str | None:
        return session_in(self.request["headers"].get("Cookie"))

    @property
    def is_list(self) -> bool:
        return self.response["status"] == 200 and self.response["body"].startswith("[")

    @property
    def items(self) -> list[Json]:
        return json.loads(self.response["body"])

    @property
    def form(self) -> Any:
        return _form(self.request.get("body", ""))

    def answer(self) -> Response:
        # Retry-After was not recorded; it spares the tests the pause before a request is sent again.
        kept = ("content-type", "set-cookie")
        headers = {name: value for name, value in self.response["headers"].items() if name in kept}
        return Response(self.response["body"], self.response["status"], {**headers, "Retry-After": "0"})


def as_id(sent: str) -> Any:
    """An id from a recorded path. What is not a number goes into the path as it was sent."""
    return int(sent) if re.fullmatch("[1-9][0-9]*", sent) else sent


def _recorded(file: Path) -> Recording:
    text = file.read_text("utf-8")
    for placeholder, cookie in _SUBSTITUTES.items():
        text = text.replace(placeholder, cookie)
    assert not re.search("<(cookie|sealed-session)", text)
    exchange = json.loads(text)
    return Recording(exchange["case"], exchange["request"], exchange["response"])


def _form(body: str) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body


RECORDINGS = {file.stem: _recorded(file) for file in sorted((Path(__file__).parent / "wire").glob("*.json"))}


def replay(*first: str, at: Mapping[str, str] | None = None) -> ASGIApp:
    """A server that answers by method, path, query, session cookie and body as the running one was recorded to do.

    Args:
        first: recordings that go before others of the same request. Those of a broken database, and those of requests
            for anything but JSON, which are never sent, count only here.
        at: recordings that stand for an answer to another request: their names by that request.
    """
    usual = ("projects_GET_list", "imports_DELETE_success", *RECORDINGS)
    broken = re.compile(r"db(down|fail)_")
    as_sent = [
        RECORDINGS[name]
        for name in usual
        if not broken.match(name)
        and RECORDINGS[name].request["headers"].get("Accept", "application/json") == "application/json"
    ]
    known: dict[tuple[str, str | None, str], Recording] = {}
    for recording in (*(RECORDINGS[name] for name in first), *as_sent):
        known.setdefault((recording.request_line, recording.session, repr(recording.form)), recording)
    moved = {request: RECORDINGS[name] for request, name in (at or {}).items()}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        key = (
            request_line(scope),
            session_in(request.headers.get("cookie")),
            repr(_form((await request.body()).decode())),
        )
        found = moved.get(key[0]) or known.get(key)
        response = found.answer() if found else Response(f"never recorded: {key}", 418)
        await response(scope, receive, send)

    return app


# An assistant's host, and the person in front of it

ERAS = {"2025-11-25": "legacy", "2026-07-28": "2026-07-28"}
"""The protocol eras, and how the SDK's client is held to each."""

YES = ElicitResult(action="accept", content={"delete": True})
NO = ElicitResult(action="accept", content={"delete": False})
DECLINED = ElicitResult(action="decline")
CANCELLED = ElicitResult(action="cancel")


def chosen(label: str) -> ElicitResult:
    return ElicitResult(action="accept", content={"project": label})


class Person:
    """Answers what the server asks, in order, and remembers it.

    Attributes:
        questions: what was asked.
        forms: the schema of the form that came with each question.
    """

    def __init__(self, *answers: ElicitResult, meanwhile: Callable[[], None] | None = None) -> None:
        """meanwhile: what happens elsewhere between the first question and its answer."""
        self.questions: list[str] = []
        self.forms: list[Json] = []
        self._answers = list(answers)
        self._meanwhile = meanwhile

    @property
    def choices(self) -> list[list[str]]:
        """The projects that each question offered."""
        return [form["properties"]["project"]["enum"] for form in self.forms]

    async def __call__(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams)
        self.questions.append(params.message)
        self.forms.append(params.requested_schema)
        if self._meanwhile:
            self._meanwhile()
            self._meanwhile = None
        return self._answers.pop(0)


class Agreeable(Person):
    """Agrees to everything, and takes the first of what is offered."""

    async def __call__(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams)
        fields: Json = params.requested_schema["properties"]
        content = {name: field["enum"][0] if "enum" in field else True for name, field in fields.items()}
        self._answers.append(ElicitResult(action="accept", content=content))
        return await super().__call__(context, params)


@dataclass(frozen=True)
class Tools:
    """The tools of one server, as a client calls them."""

    client: Client

    async def call(self, tool: str, **arguments: Any) -> CallToolResult:
        with anyio.fail_after(PATIENCE):
            return await self.client.call_tool(tool, arguments)

    async def gets(self, tool: str, **arguments: Any) -> Json:
        """What a successful call returns."""
        return content_of(await self.call(tool, **arguments))

    async def fails(self, tool: str, **arguments: Any) -> str:
        """What a failing call says."""
        return error_of(await self.call(tool, **arguments))


def settings_for(url: str, **given: Any) -> Settings:
    """Alice's settings for a Neptun, unless others are given; None leaves one out."""
    settings: Json = {"session_cookie": COOKIE, "base_url": url, **given}
    return Settings(**{name: value for name, value in settings.items() if value is not None})


# A server starts afresh with each connection, so one server does for many tests.
server_for = cache(create_server)


@asynccontextmanager
async def connect(settings: Settings, era: str, person: Person | None) -> AsyncGenerator[Client]:
    """A client of a server in this process, and the person who can be asked, if any."""
    async with Client(server_for(settings), mode=ERAS[era], elicitation_callback=person) as client:
        assert client.protocol_version == era
        yield client


@dataclass
class Host:
    """An assistant's host, with a fresh connection for each call, or for several.

    Attributes:
        site: the Neptun that is asked.
        era: the protocol version.
        person: who answers questions; with None the host cannot ask.
        settings: what is set besides the session cookie and the address.
    """

    site: Site
    era: str = "2026-07-28"
    person: Person | None = None
    settings: Json = field(default_factory=Json)

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[Tools]:
        async with connect(settings_for(self.site.url, **self.settings), self.era, self.person) as client:
            yield Tools(client)

    async def gets(self, tool: str, **arguments: Any) -> Json:
        async with self.connected() as tools:
            return await tools.gets(tool, **arguments)

    async def fails(self, tool: str, **arguments: Any) -> str:
        async with self.connected() as tools:
            return await tools.fails(tool, **arguments)


def content_of(result: CallToolResult) -> Json:
    """The structured content of a success. Its text block is the same object as compact JSON, and fits."""
    (block,) = result.content
    assert isinstance(block, TextContent)
    assert not result.is_error, block.text
    assert result.structured_content is not None
    assert block.text == to_json(result.structured_content).decode()
    assert len(block.text.encode()) <= MAX_BYTES
    return result.structured_content


def error_of(result: CallToolResult) -> str:
    """The message of a failure, which comes without structured content."""
    (block,) = result.content
    assert isinstance(block, TextContent)
    assert result.is_error, block.text
    assert result.structured_content is None
    return block.text


def ids(items: list[Json]) -> list[int]:
    return [item["id"] for item in items]
