"""Whatever Neptun answers: a result keeps to its schema and its numbers, shows no secret, and comes in time."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import quote

import anyio
import hypothesis.strategies as st
import pytest
from hypothesis import given
from mcp.types import CallToolResult

from neptun_mcp.sandbox import COOKIE
from tests.faults.neptun import IMPORT, FaultyNeptun, Place, WebshopTools, open_tools, start_neptun
from tests.faults.server import Action, answer, say
from tests.support import PATIENCE, RECORDINGS, RESOURCE_TYPES, WEBSHOP, Agreeable, Json, Person, content_of, error_of

pytestmark = pytest.mark.anyio


SECONDS = 1.0
LIST_TOOLS: list[tuple[str, Json]] = [
    ("list_imports", {}),
    *(("list_resources", {"resource_type": kind}) for kind in RESOURCE_TYPES),
]


@pytest.fixture(scope="module")
async def neptun() -> AsyncGenerator[FaultyNeptun]:
    async with start_neptun("observed") as neptun:
        yield neptun


@pytest.fixture(scope="module")
def person() -> Person:
    return Agreeable()


@pytest.fixture(scope="module")
async def tools(neptun: FaultyNeptun, person: Person) -> AsyncGenerator[WebshopTools]:
    """With a cookie alone: a refused log-in would be remembered. The client checks results against their schema."""
    async with open_tools(neptun.settings(user_id=None, timeout=SECONDS), person=person) as tools:
        yield tools


# Answers: recorded ones, with a change or two

RECORDED = [
    *(recording for recording in RECORDINGS.values() if recording.response["status"] == 200),
    *(recording for name, recording in RECORDINGS.items() if name.startswith("db")),
]
LISTS = [recording.response["body"] for recording in RECORDED if recording.response["body"].startswith("[{")]
ECHOES = st.sampled_from([COOKIE, quote(COOKIE, safe=""), f"neptun-session={COOKIE}; Path=/"])
TEXTS = st.text(max_size=20) | ECHOES | st.builds("{}{}".format, st.text(max_size=5), ECHOES)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    sorted({field for body in LISTS for item in json.loads(body) for field in item} | {"title", "description"})
)


@st.composite
def changed_lists(draw: st.DrawFn) -> bytes:
    """A recorded list, longer or shorter, in which some fields are other values or gone."""
    items: list[Any] = json.loads(draw(st.sampled_from(LISTS)))
    repeated = [dict(item, id=item["id"] + 100 * turn) for turn in range(draw(st.integers(1, 12))) for item in items]
    for number, field, value in draw(st.lists(st.tuples(st.integers(0, 200), FIELDS, VALUES), max_size=4)):
        repeated[number % len(repeated)][field] = value
    for number, field in draw(st.lists(st.tuples(st.integers(0, 200), FIELDS), max_size=2)):
        repeated[number % len(repeated)].pop(field, None)
    for position, value in draw(st.lists(st.tuples(st.integers(0, 200), VALUES), max_size=2)):
        repeated.insert(position % (len(repeated) + 1), value)
    wrapped = draw(st.sampled_from([repeated, {"imports": repeated}, {"projects": repeated}]))
    return json.dumps(wrapped).encode()


@st.composite
def cut_bodies(draw: st.DrawFn) -> bytes:
    """A recorded body with some bytes replaced."""
    body: bytes = draw(st.sampled_from(RECORDED)).response["body"].encode()
    for start, length, replacement in draw(
        st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 8), st.binary(max_size=4)), max_size=3)
    ):
        start %= len(body) + 1
        body = body[:start] + replacement + body[start + length :]
    return body


def built(status: int, body: bytes, retry_after: str | None, echo: str | None, broken: bool) -> Action:
    return say(body[:40]) if broken else answer(status, body, retry_after=retry_after, set_cookie=echo, location=echo)


STATUSES = st.sampled_from([*[200] * 12, 201, 204, 302, 400, 401, 403, 404, 418, 429, 500, 503])
BODIES = st.one_of(changed_lists(), changed_lists(), cut_bodies(), st.builds(json.dumps, VALUES).map(str.encode))
ACTIONS = st.builds(
    built,
    STATUSES,
    BODIES,
    # Another value costs the pause before a request is sent again.
    st.sampled_from([*["0"] * 15, "-1", "nan", "9" * 400]),
    st.sampled_from([None, None, COOKIE, f"neptun-session={COOKIE}; Path=/"]),
    st.sampled_from([*[False] * 20, True]),
)
FAULTS = st.dictionaries(st.sampled_from(list(Place)), ACTIONS, max_size=3)


async def call(tools: WebshopTools, tool: str, **arguments: Any) -> tuple[CallToolResult, Json]:
    """A result that is as it should be, and its content; empty for a failure that is told in words."""
    with anyio.fail_after(2 * SECONDS + PATIENCE):  # a question is between two calls
        result = await tools.call(tool, project_id=WEBSHOP, **arguments)
    assert_no_secret(result.model_dump_json())
    if not result.is_error:
        return result, content_of(result)
    assert "unexpectedly" not in error_of(result)
    return result, {}


def assert_no_secret(text: str) -> None:
    assert COOKIE not in text
    assert quote(COOKIE, safe="") not in text


def break_down(neptun: FaultyNeptun, faults: dict[Place, Action]) -> None:
    neptun.heal()
    for place, action in faults.items():
        neptun.break_at(place, action)


@given(
    faults=FAULTS, tool=st.sampled_from(LIST_TOOLS), limit=st.integers(3, 50), query=st.just("") | st.text(max_size=3)
)
async def test_pages_hold_each_item_once(
    neptun: FaultyNeptun,
    tools: WebshopTools,
    faults: dict[Place, Action],
    tool: tuple[str, Json],
    limit: int,
    query: str,
) -> None:
    break_down(neptun, faults)
    name, arguments = tool
    offset, shown, total = 0, 0, 0
    while offset is not None:
        _, content = await call(tools, name, query=query, offset=offset, limit=limit, **arguments)
        if not content:
            return
        items = content["imports" if name == "list_imports" else "resources"]
        assert len(items) <= limit
        shown, total, offset = shown + len(items), content["total"], content.get("next_offset")
        assert offset in (None, shown)
    assert shown == total


@given(faults=FAULTS)
async def test_a_deletion_says_what_is_so(
    neptun: FaultyNeptun, tools: WebshopTools, person: Person, faults: dict[Place, Action]
) -> None:
    break_down(neptun, faults)
    person.questions.clear()
    result, content = await call(tools, "delete_import", import_id=IMPORT)
    assert_no_secret(repr(person.questions))
    if Place.DELETE not in faults:
        # The sandbox did what it was asked; nothing that was answered before or after makes another story true.
        assert neptun.holds(IMPORT) is not bool(neptun.asked_for(Place.DELETE))
        assert content.get("deleted") is not False
        if "nothing was deleted" in result.model_dump_json().lower():
            assert neptun.holds(IMPORT)
