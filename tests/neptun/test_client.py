"""The client against every recording of the endpoints, and against both contracts."""

from __future__ import annotations

import re
from typing import Any, cast
from urllib.parse import parse_qs

import anyio
import httpx2 as httpx
import pytest
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from neptun_mcp import Credentials, NeptunClient, NeptunError
from neptun_mcp.neptun.client import Deletion, is_kind
from neptun_mcp.neptun.errors import ImportNotFound, NotLikeNeptun, NotNeptun
from neptun_mcp.neptun.models import GITHUB_KINDS, Listing, ResourceType
from neptun_mcp.sandbox import COOKIE
from tests.running_neptun import create_app
from tests.support import (
    RECORDINGS,
    WEBSHOP,
    ContractName,
    Recording,
    Site,
    as_id,
    client_for,
    replay,
    resources,
)

pytestmark = pytest.mark.anyio


# Recordings

MESSAGES = {
    "session refused": r"Neptun refused the session: the cookie is expired or wrong\.",
    "not found": r"There is no (project|import) ",
    "of another user": r"The configured user id is \d+, but the session belongs to user 1\.",
    "bad request": r"Neptun refused the request \(400\)",
    "failed on its side": r"Neptun at http://127\.0\.0\.1:\d+ failed on its side",
    "not like Neptun": r"http://127\.0\.0\.1:\d+ does not answer like Neptun: it refused with status 401",
}
"""How an error begins, by the outcome of the request."""

OUTCOMES = {
    "success": [
        "imports_GET_(accept_text_html|both_parameters|empty_project|no_accept|no_query|order_.*|with_origin)",
        "imports_GET_import_source_type_(local_folder|github_repository_installation|public_github_repository_url)",
        "imports_GET_(project_0x1|project_1e0|project_without_.*|source_type_.*|trailing_slash_.*|user_id_01)",
        "imports_DELETE_(accept_text_html|no_accept|success.*|trailing_slash|with_content-type_no_body)",
        "resources_GET_.*_(empty_project|mixed_project|ties_.*|after_github_import_delete)",
        "resources_GET_(accept_xml|trailing_slash|type_imports|unknown_query|xss_query)",
        "projects_GET_(empty_list|list|trailing_slash)",
        "dbfail_resources_GET_.*",
    ],
    "session refused": [
        "(imports_GET|imports_DELETE|projects_GET)_missing_cookie",
        "imports_GET_(garbage|truncated)_cookie",
        "resources_GET_[a-z]+-[a-z]+_(garbage|missing|truncated)_cookie",
    ],
    "not found": [
        "imports_GET_project_99999_unknown",
        "imports_DELETE_(same_id_again|id_(1e1|2147483647|empty|of_another_.*|plus1))",
        "resources_GET_.*_(other_users_project|project_99999)",
    ],
    "of another user": [".*_user_id_not_session", "projects_GET_user_huge"],
    "bad request": [
        "imports_GET_(both_parameters_conflict|import_source_type_(all|empty|github)|xss_query|xss_query_lt)",
        r"imports_GET_project_(0|1\.5|1e400|abc)",
        "imports_DELETE_(id_(0|1_2|abc|minus1|null|_+2F_+)|project_(0|abc))",
        "resources_GET_.*_project_(0|1_5|abc|minus1)",
        "resources_GET_(type_(bogus|github|import|user_files)|user_id_(0|abc))",
        "projects_GET_(filter_bogus|user_abc)",
    ],
    "failed on its side": [
        "dbdown_(imports_GET|imports_DELETE|resources_GET)",
        "dbfail_imports_(GET|DELETE)",
        "imports_GET_double_slash",
        "resources_GET_(no_type_slash|.*_project_99999999999)",
    ],
    # The failing server never said so, but the import is not in the list.
    "gone": ["imports_DELETE_id_(2147483648|9007199254740993)"],
    "not like Neptun": [".*_accept_text_html_missing_cookie"],
}
ENDPOINTS = re.compile("(imports|resources|projects|db[a-z]+_(imports|resources))_")
EXPECTED = [
    (name, outcome)
    for name in RECORDINGS
    for outcome, patterns in OUTCOMES.items()
    if ENDPOINTS.match(name) and any(re.fullmatch(pattern, name) for pattern in patterns)
]
PATH = re.compile(r"/api/+users/([^/]+)/projects(?:/([^/]+)/resources/([^/?]*)(?:/([^/?]*))?)?/?(?:\?(.*))?")


def test_every_recording_of_the_endpoints_has_one_expected_outcome() -> None:
    assert sorted(name for name, _ in EXPECTED) == sorted(filter(ENDPOINTS.match, RECORDINGS))


@pytest.mark.parametrize(("name", "outcome"), EXPECTED, ids=[name for name, _ in EXPECTED])
async def test_a_recorded_answer_has_its_expected_outcome(site: Site, name: str, outcome: str) -> None:
    recording = RECORDINGS[name]
    path = PATH.fullmatch(recording.request["path"])
    assert path
    # The client never sends a request without a cookie: a bad one stands in.
    client = client_for(site, user_id=as_id(path[1]), cookie=recording.session or "garbage")
    site.app = replay(at=dict.fromkeys(natural_requests(recording, path), name))
    if recording.request["method"] == "DELETE" and path[1] == "1":
        # Where the database failed, the import was still there (noted with the recording).
        there = [{"id": 16, "source_type": "local_folder", "source_path": "/"}] if name.startswith("db") else []
        site.answers[f"GET {resources(as_id(path[2]), 'imports')}"] = JSONResponse({"imports": there})
    async with client:
        assert await outcome_of(client, recording, path) == outcome


def natural_requests(recording: Recording, path: re.Match[str]) -> list[str]:
    """What the client sends for what was asked in the recording, in one way or another."""
    user, project, end, import_id, _ = path.groups()
    if project is None:
        return [f"GET /api/users/{user}/projects"]
    base = f"{recording.request['method']} /api/users/{user}/projects/{project}/resources/{end}"
    if recording.request["method"] == "DELETE":
        return [f"{base}/{import_id}"]
    return [base, f"{base}?import_source_type={kind_of(path)}"]


def kind_of(path: re.Match[str]) -> str:
    """The kind of imports that was asked for; without one a running server sends local folders only."""
    (kind,) = parse_qs(path[5] or "").get("import_source_type", [""])
    return kind if kind in GITHUB_KINDS else "local_folder"


async def outcome_of(client: NeptunClient, recording: Recording, path: re.Match[str]) -> str:
    """Do what was done in the recording, with the ids as they were sent. Returns the outcome."""
    _, project, end, import_id, _ = path.groups()
    found: Listing[Any]
    try:
        if project is None:
            found = await client.list_projects()
        elif recording.request["method"] == "DELETE":
            deletion = await client.delete_import(as_id(project), as_id(import_id))
            return "success" if deletion.confirmed else "gone"
        elif end == "imports":
            found = await client.list_imports(as_id(project), kind_of(path))
        else:
            found = await client.list_resources(as_id(project), cast(ResourceType, end))
    except NeptunError as error:
        (outcome,) = (outcome for outcome, start in MESSAGES.items() if re.match(start, str(error)))
        return outcome
    assert found.left_out == []
    assert {item.id for item in found.items} == {item["id"] for item in recording.items}
    return "success"


# The two contracts


async def test_the_contract_is_learned_from_the_first_list_of_imports(site: Site) -> None:
    for contract, by_kind in {"observed": True, "documented": False}.items():
        site.sandbox(cast(ContractName, contract))
        async with client_for(site) as client:
            await client.list_resources(WEBSHOP, "user-files")
            assert client.learned.imports_by_kind is None
            await client.list_imports(WEBSHOP)
            assert client.learned.imports_by_kind is by_kind


async def test_a_changed_contract_is_learned_again(site: Site) -> None:
    async with client_for(site) as client:
        for contract in ("observed", "documented", "observed"):
            site.sandbox(contract)
            imports = await client.list_imports(WEBSHOP)
            assert [item.id for item in imports.items] == [107, 106, 105, 104, 103, 102, 101]


@pytest.mark.parametrize(
    ("kind", "queries"),
    [
        (None, ["", *GITHUB_KINDS]),
        ("local_folder", [""]),
        ("github", list(GITHUB_KINDS)),
        (GITHUB_KINDS[0], [GITHUB_KINDS[0]]),
        (GITHUB_KINDS[1], [GITHUB_KINDS[1]]),
    ],
)
async def test_an_observed_server_is_asked_only_for_the_kinds_that_are_wanted(
    site: Site, kind: str | None, queries: list[str]
) -> None:
    path = f"GET {resources(WEBSHOP, 'imports')}"
    async with client_for(site) as client:
        await client.list_imports(WEBSHOP)
        site.requests.clear()
        await client.list_imports(WEBSHOP, kind)
    assert sorted(site.requests) == [path + (f"?import_source_type={query}" if query else "") for query in queries]


async def test_the_documented_filter_is_never_sent(site: Site, contract: ContractName) -> None:
    """Observed: an unknown value of the other filter is refused, and this one is ignored."""
    site.sandbox(contract)
    async with client_for(site) as client:
        await client.list_imports(WEBSHOP, "github")
    assert not any("?source_type" in request for request in site.requests)


@pytest.mark.parametrize(
    ("source_type", "kind", "same"),
    [
        ("github", "github", True),
        ("github_repository_installation", "github", True),
        ("public_github_repository_url", "github", True),
        ("local_folder", "github", False),
        ("github", "github_repository_installation", False),
        ("gitlab", "gitlab", True),
    ],
)
def test_github_stands_for_every_kind_of_github_import(source_type: str, kind: str, same: bool) -> None:
    assert is_kind(source_type, kind) is same


# Deletion, as a library


async def test_a_deletion_needs_no_list_first(site: Site, contract: ContractName) -> None:
    store = site.sandbox(contract)
    async with client_for(site, user_id=1) as client:
        assert await client.delete_import(WEBSHOP, 104) == Deletion(confirmed=True)
    assert 104 not in {record["id"] for record in store.imports}
    assert site.requests == [f"DELETE {resources(WEBSHOP, 'imports/104')}"]


@pytest.mark.parametrize("import_id", [99, 201, 301])
async def test_deleting_an_unknown_import_is_not_found(site: Site, contract: ContractName, import_id: int) -> None:
    site.sandbox(contract)
    async with client_for(site) as client:
        with pytest.raises(ImportNotFound):
            await client.delete_import(WEBSHOP, import_id)
    assert len(site.deletions()) == 1


async def test_an_import_known_to_exist_that_is_not_there_is_gone(site: Site, contract: ContractName) -> None:
    site.sandbox(contract)
    async with client_for(site) as client:
        assert await client.delete_import(WEBSHOP, 99, known_to_exist=True) == Deletion(
            confirmed=False, gone_before=True
        )


async def test_of_two_deletions_at_once_one_finds_it_gone(site: Site) -> None:
    async with client_for(site, user_id=1) as client:
        outcomes: list[Deletion] = []

        async def delete() -> None:
            outcomes.append(await client.delete_import(WEBSHOP, 104, known_to_exist=True))

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(delete)
    assert outcomes == [Deletion(confirmed=True), Deletion(confirmed=False, gone_before=True)]


async def test_over_a_transport_that_was_given_an_unclear_answer_is_looked_into_too(contract: ContractName) -> None:
    neptun = create_app(contract=contract)

    async def lose_the_answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "DELETE":
            neptun.store.imports[:] = [one for one in neptun.store.imports if one["id"] != 104]
            await Response(status_code=202)(scope, receive, send)
        else:
            await neptun(scope, receive, send)

    transport = httpx.ASGITransport(app=lose_the_answer)
    async with NeptunClient(Credentials(COOKIE), http_transport=transport) as client:
        assert await client.delete_import(WEBSHOP, 104) == Deletion(confirmed=False)


# Answers of the wrong shape


@pytest.mark.parametrize("body", [{}, {"imports": None}, {"imports": {}}, {"error": "no"}, "text", 5, None])
async def test_a_body_without_a_list_is_not_like_neptun(site: Site, body: Any) -> None:
    site.answers[f"GET {resources(WEBSHOP, 'imports')}"] = JSONResponse(body)
    async with client_for(site) as client:
        with pytest.raises(NotLikeNeptun, match="it sent JSON, but not the list that was asked for"):
            await client.list_imports(WEBSHOP)


@pytest.mark.parametrize("status", [404, 405])
async def test_an_address_without_neptuns_pages_is_not_reachable(site: Site, status: int) -> None:
    """Of the two that need no session, a deployment may lack one; a page of HTML is neither."""
    site.answers["HEAD /api/auth/check"] = Response(status_code=status)
    async with client_for(site) as client:
        await client.check_reachable()
        site.answers["GET /api/_auth/session"] = Response("<html>Welcome</html>", media_type="text/html")
        with pytest.raises(NotNeptun, match="none of the pages"):
            await client.check_reachable()
    assert set(site.cookies) == {None}


async def test_the_address_may_have_a_path(site: Site) -> None:
    site.answers["GET /neptun/api/users/1/projects"] = JSONResponse([{"id": 5, "name": "behind a proxy"}])
    async with NeptunClient(Credentials(COOKIE), user_id=1, base_url=f"{site.url}/neptun") as client:
        assert [project.id for project in (await client.list_projects()).items] == [5]


async def test_projects_are_sorted_by_name(site: Site, contract: ContractName) -> None:
    site.sandbox(contract)
    async with client_for(site) as client:
        names = [project.name for project in (await client.list_projects()).items]
    assert names == ["orders-api", "scratch", "webshop"]
