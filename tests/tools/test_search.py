"""What a query finds."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import JSONResponse

from neptun_mcp.neptun.models import RESOURCE_MODELS, ProjectImport, UserFile, text_fields
from neptun_mcp.tools.search import find, fold, search
from tests.support import WEBSHOP, Host, Json, ids, import_item, resources

pytestmark = pytest.mark.anyio

SEARCHED = [
    ("imports", ProjectImport),
    *((resource_type, model) for resource_type, model in RESOURCE_MODELS.items()),
]


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind, model in SEARCHED for field in text_fields(model)])
async def test_every_text_that_is_shown_is_searched(host: Host, kind: str, field: str) -> None:
    items: list[Json] = [{**import_item(id), field: f"a n{id}eedle b"} for id in (1, 2, 3)]
    host.site.answers[f"GET {resources(WEBSHOP, kind)}"] = JSONResponse(
        {"imports": items} if kind == "imports" else items
    )
    tool, arguments = ("list_imports", {}) if kind == "imports" else ("list_resources", {"resource_type": kind})
    page = await host.gets(tool, project_id=WEBSHOP, query="n2eed", **arguments)
    (found,) = page["imports" if kind == "imports" else "resources"]
    assert (found["id"], found[field], page["total"]) == (2, "a n2eedle b", 1)


@pytest.mark.parametrize(
    ("stored", "query"),
    [
        ("Cafe\u0301", "Café"),
        ("Café", "cafe\u0301"),
        ("Café", "CAFE"),
        ("İstanbul", "istanbul"),
        ("istanbul", "İSTANBUL"),
        ("ＷＥＢ", "web"),
        ("web", "ｗｅｂ"),
        ("Straße", "STRASSE"),
        ("strasse", "straße"),
        ("Σίσυφος", "ΣΙΣΥΦΟΣ"),
        ("oﬃce", "office"),
        ("한글", "한글"),
        ("a\u00a0b", "a b"),
        ("№ 5", "no"),
        ("мой", "МОИ"),
    ],
)
async def test_case_accents_width_and_normalisation_do_not_matter(host: Host, stored: str, query: str) -> None:
    items = [import_item(1, f"/srv/{stored}/x"), import_item(2, "/srv/other")]
    host.site.answers[f"GET {resources(WEBSHOP, 'imports')}"] = JSONResponse({"imports": items})
    assert ids((await host.gets("list_imports", project_id=WEBSHOP, query=query))["imports"]) == [1]


async def test_a_query_of_nothing_but_accents_is_none(host: Host) -> None:
    assert (await host.gets("list_imports", project_id=WEBSHOP, query="\u0301"))["total"] == 7


ANY_TEXT = st.text(st.one_of(st.characters(), st.sampled_from("İßé\u0301\u0345ﷺ한Ａa ")))


@given(ANY_TEXT, ANY_TEXT)
def test_parts_of_a_text_are_folded_one_by_one(left: str, right: str) -> None:
    assert fold(left + right) == fold(left) + fold(right)


@given(ANY_TEXT, ANY_TEXT)
def test_a_match_is_found_where_it_is(before: str, after: str) -> None:
    text = f"{before} Needle {after}"
    assert fold(text[find(text, "nEEdle") :]).startswith("needle")


# The cost

LONG: dict[str, Callable[[int], str]] = {
    "ASCII": lambda size: "ab" * (size // 2),
    "letters with accents": lambda size: "é ü " * (size // 4),
    "letters that grow": lambda size: "ﷺ" * (size // 18),
    "nothing but accents": lambda size: "\u0301" * size,
    "accents in a wrong order": lambda size: "\u0301\u0316" * (size // 2),
    "letters of accents in a wrong order": lambda size: "\u0f73" * size,
    "the query, nearly": lambda size: ("a" * 499 + "é") * (size // 500),
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_searching_costs_as_much_as_there_is_text(text: Callable[[int], str]) -> None:
    """Ten times the text takes ten times as long; what is quadratic takes a hundred times."""
    query = "a" * 499 + "b " + " ".join("é" * length for length in range(1, 31))

    def cost(size: int) -> float:
        file = UserFile(id=1, text=text(size))
        return min(seconds(lambda: (search([file], query), find(file.text or "", query))) for _ in range(3))

    assert cost(300_000) < 40 * cost(30_000)


def seconds(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started
