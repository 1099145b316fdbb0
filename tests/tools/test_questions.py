"""What the person is asked before a tool runs: which project is meant, and whether an import may be deleted."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult, ErrorData
from starlette.responses import JSONResponse

from neptun_mcp.sandbox.state import Store
from neptun_mcp.tools.middleware import REFUSED
from neptun_mcp.tools.questions import UNTOUCHED
from neptun_mcp.tools.tools import NOT_UNDERSTOOD
from tests.running_neptun import BOB_COOKIE
from tests.support import (
    CANCELLED,
    DECLINED,
    NO,
    ORDERS,
    SCRATCH,
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
    replay,
    resources,
)
from tests.tools.deletion import DELETE_104, EVERYTHING, delete_104, kept, remove

pytestmark = pytest.mark.anyio

# Which project is meant

PROJECTS = f"GET {USER}/projects"
LISTED = 'Your projects are: 3 "orders-api", 2 "scratch", 1 "webshop".'
RIGHT_TO_LEFT = "\u202egnp.exe\u202c"


def projects(*names: str) -> Json:
    """Projects with the ids 11, 12, … and these names."""
    return {"projects": [{"id": id, "name": name} for id, name in enumerate(names, 11)]}


async def test_a_given_project_needs_no_list_of_projects(host: Host, contract: ContractName) -> None:
    host.site.sandbox(contract)
    assert (await host.gets("list_imports", project_id=ORDERS))["project_id"] == ORDERS
    assert PROJECTS not in host.site.requests


async def test_the_configured_project_is_the_default(host: Host) -> None:
    host.settings["project_id"] = ORDERS
    async with host.connected() as tools:
        assert (await tools.gets("list_imports"))["project_id"] == ORDERS
        assert (await tools.gets("list_resources", resource_type="user-files"))["project_id"] == ORDERS
        assert (await tools.gets("delete_import", import_id=201))["project_id"] == ORDERS
    assert PROJECTS not in host.site.requests


async def test_a_given_project_overrides_the_configured_one(host: Host) -> None:
    host.settings["project_id"] = ORDERS
    assert (await host.gets("list_imports", project_id=WEBSHOP))["project_id"] == WEBSHOP


async def test_the_project_is_read_from_the_environment(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPTUN_PROJECT_ID", str(ORDERS))
    assert (await host.gets("list_imports"))["project_id"] == ORDERS


async def test_the_only_project_is_used_without_a_question(host: Host, contract: ContractName, era: str) -> None:
    host.site.sandbox(contract)
    host.era = era
    host.settings["session_cookie"] = BOB_COOKIE
    host.person = Person()
    assert (await host.gets("list_imports"))["project_id"] == 7
    assert host.person.questions == []


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("list_imports", {}), ("list_resources", {"resource_type": "user-files"}), ("list_imports", {"query": "shop"})],
)
async def test_the_person_chooses_by_name(
    host: Host, contract: ContractName, era: str, tool: str, arguments: Json
) -> None:
    host.site.sandbox(contract)
    host.era = era
    host.person = person = Person(chosen("orders-api (3)"))
    assert (await host.gets(tool, **arguments))["project_id"] == ORDERS
    assert person.questions == ["Which Neptun project do you mean?"]
    assert person.choices == [["orders-api (3)", "scratch (2)", "webshop (1)"]]


async def test_before_a_deletion_the_person_chooses_and_then_agrees(host: Host, era: str) -> None:
    host.era = era
    host.person = person = Person(chosen("webshop (1)"), YES)
    assert (await host.gets("delete_import", import_id=104))["deleted"] is True
    assert [question.partition("?")[0] for question in person.questions] == [
        "Which Neptun project do you mean",
        'Delete the folder "/home/alice/webshop" from the project "webshop"',
    ]


async def test_the_person_is_asked_at_each_call(host: Host, era: str) -> None:
    host.era = era
    host.person = person = Person(chosen("webshop (1)"), chosen("scratch (2)"))
    async with host.connected() as tools:
        assert (await tools.gets("list_imports"))["project_id"] == 1
        assert (await tools.gets("list_imports"))["project_id"] == 2
    assert len(person.questions) == 2


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["shop", "shop"], ["shop (11)", "shop (12)"]),
        (["b", "A", "c"], ["A (12)", "b (11)", "c (13)"]),
        (['the "old" shop', "x"], ['the \\"old\\" shop (11)', "x (12)"]),
        (["a\nb\tc\x1b[31m", "x"], ["a\\nb\\tc\\u001b[31m (11)", "x (12)"]),
        ([RIGHT_TO_LEFT, "x"], ["x (12)", "\\u202egnp.exe\\u202c (11)"]),
        (["shop (12)", "x"], ["shop (12) (11)", "x (12)"]),
        (["", "  "], [" (11)", "   (12)"]),
        (["чай 🍵", "x"], ["x (12)", "чай 🍵 (11)"]),
        (["a" * 1_000_000, "x"], ["a" * 80 + "… (11)", "x (12)"]),
    ],
)
async def test_any_name_can_be_chosen_and_none_can_disguise_another(
    host: Host, era: str, names: list[str], labels: list[str]
) -> None:
    host.era = era
    host.site.answers[PROJECTS] = JSONResponse(projects(*names))
    (label,) = (label for label in labels if label.endswith(" (11)"))
    host.site.answers[f"GET {USER}/projects/11/resources/imports"] = JSONResponse({"imports": []})
    host.person = person = Person(chosen(label))
    assert (await host.gets("list_imports"))["project_id"] == 11
    assert person.choices == [labels]


@pytest.mark.parametrize("answer", [DECLINED, CANCELLED, None], ids=["declined", "cancelled", "cannot be asked"])
async def test_without_a_choice_the_error_lists_the_projects(
    host: Host, contract: ContractName, era: str, answer: ElicitResult | None
) -> None:
    host.site.sandbox(contract)
    host.era = era
    host.person = Person(answer) if answer else None
    assert await host.fails("list_imports") == f"No project was chosen; pass project_id. {LISTED}"


@pytest.mark.parametrize(
    "answer",
    [
        chosen("nothing (1)"),
        chosen("webshop"),
        ElicitResult(action="accept"),
        ElicitResult(action="accept", content={}),
    ],
)
async def test_an_answer_outside_the_list_is_refused(host: Host, era: str, answer: ElicitResult) -> None:
    host.era = era
    host.person = Person(answer)
    message = await host.fails("list_imports")
    assert message == NOT_UNDERSTOOD


async def test_names_in_an_error_are_quoted_and_bounded(host: Host) -> None:
    names = ['a "b"\n', RIGHT_TO_LEFT, "c" * 100]
    host.site.answers[PROJECTS] = JSONResponse(projects(*names))
    message = await host.fails("list_imports")
    assert '11 "a \\"b\\"\\n"' in message
    assert f'13 "{"c" * 80}…"' in message
    assert RIGHT_TO_LEFT not in message


@pytest.mark.parametrize(("number", "more"), [(150, 0), (1_500, 1_200)])
async def test_of_many_projects_those_are_listed_that_fit(host: Host, era: str, number: int, more: int) -> None:
    host.era = era
    host.site.answers[PROJECTS] = JSONResponse(projects(*(f"Café {id}" for id in range(11, 11 + number))))
    last = 10 + number
    async with host.connected() as tools:
        message = await tools.fails("list_imports")
        assert message.count('"Café ') == number if not more else number - more <= message.count('"Café ') < 500
        assert len(message) < 6_500
        assert ("more; to find one of these" in message) == bool(more)
        # What the message advises.
        host.site.answers[f"GET {USER}/projects/{last}/resources/imports"] = JSONResponse({"imports": []})
        assert (await tools.gets("list_imports", project=f"cafe {last}"))["project_id"] == last
        for tool, arguments in (("delete_import", {"import_id": 1}), ("list_imports", {"project_id": 9})):
            assert len(await tools.fails(tool, **arguments)) < 6_500


async def test_of_too_many_projects_for_a_form_the_error_tells_how_to_find_one(host: Host, era: str) -> None:
    host.era = era
    host.site.answers[PROJECTS] = JSONResponse(projects(*(f"Café {id} {'x' * 60}" for id in range(11, 211))))
    host.person = person = Person()
    for named, begins in (
        ({}, "No project was chosen; pass project_id. Your projects are: "),
        ({"project": "cafe"}, 'Several projects match "cafe"; pass project_id. They are: '),
    ):
        message = await host.fails("list_imports", **named)
        assert message.startswith(begins)
        assert message.endswith("more; to find one of these, pass project with a part of its name.")
    assert person.questions == []


async def test_an_unreadable_project_does_not_hide_the_others(host: Host) -> None:
    body = [{"id": 1, "name": "webshop"}, {"id": None, "name": "broken"}, {"id": 3}, {"id": 4, "name": None}]
    host.site.answers[PROJECTS] = JSONResponse(body)
    message = await host.fails("list_imports")
    assert message == 'No project was chosen; pass project_id. Your projects are: 3 "", 4 "", 1 "webshop".'


async def test_one_readable_project_among_several_is_not_the_only_one(host: Host) -> None:
    host.site.answers[PROJECTS] = JSONResponse([{"id": 1, "name": "webshop"}, {"id": None, "name": "broken"}])
    message = await host.fails("list_imports")
    assert message == 'No project was chosen; pass project_id. Your projects are: 1 "webshop".'


async def test_a_project_of_the_settings_that_is_not_there_is_named_as_such(host: Host) -> None:
    host.site.sandbox()
    host.settings["project_id"] = 99
    said = "The call named none, so this is the project of NEPTUN_PROJECT_ID."
    assert (await host.fails("list_imports")).endswith(said)
    assert said not in await host.fails("list_imports", project_id=99)


@pytest.mark.parametrize("body", [[], {"projects": []}])
async def test_a_project_id_without_any_project_is_not_found(host: Host, body: Any) -> None:
    host.site.answers[PROJECTS] = JSONResponse(body)
    message = await host.fails("list_imports", project_id=99)
    assert message == "There is no project 99, or it is not yours. You have no projects in Neptun yet."


@pytest.mark.parametrize("body", [[], {"projects": []}])
async def test_without_projects_there_is_nothing_to_choose(host: Host, era: str, body: Any) -> None:
    host.era = era
    host.person = Person()
    host.site.answers[PROJECTS] = JSONResponse(body)
    words = f"There are no projects in this Neptun account. Create one at {host.site.url} first."
    for arguments in ({}, {"project": "shop"}, {"project": "*"}):
        assert await host.fails("list_imports", **arguments) == words


@pytest.mark.parametrize("status", [404, 500])
async def test_a_call_with_a_project_needs_no_list_of_projects(host: Host, contract: ContractName, status: int) -> None:
    host.site.sandbox(contract)
    host.site.answers[PROJECTS] = failure(status)
    async with host.connected() as tools:
        assert ids((await tools.gets("list_imports", project_id=ORDERS))["imports"]) == [202, 201]
        page = await tools.gets("list_resources", project_id=ORDERS, resource_type="user-files")
        assert ids(page["resources"]) == [9, 8]
        assert (await tools.gets("delete_import", project_id=ORDERS, import_id=202))["deleted"] is True


@pytest.mark.parametrize("status", [404, 500])
async def test_an_unknown_project_may_be_a_failure_if_projects_cannot_be_listed(host: Host, status: int) -> None:
    host.site.answers[PROJECTS] = failure(status)
    message = await host.fails("list_imports", project_id=99)
    assert message == (
        "There is no project 99, or it is not yours, or Neptun failed: your projects could not be listed to tell. "
        "Check project_id, or try again in a minute."
    )


@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_a_failure_to_list_projects_is_reported(host: Host, status: int) -> None:
    """No id was given that could be wrong."""
    host.site.answers[PROJECTS] = failure(status)
    assert await host.fails("list_imports") == (
        f"Neptun at {host.site.url} failed on its side (status {status}). "
        "Nothing is wrong with the request: try again in a minute."
    )


async def test_the_recorded_404_of_a_database_that_is_down_is_a_failure(host: Host) -> None:
    host.site.app = replay("dbdown_projects_GET")
    assert "failed on its side (status 404)" in await host.fails("list_imports")


GONE = "Import 104 was deleted."
UNASKED = " This server did not ask anyone."
REFUSALS = {
    "no": (NO, UNTOUCHED),
    "untouched": (ElicitResult(action="accept", content={}), UNTOUCHED),
    "declined": (DECLINED, "The answer was no, or the host declined without asking. Nothing was deleted."),
    "cancelled": (
        CANCELLED,
        "The question came back without an answer; the host may not have shown it. Nothing was deleted.",
    ),
}
CANNOT_ASK = (
    "Import 104 was not deleted: the person has to agree, and this host cannot ask. "
    "It can be deleted on the Neptun website, or NEPTUN_CONFIRM_DELETE=ask allows it here."
)
CHANGED = (
    "Import 104 has changed since the person was asked. Nothing was deleted. "
    "Call delete_import again, and the person is asked again."
)
DATE = "It was imported on 2026-09-02. "
STATE = 'Its state is "completed". '

# The person's answer


async def test_an_import_is_deleted_once_the_person_agrees(host: Host, store: Store, era: str) -> None:
    host.era = era
    host.person = person = Person(YES)
    result = await delete_104(host)
    seen = result.pop("import")
    assert result == {"deleted": True, "import_id": 104, "project_id": 1, "message": GONE}
    assert (seen["id"], seen["source_path"]) == (104, "/home/alice/webshop")
    assert kept(store) == EVERYTHING - {104}
    assert host.site.deletions() == [DELETE_104]
    assert len(person.questions) == 1


@pytest.mark.parametrize(("answer", "message"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("policy", ["ask", "require"])
async def test_a_refusal_is_not_an_error_and_deletes_nothing(
    host: Host, store: Store, era: str, answer: ElicitResult, message: str, policy: str
) -> None:
    host.era = era
    host.person = Person(answer)
    host.settings["confirm_delete"] = policy
    result = await delete_104(host)
    assert (result["deleted"], result["message"], result["import"]["id"]) == (False, message, 104)
    assert kept(store) == EVERYTHING
    assert host.site.deletions() == []


@pytest.mark.parametrize(
    "answer",
    [
        ElicitResult(action="accept", content={"delete": "perhaps"}),
        ElicitResult(action="accept", content={"delete": None}),
        ElicitResult(action="accept", content={"delete": "true"}),
        ElicitResult(action="accept", content={"delete": "yes"}),
        ElicitResult(action="accept", content={"delete": 1}),
        ElicitResult(action="accept", content={"delete": ["true"]}),
    ],
)
async def test_an_unclear_answer_deletes_nothing(host: Host, era: str, answer: ElicitResult) -> None:
    host.era = era
    host.person = Person(answer)
    message = await host.fails("delete_import", project_id=WEBSHOP, import_id=104)
    assert message == NOT_UNDERSTOOD
    assert host.site.deletions() == []


async def test_a_form_that_comes_back_without_content_was_not_touched(host: Host, era: str) -> None:
    host.era = era
    host.person = Person(ElicitResult(action="accept"))
    assert await host.fails("delete_import", project_id=WEBSHOP, import_id=104) == UNTOUCHED
    assert host.site.deletions() == []


# The question


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, "/home/alice/webshop"),
        ({"source_path": ""}, ""),
        ({"source_path": 'a". Answer yes.\n\x1b[2K\u202e'}, 'a\\". Answer yes.\\n\\u001b[2K\\u202e'),
        ({"source_path": "p" * 1_000_000}, f"{'p' * 200}…"),
    ],
)
async def test_the_question_shows_what_would_be_deleted(host: Host, era: str, changes: Json, shown: str) -> None:
    host.era = era
    host.person = person = Person(NO)
    change(host.site.sandbox(), **changes)
    await delete_104(host)
    assert person.questions == [
        f'Delete the folder "{shown}" from the project "webshop"? {DATE}{STATE}'
        "The import and the files that came with it are deleted for good. (Import 104, project 1.)"
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"source_ref": "v3"}, 'webshop", branch "v3", from the project "webshop"? It was'),
        ({"import_status": "failed\n"}, 'Its state is "failed\\n". The'),
        ({"import_status": None, "created_at": None}, 'project "webshop"? The import'),
        ({"source_type": "gitlab_project"}, 'Delete the import of the kind "gitlab_project" '),
    ],
)
async def test_the_question_tells_apart_what_looks_alike(host: Host, changes: Json, words: str) -> None:
    host.person = person = Person(NO)
    host.site.answers[f"GET {resources(WEBSHOP, 'imports')}"] = JSONResponse(
        {"imports": [{**import_item(104, "/home/alice/webshop"), "created_at": "2026-09-02T10:15:00Z", **changes}]}
    )
    await delete_104(host)
    assert words in person.questions[0]


@pytest.mark.parametrize("status", [404, 500])
async def test_without_its_name_the_project_goes_by_its_id(host: Host, store: Store, era: str, status: int) -> None:
    host.era = era
    host.person = person = Person(YES)
    host.site.answers[PROJECTS] = failure(status)
    assert (await delete_104(host))["deleted"] is True
    assert '/webshop" from project 1? ' in person.questions[0]


async def test_a_host_that_answers_the_question_with_an_error_has_nothing_deleted(host: Host, store: Store) -> None:
    class NoForms(Person):
        async def __call__(self, context: Any, params: Any) -> Any:
            return ErrorData(code=-32601, message="Method not found")

    host.era = "2025-11-25"
    host.person = NoForms()
    assert await host.fails("delete_import", project_id=WEBSHOP, import_id=104) == (
        "The host answered the question to the person with an error (-32601), so nobody was asked. Nothing was "
        "deleted. The Neptun website can delete the import, or a host that asks."
    )
    assert "Pass the project by its name" in await host.fails("list_imports")
    assert kept(store) == EVERYTHING


@pytest.mark.parametrize(
    ("contract", "branch", "state"), [("observed", ', branch "main",', STATE), ("documented", "", "")]
)
async def test_the_question_warns_that_a_github_connection_may_go(
    host: Host, contract: ContractName, branch: str, state: str
) -> None:
    host.site.sandbox(contract)
    host.person = person = Person(NO)
    await host.gets("delete_import", project_id=WEBSHOP, import_id=101)
    assert person.questions == [
        f'Delete the GitHub repository "alice/webshop"{branch} from the project "webshop"? It was imported on '
        f"2026-06-15. {state}The import and the files that came with it are deleted for good, and its connection to "
        "GitHub may go too. (Import 101, project 1.)"
    ]


async def test_a_public_repository_has_no_connection_that_may_go(host: Host) -> None:
    host.person = person = Person(NO)
    await host.gets("delete_import", project_id=WEBSHOP, import_id=105)
    assert person.questions[0].startswith('Delete the public repository "https://github.com/')
    assert "connection to GitHub" not in person.questions[0]


async def test_an_answer_that_the_sdk_refuses_is_explained(host: Host) -> None:
    """Fails if the SDK marks its refusal in another way."""
    async with host.connected() as tools:
        with pytest.raises(MCPError, match="Nothing was done; make the call again") as refused:
            await tools.client.call_tool("delete_import", {"import_id": 104}, request_state="v1.none")
    assert refused.value.error.data == REFUSED


async def test_the_form_is_one_yes_or_no(host: Host, era: str) -> None:
    """Codex cancels a form whose schema has anything else at its root, such as a title."""
    host.era = era
    host.person = person = Person(NO)
    await delete_104(host)
    assert person.forms == [
        {
            "type": "object",
            "properties": {
                "delete": {
                    "type": "boolean",
                    "default": False,
                    "title": "Delete it for good",
                    "description": "This cannot be undone",
                }
            },
            "required": ["delete"],
        }
    ]


def change(store: Store, **changes: object) -> None:
    """Change import 104."""
    (record,) = (record for record in store.imports if record["id"] == 104)
    record.update(changes)


# What the settings decide


@pytest.mark.parametrize(
    ("policy", "can_ask", "questions"),
    [("ask", True, 1), ("ask", False, 0), ("require", True, 1), ("off", True, 0), ("off", False, 0)],
)
async def test_the_setting_decides_whether_the_person_is_asked(
    host: Host, store: Store, era: str, policy: str, can_ask: bool, questions: int
) -> None:
    person = Person(YES)
    host.era = era
    host.person = person if can_ask else None
    host.settings["confirm_delete"] = policy
    result = await delete_104(host)
    assert (result["deleted"], result["message"]) == (True, GONE if questions else GONE + UNASKED)
    assert len(person.questions) == questions
    assert kept(store) == EVERYTHING - {104}
    assert host.site.deletions() == [DELETE_104]


async def test_nothing_is_deleted_if_an_answer_is_required_and_nobody_can_be_asked(
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
        assert all(
            tool.annotations and tool.annotations.read_only_hint for tool in (await tools.client.list_tools()).tools
        )
        assert await tools.fails("delete_import", project_id=WEBSHOP, import_id=104) == (
            "Deletion is switched off. The person can delete on the Neptun website, or unset NEPTUN_READ_ONLY in the "
            "host's entry for this server, and restart it. Nothing was deleted."
        )
    assert host.site.requests == []


async def test_there_is_no_confirm_argument(host: Host) -> None:
    message = await host.fails("delete_import", project_id=WEBSHOP, import_id=104, confirm=True)
    assert message == 'delete_import has no argument "confirm". Its arguments are: import_id, project, project_id.'
    assert host.site.requests == []


# While the person reads the question


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


async def test_a_change_outside_the_question_needs_no_new_answer(host: Host, store: Store, era: str) -> None:
    host.era = era
    host.person = person = Person(YES, meanwhile=lambda: change(store, updated_at="2026-09-03T10:15:00.000Z"))
    assert (await delete_104(host))["deleted"] is True
    assert len(person.questions) == 1


@pytest.mark.parametrize("moved", [True, False])
async def test_an_import_that_went_meanwhile_is_not_said_to_be_deleted(
    host: Host, store: Store, era: str, moved: bool
) -> None:
    def go() -> None:
        change(store, project_id=SCRATCH) if moved else remove(store, 104)

    host.era = era
    host.person = Person(YES, meanwhile=go)
    assert await host.fails("delete_import", project_id=WEBSHOP, import_id=104) == (
        "Import 104 is no longer in project 1; nothing was deleted here. "
        "Call list_imports to see what the project has now."
    )
    assert host.site.deletions() == []


@pytest.mark.parametrize(
    ("status", "words"), [(500, "failed on its side (status 500)."), (401, "There is no project 1,")]
)
async def test_a_failed_check_after_the_answer_deletes_nothing(
    host: Host, store: Store, era: str, status: int, words: str
) -> None:
    def fail() -> None:
        host.site.answers[f"GET {resources(WEBSHOP, 'imports')}"] = failure(status)
        host.site.answers[PROJECTS] = JSONResponse([{"id": 2, "name": "scratch"}])

    host.era = era
    host.person = Person(YES, meanwhile=fail)
    message = await host.fails("delete_import", project_id=WEBSHOP, import_id=104)
    assert words in message
    assert " Nothing was deleted. " in message
    assert kept(store) == EVERYTHING


@pytest.mark.parametrize(("contract", "requests"), [("observed", 8), ("documented", 4)])
async def test_neptun_is_asked_once_before_the_question_and_once_after_it(
    host: Host, contract: ContractName, requests: int, era: str
) -> None:
    host.site.sandbox(contract)
    host.era = era
    host.person = Person(YES)
    host.settings["user_id"] = 1
    # The first list shows which contract the server speaks.
    async with host.connected() as tools:
        await tools.gets("list_imports", project_id=WEBSHOP)
        host.site.requests.clear()
        await tools.gets("delete_import", project_id=WEBSHOP, import_id=104)
    assert len(host.site.requests) == requests
