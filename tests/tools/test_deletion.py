"""Deleting an import: what reaches Neptun, and what the assistant reads."""

from __future__ import annotations

import pytest

from neptun_mcp.sandbox import COOKIE
from neptun_mcp.sandbox.state import Store
from tests.support import (
    RESOURCE_TYPES,
    WEBSHOP,
    YES,
    ContractName,
    Host,
    Person,
    Tools,
    end_session,
    ids,
    replay,
    resources,
)
from tests.tools.deletion import DELETE_104, EVERYTHING, NOT_THERE, kept

pytestmark = pytest.mark.anyio

STILL_THERE = "Import 104 is still there."

# What is not there


@pytest.mark.parametrize("import_id", [99, 301])
async def test_an_import_that_is_not_in_the_project_is_not_found(
    host: Host, store: Store, era: str, contract: ContractName, import_id: int
) -> None:
    """301 is Bob's. Nobody is asked about what is not there."""
    host.era = era
    host.person = Person()
    message = await host.fails("delete_import", project_id=WEBSHOP, import_id=import_id)
    assert message == NOT_THERE.replace("104", str(import_id))
    assert kept(store) == EVERYTHING
    assert host.site.deletions() == []


async def test_an_import_of_another_project_is_found_as_the_error_says(
    host: Host, store: Store, contract: ContractName
) -> None:
    async with host.connected() as tools:
        message = await tools.fails("delete_import", project_id=WEBSHOP, import_id=201)
        assert message == NOT_THERE.replace("104", "201")
        assert not any("/projects/3/" in request for request in host.site.requests)
        (found,) = (await tools.gets("list_imports", project="*", query="id:201"))["imports"]
    assert (found["id"], found["project_id"]) == (201, 3)
    assert host.site.deletions() == []


async def test_a_second_deletion_finds_no_import(host: Host, store: Store, contract: ContractName) -> None:
    async with host.connected() as tools:
        await tools.gets("delete_import", project_id=WEBSHOP, import_id=104)
        message = await tools.fails("delete_import", project_id=WEBSHOP, import_id=104)
    assert message == NOT_THERE
    assert host.site.deletions() == [DELETE_104]


async def test_deleting_from_an_unknown_project_lists_the_persons_projects(host: Host, store: Store) -> None:
    message = await host.fails("delete_import", project_id=99, import_id=104)
    assert message == (
        "There is no project 99, or it is not yours. Nothing was deleted. "
        'Your projects are: 3 "orders-api", 2 "scratch", 1 "webshop".'
    )
    assert host.site.deletions() == []


async def test_a_deletion_changes_nothing_else(host: Host, contract: ContractName) -> None:
    """Documented: with a GitHub import its installation connection goes, on Neptun's side."""
    host.site.sandbox(contract)
    async with host.connected() as tools:
        before = await everything(tools)
        await tools.gets("delete_import", project_id=WEBSHOP, import_id=101)
        after = await everything(tools)
    gone = {name: before[name] - after[name] for name in before if before[name] != after[name]}
    assert gone == {"imports": {101}} | ({"github-installations": {11}} if contract == "documented" else {})


async def everything(tools: Tools) -> dict[str, set[int]]:
    """The ids of all that the web shop has."""
    found = {"imports": set(ids((await tools.gets("list_imports", project_id=WEBSHOP))["imports"]))}
    for resource_type in RESOURCE_TYPES:
        page = await tools.gets("list_resources", project_id=WEBSHOP, resource_type=resource_type)
        found[resource_type] = set(ids(page["resources"]))
    return found


# What Neptun answers


async def test_a_session_that_ended_before_the_deletion_is_refused(host: Host, store: Store, era: str) -> None:
    host.era = era
    host.person = Person(YES, meanwhile=lambda: end_session(store, COOKIE))
    message = await host.fails("delete_import", project_id=WEBSHOP, import_id=104)
    assert message.startswith("Neptun refused the session: the cookie is expired or wrong. Nothing was deleted.")
    assert kept(store) == EVERYTHING


# A server that answers exactly as recorded

DELETE_1 = f"DELETE {resources(1, 'imports/1')}"


@pytest.mark.parametrize(
    "name",
    [
        "imports_DELETE_success",
        "imports_DELETE_success_github_installation_import",
        "imports_DELETE_trailing_slash",
        "imports_DELETE_with_content-type_no_body",
    ],
)
async def test_a_recorded_deletion_succeeds(host: Host, era: str, name: str) -> None:
    host.era = era
    host.person = Person(YES)
    host.site.app = replay(at={DELETE_1: name})
    result = await host.gets("delete_import", project_id=1, import_id=1)
    assert (result["deleted"], result["message"]) == (True, "Import 1 was deleted.")
    assert host.site.deletions() == [DELETE_1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("imports_DELETE_same_id_again", "Neptun answered 401: not found, or not yours. Import 1 is still there."),
        ("dbfail_imports_DELETE", "failed on its side (status 404). Import 1 is still there."),
        ("dbdown_imports_DELETE", "failed on its side (status 500). Import 1 is still there, but may yet go"),
        ("imports_DELETE_id_0", "does not accept the value of an argument. Nothing was deleted."),
    ],
)
async def test_a_recorded_refusal_to_delete_is_reported_with_its_effect(host: Host, name: str, words: str) -> None:
    host.site.app = replay(at={DELETE_1: name})
    assert words in await host.fails("delete_import", project_id=1, import_id=1)
    assert host.site.deletions() == [DELETE_1]


async def test_the_outcome_is_unknown_while_the_database_is_down(host: Host) -> None:
    host.site.app = replay()
    host.site.turns[DELETE_1] = replay("dbdown_imports_GET", at={DELETE_1: "dbdown_imports_DELETE"})
    message = await host.fails("delete_import", project_id=1, import_id=1)
    assert "failed on its side (status 500). Whether import 1 was deleted is unknown" in message
    assert host.site.deletions() == [DELETE_1]


async def test_a_missing_import_is_not_taken_for_a_bad_session(host: Host, era: str) -> None:
    """Recorded: a running server answers 401 for both."""
    host.era = era
    host.site.app = replay()
    assert (await host.fails("delete_import", project_id=1, import_id=12)).startswith(
        "There is no import 12 in project 1. Nothing was deleted."
    )


async def test_with_a_bad_session_nothing_is_deleted(host: Host, era: str) -> None:
    host.era = era
    host.site.app = replay()
    host.settings["session_cookie"] = "garbage"
    assert (await host.fails("delete_import", project_id=1, import_id=1)).startswith("Neptun refused the session")
    assert host.site.deletions() == []
