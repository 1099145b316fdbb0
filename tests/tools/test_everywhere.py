"""Projects by name, and lists over all of them."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.responses import JSONResponse

from neptun_mcp.sandbox.state import Store
from neptun_mcp.tools.lists import EMPTY, NO_SUCH_KIND
from tests.support import (
    ORDERS,
    RESOURCE_TYPES,
    USER,
    WEBSHOP,
    YES,
    ContractName,
    Host,
    Json,
    Person,
    chosen,
    failure,
    ids,
    import_item,
    resources,
)

pytestmark = pytest.mark.anyio

PROJECTS = f"GET {USER}/projects"
NEWEST_FIRST = [107, 106, 105, 104, 103, 202, 201, 102, 101]


def serve_projects(host: Host, number: int, imports: int = 3) -> None:
    """Projects with the ids from 1 on, each with imports of one day."""
    host.site.sandbox("documented")
    host.site.answers[PROJECTS] = JSONResponse([{"id": id, "name": f"Café {id}"} for id in range(1, number + 1)])
    for project in range(1, number + 1):
        items = [
            {**import_item(project * 1_000 + n), "created_at": f"2026-01-{n + 1:02}T00:00:{project % 60:02}.000Z"}
            for n in range(imports)
        ]
        host.site.answers[f"GET {resources(project, 'imports')}"] = JSONResponse({"imports": items})


# By name


@pytest.mark.parametrize(
    ("name", "project"),
    [("orders-api", 3), ("ORDERS", 3), ("  web ", 1), ("ｓｃｒáｔｃｈ", 2), ("3", 3), (3, 3), ("webshop", 1)],
)
async def test_a_project_goes_by_its_name_a_part_of_it_or_its_id(host: Host, era: str, name: Any, project: int) -> None:
    host.era = era
    assert (await host.gets("list_imports", project=name))["project_id"] == project
    assert host.site.requests.count(PROJECTS) == 1


@pytest.mark.parametrize(
    ("names", "name", "project"),
    [
        (["shop", "web shop"], "shop", 11),
        (["12", "shop"], "12", 12),
        (["a", "A b"], "a", 11),
        (["x", 'Bob\'s\t"old" shop'], "bob’s “old” shop", 12),
        (["Bob’s shop", "x"], "bob's", 11),
        (["12", "x"], "１２", 12),
    ],
)
async def test_an_exact_id_goes_before_an_exact_name_and_that_before_a_part(
    host: Host, names: list[str], name: str, project: int
) -> None:
    host.site.answers[PROJECTS] = JSONResponse([{"id": id, "name": name} for id, name in enumerate(names, 11)])
    host.site.answers[f"GET {resources(project, 'imports')}"] = JSONResponse({"imports": []})
    assert (await host.gets("list_imports", project=name))["project_id"] == project


@pytest.mark.parametrize(
    "shown",
    ["shop (11)", '"shop"', "“Shop”", "'shop'", '11 "shop"', 'project 11 "shop"', "project 11", '"web \\"old\\" shop"'],
)
async def test_a_project_goes_by_what_forms_and_errors_call_it(host: Host, shown: str) -> None:
    id = 12 if "old" in shown else 11
    host.site.answers[PROJECTS] = JSONResponse([{"id": 11, "name": "shop"}, {"id": 12, "name": 'web "old" shop'}])
    host.site.answers[f"GET {resources(id, 'imports')}"] = JSONResponse({"imports": []})
    assert (await host.gets("list_imports", project=shown))["project_id"] == id


async def test_of_several_that_match_the_person_chooses_among_those(host: Host, era: str) -> None:
    host.era = era
    host.person = person = Person(chosen("scratch (2)"))
    assert (await host.gets("list_imports", project="s"))["project_id"] == 2
    host.person = person = Person(chosen("webshop (1)"))
    host.site.answers[PROJECTS] = JSONResponse(
        [{"id": 1, "name": "webshop"}, {"id": 2, "name": "shop two"}, {"id": 3, "name": "x"}]
    )
    assert (await host.gets("list_imports", project="shop"))["project_id"] == 1
    assert person.choices == [["shop two (2)", "webshop (1)"]]


async def test_several_that_match_are_listed_where_nobody_can_be_asked(host: Host) -> None:
    assert await host.fails("delete_import", project="s", import_id=104) == (
        'Several projects match "s"; pass project_id. They are: 3 "orders-api", 2 "scratch", 1 "webshop".'
    )
    assert host.site.deletions() == []


async def test_a_name_that_no_project_has_lists_them_all(host: Host) -> None:
    assert await host.fails("list_imports", project="nothing") == (
        'No project has "nothing" in its name; pass project_id (in a list, project * means all). '
        'Your projects are: 3 "orders-api", 2 "scratch", 1 "webshop".'
    )


@pytest.mark.parametrize(
    ("project", "words"),
    [("orders", 'project "orders" and project_id 1 do not mean the same'), ("*", 'project "*" means all projects')],
)
async def test_a_name_and_an_id_have_to_mean_the_same_project(host: Host, project: str, words: str) -> None:
    assert words in await host.fails("list_imports", project=project, project_id=WEBSHOP)
    same = await host.gets("list_imports", project="shop", project_id=WEBSHOP)
    assert same["project_id"] == WEBSHOP


# All of them


async def test_all_projects_are_one_list_newest_first(host: Host, contract: ContractName, era: str) -> None:
    host.site.sandbox(contract)
    host.era = era
    host.settings["project_id"] = ORDERS
    page = await host.gets("list_imports", project="*")
    assert [item["id"] for item in page["imports"]] == NEWEST_FIRST
    assert {item["id"]: item["project_id"] for item in page["imports"]}[202] == ORDERS
    assert page["projects"] == [
        {"id": 1, "name": "webshop", "total": 7},
        {"id": 3, "name": "orders-api", "total": 2},
        {"id": 2, "name": "scratch", "total": 0},
    ]
    assert page["total"] == 9
    assert "project_id" not in page


async def test_a_query_counts_what_matches_in_each_project(host: Host) -> None:
    page = await host.gets("list_imports", project="*", query="status:pending")
    assert [(item["id"], item["project_id"]) for item in page["imports"]] == [(107, 1), (202, 3)]
    assert [(p["id"], p["total"]) for p in page["projects"]] == [(3, 1), (1, 1), (2, 0)]


@pytest.mark.parametrize("resource_type", RESOURCE_TYPES)
async def test_each_resource_of_all_projects_says_whose_it_is(host: Host, resource_type: str) -> None:
    page = await host.gets("list_resources", project="*", resource_type=resource_type)
    assert page["total"] == sum(project["total"] for project in page["projects"]) == len(page["resources"])
    for item in page["resources"]:
        one = await host.gets(
            "list_resources", project_id=item["project_id"], resource_type=resource_type, resource_id=item["id"]
        )
        assert ids(one["resources"]) == [item["id"]]


async def test_a_line_is_found_in_the_files_of_all_projects(host: Host) -> None:
    page = await host.gets("list_resources", project="*", resource_type="user-files", query="healthcheck cmd")
    assert [(item["id"], item["project_id"]) for item in page["resources"]] == [(1, 1)]
    assert "HEALTHCHECK" in page["resources"][0]["text"]


@pytest.mark.parametrize("number", [1, 100])
async def test_how_many_places_match_is_said_if_not_all_are_shown_for_want_of_room(host: Host, number: int) -> None:
    """Each file has 30 lines of five places, far apart, and others of no interest."""
    serve_projects(host, 2)
    lines = [f"{'needle ' * 5 if line % 100 == 50 else 'nothing'} {line}\n" for line in range(3_000)]
    for project in (1, 2):
        files = [{"id": project * 1_000 + id, "title": "a file", "text": "".join(lines)} for id in range(number)]
        host.site.answers[f"GET {resources(project, 'user-files')}"] = JSONResponse(files)
    page = await host.gets("list_resources", project="*", resource_type="user-files", query="needle", limit=100)
    assert len(page["resources"]) == min(2 * number, 100)
    for file in page["resources"]:
        assert file["matches"] == 150 > file["text"].count("needle") > 0
        first = file["text"].partition("\n")[0]
        assert "".join(lines)[file["text_offset"] :].startswith(first)


async def test_a_match_in_a_short_text_is_shown_where_there_is_no_room_for_all_of_it(host: Host) -> None:
    text = "nothing\n" * 40 + "the needle\n" + "nothing\n" * 10
    files = [{"id": id, "title": "t" * 40, "text": text} for id in range(1, 101)]
    serve_projects(host, 1)
    host.site.answers[f"GET {resources(1, 'user-files')}"] = JSONResponse(files)
    which: Json
    for which in ({"project": "*"}, {"project_id": 1}):
        page = await host.gets("list_resources", **which, resource_type="user-files", query="needle", limit=100)
        assert len(page["resources"]) == 100
        assert all("needle" in file["text"] and "matches" not in file for file in page["resources"])


async def test_an_empty_list_of_a_project_may_be_a_failure(host: Host) -> None:
    page = await host.gets("list_resources", project="*", resource_type="user-files", query="nothing like it")
    assert "note" not in page or "project 2" in page["note"]
    host.site.answers[f"GET {resources(1, 'user-files')}"] = JSONResponse([])
    host.site.answers[f"GET {resources(2, 'user-files')}"] = JSONResponse([])
    page = await host.gets("list_resources", project="*", resource_type="user-files")
    assert page["note"] == f"In projects 1, 2: {EMPTY}"


@pytest.mark.parametrize("which", [{"project": "*"}, {"project_id": WEBSHOP}])
async def test_a_kind_that_no_import_has_is_an_error_that_names_the_kinds(
    host: Host, contract: ContractName, which: Json
) -> None:
    host.site.sandbox(contract)
    assert await host.fails("list_imports", **which, source_type="gitlab") == NO_SUCH_KIND
    assert (await host.gets("list_imports", **which, source_type="github", query="absent"))["total"] == 0


async def test_a_kind_that_an_import_of_any_project_has_is_none(host: Host) -> None:
    serve_projects(host, 3)
    items = [import_item(9, "/srv", source_type="gitlab")]
    host.site.answers[f"GET {resources(2, 'imports')}"] = JSONResponse({"imports": items})
    page = await host.gets("list_imports", project="*", source_type="gitlab", query="absent")
    assert page["total"] == 0
    host.site.answers[f"GET {resources(2, 'imports')}"] = failure(500)
    page = await host.gets("list_imports", project="*", source_type="gitlab")
    assert (page["total"], page["left_out"]) == (0, 1)


async def test_later_pages_of_all_projects_ask_nothing_again(host: Host) -> None:
    serve_projects(host, 40)
    async with host.connected() as tools:
        page = await tools.gets("list_imports", project="*", limit=50)
        found, asked = ids(page["imports"]), len(host.site.requests)
        while "next_offset" in page:
            page = await tools.gets("list_imports", project="*", limit=50, offset=page["next_offset"])
            found += ids(page["imports"])
        assert len(host.site.requests) == asked
        last = await tools.gets("list_imports", project="*", limit=1, offset=-1)
    assert len(set(found)) == len(found) == page["total"] == 120
    assert ids(last["imports"]) == found[-1:]


async def test_of_many_projects_those_with_most_matches_are_named(host: Host) -> None:
    serve_projects(host, 300, imports=1)
    page = await host.gets("list_imports", project="*", limit=100)
    assert len(page["projects"]) < 300
    unnamed = 300 - len(page["projects"])
    assert page["note"].startswith(f"{unnamed} more projects, ")


async def test_no_project_is_missing_silently(host: Host) -> None:
    serve_projects(host, 14)
    for project in range(1, 13):
        host.site.answers[f"GET {resources(project, 'imports')}"] = failure(500)
    page = await host.gets("list_imports", project="*")
    assert (page["total"], [p["id"] for p in page["projects"]], page["left_out"]) == (6, [13, 14], 12)
    assert page["left_out_why"].count('"Café ') == 10
    assert "(status 500); project 2 " in page["left_out_why"]
    assert page["left_out_why"].endswith("; and 2 more")


async def test_a_project_for_which_there_was_no_time_is_named(host: Host) -> None:
    serve_projects(host, 3)
    host.settings["timeout"] = 3.0

    async def never(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await receive()

    host.site.answers[f"GET {resources(2, 'imports')}"] = never  # pyright: ignore[reportArgumentType]
    page = await host.gets("list_imports", project="*")
    assert [p["id"] for p in page["projects"]] == [1, 3]
    assert page["left_out_why"].startswith('project 2 "Café 2": ')


async def test_what_fails_for_every_project_fails(host: Host) -> None:
    serve_projects(host, 3)
    for project in range(1, 4):
        host.site.answers[f"GET {resources(project, 'imports')}"] = failure(500)
    assert "failed on its side" in await host.fails("list_imports", project="*")
    host.settings["session_cookie"] = "garbage"
    host.site.answers.clear()
    host.site.sandbox()
    assert (await host.fails("list_imports", project="*")).startswith("Neptun refused the session")


async def test_more_rows_than_may_be_remembered_are_read_again(host: Host) -> None:
    serve_projects(host, 4, imports=25)
    host.settings["max_response_mb"] = 1
    for project in range(1, 5):
        items = [
            {**import_item(project * 100 + n, "p" * 5_000, title="t" * 5_000), "description": "é" * 5_000}
            for n in range(30)
        ]
        host.site.answers[f"GET {resources(project, 'imports')}"] = JSONResponse({"imports": items})
    async with host.connected() as tools:
        page = await tools.gets("list_imports", project="*", limit=2)
        assert page["total"] == 120
        assert "each page is read again" in page["note"]
        host.site.requests.clear()
        later = await tools.gets("list_imports", project="*", limit=2, offset=2)
        assert PROJECTS in host.site.requests
        assert ids(page["imports"]) + ids(later["imports"]) == [429, 428, 427, 426]
        last = await tools.gets("list_imports", project="*", limit=2, offset=-2)
        assert ids(last["imports"]) == [101, 100]
        assert ids((await tools.gets("list_imports", project="*", limit=2, offset=30))["imports"]) == [329, 328]
        assert ids((await tools.gets("list_imports", project="*", limit=2, offset=-30))["imports"]) == [129, 128]
        assert "too far from either end" in await tools.fails("list_imports", project="*", limit=2, offset=60)


async def test_nothing_is_deleted_from_all_projects(host: Host, store: Store, era: str) -> None:
    host.era = era
    host.person = Person(YES)
    assert await host.fails("delete_import", project="*", import_id=104) == (
        "An import is deleted from one project, never from all. Nothing was deleted. Name the project."
    )
    assert host.site.requests == []


async def test_a_single_resource_is_of_one_project(host: Host) -> None:
    arguments: Json = {"resource_type": "user-files", "resource_id": 1}
    assert "resource_id goes with one project" in await host.fails("list_resources", project="*", **arguments)
