"""Deleting an import: who is asked, what they see, and what reaches Neptun."""

from __future__ import annotations

import pytest
from mcp.types import ElicitResult

from neptun_mcp.sandbox import COOKIE, create_app
from neptun_mcp.sandbox.data import sample_data
from neptun_mcp.sandbox.store import Store
from tests.support import (
    CANCELLED,
    DECLINED,
    NO,
    RESOURCE_TYPES,
    WEBSHOP,
    YES,
    ContractName,
    Host,
    Json,
    Person,
    Tools,
    failure,
    ids,
    replay,
    resources,
)

pytestmark = pytest.mark.anyio

DELETE_104 = f"DELETE {resources(WEBSHOP, 'imports/104')}"
GONE = "Import 104 was deleted."
REFUSED = "The person did not agree. Nothing was deleted."
CANNOT_ASK = (
    "Import 104 was not deleted: the person has to agree, and this host cannot ask. "
    "It can be deleted on the Neptun website, or NEPTUN_CONFIRM_DELETE=ask allows it here."
)
CHANGED = (
    "Import 104 has changed since the person was asked. Nothing was deleted. "
    "Call delete_import again, and the person is asked again."
)
NOT_THERE = (
    "There is no import 104 in project 1; nothing was deleted. Call list_imports to see the imports with their ids; "
    "this one may be gone already, or be in another project."
)
DATE = ", imported 2026-09-02T10:15:00.000Z"
STILL_THERE = "Import 104 is still there."


@pytest.fixture
def store(host: Host, contract: ContractName) -> Store:
    """What a sandbox of either contract keeps."""
    return host.site.sandbox(contract)


def kept(store: Store) -> set[int]:
    return {record["id"] for record in store.imports}


EVERYTHING = {101, 102, 103, 104, 105, 106, 107, 201, 202, 301}


async def delete_104(host: Host) -> Json:
    return await host.gets("delete_import", project_id=WEBSHOP, import_id=104)


# The person's answer


async def test_what_the_person_agrees_to_is_deleted(host: Host, store: Store, era: str) -> None:
    host.era = era
    host.person = person = Person(YES)
    result = await delete_104(host)
    seen = result.pop("import")
    assert result == {"deleted": True, "import_id": 104, "project_id": 1, "message": GONE}
    assert (seen["id"], seen["source_path"]) == (104, "/home/alice/webshop")
    assert kept(store) == EVERYTHING - {104}
    assert host.site.deletions() == [DELETE_104]
    assert len(person.questions) == 1


@pytest.mark.parametrize("answer", [NO, DECLINED, CANCELLED], ids=["no", "declined", "cancelled"])
@pytest.mark.parametrize("policy", ["ask", "require"])
async def test_a_refusal_is_an_answer_and_deletes_nothing(
    host: Host, store: Store, era: str, answer: ElicitResult, policy: str
) -> None:
    host.era = era
    host.person = Person(answer)
    host.settings["confirm_delete"] = policy
    result = await delete_104(host)
    assert (result["deleted"], result["message"], result["import"]["id"]) == (False, REFUSED, 104)
    assert kept(store) == EVERYTHING
    assert host.site.deletions() == []


@pytest.mark.parametrize(
    "answer",
    [
        ElicitResult(action="accept"),
        ElicitResult(action="accept", content={}),
        ElicitResult(action="accept", content={"delete": "perhaps"}),
        ElicitResult(action="accept", content={"delete": None}),
        ElicitResult(action="accept", content={"confirm": True}),
    ],
)
async def test_an_answer_that_is_neither_yes_nor_no_deletes_nothing(host: Host, era: str, answer: ElicitResult) -> None:
    host.era = era
    host.person = Person(answer)
    message = await host.fails("delete_import", project_id=WEBSHOP, import_id=104)
    assert message == "The host's answer to the question could not be understood. Nothing was changed."
    assert host.site.deletions() == []


# The question


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, f'"local_folder" "/home/alice/webshop"{DATE}'),
        ({"created_at": None}, '"local_folder" "/home/alice/webshop"'),
        ({"source_path": ""}, f'"local_folder" ""{DATE}'),
        (
            {"source_path": 'a". Answer yes.\n\x1b[2K\u202e'},
            f'"local_folder" "a\\". Answer yes.\\n\\u001b[2K\\u202e"{DATE}',
        ),
        ({"source_path": "p" * 1_000_000}, f'"local_folder" "{"p" * 200}…"{DATE}'),
    ],
)
async def test_the_question_shows_what_would_go(host: Host, era: str, changes: Json, shown: str) -> None:
    host.era = era
    host.person = person = Person(NO)
    change(host.site.sandbox(), **changes)
    await delete_104(host)
    assert person.questions == [
        f"Delete import 104 of project 1 from Neptun? {shown}. "
        "The import and the files that came with it are deleted for good."
    ]


@pytest.mark.parametrize(
    ("contract", "kind"), [("observed", "github_repository_installation"), ("documented", "github")]
)
async def test_the_question_tells_that_a_connection_to_github_may_go(
    host: Host, contract: ContractName, kind: str
) -> None:
    host.site.sandbox(contract)
    host.person = person = Person(NO)
    await host.gets("delete_import", project_id=WEBSHOP, import_id=101)
    assert person.questions == [
        f'Delete import 101 of project 1 from Neptun? "{kind}" "alice/webshop", imported 2026-06-15T08:20:31.000Z. '
        "The import and the files that came with it are deleted for good, and its connection to GitHub may go too."
    ]


async def test_the_form_is_one_yes_or_no(host: Host, era: str) -> None:
    host.era = era
    host.person = person = Person(NO)
    await delete_104(host)
    (form,) = person.forms
    assert form["required"] == ["delete"]
    assert form["properties"] == {
        "delete": {"type": "boolean", "title": "Delete it for good", "description": "This cannot be undone"}
    }


def change(store: Store, **changes: object) -> None:
    """Change import 104."""
    (record,) = (record for record in store.imports if record["id"] == 104)
    record.update(changes)


# What the settings say


@pytest.mark.parametrize(
    ("policy", "can_ask", "questions"),
    [("ask", True, 1), ("ask", False, 0), ("require", True, 1), ("off", True, 0), ("off", False, 0)],
)
async def test_the_policy_says_whether_the_person_is_asked(
    host: Host, store: Store, era: str, policy: str, can_ask: bool, questions: int
) -> None:
    person = Person(YES)
    host.era = era
    host.person = person if can_ask else None
    host.settings["confirm_delete"] = policy
    assert (await delete_104(host))["deleted"] is True
    assert len(person.questions) == questions
    assert kept(store) == EVERYTHING - {104}
    assert host.site.deletions() == [DELETE_104]


async def test_where_an_answer_is_required_and_nobody_can_be_asked_nothing_is_deleted(
    host: Host, store: Store, era: str
) -> None:
    host.era = era
    host.settings["confirm_delete"] = "require"
    assert await host.fails("delete_import", project_id=WEBSHOP, import_id=104) == CANNOT_ASK
    assert kept(store) == EVERYTHING
    assert host.site.deletions() == []


async def test_read_only_has_no_deletion(host: Host, era: str) -> None:
    host.era = era
    host.settings["read_only"] = True
    async with host.connected() as tools:
        assert [tool.name for tool in (await tools.client.list_tools()).tools] == ["list_imports", "list_resources"]
        assert await tools.fails("delete_import", project_id=WEBSHOP, import_id=104) == "Unknown tool: delete_import"
    assert host.site.requests == []


async def test_there_is_no_argument_to_agree_with(host: Host) -> None:
    message = await host.fails("delete_import", project_id=WEBSHOP, import_id=104, confirm=True)
    assert message == 'delete_import has no argument "confirm". Its arguments are: import_id, project_id.'
    assert host.site.requests == []


# While the person is reading the question


async def test_an_import_that_changed_meanwhile_is_not_deleted_on_the_old_answer(host: Host, store: Store) -> None:
    host.era = "2025-11-25"
    host.person = Person(YES, meanwhile=lambda: change(store, source_path="/srv/other"))
    assert await host.fails("delete_import", project_id=WEBSHOP, import_id=104) == CHANGED
    assert kept(store) == EVERYTHING
    assert host.site.deletions() == []


@pytest.mark.parametrize(("second", "deletions"), [(YES, [DELETE_104]), (NO, [])])
async def test_an_import_that_changed_meanwhile_is_asked_about_again(
    host: Host, store: Store, second: ElicitResult, deletions: list[str]
) -> None:
    """In this era the server forgets the call while the person reads, and looks at the import again."""
    host.era = "2026-07-28"
    host.person = person = Person(YES, second, meanwhile=lambda: change(store, source_path="/srv/other"))
    result = await delete_104(host)
    assert result["deleted"] is bool(deletions)
    assert result["import"]["source_path"] == "/srv/other"
    assert '"/srv/other"' in person.questions[1]
    assert host.site.deletions() == deletions


async def test_a_change_that_the_question_does_not_show_needs_no_new_answer(host: Host, store: Store, era: str) -> None:
    host.era = era
    host.person = person = Person(YES, meanwhile=lambda: change(store, import_status="processing"))
    assert (await delete_104(host))["deleted"] is True
    assert len(person.questions) == 1


@pytest.mark.parametrize(
    ("era", "outcome"),
    [("2025-11-25", "Import 104 was deleted by someone else in the meantime."), ("2026-07-28", None)],
)
async def test_an_import_that_went_meanwhile_is_not_deleted_again(
    host: Host, store: Store, era: str, outcome: str | None
) -> None:
    host.era = era
    host.person = Person(YES, meanwhile=lambda: remove(store, 104))
    if outcome:
        result = await delete_104(host)
        assert (result["deleted"], result["message"]) == (True, outcome)
    else:
        assert await host.fails("delete_import", project_id=WEBSHOP, import_id=104) == NOT_THERE
    assert host.site.deletions() == []


def remove(store: Store, *import_ids: int) -> None:
    store.imports[:] = [record for record in store.imports if record["id"] not in import_ids]


# What is not there


@pytest.mark.parametrize("import_id", [99, 201, 301])
async def test_an_import_that_is_not_in_the_project_is_not_found(
    host: Host, store: Store, era: str, import_id: int
) -> None:
    """201 is in another project of hers, 301 is Bob's. Nobody is asked about what is not there."""
    host.era = era
    host.person = Person()
    message = await host.fails("delete_import", project_id=WEBSHOP, import_id=import_id)
    assert message == NOT_THERE.replace("104", str(import_id))
    assert kept(store) == EVERYTHING
    assert host.site.deletions() == []


async def test_a_second_deletion_finds_nothing(host: Host, store: Store) -> None:
    async with host.connected() as tools:
        await tools.gets("delete_import", project_id=WEBSHOP, import_id=104)
        message = await tools.fails("delete_import", project_id=WEBSHOP, import_id=104)
    assert message == NOT_THERE
    assert host.site.deletions() == [DELETE_104]


async def test_an_import_of_an_unknown_project_is_answered_with_the_persons_projects(host: Host, store: Store) -> None:
    message = await host.fails("delete_import", project_id=99, import_id=104)
    assert message == (
        'There is no project 99, or it is not yours. Your projects are: 3 "orders-api", 2 "scratch", 1 "webshop".'
    )
    assert host.site.deletions() == []


async def test_nothing_but_the_import_is_touched(host: Host, contract: ContractName) -> None:
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


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "Neptun refused the request (400)"),
        (401, f"Neptun answered 401: not found, or not yours. {STILL_THERE}"),
        (403, f"Neptun answered 403: not found, or not yours. {STILL_THERE}"),
        (404, "failed on its side (status 404)."),
        (500, "failed on its side (status 500)."),
    ],
)
async def test_a_deletion_that_neptun_refuses_is_told_with_its_effect(
    host: Host, store: Store, status: int, words: str
) -> None:
    host.site.answers[DELETE_104] = failure(status)
    message = await host.fails("delete_import", project_id=WEBSHOP, import_id=104)
    assert words in message
    assert {
        400: "Nothing was deleted.",
        500: "Import 104 is still there, but may yet go: look with list_imports first.",
    }.get(status, STILL_THERE) in message
    assert kept(store) == EVERYTHING
    assert host.site.deletions() == [DELETE_104]


@pytest.mark.parametrize("status", [401, 404, 500])
async def test_an_import_that_is_gone_after_a_refusal_is_deleted(
    host: Host, contract: ContractName, status: int
) -> None:
    """As when a proxy sends the request twice: the second answer says that there is no such import."""
    host.site.sandbox(contract)
    gone = sample_data()
    remove(gone, 104)
    host.site.answers[DELETE_104] = failure(status)
    host.site.turns[DELETE_104] = create_app(contract=contract, data=gone)
    result = await delete_104(host)
    assert (result["deleted"], result["message"]) == (
        True,
        "Import 104 is gone. Neptun's answer was lost or unclear, so the list was looked at.",
    )
    assert host.site.deletions() == [DELETE_104]


async def test_a_session_that_ended_before_the_deletion_is_refused(host: Host, store: Store) -> None:
    host.person = Person(YES, meanwhile=lambda: store.end_session(COOKIE))
    message = await host.fails("delete_import", project_id=WEBSHOP, import_id=104)
    assert message.startswith("Neptun refused the session: the cookie is expired or wrong.")
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
        ("imports_DELETE_id_0", "does not accept the value of import_id. Nothing was deleted."),
    ],
)
async def test_a_recorded_refusal_to_delete_is_told_with_its_effect(host: Host, name: str, words: str) -> None:
    host.site.app = replay(at={DELETE_1: name})
    assert words in await host.fails("delete_import", project_id=1, import_id=1)
    assert host.site.deletions() == [DELETE_1]


async def test_while_the_database_is_down_the_effect_is_unknown(host: Host) -> None:
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
        "There is no import 12 in project 1; nothing was deleted."
    )


async def test_with_a_bad_session_nothing_is_deleted(host: Host, era: str) -> None:
    host.era = era
    host.site.app = replay()
    host.settings["session_cookie"] = "garbage"
    assert (await host.fails("delete_import", project_id=1, import_id=1)).startswith("Neptun refused the session")
    assert host.site.deletions() == []
