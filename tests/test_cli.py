"""The command line: output, exit codes, standard streams."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from neptun_mcp.cli import main
from neptun_mcp.sandbox import COOKIE
from tests.processes import COMMAND, Command, Completed, environment, run, start
from tests.support import Site, http_client

SECRET = "hunter2-planted"

# Help


def test_the_version_is_that_of_the_package() -> None:
    assert run("--version") == Completed(0, f"neptun-mcp {version('neptun-mcp')}\n", "")


def test_the_installed_command_is_the_module() -> None:
    (script,) = entry_points(group="console_scripts", name="neptun-mcp")
    assert script.load() is main


def test_help_names_every_command_and_where_to_start(command: Command) -> None:
    ran = command("--help")
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith("usage: neptun-mcp [COMMAND]")
    assert all(f"\n  {name} " in ran.stdout for name in ("demo", "call", "sandbox"))
    assert "`neptun-mcp demo` shows what it does" in " ".join(ran.stdout.split())


@pytest.mark.parametrize("width", [60, 80, 120])
def test_help_has_a_line_for_each_command_at_every_width(
    command: Command, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = command("--help").stdout.splitlines()
    assert max(map(len, lines)) <= width
    about = lines[lines.index("commands:") + 3 : -3]
    column = about[0].index("serve on")
    assert [line for line in about if not line[column - 1 :].startswith(" ") or line[column:].startswith(" ")] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("logn", 'There is no command "logn". Did you mean login? `neptun-mcp --help` shows what there is.'),
        ("instal demo", 'There is no command "instal". Did you mean install? `neptun-mcp --help` shows what there is.'),
        (
            "list_imports project=x",
            'There is no command "list_imports". Did you mean call list_imports? `neptun-mcp --h',
        ),
        ("-- --sandbox", "neptun-mcp has no option --. `neptun-mcp --help` shows what there is."),
        ("-", "neptun-mcp has no option -. `neptun-mcp --help` shows what there is."),
        ("xyz", 'There is no command "xyz". `neptun-mcp --help` shows what there is.'),
        ("--snadbox", "neptun-mcp has no option --snadbox. Did you mean --sandbox? `neptun-mcp --help`"),
        ("doctor --jsn", "neptun-mcp doctor has no option --jsn. Did you mean --json? `neptun-mcp doctor --help`"),
        (
            "call --project=x",
            "neptun-mcp call has no option --project. An argument of a tool has the form name=value. `",
        ),
        ("demo --nonsense", "neptun-mcp demo has no option --nonsense. `neptun-mcp demo --help` shows what there is."),
        ("whoami --base-ulr=https://example.com", "neptun-mcp whoami has no option --base-ulr. Did you mean --base-u"),
        ("whoami me", 'neptun-mcp whoami takes no argument "me". `neptun-mcp whoami --help` shows what there is.'),
        ("whoami --base-url", "--base-url: expected one argument. `neptun-mcp whoami --help` shows what there is."),
        ("sandbox --port http", "--port: a port is a number from 0 to 65535. `neptun-mcp sandbox --help` shows"),
        (
            "serve --http --host 127.0.0.1:80",
            "--host: a host is a name or an address, without http:// and without a po",
        ),
        (
            "serve --http --host http://[::1]",
            "--host: a host is a name or an address, without http:// and without a po",
        ),
        ("serve --http --host ::g", "--host: a host is a name or an address, without http:// and without a po"),
        ("serve --http --port 65536", "--port: a port is a number from 0 to 65535. `neptun-mcp serve --help` shows"),
        ("help", 'There is no command "help". Did you mean --help? `neptun-mcp --help` shows what there is.'),
        ("list-imports", 'There is no command "list-imports". Did you mean call list_imports? `neptun-mcp --h'),
        ("log-in", 'There is no command "log-in". Did you mean login? `neptun-mcp --help` shows what there is.'),
        (
            "--http",
            "neptun-mcp has no option --http. neptun-mcp serve has it. `neptun-mcp --help` shows what there is.",
        ),
        ("serve http", 'neptun-mcp serve takes no argument "http". Did you mean --http? `neptun-mcp serve --help`'),
        (
            "install --all",
            "neptun-mcp install has no option --all. neptun-mcp uninstall has it. `neptun-mcp install --",
        ),
        ("login --cookie Fe26.2", "neptun-mcp login takes no argument. `neptun-mcp login --help` shows what there is."),
        ("login --cookie=abc", "--cookie: it takes no value. `neptun-mcp login --help` shows what there is."),
        ("sandbox --contract x", "--contract: invalid choice: 'x' (choose from"),
    ],
)
def test_a_wrong_command_line_is_a_misuse(command: Command, words: str, said: str) -> None:
    ran = command(*words.split())
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith(said)
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        "--sandbox call list_imports limit=1 project_id=1 --json",
        "call --json list_imports --sandbox limit=1 project_id=1",
        "call list_imports --json limit=1 --sandbox project_id=1",
    ],
)
def test_options_may_stand_anywhere(command: Command, words: str) -> None:
    ran = command(*words.split())
    assert (ran.code, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["total"] == 7


def test_an_address_of_ipv6_may_have_the_brackets_of_a_url(command: Command) -> None:
    assert "it listens on ::2, so it needs" in command("serve", "--http", "--host", "[::2]").stderr


def test_the_value_of_an_option_before_the_command_is_not_the_command(command: Command, site: Site) -> None:
    ran = command("--base-url", site.url, "logout")
    assert ran == Completed(0, f"No session was kept for {site.url}.\n", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize(
    "words",
    [
        "--help",
        *(pytest.param(words, marks=pytest.mark.slow) for words in ("--version", "install --help", "call --help")),
    ],
)
def test_help_that_cannot_be_written_is_a_failure(words: str) -> None:
    ran = run("-c", f"{shlex.join(COMMAND)} {words} >/dev/full", program=["sh"])
    assert ran == Completed(1, "", "The output cannot be written: No space left on device.\n")


# sandbox


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("contract", "key"), [pytest.param("observed", None, marks=pytest.mark.slow), ("documented", "projects")]
)
async def test_sandbox_serves_a_neptun_on_a_port(tmp_path: Path, contract: str, key: str | None) -> None:
    command = (*COMMAND, "sandbox", "--port", "0", "--contract", contract)
    http = http_client(headers={"Cookie": f"neptun-session={COOKIE}", "Accept": "application/json"})
    async with start(tmp_path / "stderr", *command, env=environment(), stdout=PIPE) as sandbox, http:
        url = (await sandbox.first_line()).split(" is at ")[1].split(" ")[0]
        body: Any = (await http.get(f"{url}/api/users/1/projects")).json()
    assert {project["name"] for project in (body[key] if key else body)} == {"webshop", "scratch", "orders-api"}


in_the_words_of_posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows calls the failure something else")


@in_the_words_of_posix
def test_a_port_that_is_taken_is_a_failure(command: Command, site: Site) -> None:
    port = site.url.rpartition(":")[2]
    assert command("sandbox", "--port", port) == Completed(
        1,
        "",
        f"Cannot listen on port {port}: Address already in use. Choose another address with --port.\n",
    )


@in_the_words_of_posix
def test_a_port_that_is_taken_ends_serve_before_it_starts(command: Command, site: Site) -> None:
    port = site.url.rpartition(":")[2]
    ran = command("serve", "--http", "--port", port, "--sandbox")
    said = f"Cannot listen on port {port}: Address already in use. Choose another address with --host and --port.\n"
    assert ran == Completed(1, "", said)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".example", "256.1.1.1"])
def test_a_host_that_cannot_be_listened_on_ends_serve(host: str, command: Command, monkeypatch: Any) -> None:
    monkeypatch.setenv("NEPTUN_MCP_TOKEN", "bearer-token-" * 3)
    monkeypatch.setenv("NEPTUN_MCP_ALLOWED_HOSTS", "mcp.example.com")
    ran = command("serve", "--http", "--host", host, "--sandbox")
    assert (ran.code, ran.stdout) == (1, "")
    assert re.fullmatch(
        r"Cannot listen on port 8000: [^\n]+\. Choose another address with --host and --port\.\n", ran.stderr
    )


@pytest.mark.parametrize("arguments", [["--port", "8000"], ["--host", "127.0.0.1"]])
def test_where_to_listen_goes_with_http(command: Command, arguments: list[str]) -> None:
    assert command("serve", *arguments) == Completed(
        2, "", "--host and --port go with --http. Add it, or leave them out.\n"
    )


# The standard streams


in_a_shell = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        (["stdout"], "but stdout is closed. Start it with both open"),
        (["stdin", "stdout"], "but stdin and stdout are closed. Start it with both open"),
    ],
)
def test_the_server_needs_stdin_and_stdout(
    command: Command, monkeypatch: pytest.MonkeyPatch, closed: list[str], said: str
) -> None:
    for name in closed:
        monkeypatch.setattr(sys, name, None)
    ran = command("--sandbox")
    for name in closed:
        getattr(sys, name).close()  # the null device in its place
    assert ran.code == 2
    assert said in ran.stderr
    assert ran.stderr.count("\n") == 1


@in_a_shell
def test_the_server_needs_no_stderr() -> None:
    assert in_shell("</dev/null 2>&-") == Completed(0, "", "")


@in_a_shell
@pytest.mark.parametrize(
    ("redirections", "code", "said"),
    [
        ("<&- 2>&-", 0, ""),
        # Each is another process, and one more stream. `test_call` has a full one.
        pytest.param(
            ">/dev/full", 1, "The output cannot be written: No space left on device.\n", marks=pytest.mark.slow
        ),
        pytest.param("<&- >&- 2>&-", 0, "", marks=pytest.mark.slow),
        pytest.param(">/dev/full 2>/dev/full", 1, "", marks=pytest.mark.slow),
    ],
)
def test_other_commands_do_without_a_stream(redirections: str, code: int, said: str) -> None:
    if "/dev/full" in redirections and not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    ran = in_shell("call list_imports project_id=1 " + redirections)
    assert (ran.code, ran.stderr) == (code, said)
    assert ran.stdout.startswith("id   kind ") is (redirections == "<&- 2>&-")


def in_shell(words: str) -> Completed:
    return run("-c", f"{shlex.join(COMMAND)} --sandbox {words}", program=["sh"])


# Settings


MALFORMED: dict[str, Any] = {
    "base_url": f"http://{SECRET}.example.com",
    "session_cookie": f"{SECRET} with blanks",
    "project_id": SECRET,
    "read_only": SECRET,
}


@pytest.mark.parametrize("words", ["", "call list_imports"])
def test_malformed_settings_end_the_program_with_one_line_each(
    command: Command, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    for name, value in MALFORMED.items():
        monkeypatch.setenv(f"NEPTUN_{name.upper()}", value)
    ran = command(*words.split())
    assert (ran.code, ran.stdout) == (2, "")
    assert sorted(line.partition(":")[0] for line in ran.stderr.splitlines()) == sorted(
        f"NEPTUN_{name.upper()}" for name in MALFORMED
    )
    assert SECRET not in ran.stderr
