"""Which account is used: no caller ever sees anything of another."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from neptun_mcp.sandbox import COOKIE
from neptun_mcp.sandbox.state import Store, seal
from tests.running_neptun import BOB_COOKIE, create_app
from tests.serving.support import LIST_FILES, Caller, content_in, error_in, listen, start_in_process
from tests.support import Json, Site, end_session, failure, session_in

pytestmark = pytest.mark.anyio

CALLS, AT_ONCE = 150, 30
NOBODYS = seal("of the environment")
ADVICE = "Put a fresh session cookie into the header Neptun-Session, in your host's entry for this server (log in at "
MINE: Json = {"mcp_credentials": "caller", "session_cookie": NOBODYS}


@dataclass
class Account:
    """One of two accounts, and what only it may see."""

    user: int
    cookie: str
    projects: dict[int, str]


class Watched:
    """A Neptun that fails now and then, and records the owners of the session and of the path of each request."""

    def __init__(self, people: list[Account]) -> None:
        self._app = create_app(contract="documented")
        self.store: Store = self._app.store
        self.owners = {account.cookie: account.user for account in people}
        self.requests: list[tuple[int | None, int | None]] = []

    def renew(self, account: Account) -> None:
        """End a session; its owner logs in again in a browser."""
        user = self.store.sessions[account.cookie]
        end_session(self.store, account.cookie)
        account.cookie = self.store.new_cookie(user)
        self.owners[account.cookie] = account.user

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            owner = self.owners.get(session_in(Request(scope).headers.get("cookie")) or "")
            named = re.match(r"/api/users/(\d+)/", scope["path"])
            self.requests.append((owner, int(named[1]) if named else owner))
            if len(self.requests) % 29 == 0:
                await failure(500)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def seen_by(account: Account, response: Json, other: Account) -> str:
    """The kind of an answer, in which nothing of the other account may be."""
    text = str(response)
    assert not any(name in text for name in (*other.projects.values(), other.cookie))
    result = response["result"]
    if result["isError"]:
        return re.split(r"[.:]", error_in(response))[0]
    page = content_in(response)
    assert page["project_id"] in account.projects
    items = page["imports"] if "imports" in page else page["resources"]
    assert {item["neptun_user_id"] for item in items} <= {account.user}
    return "answered"


async def test_two_people_at_once_see_only_their_own() -> None:
    alice = Account(1, COOKIE, {1: "webshop", 2: "scratch", 3: "orders-api"})
    bob = Account(2, BOB_COOKIE, {7: "newsletter"})
    people, neptun = [alice, bob], Watched([alice, bob])
    chance, kinds = random.Random(1), dict[str, int]()
    left = iter(range(CALLS))

    async with listen(neptun, lifespan="off") as url, start_in_process(Site(url), **MINE) as caller:

        async def calls() -> None:
            for number in left:
                account, other = chance.sample(people, 2)
                if number % 30 == 29:
                    neptun.renew(account)
                # Refusals take many requests each: most calls are for what is theirs.
                project = chance.choice(2 * [None, *other.projects] + 20 // len(account.projects) * [*account.projects])
                arguments: Json = {"limit": 1} | ({"project_id": project} if project else {})
                if chance.random() < 0.3:
                    tool, arguments = "list_resources", {**arguments, "resource_type": "user-files"}
                else:
                    tool = "list_imports"
                me = Caller(caller.url, caller.http, {"Neptun-Session": account.cookie}, capabilities={})
                kind = seen_by(account, await me.call(tool, arguments), other)
                kinds[kind] = kinds.get(kind, 0) + 1

        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(calls)

    assert sum(kinds.values()) == CALLS
    assert kinds["answered"] > CALLS / 3
    assert len(neptun.requests) > CALLS
    assert set(neptun.requests) == {(1, 1), (2, 2)}, (
        "every session belonged to one of them, and the path to the same person"
    )
    refused = {"There is no project 1, or it is not yours", "There is no project 7, or it is not yours"}
    assert refused | {"Neptun refused the session", "No project was chosen; pass project_id"} < set(kinds)


@pytest.mark.parametrize(
    "session",
    [COOKIE, f"neptun-session={COOKIE}", f'"{COOKIE}"', f"Set-Cookie: neptun-session={COOKIE}; Path=/; HttpOnly"],
)
async def test_the_header_takes_a_cookie_in_any_form(site: Site, session: str) -> None:
    async with start_in_process(site, **MINE) as caller:
        caller.headers = {"Neptun-Session": session}
        assert content_in(await caller.call("list_resources", LIST_FILES))["total"] > 0
    assert set(site.cookies) == {COOKIE}


@pytest.mark.parametrize("sessions", [[], [""], ["no cookie, but words"], [COOKIE, COOKIE]])
async def test_without_one_session_of_their_own_nobody_is_served(site: Site, sessions: list[str]) -> None:
    said = "The request does not carry the header Neptun-Session once, with a session cookie. "
    async with start_in_process(site, **MINE) as caller:
        message = caller.message("tools/call", {"name": "list_resources", "arguments": LIST_FILES})
        message["headers"] = [*message["headers"].items(), *(("Neptun-Session", session) for session in sessions)]
        error = error_in((await caller.http.post(f"{caller.url}/mcp", **message)).json())
        assert error.startswith(said)
        assert f"{ADVICE}{site.url}" in error
        assert (await caller.post("tools/list", {})).status_code == 200
    assert site.requests == []


@pytest.mark.parametrize(
    ("tool", "arguments"), [("list_resources", LIST_FILES), ("delete_import", {"project_id": 1, "import_id": 104})]
)
async def test_the_advice_on_a_refused_session_suits_the_caller(site: Site, tool: str, arguments: Json) -> None:
    async with start_in_process(site, **MINE) as caller:
        caller.headers = {"Neptun-Session": seal("ended")}
        said = error_in(await caller.call(tool, arguments))
    assert said.startswith("Neptun refused the session: the cookie is expired or wrong.")
    assert ADVICE in said
    assert "NEPTUN_SESSION_COOKIE" not in said


async def test_the_session_in_the_environment_serves_everyone(site: Site) -> None:
    async with start_in_process(site, session_cookie=COOKIE) as caller:
        for session in (BOB_COOKIE, seal("ended")):
            caller.headers = {"Neptun-Session": session}
            assert content_in(await caller.call("list_resources", LIST_FILES))["total"] > 0
    assert set(site.cookies) == {COOKIE}


async def test_the_user_id_is_asked_for_once_per_caller(site: Site) -> None:
    async with start_in_process(site, **MINE) as caller:
        for _ in range(3):
            for session, project in ((COOKIE, 1), (BOB_COOKIE, 7)):
                caller.headers = {"Neptun-Session": session}
                content_in(await caller.call("list_resources", {**LIST_FILES, "project_id": project}))
    asked = [cookie for cookie, path in zip(site.cookies, site.requests, strict=True) if "_auth/session" in path]
    assert asked == [COOKIE, BOB_COOKIE]


async def test_no_session_is_in_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "neptun_mcp")
    sessions: list[Any] = [COOKIE, BOB_COOKIE, seal("ended")]
    async with start_in_process(site, **MINE) as caller:
        for session in sessions:
            caller.headers = {"Neptun-Session": session}
            await caller.call("list_resources", LIST_FILES)
    assert len([record for record in caplog.records if record.message == "call"]) == 3
    assert not any(session in caplog.text or session in str(caplog.records) for session in sessions)
