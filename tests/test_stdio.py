"""Conversations over stdio, in which stdout carries nothing but the protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from neptun_mcp.sandbox import COOKIE
from tests.processes import COMMAND, StdioServer, environment, run, start_stdio
from tests.support import ERAS, HELLO, YES, Json, Person, content_of, error_of

pytestmark = pytest.mark.anyio

PARAMETERS = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "--sandbox"], env=environment())


async def test_a_client_uses_the_tools_over_stdio(era: str) -> None:
    person = Person(YES)
    async with Client(stdio_client(PARAMETERS), mode=ERAS[era], elicitation_callback=person) as client:
        assert client.protocol_version == era
        assert [tool.name for tool in (await client.list_tools()).tools] == [
            "list_imports",
            "list_resources",
            "delete_import",
        ]
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


GREETING = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO})


def test_the_end_of_stdin_ends_a_line_too() -> None:
    ran = subprocess.run(
        [*COMMAND, "--sandbox"], input=GREETING, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(ran.stdout)["id"] == 1


@pytest.mark.parametrize("arguments", [["--sandbox"], ["serve", "--sandbox"]])
def test_stdin_may_be_a_file(arguments: list[str], tmp_path: Path) -> None:
    file = tmp_path / "messages"
    file.write_text(f"{GREETING}\n")
    with file.open() as stdin:
        ran = run(*arguments, stdin=stdin.fileno())
    assert (ran.code, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["id"] == 1


def test_run_by_hand_in_a_terminal_it_says_what_it_is() -> None:
    pty = pytest.importorskip("pty")
    keyboard, terminal = pty.openpty()
    os.write(keyboard, b"\x04")  # Ctrl-D
    ran = run("--sandbox", stdin=terminal)
    os.close(terminal)
    os.close(keyboard)
    assert (ran.code, ran.stdout) == (0, "")
    assert "it waits for an assistant's host on stdin" in ran.stderr
    assert "neptun-mcp demo" in ran.stderr


PRINTING = """
import sys
from neptun_mcp.cli import main

def print_when_the_cookie_is_read(event, arguments):
    if event == "open" and str(arguments[0]).endswith("no-such-cookie"):
        print("stray", flush=True)

sys.addaudithook(print_when_the_cookie_is_read)
main([])
"""


async def test_what_is_printed_by_mistake_goes_to_the_log(tmp_path: Path) -> None:
    program, cookie_file = (sys.executable, "-c", PRINTING), str(tmp_path / "no-such-cookie")
    async with start_stdio(tmp_path / "stderr", program=program, session_cookie_file=cookie_file) as server:
        await server.initialize()
        assert (await first_answer_to_deletion(server))["result"]["isError"] is True
        await server.hang_up()
        assert await server.exit_code() == 0
        assert await server.rest() == b""
    assert "stray\n" in server.stderr()


async def test_a_host_of_the_older_style_can_be_asked(tmp_path: Path) -> None:
    """An empty capability, from before there were several ways to ask."""
    async with start_stdio(tmp_path / "stderr", "--sandbox") as server:
        await server.initialize({"elicitation": {}})
        question = await first_answer_to_deletion(server)
        assert question["method"] == "elicitation/create"
        assert question["params"]["message"].startswith("Delete import 104 of project 1 from Neptun?")
        await server.send({"id": question["id"], "result": {"action": "decline"}})
        assert (await server.message())["result"]["structuredContent"]["deleted"] is False
