"""The Neptun web API, one method an endpoint, against a server as documented and as it runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, cast

import anyio
import httpx2 as httpx

from . import errors
from .errors import Effect
from .failures import Progress, forget_frames
from .models import (
    DEFAULT_BASE_URL,
    GITHUB_KINDS,
    LOCAL_FOLDER,
    RESOURCE_MODELS,
    ItemT,
    Listing,
    Project,
    ProjectImport,
    Resource,
    ResourceType,
    newest_first,
    read_at_once,
    read_items,
    read_json,
)
from .session import Credentials, Session, User
from .threads import Pace, paced
from .time_limit import TimeLimit
from .transport import Answer, Transfer, Transport

GITHUB_WORDS = ("github", *GITHUB_KINDS)
KNOWN_KINDS = (LOCAL_FOLDER, *GITHUB_WORDS)
"""The words for `source_type`, documented and observed. A server may know more."""

_Arrange: TypeAlias = Callable[[list[ItemT]], list[ItemT]]

_BYTES = 6  # of JSON are as much work as one character


@dataclass
class Learned:
    """What the answers of a server tell about it; shared by every client of its connections.

    Attributes:
        imports_by_kind: whether one request returns one kind of import, as a bare array (a running server), or every
            import, wrapped in an object (documented); None before the first list of imports.
        single_resources: whether there is an endpoint for one resource; None if that is not known.
    """

    imports_by_kind: bool | None = None
    single_resources: bool | None = None


@dataclass(frozen=True)
class Deletion:
    """An import that is gone.

    Attributes:
        confirmed: Neptun said so. False: its answer was lost or unclear, and the list of imports showed it.
        gone_before: it was there just now, and somebody else deleted it before this deletion arrived.
    """

    confirmed: bool
    gone_before: bool = False


class NeptunClient:
    """A person's access to Neptun.

    Every method raises a `NeptunError` when it fails, and ends within `timeout` seconds, retries included.

        async with NeptunClient(Credentials(cookie="…")) as neptun:
            for source in (await neptun.list_imports(project_id=3)).items:
                print(source.id, source.source_path)

    Args:
        credentials: how to get a session.
        user_id: the person's id; None to ask Neptun whose session it is.
        base_url: `https://host[:port]`, or `http://` to this machine. The cookie goes nowhere else.
        timeout: seconds for a whole call; connecting may take a third of them.
        max_connections: the most connections to Neptun that are open at the same time.
        max_response_bytes: a longer body, after decompression, is refused.
        http_transport: an HTTPX transport to use in place of the network.
        user_agent: how this program names itself to Neptun.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        user_id: int | None = None,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = 30.0,
        max_connections: int = 10,
        max_response_bytes: int = 64 * 2**20,
        http_transport: httpx.AsyncBaseTransport | None = None,
        user_agent: str = "neptun-client",
    ) -> None:
        self._transport = Transport(
            address=base_url,
            timeout=timeout,
            max_connections=max_connections,
            max_response_bytes=max_response_bytes,
            http_transport=http_transport,
            user_agent=user_agent,
        )
        self.address = base_url
        self.learned = Learned()
        self.timeout = timeout
        self._time_limit: TimeLimit | None = None
        self._transfer: Transfer | None = None
        self.session = Session(self._transport, credentials, user_id)

    async def __aenter__(self) -> NeptunClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, which clients made by `with_options` use too."""
        await self._transport.aclose()

    def with_options(
        self,
        *,
        credentials: Credentials | None = None,
        time_limit: TimeLimit | None = None,
        transfer: Transfer | None = None,
    ) -> NeptunClient:
        """A client for another person, or with another time limit, over the same connections.

        Args:
            credentials: another person's; nothing but the connections is shared with them. None: the same session.
            time_limit: what several methods together may take. None: as here.
            transfer: told what is received. None: as here.
        """
        other = copy(self)
        other._time_limit, other._transfer = time_limit or self._time_limit, transfer or self._transfer
        if credentials:
            other.session = Session(self._transport, credentials)
        return other

    async def check_reachable(self) -> None:
        """Ask for what needs no session, to see whether the address answers as Neptun does, and its database too.

        Raises:
            Unavailable, NotLikeNeptun: it does not.
        """
        async with self._within():
            try:
                await self.session.is_valid(None)
            except errors.UserNotSaid:
                what = "it has none of the pages that every Neptun has"
                raise errors.NotNeptun(self.address, what) from None
            await self.session.check_database()

    async def check_login(self) -> None:
        """Log in, or take the cookie that is configured, and find out whose it is, unless that is known already."""
        async with self._within():
            await self.session.run(self.session.user_id)

    async def user(self) -> User:
        """The person whose session it is, as Neptun knows them."""
        return (await self.log_in())[1]

    async def log_in(self) -> tuple[str, User]:
        """The cookie of a session that Neptun accepts, and the person whose it is."""

        async def check(cookie: str) -> tuple[str, User]:
            return cookie, await self.session.actual_user(cookie)

        async with self._within():
            return await self.session.run(check)

    async def list_projects(self) -> Listing[Project]:
        """The person's projects, by name.

        Documented by Neptun elsewhere; wrapped in `{"projects": …}` as documented, a bare array as it runs.
        """
        async with self._explained():
            return await self._projects()

    async def list_imports(self, project_id: int, kind: str | None = None) -> Listing[ProjectImport]:
        """The imports of a project, newest first.

        Args:
            kind: only this `source_type`. `github` stands for every GitHub kind.

        A documented server sends everything in one answer. A running one sends only `local_folder` where no kind is
        asked for, so the other kinds are asked for as well, at the same time once that is known.

        Raises:
            ProjectNotFound: no such project, or another person's.
        """

        def of_kind(items: list[ProjectImport]) -> list[ProjectImport]:
            return newest_first(i for i in items if kind is None or is_kind(i.source_type, kind))

        async with self._explained(project_id):
            return await self._imports(project_id, kind, of_kind)

    async def list_resources(self, project_id: int, resource_type: ResourceType) -> Listing[Any]:
        """The resources of one type that are linked to a project, newest first, files with their text.

        A running server sends an empty list if its query fails too (recorded), so an empty one is asked for twice.

        Raises:
            ProjectNotFound: no such project, or another person's.
        """
        async with self._explained(project_id):
            return await self._resources(project_id, resource_type)

    async def _resources(self, project_id: int, resource_type: ResourceType) -> Listing[Any]:
        # By itself, as `forget_frames` cannot clear a frame that is not left yet.
        path = f"/projects/{project_id}/resources/{resource_type}"
        answer = await self._get(path)
        if answer.body.strip() == b"[]":
            answer = await self._get(path)
        return await self._read(RESOURCE_MODELS[resource_type], [answer], newest_first, "")

    async def get_resource(self, project_id: int, resource_type: ResourceType, resource_id: int) -> Resource:
        """One resource of a project, a file with its text.

        A running server has an endpoint for it, which is not documented. Nothing but its 200 is certain: it is 404 for
        what is not in the project, and if its query fails (recorded). Whatever else it answers, the list decides.

        Raises:
            ProjectNotFound: no such project, or another person's.
            ResourceNotFound: there is none with this id, or Neptun failed; `certain` says which.
            NotLikeNeptun: it may be in the list, parts of which cannot be read.
        """
        client = self.with_options(time_limit=self._limit())
        no_endpoint = False
        if self.learned.single_resources is not False:
            try:
                found = await client._single_resource(project_id, resource_type, resource_id)
            except errors.Denied as error:
                # A running server answers these for what is linked to the project, too: 401 if it is another person's.
                no_endpoint = error.status != 401 and not error.by_handler
            except (errors.BadRequest, errors.NotLikeNeptun):
                no_endpoint = True
            except errors.ServerFailed:
                pass
            else:
                self.learned.single_resources = True
                return found
        listing = await client.list_resources(project_id, resource_type)
        in_list = next((item for item in listing.items if item.id == resource_id), None)
        if in_list is None:
            if listing.left_out:
                raise self._unreadable(f"resource {resource_id}", "resources")
            raise errors.ResourceNotFound(resource_type, resource_id, project_id, certain=bool(listing.items))
        if no_endpoint and self.learned.single_resources is None:
            self.learned.single_resources = False
        return in_list

    async def _single_resource(self, project_id: int, resource_type: ResourceType, resource_id: int) -> Resource:
        async with self._within():
            answer = await self._get(f"/projects/{project_id}/resources/{resource_type}/{resource_id}")
            (found,) = (await self._read(RESOURCE_MODELS[resource_type], [answer], list, None)).items
        if found.id != resource_id:
            raise errors.NotLikeNeptun(self.address, "it sent another resource than the one that was asked for")
        return found

    async def find_import(self, project_id: int, import_id: int) -> ProjectImport:
        """One import of a project, looked up in the list: Neptun has no endpoint for a single one.

        Raises:
            ImportNotFound: it is not in the list.
            NotLikeNeptun: it may be in the list, parts of which cannot be read.
        """
        async with self._explained(project_id):
            imports = await self._imports(project_id, None, lambda items: [i for i in items if i.id == import_id])
        if imports.items:
            return imports.items[-1]
        if imports.left_out:
            raise self._unreadable(f"import {import_id}", "imports")
        raise errors.ImportNotFound(import_id, project_id)

    def _unreadable(self, wanted: str, kind: str) -> errors.UnreadableItems:
        what = f"{wanted} may be one of the {kind} that it sent in a form that cannot be read"
        return errors.UnreadableItems(self.address, what)

    async def delete_import(self, project_id: int, import_id: int, *, known_to_exist: bool = False) -> Deletion:
        """Delete an import for good. The request is sent at most once, unless it certainly had no effect.

        Args:
            known_to_exist: the import was in the list just now. If Neptun then says that there is none, it is gone.

        If the answer is lost or unclear, the list of imports shows what happened. Documented: 204, and 404 if there is
        no such import. A running server: 200 with `[]`; 401 if there is no such import; 404 when its database failed
        and the import is still there.

        Raises:
            DeletionFailed: it was sent, and the import is still there, or nobody can tell; `effect` says which.
            NeptunError: any other error means that nothing was deleted.
        """
        client, progress = self.with_options(time_limit=self._limit()), Progress()

        async def send(path: str, **options: Any) -> Answer:
            try:
                return await self._transport.send("DELETE", path, progress=progress, **options)
            except errors.Unauthorized:
                progress.sent = False  # it had no effect, whatever becomes of the next one
                raise

        try:
            # A third of the time is kept for the list, in case the answer is lost.
            async with client._within(2 / 3):
                answer = await self._ask(send, f"/projects/{project_id}/resources/imports/{import_id}")
            if answer.status not in (200, 204):
                raise errors.NotLikeNeptun(self.address, f"it answers a deletion with status {answer.status}")
            if answer.status == 200 and answer.body.strip() != b"[]":
                raise errors.NotLikeNeptun(self.address, "it answers a deletion with something else than an empty list")
        except errors.BadRequest:
            raise
        except errors.NeptunError as error:
            if progress.sent or isinstance(error, errors.Denied):
                return await client._outcome_after(error, project_id, import_id, known_to_exist)
            raise
        return Deletion(confirmed=True)

    async def _outcome_after(
        self, error: errors.NeptunError, project_id: int, import_id: int, known_to_exist: bool
    ) -> Deletion:
        """What became of an import whose deletion may have arrived, and was not answered with success."""
        refused = isinstance(error, errors.Denied)
        try:
            await self.find_import(project_id, import_id)
        except errors.ImportNotFound as absent:
            if refused and not known_to_exist:
                raise absent from error
            return Deletion(confirmed=False, gone_before=refused)
        except errors.NeptunError as blind:
            if refused and isinstance(blind, (errors.ProjectNotFound, errors.WrongUser)):
                raise blind from error
            # Recorded: a refusal may be how a database fails that is stopping. What came after it says more.
            raise errors.DeletionFailed(blind if refused else error, Effect.UNKNOWN, import_id) from error
        if not refused:
            raise errors.DeletionFailed(error, Effect.MAY_YET_GO, import_id) from error
        if error.status == 404:  # recorded: the database failed
            error = errors.ServerFailed(self.address, error.status)
        raise errors.DeletionFailed(error, Effect.STILL_THERE, import_id) from error

    def _limit(self) -> TimeLimit:
        """The time limit of the whole call, or one for a method alone."""
        return self._time_limit or TimeLimit(self.timeout)

    @asynccontextmanager
    async def _within(self, share: float = 1.0) -> AsyncGenerator[None]:
        """Take at most what is left of the time limit, or a share of it."""
        limit = self._limit()
        try:
            with limit.spend(share):
                yield
        except TimeoutError:
            raise errors.TimedOut(self.address, limit.spent) from None
        except errors.NeptunError as error:
            forget_frames(error)
            raise

    async def _ask(self, send: Callable[..., Awaitable[Answer]], path: str) -> Answer:
        """What `send` returns for a path below the person's own, in their session."""

        async def attempt(cookie: str) -> Answer:
            return await send(f"/api/users/{await self.session.user_id(cookie)}{path}", cookie=cookie)

        return await self.session.run(attempt)

    async def _get(self, path: str) -> Answer:
        """The whole answer from a path below the person's own."""
        answer = await self._ask(partial(self._transport.read, "GET", transfer=self._transfer), path)
        if answer.status != 200:  # a part (206) must not pass for the whole
            raise errors.NotLikeNeptun(self.address, f"it answered with status {answer.status}")
        return answer

    async def _projects(self) -> Listing[Project]:
        def by_name(projects: list[Project]) -> list[Project]:
            return sorted({p.id: p for p in projects}.values(), key=lambda p: (p.name.casefold(), p.id))

        return await self._read(Project, [await self._get("/projects")], by_name, "projects")

    @asynccontextmanager
    async def _explained(self, project_id: int | None = None) -> AsyncGenerator[None]:
        """Say within the time limit what a refusal means when the session is good."""
        async with self._within():
            try:
                yield
            except errors.Denied as error:
                raise await self._meaning(error, project_id) from error

    async def _meaning(self, error: errors.Denied, project_id: int | None) -> errors.NeptunError:
        """What a refusal means, as far as it can be found out: a failure to do so must not hide the refusal."""
        configured = self.session.configured_user_id
        projects: list[Project] | None = None
        with suppress(errors.NeptunError):
            if configured and configured != (actual := (await self.session.run(self.session.actual_user)).id):
                return errors.WrongUser(configured, actual)
            if project_id is not None:
                projects = (await self._projects()).items
        if project_id is None or any(project.id == project_id for project in projects or ()):
            # Recorded: a running server answers 404 when its database fails, and without projects the list is empty.
            return errors.ServerFailed(self.address, error.status)
        return errors.ProjectNotFound(error.status, project_id, projects)

    async def _imports(
        self, project_id: int, kind: str | None, arrange: _Arrange[ProjectImport]
    ) -> Listing[ProjectImport]:
        """What `arrange` chooses from every import of the kind, and what could not be read."""
        github = [k for k in GITHUB_KINDS if kind is None or is_kind(k, kind) or kind not in KNOWN_KINDS]
        queries = [f"?import_source_type={k}" for k in github]
        if self.learned.imports_by_kind:
            answers = await self._import_lists(project_id, queries if kind in GITHUB_WORDS else ["", *queries])
        else:
            answers = await self._import_lists(project_id, [""])
            if answers[0].is_list:
                answers += await self._import_lists(project_id, queries)
        listing = await self._read(ProjectImport, answers, arrange, "imports")
        self.learned.imports_by_kind = all(answer.is_list for answer in answers)
        return listing

    async def _import_lists(self, project_id: int, queries: list[str]) -> list[Answer]:
        """The answers to several questions for imports, asked at the same time."""
        path = f"/projects/{project_id}/resources/imports"
        if len(queries) == 1:
            return [await self._get(path + queries[0])]
        answers = dict[str, Answer]()
        failures: list[errors.NeptunError] = []

        async def ask(query: str) -> None:
            try:
                answers[query] = await self._get(path + query)
            except errors.NeptunError as error:
                failures.append(error)
                group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            for query in queries:
                group.start_soon(ask, query)
        if failures:
            raise failures[0]
        return [answers[query] for query in queries]

    async def _read(
        self, model: type[ItemT], answers: Sequence[Answer], arrange: _Arrange[ItemT], wrapper: str | None
    ) -> Listing[ItemT]:
        """The items of one list that came in one or several parts.

        Args:
            arrange: chooses the items that are wanted, and puts them in order.
            wrapper: the key that a part may be under; empty if it is under none, None for a single item without a list.
        """
        size = sum(len(answer.body) for answer in answers) // _BYTES
        # No closure: an error would keep it, and with it the answers.
        return await paced(size, partial(self._items, model, answers, arrange, wrapper))

    def _items(
        self, model: type[ItemT], answers: Sequence[Answer], arrange: _Arrange[ItemT], wrapper: str | None, pace: Pace
    ) -> Listing[ItemT]:
        items: list[ItemT] = []
        left_out: list[str] = []
        for answer in answers:
            part = read_at_once(model, answer.body, wrapper)
            part = part or read_items(model, self._list_in(answer, wrapper), pace)
            items += part.items
            left_out += part.left_out
        if left_out and not items:
            raise errors.NotLikeNeptun(self.address, "it sent a list of which no item can be read")
        self.session.redact(items, pace)
        return Listing(arrange(items), left_out)

    def _list_in(self, answer: Answer, wrapper: str | None) -> list[Any]:
        """The list in the JSON of an answer; a single item counts as one."""
        value = self._json_of(answer)
        if wrapper is None:
            return [value]
        if isinstance(value, dict):
            value = cast("dict[str, Any]", value).get(wrapper)
        if not isinstance(value, list):
            raise errors.NotLikeNeptun(self.address, "it sent JSON, but not the list that was asked for")
        return cast("list[Any]", value)

    def _json_of(self, answer: Answer) -> Any:
        with suppress(ValueError):
            return read_json(answer.body)
        start = answer.body.lstrip()[:1]
        what = "nothing" if not start else "a page of HTML" if start == b"<" else "broken JSON"
        raise errors.NotLikeNeptun(self.address, f"it sent {what} where JSON was expected")


def is_kind(source_type: str, kind: str) -> bool:
    """Whether a `source_type` is of a kind: that very word, or for `github` any kind of GitHub import."""
    return source_type == kind or (kind == "github" and "github" in source_type)
