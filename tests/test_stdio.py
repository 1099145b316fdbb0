"""A real conversation over stdio, and nothing on stdout but the protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from neptun_mcp.sandbox import COOKIE
from tests.processes import COMMAND, run
from tests.support import ERAS, HELLO, YES, Json, Person, content_of, error_of

SERVER = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "--sandbox"], env=dict(os.environ))


@pytest.mark.anyio
async def test_a_client_uses_the_tools_over_stdio(era: str) -> None:
    person = Person(YES)
    async with Client(stdio_client(SERVER), mode=ERAS[era], elicitation_callback=person) as client:
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


class Wire:
    """The lines that the server on the embedded sandbox reads and writes."""

    def __init__(self, process: subprocess.Popen[str], capabilities: Json) -> None:
        assert process.stdin
        assert process.stdout
        self._stdin, self.messages = process.stdin, map(json.loads, process.stdout)
        self.ask(0, "initialize", **{**HELLO, "capabilities": capabilities})
        self.send(method="notifications/initialized")

    def send(self, **message: Any) -> None:
        self._stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._stdin.flush()

    def ask(self, id: int, method: str, **params: Any) -> Json:
        """What the server sends next, once it was asked."""
        self.send(id=id, method=method, params=params)
        return next(self.messages)

    def delete(self, id: int, import_id: int) -> Json:
        return self.ask(id, "tools/call", name="delete_import", arguments={"project_id": 1, "import_id": import_id})


@contextmanager
def wired(
    capabilities: Json, program: Sequence[str] = (*COMMAND, "--sandbox"), environment: Mapping[str, str] | None = None
) -> Generator[tuple[Wire, subprocess.Popen[str]]]:
    environment = {**os.environ, "NEPTUN_LOG_LEVEL": "debug", **(environment or {})}
    pipes: Json = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(program, text=True, env=environment, **pipes) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            yield Wire(process, capabilities), process
        finally:
            watchdog.cancel()
            process.kill()


def test_stdout_carries_nothing_but_answers_and_the_end_of_stdin_ends_the_server() -> None:
    """A host that can only open pages for the person is not asked to show a form."""
    with wired({"elicitation": {"url": {}}}) as (wire, process):
        assert wire.ask(1, "ping") == {"jsonrpc": "2.0", "id": 1, "result": {}}
        assert wire.ask(2, "no/such/method")["error"]["code"] == -32601
        assert wire.delete(3, 104)["result"]["structuredContent"]["deleted"] is True
        assert wire.delete(4, 104)["result"]["isError"] is True
        rest, log = process.communicate()
        assert (process.returncode, rest) == (0, "")
    assert COOKIE not in log


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


def test_what_is_printed_by_mistake_goes_to_the_log(tmp_path: Path) -> None:
    cookie_file = {"NEPTUN_SESSION_COOKIE_FILE": str(tmp_path / "no-such-cookie")}
    with wired({}, (sys.executable, "-c", PRINTING), cookie_file) as (wire, process):
        assert wire.delete(1, 104)["result"]["isError"] is True
        rest, log = process.communicate()
    assert rest == ""
    assert "stray\n" in log


def test_a_host_of_the_older_style_can_be_asked() -> None:
    """An empty capability, from before there were several ways to ask."""
    with wired({"elicitation": {}}) as (wire, _):
        question = wire.delete(1, 104)
        assert question["method"] == "elicitation/create"
        assert question["params"]["message"].startswith("Delete import 104 of project 1 from Neptun?")
        wire.send(id=question["id"], result={"action": "decline"})
        assert next(wire.messages)["result"]["structuredContent"]["deleted"] is False
