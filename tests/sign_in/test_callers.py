"""Whose account it is when people sign in, with the SDK's own OAuth client, over one process and over two."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2 as httpx
import pytest
from mcp.client.auth import OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from neptun_mcp import Settings
from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from neptun_mcp.sandbox.state import User
from neptun_mcp.serving.http import build_asgi_app
from neptun_mcp.tools import create_tools
from tests.processes import environment
from tests.running_neptun import BOB_COOKIE, NEWSLETTER
from tests.serving.nginx import behind_nginx
from tests.serving.support import (
    AGREED,
    ASKABLE,
    DELETE_IMPORT,
    LIST_FILES,
    LIST_IMPORTS,
    Caller,
    HeldNeptun,
    content_in,
    error_in,
    free_port,
    worker,
)
from tests.sign_in.browser import REDIRECT, Browser
from tests.sign_in.support import SIGN_IN, sign_in_server
from tests.support import ERAS, PATIENCE, YES, Json, Person, Site, content_of, failure, resources, until

pytestmark = pytest.mark.anyio


@dataclass
class SignsIn:
    """A person with a browser, and the SDK's OAuth client, which keeps what it is given in memory.

    Attributes:
        email: the person's.
        password: the person's.
        times: how often the person signed in.
        served: the address of the server behind nginx that answered, for each answer.
    """

    email: str
    password: str
    times: int = 0
    served: list[str] = field(default_factory=list[str])
    tokens: OAuthToken | None = None
    registration: OAuthClientInformationFull | None = None
    _answer: httpx.Response | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.registration

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.registration = client_info

    async def open_browser(self, url: str) -> None:
        self.times += 1
        http = httpx.AsyncClient(base_url=url.partition("/authorize")[0], verify=False, event_hooks=self._hooks)
        async with http:
            browser = Browser(http)
            page = await browser.open(url)
            self._answer = await browser.submit(page, email=self.email, password=self.password, access="delete")

    async def come_back(self) -> AuthorizationCodeResult:
        assert self._answer is not None
        location = urlsplit(self._answer.headers["location"])
        assert location._replace(query="").geturl() == REDIRECT
        brought = {name: values[0] for name, values in parse_qs(location.query).items()}
        return AuthorizationCodeResult(code=brought["code"], state=brought["state"], iss=brought["iss"])

    async def _remember(self, response: httpx.Response) -> None:
        self.served.append(response.headers.get("x-served-by", ""))

    @property
    def _hooks(self) -> Json:
        return {"response": [self._remember]}

    @asynccontextmanager
    async def connected(
        self, url: str, person: Person | None = None, mode: str = "2026-07-28"
    ) -> AsyncGenerator[Client]:
        metadata = OAuthClientMetadata(
            client_name="The SDK's client", redirect_uris=[AnyUrl(REDIRECT)], token_endpoint_auth_method="none"
        )
        auth = OAuthClientProvider(f"{url}/mcp", metadata, self, self.open_browser, self.come_back)
        http = httpx.AsyncClient(auth=auth, verify=False, event_hooks=self._hooks)
        async with (
            http,
            Client(
                streamable_http_client(f"{url}/mcp", http_client=http),
                mode=mode,
                elicitation_callback=person,
            ) as client,
        ):
            yield client


def alice() -> SignsIn:
    return SignsIn(EMAIL, PASSWORD)


async def test_the_sdks_client_signs_in_once(site: Site) -> None:
    me = alice()
    async with sign_in_server(site) as server, me.connected(server.url) as client:
        for _ in range(2):
            assert content_of(await client.call_tool("list_imports", LIST_IMPORTS))["total"] == 7
    assert me.times == 1


@pytest.mark.parametrize("era", ERAS)
async def test_whose_session_has_ended_signs_in_again(site: Site, era: str) -> None:
    me, store = alice(), site.sandbox()
    async with sign_in_server(site) as server, me.connected(server.url, mode=ERAS[era]) as client:
        for times in (1, 2):
            assert content_of(await client.call_tool("list_imports", LIST_IMPORTS))["total"] == 7
            assert me.times == times
            store.sessions.clear()


@pytest.mark.slow
async def test_three_people_take_turns_at_two_processes(site: Site, tmp_path: Path) -> None:
    store, port = site.sandbox(), free_port()
    carol = User(3, "carol@example.com", "Passw0rd!carol")
    store.users.append(carol)
    newsletter = next(project for project in store.projects if project["id"] == NEWSLETTER)
    store.projects.append({**newsletter, "id": 8, "name": "recipes", "neptun_user_id": carol.id})
    people = {
        1: alice(),
        NEWSLETTER: SignsIn("bob@example.com", "Passw0rd!bob"),
        8: SignsIn(carol.email, carol.password),
    }
    url = f"http://127.0.0.1:{port}"
    env = environment(base_url=site.url, mcp_public_url=url, **SIGN_IN)
    agreeable = Person(YES)
    async with (
        worker(tmp_path / "one.log", env) as (one, _),
        worker(tmp_path / "two.log", env) as (two, _),
        behind_nginx(tmp_path, one, two, port),
        people[1].connected(url, agreeable) as alices,
        people[NEWSLETTER].connected(url) as bobs,
        people[8].connected(url) as carols,
    ):
        clients = {1: alices, NEWSLETTER: bobs, 8: carols}
        for _ in range(3):
            for mine, client in clients.items():
                for project in clients:
                    result = await client.call_tool("list_imports", {"project_id": project})
                    assert result.is_error == (project != mine)
                    assert f"There is no project {project}" in str(result) or project == mine
        assert content_of(await alices.call_tool("delete_import", DELETE_IMPORT))["deleted"]
    assert len(agreeable.questions) == len(site.deletions()) == 1
    lines = (tmp_path / "one.log").read_text() + (tmp_path / "two.log").read_text()
    assert set(re.findall(r"neptun_mcp.calls: .* caller=user-(\d+)", lines)) == {"1", "2", "3"}
    for me in people.values():
        assert me.times == 1
        assert len(set(me.served)) == 2, "the steps of each sign-in, and the calls, were at both"
        assert me.tokens is not None
        for secret in (me.email, me.password, me.tokens.access_token, me.tokens.refresh_token or ""):
            assert secret not in lines


async def test_who_has_no_valid_token_is_told_where_to_sign_in(site: Site) -> None:
    async with sign_in_server(site) as server:
        tokens = await server.tokens()
        others = (tokens["refresh_token"], await server.code(cookie=COOKIE), COOKIE)
        site.requests.clear()
        good = tokens["access_token"]
        given = ("", "Bearer", good, f"Basic {good}", f"Bearer {good} {good}", *(f"Bearer {other}" for other in others))
        for headers in ({}, *({"Authorization": value} for value in given)):
            refused = await Caller(server.url, server.app.http, headers).post("tools/list", {})
            challenge, body = refused.headers["www-authenticate"], refused.json()
            assert (refused.status_code, body["error"]) == (401, "invalid_token")
            # RFC 6750, 3.1: without a token there is no error.
            assert ('error="invalid_token"' in challenge) == bool(headers)
            again = " again" if headers else ""
            assert body["error_description"].endswith(f"Sign in to this server{again}, from your host.")
            (described,) = re.findall(r'resource_metadata="(.*?)"', challenge)
            assert (await server.app.http.get(described)).json()["resource"] == f"{server.url}/mcp"
        for first, second in ((f"Bearer {good}", "Bearer another"), ("Bearer", good)):
            message = Caller(server.url, server.app.http, {"Authorization": first}).message("tools/list", {})
            message["headers"] = [*message["headers"].items(), ("Authorization", second)]
            assert (await server.app.http.post("/mcp", **message)).status_code == 401, "two headers"
    assert site.requests == []


def test_what_people_sign_in_by_is_complete_and_without_contradictions(site: Site) -> None:
    complete: Json = {**SIGN_IN, "mcp_public_url": "https://mcp.example.com", "base_url": site.url}
    for name, value, words in (
        ("mcp_public_url", None, "^NEPTUN_MCP_PUBLIC_URL is not set. .* needs the address by which people reach it"),
        ("mcp_state_key", None, "^NEPTUN_MCP_STATE_KEY is not set. .* needs a key "),
        ("mcp_token", "bearer-token-" * 3, "NEPTUN_MCP_TOKEN and NEPTUN_MCP_TOKEN_FILE do not go with"),
        ("mcp_credentials", "caller", "NEPTUN_MCP_PUBLIC_URL goes with NEPTUN_MCP_CREDENTIALS=sign-in"),
    ):
        given: Json = {**complete, name: value}
        with pytest.raises(ValueError, match=words):
            build_asgi_app(Settings(**given), "127.0.0.1")


async def test_the_allowed_host_is_that_of_the_public_address(site: Site) -> None:
    async with sign_in_server(site, mcp_allowed_hosts="mcp.internal") as server:
        caller = server.caller(await server.tokens())
        for host, status in (("127.0.0.1", 200), ("127.0.0.1:8000", 200), ("mcp.internal", 200), ("localhost", 421)):
            caller.headers = {**caller.headers, "Host": host}
            assert (await caller.post("tools/list", {})).status_code == status, host


async def test_other_failures_are_messages(site: Site) -> None:
    async with sign_in_server(site) as server:
        caller = server.caller(await server.tokens())
        assert "There is no project 9" in error_in(await caller.call("list_imports", {"project_id": 9}))
        site.answers[f"GET {resources(1, 'user-files')}"] = failure(500)
        assert "failed on its side" in error_in(await caller.call("list_resources", LIST_FILES))


async def test_an_answer_counts_for_who_was_asked_in_their_application(site: Site) -> None:
    async with sign_in_server(site) as server:
        tokens = await server.tokens(cookie=COOKIE, access="delete")
        asked = (await server.caller(tokens).call("delete_import", DELETE_IMPORT))["result"]["requestState"]

        async def answered(tokens: Json) -> Json:
            return await server.caller(tokens).call(
                "delete_import", DELETE_IMPORT, inputResponses=AGREED, requestState=asked
            )

        renewed = (await server.app.refresh(tokens["refresh_token"])).json()
        bobs = await server.tokens(cookie=BOB_COOKIE, access="delete")
        await server.app.register()
        elsewhere = await server.tokens(cookie=COOKIE, access="delete")
        for others in (bobs, elsewhere):
            assert (await answered(others))["error"]["data"] == {"reason": "invalid_request_state"}
        assert site.deletions() == []
        assert content_in(await answered(renewed))["deleted"]


@pytest.mark.parametrize("confirm_delete", ["off", "ask", "require"])
async def test_nothing_is_deleted_that_the_person_did_not_allow(site: Site, confirm_delete: str) -> None:
    async with sign_in_server(site, confirm_delete=confirm_delete) as server:
        for access in ("look-up", "delete"):
            caller = server.caller(await server.tokens(cookie=COOKIE, access=access))
            listed = [tool["name"] for tool in (await caller.post("tools/list", {})).json()["result"]["tools"]]
            assert listed == [tool.name for tool in create_tools() if access == "delete" or not tool.changes_something]
            # Nobody is asked where nothing may be deleted; and where it may, a host that cannot ask deletes nothing.
            caller.capabilities = {}
            said = error_in(await caller.call("delete_import", DELETE_IMPORT))
            assert ("This sign-in is for looking up only." in said) == (access == "look-up")
        caller.capabilities = ASKABLE
        assert (await caller.call("delete_import", DELETE_IMPORT))["result"]["resultType"] == "input_required"
    assert site.deletions() == []


async def test_strangers_at_the_door_leave_connections_to_callers(site: Site) -> None:
    async with sign_in_server(site, max_connections=4, timeout=PATIENCE) as server:
        caller = server.caller(await server.tokens(cookie=COOKIE))
        page, neptun = await server.page(), HeldNeptun(site, "/login")
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(partial(server.browser.submit, page, email=f"{number}@example.com", password="x"))
            await until(lambda: neptun.held > 0)
            assert content_in(await caller.call("list_imports", LIST_IMPORTS))["total"] == 7
            neptun.released = True
    assert neptun.most == 1
