"""`neptun-mcp call`: its output, and its questions to the person at the terminal."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.responses import JSONResponse

from neptun_mcp.commands.call import call
from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from neptun_mcp.tools import create_tools
from tests.processes import COMMAND, Command, Completed, environment, start
from tests.support import USER, Site, content_of, ids, resources, settings_for, until


def test_call_shows_a_result_to_a_person(command: Command) -> None:
    assert command("call", "list_imports", "project_id=1", "limit=1", "--sandbox") == Completed(
        0,
        "id   kind               path                                      status   imported\n"
        "107  public repository  https://github.com/example/tea-icons @v3  pending  2026-10-11\n"
        "1 of 7 imports in project 1; offset=1 shows more\n",
        "",
    )


def test_at_a_terminal_it_shows_that_it_waits_and_for_what(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    assert command("call", "list_imports", "project_id=1", "--sandbox").stdout.startswith("id ")
    assert "Waiting for Neptun" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2K")  # and is gone when it is over


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_call_shows_a_result_to_a_program(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPTUN_SANDBOX", "documented")
    ran = command("call", "list_resources", "project_id=1", "resource_type=user-files", "--json")
    assert (ran.code, ran.stderr) == (0, "")
    assert ids(json.loads(ran.stdout)["resources"]) == [6, 4, 3, 2, 1, 7, 5]


def test_a_call_that_fails_says_why_on_stderr(command: Command) -> None:
    said = 'There is no project 99, or it is not yours. Your projects are: 3 "orders-api", 2 "scratch", 1 "webshop".\n'
    assert command("--sandbox", "call", "list_imports", "project_id=99") == Completed(1, "", said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("list_imports limit=abc", "limit must be a whole number from 1 to 100."),
        ("list_imports limit=0 offset=x", "offset must be a whole number from -"),
        (
            "list_imports projct_id=1",
            'list_imports has no argument "projct_id". Its arguments are: project, project_id,',
        ),
        ("list_imports x=1", 'list_imports has no argument "x". Its arguments are: project, project_id,'),
        ("list_imports project_id", '"project_id" has no value. An argument of a tool has the form name=value.'),
        ("list_imports project_id=1 project_id=2", "project_id is given twice. Give it once."),
        ("list_resources resource_type=files", "resource_type must be one of user-files, "),
        ("delete_import project_id=1", "import_id must be "),
        ("delete_import project=* import_id=1", "An import is deleted from one project, never from all."),
        ("list_imports query=after:yesterday", "after: takes a day in the form YYYY-MM-DD"),
        ("list_resources resource_type=user-files text_offset=5", "text_offset goes with resource_id"),
    ],
)
def test_a_wrong_argument_is_a_misuse(command: Command, arguments: str, said: str) -> None:
    ran = command("call", *arguments.split())
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith(said)


@pytest.mark.parametrize(
    ("tool", "hint"),
    [
        ("list_import", "Did you mean list_imports?"),
        ("delete", "Did you mean delete_import?"),
        ("LIST_IMPORTS", "Did you mean list_imports?"),
        ("everything", f"The tools are: {', '.join(tool.name for tool in create_tools())}."),
    ],
)
def test_a_mistyped_tool_is_answered_with_a_suggestion(command: Command, tool: str, hint: str) -> None:
    assert command("--sandbox", "call", tool) == Completed(2, "", f'There is no tool "{tool}". {hint}\n')


def test_without_a_tool_all_are_listed_with_their_arguments(command: Command) -> None:
    ran = command("call")
    assert (ran.code, ran.stderr) == (0, "")
    for tool in create_tools():
        assert f"{tool.name}\n  " in ran.stdout
        assert all(f"    {name}= " in ran.stdout for name in tool.parameters["properties"])
    assert "\n\ndelete_import\n" in ran.stdout


def test_a_tool_and_help_list_its_arguments(command: Command) -> None:
    ran = command("call", "list_imports", "--help")
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.startswith("list_imports\n  List the imports of a Neptun project")
    assert "    limit=        1 to 100; default 50\n" in ran.stdout
    assert "resource_type" not in ran.stdout
    assert command("call", "--help").stdout.startswith("usage: neptun-mcp call ")


def test_nothing_is_deleted_if_somebody_must_be_asked_and_nobody_can_be(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEPTUN_CONFIRM_DELETE", "require")
    ran = command("--sandbox", "call", "delete_import", "project_id=1", "import_id=104")
    assert ran.code == 1
    assert ran.stderr.startswith("Import 104 was not deleted: the person has to agree")


@pytest.fixture
def known(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site, in the settings of the command."""
    monkeypatch.setenv("NEPTUN_BASE_URL", site.url)
    monkeypatch.setenv("NEPTUN_EMAIL", EMAIL)
    monkeypatch.setenv("NEPTUN_PASSWORD", PASSWORD)
    return site


def test_call_reaches_the_configured_neptun(command: Command, known: Site) -> None:
    ran = command("call", "delete_import", "project_id=1", "import_id=104", "--json")
    assert (ran.code, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["deleted"] is True
    assert known.deletions() == [f"DELETE {resources(1, 'imports/104')}"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_deletion_is_told_although_the_output_cannot_be_written() -> None:
    words = [*COMMAND, "--sandbox", "call", "delete_import", "project_id=1", "import_id=104"]
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            words,
            stdout=full,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=environment(),
            check=False,
        )
    assert ran.returncode == 0
    assert "Import 104 was deleted." in ran.stderr


@pytest.mark.parametrize(
    ("typed", "code", "deletions", "asked"),
    [
        ("3\ny\n", 0, [f"DELETE {resources(1, 'imports/104')}"], True),
        ("webshop\n", 1, [], False),
    ],
    ids=["agrees", "chooses nothing"],
)
def test_at_a_terminal_the_person_is_asked(
    command: Command,
    known: Site,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    code: int,
    deletions: list[str],
    asked: bool,
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    ran = command("call", "delete_import", "import_id=104")
    assert ran.code == code, ran.stderr
    assert ran.stderr.startswith(
        "Which Neptun project do you mean?\n  1  orders-api (3)\n  2  scratch (2)\n  3  webshop (1)\nProject (number): "
    )
    assert ('Delete the folder "/home/alice/webshop" from the project "webshop"?' in ran.stderr) is asked
    assert known.deletions() == deletions


@pytest.mark.anyio
async def test_an_interrupt_at_the_question_ends_the_command_at_once(site: Site, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
    keyboard, terminal = pty.openpty()
    env = environment(base_url=site.url, session_cookie=COOKIE)
    command = (*COMMAND, "call", "delete_import", "project_id=1", "import_id=104")
    async with start(tmp_path / "stderr", *command, env=env, stdin=terminal) as child:
        await until(lambda: child.stderr().endswith("(y/N): "))
        child.process.send_signal(signal.SIGINT)
        assert await child.exit_code() == 130
    os.close(terminal)
    os.close(keyboard)
    assert child.stderr().count("\n") == 1
    assert site.deletions() == []


def test_characters_outside_the_output_encoding_are_escaped(
    command: Command, known: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    known.answers[f"GET {USER}/projects/1/resources/user-files"] = JSONResponse(
        [{"id": 1, "title": "\u2713 \u00e9", "content": "\u2713", "project_id": 1, "neptun_user_id": 1}]
    )
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stdout)
    ran = command("call", "list_resources", "project_id=1", "resource_type=user-files", "query=\u2713")
    assert (ran.code, ran.stderr) == (0, "")
    stdout.flush()
    assert b"\\u2713 \xe9" in stdout.buffer.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("typed", "delete"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False), ("sure\n", False)]
)
async def test_only_yes_is_yes(site: Site, monkeypatch: pytest.MonkeyPatch, typed: str, delete: bool) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    result = content_of(await call(settings_for(site.url), "delete_import", {"project_id": 1, "import_id": 104}))
    assert result["deleted"] is delete
    assert delete or result["message"] == "You did not agree to it. Nothing was deleted."
    assert len(site.deletions()) == delete
