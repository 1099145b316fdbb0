"""What the tools list, against a Neptun as documented, as observed, and exactly as recorded."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.responses import JSONResponse

from neptun_mcp.command_line import command_line
from neptun_mcp.sandbox import COOKIE
from tests.running_neptun import BOB_COOKIE
from tests.support import (
    RECORDINGS,
    RESOURCE_TYPES,
    SCRATCH,
    WEBSHOP,
    ContractName,
    Host,
    Json,
    failure,
    ids,
    replay,
    resources,
)

pytestmark = pytest.mark.anyio

IMPORTS = f"GET {resources(WEBSHOP, 'imports')}"
EVERY_KIND = [107, 106, 105, 104, 103, 102, 101]


def times(created_at: str | None) -> Json:
    return {"created_at": created_at, "updated_at": created_at, "neptun_user_id": 1} if created_at else OWNER


OWNER: Json = {"neptun_user_id": 1}


# Imports


@pytest.mark.parametrize(
    ("contract", "expected"),
    [
        (
            "observed",
            {
                "source_type": "local_folder",
                "source_path": "C:\\Users\\alice\\Desktop\\old shop",
                "import_status": "failed",
                "error_message": "The folder holds more than 10,000 files",
            },
        ),
        (
            "documented",
            {
                "source_type": "local_folder",
                "source_path": "C:\\Users\\alice\\Desktop\\old shop",
                "title": "The shop before the move",
            },
        ),
    ],
)
async def test_an_import_has_every_field_that_the_server_knows(
    host: Host, contract: ContractName, expected: Json
) -> None:
    host.site.sandbox(contract)
    page = await host.gets("list_imports", project_id=WEBSHOP)
    (found,) = (item for item in page["imports"] if item["id"] == 102)
    assert found == {"id": 102, "project_id": WEBSHOP, **times("2026-07-08T19:45:10.000Z"), **expected}


async def test_documented_imports_keep_their_title_and_description(host: Host) -> None:
    host.site.sandbox("documented")
    page = await host.gets("list_imports", project_id=WEBSHOP, query="storefront")
    (found,) = page["imports"]
    assert (found["title"], found["description"]) == (
        "The shop itself",
        "Storefront, checkout and the pages around them",
    )


async def test_observed_imports_keep_their_branch(host: Host) -> None:
    page = await host.gets("list_imports", project_id=WEBSHOP)
    assert [item.get("source_ref") for item in page["imports"]] == ["v3", "release", None, None, None, None, "main"]


async def test_a_file_tree_is_not_sent(host: Host) -> None:
    page = await host.gets("list_imports", project_id=WEBSHOP)
    assert not any("file_tree" in item for item in page["imports"])


async def test_all_kinds_of_imports_come_newest_first(host: Host, contract: ContractName, era: str) -> None:
    """105, 104 and 103 are of the same second."""
    host.site.sandbox(contract)
    host.era = era
    page = await host.gets("list_imports", project_id=WEBSHOP)
    assert ids(page["imports"]) == EVERY_KIND
    assert page == {"project_id": WEBSHOP, "total": 7, "imports": page["imports"]}


async def test_imports_without_a_date_come_last(host: Host) -> None:
    for record in host.site.sandbox().imports:
        if record["id"] in (102, 104, 107):
            record["created_at"] = None
    page = await host.gets("list_imports", project_id=WEBSHOP)
    assert ids(page["imports"]) == [106, 105, 103, 101, 107, 104, 102]


@pytest.mark.parametrize(
    ("contract", "source_type", "expected"),
    [
        ("observed", "local_folder", [104, 103, 102]),
        ("observed", "github_repository_installation", [106, 101]),
        ("observed", "public_github_repository_url", [107, 105]),
        ("observed", "github", [107, 106, 105, 101]),
        ("observed", " GitHub ", [107, 106, 105, 101]),
        ("observed", "", EVERY_KIND),
        ("documented", "local_folder", [104, 103, 102]),
        ("documented", "github", [107, 106, 105, 101]),
        ("documented", " GitHub ", [107, 106, 105, 101]),
        ("documented", "", EVERY_KIND),
    ],
)
async def test_source_type_filters_by_kind(
    host: Host, contract: ContractName, source_type: str, expected: list[int]
) -> None:
    """On a server with an unknown contract, and again once it is known."""
    host.site.sandbox(contract)
    async with host.connected() as tools:
        for _ in range(2):
            page = await tools.gets("list_imports", project_id=WEBSHOP, source_type=source_type)
            assert ids(page["imports"]) == expected
            assert page["total"] == len(expected)


async def test_source_type_filters_by_a_kind_that_only_the_server_knows(host: Host) -> None:
    items = [
        {"id": 1, "source_type": "gitlab", "source_path": "a"},
        {"id": 2, "source_type": "zip", "source_path": "b"},
    ]
    host.site.answers[IMPORTS] = JSONResponse({"imports": items})
    page = await host.gets("list_imports", project_id=WEBSHOP, source_type="gitlab")
    assert ids(page["imports"]) == [1]


async def test_a_known_source_type_without_imports_is_an_empty_list(host: Host, contract: ContractName) -> None:
    host.site.sandbox(contract)
    page = await host.gets("list_imports", project_id=SCRATCH, source_type="github")
    assert page == {"project_id": SCRATCH, "total": 0, "imports": []}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("shop", [106, 104, 103, 102, 101]),
        ("SHOP nginx", [103]),
        ("nginx  shop", [103]),
        ("10,000 files", [102]),
        ("c:\\users", [102]),
        ("pending", [107]),
        ("v3", [107]),
        ("nothing has this", []),
        ("  ", EVERY_KIND),
    ],
)
async def test_query_finds_imports_that_contain_all_words(host: Host, query: str, expected: list[int]) -> None:
    page = await host.gets("list_imports", project_id=WEBSHOP, query=query)
    assert (ids(page["imports"]), page["total"]) == (expected, len(expected))


async def test_the_contract_is_learned_once(host: Host, contract: ContractName) -> None:
    """A documented server is asked one question a call, an observed one three; who the person is, once."""
    host.site.sandbox(contract)
    follow_ups = [
        f"{IMPORTS}?import_source_type={kind}"
        for kind in ("github_repository_installation", "public_github_repository_url")
    ]
    once = [IMPORTS, *(follow_ups if contract == "observed" else [])]
    async with host.connected() as tools:
        await tools.gets("list_imports", project_id=WEBSHOP)
        assert sorted(host.site.requests) == ["GET /api/_auth/session", *once]
        host.site.requests.clear()
        await tools.gets("list_imports", project_id=WEBSHOP)
        assert sorted(host.site.requests) == once


# Resources

OBSERVED_RESOURCES: dict[str, list[Json]] = {
    "template-collections": [
        {
            "id": 22,
            "name": "compose",
            "is_shared": False,
            "share_uuid": "6f1c2b1e-94d3-4c58-a7e2-000000000022",
            **times("2026-09-17T12:00:00.000Z"),
        },
        {
            "id": 21,
            "name": "node containers",
            "description": "Dockerfiles for Node services",
            "is_shared": True,
            "share_uuid": "6f1c2b1e-94d3-4c58-a7e2-000000000021",
            **times("2026-06-20T17:25:36.000Z"),
        },
        {
            "id": 23,
            "name": "proxies",
            "description": "nginx in front of anything",
            "is_shared": False,
            "share_uuid": "6f1c2b1e-94d3-4c58-a7e2-000000000023",
            **times(None),
        },
    ],
    "github-installations": [
        {
            "id": 13,
            "github_account_type": "Organization",
            "github_account_avatar_url": "https://avatars.githubusercontent.com/u/955500?v=4",
            "github_account_id": "955500",
            "github_installation_id": 13,
            **times("2026-10-05T08:08:08.000Z"),
        },
        {
            "id": 12,
            "github_account_type": "Organization",
            "github_account_avatar_url": "https://avatars.githubusercontent.com/u/901234?v=4",
            "github_account_id": "901234",
            "github_account_name": "tea-shop-team",
            "github_installation_id": 12,
            **times("2026-09-30T11:05:00.000Z"),
        },
        {
            "id": 11,
            "github_account_type": "User",
            "github_account_avatar_url": "https://avatars.githubusercontent.com/u/70110?v=4",
            "github_account_id": "70110",
            "github_account_name": "alice",
            "github_installation_id": 11,
            **times("2026-06-15T08:19:02.000Z"),
        },
    ],
    "chat-conversations": [
        {
            "id": 64,
            "name": "Certificates on Mondays",
            "model": "mistralai/Mistral-Nemo-Instruct-2407",
            **times("2026-10-12T15:45:00.000Z"),
        },
        {
            "id": 63,
            "name": "Health checks",
            "model": "qwen/Qwen2.5-72B-Instruct",
            **times("2026-06-16T10:00:00.000Z"),
        },
        {"id": 62, "name": "Smaller image", "model": "google/gemma-2-27b-it", **times("2026-06-16T10:00:00.000Z")},
        {"id": 61, "name": "First Dockerfile", "model": "google/gemma-2-27b-it", **times("2026-06-15T08:55:00.000Z")},
    ],
}


@pytest.mark.parametrize("resource_type", OBSERVED_RESOURCES)
async def test_observed_resources_have_every_field_newest_first(host: Host, resource_type: str) -> None:
    expected = OBSERVED_RESOURCES[resource_type]
    page = await host.gets("list_resources", project_id=WEBSHOP, resource_type=resource_type)
    assert page == {
        "project_id": WEBSHOP,
        "resource_type": resource_type,
        "total": len(expected),
        "resources": expected,
    }


async def test_observed_files_come_newest_first_and_undated_last(host: Host) -> None:
    page = await host.gets("list_resources", project_id=WEBSHOP, resource_type="user-files")
    assert ids(page["resources"]) == [6, 4, 3, 2, 1, 7, 5]


async def test_a_file_has_every_field(host: Host) -> None:
    page = await host.gets("list_resources", project_id=WEBSHOP, resource_type="user-files")
    readme = page["resources"][-1]
    assert readme.pop("text").startswith("# Tea shop\n")
    assert readme == {"id": 5, "title": "README", "language": "markdown", "extension": "md", **OWNER}


DOCUMENTED_DATES = times("2025-02-16T17:42:11.000Z") | {"neptun_user_id": 456}
DOCUMENTED_RESOURCES: list[tuple[str, Json]] = [
    (
        "user-files",
        {"title": "My File", "text": "File content", "language": "typescript", "extension": "ts"},
    ),
    (
        "template-collections",
        {
            "name": "My Template Collection",
            "description": "Collection description",
            "is_shared": False,
            "share_uuid": "550e8400-e29b-41d4-a716-446655440000",
        },
    ),
    (
        "github-installations",
        {
            "github_account_type": "User",
            "github_account_avatar_url": "https://avatars.githubusercontent.com/u/123?v=4",
            "github_account_id": "12345",
            "github_account_name": "username",
        },
    ),
    (
        "github-installations",
        {"installation_id": "9", "account_name": "username", "repository_selection": "all"},
    ),
    ("chat-conversations", {"name": "My Chat", "model": "google/gemma-2-7b-it"}),
    (
        "chat-conversations",
        {"name": "My Chat", "description": "About it", "model_publisher": "google", "model_name": "gemma-2-7b-it"},
    ),
]
"""The examples of the documentation, and the other set of fields in its type definitions."""


@pytest.mark.parametrize(("resource_type", "fields"), DOCUMENTED_RESOURCES)
async def test_no_documented_field_of_a_resource_is_dropped(host: Host, resource_type: str, fields: Json) -> None:
    item = {"id": 123, **fields, **DOCUMENTED_DATES}
    host.site.answers[f"GET {resources(WEBSHOP, resource_type)}"] = JSONResponse([item])
    (shown,) = (await host.gets("list_resources", project_id=WEBSHOP, resource_type=resource_type))["resources"]
    assert list(shown.items()) == list(item.items())


async def test_documented_fields_of_an_import_keep_their_order_among_the_observed_ones(host: Host) -> None:
    documented = ["id", "source_type", "source_path", "title", "description", *times("2025-02-16"), "project_id"]
    item = {name: 7 if "id" in name else "2025-02-16T17:42:11.000Z" for name in documented}
    observed = {"source_ref": "main", "import_status": "failed", "error_message": "why"}
    host.site.answers[IMPORTS] = JSONResponse({"imports": [{**observed, **item}]})
    (shown,) = (await host.gets("list_imports", project_id=WEBSHOP))["imports"]
    assert [name for name in shown if name not in observed] == documented
    assert list(shown)[3:8] == ["source_ref", "title", "description", "import_status", "error_message"]


async def test_an_empty_project_has_empty_lists(host: Host, contract: ContractName) -> None:
    host.site.sandbox(contract)
    nothing: Json = {"project_id": SCRATCH, "total": 0}
    async with host.connected() as tools:
        assert await tools.gets("list_imports", project_id=SCRATCH) == {**nothing, "imports": []}
        for resource_type in RESOURCE_TYPES:
            page = await tools.gets("list_resources", project_id=SCRATCH, resource_type=resource_type)
            note = "Neptun also sends an empty list when it fails."
            assert page == {**nothing, "resource_type": resource_type, "note": note, "resources": []}


@pytest.mark.parametrize(
    ("resource_type", "query", "expected"),
    [
        ("user-files", "postgres", [2, 5]),
        ("user-files", "dockerfile", [1]),
        ("user-files", "HEALTHCHECK cmd", [1]),
        ("user-files", "runbook restore", [6]),
        ("user-files", "yaml", [3, 2]),
        ("template-collections", "NGINX", [23]),
        ("template-collections", "node services", [21]),
        ("github-installations", "tea", [12]),
        ("github-installations", "70110", [11]),
        ("chat-conversations", "gemma", [62, 61]),
        ("chat-conversations", "gemma dockerfile", [61]),
        ("chat-conversations", "absent", []),
    ],
)
async def test_query_finds_resources_that_contain_all_words(
    host: Host, resource_type: str, query: str, expected: list[int]
) -> None:
    page = await host.gets("list_resources", project_id=WEBSHOP, resource_type=resource_type, query=query)
    assert (ids(page["resources"]), page["total"]) == (expected, len(expected))


async def test_a_resource_is_found_by_its_id(host: Host) -> None:
    page = await host.gets("list_resources", project_id=WEBSHOP, resource_type="template-collections", resource_id=21)
    assert page["resources"] == [OBSERVED_RESOURCES["template-collections"][1]]
    assert page["total"] == 1


async def test_a_resource_that_is_not_there_is_not_found(host: Host) -> None:
    message = await host.fails("list_resources", project_id=WEBSHOP, resource_type="user-files", resource_id=99)
    assert message == (
        "There is no resource 99 among the user-files of project 1. "
        "Call list_resources without resource_id to see them with their ids."
    )


# Refusals

LISTS: list[Json] = [
    {"tool": "list_imports"},
    *({"tool": "list_resources", "resource_type": resource_type} for resource_type in RESOURCE_TYPES),
]
YOUR_PROJECTS = 'Your projects are: 3 "orders-api", 2 "scratch", 1 "webshop".'


async def errors_of_lists(host: Host, project_id: int) -> set[str]:
    """What all the lists of a project say."""
    async with host.connected() as tools:
        return {await tools.fails(**arguments, project_id=project_id) for arguments in LISTS}


@pytest.mark.parametrize("project_id", [7, 99999])
async def test_an_unknown_project_lists_the_persons_own(host: Host, contract: ContractName, project_id: int) -> None:
    """Project 7 is Bob's."""
    host.site.sandbox(contract)
    expected = f"There is no project {project_id}, or it is not yours. {YOUR_PROJECTS}"
    assert await errors_of_lists(host, project_id) == {expected}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (
            400,
            "Neptun refused the request (400): it does not accept the value of an argument. "
            "Ids are positive whole numbers up to 2147483647, as list results show them.",
        ),
        (403, f"There is no project 9, or it is not yours. {YOUR_PROJECTS}"),
        (404, f"There is no project 9, or it is not yours. {YOUR_PROJECTS}"),
        (
            500,
            "Neptun at {url} failed on its side (status 500). "
            "Nothing is wrong with the request: try again in a minute.",
        ),
    ],
)
async def test_each_documented_refusal_is_explained(host: Host, status: int, message: str) -> None:
    for end in ("imports", *RESOURCE_TYPES):
        host.site.answers[f"GET {resources(9, end)}"] = failure(status)
    assert await errors_of_lists(host, 9) == {message.format(url=host.site.url)}


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refusal_of_a_project_that_exists_is_a_failure_of_neptun(host: Host, status: int) -> None:
    """Recorded: a running server answers 404 when its database fails."""
    host.site.answers[IMPORTS] = failure(status)
    message = await host.fails("list_imports", project_id=WEBSHOP)
    assert message.startswith(f"Neptun at {host.site.url} failed on its side (status {status}).")


@pytest.mark.parametrize("cookie", ["garbage", COOKIE[:421], COOKIE[::-1]])
async def test_a_bad_session_is_refused_with_advice(host: Host, contract: ContractName, cookie: str) -> None:
    host.site.sandbox(contract)
    host.settings["session_cookie"] = cookie
    assert await errors_of_lists(host, WEBSHOP) == {
        "Neptun refused the session: the cookie is expired or wrong. "
        f"Run `{command_line()} login --base-url {host.site.url}` and remove NEPTUN_SESSION_COOKIE in the host's entry "
        f"for this server, and restart it; or put a fresh cookie there (log in at {host.site.url} in a browser, open "
        "the developer tools (F12), Application or Storage, Cookies, and copy the value of neptun-session)."
    }


async def test_a_user_id_of_somebody_else_is_named(host: Host, contract: ContractName) -> None:
    host.site.sandbox(contract)
    host.settings["user_id"] = 2
    assert await host.fails("list_imports", project_id=WEBSHOP) == (
        "NEPTUN_USER_ID is 2, but the session belongs to user 1. "
        "Remove NEPTUN_USER_ID (it is found from the session) or correct it in the host's entry for this server, and "
        "restart it."
    )


async def test_each_person_sees_their_own_projects(host: Host, contract: ContractName) -> None:
    host.site.sandbox(contract)
    host.settings["session_cookie"] = BOB_COOKIE
    assert ids((await host.gets("list_imports"))["imports"]) == [301]


# A server that answers exactly as recorded


async def test_recorded_imports_of_all_kinds_come_newest_first(host: Host, era: str) -> None:
    host.site.app = replay()
    host.era = era
    page = await host.gets("list_imports", project_id=1)
    assert ids(page["imports"]) == [9, 7, 6, 5, 4, 3, 2, 1]


async def test_the_recorded_storage_order_makes_no_difference(host: Host) -> None:
    for name in ("imports_GET_order_before_put", "imports_GET_order_after_put"):
        host.site.app = replay(name)
        page = await host.gets("list_imports", project_id=1)
        assert ids(page["imports"]) == [9, 7, 6, 5, 4, 3, 2, 1]


async def test_github_finds_both_recorded_kinds(host: Host) -> None:
    host.site.app = replay()
    page = await host.gets("list_imports", project_id=1, source_type="github")
    assert {(item["id"], item["source_type"]) for item in page["imports"]} == {
        (3, "github_repository_installation"),
        (4, "github_repository_installation"),
        (5, "public_github_repository_url"),
        (6, "public_github_repository_url"),
    }


async def test_an_import_shows_every_recorded_field_but_nulls_and_the_tree(host: Host) -> None:
    host.site.app = replay()
    recorded = RECORDINGS["imports_GET_import_source_type_github_repository_installation"].items
    page = await host.gets("list_imports", project_id=1, source_type="github_repository_installation")
    assert page["imports"] == [shown(item) for item in reversed(recorded)]


@pytest.mark.parametrize(
    ("resource_type", "expected"),
    [
        ("user-files", [3, 2, 1]),
        ("template-collections", [2, 1]),
        ("github-installations", [1]),
        ("chat-conversations", [2, 1]),
    ],
)
async def test_a_resource_shows_every_recorded_field_but_nulls(
    host: Host, resource_type: str, expected: list[int]
) -> None:
    host.site.app = replay()
    recorded = RECORDINGS[f"resources_GET_{resource_type}_mixed_project"].items
    page = await host.gets("list_resources", project_id=1, resource_type=resource_type)
    assert ids(page["resources"]) == expected
    assert page["resources"] == [shown(item) for id in expected for item in recorded if item["id"] == id]


@pytest.mark.parametrize("name", ["ties_and_nulls", "ties_after_analyze"])
async def test_recorded_ties_go_by_id_and_undated_files_come_last(host: Host, name: str) -> None:
    host.site.app = replay(f"resources_GET_user-files_{name}")
    page = await host.gets("list_resources", project_id=5, resource_type="user-files")
    titles = [item["title"] for item in page["resources"]]
    assert titles == ["newest", "new", "tie3", "tie2", "tie1", "old", "nullB", "nullA"]


async def test_an_unknown_project_lists_the_recorded_ones(host: Host) -> None:
    host.site.app = replay()
    message = await host.fails("list_imports", project_id=99999)
    projects = RECORDINGS["projects_GET_list"].items
    assert message.startswith("There is no project 99999, or it is not yours. Your projects are: ")
    assert all(f'{project["id"]} "{project["name"]}"' in message for project in projects)


def shown(item: Json) -> Json:
    """A recorded item as the tools show it."""
    as_text: dict[str, Any] = {"github_account_id": str(item.get("github_account_id"))}
    return {key: as_text.get(key, value) for key, value in item.items() if value is not None and key != "file_tree"}
