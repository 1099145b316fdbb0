"""What a query finds."""

from __future__ import annotations

import re
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse

from neptun_mcp.neptun.models import GITHUB_KINDS, RESOURCE_MODELS, Dated, ProjectImport, UserFile, text_fields
from neptun_mcp.neptun.threads import Pace
from neptun_mcp.tools import query as language
from neptun_mcp.tools.excerpts import excerpt_of
from neptun_mcp.tools.folding import fold, folded_pieces, unfolded
from neptun_mcp.tools.lists import NO_STATUS, ONLY_GITHUB
from neptun_mcp.tools.query import parse_query, search
from tests.support import WEBSHOP, Host, Json, ids, import_item, resources

pytestmark = pytest.mark.anyio

INSTALLED, PUBLIC = GITHUB_KINDS
SEARCHED = [
    ("imports", ProjectImport),
    *((resource_type, model) for resource_type, model in RESOURCE_MODELS.items()),
]


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, model in SEARCHED for field in text_fields(model)])
async def test_every_text_that_is_shown_is_searched(host: Host, kind: str, field: str) -> None:
    items: list[Json] = [{**import_item(id), field: f"a n{id}eedle b"} for id in (1, 2, 3)]
    host.site.answers[f"GET {resources(WEBSHOP, kind)}"] = JSONResponse(
        {"imports": items} if kind == "imports" else items
    )
    tool, arguments = ("list_imports", {}) if kind == "imports" else ("list_resources", {"resource_type": kind})
    page = await host.gets(tool, project_id=WEBSHOP, query="n2eed", **arguments)
    (found,) = page["imports" if kind == "imports" else "resources"]
    assert (found["id"], found[field], page["total"]) == (2, "a n2eedle b", 1)


@pytest.mark.parametrize(
    ("stored", "query"),
    [
        ("Cafe\u0301", "Café"),
        ("Café", "cafe\u0301"),
        ("Café", "CAFE"),
        ("İstanbul", "istanbul"),
        ("istanbul", "İSTANBUL"),
        ("ＷＥＢ", "web"),
        ("web", "ｗｅｂ"),
        ("Straße", "STRASSE"),
        ("strasse", "straße"),
        ("Σίσυφος", "ΣΙΣΥΦΟΣ"),
        ("oﬃce", "office"),
        ("한글", "한글"),
        ("a\u00a0b", "a b"),
        ("№ 5", "no"),
        ("мой", "МОИ"),
    ],
)
async def test_case_accents_width_and_normalisation_do_not_matter(host: Host, stored: str, query: str) -> None:
    items = [import_item(1, f"/srv/{stored}/x"), import_item(2, "/srv/other")]
    host.site.answers[f"GET {resources(WEBSHOP, 'imports')}"] = JSONResponse({"imports": items})
    assert ids((await host.gets("list_imports", project_id=WEBSHOP, query=query))["imports"]) == [1]


async def test_a_query_of_nothing_but_accents_is_none(host: Host) -> None:
    assert (await host.gets("list_imports", project_id=WEBSHOP, query="\u0301"))["total"] == 7


# The language


def examples() -> list[tuple[str, str, str]]:
    """The table in the module's docstring: a query, what it finds, and what it does not."""
    rows = [line.strip() for line in (language.__doc__ or "").splitlines() if line.startswith("    ")]
    split = [[cell.strip() for cell in re.split(r"\s\|\s", f"{row} ")] for row in rows]
    assert {len(row) for row in split} == {3}
    return [(query, finds, but_not) for query, finds, but_not in split[1:]]


def an_import(text: str) -> ProjectImport:
    pairs = re.findall(r"(\w+)=(.*?)(?:, (?=\w+=)|$)", text)
    return ProjectImport.model_validate({"id": 1, "source_type": "", "source_path": "", **dict(pairs)})


def finds(query: str, item: Dated) -> bool:
    return bool(search([item], parse_query(query, type(item)), Pace()))


@pytest.mark.parametrize(("query", "found", "other"), examples())
def test_a_query_finds_what_the_table_says(query: str, found: str, other: str) -> None:
    assert finds(query, an_import(found))
    assert not finds(query, an_import(other))


@pytest.mark.parametrize("field", ["updated:2026-09-02", "updated_at:2026-09-02T10", "project_id:3", "type:folder"])
def test_every_field_that_is_shown_can_be_named(field: str) -> None:
    known = {"updated_at": "2026-09-02T10:15:00Z", "project_id": 3}
    item = ProjectImport.model_validate({"id": 1, "source_type": "local_folder", "source_path": "", **known})
    assert finds(field, item)
    assert not finds(f"-{field}", item)


@pytest.mark.parametrize(
    ("resource_type", "query", "item"),
    [
        ("user-files", "extension:tf title:main", {"extension": "tf", "title": "main"}),
        ("user-files", 'text:"image: postgres:13"', {"text": "services:\n  image: postgres:13\n"}),
        ("user-files", '"image: postgres:13" -redis', {"text": "services:\n  image: postgres:13\n"}),
        ("template-collections", "shared:true", {"is_shared": True}),
        ("template-collections", "is_shared:no -is_shared:false", None),
        ("github-installations", "account_id:70110", {"github_account_id": 70110}),
        ("github-installations", "-account_id:7011", {"github_account_id": 70110}),
        ("github-installations", "installation_id:12", {"github_installation_id": 12}),
        ("github-installations", "installation_id:12", {"installation_id": "12"}),
        ("chat-conversations", "model:gemma", {"model": "google/gemma-2"}),
        ("chat-conversations", "model:gemma", {"model_name": "gemma-2", "model_publisher": "google"}),
        ("chat-conversations", "-name:gemma", {"name": "First", "model_name": "gemma-2"}),
    ],
)
def test_each_list_has_its_own_fields(resource_type: Any, query: str, item: Json | None) -> None:
    model = RESOURCE_MODELS[resource_type]
    found = model.model_validate({"id": 1, "is_shared": False, **(item or {})})
    assert finds(query, found) is (item is not None)


@pytest.mark.parametrize("query", ["before:yesterday", "after:2026-02-30", "-before:1.1.2026", 'after:"2026"'])
async def test_nothing_but_an_invalid_date_is_an_error(host: Host, query: str) -> None:
    message = await host.fails("list_imports", project_id=WEBSHOP, query=query)
    assert "takes a day in the form YYYY-MM-DD" in message


@given(st.text(st.sampled_from('-:"“ ab*\\.\n\tfield status')))
def test_any_text_is_a_query(query: str) -> None:
    search([an_import("title=a b")], parse_query(query, ProjectImport), Pace())


# Duplicates


def of(id: int, path: str, status: str | None = "completed", ref: str | None = None, kind: str = PUBLIC) -> Json:
    return import_item(
        id, path, source_type=kind, import_status=status, source_ref=ref, created_at=f"2026-01-{id:02}T00:00:00.000Z"
    )


@pytest.mark.parametrize(
    ("older", "newer", "replaced"),
    [
        (of(1, "https://github.com/a/b"), of(2, "a/b", kind=INSTALLED), True),
        (of(1, "a/B", kind=INSTALLED), of(2, "https://www.GitHub.com/A/b.git/"), True),
        (of(1, "git@github.com:a/b.git"), of(2, "ssh://git@github.com/a/b"), True),
        (of(1, "a/b", "failed"), of(2, "a/b"), True),
        (of(1, "a/b"), of(2, "a/b", "failed"), False),
        (of(1, "a/b"), of(2, "a/b", "pending"), False),
        (of(1, "a/b", None), of(2, "a/b", None), False),
        (of(1, "a/b", ref="main"), of(2, "a/b", ref="main"), True),
        (of(1, "a/b", ref="main"), of(2, "a/b", ref="v3"), False),
        (of(1, "a/b", ref=None), of(2, "a/b", ref="main"), False),
        (of(1, "https://gitlab.com/a/b"), of(2, "a/b"), False),
        (of(1, "/srv/a", kind="local_folder"), of(2, "/srv/a/", kind="local_folder"), True),
        (of(1, "/srv/A", kind="local_folder"), of(2, "/srv/a", kind="local_folder"), False),
        ({**of(1, "a/b"), "created_at": None}, of(2, "a/b"), False),
    ],
)
async def test_a_newer_completed_import_of_the_same_source_replaces_an_older_one(
    host: Host, older: Json, newer: Json, replaced: bool
) -> None:
    host.site.answers[f"GET {resources(WEBSHOP, 'imports')}"] = JSONResponse({"imports": [older, newer]})
    async with host.connected() as tools:
        page = await tools.gets("list_imports", project_id=WEBSHOP, query="is:duplicate")
        assert [(item["id"], item["replaced_by"]) for item in page["imports"]] == ([(1, 2)] if replaced else [])
        others = await tools.gets("list_imports", project_id=WEBSHOP, query="-is:duplicate")
        assert ids(others["imports"]) == ([2] if replaced else ids(others["imports"]))
        # It is judged over all kinds.
        kind = older["source_type"]
        page = await tools.gets("list_imports", project_id=WEBSHOP, query="is:duplicate", source_type=kind)
        assert page["total"] == replaced


@pytest.mark.parametrize("project", ["webshop", "*"])
async def test_where_neptun_does_not_tell_kinds_of_github_apart_the_result_says_so(host: Host, project: str) -> None:
    host.site.sandbox("documented")
    page = await host.gets("list_imports", project=project, source_type="public_github_repository_url")
    assert (page["total"], page["note"]) == (0, ONLY_GITHUB)
    assert "note" not in await host.gets("list_imports", project=project, source_type="github")


async def test_where_neptun_sends_no_status_the_result_says_so(host: Host) -> None:
    host.site.sandbox("documented")
    page = await host.gets("list_imports", project_id=WEBSHOP, query="is:duplicate")
    assert (page["total"], page["note"]) == (0, NO_STATUS)
    page = await host.gets("list_imports", project_id=WEBSHOP, query="status:failed")
    assert (page["total"], page["note"]) == (0, NO_STATUS)
    assert "note" not in await host.gets("list_imports", project_id=WEBSHOP)


# Folding

ANY_TEXT = st.text(st.one_of(st.characters(), st.sampled_from("İßé\u0301\u0345ﷺ한Ａa ")))


@given(ANY_TEXT, ANY_TEXT)
def test_parts_of_a_text_are_folded_one_by_one(left: str, right: str) -> None:
    assert fold(left + right) == fold(left) + fold(right)


@pytest.mark.parametrize("rest", ["", "more\n" * 200], ids=["short", "long"])
@pytest.mark.parametrize("room", [20, 60, 150])
def test_where_little_fits_the_match_goes_before_the_lines_around_it(rest: str, room: int) -> None:
    text = f"above\n{'x ' * 60}needle{' y' * 60}\nbelow\n{rest}"
    assert "needle" in excerpt_of(text, ["needle"], Pace()).within(room).text


@given(ANY_TEXT, ANY_TEXT)
def test_a_match_is_found_where_it_is(before: str, after: str) -> None:
    text = f"{before} Needle {after}"
    (place,) = excerpt_of(text, ["needle"], Pace()).places[:1]
    assert fold(text[place:]).startswith("needle")


@given(ANY_TEXT)
def test_a_position_in_a_folded_text_comes_from_a_character(text: str) -> None:
    folded = fold(text)
    for position, character in enumerate(folded):
        (index,) = unfolded(text, [position])
        assert character in fold(text[index])


@pytest.mark.parametrize("letter", ["x", "é"])
def test_what_lies_across_two_pieces_is_found_once(letter: str) -> None:
    (size,) = {piece.start for piece in [*folded_pieces(letter * 600_000, 0, Pace())][1:2]}
    for shift in range(8):
        text = letter * (size - shift) + "needle" + letter * size
        assert finds("needle", UserFile(id=1, text=text))
        assert excerpt_of(text, ["needle"], Pace()).total == 1


# The cost


def test_what_queries_leave_in_memory_is_bounded() -> None:
    def ask(number: int) -> None:
        parse_query(f"{number:0400}:x {number:0400}", UserFile).hint(0)

    for number in range(1_500):
        ask(number)
    tracemalloc.start()
    for number in range(1_500, 6_000):
        ask(number)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2_000_000


LONG: dict[str, Callable[[int], str]] = {
    "ASCII": lambda size: "ab" * (size // 2),
    "letters with accents": lambda size: "é ü " * (size // 4),
    "letters that grow": lambda size: "ﷺ" * (size // 18),
    "nothing but accents": lambda size: "\u0301" * size,
    "accents in a wrong order": lambda size: "\u0301\u0316" * (size // 2),
    "letters of accents in a wrong order": lambda size: "\u0f73" * size,
    "the query, nearly": lambda size: ("a" * 499 + "é") * (size // 500),
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_searching_costs_as_much_as_there_is_text(text: Callable[[int], str]) -> None:
    """Ten times the text takes ten times as long; what is quadratic takes a hundred times."""
    query = "a" * 499 + "b " + " ".join("é" * length for length in range(1, 31))

    def cost(size: int) -> float:
        file = UserFile(id=1, text=text(size))
        parsed = parse_query(query, UserFile)
        work = lambda: (search([file], parsed, Pace()), excerpt_of(file.text or "", parsed.needles, Pace()))  # noqa: E731
        return min(seconds(work) for _ in range(3))

    assert cost(150_000) < 40 * cost(15_000)


def seconds(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


@pytest.mark.parametrize(
    ("query", "term"),
    [
        ("branch:main", "branch:main"),
        ("status:failed OR status:pending", "OR"),
        ("created:>2026-09-01", "created:>"),
        ("import_status=failed", "import_status=failed"),
        ("*.yml", "*.yml"),
        ("tea-*", "tea-*"),
    ],
)
@pytest.mark.parametrize("project", ["webshop", "*"])
async def test_what_another_search_language_means_is_said_to_be_words(
    host: Host, query: str, term: str, project: str
) -> None:
    host.site.sandbox()
    page = await host.gets("list_imports", project=project, query=query)
    assert page["total"] == 0
    assert page["note"].startswith(f'Searched for as plain words: "{term}')
    assert "import_status" in page["note"]
    assert "note" not in await host.gets("list_imports", project="webshop", query="status:failed")


@pytest.mark.parametrize(
    ("term", "is_said"),
    [("-branch:main", True), ("OR", True), ("branch:main", False), ("postgres:16", False), ("-x", False)],
)
async def test_a_term_that_misleads_is_said_to_be_a_word_even_if_it_is_found(
    host: Host, term: str, is_said: bool
) -> None:
    text = "image: postgres:16 or branch:main"
    answer = [{"id": 1, "title": "a", "text": text}, {"id": 2, "title": text, "text": ""}]
    host.site.answers[f"GET {resources(WEBSHOP, 'user-files')}"] = JSONResponse(answer)
    page = await host.gets("list_resources", project_id=WEBSHOP, resource_type="user-files", query=f"{term} -absent")
    assert page["total"] == (0 if term == "-branch:main" else 2)
    assert page.get("note", "").startswith(f'Searched for as plain words: "{term}". Fields are ') is is_said


async def test_a_field_that_the_list_lacks_leaves_nothing_out(host: Host) -> None:
    host.site.sandbox()
    page = await host.gets("list_imports", project="webshop", query="-branch:main")
    assert page["total"] == 7
    assert page["note"].startswith('Searched for as plain words: "-branch:main". Fields are ')


async def test_a_file_is_found_by_the_name_that_people_see(host: Host) -> None:
    host.site.sandbox()
    page = await host.gets("list_resources", project_id=WEBSHOP, resource_type="user-files", query="runbook.md")
    assert [item["title"] for item in page["resources"]] == ["runbook"]
