"""A connection may ask for less than the server allows, by its address, and a person may allow less by signing in."""

from __future__ import annotations

from functools import partial

import pytest

from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from neptun_mcp.tools import create_tools
from tests.serving.support import DELETE_IMPORT, Caller, start_in_process
from tests.sign_in.support import sign_in_server
from tests.support import Json, Site

pytestmark = pytest.mark.anyio

start = partial(start_in_process, session_cookie=COOKIE)
IMPORTS: Json = {"name": "list_imports", "arguments": {}}
DELETE: Json = {"name": "delete_import", "arguments": DELETE_IMPORT}


async def tools_of(caller: Caller, query: str = "") -> dict[str, Json]:
    """The arguments of the tools, by name."""
    answer = (await caller.post("tools/list", {}, f"/mcp{query}")).json()
    return {tool["name"]: tool["inputSchema"]["properties"] for tool in answer["result"]["tools"]}


def has_deleted(site: Site) -> bool:
    return any(request.startswith("DELETE") for request in site.requests)


@pytest.mark.parametrize("era", ["2025-11-25", "2026-07-28"])
async def test_an_address_can_take_deletion_away(site: Site, era: str) -> None:
    async with start(site) as caller:
        caller.era = era
        reading = [tool.name for tool in create_tools() if not tool.changes_something]
        assert list(await tools_of(caller, "?read_only=1")) == reading
        refused = await caller.post("tools/call", DELETE, "/mcp?read_only=1")
        assert "its address says read_only=1" in refused.text
        assert "delete_import" in await tools_of(caller)
    assert not has_deleted(site)


@pytest.mark.parametrize("era", ["2025-11-25", "2026-07-28"])
async def test_an_address_can_choose_one_project(site: Site, era: str) -> None:
    async with start(site) as caller:
        caller.era = era
        for arguments in (await tools_of(caller, "?project_id=3")).values():
            assert {"project", "project_id"}.isdisjoint(arguments)
        listed = await caller.post("tools/call", IMPORTS, "/mcp?project_id=3")
        assert listed.json()["result"]["structuredContent"]["project_id"] == 3
        other = {"name": "list_imports", "arguments": {"project_id": 1}}
        refused = await caller.post("tools/call", other, "/mcp?project_id=3")
        assert "This connection is for project" in refused.text


@pytest.mark.parametrize(
    "query",
    [
        *("readonly=1", "read_only", "read_only=", "read_only=0", "read_only=true", "read_only=1&read_only=1"),
        *("project_id=0", "project_id=-1", "project_id=1.5", "project_id=x", "project_id=2147483648"),
        *("project_id=1&project_id=2", "project=1", "x=1", "read_only=1&debug=1", "%00=1", "project_id=%EF%BC%91"),
    ],
)
async def test_an_address_that_is_not_understood_means_nothing(site: Site, query: str) -> None:
    async with start(site) as caller:
        refused = await caller.post("tools/call", IMPORTS, f"/mcp?{query}")
        assert refused.status_code == 400
        assert "takes read_only=1 and project_id=NUMBER" in refused.text
    assert site.requests == []


async def test_a_session_keeps_what_it_began_with(site: Site) -> None:
    async with start(site) as caller:
        caller.era = "2025-11-25"
        opening = {
            "protocolVersion": caller.era,
            "capabilities": caller.capabilities,
            "clientInfo": {"name": "test", "version": "1"},
        }
        caller.headers = {"Accept": "application/json, text/event-stream"}
        begun = await caller.post("initialize", opening, "/mcp?read_only=1")
        caller.headers = {**caller.headers, "Mcp-Session-Id": begun.headers["mcp-session-id"]}
        assert "its address says read_only=1" in (await caller.post("tools/call", DELETE, "/mcp?read_only=1")).text
        for path in ("/mcp", "/mcp?project_id=1"):
            assert (await caller.post("tools/call", DELETE, path)).status_code == 404
    assert not has_deleted(site)


async def test_an_address_takes_from_what_a_person_allowed(site: Site) -> None:
    async with sign_in_server(site) as server:
        caller = server.caller(await server.tokens(email=EMAIL, password=PASSWORD, access="delete"))
        assert "delete_import" in await tools_of(caller)
        assert "delete_import" not in await tools_of(caller, "?read_only=1")
