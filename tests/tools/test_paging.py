"""A page costs a page: what reaches Neptun while a list, or a long file, is read to its end."""

from __future__ import annotations

import pytest

from neptun_mcp.sandbox import BOB_COOKIE, COOKIE
from neptun_mcp.sandbox.state import Store
from tests.support import WEBSHOP, YES, ContractName, Host, Json, Person, Tools, failure, ids, resources

pytestmark = pytest.mark.anyio

IMPORTS = f"GET {resources(WEBSHOP, 'imports')}"
FILES = f"GET {resources(WEBSHOP, 'user-files')}"


async def pages_of(tools: Tools, tool: str, name: str, **arguments: object) -> list[Json]:
    """The items of all pages, in order."""
    page = await tools.gets(tool, **arguments)
    items = page[name]
    while "next_offset" in page:
        page = await tools.gets(tool, **arguments, offset=page["next_offset"])
        items += page[name]
    return items


async def test_later_pages_ask_neptun_nothing(host: Host, contract: ContractName) -> None:
    host.site.sandbox(contract)
    async with host.connected() as tools:
        await tools.gets("list_imports", project_id=WEBSHOP, limit=2)
        asked = len(host.site.requests)
        for offset in (2, 4, 6, 0, 2):
            page = await tools.gets("list_imports", project_id=WEBSHOP, limit=2, offset=offset)
            assert ids(page["imports"]) == [107, 106, 105, 104, 103, 102, 101][offset : offset + 2]
            if offset == 0:
                assert len(host.site.requests) > asked
                asked = len(host.site.requests)
            assert len(host.site.requests) == asked


async def test_a_list_that_changes_meanwhile_is_seen_once_and_whole(host: Host) -> None:
    store = host.site.sandbox()
    async with host.connected() as tools:
        page = await tools.gets("list_imports", project_id=WEBSHOP, limit=3)
        seen = ids(page["imports"])
        store.imports.insert(0, {**store.imports[0], "id": 999, "created_at": "2027-01-01T00:00:00.000Z"})
        store.imports[:] = [record for record in store.imports if record["id"] != 104]
        while "next_offset" in page:
            page = await tools.gets("list_imports", project_id=WEBSHOP, limit=3, offset=page["next_offset"])
            seen += ids(page["imports"])
        assert seen == [107, 106, 105, 104, 103, 102, 101]
        now = await pages_of(tools, "list_imports", "imports", project_id=WEBSHOP, limit=3)
        assert ids(now) == [999, 107, 106, 105, 103, 102, 101]


@pytest.mark.parametrize("contract", ["observed", "documented"])
async def test_the_parts_of_a_long_file_come_from_one_request(host: Host, contract: ContractName) -> None:
    store = host.site.sandbox(contract)
    (file,) = (record for record in store.resources[WEBSHOP, "user-files"] if record["id"] == 1)
    file["text"] = "".join(f"line {number}\n" for number in range(10_000))
    arguments = {"project_id": WEBSHOP, "resource_type": "user-files", "resource_id": 1}
    async with host.connected() as tools:
        (shown,) = (await tools.gets("list_resources", **arguments))["resources"]
        text, asked = shown["text"], len(host.site.requests)
        while "next_text_offset" in shown:
            page = await tools.gets("list_resources", **arguments, text_offset=shown["next_text_offset"])
            (shown,) = page["resources"]
            text += shown["text"]
        assert text == file["text"]
        await tools.gets("list_resources", **arguments, text_offset=-100)
        assert len(host.site.requests) == asked


async def test_an_offset_that_continues_nothing_asks_neptun(host: Host) -> None:
    page = await host.gets("list_imports", project_id=WEBSHOP, limit=2, offset=2)
    assert ids(page["imports"]) == [105, 104]
    assert IMPORTS in host.site.requests


@pytest.mark.parametrize("deleted", [True, False])
async def test_after_a_deletion_the_list_is_asked_for_again(host: Host, deleted: bool) -> None:
    host.person = Person(YES)
    if not deleted:
        host.site.answers[f"DELETE {resources(WEBSHOP, 'imports/104')}"] = failure(500)
    async with host.connected() as tools:
        await tools.gets("list_imports", project_id=WEBSHOP, limit=2)
        await tools.client.call_tool("delete_import", {"project_id": WEBSHOP, "import_id": 104})
        host.site.requests.clear()
        await tools.gets("list_imports", project_id=WEBSHOP, limit=2, offset=2)
        assert IMPORTS in host.site.requests


async def test_another_person_sees_nothing_of_a_remembered_list(host: Host) -> None:
    """The session in a file is replaced by that of another person, while the server runs."""
    store = host.site.sandbox()
    async with host.connected() as tools:
        await tools.gets("list_imports", project_id=WEBSHOP, limit=2)
        end_session(store)
        message = await tools.fails("list_resources", project_id=WEBSHOP, resource_type="user-files")
        assert message.startswith("Neptun refused the session")
    host.settings["session_cookie"] = BOB_COOKIE
    message = await host.fails("list_imports", project_id=WEBSHOP, limit=2, offset=2)
    assert message.startswith("There is no project 1, or it is not yours.")


def end_session(store: Store) -> None:
    store.end_session(COOKIE)


# Progress


async def test_the_progress_of_a_long_call_is_told_to_who_asked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neptun_mcp.tools.progress.SECONDS", 0.02)
    store = host.site.sandbox()
    for record in store.resources[WEBSHOP, "user-files"]:
        record["text"] = "x" * 2_000_000
    host.era = "2025-11-25"
    told: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with host.connected() as tools:
        arguments = {"project_id": WEBSHOP, "resource_type": "user-files"}
        await tools.client.call_tool("list_resources", arguments, progress_callback=note)
    values = [progress for progress, _, _ in told]
    assert values == sorted(set(values))
    assert any(message and "/api/users/{user_id}/" in message for _, _, message in told)


async def test_a_quick_call_tells_no_progress(host: Host) -> None:
    host.era = "2025-11-25"
    told: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async with host.connected() as tools:
        await tools.client.call_tool("list_imports", {"project_id": WEBSHOP}, progress_callback=note)
    assert told == []
