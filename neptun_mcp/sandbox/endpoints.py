"""The sandbox's application: Neptun's endpoints over a store, answering in one of its two contracts."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias
from urllib.parse import unquote

from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ..neptun.models import COOKIE_NAME, RESOURCE_MODELS
from . import contracts
from .contracts import Contract, Documented, Observed, TurnedDown
from .data import sample_data
from .state import Record, Store, User

Handler: TypeAlias = Callable[..., Awaitable[Response]]


def create_app(*, contract: Literal["observed", "documented"] = "observed") -> Neptun:
    """A Neptun of its own with the sample data. Changes last while it runs."""
    return Neptun(sample_data(), Observed() if contract == "observed" else Documented())


class Neptun:
    """An ASGI application: finds the handler of a request, and checks who asks for what."""

    def __init__(self, store: Store, contract: Contract) -> None:
        self.store = store
        self.contract = contract
        projects = "/api/users/([^/]+)/projects"
        resources = f"{projects}/([^/]+)/resources"
        self.routes: list[tuple[str, str, Handler]] = [
            ("HEAD", "/api/auth/check", self.check_auth),
            ("POST", "/api/auth/login", self.log_in),
            ("GET", "/api/_auth/session", self.show_session),
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
        except TurnedDown as refusal:
            response = self.contract.refused(refusal)
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """Recorded: paths are matched undecoded, a slash at the end makes no difference, HEAD is not GET."""
        path = request.scope["raw_path"].decode().removesuffix("/")
        for method, pattern, handler in self.routes:
            if method == request.method and (match := re.fullmatch(pattern, path)):
                return await handler(request, *match.groups())
        raise TurnedDown(contracts.PAGE_NOT_FOUND)

    async def check_auth(self, request: Request) -> Response:
        self.user(request)
        return Response(status_code=self.contract.auth_check_status)

    async def log_in(self, request: Request) -> Response:
        """Recorded: e-mail and password are compared as they are."""
        login = await self.credentials(request)
        user = next((user for user in self.store.users if (user.email, user.password) == login), None)
        if user is None:
            raise TurnedDown(contracts.WRONG_PASSWORD)
        return JSONResponse(described(user), headers=set_cookie(self.store.new_cookie(user)))

    async def show_session(self, request: Request) -> Response:
        """Recorded: always 200."""
        user = self.session(request)
        return JSONResponse(described(user) if user else {})

    async def list_projects(self, request: Request, user_id: str) -> Response:
        self.own_ids(request, user_id=user_id)
        return self.contract.projects(self.projects_of(self.user(request)))

    async def list_imports(self, request: Request, user_id: str, project_id: str) -> Response:
        _, project = self.open_project(request, user_id=user_id, project_id=project_id)
        return self.contract.imports(request.query_params, self.imports_of(project))

    async def delete_import(self, request: Request, user_id: str, project_id: str, import_id: str) -> Response:
        _, project, wanted = self.open_project(request, user_id=user_id, project_id=project_id, import_id=import_id)
        record = next((record for record in self.imports_of(project) if record["id"] == wanted), None)
        if record is None:
            raise TurnedDown(contracts.NO_IMPORT)
        self.store.imports.remove(record)
        return self.contract.import_deleted(record, self.store)

    async def list_resources(self, request: Request, user_id: str, project_id: str, resource_type: str) -> Response:
        _, project = self.open_project(request, user_id=user_id, project_id=project_id)
        self.check_resource_type(resource_type)
        return self.contract.resources(self.store.resources.get((project, resource_type), []))

    async def show_resource(
        self, request: Request, user_id: str, project_id: str, resource_type: str, resource_id: str
    ) -> Response:
        """Recorded: what is the person's own, but not in the project, is a 404; what is not theirs a 401."""
        if not self.contract.single_resources:
            raise TurnedDown(contracts.PAGE_NOT_FOUND)
        user, project, wanted = self.own_ids(request, user_id=user_id, project_id=project_id, resource_id=resource_id)
        self.check_resource_type(resource_type)
        found = {
            place: record
            for (place, kind), records in self.store.resources.items()
            for record in records
            if (kind, record["id"], record["neptun_user_id"]) == (resource_type, wanted, user)
        }
        if project not in found:
            raise TurnedDown(contracts.NOT_LINKED if found else contracts.NO_RESOURCE)
        return JSONResponse(found[project])

    def session(self, request: Request) -> User | None:
        return self.store.sessions.get(sent_cookie(request))

    def user(self, request: Request) -> User:
        user = self.session(request)
        if user is None:
            raise TurnedDown(contracts.NO_SESSION)
        return user

    def open_project(self, request: Request, **path: str) -> list[int]:
        """The ids in the path (user, project, what is below), once the session and the right are checked."""
        ids = self.own_ids(request, **path)
        if all(project["id"] != ids[1] for project in self.projects_of(self.user(request))):
            raise TurnedDown(contracts.NO_PROJECT)
        return ids

    def own_ids(self, request: Request, **path: str) -> list[int]:
        """The ids in the path. The first is that of the session's user."""
        user = self.user(request)
        ids = self.ids(**path)
        if ids[0] != user.id:
            raise TurnedDown(contracts.NOT_YOUR_ID)
        return ids

    def ids(self, **path: str) -> list[int]:
        """Those in a path, given by the names of their parameters."""
        if not all(re.fullmatch("[1-9][0-9]*", word) for word in path.values()):
            raise TurnedDown(contracts.INVALID_PARAMETERS)
        return [int(word) for word in path.values()]

    def check_resource_type(self, resource_type: str) -> None:
        if resource_type not in RESOURCE_MODELS:
            raise TurnedDown(contracts.INVALID_RESOURCE_TYPE)

    async def credentials(self, request: Request) -> tuple[Any, Any]:
        """E-mail and password of a log-in's body."""
        try:
            form = from_json(await request.body())
            return form["email"], form["password"]
        except (ValueError, TypeError, KeyError):
            raise TurnedDown(contracts.INVALID_PARAMETERS) from None

    def projects_of(self, user: User) -> list[Record]:
        return [project for project in self.store.projects if project["neptun_user_id"] == user.id]

    def imports_of(self, project: int) -> list[Record]:
        return [record for record in self.store.imports if record["project_id"] == project]


def described(user: User) -> Record:
    return {"user": {"id": user.id, "primary_email": user.email}}


def sent_cookie(request: Request) -> str:
    """Recorded: other cookies beside it, quotes around it and percent-encoding do not matter."""
    return unquote(request.cookies.get(COOKIE_NAME, ""))


def set_cookie(cookie: str) -> dict[str, str]:
    """The header that gives a browser a session."""
    return {"set-cookie": f"{COOKIE_NAME}={cookie}; Path=/; HttpOnly; Secure; SameSite=Lax"}
