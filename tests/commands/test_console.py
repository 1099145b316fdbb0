"""What a person sees in a terminal."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from rich.console import Console

from neptun_mcp.commands.console import Waiting, is_plain, render, show_error
from tests.support import RESOURCE_TYPES, WEBSHOP, Host, Json, until


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


IMPORT: Json = {"id": 1, "source_type": "local_folder", "source_path": "/srv", "import_status": "failed"}


def rendered(result: Json, *, colours: bool = False) -> str:
    console = Console(
        file=io.StringIO(), width=250, force_terminal=colours, color_system="standard" if colours else None
    )
    console.print(render(result))
    file: Any = console.file
    return file.getvalue()


@pytest.mark.anyio
async def test_imports_are_a_table(host: Host) -> None:
    lines = rendered(await host.gets("list_imports", project_id=WEBSHOP)).splitlines()
    assert lines[0].split() == ["id", "kind", "path", "status", "imported"]
    (failed,) = (line for line in lines if line.startswith("105"))
    assert "https://github.com/example/checkout-forms" in failed
    assert "failed" in failed
    assert "2026-09-02 10:15" in failed
    assert any("The repository does not exist, or is private" in line for line in lines)
    assert lines[-1] == "7 of 7 imports in project 1"


@pytest.mark.anyio
async def test_every_resource_has_its_id_name_and_date(host: Host) -> None:
    async with host.connected() as tools:
        for resource_type in RESOURCE_TYPES:
            page = await tools.gets("list_resources", project_id=WEBSHOP, resource_type=resource_type)
            shown = rendered(page)
            for item in page["resources"]:
                names = [item.get(key, "") for key in ("title", "name", "github_account_name")]
                assert all(part in shown for part in (str(item["id"]), *names, (item.get("created_at") or "")[:10]))


@pytest.mark.anyio
async def test_a_page_says_how_to_see_more(host: Host) -> None:
    page = await host.gets("list_imports", project_id=WEBSHOP, limit=2)
    assert rendered(page).splitlines()[-1] == "2 of 7 imports in project 1; offset=2 shows more"


def test_a_status_has_a_colour() -> None:
    page = {"project_id": 1, "total": 1, "imports": [IMPORT]}
    assert "\x1b[31mfailed" in rendered(page, colours=True)


def test_a_deletion_is_its_message_and_the_import() -> None:
    shown = rendered({"deleted": True, "message": "Import 1 was deleted.", "import": IMPORT})
    assert shown.startswith("Import 1 was deleted.\n")
    assert "/srv" in shown


def test_nothing_in_a_text_is_markup_or_controls_the_terminal() -> None:
    text = "[red]x[/] [link=http://x]\x1b[2J\u202e"
    page = {"project_id": 1, "total": 1, "imports": [{**IMPORT, "source_path": text, "error_message": text}]}
    file = {"id": 1, "title": text, "text": text, "extension": text, "language": "python"}
    files = {"project_id": 1, "total": 1, "resource_type": "user-files", "resources": [file]}
    for result in (page, files):
        shown = rendered(result)
        assert "[red]x[/]" in shown
        assert r"\x1b[2J\u202e" in shown
        assert not {"\x1b", "\u202e"} & set(shown)


@pytest.mark.parametrize(("terminal", "no_color", "plain"), [(True, "", False), (True, "1", True), (False, "", True)])
def test_colours_are_for_terminals_of_people_who_want_them(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, no_color: str, plain: bool
) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal() if terminal else io.StringIO())
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    assert is_plain() is plain


def test_an_error_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    show_error("[bold]What happened.[/] What to do.\x1b")
    assert capsys.readouterr() == ("", "[bold]What happened.[/] What to do.\\x1b\n")


@pytest.mark.anyio
async def test_work_of_more_than_a_second_is_announced_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("neptun_mcp.commands.console._QUIET_SECONDS", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    waiting = Waiting()
    async with waiting.shown():
        await waiting.update(1, 2, "12 of 42 MB")
        await until(lambda: "12 of 42 MB" in terminal.getvalue())
