"""Reading what others wrote takes time in proportion to its length, whatever it is.

Where work cannot be counted, the time for 10 and for 100 times the size is compared with that for the size alone. Where
it grew with the square, 100 times the size would take 10,000 times as long; linear growth is allowed eight times its
due, for the noise of a busy machine.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any

import anyio.to_thread
import pytest
from pydantic import ValidationError
from starlette.responses import Response

from neptun_mcp import Credentials, NeptunClient, NeptunError, Settings
from neptun_mcp.log import RedactingFormatter
from neptun_mcp.neptun.cookies import cookie_value
from neptun_mcp.neptun.models import MAX_UNREADABLE, ProjectImport, UserFile, newest_first, read_items
from neptun_mcp.neptun.threads import Pace
from neptun_mcp.sandbox import COOKIE
from tests.support import Site, resources, until

# Another process's turn is not counted, if the system measures finely enough without it.
CLOCK = time.thread_time if time.get_clock_info("thread_time").resolution < 1e-6 else time.perf_counter


def best_time(read: Callable[[Any], object], value: Any) -> float:
    """Seconds for one reading: the best of several, and no less than the clock can tell."""
    times: list[float] = []
    for _ in range(5):
        started = CLOCK()
        read(value)
        times.append(CLOCK() - started)
    return max(1e-5, min(times))


def is_linear(read: Callable[[Any], object], values: list[Any]) -> bool:
    once, ten, hundred = (best_time(read, value) for value in values)
    return ten < 80 * once and hundred < 800 * once


COOKIE_TEXTS = {
    "blanks after the name": ("neptun-session", " ", ";"),
    "tabs after the sign": ("neptun-session=", "\t", ";"),
    "names": ("", "neptun-session=", ""),
    "names and blanks": ("", "neptun-session ", ""),
    "names, quotes and blanks": ("", 'neptun-session" = ', ""),
    "beginnings of JSON": ("", '{"name":', ""),
    "a long beginning of JSON": ("{", '"name" : ', ""),
    "blanks in JSON": ('{"name"', " ", '"neptun-session"'),
    "names in JSON": ("", '{"name":"neptun-session" ', ""),
    "values in JSON": ('{"name":"neptun-session"', ',"value":"', "}"),
    "quotes": ("", "\"'", ""),
    "semicolons": ("", ";", ""),
    "characters without width": ("", "\u200b", ""),
}


@pytest.mark.parametrize(("start", "part", "end"), COOKIE_TEXTS.values(), ids=COOKIE_TEXTS.keys())
def test_a_cookie_is_found_in_linear_time(start: str, part: str, end: str) -> None:
    texts = [start + part * (size // len(part)) + end for size in (600, 6_000, 60_000)]
    assert is_linear(lambda text: cookie_value(text, limit=len(text)), texts)


@pytest.mark.parametrize("date", ["2026-01-01T00:00:00.{}Z", "{}2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z{}"])
def test_a_date_is_read_in_linear_time(date: str) -> None:
    raw = [[{"id": 1, "created_at": date.format("0" * size)}] for size in (1_000, 10_000, 100_000)]
    assert is_linear(lambda raw: newest_first(read_items(UserFile, raw, Pace()).items), raw)


class Counted(list[Any]):
    """A list that counts how many of its items were looked at, one by one."""

    looked_at = 0

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            self.looked_at += 1
            yield item


@pytest.mark.parametrize("bad", [{}, 1, None, {"id": 0}, []])
def test_after_some_unreadable_items_the_rest_is_not_read(bad: Any) -> None:
    raw = Counted([{"id": 1, "source_type": "a", "source_path": "b"}, *[bad] * 100_000])
    listing = read_items(ProjectImport, raw, Pace())
    assert [item.id for item in listing.items] == [1]
    assert len(listing.left_out) == 100_000
    assert listing.left_out[0] == "after 100 unreadable items the rest was not read"
    assert listing.left_out[1].startswith("item 2:")
    assert raw.looked_at == MAX_UNREADABLE + 2


@pytest.mark.anyio
@pytest.mark.parametrize("part", [COOKIE[:-1], COOKIE[:64], "%", "Fe26.2**"])
async def test_echoes_are_taken_out_in_linear_time(part: str) -> None:
    async def attempt(cookie: str) -> None:
        pass

    client = NeptunClient(Credentials(COOKIE))
    await client.session.run(attempt)
    files = [UserFile(id=1, text=part * times) for times in (10, 100, 1_000)]
    assert is_linear(lambda file: client.session.redact([file], Pace()), files)


SETTINGS = {
    "mcp_allowed_hosts": "host.example.com, ",
    "mcp_token": "t",
    "base_url": "https://a.",
    "email": "'\" ",
    "project_id": "1",
    "read_only": "\r\n",
    "session_cookie": "neptun-session ",
}


@pytest.mark.parametrize(("name", "part"), SETTINGS.items())
def test_a_setting_is_read_in_linear_time(name: str, part: str) -> None:
    def read(value: str) -> None:
        values: dict[str, Any] = {name: value}
        with suppress(ValidationError):
            Settings(**values)

    assert is_linear(read, [part * (size // len(part)) for size in (1_000, 10_000, 100_000)])


def test_a_line_of_the_log_is_written_in_linear_time() -> None:
    formatter = RedactingFormatter([COOKIE])
    texts = ["neptun-session=\x85 Fe26.2*" * (size // 25) for size in (1_000, 10_000, 100_000)]
    records = [logging.makeLogRecord({"msg": text, "name": "x", "levelname": "INFO"}) for text in texts]
    assert is_linear(formatter.format, records)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"["), (200, b'{"a": 1, "b": "'), (200, b"too long"), (403, b""), (404, b""), (500, b"")],
    ids=["broken JSON", "no list", "too long", "refused", "not found", "failed"],
)
async def test_an_error_holds_nothing_of_a_long_answer(site: Site, status: int, body: bytes) -> None:
    """Errors are kept for a while, and those in a cycle until Python looks for garbage."""
    long = Response(body + 1_000_000 * b"x" + b'"}' * (body[:1] == b"{"), status, media_type="application/json")
    site.answers[f"GET {resources(1, 'user-files')}"] = long
    most = 500_000 if body == b"too long" else 2_000_000
    cycle: list[Any] = []
    async with NeptunClient(Credentials(cookie=COOKIE), base_url=site.url, max_response_bytes=most) as neptun:
        try:
            await neptun.list_resources(1, "user-files")
        except NeptunError as error:
            cycle.append(error)
    del long
    site.answers.clear()
    await anyio.to_thread.run_sync(time.sleep, 0)  # the thread that has read it lets go of it

    def is_held() -> bool:
        gc.collect()
        held = [value for holder in gc.get_objects() for value in gc.get_referents(holder)]
        texts = [value for value in held if isinstance(value, (bytes, str)) and len(value) > 400_000]
        buffers = [value for value in held if isinstance(value, BytesIO) and not value.closed]
        return any(str(text[-9:-3]).strip("b'") == "xxxxxx" for text in texts) or any(
            buffer.getbuffer().nbytes > 400_000 for buffer in buffers
        )

    await until(lambda: not is_held())  # the site, in a thread of its own, may not be done with it yet
    assert len(cycle) == 1
