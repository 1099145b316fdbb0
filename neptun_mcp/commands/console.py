"""What a person reads: tables, highlighted files and colours in a terminal, the same as plain text elsewhere."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TextIO

import anyio
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from ..log import printable
from ..tools.questions import day, kind_label

NARROW = 60
"""Columns of a terminal; with fewer, a list takes the place of a table."""

_UNLIMITED = 100_000  # columns of a file or a pipe: what is searched and cut there is a line an item
_LEAST = 12  # columns of a path, a name or a text in a table; with fewer, too, a list is easier to read
_COLOURS = {"completed": "green", "failed": "red", "pending": "yellow", "processing": "yellow"}
_QUIET_SECONDS = 1.0


def write(file: TextIO, *what: RenderableType) -> None:
    """Render for a stream, texts as they are. Colours follow the terminal, NO_COLOR and FORCE_COLOR.

    At a terminal text is wrapped between words; elsewhere no line has blanks at its end.

    Raises:
        OSError: the stream cannot be written.
    """
    console = Console(file=file, highlight=False, markup=False, emoji=False)
    shown = [as_text(one) if isinstance(one, str) else one for one in what]
    if console.is_terminal:
        console.print(*shown, sep="\n")
        file.flush()
        return
    if not os.environ.get("COLUMNS", "").isdecimal():
        console.width = _UNLIMITED
    with console.capture() as captured:
        console.print(*shown, sep="\n")
    print(re.sub(r" +$", "", captured.get(), flags=re.MULTILINE), end="", file=file, flush=True)


def as_text(value: str, style: str = "") -> Text:
    """Text as it is: nothing in it is markup, and nothing controls the terminal."""
    return Text(printable(value, kept="\n"), style=style)


class PathText:
    """A path or a name, broken after the separators of paths, then after those of words, and elsewhere only if it must
    be."""

    def __init__(self, text: str, style: str = "") -> None:
        self.text, self.style = printable(text), style

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(_LEAST, cell_len(self.text)), cell_len(self.text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [""]
        for piece in _pieces(self.text, options.max_width):
            if lines[-1] and cell_len(lines[-1] + piece.rstrip()) > options.max_width:
                lines.append("")
            lines[-1] += piece
        yield Text("\n".join(lines), self.style, overflow="fold")


def _pieces(text: str, width: int, separators: Sequence[str] = (r"/\\ ", r"\-_.@")) -> Iterator[str]:
    """The parts of a text, each with the separators after it: coarse ones first, finer ones where these do not fit."""
    for piece in re.findall(rf"[^{separators[0]}]*(?:[{separators[0]}]+|$)", text):
        if cell_len(piece) > width and len(separators) > 1:
            yield from _pieces(piece, width, separators[1:])
        else:
            yield piece


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: its header.
        lines: what it shows of an item.
        stretches: whether paths, names and texts stand in it, and what belongs to them below.
    """

    title: str
    lines: Callable[[dict[str, Any]], Sequence[RenderableType]]
    stretches: bool = False


@dataclass(frozen=True)
class Rows:
    """Items for the eyes: a table where it can be read, and a list where it is too narrow. Ids are never cut."""

    columns: Sequence[Column]
    items: Sequence[dict[str, Any]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = [
            Measurement.get(
                console, options, Group(column.title, *(line for item in self.items for line in column.lines(item)))
            )
            for column in self.columns
        ]
        gaps = 2 * (len(self.columns) - 1)
        fixed = sum(width.minimum for width, column in zip(widths, self.columns, strict=True) if not column.stretches)
        rest = options.max_width - gaps - fixed
        if options.max_width < NARROW or rest < _LEAST * sum(column.stretches for column in self.columns):
            yield from (self._as_list(item) for item in self.items)
            return
        roomy = gaps + sum(width.maximum for width in widths) <= options.max_width
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for column, width in zip(self.columns, widths, strict=True):
            free = roomy or column.stretches
            table.add_column(column.title, overflow="fold", width=None if free else width.minimum)
        for item in self.items:
            table.add_row(*(Group(*column.lines(item)) for column in self.columns))
        yield table

    def _as_list(self, item: dict[str, Any]) -> RenderableType:
        short = [line for column in self.columns if not column.stretches for line in column.lines(item)]
        long = [line for column in self.columns if column.stretches for line in column.lines(item)]
        head = Text("  ").join(line for line in short if isinstance(line, Text) and line)
        return Group(head, *(Padding(line, (0, 0, 0, 2)) for line in long))


def render(result: dict[str, Any]) -> RenderableType:
    """A tool's result for a person."""
    names = {project["id"]: project["name"] for project in result.get("projects", [])}
    if "imports" in result:
        return _page(_imports(result["imports"], names), result, "imports")
    if "resources" in result:
        resource_type, items = result["resource_type"], result["resources"]
        files = resource_type == "user-files"
        shown = Group(*(_file(item, names) for item in items)) if files else _resources(resource_type, items, names)
        return _page(shown, result, resource_type)
    colour = "green" if result["deleted"] else "yellow"
    return Group(as_text(result["message"], colour), _imports([result["import"]], {}))


def _project(names: dict[int, str], item: dict[str, Any]) -> str:
    number = item.get("project_id", 0)
    return f"{names.get(number, 'project')} ({number})" if names else ""


def _project_columns(names: dict[int, str]) -> list[Column]:
    return [Column("project", lambda item: [PathText(_project(names, item))], stretches=True)] if names else []


def _id(item: dict[str, Any]) -> list[Text]:
    return [Text(str(item["id"]), "bold")]


def _day(item: dict[str, Any]) -> list[RenderableType]:
    return [as_text(day(item.get("created_at")))]


def _imports(imports: Sequence[dict[str, Any]], names: dict[int, str]) -> Rows:
    has_status = any("import_status" in item for item in imports)
    return Rows(
        [
            Column("id", _id),
            Column("kind", lambda item: [as_text(kind_label(item["source_type"]))]),
            Column("path", _path, stretches=True),
            *_project_columns(names),
            *([Column("status", _status)] if has_status else []),
            Column("imported", _day),
        ],
        imports,
    )


def _path(item: dict[str, Any]) -> list[RenderableType]:
    branch = f" @{item['source_ref']}" if item.get("source_ref") else ""
    replaced = f"replaced by import {item['replaced_by']}" if item.get("replaced_by") else ""
    below = ((item.get("title"), "dim"), (item.get("error_message"), "red"), (replaced, "yellow"))
    return [PathText(f"{item['source_path']}{branch}"), *(as_text(text, style) for text, style in below if text)]


def _status(item: dict[str, Any]) -> list[RenderableType]:
    status = str(item.get("import_status") or "")
    return [as_text(status, _COLOURS.get(status, ""))]


_FIELDS = {
    "template-collections": ("name", "description", "is_shared"),
    "github-installations": ("github_account_name", "github_account_type"),
    "chat-conversations": ("name", "model"),
}
_TITLES = {"is_shared": "sharing", "github_account_name": "account", "github_account_type": "type"}
_STRETCHES = ("name", "description", "model", "github_account_name")


def _resources(resource_type: str, items: Sequence[dict[str, Any]], names: dict[int, str]) -> Rows:
    fields = [
        Column(_TITLES.get(field, field), partial(_value, field), field in _STRETCHES)
        for field in _FIELDS[resource_type]
    ]
    return Rows([Column("id", _id), *fields, *_project_columns(names), Column("created", _day)], items)


def _value(field: str, item: dict[str, Any]) -> list[RenderableType]:
    value = item.get(field)
    if field == "github_account_name" and not value:
        value = f"account {item.get('github_account_id', '')}"  # a running server may know no name
    if isinstance(value, bool):
        value = "shared" if value else "not shared"
    text = "" if value is None else str(value)
    return [PathText(text) if field in ("model", "github_account_name") else as_text(text)]


def _file(item: dict[str, Any], names: dict[int, str]) -> RenderableType:
    """A file with its text, highlighted by its language."""
    name = item.get("title") or "untitled"
    name += f".{item['extension']}" if item.get("extension") and item["extension"] != name else ""
    notes = [f"{item['text_length']:,} characters"] if item.get("text_length") else []
    notes += [f"from character {item['text_offset']:,}"] if item.get("text_offset") else []
    notes += [f"{item['matches']:,} places match"] if item.get("matches") else []
    notes += [f"text_offset={item['next_text_offset']} shows more"] if item.get("next_text_offset") else []
    title, created = as_text(str(name), "bold cyan"), as_text(day(item.get("created_at")))
    parts = (*_id(item), title, as_text(_project(names, item)), created, as_text(", ".join(notes), "dim"))
    head = Text("  ").join(filter(None, parts))
    text = printable(item.get("text") or "", kept="\n\t").rstrip("\n")
    code = Syntax(text, item.get("language") or "text", theme="ansi_dark", background_color="default").highlight(text)
    code.rstrip()
    code.no_wrap, code.overflow = False, "fold"
    return Group(head, Padding(code, (0, 0, 1, 2), expand=False))


def _page(items: RenderableType, result: dict[str, Any], what: str) -> RenderableType:
    """Items, and below them how many there are and how to see more."""
    projects: list[Any] = result.get("projects", [])
    where = f"in {len(projects)} projects" if projects else f"in project {result.get('project_id', '')}"
    shown = len(result["imports" if "imports" in result else "resources"])
    notes = [f"{shown} of {result['total']} {what} {where}" if result["total"] else f"no {what} found {where}"]
    notes += [f"offset={result['next_offset']} shows more"] if "next_offset" in result else []
    notes += [f"{name.replace('_', ' ')}: {result[name]}" for name in ("left_out", "left_out_why") if result.get(name)]
    notes += [result["note"]] if result.get("note") else []
    footer = as_text("; ".join(notes), "dim")
    return Group(items, footer) if shown else footer


class Waiting:
    """Says on stderr, at a terminal, that something takes longer than a second."""

    def __init__(self) -> None:
        self._status = Console(stderr=True).status("Waiting for Neptun …")
        self._over = not sys.stderr.isatty()

    @asynccontextmanager
    async def shown(self) -> AsyncGenerator[None]:
        """Say so while the block runs."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._show_later)
            try:
                yield
            finally:
                self.stop()
                tasks.cancel_scope.cancel()

    async def update(self, progress: float, total: float | None, message: str | None) -> None:
        """Show what the server says of its progress."""
        self._status.update(as_text(message or ""))

    def stop(self) -> None:
        """Say no more, as when the person is asked something."""
        self._over = True
        self._status.stop()

    async def _show_later(self) -> None:
        await anyio.sleep(_QUIET_SECONDS)
        if not self._over:
            self._status.start()
