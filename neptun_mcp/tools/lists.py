"""How a page of a list comes about: asked for or remembered, searched, made to fit, and remembered for the next one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from .everywhere import Ask, Rows, everywhere_page, read_everywhere
from .pace import Pace, paced
from .pages import EVERY_PROJECT, Key, Pages, Sent, memory_of
from .projects import Call
from .results import Page, Wanted, work_for

PageT = TypeVar("PageT", bound=Page)


async def page_of_project(
    call: Call, pages: Pages, key: Key, sent: Sent[Any], wanted: Wanted, make: Callable[[Pace], PageT]
) -> PageT:
    """A page of one project's list.

    Args:
        sent: the list.
        make: makes the page.
    """

    def made(pace: Pace) -> tuple[PageT, int]:
        page = make(pace)
        more = page.next_offset is not None and not pages.holds(key, sent.value)
        return page, memory_of(sent.value.items, pace) if more else 0

    page, memory = await paced(call.limit, work_for(sent.value.items, wanted), made)
    pages.remember(key, sent.value, memory)
    return page


async def page_of_everything(
    call: Call, pages: Pages, what: tuple[str | None, ...], wanted: Wanted, rows: Rows, ask: Ask
) -> tuple[list[Any], dict[str, Any]]:
    """The items of a page of a list over all projects, and the other fields of the page.

    Args:
        what: which list it is; a query makes another one.
        rows: makes the rows of one project.
        ask: asks Neptun for the list of one project.
    """
    key = await pages.key(call.neptun.session, EVERY_PROJECT, *what)
    read = partial(read_everywhere, call, ask, rows, wanted, pages.max_bytes // 2)
    sent = await pages.find(key, wanted.offset > 0, read)
    items, head = everywhere_page(sent, wanted)
    more = head["next_offset"] is not None and sent.value.complete
    pages.remember(key, sent.value, sent.value.memory if more else 0)
    return items, head
