"""The schemas that hosts see, and what the tools say to arguments that do not fit them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from mcp.types import Tool
from pydantic_core import to_json

from neptun_mcp import Settings
from neptun_mcp.server import create_server
from neptun_mcp.tools import create_tools, misuse
from neptun_mcp.tools.tools import NeptunTool
from tests.support import RESOURCE_TYPES, WEBSHOP, ContractName, Host, Json

pytestmark = pytest.mark.anyio

SNAPSHOT = Path(__file__).parent / "snapshots" / "tools.json"
RENEW = "python -m tests.tools.test_schema"
REFUSED_BY_HOSTS = {"$ref", "$defs", "definitions", "anyOf", "oneOf", "allOf", "not", "const", "nullable", "title"}
SIZE = 6_672
"""Bytes of the tools in tools/list."""
SCALARS = {"string", "integer", "number", "boolean"}


async def published() -> list[Tool]:
    return await create_server(Settings()).list_tools()


def nodes(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every schema within a schema, with its path."""
    yield path, schema
    for name, node in schema.get("properties", {}).items():
        yield from nodes(node, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from nodes(schema["items"], f"{path}[]")


async def schemas() -> list[tuple[str, Json]]:
    """The input and the output schema of each tool, and all that is in them, with paths for messages."""
    roots: list[tuple[str, Json]] = []
    for tool in await published():
        assert tool.output_schema
        roots += [(f"{tool.name} input", tool.input_schema), (f"{tool.name} output", tool.output_schema)]
    return [(f"{root}{path}", node) for root, schema in roots for path, node in nodes(schema)]


async def offenders(is_fine: Callable[[str, Json], bool]) -> list[str]:
    return [path for path, node in await schemas() if not is_fine(path, node)]


# What hosts accept


async def test_schemas_are_valid_json_schema() -> None:
    for _, node in await schemas():
        Draft202012Validator.check_schema(node)


async def test_nothing_is_used_that_hosts_refuse() -> None:
    def is_fine(path: str, node: Json) -> bool:
        return (
            not REFUSED_BY_HOSTS & node.keys() and isinstance(node["type"], str) and node.get("default", 0) is not None
        )

    assert await offenders(is_fine) == []


async def test_every_root_is_an_object_with_properties() -> None:
    roots = [(tool, schema) for tool in await published() for schema in (tool.input_schema, tool.output_schema)]
    assert roots
    for _, schema in roots:
        assert schema
        assert schema["type"] == "object"
        assert schema["properties"]


async def test_arguments_are_closed() -> None:
    def is_fine(path: str, node: Json) -> bool:
        return node.get("additionalProperties") is (False if path.endswith("input") else None)

    assert await offenders(is_fine) == []


async def test_every_object_requires_what_it_has() -> None:
    def is_fine(path: str, node: Json) -> bool:
        return node["type"] != "object" or set(node.get("required", [])) <= node["properties"].keys()

    assert await offenders(is_fine) == []


async def test_every_property_is_of_one_known_type() -> None:
    def is_fine(path: str, node: Json) -> bool:
        return node["type"] in SCALARS | {"object", "array"}

    assert await offenders(is_fine) == []


async def test_every_argument_is_described_unless_its_name_says_all() -> None:
    def is_fine(path: str, node: Json) -> bool:
        return " input." not in path or bool(node.get("description")) or path.endswith(".resource_type")

    assert await offenders(is_fine) == []


async def test_every_array_says_what_is_in_it() -> None:
    def is_fine(path: str, node: Json) -> bool:
        return node["type"] != "array" or "type" in node["items"]

    assert await offenders(is_fine) == []


async def test_every_argument_is_scalar_and_what_is_wrong_with_it_is_for_the_server_to_say() -> None:
    """Hosts that check a limit themselves refuse 0, null and "1", which the server takes as they are meant."""

    def is_fine(path: str, node: Json) -> bool:
        bounds = {"minimum", "maximum", "maxLength", "minLength", "pattern"} & node.keys()
        return " input." not in path or (node["type"] in SCALARS and not bounds)

    assert await offenders(is_fine) == []


async def test_an_enum_is_of_its_type_and_inline() -> None:
    enums = {path: node["enum"] for path, node in await schemas() if "enum" in node}
    assert enums == {"list_resources input.resource_type": list(RESOURCE_TYPES)}


async def test_the_tools_take_few_tokens(host: Host, era: str) -> None:
    """Hosts put all tools into every conversation, and one of them the output schemas, too. This is the whole array."""
    host.era = era
    async with host.connected() as tools:
        listed = (await tools.client.list_tools()).tools
    assert len(to_json([tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed])) == SIZE
    assert SIZE <= 6_700
    without = [
        tool.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"output_schema"}) for tool in listed
    ]
    assert len(to_json(without)) / 3.5 <= 1_000  # about so many tokens


# The snapshot


async def test_the_published_tools_match_the_snapshot(host: Host, era: str) -> None:
    """A change of what hosts see is to be seen in review, too."""
    host.era = era
    async with host.connected() as tools:
        shown = as_snapshot((await tools.client.list_tools()).tools)
    before = SNAPSHOT.read_text("utf-8")
    difference = "\n".join(unified_diff(before.splitlines(), shown.splitlines(), "snapshot", "now", lineterm=""))
    assert not difference, f"What hosts see has changed. If that is meant, run {RENEW}\n{difference}"


def as_snapshot(tools: list[Tool]) -> str:
    fields = {"name", "title", "description", "input_schema", "output_schema", "annotations"}
    shown = [tool.model_dump(mode="json", include=fields, exclude_none=True) for tool in tools]
    return json.dumps(shown, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


# Results


async def test_every_result_matches_its_output_schema(host: Host, contract: ContractName) -> None:
    """With closed objects: no field comes back that the schema does not name."""
    host.site.sandbox(contract)
    calls: list[tuple[str, Json]] = [
        ("list_imports", {"limit": 2}),
        ("list_imports", {"query": "nothing like it"}),
        *(("list_resources", {"resource_type": resource_type}) for resource_type in RESOURCE_TYPES),
        ("list_resources", {"resource_type": "user-files", "resource_id": 6}),
        ("delete_import", {"import_id": 104}),
    ]
    async with host.connected() as tools:
        listed = {tool.name: tool.output_schema for tool in (await tools.client.list_tools()).tools}
        for tool, arguments in calls:
            result = await tools.gets(tool, project_id=WEBSHOP, **arguments)
            schema = listed[tool] or {}
            for _, node in nodes(schema):
                node |= {"additionalProperties": False} if node["type"] == "object" else {}
            validator: Any = Draft202012Validator(schema)
            assert validator.is_valid(result)


# Arguments

ID = "a whole number from 1 to 2147483647"
PROJECT_ID = f"project_id must be {ID}. A name goes into project."
IMPORT_ID = f"import_id must be {ID}. Pass one id that list_imports shows."
COUNT = "a whole number from -2147483647 to 2147483647"
TYPES = "user-files, template-collections, github-installations, chat-conversations"
WRONG: list[tuple[str, Json, str]] = [
    ("list_imports", {"limit": -1}, "limit must be a whole number from 1 to 100."),
    ("list_imports", {"limit": 101}, "limit must be a whole number from 1 to 100."),
    ("list_imports", {"limit": "many"}, "limit must be a whole number from 1 to 100."),
    ("list_imports", {"limit": 2.5}, "limit must be a whole number from 1 to 100."),
    ("list_imports", {"limit": True}, "limit must be a whole number from 1 to 100."),
    ("list_imports", {"limit": [1]}, "limit must be a whole number from 1 to 100."),
    ("list_imports", {"offset": -(2**31)}, f"offset must be {COUNT}."),
    ("list_imports", {"offset": False}, f"offset must be {COUNT}."),
    ("list_imports", {"project_id": -1}, PROJECT_ID),
    ("list_imports", {"project_id": 1.5}, PROJECT_ID),
    ("list_imports", {"project_id": 2**31}, PROJECT_ID),
    ("list_imports", {"project_id": 10**400}, PROJECT_ID),
    ("list_imports", {"project_id": "webshop"}, PROJECT_ID),
    ("list_imports", {"project_id": True}, PROJECT_ID),
    ("list_imports", {"project_id": {"id": 1}}, PROJECT_ID),
    ("list_imports", {"project_id": "../7"}, PROJECT_ID),
    ("list_imports", {"query": ["a"]}, "query must be text of at most 1000 characters."),
    ("list_imports", {"query": "a" * 1001}, "query must be text of at most 1000 characters."),
    ("list_imports", {"source_type": {}}, "source_type must be text of at most 100 characters."),
    ("list_resources", {}, f"resource_type must be one of {TYPES}."),
    ("list_resources", {"resource_type": None}, f"resource_type must be one of {TYPES}."),
    ("list_resources", {"resource_type": "files"}, f"resource_type must be one of {TYPES}."),
    ("list_resources", {"resource_type": "imports"}, f"resource_type must be one of {TYPES}."),
    ("list_resources", {"resource_type": 1}, f"resource_type must be one of {TYPES}."),
    (
        "list_resources",
        {"resource_type": "user-files", "resource_id": -1},
        f"resource_id must be {ID}. To find a resource by its name, pass query.",
    ),
    (
        "list_resources",
        {"resource_type": "user-files", "text_offset": -(2**31)},
        "text_offset must be a whole number from -2147483647 to 2147483647.",
    ),
    (
        "list_resources",
        {"resource_type": "user-files", "text_offset": 500},
        "text_offset goes with resource_id: pass both, or neither.",
    ),
    (
        "list_resources",
        {"resource_type": "user-files", "text_offset": -1, "limit": 0.5},
        "text_offset goes with resource_id: pass both, or neither.",
    ),
    (
        "list_resources",
        {"resource_type": "user-files", "project": " * ", "resource_id": 1},
        "resource_id goes with one project, which the list shows beside it. Pass that as project_id.",
    ),
    (
        "list_imports",
        {"project": "*", "project_id": 1},
        'project "*" means all projects, and project_id one. Pass one of the two.',
    ),
    (
        "delete_import",
        {"project": "*", "import_id": 104},
        "An import is deleted from one project, never from all. Nothing was deleted. Name the project.",
    ),
    (
        "list_resources",
        {"resource_type": "user-files", "query": "before:{words}"},
        'before: takes a day in the form YYYY-MM-DD, which "{words}" is not. '
        'To search for these characters as a text, put them in quotes: "before:…".',
    ),
    ("list_resources", {"resource_type": ""}, f"resource_type must be one of {TYPES}."),
    ("delete_import", {}, IMPORT_ID),
    ("delete_import", {"import_id": 0}, IMPORT_ID),
    ("delete_import", {"import_id": ""}, IMPORT_ID),
    ("delete_import", {"import_id": "all"}, IMPORT_ID),
    ("delete_import", {"import_id": "104,105"}, IMPORT_ID),
    ("delete_import", {"import_id": [104]}, IMPORT_ID),
    ("delete_import", {"import_id": True}, IMPORT_ID),
    (
        "list_resources",
        {"resource_type": "x", "limit": 101, "offset": "y"},
        f"resource_type must be one of {TYPES}; limit must be a whole number from 1 to 100; offset must be {COUNT}.",
    ),
    (
        "list_imports",
        {"projects": 1, "kind": "github"},
        'list_imports has no argument "projects", "kind". '
        "Its arguments are: project, project_id, source_type, query, limit, offset.",
    ),
    (
        "delete_import",
        {"import_id": 104, "force": True, "call": 1},
        'delete_import has no argument "force", "call". Its arguments are: import_id, project, project_id.',
    ),
    (
        "list_imports",
        {"bad\n\u202ename": 1},
        'list_imports has no argument "bad\\n\\u202ename". '
        "Its arguments are: project, project_id, source_type, query, limit, offset.",
    ),
]


@pytest.mark.parametrize(("tool", "arguments", "message"), WRONG)
async def test_a_wrong_argument_is_named_with_what_is_allowed(
    host: Host, tool: str, arguments: Json, message: str
) -> None:
    host.settings["project_id"] = WEBSHOP
    assert await host.fails(tool, **arguments) == message
    assert host.site.requests == []


READING = [tool for tool in create_tools() if not tool.changes_something]


@pytest.mark.parametrize("tool", READING, ids=lambda tool: tool.name)
def test_a_tool_that_only_reads_does_not_speak_of_deleting(tool: NeptunTool) -> None:
    for name in tool.parameters["properties"]:
        values: list[Any] = ["*", -1, True, {}, "x" * 2_000]
        for value in values:
            assert "delet" not in misuse(tool, {name: value})


async def test_wrong_arguments_are_named_in_the_older_era_too(host: Host) -> None:
    host.era = "2025-11-25"
    async with host.connected() as tools:
        for tool, arguments, message in WRONG[:3] + WRONG[-3:]:
            assert await tools.fails(tool, **arguments) == message


@pytest.mark.parametrize(
    "arguments",
    [
        {"project_id": "1", "limit": "2", "offset": "1"},
        {"project_id": 1.0, "limit": 2.0, "offset": 1.0},
        {"project_id": 1, "limit": 2, "offset": 1, "source_type": None, "query": None},
        {"project_id": 1, "limit": 2, "offset": 1, "source_type": "", "query": ""},
    ],
)
async def test_numbers_and_absent_values_are_accepted_as_hosts_send_them(host: Host, arguments: Json) -> None:
    page = await host.gets("list_imports", **arguments)
    assert [item["id"] for item in page["imports"]] == [106, 105]


NOTHING = (None, "", " ", 0, "0", 0.0)
"""What strict hosts send for an optional argument that was not given."""


@pytest.mark.parametrize("nothing", NOTHING)
async def test_what_stands_for_nothing_is_as_good_as_absent(host: Host, nothing: Any) -> None:
    host.settings["project_id"] = WEBSHOP
    async with host.connected() as tools:
        for tool in (await tools.client.list_tools()).tools:
            required = {"resource_type": "user-files", "import_id": 999}
            required = {name: required[name] for name in tool.input_schema.get("required", [])}
            optional = tool.input_schema["properties"].keys() - required
            texts = {"source_type", "query", "project"} if nothing in (0, "0") else set[str]()
            filled = {**required, **dict.fromkeys(optional - texts, nothing)}
            short, long = [await tools.client.call_tool(tool.name, given) for given in (required, filled)]
            assert long == short


async def test_zero_is_a_word_to_search_for(host: Host) -> None:
    page = await host.gets("list_imports", project_id=1, query=0)
    assert [item["id"] for item in page["imports"]] == [102]


@pytest.mark.parametrize("query", [10, "10", 10.5])
async def test_a_number_to_search_for_is_text(host: Host, query: Any) -> None:
    page = await host.gets("list_imports", project_id=1, query=query)
    assert [item["id"] for item in page["imports"]] == ([102] if query in (10, "10") else [])


if __name__ == "__main__":
    import anyio

    SNAPSHOT.write_text(as_snapshot(anyio.run(published)), "utf-8")
