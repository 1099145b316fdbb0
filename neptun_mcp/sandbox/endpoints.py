"""The sandbox's application: Neptun's endpoints over a store, answering in one of its two contracts."""

import copy
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias, TypeVar
from urllib.parse import unquote, unquote_plus
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ..neptun.models import COOKIE_NAME
from .checks import check_resource_type, credentials, positive_integers, refuse_large, refuse_markup
from .contracts import Contract, Documented, Observed
from .data import sample_data
from .denials import (
    AlreadyLoggedIn,
    InvalidJson,
    NoImport,
    NoProject,
    NoResource,
    NoSession,
    NotLinked,
    NotShared,
    NotYourId,
    PageNotFound,
    Refused,
    WrongPassword,
)
from .state import ANONYMOUS_COOKIE, Record, Session, Store, User, now

Handler: TypeAlias = Callable[..., Awaitable[Response]]
ResponseT = TypeVar("ResponseT", bound=Response)


def create_app(*, contract: Literal["observed", "documented"] = "observed", data: Store | None = None) -> Starlette:
    """A Neptun of its own, which works on a copy of the data and keeps changes while it runs.

    The copy is `app.state.store`: there a test can look, and end sessions.
    """
    store = copy.deepcopy(data or sample_data())
    neptun = Neptun(store, Observed() if contract == "observed" else Documented())
    app = Starlette(routes=[Route("/{path:path}", neptun)])
    app.state.store = store
    return app


class Neptun:
    """Finds the handler of a request, checks who asks for what, and leaves the wording to the contract."""

    def __init__(self, store: Store, contract: Contract) -> None:
        self.store = store
        self.contract = contract
        self.started = time.monotonic()
        projects = "/api/users/([^/]+)/projects"
        resources = f"{projects}/([^/]+)/resources"
        self.routes: list[tuple[str, str, Handler]] = [
            ("GET", "/health", self.health),
            ("HEAD", "/api/auth/check", self.check_auth),
            ("POST", "/api/auth/login", self.log_in),
            ("GET", "/api/_auth/session", self.show_session),
            ("GET", "/api/shared/collections/([^/]+)", self.show_shared_collection),
            ("GET", projects, self.list_projects),
            ("GET", f"{resources}/imports", self.list_imports),
            ("DELETE", f"{resources}/imports/([^/]+)", self.delete_import),
            ("GET", f"{resources}/([^/]+)", self.list_resources),
            ("GET", f"{resources}/([^/]+)/([^/]+)", self.show_resource),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self.answer(request)
        except Refused as refusal:
            response = self.contract.refused(request, refusal)
            # Recorded: the anonymous cookie is set, unless it is the one that was sent.
            if refusal.logs_out and sent_cookie(request) != ANONYMOUS_COOKIE:
                set_cookie(response, ANONYMOUS_COOKIE)
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """Recorded: paths are matched undecoded, a slash at the end makes no difference, HEAD is not GET."""
        if request.method == "GET":
            refuse_markup(unquote_plus(request.url.query))
        path = request.scope["raw_path"].decode().removesuffix("/")
        for method, pattern, handler in self.routes:
            if method == request.method and (match := re.fullmatch(pattern, path)):
                return await handler(request, *match.groups())
        raise PageNotFound

    async def health(self, request: Request) -> Response:
        uptime = time.monotonic() - self.started
        return JSONResponse({"status": "healthy", "timestamp": now(), "uptime": uptime})

    async def check_auth(self, request: Request) -> Response:
        self.user(request)
        return Response(status_code=self.contract.auth_check_status)

    async def log_in(self, request: Request) -> Response:
        """Recorded: e-mail and password are compared as they are; a good cookie sent along is a 403."""
        form = await read_form(request)
        if self.session(request):
            raise AlreadyLoggedIn
        login = credentials(form)
        user = next((user for user in self.store.users if (user.email, user.password) == login), None)
        if user is None:
            raise WrongPassword
        session = Session(user)
        return set_cookie(JSONResponse(session.as_json()), self.store.new_cookie(session))

    async def show_session(self, request: Request) -> Response:
        """Recorded: always 200; a good session is given a further cookie, a bad one the anonymous cookie."""
        session = self.session(request)
        if session is None:
            return set_cookie(JSONResponse({"id": str(uuid4())}), ANONYMOUS_COOKIE)
        answer = JSONResponse({"id": session.id, **session.as_json()})
        return set_cookie(answer, self.store.new_cookie(session))

    async def show_shared_collection(self, request: Request, uuid: str) -> Response:
        """Recorded: needs no session. The sandbox shares nothing."""
        raise NotShared

    async def list_projects(self, request: Request, user_id: str) -> Response:
        user = self.user(request)
        if positive_integers(user_id=user_id) != [user.id]:
            raise NotYourId
        projects = [self.in_context(project) for project in self.projects_of(user)]
        return self.contract.projects(request.query_params, projects)

    async def list_imports(self, request: Request, user_id: str, project_id: str) -> Response:
        _, project = self.open_project(request, user_id=user_id, project_id=project_id)
        return self.contract.imports(request.query_params, self.imports_of(project))

    async def delete_import(self, request: Request, user_id: str, project_id: str, import_id: str) -> Response:
        _, project, wanted = self.open_project(request, user_id=user_id, project_id=project_id, import_id=import_id)
        record = next((record for record in self.imports_of(project) if record["id"] == wanted), None)
        if record is None:
            raise NoImport
        self.store.imports.remove(record)
        return self.contract.import_deleted(record, self.store)

    async def list_resources(self, request: Request, user_id: str, project_id: str, resource_type: str) -> Response:
        _, project = self.open_project(request, user_id=user_id, project_id=project_id)
        check_resource_type(resource_type)
        return self.contract.resources(self.store.resources.get((project, resource_type), []))

    async def show_resource(
        self, request: Request, user_id: str, project_id: str, resource_type: str, resource_id: str
    ) -> Response:
        """Recorded: what is the person's own, but not in the project, is a 404; what is not theirs a 401."""
        if not self.contract.single_resources:
            raise PageNotFound
        user, project, wanted = self.own_ids(request, user_id=user_id, project_id=project_id, resource_id=resource_id)
        check_resource_type(resource_type)
        lists = {place[0]: found for place, found in self.store.resources.items() if place[1] == resource_type}
        own = [record for found in lists.values() for record in found if record["neptun_user_id"] == user]
        if all(record["id"] != wanted for record in own):
            raise NoResource
        record = next((record for record in lists.get(project, []) if record["id"] == wanted), None)
        if record is None:
            raise NotLinked
        return JSONResponse(record)

    def session(self, request: Request) -> Session | None:
        return self.store.sessions.get(sent_cookie(request))

    def user(self, request: Request) -> User:
        session = self.session(request)
        if session is None:
            raise NoSession
        return session.user

    def open_project(self, request: Request, **path: str) -> list[int]:
        """The ids in the path (user, project, what is below), once the session and the right are checked."""
        ids = self.own_ids(request, **path)
        if all(project["id"] != ids[1] for project in self.projects_of(self.user(request))):
            raise NoProject
        return ids

    def own_ids(self, request: Request, **path: str) -> list[int]:
        """The ids in the path, of which the first is that of the session's user."""
        user = self.user(request)
        ids = positive_integers(**path)
        if ids[0] != user.id:
            raise NotYourId
        refuse_large(*ids)
        return ids

    def projects_of(self, user: User) -> list[Record]:
        return [project for project in self.store.projects if project["neptun_user_id"] == user.id]

    def imports_of(self, project: int) -> list[Record]:
        return [record for record in self.store.imports if record["project_id"] == project]

    def in_context(self, project: Record) -> Record:
        """Recorded: a project carries what Neptun tells its own assistant about it, imports included."""
        about = {key: project[key] for key in ("name", "type", "description", "main_language")}
        keys = ("source_type", "source_path", "source_ref", "import_status", "error_message", "file_tree")
        imports = [{key: record[key] for key in keys} for record in self.imports_of(project["id"])]
        context = {"project": about, "resources": {"imports": imports, "collections": []}, "currentDate": now()}
        return {**project, "prompt_context": context}


def sent_cookie(request: Request) -> str:
    """Recorded: other cookies beside it, quotes around it and percent-encoding do not matter."""
    return unquote(request.cookies.get(COOKIE_NAME, ""))


def set_cookie(response: ResponseT, cookie: str) -> ResponseT:
    response.headers["set-cookie"] = f"{COOKIE_NAME}={cookie}; Path=/; HttpOnly; Secure; SameSite=Lax"
    return response


async def read_form(request: Request) -> Any:
    """The JSON body, or None where there is none."""
    body = (await request.body()).decode(errors="replace")
    refuse_markup(body)
    try:
        return json.loads(body) if body else None
    except ValueError:
        raise InvalidJson from None
