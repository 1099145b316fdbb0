"""A page costs a page: what reaches Neptun while a list, or a long file, is read to its end."""

from __future__ import annotations

import pytest
from starlette.responses import JSONResponse

from neptun_mcp.neptun.transport import Transfer
from neptun_mcp.sandbox import COOKIE
from neptun_mcp.tools.lists import ANEW
from neptun_mcp.tools.progress import described
from tests.running_neptun import BOB_COOKIE
from tests.support import (
    PATIENCE,
    WEBSHOP,
    YES,
    ContractName,
    Host,
    Json,
    Person,
    Tools,
    end_session,
    failure,
    ids,
    import_item,
    resources,
)

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


async def test_after_a_deletion_that_may_have_failed_the_list_is_asked_for_again(host: Host) -> None:
    host.person = Person(YES)
    host.site.answers[f"DELETE {resources(WEBSHOP, 'imports/104')}"] = failure(500)
    async with host.connected() as tools:
        await tools.gets("list_imports", project_id=WEBSHOP, limit=2)
        await tools.fails("delete_import", project_id=WEBSHOP, import_id=104)
        host.site.requests.clear()
        page = await tools.gets("list_imports", project_id=WEBSHOP, limit=2, offset=2)
        assert IMPORTS in host.site.requests
        assert page["note"] == ANEW


@pytest.mark.parametrize("everywhere", [False, True])
async def test_a_list_is_read_on_without_what_was_deleted_meanwhile(host: Host, everywhere: bool) -> None:
    """The offsets of the first page stay good: nothing moves up into a page that was seen."""
    host.person = Person(YES, YES)
    which: Json = {"project": "*"} if everywhere else {"project_id": WEBSHOP}
    async with host.connected() as tools:
        first = await tools.gets("list_imports", **which, limit=3)
        assert ids(first["imports"]) == [107, 106, 105]
        await tools.gets("delete_import", project_id=WEBSHOP, import_id=106)
        await tools.gets("delete_import", project_id=WEBSHOP, import_id=103)
        host.site.requests.clear()
        page = await tools.gets("list_imports", **which, limit=3, offset=first["next_offset"])
        assert ids(page["imports"]) == ([104] if everywhere else [104, 102])[:2] + ([202] if everywhere else [])
        assert page["total"] == first["total"] - 2
        assert host.site.requests == []
        assert "note" not in page


async def test_what_only_a_deleted_import_replaced_is_no_duplicate_any_more(host: Host) -> None:
    items = [
        {**import_item(id), "import_status": "completed", "created_at": f"2026-01-0{id}T00:00:00Z"} for id in (1, 2, 3)
    ]
    host.site.answers[IMPORTS] = JSONResponse({"imports": items})
    host.site.answers[f"DELETE {resources(WEBSHOP, 'imports/3')}"] = JSONResponse([])
    async with host.connected() as tools:
        page = await tools.gets("list_imports", project_id=WEBSHOP, query="is:duplicate", limit=1)
        assert [(item["id"], item["replaced_by"]) for item in page["imports"]] == [(2, 3)]
        await tools.gets("delete_import", project_id=WEBSHOP, import_id=3)
        page = await tools.gets("list_imports", project_id=WEBSHOP, query="is:duplicate", limit=1, offset=1)
        assert (page["imports"], page["total"]) == ([], 0)


async def test_another_person_sees_nothing_of_a_remembered_list(host: Host) -> None:
    """The session in a file is replaced by that of another person, while the server runs."""
    store = host.site.sandbox()
    async with host.connected() as tools:
        await tools.gets("list_imports", project_id=WEBSHOP, limit=2)
        end_session(store, COOKIE)
        message = await tools.fails("list_resources", project_id=WEBSHOP, resource_type="user-files")
        assert message.startswith("Neptun refused the session")
    host.settings["session_cookie"] = BOB_COOKIE
    message = await host.fails("list_imports", project_id=WEBSHOP, limit=2, offset=2)
    assert message.startswith("There is no project 1, or it is not yours.")


# Progress


async def test_the_progress_of_a_long_call_is_told_to_who_asked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neptun_mcp.tools.progress.REPORT_SECONDS", 0.001)
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
    assert any(message and message.startswith("Reading the files: ") for _, _, message in told)


@pytest.mark.parametrize(
    ("received", "expected", "words"),
    [
        (0, 0, "Reading the imports"),
        (20, 14_000, "Reading the imports"),
        (1_234, 14_000, "Reading the imports: 1.2 of 14.0 kB"),
        (9_876, 0, "Reading the imports: 9.9 kB"),
        (50_000, 42_000_000, "Reading the imports"),
        (3_240_000, 42_000_000, "Reading the imports: 3.2 of 42.0 MB"),
    ],
)
def test_progress_is_never_told_in_zeros(received: int, expected: int, words: str) -> None:
    assert described(Transfer("GET /api/users/{user_id}/resources/imports", received, expected)) == words


async def test_a_quick_call_tells_no_progress(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neptun_mcp.tools.progress.REPORT_SECONDS", PATIENCE)
    host.era = "2025-11-25"
    told: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async with host.connected() as tools:
        await tools.client.call_tool("list_imports", {"project_id": WEBSHOP}, progress_callback=note)
    assert told == []
