"""Which project is meant: the given one, the configured one, the only one, or the one that the person chooses."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.types import ElicitResult
from starlette.responses import JSONResponse

from neptun_mcp.sandbox import BOB_COOKIE
from tests.support import (
    CANCELLED,
    DECLINED,
    ORDERS,
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
)

pytestmark = pytest.mark.anyio

PROJECTS = f"GET {USER}/projects"
LISTED = 'Your projects are: 3 "orders-api", 2 "scratch", 1 "webshop".'
RIGHT_TO_LEFT = "\u202egnp.exe\u202c"


def projects(*names: str) -> Json:
    """Projects with the ids 11, 12, … and these names."""
    return {"projects": [{"id": id, "name": name} for id, name in enumerate(names, 11)]}


async def test_a_given_project_is_taken_without_a_look_at_the_others(host: Host, contract: ContractName) -> None:
    host.site.sandbox(contract)
    assert (await host.gets("list_imports", project_id=ORDERS))["project_id"] == ORDERS
    assert PROJECTS not in host.site.requests


async def test_the_configured_project_is_taken_where_none_is_given(host: Host) -> None:
    host.settings["project_id"] = ORDERS
    async with host.connected() as tools:
        assert (await tools.gets("list_imports"))["project_id"] == ORDERS
        assert (await tools.gets("list_resources", resource_type="user-files"))["project_id"] == ORDERS
        assert (await tools.gets("delete_import", import_id=201))["project_id"] == ORDERS
    assert PROJECTS not in host.site.requests


async def test_a_given_project_goes_before_the_configured_one(host: Host) -> None:
    host.settings["project_id"] = ORDERS
    assert (await host.gets("list_imports", project_id=WEBSHOP))["project_id"] == WEBSHOP


async def test_the_project_is_read_from_the_environment(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPTUN_PROJECT_ID", str(ORDERS))
    assert (await host.gets("list_imports"))["project_id"] == ORDERS


async def test_the_only_project_is_taken_unasked(host: Host, contract: ContractName, era: str) -> None:
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
    assert person.questions == ["Which of your Neptun projects is meant?"]
    assert person.choices == [["orders-api (3)", "scratch (2)", "webshop (1)"]]


async def test_before_a_deletion_the_person_chooses_and_then_agrees(host: Host, era: str) -> None:
    host.era = era
    host.person = person = Person(chosen("webshop (1)"), YES)
    assert (await host.gets("delete_import", import_id=104))["deleted"] is True
    assert [question.partition("?")[0] for question in person.questions] == [
        "Which of your Neptun projects is meant",
        "Delete import 104 of project 1 from Neptun",
    ]


async def test_the_person_is_asked_for_each_call_anew(host: Host, era: str) -> None:
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
async def test_any_name_can_be_chosen_and_none_can_disguise_the_list(
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
async def test_without_a_choice_the_projects_are_listed_with_their_ids(
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
async def test_an_answer_beside_the_list_is_not_taken(host: Host, era: str, answer: ElicitResult) -> None:
    host.era = era
    host.person = Person(answer)
    message = await host.fails("list_imports")
    assert message == "The host's answer to the question could not be understood. Nothing was changed."


async def test_names_in_an_error_are_quoted_and_bounded(host: Host) -> None:
    names = ['a "b"\n', RIGHT_TO_LEFT, "c" * 100, *("d" * 30)]
    host.site.answers[PROJECTS] = JSONResponse(projects(*names))
    message = await host.fails("list_imports")
    assert '11 "a \\"b\\"\\n"' in message
    assert f'13 "{"c" * 80}…"' in message
    assert message.endswith(" and 13 more.")
    assert RIGHT_TO_LEFT not in message


async def test_an_unreadable_project_does_not_hide_the_others(host: Host) -> None:
    body = [{"id": 1, "name": "webshop"}, {"id": None, "name": "broken"}, {"id": 3}, {"id": 4, "name": None}]
    host.site.answers[PROJECTS] = JSONResponse(body)
    message = await host.fails("list_imports")
    assert message == 'No project was chosen; pass project_id. Your projects are: 3 "", 4 "", 1 "webshop".'


async def test_the_only_readable_project_is_not_taken_for_the_only_one(host: Host) -> None:
    host.site.answers[PROJECTS] = JSONResponse([{"id": 1, "name": "webshop"}, {"id": None, "name": "broken"}])
    message = await host.fails("list_imports")
    assert message == 'No project was chosen; pass project_id. Your projects are: 1 "webshop".'


@pytest.mark.parametrize("body", [[], {"projects": []}])
async def test_a_project_id_without_any_project_is_not_found(host: Host, body: Any) -> None:
    host.site.answers[PROJECTS] = JSONResponse(body)
    message = await host.fails("list_imports", project_id=99)
    assert message == "There is no project 99, or it is not yours. You have no projects in Neptun yet."


@pytest.mark.parametrize("body", [[], {"projects": []}])
async def test_without_any_project_there_is_nothing_to_choose(host: Host, era: str, body: Any) -> None:
    host.era = era
    host.person = Person()
    host.site.answers[PROJECTS] = JSONResponse(body)
    message = await host.fails("list_imports")
    assert message == f"There are no projects in this Neptun account. Create one at {host.site.url} first."


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
async def test_an_unknown_project_is_not_found_where_projects_cannot_be_listed(host: Host, status: int) -> None:
    host.site.answers[PROJECTS] = failure(status)
    message = await host.fails("list_imports", project_id=99)
    assert message == (
        "There is no project 99, or it is not yours, or Neptun failed: your projects could not be listed to tell. "
        "Check project_id, or try again in a minute."
    )


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, "Neptun answered 404: not found, or not yours. Check the ids."),
        (500, "Neptun at {url} failed on its side (status 500). The request was sound: try again in a minute."),
    ],
)
async def test_without_a_project_and_a_list_of_them_the_failure_is_told(host: Host, status: int, message: str) -> None:
    host.site.answers[PROJECTS] = failure(status)
    assert await host.fails("list_imports") == message.format(url=host.site.url)
