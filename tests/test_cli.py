"""The command: what it prints where, with which exit code, and a real conversation over stdio."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any, TypeAlias

import httpx2 as httpx
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from neptun_mcp.cli import main
from neptun_mcp.commands.call import call, readable
from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from tests.support import ERAS, HELLO, YES, Json, Person, Site, content_of, error_of, ids, resources, settings_of

COMMAND = [sys.executable, "-m", "neptun_mcp"]
SECRET = "hunter2-planted"


@dataclass(frozen=True)
class Ran:
    """What a run of the command left behind."""

    code: int | str | None
    stdout: str
    stderr: str


def run(*arguments: str, stdin: int = subprocess.DEVNULL, environment: Mapping[str, str] | None = None) -> Ran:
    """The command in a process of its own."""
    process = subprocess.run(
        [*COMMAND, *arguments],
        stdin=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    return Ran(process.returncode, process.stdout, process.stderr)


Command: TypeAlias = Callable[..., Ran]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Generator[Command]:
    """The command in this process, which is faster, without what it changes for the whole process."""
    monkeypatch.delattr(signal, "SIGPIPE", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    loggers = [logging.getLogger(name) for name in (None, "neptun_mcp", "mcp")]
    before = [(logger.level, logger.handlers[:]) for logger in loggers]

    def run(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        shown = capsys.readouterr()
        return Ran(caught.value.code, shown.out, shown.err)

    yield run
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers


# Help


def test_the_version_is_that_of_the_package() -> None:
    assert run("--version") == Ran(0, f"neptun-mcp {version('neptun-mcp')}\n", "")


def test_the_installed_command_is_the_module() -> None:
    (script,) = entry_points(group="console_scripts", name="neptun-mcp")
    assert script.load() is main


def test_help_names_every_command_and_the_way_in(command: Command) -> None:
    ran = command("--help")
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith("usage: neptun-mcp ")
    assert all(f"\n    {name} " in ran.stdout for name in ("demo", "call", "sandbox"))
    assert "`neptun-mcp demo` shows what it does" in " ".join(ran.stdout.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["call"],
        ["sandbox", "--port", "http"],
        ["sandbox", "--contract", "x"],
        ["serve", "--http", "--port", "65536"],
    ],
)
def test_a_wrong_command_is_a_misuse(command: Command, arguments: list[str]) -> None:
    ran = command(*arguments)
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("usage: neptun-mcp ")


# call


def test_call_shows_a_result_to_a_person(command: Command) -> None:
    assert command("call", "list_imports", "project_id=1", "limit=1", "--sandbox") == Ran(
        0,
        "project_id: 1   total: 7   next_offset: 1\n"
        "- id: 107   created_at: 2026-10-11T14:02:58.000Z   updated_at: 2026-10-11T14:02:58.000Z   neptun_user_id: 1\n"
        "    source_type: public_github_repository_url   source_path: https://github.com/example/tea-icons\n"
        "    source_ref: v3   import_status: pending   project_id: 1\n",
        "",
    )


def test_call_shows_a_result_to_a_program(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPTUN_SANDBOX", "documented")
    ran = command("call", "list_resources", "project_id=1", "resource_type=user-files", "--json")
    assert (ran.code, ran.stderr) == (0, "")
    assert ids(json.loads(ran.stdout)["resources"]) == [6, 4, 3, 2, 1, 7, 5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list_imports", "limit=many"], "limit must be a whole number from 1 to 100."),
        (["list_everything"], "Unknown tool: list_everything"),
        (
            ["list_imports", "project_id=99"],
            'There is no project 99, or it is not yours. Your projects are: 3 "orders-api", 2 "scratch", 1 "webshop".',
        ),
    ],
)
def test_a_call_that_fails_says_why_on_stderr(command: Command, arguments: list[str], message: str) -> None:
    assert command("--sandbox", "call", *arguments) == Ran(1, "", f"{message}\n")


def test_an_argument_without_a_value_is_a_misuse(command: Command) -> None:
    assert command("call", "list_imports", "project_id") == Ran(2, "", "'project_id' is not of the form name=value\n")


def test_where_nobody_can_be_asked_and_somebody_must_be_nothing_is_deleted(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEPTUN_CONFIRM_DELETE", "require")
    ran = command("--sandbox", "call", "delete_import", "project_id=1", "import_id=104")
    assert ran.code == 1
    assert ran.stderr.startswith("Import 104 was not deleted: the person has to agree")


def test_call_reaches_the_configured_neptun(site: Site) -> None:
    environment = {"NEPTUN_BASE_URL": site.url, "NEPTUN_EMAIL": EMAIL, "NEPTUN_PASSWORD": PASSWORD}
    ran = run("call", "delete_import", "project_id=1", "import_id=104", "--json", environment=environment)
    assert (ran.code, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["deleted"] is True
    assert site.deletions() == [f"DELETE {resources(1, 'imports/104')}"]


@pytest.mark.parametrize(
    ("typed", "code", "deletions", "asked"),
    [
        ("3\ny\n", 0, [f"DELETE {resources(1, 'imports/104')}"], True),
        ("webshop\n", 1, [], False),
    ],
    ids=["agrees", "chooses nothing"],
)
def test_at_a_terminal_the_person_is_asked(
    site: Site, typed: str, code: int, deletions: list[str], asked: bool
) -> None:
    pty = pytest.importorskip("pty")
    keyboard, terminal = pty.openpty()
    os.write(keyboard, typed.encode())
    environment = {"NEPTUN_BASE_URL": site.url, "NEPTUN_SESSION_COOKIE": COOKIE}
    ran = run("call", "delete_import", "import_id=104", stdin=terminal, environment=environment)
    os.close(terminal)
    os.close(keyboard)
    assert ran.code == code, ran.stderr
    assert ran.stderr.startswith(
        "Which of your Neptun projects is meant?\n"
        "  1  orders-api (3)\n  2  scratch (2)\n  3  webshop (1)\nProject (number): "
    )
    assert ("Delete import 104 of project 1 from Neptun?" in ran.stderr) is asked
    assert site.deletions() == deletions


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("typed", "delete"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False), ("sure\n", False)]
)
async def test_only_yes_is_yes(site: Site, monkeypatch: pytest.MonkeyPatch, typed: str, delete: bool) -> None:
    monkeypatch.setattr(sys, "stdin", Keyboard(typed))
    result = content_of(await call(settings_of(site), "delete_import", {"project_id": 1, "import_id": 104}))
    assert result["deleted"] is delete
    assert len(site.deletions()) == delete


class Keyboard(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("result", "lines"),
    [
        ({"a": 1, "b": "x"}, ["a: 1   b: x"]),
        ({"a": "x\ny"}, ["a:", "  | x", "  | y"]),
        ({"total": 1, "items": [{"id": 1, "text": "x\n"}]}, ["total: 1", "- id: 1", "  text:", "    | x", "    | "]),
        ({"deleted": True, "import": {"id": 1}}, ["deleted: True", "import:", "  id: 1"]),
        ({"a": "\x1b[2J\u202e\r"}, ["a: \\x1b[2J\\u202e\\r"]),
        ({"a": "\x1b]0;title\x07\n"}, ["a:", "  | \\x1b]0;title\\x07", "  | "]),
    ],
)
def test_a_result_is_readable_and_cannot_steer_the_terminal(result: Json, lines: list[str]) -> None:
    assert readable(result).split("\n") == lines


# demo


def test_demo_shows_a_whole_conversation() -> None:
    ran = run("demo")
    assert (ran.code, ran.stderr) == (0, "")
    before, _, after = ran.stdout.partition("\n>>> delete_import(project_id=1, import_id=105)\n")
    assert before.startswith("connected to neptun-mcp, MCP 2026-07-28; its tools:\n")
    for tool in ("list_imports", "list_resources", "delete_import"):
        assert f"\n  {tool}: " in before
    assert "checkout-forms" in before
    for resource_type in ("user-files", "template-collections", "github-installations", "chat-conversations"):
        assert f"\n>>> list_resources(project_id=1, resource_type='{resource_type}', limit=2)\n" in before
    assert "\nthe person is asked: Delete import 105 of project 1 from Neptun?" in after
    assert "\nthe person answers:  yes\ndeleted: True" in after
    assert "\n>>> list_imports(project_id=1)\nproject_id: 1   total: 6\n" in after
    assert "checkout-forms" not in after.partition(">>> list_imports")[2]


# sandbox


@contextmanager
def served(*arguments: str) -> Generator[str]:
    """The address of a sandbox that was started with these arguments."""
    with subprocess.Popen([*COMMAND, "sandbox", *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().split(" is at ")[1].split(" ")[0]
        finally:
            process.terminate()


@pytest.mark.parametrize(("contract", "key"), [("observed", None), ("documented", "projects")])
def test_sandbox_serves_a_neptun_on_a_port(contract: str, key: str | None) -> None:
    with served("--port", "0", "--contract", contract) as url:
        headers = {"Cookie": f"neptun-session={COOKIE}", "Accept": "application/json"}
        body: Any = httpx.get(f"{url}/api/users/1/projects", headers=headers, trust_env=False).json()
    assert {project["name"] for project in (body[key] if key else body)} == {"webshop", "scratch", "orders-api"}


def test_a_port_that_is_taken_is_a_failure(command: Command, site: Site) -> None:
    port = site.url.rpartition(":")[2]
    assert command("sandbox", "--port", port) == Ran(
        1,
        "",
        f"Port {port} cannot be used: Address already in use. Choose another with --port.\n",
    )


# Settings


MALFORMED = {
    "NEPTUN_BASE_URL": f"http://{SECRET}.example.com",
    "NEPTUN_SESSION_COOKIE": f"{SECRET} with blanks",
    "NEPTUN_PROJECT_ID": SECRET,
    "NEPTUN_READ_ONLY": SECRET,
}


def test_malformed_settings_end_the_server_with_a_line_each() -> None:
    assert_misuse(run(environment=MALFORMED))


def test_malformed_settings_end_a_call_with_a_line_each(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in MALFORMED.items():
        monkeypatch.setenv(name, value)
    assert_misuse(command("call", "list_imports"))


def assert_misuse(ran: Ran) -> None:
    assert (ran.code, ran.stdout) == (2, "")
    assert sorted(line.partition(":")[0] for line in ran.stderr.splitlines()) == sorted(MALFORMED)
    assert SECRET not in ran.stderr


# stdio


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
