"""What a person sees in a terminal."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import pytest
from rich.console import Console

from neptun_mcp.commands import tell
from neptun_mcp.commands.console import NARROW, render, write
from tests.support import RESOURCE_TYPES, WEBSHOP, Host, Json


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


GITHUB = "https://github.com/example"
IMPORT: Json = {"id": 1, "source_type": "local_folder", "source_path": "/srv", "import_status": "failed"}


def rendered(result: Json, width: int = 250, *, colours: bool = False) -> str:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=colours, color_system="standard" if colours else None
    )
    console.print(render(result))
    file: Any = console.file
    return file.getvalue()


def without_breaks(shown: str) -> str:
    return "".join(shown.split())


async def every_page(host: Host) -> list[Json]:
    async with host.connected() as tools:
        imports = await tools.gets("list_imports", project_id=WEBSHOP)
        return [
            imports,
            *[await tools.gets("list_resources", project_id=WEBSHOP, resource_type=kind) for kind in RESOURCE_TYPES],
        ]


@pytest.mark.anyio
async def test_imports_are_a_table(host: Host) -> None:
    lines = rendered(await host.gets("list_imports", project_id=WEBSHOP)).splitlines()
    assert lines[0].split() == ["id", "kind", "path", "status", "imported"]
    (failed,) = (line for line in lines if line.startswith("105"))
    assert failed.split() == ["105", "public", "repository", f"{GITHUB}/checkout-forms", "failed", "2026-09-02"]
    assert any("The repository does not exist, or is private" in line for line in lines)
    assert any("/tea-icons @v3 " in line for line in lines)
    assert lines[-1] == "7 of 7 imports in project 1"


@pytest.mark.anyio
async def test_nothing_is_cut_and_no_line_is_too_long(host: Host) -> None:
    for page in await every_page(host):
        for width in (20, 40, NARROW - 1, NARROW, 80, 120):
            shown = rendered(page, width)
            assert max(map(len, shown.splitlines())) <= width
            for item in page.get("imports") or page["resources"]:
                assert re.search(rf"^{item['id']}( |$)", shown, re.MULTILINE)
                names = [item.get(key) or "" for key in ("title", "name", "github_account_name")]
                assert width < 80 or all(without_breaks(name) in without_breaks(shown) for name in names)


@pytest.mark.anyio
@pytest.mark.parametrize("width", [NARROW, 80])
async def test_from_60_columns_on_headers_are_whole_and_paths_break_between_their_parts(host: Host, width: int) -> None:
    lines = rendered(await host.gets("list_imports", project_id=WEBSHOP), width).splitlines()
    assert lines[0].split() == ["id", "kind", "path", "status", "imported"]
    start = lines[0].index("path")
    parts = [line[start:].split("  ")[0].rstrip() for line in lines if line[start:].startswith("https://github.com/")]
    assert {part.removeprefix(GITHUB) for part in parts} <= {"/", "/tea-icons", "https://github.com/"}


@pytest.mark.anyio
async def test_a_narrow_window_shows_a_list(host: Host) -> None:
    lines = rendered(await host.gets("list_imports", project_id=WEBSHOP, query="tea-icons"), NARROW - 1).splitlines()
    assert [line.rstrip() for line in lines] == [
        "107  public repository  pending  2026-10-11",
        f"  {GITHUB}/tea-icons @v3",
        "1 of 1 imports in project 1",
    ]


def test_what_is_empty_takes_no_room() -> None:
    collections = [{"id": 1, "name": "compose", "is_shared": True}]
    page = {"project_id": 1, "total": 1, "resource_type": "template-collections", "resources": collections}
    assert rendered(page, 80).splitlines()[0].split() == ["id", "name", "sharing"]
    assert [line.rstrip() for line in rendered(page, 40).splitlines()[:2]] == ["1  shared", "  compose"]


def test_a_long_id_is_never_cut_and_a_date_far_away_is_a_day() -> None:
    item = {**IMPORT, "id": 2147483647, "created_at": "+012026-01-01T00:00:00.000Z"}
    for width in (20, NARROW, 80):
        shown = rendered({"project_id": 1, "total": 1, "imports": [item]}, width)
        assert "2147483647" in shown
        assert "+012026-01-01" in shown


def test_a_list_over_several_projects_shows_the_project_of_each_row() -> None:
    item = {**IMPORT, "project_id": 3, "replaced_by": 9}
    projects = [{"id": 3, "name": "orders-api", "total": 1}, {"id": 4, "name": "x", "total": 0}]
    shown = rendered({"total": 1, "projects": projects, "imports": [item]})
    assert "orders-api (3)" in shown
    assert "replaced by import 9" in shown
    assert shown.endswith("1 of 1 imports in 2 projects\n")


def test_a_file_of_one_of_several_projects_shows_which() -> None:
    projects = [{"id": 3, "name": "orders-api", "total": 1}]
    file = {"id": 1, "title": "runbook", "extension": "md", "text": "x", "project_id": 3}
    shown = rendered({"total": 1, "resource_type": "user-files", "projects": projects, "resources": [file]})
    assert shown.splitlines()[0] == "1  runbook.md  orders-api (3)"


@pytest.mark.anyio
async def test_a_page_says_how_to_see_more(host: Host) -> None:
    page = await host.gets("list_imports", project_id=WEBSHOP, limit=2)
    assert rendered(page).splitlines()[-1] == "2 of 7 imports in project 1; offset=2 shows more"
    assert rendered({**page, "note": "It changed."}).splitlines()[-2:] == [
        *rendered(page).splitlines()[-1:],
        "It changed.",
    ]


def test_an_empty_list_is_a_sentence_without_a_header() -> None:
    assert rendered({"project_id": 2, "total": 0, "imports": []}) == "no imports found in project 2\n"


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


@pytest.mark.parametrize(("terminal", "no_color"), [(True, ""), (True, "1"), (False, "")])
def test_colours_are_for_terminals_of_people_who_want_them(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, no_color: str
) -> None:
    for name, value in {"NO_COLOR": no_color, "TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    file = Terminal() if terminal else io.StringIO()
    write(file, render({"project_id": 1, "total": 1, "imports": [IMPORT]}))
    assert ("\x1b[31m" in file.getvalue()) is (terminal and not no_color)
    assert ("\x1b" in file.getvalue()) is terminal


def test_elsewhere_an_item_is_a_line_without_blanks_at_its_end() -> None:
    path = "/srv/" + "/".join(["a long name"] * 40)
    write(file := io.StringIO(), render({"project_id": 1, "total": 1, "imports": [{**IMPORT, "source_path": path}]}))
    lines = file.getvalue().splitlines()
    assert path in lines[1]
    assert len(lines) == 3
    assert lines == [line.rstrip() for line in lines]


def test_an_error_is_wrapped_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    for name, value in {"NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "25"}.items():
        monkeypatch.setenv(name, value)
    tell("Nothing was deleted. Call delete_import again.")
    assert terminal.getvalue() == "Nothing was deleted. Call\ndelete_import again.\n"


def test_an_error_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    tell("[bold]What happened.[/] What to do.\x1b", colour="red")
    assert capsys.readouterr() == ("", "[bold]What happened.[/] What to do.\\x1b\n")


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_where_the_environment_says_no_width_everything_is_written(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO]
) -> None:
    monkeypatch.setenv("COLUMNS", "0")  # as some editors do
    write(file := stream(), "a line")
    assert file.getvalue() == "a line\n"
