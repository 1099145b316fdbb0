"""One resource by its id: from its own endpoint, if there is one, and what is certain if that does not answer 200."""

from __future__ import annotations

from typing import Any, TypeAlias

import pytest
from starlette.responses import JSONResponse, Response

from neptun_mcp.neptun.errors import (
    NeptunError,
    NotLikeNeptun,
    ProjectNotFound,
    ResourceNotFound,
    ServerFailed,
    SessionRefused,
    WrongUser,
)
from neptun_mcp.neptun.models import ResourceType
from tests.support import (
    RECORDINGS,
    RESOURCE_TYPES,
    WEBSHOP,
    ContractName,
    Site,
    as_id,
    client_for,
    failure,
    replay,
    resources,
)

pytestmark = pytest.mark.anyio

SESSION, CHECK, PROJECTS = "GET /api/_auth/session", "HEAD /api/auth/check", "GET /api/users/1/projects"
FILES = f"GET {resources(WEBSHOP, 'user-files')}"
ONE = f"{FILES}/1"


# Recordings

Outcome: TypeAlias = tuple[list[str], type[NeptunError], str]
"""Recordings that stand for the list, the error, and what it says."""


@pytest.mark.parametrize("resource_type", RESOURCE_TYPES)
async def test_a_recorded_resource_takes_one_request(site: Site, resource_type: ResourceType) -> None:
    recording = RECORDINGS[f"resource_GET_{resource_type}_linked"]
    site.app = replay()
    async with client_for(site, user_id=1) as client:
        found = await client.get_resource(1, resource_type, 1)
    assert found.id == 1
    assert found.created_at in recording.response["body"]
    assert site.requests == [recording.request_line]


UNKNOWN: Outcome = (
    [],
    ResourceNotFound,
    r"There is no resource \w+ among the user-files of project 1\.$",
)
NOT_FOUND: dict[str, Outcome] = {
    **dict.fromkeys(
        (
            "resource_GET_user-files_id_0",
            "resource_GET_user-files_id_2147483648",
            "resource_GET_user-files_id_abc",
            "resource_GET_user-files_of_another_user",
            "resource_GET_user-files_owned_not_linked",
            "resource_GET_user-files_unknown",
        ),
        UNKNOWN,
    ),
    "resource_GET_user-files_missing_cookie": ([], SessionRefused, "refused the session"),
    "resource_GET_user-files_project_unknown": (
        ["resources_GET_template-collections_project_99999"],
        ProjectNotFound,
        r"There is no project 99999, or it is not yours\.",
    ),
    "resource_GET_user-files_user_id_not_session": (
        ["resources_GET_template-collections_user_id_not_session"],
        WrongUser,
        "The configured user id is 2",
    ),
    "dbdown_resource_GET": (["dbdown_resources_GET"], ServerFailed, "failed on its side"),
    "dbfail_resource_GET_user-files": (
        ["dbfail_resources_GET_user-files"],
        ResourceNotFound,
        r"There is no resource 1 among the user-files of project 1, or Neptun failed: it sent an empty list",
    ),
}


def test_every_recording_of_the_endpoint_has_an_expected_outcome() -> None:
    recorded = {name for name in RECORDINGS if "resource_GET" in name}
    assert recorded == {*NOT_FOUND, *(f"resource_GET_{resource_type}_linked" for resource_type in RESOURCE_TYPES)}


@pytest.mark.parametrize("name", NOT_FOUND)
async def test_a_missing_resource_is_reported_as_far_as_it_is_certain(site: Site, name: str) -> None:
    lists, error, message = NOT_FOUND[name]
    recording = RECORDINGS[name]
    user, project, resource = (recording.request["path"].split("/")[i] for i in (3, 5, 8))
    in_list = recording.request_line.rpartition("/")[0]
    site.app = replay(at={recording.request_line: name, **dict.fromkeys([in_list], *lists)} if lists else {})
    async with client_for(site, user_id=int(user), cookie=recording.session or "garbage") as client:
        with pytest.raises(error, match=message):
            await client.get_resource(int(project), "user-files", as_id(resource))


# A server without the endpoint


async def test_a_server_without_the_endpoint_is_asked_for_it_once(site: Site) -> None:
    site.sandbox("documented")
    async with client_for(site, user_id=1) as client:
        for id in (1, 2, 3):
            assert (await client.get_resource(WEBSHOP, "user-files", id)).id == id
        other = client.with_options(credentials=None)
        assert (await other.get_resource(WEBSHOP, "template-collections", 21)).id == 21
    assert site.requests == [ONE, FILES, FILES, FILES, f"GET {resources(WEBSHOP, 'template-collections')}"]


async def test_an_endpoint_that_was_seen_is_not_forgotten(site: Site) -> None:
    async with client_for(site, user_id=1) as client:
        await client.get_resource(WEBSHOP, "user-files", 1)
        site.answers[ONE] = failure(404)
        assert (await client.get_resource(WEBSHOP, "user-files", 1)).id == 1
        del site.answers[ONE]
        site.requests.clear()
        await client.get_resource(WEBSHOP, "user-files", 1)
    assert site.requests == [ONE]


async def test_that_a_resource_is_not_there_teaches_nothing_about_the_server(site: Site) -> None:
    async with client_for(site, user_id=1) as client:
        for _ in range(2):
            with pytest.raises(ResourceNotFound):
                await client.get_resource(WEBSHOP, "user-files", 99)
    assert site.requests == [f"{FILES}/99", CHECK, FILES] * 2


ODD: dict[str, tuple[Response, bool]] = {
    "404": (failure(404), True),
    "405": (failure(405), True),
    "400": (failure(400), True),
    "403": (failure(403), True),
    "HTML": (Response("<html>", media_type="text/html"), True),
    "a list": (JSONResponse([{"id": 1}]), True),
    "another resource": (JSONResponse({"id": 2}), True),
    "nothing readable": (JSONResponse({"id": None}), True),
    "500": (failure(500), False),
    "404 of a handler": (failure(404, {"statusCode": 404, "statusMessage": "Not Found.", "stack": []}), False),
}


@pytest.mark.parametrize(("odd", "teaches"), ODD.values(), ids=ODD.keys())
async def test_whatever_else_it_answers_the_list_decides(site: Site, odd: Response, teaches: bool) -> None:
    site.answers[ONE] = odd
    async with client_for(site, user_id=1) as client:
        assert (await client.get_resource(WEBSHOP, "user-files", 1)).id == 1
        site.requests.clear()
        assert (await client.get_resource(WEBSHOP, "user-files", 2)).id == 2
    assert site.requests == ([FILES] if teaches else [f"{FILES}/2"])


@pytest.mark.parametrize("count", [0, 1, 2])
async def test_a_list_is_not_taken_for_the_one_that_was_asked_for(site: Site, count: int) -> None:
    chats = f"GET {resources(WEBSHOP, 'chat-conversations')}"
    site.answers[f"{chats}/99"] = JSONResponse([{"id": 99}] * count)
    async with client_for(site, user_id=1) as client:
        with pytest.raises(ResourceNotFound):
            await client.get_resource(WEBSHOP, "chat-conversations", 99)


async def test_a_file_of_another_person_says_nothing_about_the_server(site: Site) -> None:
    """Seen: it is linked to the project, so the list has it, and its own endpoint is 401."""
    site.answers[ONE] = failure(401, {"statusCode": 401, "statusMessage": "Unauthorized.", "stack": []})
    async with client_for(site, user_id=1) as client:
        assert (await client.get_resource(WEBSHOP, "user-files", 1)).id == 1
        site.requests.clear()
        assert (await client.get_resource(WEBSHOP, "user-files", 2)).id == 2
    assert site.requests == [f"{FILES}/2"]


async def test_a_resource_that_may_be_an_unreadable_one_is_not_said_to_be_absent(site: Site) -> None:
    site.answers[FILES] = JSONResponse([{"id": 5}, {"id": None}])
    async with client_for(site, user_id=1) as client:
        with pytest.raises(NotLikeNeptun, match="resource 99 may be one of the resources that it sent in a form"):
            await client.get_resource(WEBSHOP, "user-files", 99)


# An empty list, which may be a failure


@pytest.mark.parametrize("resource_type", ["chat-conversations", "template-collections", "user-files"])
async def test_an_empty_list_is_asked_for_twice(site: Site, resource_type: ResourceType) -> None:
    """Recorded: what a failing query comes to."""
    request = f"GET {resources(WEBSHOP, resource_type)}"
    site.app = replay(f"dbfail_resources_GET_{resource_type}")
    async with client_for(site, user_id=1) as client:
        assert (await client.list_resources(WEBSHOP, resource_type)).items == []
    assert site.requests == [request] * 2


async def test_an_empty_list_that_was_a_failure_is_not_believed(site: Site, contract: ContractName) -> None:
    site.sandbox(contract)
    healthy = site.app

    async def fail_once(scope: Any, receive: Any, send: Any) -> None:
        site.app = healthy
        await JSONResponse([])(scope, receive, send)

    site.app = fail_once
    async with client_for(site, user_id=1) as client:
        assert len((await client.list_resources(WEBSHOP, "user-files")).items) == 7
        site.requests.clear()
        await client.list_resources(WEBSHOP, "template-collections")
    assert len(site.requests) == 1
