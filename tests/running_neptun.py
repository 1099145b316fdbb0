"""The sandbox as strict as the running server: its validator, what it refuses, and how it fails.

`neptun.fails("users")` makes one of its parts fail, in the ways that were recorded (`tests/wire`, names with `db`) or
seen. Beside Alice there is Bob, whose project is not hers.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote_plus
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from neptun_mcp.neptun.models import MAX_ID, RESOURCE_MODELS
from neptun_mcp.sandbox import data
from neptun_mcp.sandbox.contracts import (
    INVALID_RESOURCE_TYPE,
    NO_SESSION,
    NOT_YOUR_ID,
    PAGE_NOT_FOUND,
    SOURCE_TYPES,
    WRONG_PASSWORD,
    Denial,
    Documented,
    Observed,
    TurnedDown,
)
from neptun_mcp.sandbox.endpoints import Handler, Neptun, described, sent_cookie, set_cookie
from neptun_mcp.sandbox.state import Record, Store, User, seal

from .validator import (
    INVALID_LOGIN,
    Explained,
    check_filter,
    credentials,
    enum_issue,
    positive_integers,
    refuse_markup,
    zod_error,
)

PROJECT_TYPES = ("web-site", "web-service", "web-app")

Part: TypeAlias = Literal["database", "connections", "users", "projects", "imports", "deletions", "resources"]
"""What can fail. database: stopped. connections: at their limit, so that every second query fails. deletions: cut off,
or refused by a trigger. The others: the table of that name."""


ALREADY_LOGGED_IN = Denial((403, "Forbidden"), (403, "Forbidden", None))
INVALID_JSON = Denial((400, "Invalid JSON body"), (400, "Bad Request", "Invalid JSON body"))
NOT_SHARED = Denial((404, "Not found"), (404, "Not Found", None))
CRASH = Denial((500, "Server error"), (500, "Server Error", "Server Error"))
PROJECTS_NOT_READ = Denial((404, "Projects not found"), (404, "Not Found. Projects not found.", None))
NOT_READ = Denial((404, "Not found"), (404, "Not Found.", None))

DOWN: dict[Part, Denial | None] = {"database": CRASH, "connections": CRASH, "projects": CRASH}
FAILURES: dict[str, dict[Part, Denial | None]] = {
    "log_in": {"database": WRONG_PASSWORD, "connections": WRONG_PASSWORD, "users": WRONG_PASSWORD},
    "show_shared_collection": {"database": CRASH},
    "list_projects": {"database": PROJECTS_NOT_READ, "connections": PROJECTS_NOT_READ, "projects": PROJECTS_NOT_READ},
    "list_imports": {**DOWN, "imports": NOT_READ},
    "delete_import": {**DOWN, "imports": CRASH, "deletions": NOT_READ},
    "list_resources": {**DOWN, "resources": None},
    "show_resource": {**DOWN, "resources": NOT_READ},
}
"""What a request is refused with when a part fails, by the handler's name; None: not at all, the list is empty."""

LOGGING_OUT = (NO_SESSION, INVALID_LOGIN, WRONG_PASSWORD)
"""Recorded: these set the cookie of an anonymous session."""


ANONYMOUS_COOKIE = seal("nobody")[:244] + seal("nobody")[-90:]
"""Recorded: 334 characters, where a person's has 441."""

BOB_ID, BOB_COOKIE, NEWSLETTER = 2, seal("bob"), 7
LETTER = data.project(NEWSLETTER, "newsletter", "web-site", "go", "2026-07-01 18:30:00")
BOBS = {"neptun_user_id": BOB_ID}


def sample_data() -> Store:
    """A fresh store with the sandbox's data, and Bob's, who has the session BOB_COOKIE."""
    store = data.sample_data()
    store.users.append(User(BOB_ID, "bob@example.com", "Passw0rd!bob"))
    store.sessions[BOB_COOKIE] = store.users[-1]
    store.projects.insert(2, LETTER | BOBS)
    store.imports.append(data.source(301, NEWSLETTER, data.LOCAL, "/home/bob/letter", "2026-07-01 18:31:00") | BOBS)
    letter = data.file(51, "letter", "Dear reader,\n", "markdown", "md", "2026-07-03 07:00:00")
    store.resources[NEWSLETTER, "user-files"] = [letter | BOBS]
    return store


def create_app(*, contract: Literal["observed", "documented"] = "observed") -> RunningNeptun:
    """A running Neptun with data of its own. Parts of it can be made to fail."""
    return RunningNeptun(sample_data(), RunningServer() if contract == "observed" else Documented())


def add_another_persons_file(store: Store, project: int, id: int = 90) -> Record:
    """Link a file of Bob to a project. Seen: the list has it, its own endpoint answers 401."""
    record = data.file(id, "shared by Bob", "of Bob\n", "text", "txt", "2026-09-01 08:00:00") | BOBS
    store.resources.setdefault((project, "user-files"), []).append(record)
    return record


def now() -> str:
    """The time as Neptun writes it: `2026-11-21T23:12:39.102Z`, always UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class RunningServer(Observed):
    """The observed contract, to the letter of its errors."""

    def refused_in_full(self, request: Request, refusal: TurnedDown) -> Response:
        status, _, message = refusal.denial.observed
        if message is not None and "application/json" not in request.headers.get("accept", ""):
            return html_page(status)
        path: str = request.scope["raw_path"].decode()
        body: Record = json.loads(bytes(self.refused(refusal).body))
        if message is None:
            body["stack"] = []
        else:
            query = f"?{request.url.query}" if request.url.query else ""
            body |= {"error": True, "url": f"{request.url.scheme}://{request.url.netloc}{path}{query}"}
        if refusal.denial is PAGE_NOT_FOUND:
            words = f"Page not found: {path}"
            body |= {"statusMessage": words, "message": words, "data": {"path": path}}
        if isinstance(refusal, Explained):
            body["data"] = refusal.data
        return Response(json.dumps(body, indent=2, ensure_ascii=False), status, media_type="application/json")

    def imports(self, query: Mapping[str, str], imports: list[Record]) -> Response:
        if "import_source_type" in query:
            check_filter("import_source_type", query["import_source_type"], SOURCE_TYPES)
        return super().imports(query, imports)


def html_page(status: int) -> Response:
    """Recorded: 150 kB of HTML, shortened here as it is in the recording."""
    page = f'<!DOCTYPE html><html lang="en"><head><title>{status}</title></head><body>…</body></html>'
    return Response(page, status, {"content-type": "text/html;charset=utf-8"})


class RunningNeptun(Neptun):
    """Checks what it is sent as the running server does, and fails on demand."""

    def __init__(self, store: Store, contract: Observed | Documented) -> None:
        super().__init__(store, contract)
        self._failing: dict[Part, float] = {}
        self._started = time.monotonic()
        further: list[tuple[str, str, Handler]] = [
            ("GET", "/health", self.health),
            ("GET", "/api/shared/collections/([^/]+)", self.show_shared_collection),
        ]
        self.routes = [(method, path, self._breakable(handler)) for method, path, handler in further + self.routes]

    def fails(self, part: Part, times: float = math.inf) -> None:
        """Fail in this part, for so many requests that need it."""
        self._failing[part] = times

    def recovers(self) -> None:
        self._failing.clear()

    def _breakable(self, handler: Handler) -> Handler:
        name = handler.__name__

        async def answer(request: Request, *path: str) -> Response:
            for part, refusal in FAILURES.get(name, {}).items():
                left = self._failing.get(part, 0)
                if left <= 0:
                    continue
                self._failing[part] = -left if part == "connections" else left - 1
                if name not in ("log_in", "show_shared_collection"):
                    self.user(request)  # the guard asks no database
                if refusal is None:
                    return JSONResponse([])
                raise TurnedDown(refusal)
            if self._failing.get("connections", 0) < 0 and "connections" in FAILURES.get(name, {}):
                self._failing["connections"] *= -1
            return await handler(request, *path)

        return answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            if request.method == "GET":
                refuse_markup(unquote_plus(request.url.query))
            response = await self.answer(request)
        except TurnedDown as refusal:
            if isinstance(self.contract, RunningServer):
                response = self.contract.refused_in_full(request, refusal)
            else:
                response = self.contract.refused(refusal)
            # Recorded: the anonymous cookie is set, unless it is the one that was sent.
            if refusal.denial in LOGGING_OUT and sent_cookie(request) != ANONYMOUS_COOKIE:
                response.headers.update(set_cookie(ANONYMOUS_COOKIE))
        await response(scope, receive, send)

    async def health(self, request: Request) -> Response:
        uptime = time.monotonic() - self._started
        return JSONResponse({"status": "healthy", "timestamp": now(), "uptime": uptime})

    async def show_shared_collection(self, request: Request, uuid: str) -> Response:
        """Recorded: needs no session. Nothing is shared here."""
        raise TurnedDown(NOT_SHARED)

    async def log_in(self, request: Request) -> Response:
        """Recorded: a good cookie sent along is a 403."""
        if self.session(request):
            await self.form(request)
            raise TurnedDown(ALREADY_LOGGED_IN)
        response = await super().log_in(request)
        cookie, user = self.store.sessions.popitem()
        self.store.sessions[cookie] = replace(user)  # ends by itself
        shown = {**json.loads(bytes(response.body)), "loggedInAt": now()}
        return JSONResponse(shown, headers={"set-cookie": response.headers["set-cookie"]})

    async def show_session(self, request: Request) -> Response:
        """Recorded: a good session is given a further cookie, a bad one the anonymous cookie."""
        shown: Record = {"id": str(uuid4())}
        if session := self.session(request):
            shown |= {**described(session), "loggedInAt": now()}
        cookie = self.store.new_cookie(session) if session else ANONYMOUS_COOKIE
        return JSONResponse(shown, headers=set_cookie(cookie))

    async def list_projects(self, request: Request, user_id: str) -> Response:
        user = self.user(request)
        if self.ids(user_id=user_id) != [user.id]:
            raise TurnedDown(NOT_YOUR_ID)
        if "project_type" in request.query_params:
            check_filter("project_type", request.query_params["project_type"], PROJECT_TYPES)
        projects = [{**project, "prompt_context": self.context_of(project)} for project in self.projects_of(user)]
        return self.contract.projects(projects)

    def context_of(self, project: Record) -> Record:
        """Recorded: a project carries what Neptun tells its own assistant about it, imports included."""
        about = {key: project[key] for key in ("name", "type", "description", "main_language")}
        keys = ("source_type", "source_path", "source_ref", "import_status", "error_message", "file_tree")
        imports = [{key: record[key] for key in keys} for record in self.imports_of(project["id"])]
        return {"project": about, "resources": {"imports": imports, "collections": []}, "currentDate": now()}

    def own_ids(self, request: Request, **path: str) -> list[int]:
        """Recorded: an id that does not fit PostgreSQL's `integer` is a crash."""
        ids = super().own_ids(request, **path)
        if max(ids) > MAX_ID:
            raise TurnedDown(CRASH)
        return ids

    def ids(self, **path: str) -> list[int]:
        return positive_integers(**path)

    def check_resource_type(self, resource_type: str) -> None:
        if resource_type not in RESOURCE_MODELS:
            issue = enum_issue("resource_type", resource_type, tuple(RESOURCE_MODELS))
            raise Explained(INVALID_RESOURCE_TYPE, zod_error([issue]))

    async def credentials(self, request: Request) -> tuple[str, str]:
        return credentials(await self.form(request))

    async def form(self, request: Request) -> Any:
        """The JSON body, or None if there is none."""
        body = (await request.body()).decode(errors="replace")
        refuse_markup(body)
        try:
            return json.loads(body) if body else None
        except ValueError:
            raise TurnedDown(INVALID_JSON) from None
