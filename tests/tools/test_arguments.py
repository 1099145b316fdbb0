"""Arguments as hosts send them, in each protocol era, on stdio and over HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from neptun_mcp.tools import create_tools
from tests.processes import start_stdio
from tests.serving.support import Caller, start_in_process
from tests.support import COOKIE, ERAS, WEBSHOP, Json, Site, http_client

pytestmark = pytest.mark.anyio

Call: TypeAlias = Callable[[str, Any], Awaitable[Json]]
"""Takes a tool and whatever stands for its arguments; returns the result."""

FIRST_TWO = [
    '{"project_id": 1, "limit": 2}',
    ' {"project_id": "1", "limit": "2", "query": ""} ',
    '{"limit": 2}',
    {"limit": 2},
]
NONE: list[Any] = [None, [], "", " ", "{}", "[]", "null", {}]
NEITHER: list[Any] = [
    "many",
    "{'limit': 2}",
    '{"limit": 2',
    "[1]",
    '"{}"',
    "2",
    [1],
    [{"limit": 2}],
    2,
    True,
    "[" * 9_999,
]
WANTED = "The arguments of list_imports must be a JSON object. Pass none as {}."


@asynccontextmanager
async def over_http(site: Site, tmp_path: Path, era: str) -> AsyncGenerator[Call]:
    async with start_in_process(site, session_cookie=COOKIE, project_id=WEBSHOP) as caller:
        caller.era = era

        async def call(tool: str, arguments: Any) -> Json:
            return (await caller.call(tool, arguments))["result"]

        yield call


@asynccontextmanager
async def on_stdio(site: Site, tmp_path: Path, era: str) -> AsyncGenerator[Call]:
    async with start_stdio(tmp_path / "stderr", base_url=site.url, session_cookie=COOKIE, project_id="1") as server:
        if era < "2026":
            await server.initialize()
        envelope = Caller("", http=http_client(), era=era)

        async def call(tool: str, arguments: Any) -> Json:
            message = envelope.message("tools/call", {"name": tool, "arguments": arguments})["json"]
            await server.request("tools/call", message["params"])
            return (await server.message())["result"]

        yield call


@pytest.mark.parametrize(
    ("connected", "era"),
    [*((over_http, era) for era in ERAS), pytest.param(on_stdio, "2025-11-25", marks=pytest.mark.slow)],
)
async def test_arguments_are_an_object_or_the_json_of_one(
    site: Site, tmp_path: Path, connected: Callable[..., Any], era: str
) -> None:
    async with connected(site, tmp_path, era) as call:
        for arguments in FIRST_TWO:
            page = (await call("list_imports", arguments))["structuredContent"]
            assert [item["id"] for item in page["imports"]] == [107, 106]
        for arguments in NONE:
            assert (await call("list_imports", arguments))["structuredContent"]["total"] == 7
        for arguments in NEITHER:
            result = await call("list_imports", arguments)
            assert result["isError"] is True
            assert result["content"] == [{"type": "text", "text": WANTED}]
        wrong = await call("delete_import", "")
        assert wrong["content"][0]["text"] == (
            "import_id must be a whole number from 1 to 2147483647. Pass one id that list_imports shows."
        )
        unknown = await call("list_import", {})
        names = [tool.name for tool in create_tools()]
        assert unknown["content"][0]["text"] == (f'There is no tool "list_import". The tools are: {", ".join(names)}.')
