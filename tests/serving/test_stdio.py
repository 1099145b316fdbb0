"""Conversations over stdio, in which stdout carries nothing but the protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from threading import Event

import anyio.to_thread
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from starlette.types import Receive, Scope, Send

from neptun_mcp.sandbox import COOKIE
from neptun_mcp.tools import create_tools
from neptun_mcp.tools.tools import NOT_UNDERSTOOD
from tests.processes import COMMAND, StdioServer, environment, run, start_stdio
from tests.support import ERAS, GREETING, HELLO, YES, Json, Person, Site, content_of, error_of, until

pytestmark = pytest.mark.anyio

PARAMETERS = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "--sandbox"], env=environment())


@pytest.mark.parametrize("era", [pytest.param("2025-11-25", marks=pytest.mark.slow), "2026-07-28"])
async def test_a_client_uses_the_tools_over_stdio(era: str) -> None:
    """Most tests below speak the older protocol."""
    person = Person(YES)
    async with Client(stdio_client(PARAMETERS), mode=ERAS[era], elicitation_callback=person) as client:
        assert client.protocol_version == era
        listed = [tool.name for tool in (await client.list_tools()).tools]
        assert listed == [tool.name for tool in create_tools()]
        assert content_of(await client.call_tool("list_imports", {"project_id": 1}))["total"] == 7
        result = await client.call_tool("delete_import", {"project_id": 1, "import_id": 104})
        assert content_of(result)["deleted"] is True
        assert error_of(await client.call_tool("list_imports", {"project_id": 9})).startswith("There is no project 9")
        assert content_of(await client.call_tool("list_imports", {"project_id": 1}))["total"] == 6
    assert len(person.questions) == 1


async def first_answer_to_deletion(server: StdioServer) -> Json:
    """The first message after the call."""
    await server.call("delete_import", project_id=1, import_id=104)
    return await server.message()


async def test_stdout_carries_nothing_but_answers_and_the_end_of_stdin_ends_the_server(tmp_path: Path) -> None:
    """A host that can only open pages for the person is not asked to show a form."""
    async with start_stdio(tmp_path / "stderr", "--sandbox", log_level="debug") as server:
        await server.initialize({"elicitation": {"url": {}}})
        ping = await server.request("ping", {})
        assert await server.message() == {"jsonrpc": "2.0", "id": ping, "result": {}}
        await server.request("no/such/method", {})
        assert (await server.message())["error"]["code"] == -32601
        assert (await first_answer_to_deletion(server))["result"]["structuredContent"]["deleted"] is True
        assert (await first_answer_to_deletion(server))["result"]["isError"] is True
        await server.hang_up()
        assert await server.exit_code() == 0
        assert await server.rest() == b""
    assert COOKIE not in server.stderr()


# Every line that holds an id gets exactly one answer

PARSE, INVALID, PARAMS = -32700, -32600, -32602


def ping(rest: str, id: str = "7") -> bytes:
    """A request of which only the beginning is sound."""
    return f'{{"jsonrpc": "2.0", "id": {id}, "method": "ping"{rest}'.encode()


DEEP = ', "params": {"a": ' + "[" * 500 + "]" * 500 + "}}"

REFUSED: dict[str, tuple[bytes, int | str | None, int]] = {
    "no JSON": (b"nonsense", None, PARSE),
    "JSON that breaks off": (ping(', "params": {"id": 8, "a": "'), None, PARSE),
    "a value that is no JSON": (ping(', "params": {"a": NUL}}'), None, PARSE),
    "500 levels": (ping(DEEP), 7, PARSE),
    "100,000 levels": (ping(', "params": {"a": ' + "[" * 100_000), None, PARSE),
    "2 MB": (ping(f', "params": {{"a": "{"x" * 2**21}"}}}}'), None, INVALID),
    "params in a list": (ping(', "params": []}'), 7, PARAMS),
    "an id that is true": (ping("}", id="true"), None, INVALID),
    "an id that is null": (ping("}", id="null"), None, INVALID),
    "an id with a fraction": (ping("}", id="1.5"), None, INVALID),
    "an id that is an object": (ping("}", id='{"id": 7}'), None, INVALID),
    "a method that is a number": (b'{"jsonrpc": "2.0", "id": 7, "method": 1}', 7, INVALID),
    "an escaped id": (b'{"id": "\\u0041\\""}', 'A"', INVALID),
    "no method": (b'{"jsonrpc": "2.0", "id": 7}', 7, INVALID),
    "no version": (b'{"id": 7, "method": "ping"}', 7, INVALID),
    "several messages": (b'[{"jsonrpc": "2.0", "id": 7, "method": "ping"}]', None, INVALID),
    "a number": (b"7", None, INVALID),
}
ANSWERED: dict[str, tuple[bytes, int | str]] = {
    "a byte order mark": (b"\xef\xbb\xbf" + ping("}"), 7),
    "half a surrogate pair": (ping(', "params": {"a": "\\ud800"}}'), 7),
    "bytes that are no UTF-8": (ping(', "params": {"a": "') + b'\xff\xc3"}}', 7),
    "an id of 30 digits": (ping("}", id="9" * 30), int("9" * 30)),
    "a carriage return": (ping("}\r"), 7),
}
UNANSWERED = {
    "nothing": b"",
    "blanks": b" \t \r",
    "a notification with params in a list": b'{"jsonrpc": "2.0", "method": "notifications/initialized", "params": []}',
    "a notification that is unknown": b'{"jsonrpc": "2.0", "method": "no/such/thing"}',
    "an answer that nobody waits for": b'{"jsonrpc": "2.0", "id": 7, "result": {}}',
    "an answer of the wrong form": b'{"jsonrpc": "2.0", "id": 7, "result": 7}',
}


async def test_a_line_gets_one_answer_if_it_holds_an_id_and_a_line_in_the_log_if_it_is_refused(tmp_path: Path) -> None:
    async with start_stdio(tmp_path / "stderr", "--sandbox") as server:
        await server.initialize()
        for what, (line, id, code) in REFUSED.items():
            await server.send_line(line)
            answer = await server.message()
            assert (answer["id"], answer["error"]["code"]) == (id, code), what
        for what, (line, id) in ANSWERED.items():
            await server.send_line(line)
            assert await server.message() == {"jsonrpc": "2.0", "id": id, "result": {}}, what
        for line in UNANSWERED.values():
            await server.send_line(line)
        call = await server.call("list_imports", project_id=1)
        assert (await server.message())["id"] == call
        await server.hang_up()
        assert await server.exit_code() == 0
        assert await server.rest() == b""
    refusals = [line for line in server.stderr().splitlines() if "a line on stdin was refused" in line]
    assert len(refusals) == len(REFUSED) + 2  # the malformed notification, the malformed answer
    assert server.stderr().splitlines() == refusals


async def test_a_question_is_answered_declined_or_ended_by_what_is_no_answer(tmp_path: Path) -> None:
    """An empty capability, from before there were several ways to ask, means forms."""
    async with start_stdio(tmp_path / "stderr", "--sandbox") as server:
        await server.initialize({"elicitation": {}})
        question = await first_answer_to_deletion(server)
        assert question["method"] == "elicitation/create"
        assert question["params"]["message"].startswith('Delete the folder "/home/alice/webshop" from the project')
        await server.send({"id": question["id"], "result": {"action": "decline"}})
        assert (await server.message())["result"]["structuredContent"]["deleted"] is False
        question = await first_answer_to_deletion(server)
        await server.send({"id": question["id"], "result": 7})
        assert (await server.message())["result"]["content"][0]["text"] == NOT_UNDERSTOOD
        assert (await first_answer_to_deletion(server))["method"] == "elicitation/create"  # it is still there


ODD_PARAMETERS: list[tuple[str, Json, str]] = [
    ("prompts/get", {"name": "tidy_imports", "arguments": []}, "the imports of one of my projects"),
    ("prompts/get", {"name": "tidy_imports", "arguments": '{"project_id": "3"}'}, "the imports of project 3 in"),
    (
        "prompts/get",
        {"name": "tidy_imports", "arguments": {"project_id": [3]}},
        "project_id: Input should be a valid string.",
    ),
    ("prompts/get", {"name": "tidy_imports", "arguments": 3}, "The arguments of tidy_imports must be a JSON object."),
    ("prompts/get", {}, "prompts/get cannot be read: params.name: Field required."),
    (
        "tools/call",
        {"name": "list_imports", "_meta": {"progressToken": None}},
        "_meta.progressToken.str: Input should be",
    ),
    ("tools/call", {"name": 3}, "tools/call cannot be read: params.name: Input should be a valid string."),
]


async def test_what_some_hosts_send_is_understood_or_refused_in_words(tmp_path: Path) -> None:
    """After a handshake that failed, too, and then what is said of the host is true."""
    async with start_stdio(tmp_path / "stderr", "--sandbox") as server:
        await server.send({"id": 0, "method": "initialize", "params": {**HELLO, "capabilities": {"elicitation": True}}})
        said = "initialize cannot be read: params.capabilities.elicitation: "
        assert (await server.message())["error"]["message"].startswith(said)
        await server.send({"method": "notifications/initialized"})
        for method, params, said in ODD_PARAMETERS:
            await server.send({"id": 5, "method": method, "params": params})
            assert said in json.dumps(await server.message())
        refusal = (await first_answer_to_deletion(server))["result"]["content"][0]["text"]
        assert refusal.endswith("It can be deleted on the Neptun website, or from a host that asks.")


# The end of stdin


async def test_calls_in_flight_and_questions_that_nobody_can_answer_any_more_end_with_stdin(
    site: Site, tmp_path: Path
) -> None:
    hung_up, sandbox = Event(), site.app

    async def answer_after_the_end_of_stdin(scope: Scope, receive: Receive, send: Send) -> None:
        await anyio.to_thread.run_sync(hung_up.wait)
        await sandbox(scope, receive, send)

    async with start_stdio(tmp_path / "stderr", base_url=site.url, session_cookie=COOKIE) as server:
        await server.initialize({"elicitation": {}})
        deletion = await server.call("delete_import", project_id=1, import_id=104)
        assert (await server.message())["method"] == "elicitation/create"
        asked = len(site.requests)
        site.app = answer_after_the_end_of_stdin
        calls = [await server.call("list_imports", project_id=1) for _ in range(5)]
        await until(lambda: len(site.requests) > asked)
        await server.hang_up()
        hung_up.set()
        results = {message["id"]: message["result"] for message in [await server.message() for _ in range(6)]}
        assert "Nothing was deleted" in results.pop(deletion)["content"][0]["text"]
        assert sorted(results) == calls
        assert {result["structuredContent"]["total"] for result in results.values()} == {7}
        assert await server.exit_code() == 0
    assert server.stderr() == ""
    assert site.deletions() == []


def test_stdin_and_stdout_may_be_files_and_the_last_line_may_lack_its_end(tmp_path: Path) -> None:
    messages, answers = tmp_path / "messages", tmp_path / "answers"
    messages.write_text(f'{GREETING}\n{{"jsonrpc": "2.0", "id": 2, "method": "tools/list"}}\nnonsense')
    with messages.open() as stdin, answers.open("wb") as stdout:
        command = [*COMMAND, "serve", "--sandbox"]
        ran = subprocess.run(command, stdin=stdin, stdout=stdout, stderr=PIPE, timeout=60, check=False)
    assert (ran.returncode, ran.stderr.count(b"\n")) == (0, 1)
    assert {json.loads(line)["id"] for line in answers.read_bytes().splitlines()} == {1, 2, None}


def test_started_in_a_terminal_it_says_what_it_is() -> None:
    pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
    keyboard, terminal = pty.openpty()
    os.write(keyboard, b"\x04")  # Ctrl-D
    ran = run("--sandbox", stdin=terminal)
    os.close(terminal)
    os.close(keyboard)
    assert (ran.code, ran.stdout) == (0, "")
    assert "it waits for an assistant's host on stdin" in ran.stderr
    assert "demo" in ran.stderr


@pytest.mark.slow  # all that is imported is compiled anew
async def test_nothing_that_a_host_is_told_depends_on_docstrings(tmp_path: Path) -> None:
    program = (sys.executable, "-OO", *COMMAND[1:])
    async with start_stdio(tmp_path / "stderr", "--sandbox", program=program) as server:
        await server.initialize()
        await server.request("tools/list", {})
        listed = {tool["name"]: tool for tool in (await server.message())["result"]["tools"]}
    for tool in create_tools():
        assert listed[tool.name]["description"] == tool.description
        assert listed[tool.name]["inputSchema"] == tool.parameters
        assert listed[tool.name]["outputSchema"] == tool.output_schema


PRINTING = """
import sys
from neptun_mcp.cli import main

def print_when_the_cookie_is_read(event, arguments):
    if event == "open" and str(arguments[0]).endswith("no-such-cookie"):
        print("stray", repr(sys.stdin.readline()), flush=True)

sys.addaudithook(print_when_the_cookie_is_read)
main([])
"""


async def test_stray_output_goes_to_the_log_and_stray_input_is_none(tmp_path: Path) -> None:
    program, cookie_file = (sys.executable, "-c", PRINTING), str(tmp_path / "no-such-cookie")
    async with start_stdio(tmp_path / "stderr", program=program, session_cookie_file=cookie_file) as server:
        await server.initialize()
        assert (await first_answer_to_deletion(server))["result"]["isError"] is True
        await server.hang_up()
        assert await server.exit_code() == 0
        assert await server.rest() == b""
    assert "stray ''\n" in server.stderr()
