"""Whatever Neptun holds, each result fits a context window, and all of it can be read page by page."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import to_json
from starlette.responses import JSONResponse, Response

from neptun_mcp.neptun.threads import Pace
from neptun_mcp.tools.excerpts import GAP, excerpt_of
from neptun_mcp.tools.folding import fold
from tests.support import WEBSHOP, Host, Json, Tools, ids, import_item, resources

pytestmark = pytest.mark.anyio

FILES = f"GET {resources(WEBSHOP, 'user-files')}"
IMPORTS = f"GET {resources(WEBSHOP, 'imports')}"
PREVIEW = 500
MIXED = 'Ünïcödé — 你好 🍵\n"quoted" \\ \x00\x1b[31m\u202e'


def file(id: int, text: str | None, **fields: Any) -> Json:
    return {"id": id, "title": f"file {id}", "text": text, "language": "text", "extension": "txt", **fields}


def serve_files(host: Host, *files: Json) -> None:
    host.site.answers[FILES] = JSONResponse(list(files))
    for item in files:
        host.site.answers[f"{FILES}/{item['id']}"] = JSONResponse(item)


def serve_imports(host: Host, *imports: Json) -> None:
    host.site.answers[IMPORTS] = JSONResponse({"imports": list(imports)})


async def list_files(tools: Tools, **arguments: Any) -> Json:
    return await tools.gets("list_resources", project_id=WEBSHOP, resource_type="user-files", **arguments)


async def only_file(host: Host, **arguments: Any) -> Json:
    """The one file of a list."""
    async with host.connected() as tools:
        (found,) = (await list_files(tools, **arguments))["resources"]
    return found


# A part of a text


@pytest.mark.parametrize("length", [0, 1, PREVIEW - 1, PREVIEW])
async def test_a_short_text_is_shown_in_full(host: Host, length: int) -> None:
    serve_files(host, file(1, "x" * length))
    assert await only_file(host) == file(1, "x" * length)


async def test_a_longer_text_is_cut_and_its_length_is_given(host: Host) -> None:
    serve_files(host, file(1, "x" * 501))
    assert await only_file(host) == file(1, "x" * PREVIEW, text_length=501)


async def test_a_part_of_a_text_is_of_whole_lines(host: Host) -> None:
    text = "".join(f"line {number}\n" for number in range(1000))
    serve_files(host, file(1, text))
    found = await only_file(host)
    assert found["text"] == text[: len(found["text"])]
    assert all(re.fullmatch(r"line \d+\n", line) for line in found["text"].splitlines(keepends=True))
    assert PREVIEW - 2 * len("line 500\n") < len(found["text"]) <= PREVIEW


@pytest.mark.parametrize(
    ("query", "shown", "offset", "matches"),
    [
        ("500", "line 499\nline 500\nline 501\n", 4_381, None),
        ("999", "line 998\nline 999\n", 8_872, None),
        ('"LINE 7\n"', "line 6\nline 7\nline 8\n", 42, None),
        ("line 999", "line 998\nline 999\n", 8_872, None),
        ("text:500 -absent", "line 499\nline 500\nline 501\n", 4_381, None),
        ("99 998", "line 997\nline 998\nline 999\n", 8_863, None),
    ],
)
async def test_of_a_text_that_matches_the_lines_are_shown_with_one_around(
    host: Host, query: str, shown: str, offset: int, matches: int | None
) -> None:
    text = "".join(f"line {number}\n" for number in range(1000))
    serve_files(host, file(1, text))
    found = await only_file(host, query=query)
    assert (found["text"], found["text_offset"], found.get("matches")) == (shown, offset, matches)


async def test_lines_that_do_not_follow_each_other_are_shown_apart(host: Host) -> None:
    lines = [f"line {number}\n" for number in range(1000)]
    lines[100], lines[900] = "image: postgres:13\n", "  image: Postgres:16\n"
    serve_files(host, file(1, "".join(lines)))
    found = await only_file(host, query="postgres")
    assert found["text"] == ("line 99\nimage: postgres:13\nline 101\n…\nline 899\n  image: Postgres:16\nline 901\n")
    assert "matches" not in found


@pytest.mark.parametrize("text", ["needle\n" * 1_000, "a needle " * 1_000])
async def test_how_many_places_match_is_said_if_not_all_are_shown(host: Host, text: str) -> None:
    serve_files(host, file(1, text))
    found = await only_file(host, query="needle")
    assert found["matches"] == 1_000
    assert 400 < len(found["text"]) <= PREVIEW


async def test_a_part_of_a_text_with_one_early_line_break_is_not_cut_short(host: Host) -> None:
    serve_files(host, file(1, "title\n" + "x" * 1_000))
    assert (await only_file(host))["text"] == "title\n" + "x" * (PREVIEW - 6)


async def test_a_file_without_a_text_has_none(host: Host) -> None:
    serve_files(host, file(1, None))
    assert "text" not in await only_file(host)


@pytest.mark.parametrize("before", [0, 100, 400, 600, 5_000, 9_995])
async def test_a_match_inside_the_text_is_shown_with_its_surroundings(host: Host, before: int) -> None:
    text = ("a " * 5_000)[:before] + "Needle" + ("b " * 5_000)[: 10_000 - before]
    serve_files(host, file(1, text), file(2, "nothing"))
    found = await only_file(host, query="nEEDLE")
    offset = found.get("text_offset", 0)
    assert "Needle" in found["text"]
    assert found["text"] == text[offset : offset + PREVIEW]
    assert found["text_length"] == len(text)


async def test_a_match_in_the_name_shows_the_beginning_of_the_text(host: Host) -> None:
    serve_files(host, file(1, "x" * 1_000, title="Dockerfile"))
    assert (await only_file(host, query="docker"))["text"] == "x" * PREVIEW


@pytest.mark.parametrize("letter", ["İ", "ß", "ﷺ", "e\u0301", "\u0301", "한", "Ａ"])
async def test_a_match_behind_letters_that_change_their_length_when_compared_is_shown(host: Host, letter: str) -> None:
    serve_files(host, file(1, letter * 2_000 + " needle " + "z" * 2_000))
    found = await only_file(host, query="needle")
    assert found["text"].index("needle") == PREVIEW // 4
    assert found["text_offset"] == 2_000 * len(letter) + 1 - PREVIEW // 4


LINE = st.one_of(
    st.text(st.sampled_from('ab é\r"🍵'), max_size=80).map(lambda line: f"{line}\n"),
    st.sampled_from(["needle here\n", "Needle néedle\n", GAP, "x" * 700]),
)


@given(st.lists(LINE, max_size=60).map("".join), st.lists(st.integers(0, 3_000), min_size=1, max_size=3))
def test_an_excerpt_fits_and_says_where_it_begins_and_how_many_places_match(text: str, rooms: list[int]) -> None:
    """Also one that is made of a longer one, as in a list over all projects."""
    part = excerpt_of(text, ["needle"], Pace())
    for room in sorted(rooms, reverse=True):
        part = part.within(room)
        assert len(part.text) <= PREVIEW
        assert len(to_json(part.text)) <= room + 2
        fields = part.fields()
        assert text[fields["text_offset"] or 0 :].startswith(part.text.split(GAP)[0])
        assert all(text[start:].startswith(lines) for start, lines in part.parts)
        assert all(fold(text[place]) == "n" for place in part.places)
        assert all(any(start <= place < start + len(lines) for start, lines in part.parts) for place in part.places)
        if part.text != text and part.total:
            assert fields["matches"] == (part.total if part.total > len(part.places) else None)
            assert len(part.places) > 0 or room < 60


# A text in full


@asynccontextmanager
async def reading(host: Host, text: str) -> AsyncGenerator[Tools]:
    serve_files(host, file(1, text))
    async with host.connected() as tools:
        yield tools


async def whole_text(tools: Tools) -> tuple[str, int]:
    """A file read to its end, and the number of calls that it took."""
    text, offset, calls = "", 0, 0
    while offset is not None:
        (found,) = (await list_files(tools, resource_id=1, text_offset=offset))["resources"]
        assert found.get("text_offset", 0) == offset == len(text)
        text += found["text"]
        following = found.get("next_text_offset")
        assert following is None or following > offset
        offset, calls = following, calls + 1
    return text, calls


@pytest.mark.parametrize(
    "text",
    ["", "short", "x" * 18_500, "x" * 100_000, '"' * 100_000, "\x00" * 50_000, "🍵" * 50_000, MIXED * 3_000],
    ids=["empty", "short", "fits", "long", "quotes", "control characters", "emoji", "mixed"],
)
async def test_a_file_can_be_reassembled_from_its_parts(host: Host, text: str) -> None:
    async with reading(host, text) as tools:
        found, calls = await whole_text(tools)
    assert found == text
    assert len(to_json(text)) / 18_800 <= calls <= len(to_json(text)) // 18_500 + 1


async def test_a_file_of_5_mb_comes_in_parts_as_large_as_fit(host: Host) -> None:
    text = "".join(f"{number:>9}\n" for number in range(500_000))
    async with reading(host, text) as tools:
        for offset in (0, 2_500_000, len(text) - 100):
            (found,) = (await list_files(tools, resource_id=1, text_offset=offset))["resources"]
            assert found["text"] == text[offset : offset + len(found["text"])]
            assert found["text_length"] == len(text)
            end = offset + len(found["text"])
            assert found.get("next_text_offset") == (end if end < len(text) else None)
            assert len(found["text"]) > 16_000 or end == len(text)
            assert found["text"].endswith("\n")


@pytest.mark.parametrize(("text_offset", "start"), [(1, 1), (4_321, 4_321), (-1, 5_999), (-700, 5_300), (-9_999, 0)])
async def test_reading_begins_at_any_character_from_either_end(host: Host, text_offset: int, start: int) -> None:
    text = "".join(f"{number:>5}\n" for number in range(1_000))
    async with reading(host, text) as tools:
        (found,) = (await list_files(tools, resource_id=1, text_offset=text_offset))["resources"]
    assert (found["text"], found.get("text_offset", 0)) == (text[start:], start)


async def test_a_text_offset_beyond_the_end_yields_nothing(host: Host) -> None:
    async with reading(host, "short") as tools:
        (found,) = (await list_files(tools, resource_id=1, text_offset=99))["resources"]
    assert found == file(1, "", text_length=5, text_offset=99)


async def test_a_single_resource_is_found_whatever_page_it_would_be_on(host: Host) -> None:
    serve_files(host, *(file(id, "x" * 20_000) for id in range(1, 101)))
    async with host.connected() as tools:
        page = await list_files(tools, resource_id=50, limit=1, offset=99, query="no such thing")
        alone = await list_files(tools, resource_id=50, limit=1, offset=0, query=" ")
    assert ids(page["resources"]) == [50]
    assert (page["total"], "next_offset" in page) == (1, False)
    assert page["note"] == (
        "query was ignored: to find lines of one file, leave resource_id out and add id:50 to the query. "
        "offset was ignored: it counts the items of a list, text_offset the characters of a file."
    )
    assert "note" not in alone


async def test_the_lines_of_one_file_are_found_as_the_note_says(host: Host) -> None:
    serve_files(host, *(file(id, "x" * 20_000 + "\nneedle\n" + "y" * 20_000) for id in (1, 2)))
    async with host.connected() as tools:
        page = await list_files(tools, query="id:2 needle")
    assert ids(page["resources"]) == [2]
    assert "needle" in page["resources"][0]["text"]


# Pages


async def all_pages(tools: Tools, tool: str, key: str, **arguments: Any) -> tuple[list[int], int]:
    """The ids of all items, page by page, and the number of pages."""
    found: list[int] = []
    offset, pages = 0, 0
    while offset is not None:
        page = await tools.gets(tool, project_id=WEBSHOP, offset=offset, **arguments)
        assert page[key] or not found
        found += ids(page[key])
        following = page.get("next_offset")
        assert following is None or following == len(found) > offset
        offset, pages = following, pages + 1
    return found, pages


async def test_a_page_holds_50_items_by_default(host: Host) -> None:
    serve_imports(host, *(import_item(id) for id in range(1, 121)))
    page = await host.gets("list_imports", project_id=WEBSHOP)
    assert ids(page["imports"]) == list(range(120, 70, -1))
    assert (page["total"], page["next_offset"]) == (120, 50)


@pytest.mark.parametrize(
    ("limit", "offset", "expected", "following"),
    [
        (2, 0, [107, 106], 2),
        (2, 5, [102, 101], None),
        (1, 6, [101], None),
        (100, 7, [], None),
        (5, 1000, [], None),
        (1, -1, [101], None),
        (1, -3, [103], 5),
        (2, -2, [102, 101], None),
        (2, -99, [107, 106], 2),
    ],
)
async def test_limit_and_offset_cut_a_page(
    host: Host, limit: int, offset: int, expected: list[int], following: int | None
) -> None:
    page = await host.gets("list_imports", project_id=WEBSHOP, limit=limit, offset=offset)
    assert (ids(page["imports"]), page["total"], page.get("next_offset")) == (expected, 7, following)


async def test_short_texts_leave_their_room_to_long_ones(host: Host) -> None:
    serve_files(host, file(1, "x" * 20_000), *(file(id, "short") for id in range(2, 51)))
    page = await host.gets("list_resources", project_id=WEBSHOP, resource_type="user-files")
    assert [len(item["text"]) for item in page["resources"]] == [5] * 49 + [PREVIEW]


async def test_pages_divide_what_the_query_finds(host: Host) -> None:
    page = await host.gets("list_imports", project_id=WEBSHOP, query="shop", limit=2, offset=2)
    assert (ids(page["imports"]), page["total"], page["next_offset"]) == ([103, 102], 5, 4)


async def test_3000_imports_come_in_30_pages(host: Host) -> None:
    serve_imports(host, *(import_item(id, f"/home/alice/projects/number-{id}") for id in range(1, 3_001)))
    async with host.connected() as tools:
        found, pages = await all_pages(tools, "list_imports", "imports", limit=100)
    assert found == list(range(3_000, 0, -1))
    assert pages == 30


async def test_2000_files_of_20_kb_come_in_pages_of_previews(host: Host) -> None:
    serve_files(host, *(file(id, "x" * 20_000) for id in range(1, 2_001)))
    async with host.connected() as tools:
        first = await list_files(tools, limit=100)
        assert (first["total"], len(first["resources"]), first["next_offset"]) == (2_000, 100, 100)
        assert len({len(item["text"]) for item in first["resources"]}) == 1
        last = await list_files(tools, limit=100, offset=1_980)
        assert ids(last["resources"]) == list(range(20, 0, -1))
        assert "next_offset" not in last


@pytest.mark.parametrize("text", ['"' * 500, "\x00" * 500, "🍵" * 500, MIXED * 50])
async def test_previews_of_any_text_fit(host: Host, text: str) -> None:
    serve_files(host, *(file(id, text) for id in range(1, 101)))
    async with host.connected() as tools:
        found, pages = await all_pages(tools, "list_resources", "resources", resource_type="user-files", limit=100)
    assert (found, pages) == (list(range(100, 0, -1)), 1)


MILLION = "m" * 1_000_000


@pytest.mark.parametrize(
    ("resource_type", "item"),
    [
        ("user-files", file(1, MILLION, title=MILLION, language=MILLION, extension=MILLION)),
        ("user-files", file(1, "\x00" * 1_000_000, title="\x00" * 1_000_000)),
        ("template-collections", {"id": 1, "name": MILLION, "description": MILLION, "share_uuid": MILLION}),
        ("github-installations", {"id": 1, "github_account_name": "🍵" * 1_000_000, "account_name": MILLION}),
        ("chat-conversations", {"id": 1, "name": MILLION, "model": MILLION, "model_name": '"' * 1_000_000}),
    ],
)
async def test_a_resource_with_fields_of_a_million_characters_fits(host: Host, resource_type: str, item: Json) -> None:
    host.site.answers[f"GET {resources(WEBSHOP, resource_type)}"] = JSONResponse([item, {"id": 2}])
    host.site.answers[f"GET {resources(WEBSHOP, resource_type)}/1"] = JSONResponse(item)
    async with host.connected() as tools:
        found, _ = await all_pages(tools, "list_resources", "resources", resource_type=resource_type)
        assert found == [2, 1]
        page = await tools.gets("list_resources", project_id=WEBSHOP, resource_type=resource_type, resource_id=1)
    (shown,) = page["resources"]
    cut = {name: value for name, value in shown.items() if isinstance(value, str) and value != item[name]}
    cut.pop("text", None)
    assert cut
    for name, value in cut.items():
        assert value == item[name][: len(value) - 1] + "…"


async def test_a_file_with_a_title_of_a_million_characters_can_still_be_read(host: Host) -> None:
    serve_files(host, file(1, "x" * 60_000, title=MILLION))
    async with host.connected() as tools:
        assert await whole_text(tools) == ("x" * 60_000, 4)


IMPORT_OF_MILLIONS = import_item(2, MILLION, title=MILLION, description="\x1b" * 1_000_000, error_message=MILLION)


async def test_an_import_with_fields_of_a_million_characters_fits(host: Host) -> None:
    serve_imports(host, import_item(3), IMPORT_OF_MILLIONS, import_item(1))
    async with host.connected() as tools:
        assert await all_pages(tools, "list_imports", "imports") == ([3, 2, 1], 2)


async def test_the_result_of_a_deletion_fits(host: Host) -> None:
    serve_imports(host, IMPORT_OF_MILLIONS)
    host.site.answers[f"DELETE {resources(WEBSHOP, 'imports/2')}"] = JSONResponse([])
    result = await host.gets("delete_import", project_id=WEBSHOP, import_id=2)
    assert (result["deleted"], result["import"]["id"]) == (True, 2)


async def test_reasons_for_leaving_items_out_are_short(host: Host) -> None:
    bad = ({"id": MILLION[:5_000], MILLION[:5_000]: index} for index in range(1_000))
    serve_imports(host, {"id": 1, "source_type": "a", "source_path": "b"}, *bad)
    page = await host.gets("list_imports", project_id=WEBSHOP)
    assert (page["total"], page["left_out"]) == (1, 1_000)
    assert page["left_out_why"].startswith("after 100 unreadable items the rest was not read; item 2: id ")
    assert len(page["left_out_why"]) < 500


# The format


async def test_the_text_block_is_the_structured_content_as_compact_json(host: Host, era: str) -> None:
    host.era = era
    serve_files(host, file(1, MIXED))
    async with host.connected() as tools:
        result = await tools.client.call_tool("list_resources", {"project_id": 1, "resource_type": "user-files"})
    (block,) = result.content
    assert block.type == "text"
    assert re.sub(r'"text":".*","language"', '"text":"","language"', block.text) == (
        '{"project_id":1,"total":1,"resource_type":"user-files","resources":'
        '[{"id":1,"title":"file 1","text":"","language":"text","extension":"txt"}]}'
    )
    assert "你好 🍵" in block.text


async def test_lone_surrogates_do_not_break_a_result(host: Host) -> None:
    body = b'[{"id": 1, "title": "a\\ud800b", "text": "\\udfff"}]'
    host.site.answers[FILES] = Response(body, media_type="application/json")
    assert (await only_file(host))["title"] == "a\ufffdb"


# Any sizes


LETTERS = st.sampled_from(["x", '"', "\x00", "é", "你", "🍵"])
LENGTHS = st.one_of(st.integers(0, 600), st.integers(0, 40_000))
A_FEW = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@A_FEW
@given(
    sizes=st.lists(st.tuples(LETTERS, LENGTHS, LENGTHS), max_size=40),
    limit=st.integers(1, 100),
)
async def test_paging_gives_every_file_once(host: Host, sizes: list[tuple[str, int, int]], limit: int) -> None:
    files = [file(id, letter * text, title=letter * title) for id, (letter, text, title) in enumerate(sizes, 1)]
    serve_files(host, *files)
    async with host.connected() as tools:
        found, _ = await all_pages(tools, "list_resources", "resources", resource_type="user-files", limit=limit)
    assert found == list(range(len(sizes), 0, -1))


@A_FEW
@given(sizes=st.lists(st.tuples(LETTERS, LENGTHS), max_size=40), limit=st.integers(1, 100))
async def test_paging_gives_every_import_once(host: Host, sizes: list[tuple[str, int]], limit: int) -> None:
    serve_imports(host, *(import_item(id, letter * path) for id, (letter, path) in enumerate(sizes, 1)))
    async with host.connected() as tools:
        found, _ = await all_pages(tools, "list_imports", "imports", limit=limit)
    assert found == list(range(len(sizes), 0, -1))


@A_FEW
@given(parts=st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 2_000)), max_size=5))
async def test_any_text_can_be_reassembled_from_its_parts(host: Host, parts: list[tuple[str, int]]) -> None:
    text = "".join(part * times for part, times in parts)
    async with reading(host, text) as tools:
        assert (await whole_text(tools))[0] == text
