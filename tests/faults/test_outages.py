"""Parts of a running Neptun fail, in the ways that were recorded or seen: what the library makes of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from neptun_mcp import Credentials, NeptunClient
from neptun_mcp.neptun.client import Deletion
from neptun_mcp.neptun.errors import (
    DeletionFailed,
    Effect,
    LoginRefused,
    NeptunError,
    ProjectNotFound,
    ResourceNotFound,
    ServerFailed,
)
from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from tests.running_neptun import Part, add_another_persons_file
from tests.support import WEBSHOP

from .neptun import IMPORT, FaultyNeptun, Rig

pytestmark = pytest.mark.anyio


@pytest.fixture
def neptun(observed: Rig) -> FaultyNeptun:
    return observed.neptun


@pytest.fixture
async def client(neptun: FaultyNeptun) -> AsyncGenerator[NeptunClient]:
    async with NeptunClient(Credentials(COOKIE), user_id=1, base_url=neptun.url) as client:
        yield client


@pytest.fixture
async def person(neptun: FaultyNeptun) -> AsyncGenerator[NeptunClient]:
    """Somebody who logs in."""
    async with NeptunClient(Credentials(email=EMAIL, password=PASSWORD), base_url=neptun.url) as client:
        yield client


async def test_a_log_in_refused_in_the_moment_of_an_outage_is_tried_again(
    neptun: FaultyNeptun, person: NeptunClient
) -> None:
    neptun.running.fails("users", times=1)
    assert (await person.user()).id == 1
    assert neptun.asked == "login database login session"


async def test_a_log_in_is_not_called_wrong_while_the_database_is_down(
    neptun: FaultyNeptun, person: NeptunClient
) -> None:
    neptun.running.fails("database")
    for _ in range(2):
        with pytest.raises(ServerFailed, match=r"failed on its side \(status 500\)"):
            await person.user()
    neptun.running.recovers()
    assert (await person.user()).id == 1


async def test_a_log_in_that_is_refused_again_is_wrong_as_far_as_anybody_can_tell(
    neptun: FaultyNeptun, person: NeptunClient
) -> None:
    neptun.running.fails("users")
    with pytest.raises(LoginRefused) as caught:
        await person.user()
    assert caught.value.seconds <= 15  # soon again: it may have been an outage


async def test_at_the_limit_of_connections_everything_succeeds_in_the_end(
    neptun: FaultyNeptun, person: NeptunClient
) -> None:
    neptun.running.fails("connections")
    assert len((await person.list_imports(WEBSHOP)).items) == 7
    assert len((await person.list_resources(WEBSHOP, "user-files")).items) == 7


Ask = Callable[[NeptunClient], Awaitable[Any]]
ASKED: dict[str, Ask] = {
    "list_projects": lambda client: client.list_projects(),
    "list_imports": lambda client: client.list_imports(WEBSHOP),
    "list_resources": lambda client: client.list_resources(WEBSHOP, "user-files"),
    "get_resource": lambda client: client.get_resource(WEBSHOP, "user-files", 1),
    "find_import": lambda client: client.find_import(WEBSHOP, IMPORT),
}
FAILS: dict[Part, dict[str, int]] = {
    "database": dict.fromkeys(ASKED, 500) | {"list_projects": 404},
    "projects": dict.fromkeys(ASKED, 500) | {"list_projects": 404},
    "imports": {"list_imports": 404, "find_import": 404},
}
"""The status with which each fails."""


@pytest.mark.parametrize("part", FAILS)
async def test_a_failure_is_never_called_not_found(neptun: FaultyNeptun, client: NeptunClient, part: Part) -> None:
    neptun.running.fails(part)
    for name, ask in ASKED.items():
        if status := FAILS[part].get(name):
            with pytest.raises(ServerFailed) as caught:
                await ask(client)
            assert caught.value.status == status
        else:
            await ask(client)


async def test_resources_that_cannot_be_queried_are_not_certainly_absent(
    neptun: FaultyNeptun, client: NeptunClient
) -> None:
    neptun.running.fails("resources")
    with pytest.raises(ResourceNotFound, match="or Neptun failed") as caught:
        await client.get_resource(WEBSHOP, "user-files", 1)
    assert not caught.value.certain


DELETIONS: dict[Part, tuple[Effect, str]] = {
    "deletions": (Effect.STILL_THERE, r"failed on its side \(status 404\)"),
    "imports": (Effect.UNKNOWN, r"failed on its side \(status 500\)"),
    "database": (Effect.UNKNOWN, r"failed on its side \(status 500\)"),
}


@pytest.mark.parametrize("part", DELETIONS)
async def test_a_deletion_that_is_cut_off_says_what_is_known(
    neptun: FaultyNeptun, client: NeptunClient, part: Part
) -> None:
    neptun.running.fails(part)
    effect, says = DELETIONS[part]
    with pytest.raises(DeletionFailed, match=says) as caught:
        await client.delete_import(WEBSHOP, IMPORT, known_to_exist=True)
    assert caught.value.effect is effect
    assert neptun.holds(IMPORT)
    assert neptun.asked.split().count("delete") == 1
    neptun.running.recovers()
    assert await client.delete_import(WEBSHOP, IMPORT) == Deletion(confirmed=True)


async def test_another_persons_file_is_read_from_the_list(neptun: FaultyNeptun, client: NeptunClient) -> None:
    files = neptun.store.resources[WEBSHOP, "user-files"]
    record = add_another_persons_file(neptun.store, WEBSHOP)
    try:
        assert (await client.get_resource(WEBSHOP, "user-files", record["id"])).id == record["id"]
    finally:
        files.remove(record)


async def test_the_session_of_a_deleted_person_has_no_projects(neptun: FaultyNeptun, client: NeptunClient) -> None:
    """Seen: it is accepted, the list is empty, and every project is a 401."""
    projects, neptun.store.projects = neptun.store.projects, []
    try:
        assert (await client.list_projects()).items == []
        for ask in (ASKED["list_imports"], ASKED["list_resources"], ASKED["find_import"]):
            with pytest.raises(ProjectNotFound) as caught:
                await ask(client)
            assert caught.value.projects == []
        with pytest.raises(NeptunError, match="There is no project 1"):
            await client.delete_import(WEBSHOP, IMPORT)
    finally:
        neptun.store.projects = projects
