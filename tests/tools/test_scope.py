"""A connection that may do less: what is outside its scope is not there, and is never named."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError

from neptun_mcp.account import create_client
from neptun_mcp.server import build_server
from neptun_mcp.tools.context import Scope, Shared
from neptun_mcp.tools.middleware import CHOOSING, DELETING
from neptun_mcp.tools.pages import Pages
from tests.support import ORDERS, WEBSHOP, YES, Person, Site, content_of, error_of, settings_for

pytestmark = pytest.mark.anyio

LOOK_UP_ONLY = Scope(no_deletion="This connection is for looking up only. Add the server again without read_only=1.")


@asynccontextmanager
async def connected(
    site: Site, scope: Scope, person: Person | None = None, mode: str = "auto", **settings: Any
) -> AsyncGenerator[Client]:
    neptun = create_client(settings_for(site.url))

    @asynccontextmanager
    async def lifespan(server: MCPServer[Any]) -> AsyncGenerator[Shared]:
        yield Shared(lambda _: neptun, Pages(2**20), scope_for=lambda _: scope, **settings)

    server = build_server(lifespan)
    async with neptun, Client(server, mode=mode, elicitation_callback=person) as client:
        yield client


async def test_where_nothing_is_deleted_there_is_nothing_to_delete_with(site: Site) -> None:
    async with connected(site, LOOK_UP_ONLY) as client:
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in (await client.list_tools()).tools)
        assert (await client.list_prompts()).prompts == []
        refused = await client.call_tool("delete_import", {"import_id": 104, "project_id": WEBSHOP})
        assert error_of(refused) == f"{LOOK_UP_ONLY.no_deletion} Nothing was deleted."
        with pytest.raises(MCPError, match="looking up only"):
            await client.get_prompt("tidy_imports")
        assert content_of(await client.call_tool("list_imports", {"project_id": WEBSHOP}))["total"] == 7
    assert not any(request.startswith("DELETE") for request in site.requests)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(
    ("scope", "lacks"),
    [
        (Scope(), []),
        (LOOK_UP_ONLY, [DELETING]),
        (Scope(project_id=ORDERS), [CHOOSING]),
        (Scope(project_id=ORDERS, no_deletion="Not here."), [DELETING, CHOOSING]),
    ],
)
async def test_the_instructions_promise_no_more_than_there_is(
    site: Site, scope: Scope, lacks: list[str], mode: str
) -> None:
    async with connected(site, scope, mode=mode) as client:
        assert [words for words in (DELETING, CHOOSING) if words not in (client.instructions or "")] == lacks


async def test_the_one_project_of_a_connection_cannot_be_chosen(site: Site) -> None:
    async with connected(site, Scope(project_id=ORDERS)) as client:
        for tool in (await client.list_tools()).tools:
            assert {"project", "project_id"}.isdisjoint(tool.input_schema["properties"])
        (prompt,) = (await client.list_prompts()).prompts
        assert {"project", "project_id"}.isdisjoint(argument.name for argument in prompt.arguments or ())
        assert f"project {ORDERS}" in str((await client.get_prompt("tidy_imports")).messages)
        for arguments in ({}, {"project_id": None}, {"project_id": 0}, {"project_id": str(ORDERS)}):
            listed = content_of(await client.call_tool("list_imports", arguments))
            assert listed["project_id"] == ORDERS


@pytest.mark.parametrize(
    ("scope", "settings", "says_all", "says_asked"),
    [
        (Scope(), {}, True, True),
        (Scope(project_id=ORDERS), {"confirm_delete": "require"}, False, True),
        (Scope(), {"confirm_delete": "off"}, True, False),
        (Scope(always_ask=True), {"confirm_delete": "off"}, True, True),
    ],
)
async def test_the_descriptions_promise_no_more_than_there_is(
    site: Site, scope: Scope, settings: dict[str, Any], says_all: bool, says_asked: bool
) -> None:
    async with connected(site, scope, **settings) as client:
        described = {tool.name: tool.description or "" for tool in (await client.list_tools()).tools}
    assert ("or of all" in described["list_imports"], "or of all" in described["list_resources"]) == (says_all,) * 2
    assert ("is asked first" in described["delete_import"]) is says_asked


@pytest.mark.parametrize(
    "arguments",
    [
        {"project_id": WEBSHOP},
        {"project": "webshop"},
        {"project": "*"},
        {"project": "*", "project_id": ORDERS},
        {"project_id": WEBSHOP, "project": str(ORDERS)},
    ],
)
async def test_another_project_is_refused(site: Site, arguments: dict[str, Any]) -> None:
    async with connected(site, Scope(project_id=ORDERS)) as client:
        name = next(iter(arguments))
        words = (
            f"This connection is for project {ORDERS} alone. Call list_imports without {name} if that project is meant."
        )
        assert error_of(await client.call_tool("list_imports", arguments)) == words
    assert site.requests == []


async def test_no_other_project_is_named(site: Site) -> None:
    async with connected(site, Scope(project_id=ORDERS)) as client:
        assert "webshop" not in error_of(await client.call_tool("delete_import", {"import_id": 104}))
    async with connected(site, Scope(project_id=99)) as client:
        assert error_of(await client.call_tool("list_imports", {})) == (
            "There is no project 99, or it is not yours. This connection is for that project alone: correct its "
            "address in your host."
        )


async def test_whoever_wants_to_be_asked_is_asked_whatever_is_set(site: Site) -> None:
    delete_104 = {"import_id": 104, "project_id": WEBSHOP}
    async with connected(site, Scope(always_ask=True), confirm_delete="off") as client:
        assert "allowed deletions only after being asked" in error_of(
            await client.call_tool("delete_import", delete_104)
        )
    assert not any(request.startswith("DELETE") for request in site.requests)
    person = Person(YES)
    async with connected(site, Scope(always_ask=True), person, confirm_delete="off") as client:
        assert content_of(await client.call_tool("delete_import", delete_104))["deleted"]
    assert len(person.questions) == 1
