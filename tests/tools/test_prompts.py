"""What a person can start with a command of the host."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS, TextContent

from tests.support import Host

pytestmark = pytest.mark.anyio


async def test_imports_can_be_tidied(host: Host, era: str) -> None:
    host.era = era
    async with host.connected() as tools:
        (prompt,) = (await tools.client.list_prompts()).prompts
    assert (prompt.name, prompt.title) == ("tidy_imports", "Tidy imports")
    (argument,) = prompt.arguments or []
    assert (argument.name, argument.required) == ("project_id", False)


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [
        (None, "Help me tidy the imports of one of my projects in Neptun. Today is "),
        ({}, "Help me tidy the imports of one of my projects in Neptun. Today is "),
        ({"project_id": ""}, "Help me tidy the imports of one of my projects in Neptun. Today is "),
        ({"project_id": "*"}, "Help me tidy the imports of all my projects in Neptun. Today is "),
        ({"project_id": " 3 "}, "Help me tidy the imports of project 3 in Neptun. Today is "),
        ({"project_id": "web\nshop"}, 'Help me tidy the imports of project "web\\nshop" in Neptun. Today is '),
    ],
)
async def test_the_prompt_says_what_to_find_and_to_ask_before_each_deletion(
    host: Host, era: str, arguments: Any, begins: str
) -> None:
    host.era = era
    async with host.connected() as tools:
        (message,) = (await tools.client.get_prompt("tidy_imports", arguments)).messages
        names = [tool.name for tool in (await tools.client.list_tools()).tools]
    assert isinstance(message.content, TextContent)
    text = message.content.text
    assert text.startswith(begins)
    assert all(word in text for word in ("status:failed", "status:pending", "is:duplicate", "at most 20", "one by one"))
    assert {word.rstrip(",") for word in text.split() if "_import" in word} <= {*names}


@pytest.mark.parametrize("project", ["*", "webshop", "1", "", 'a "b"'])
async def test_the_calls_that_the_prompt_asks_for_work_as_they_are_written(host: Host, project: str) -> None:
    async with host.connected() as tools:
        (message,) = (await tools.client.get_prompt("tidy_imports", {"project_id": project})).messages
        assert isinstance(message.content, TextContent)
        text = message.content.text
        assert f"Today is {datetime.now(timezone.utc):%Y-%m-}" in text
        named = re.search(r"list_imports with (project|project_id) (\S+) three", text)
        arguments = {named[1]: json.loads(named[2])} if named else {}
        assert bool(named) is (project in ("*", "webshop", "1"))
        if named:
            totals = [
                (await tools.gets("list_imports", **arguments, query=query, limit=20))["total"]
                for query in ("status:failed", "status:pending", "is:duplicate")
            ]
            assert totals == ([2, 2, 0] if project == "*" else [2, 1, 0])


async def test_read_only_mode_has_no_prompt_to_delete(host: Host) -> None:
    host.settings["read_only"] = True
    async with host.connected() as tools:
        assert (await tools.client.list_prompts()).prompts == []


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("tidy", {}, 'There is no prompt "tidy". The prompts are: tidy_imports.'),
        ("tidy_imports", {"projekt": "1"}, 'tidy_imports has no argument "projekt". Its arguments are: project_id'),
    ],
)
async def test_what_does_not_exist_is_refused_in_words(
    host: Host, era: str, name: str, arguments: dict[str, str], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    host.era = era
    async with host.connected() as tools:
        with pytest.raises(MCPError) as refused:
            await tools.client.get_prompt(name, arguments)
    assert refused.value.error.code == INVALID_PARAMS
    assert refused.value.error.message.startswith(words)
    assert caplog.text == ""
