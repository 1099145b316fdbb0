"""A Neptun with faults, and the tools of a server that asks it."""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

import httpx2 as httpx
from mcp.types import CallToolResult

from neptun_mcp import Settings
from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from neptun_mcp.sandbox.state import Store
from tests.processes import StdioServer, start_stdio
from tests.running_neptun import ANONYMOUS_COOKIE, RunningNeptun, create_app
from tests.support import WEBSHOP, ContractName, Person, Tools, connect, error_of, settings_for

from .server import Action, Exchange, Request, Server, answer, http, serve, to_json

IMPORT = 105
SERVER_TEXT = "planted-words-of-the-server"
STACK = f'Traceback (most recent call last):\n  File "{SERVER_TEXT}.py", line 3\n    at Object.<anonymous> (x.js:1:2)'
HTML = f"<!DOCTYPE html><html><body><h1>{SERVER_TEXT}</h1><pre>{STACK}</pre></body></html>".encode()
JSON = to_json({"statusCode": 0, "statusMessage": SERVER_TEXT, "message": SERVER_TEXT, "stack": [STACK]})

GUARD_401 = answer(
    401,
    to_json({"error": True, "statusCode": 401, "statusMessage": "Server Error", "message": "Unauthorized"}),
    set_cookie=f"neptun-session={ANONYMOUS_COOKIE}; Path=/; HttpOnly; Secure; SameSite=Lax",
)
"""Recorded: how a session is refused."""
HANDLER_401 = answer(401, to_json({"statusCode": 401, "statusMessage": "Unauthorized.", "stack": []}))
"""Recorded: how a good session without the right is refused."""


class Place(Enum):
    """What Neptun is asked for."""

    CHECK = "HEAD", r"/api/auth/check"
    SESSION = "GET", r"/api/_auth/session"
    LOGIN = "POST", r"/api/auth/login"
    PROJECTS = "GET", r"/api/users/\d+/projects"
    IMPORTS = "GET", r"/api/users/\d+/projects/\d+/resources/imports(\?.*)?"
    FILES = "GET", r"/api/users/\d+/projects/\d+/resources/user-files"
    DELETE = "DELETE", r"/api/users/\d+/projects/\d+/resources/imports/\d+"
    DATABASE = "GET", r"/api/shared/collections/.+"
    FILE = "GET", r"/api/users/\d+/projects/\d+/resources/user-files/\d+"
    ELSEWHERE = "", ""

    @property
    def word(self) -> str:
        return self.name.lower()

    @classmethod
    def of(cls, request: Request) -> Place:
        method, target = request.method, request.target
        return next((p for p in cls if p.value[0] == method and re.fullmatch(p.value[1], target)), cls.ELSEWHERE)


PLACES = (Place.IMPORTS, Place.FILES, Place.PROJECTS, Place.SESSION, Place.LOGIN, Place.DELETE)
"""All that a call of a tool may ask for."""


@dataclass
class Override:
    """What the next requests are answered with."""

    action: Action
    times: int


Change: TypeAlias = Callable[[int, bytes, dict[str, Any]], bytes]
"""From status, body and headers to the bytes that are sent."""


class FaultyNeptun:
    """A running Neptun. A test can replace its answers, count its requests, and make parts of `running` fail."""

    server: Server

    def __init__(self, contract: ContractName) -> None:
        app = create_app(contract=contract)
        self.running: RunningNeptun = app
        self.store: Store = app.store
        self._sandbox = httpx.ASGITransport(app=app)
        self._overrides: dict[Place, list[Override]] = {}
        self._imports = list(self.store.imports)
        self._sessions = dict(self.store.sessions)

    @property
    def url(self) -> str:
        return self.server.url

    def break_at(self, place: Place, action: Action, *, times: int = 2**31) -> None:
        """Answer the next requests for a place with the action, once the faults that are there already are over."""
        self._overrides.setdefault(place, []).append(Override(action, times))

    def heal(self) -> None:
        """Return to the initial state, with no request seen. Cookies issued since are no longer valid."""
        self._overrides.clear()
        self.running.recovers()
        self.server.requests.clear()
        self.store.imports[:] = self._imports
        self.store.sessions = dict(self._sessions)

    def has_one_project(self) -> FaultyNeptun:
        self.store.projects = [project for project in self.store.projects if project["id"] == WEBSHOP]
        return self

    @property
    def asked(self) -> str:
        """What was asked, in order, such as `imports delete imports`."""
        return " ".join(Place.of(request).word for request in self.server.requests)

    def asked_for(self, place: Place) -> list[Request]:
        return [request for request in self.server.requests if Place.of(request) is place]

    def holds(self, import_id: int) -> bool:
        return any(record["id"] == import_id for record in self.store.imports)

    async def answer(self, exchange: Exchange) -> None:
        overrides = self._overrides.get(Place.of(exchange.request), [])
        while overrides and not overrides[0].times:
            overrides.pop(0)
        if overrides:
            overrides[0].times -= 1
        await (overrides[0].action if overrides else self.healthy)(exchange)

    async def healthy(self, exchange: Exchange) -> None:
        """What the sandbox answers."""
        status, body, headers = await self.answered(exchange.request)
        await exchange.send(http(status, body, **headers))

    def obeying(self, then: Action) -> Action:
        """Do what was asked, and answer something else."""

        async def action(exchange: Exchange) -> None:
            await self.answered(exchange.request)
            await then(exchange)

        return action

    def altered(self, change: Change) -> Action:
        """What the sandbox answers, as the change makes it."""

        async def action(exchange: Exchange) -> None:
            content = change(*await self.answered(exchange.request))
            await exchange.send(content)
            if b"connection: close" in content:
                await exchange.close()

        return action

    async def answered(self, request: Request) -> tuple[int, bytes, dict[str, Any]]:
        """Status, body and headers of what the sandbox answers."""
        headers = {name: value for name, value in request.headers.items() if name != "content-length"}
        asked = httpx.Request(request.method, self.url + request.target, headers=headers, content=request.body or None)
        response = await self._sandbox.handle_async_request(asked)
        kept = {name.replace("-", "_"): value for name, value in response.headers.items()}
        return response.status_code, await response.aread(), kept

    @property
    def variables(self) -> dict[str, str]:
        """What a server in another process needs to find this Neptun."""
        return {"base_url": self.url, "session_cookie": COOKIE, "user_id": "1"}

    def settings(self, **settings: Any) -> Settings:
        """Settings for this Neptun with a valid session, unless they say otherwise; None leaves one out."""
        return settings_for(self.url, **settings)


@asynccontextmanager
async def start_neptun(
    contract: ContractName = "documented", *, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[FaultyNeptun]:
    """A healthy Neptun, until the block ends."""
    neptun = FaultyNeptun(contract)
    async with serve(neptun.answer, tls=tls) as neptun.server:
        yield neptun


LOG_IN: dict[str, Any] = {"session_cookie": None, "email": EMAIL, "password": PASSWORD}
"""Settings for a log-in in place of a cookie."""


class WebshopTools(Tools):
    """The tools of one server, called on the web shop."""

    async def list_imports(self) -> CallToolResult:
        return await self.call("list_imports", project_id=WEBSHOP)

    async def list_files(self) -> CallToolResult:
        return await self.call("list_resources", project_id=WEBSHOP, resource_type="user-files")

    async def delete_import(self) -> CallToolResult:
        return await self.call("delete_import", project_id=WEBSHOP, import_id=IMPORT)

    async def ask_for(self, place: Place) -> CallToolResult:
        """Call a tool that asks for the place, sooner or later."""
        if place is Place.DELETE:
            return await self.delete_import()
        if place is Place.IMPORTS:
            return await self.list_imports()
        if place is Place.PROJECTS:
            return await self.call("list_imports")
        return await self.list_files()


@asynccontextmanager
async def open_tools(
    settings: Settings, *, era: str = "2026-07-28", person: Person | None = None
) -> AsyncGenerator[WebshopTools]:
    """The tools of a server in this process, and the person who can be asked, if any."""
    async with connect(settings, era, person) as client:
        yield WebshopTools(client)


@asynccontextmanager
async def start_server(neptun: FaultyNeptun, errors: Path, **settings: str) -> AsyncGenerator[StdioServer]:
    """Our server in a process. Its stderr goes to the file."""
    async with start_stdio(errors, **{**neptun.variables, **settings}) as server:
        yield server


@dataclass(frozen=True)
class Rig:
    """A Neptun, and a client of a server that knows it."""

    neptun: FaultyNeptun
    tools: WebshopTools


def plain_error_of(result: CallToolResult) -> str:
    """The message of a failure: one printable line, without any text of the server."""
    words = error_of(result)
    assert words.isprintable()
    assert len(words) < 1_000
    for foreign in (SERVER_TEXT, "Traceback", "<", ">", "{", "Error executing", "not foreseen"):
        assert foreign not in words
    return words
