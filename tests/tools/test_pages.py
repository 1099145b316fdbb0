"""Later pages come from the list that the first page showed."""

from __future__ import annotations

import sys
from weakref import ref

import anyio
import pytest

from neptun_mcp import Credentials, NeptunClient
from neptun_mcp.neptun.models import Listing, ProjectImport, UserFile
from neptun_mcp.neptun.session import Session
from neptun_mcp.neptun.threads import Pace
from neptun_mcp.tools.lists import Found, Wanted
from neptun_mcp.tools.pages import EVERY_PROJECT, Key, Pages, memory_of
from neptun_mcp.tools.query import parse_query
from tests.support import until

pytestmark = pytest.mark.anyio


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time, as the pages see it."""
    clock = Clock()
    monkeypatch.setattr("neptun_mcp.tools.pages.monotonic", clock)
    return clock


def a_session() -> Session:
    return NeptunClient(Credentials(cookie="x" * 20)).session


def a_listing(megabytes: float = 0.0) -> Listing[ProjectImport]:
    path = "p" * int(megabytes * 2**20)
    return Listing([ProjectImport(id=1, source_type="local_folder", source_path=path)], [])


def remember(pages: Pages, key: Key, listing: Listing[ProjectImport]) -> None:
    pages.remember(key, listing, memory_of(listing.items, Pace()))


async def remembered(pages: Pages, key: Key) -> bool:
    """Whether a later page would be answered without asking."""
    asked = False

    async def ask() -> Listing[ProjectImport]:
        nonlocal asked
        asked = True
        return a_listing()

    await pages.find(key, True, ask)
    return not asked


async def test_a_first_page_always_asks() -> None:
    pages, key, listing, other = Pages(2**20), Key(a_session(), 0, 1, ("imports",)), a_listing(), a_listing()
    remember(pages, key, listing)

    async def ask() -> Listing[ProjectImport]:
        return other

    assert (await pages.find(key, True, ask))[0] is listing
    assert (await pages.find(key, False, ask))[0] is other
    # The earlier list is not kept beside the new one.
    assert pages.recall(key) is None


async def test_lists_are_kept_apart() -> None:
    pages, alice, bob = Pages(2**20), a_session(), a_session()
    remember(pages, Key(alice, 0, 1, ("imports", None)), a_listing())
    for other in (
        Key(bob, 0, 1, ("imports", None)),
        Key(alice, 0, 2, ("imports", None)),
        Key(alice, 0, 1, ("imports", "github")),
        Key(alice, 0, 1, ("user-files", None)),
        Key(alice, 0, 1, ("user-files", 1)),
    ):
        assert not await remembered(pages, other)


async def test_a_list_is_forgotten_after_five_minutes(clock: Clock) -> None:
    pages, key = Pages(2**20), Key(a_session(), 0, 1, ("imports",))
    remember(pages, key, a_listing())
    clock.now = 299.9
    assert await remembered(pages, key)
    clock.now = 300.0
    assert not await remembered(pages, key)


async def test_a_list_that_nobody_asks_for_again_is_forgotten_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neptun_mcp.tools.pages.REMEMBERED_SECONDS", 0.01)
    pages, listing = Pages(2**20), a_listing()
    in_memory = ref(listing)
    remember(pages, Key(a_session(), 0, 1, ("imports",)), listing)
    del listing
    await until(lambda: in_memory() is None)


async def test_the_oldest_lists_go_when_all_together_become_too_large() -> None:
    pages, session = Pages(5 * 2**20), a_session()
    keys = [Key(session, 0, project, ("imports",)) for project in (1, 2, 3)]
    for key in keys:
        remember(pages, key, a_listing(megabytes=2))
    assert [await remembered(pages, key) for key in keys] == [False, True, True]


async def test_a_list_that_is_too_large_alone_is_not_remembered() -> None:
    pages, key = Pages(2**20), Key(a_session(), 0, 1, ("imports",))
    remember(pages, key, a_listing(megabytes=2))
    assert pages.recall(key) is None


async def test_a_deletion_forgets_the_lists_of_its_project_and_no_others() -> None:
    pages, alice, bob = Pages(2**20), a_session(), a_session()
    keys = [Key(alice, 0, 1, ("imports",)), Key(alice, 0, 1, ("user-files", None)), Key(alice, 0, 2, ("imports",))]
    keys.append(Key(bob, 0, 1, ("imports",)))
    for key in keys:
        remember(pages, key, a_listing())
    pages.forget(alice, 1)
    assert [await remembered(pages, key) for key in keys] == [False, False, True, True]


async def test_a_certain_deletion_leaves_the_lists_of_imports_to_be_read_on_without_it() -> None:
    pages, alice = Pages(2**20), a_session()
    imports, files = Key(alice, 0, 1, ("imports",)), Key(alice, 0, 1, ("user-files", None))
    everywhere = Key(alice, 0, EVERY_PROJECT, ("imports", "", ""))
    found = Found(Wanted("imports", parse_query("", ProjectImport), 50, 0))
    for key in (imports, files, everywhere):
        pages.remember(key, found, 1_000)
    pages.forget(alice, 1, deleted=1)
    assert found.gone == {1}
    assert [await remembered(pages, key) for key in (imports, files, everywhere)] == [True, False, True]


@pytest.mark.parametrize("letter", ["x", "é", "你", "🍵"])
def test_a_list_counts_as_much_memory_as_it_takes(letter: str) -> None:
    """One emoji makes each character of a text take four bytes."""
    text = "".join(["x" * 999_999, letter])
    file = UserFile.model_validate({"id": 1, "text": text})
    assert sys.getsizeof(text) <= memory_of([file], Pace()) < sys.getsizeof(text) + 2_000


async def test_what_was_seen_with_an_earlier_cookie_is_forgotten() -> None:
    pages, session, listing = Pages(2**20), a_session(), a_listing()
    in_memory = ref(listing)
    remember(pages, Key(session, 0, 1, ("imports",)), listing)
    del listing
    session.changes += 1
    assert not await remembered(pages, Key(session, 1, 1, ("imports",)))
    assert in_memory() is None


def test_without_asyncio_a_list_is_forgotten_with_the_next_call(clock: Clock) -> None:
    pages, session, listing = Pages(2**20), a_session(), a_listing()
    in_memory = ref(listing)
    remember(pages, Key(session, 0, 1, ("imports",)), listing)
    del listing
    clock.now = 300.0
    assert not anyio.run(remembered, pages, Key(session, 0, 2, ("imports",)))
    assert in_memory() is None
