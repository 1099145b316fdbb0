"""However much Neptun holds, the result of every tool fits, and can be shown in a terminal."""

from __future__ import annotations

from itertools import cycle, product
from typing import Any

import pytest

from neptun_mcp.commands.console import render
from neptun_mcp.sandbox.state import Record, Store
from neptun_mcp.tools import create_tools
from tests.support import MAX_BYTES, RESOURCE_TYPES, WEBSHOP, Host, Json

pytestmark = pytest.mark.anyio

SCRIPTS = ("x", '"', "\\", "\n", "\x00", "\x1b[31m", "ß", "чай", "你好", "🍵", "👩‍👩‍👧", "﷽", "\u202e", "a b ")
LARGE = [script * (length // len(script)) for length, script in product((25_000, 2_500, 200), SCRIPTS)]
"""The texts of the newest records, one text for all fields of a record."""

UNCHANGED = ("_at", "id", "_type", "_uuid")
"""How the names of fields end that hold no text of a person."""


def enlarged(records: list[Record], count: int) -> list[Record]:
    """Copies with the ids from 1 to `count`. The first are large, and newer than the others."""
    copies = [{**record, "id": id} for record, id in zip(cycle(records), range(1, count + 1), strict=False)]
    for copy, text in zip(copies, LARGE, strict=False):
        copy.update({name: text for name, value in copy.items() if is_text(value) and not name.endswith(UNCHANGED)})
        copy["created_at"] = "2027-01-01T00:00:00.000Z"
    return copies


def is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def enlarge(store: Store) -> None:
    store.imports[:] = enlarged([record for record in store.imports if record["project_id"] == WEBSHOP], 1_000)
    for resource_type in RESOURCE_TYPES:
        store.resources[WEBSHOP, resource_type] = enlarged(store.resources[WEBSHOP, resource_type], 500)


PAGES: list[Json] = [{}, {"limit": 100}, {"limit": 100, "offset": len(LARGE)}, {"query": "你"}]
ONE_EACH = range(1, len(SCRIPTS) + 1)
LISTS: list[tuple[str, Json]] = [
    *(("list_imports", page) for page in PAGES),
    *(("list_resources", {"resource_type": type, **page}) for type in RESOURCE_TYPES for page in PAGES),
    *(("list_resources", {"resource_type": "user-files", "resource_id": id}) for id in ONE_EACH),
]
DELETIONS: list[tuple[str, Json]] = [("delete_import", {"import_id": id}) for id in ONE_EACH]


async def test_every_result_fits_and_can_be_shown_in_a_terminal(host: Host) -> None:
    store = host.site.neptun.store
    enlarge(store)
    async with host.connected() as tools:
        for tool, arguments in LISTS:
            render(await tools.gets(tool, project_id=WEBSHOP, **arguments))
        del store.imports[len(LARGE) :]  # a deletion looks at all of them
        for tool, arguments in DELETIONS:
            render(await tools.gets(tool, project_id=WEBSHOP, **arguments))


def test_every_tool_is_called() -> None:
    assert {tool for tool, _ in LISTS + DELETIONS} == {tool.name for tool in create_tools()}


def test_a_result_is_no_longer_than_hosts_show() -> None:
    """Copilot CLI puts a longer one into a file."""
    assert MAX_BYTES <= 20_000
