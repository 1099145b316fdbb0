"""The log: what a line looks like, and what `NEPTUN_LOG_LEVEL=debug` shows of each request, retry and renewal."""

from __future__ import annotations

import logging
import re
from itertools import zip_longest
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from neptun_mcp.log import JsonFormatter, RedactingFormatter
from neptun_mcp.sandbox import EMAIL, PASSWORD
from tests.processes import COMMAND, environment, free_port, start, start_stdio
from tests.serving.support import Caller, content_in
from tests.support import Site, failure, http_client, request_line, resources

pytestmark = pytest.mark.anyio

CONTROL = "a\x00\x1b[2J\x7f\x85\x9b2J\u2028\u2029\u202e\udcffz"
ESCAPED = r"a\x00\x1b[2J\x7f\x85\x9b2J\u2028\u2029\u202e\udcffz"


def record(message: str, exc_info: object = None, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("neptun_mcp", logging.INFO, "", 1, message, (), exc_info)  # pyright: ignore[reportArgumentType]
    made.__dict__["fields"] = fields
    return made


def test_a_record_is_a_line_of_text_whatever_is_in_it() -> None:
    line = RedactingFormatter([]).format(record(f"{CONTROL}\r\nnext", host=CONTROL))
    assert line.endswith(
        rf"{ESCAPED}\r\nnext host=" + r'"a\u0000\u001b[2J\u007f\u0085\u009b2J\u2028\u2029\u202e\udcffz"'
    )
    assert line.splitlines() == [line]


def test_a_traceback_keeps_its_lines_and_nothing_else_ends_one() -> None:
    try:
        raise RuntimeError(CONTROL)
    except RuntimeError as error:
        text = RedactingFormatter([]).format(record("failed", (type(error), error, error.__traceback__)))
    assert text.split("\n")[-1] == f"RuntimeError: {ESCAPED}"
    assert text.splitlines() == text.split("\n")


def test_a_record_is_a_line_of_json_whatever_is_in_it() -> None:
    line = JsonFormatter([]).format(record(f"{CONTROL}\nnext", host=CONTROL))
    assert line.isascii()
    assert line.splitlines() == [line]


@pytest.mark.parametrize("formatter", [RedactingFormatter, JsonFormatter])
def test_a_secret_is_in_no_field_whatever_escapes_it(formatter: type[RedactingFormatter]) -> None:
    secret = 'pä"ss\\word'
    line = formatter([secret]).format(record(f"a {secret}", why=f"b {secret}", all=[f"c {secret}", 1]))
    assert line.count("[secret]") == 3
    assert "ss" not in line.replace("message", "")


# What debug shows

FILES = f"GET {resources(1, 'user-files')}"
ROUTE = r"GET /api/users/\{user_id\}/projects/\{project_id\}/resources/user-files"
LINES = [
    r"neptun_mcp\.neptun\.transport: GET /api/_auth/session: 200, \d+ bytes in \d+ ms, attempt 1",
    r"neptun_mcp\.neptun\.transport: HEAD /api/auth/check: 401, 0 bytes in \d+ ms, attempt 1",
    r"neptun_mcp\.neptun\.session: session: logging in",
    r"neptun_mcp\.neptun\.transport: POST /api/auth/login: 200, \d+ bytes in \d+ ms, attempt 1",
    r"neptun_mcp\.neptun\.transport: GET /api/_auth/session: 200, \d+ bytes in \d+ ms, attempt 1",
    rf"neptun_mcp\.neptun\.transport: {ROUTE}: 503, \d+ bytes in \d+ ms, attempt 1",
    rf"neptun_mcp\.neptun\.transport: {ROUTE}: again in 0\.0 s",
    rf"neptun_mcp\.neptun\.transport: {ROUTE}: 200, \d+ bytes in \d+ ms, attempt 2",
]


def fail_once(site: Site) -> None:
    """Answer the first request for files by 503."""
    sandbox, failures = site.app, [failure(503)]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answer = failures.pop() if failures and request_line(scope) == FILES else sandbox
        await answer(scope, receive, send)

    site.app = app


def assert_each_step_is_there(log: str) -> None:
    """Each request, retry and renewal, in order, and nothing besides: no id of a person, header, body or secret."""
    lines = [line for line in log.splitlines() if "DEBUG" in line]
    for line, expected in zip_longest(lines, LINES, fillvalue=""):
        assert re.fullmatch(r"[\d-]{10}T[\d:.]{12}Z DEBUG " + expected, line), log


async def test_debug_shows_each_step_on_stdio(site: Site, tmp_path: Path) -> None:
    fail_once(site)
    known = {"email": EMAIL, "password": PASSWORD, "session_cookie": "expired" * 8}
    async with start_stdio(tmp_path / "stderr", log_level="debug", base_url=site.url, **known) as server:
        await server.initialize()
        await server.call_files()
        assert (await server.message())["result"]["isError"] is False
        await server.hang_up()
        assert await server.exit_code() == 0
    assert_each_step_is_there(server.stderr())


@pytest.mark.slow  # another process, for the same lines
async def test_debug_shows_each_step_over_http(site: Site, tmp_path: Path) -> None:
    fail_once(site)
    known = {"email": EMAIL, "password": PASSWORD, "session_cookie": "expired" * 8}
    port, http = free_port(), http_client()
    env = environment(log_level="debug", base_url=site.url, **known)
    command = (*COMMAND, "serve", "--http", "--port", str(port))
    async with start(tmp_path / "stderr", *command, env=env) as server, http:
        url = f"http://127.0.0.1:{port}"
        await server.answering(url)
        content_in(await Caller(url, http).call("list_resources", {"project_id": 1, "resource_type": "user-files"}))
    assert_each_step_is_there(server.stderr())
