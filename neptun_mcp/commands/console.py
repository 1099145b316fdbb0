"""What a person reads: tables, highlighted files and colours in a terminal, the same as plain text elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from ..log import printable
from ..tools.questions import KINDS, day

NARROW = 60
"""Columns of a terminal; with fewer, a list takes the place of a table."""

_UNLIMITED = 100_000  # columns of a file or a pipe: each item is one line there, for grep and cut
_LEAST = 12  # columns of a path, a name or a text in a table; with fewer, too, a list is easier to read
_STRETCHING = {"path", "project", "name", "description", "model", "account"}
"""Titles of columns with paths, names and texts, and with what belongs to them below."""

_FIELDS = {
    "template-collections": {"name": "name", "description": "description", "is_shared": "sharing"},
    "github-installations": {"github_account_name": "account", "github_account_type": "type"},
    "chat-conversations": {"name": "name", "model": "model"},
}
"""The fields of a resource that have a column, and its title."""

_COLOURS = {"completed": "green", "failed": "red", "pending": "yellow", "processing": "yellow"}


def write(file: TextIO, *what: RenderableType) -> None:
    """Render for a stream, texts as they are. Colours follow the terminal, NO_COLOR and FORCE_COLOR.

    At a terminal text is wrapped between words; elsewhere no line has blanks at its end.

    Raises:
        OSError: the stream cannot be written.
    """
    if not what:
        return
    console = Console(file=file, highlight=False, markup=False, emoji=False)
    shown = [as_text(one) if isinstance(one, str) else one for one in what]
    if console.width < 1:  # where COLUMNS is 0, as in some editors, rich would write nothing
        console.width = 80
    if console.is_terminal:
        console.print(*shown, sep="\n")
        file.flush()
        return
    if not os.environ.get("COLUMNS", "").strip("0").isdecimal():
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

    def __init__(self, text: str) -> None:
        self.text = printable(text)

    def __bool__(self) -> bool:
        return bool(self.text)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(_LEAST, cell_len(self.text)), cell_len(self.text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [""]
        for piece in _pieces(self.text, options.max_width):
            if lines[-1] and cell_len(lines[-1] + piece.rstrip()) > options.max_width:
                lines.append("")
            lines[-1] += piece
        yield Text("\n".join(lines), overflow="fold")


def _pieces(text: str, width: int, separators: Sequence[str] = (r"/\\ ", r"\-_.@")) -> Iterator[str]:
    """The parts of a text, each with the separators after it: coarse ones first, finer ones where these do not fit."""
    for piece in re.findall(rf"[^{separators[0]}]*(?:[{separators[0]}]+|$)", text):
        if cell_len(piece) > width and len(separators) > 1:
            yield from _pieces(piece, width, separators[1:])
        else:
            yield piece


@dataclass(frozen=True)
class Rows:
    """Items, each as its values by column title: a table, or a list where that is too narrow."""

    rows: Sequence[dict[str, RenderableType]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        titles = [title for title in self.rows[0] if any(row[title] for row in self.rows)]
        columns = {title: Group(title, *(row[title] for row in self.rows)) for title in titles}
        widths = {title: Measurement.get(console, options, column) for title, column in columns.items()}
        gaps, stretching = 2 * (len(titles) - 1), _STRETCHING & columns.keys()
        fixed = sum(widths[title].minimum for title in titles if title not in stretching)
        if options.max_width < NARROW or options.max_width - gaps - fixed < _LEAST * len(stretching):
            for row in self.rows:
                short = (cell for title, cell in row.items() if title not in _STRETCHING)
                yield Text("  ").join(cell for cell in short if isinstance(cell, Text) and cell)
                yield from (Padding(row[title], (0, 0, 0, 2)) for title in titles if title in stretching and row[title])
            return
        roomy = gaps + sum(width.maximum for width in widths.values()) <= options.max_width
        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for title in titles:
            free = roomy or title in stretching
            table.add_column(title, overflow="fold", width=None if free else widths[title].minimum)
        for row in self.rows:
            table.add_row(*(row[title] for title in titles))
        yield table


def render(result: dict[str, Any]) -> RenderableType:
    """A tool's result for a person: items, and below them how many there are and how to see more."""
    if "deleted" in result:
        message = as_text(result["message"], "green" if result["deleted"] else "yellow")
        return Group(message, Rows([_import(result["import"])]))
    kind: str = result.get("resource_type", "imports")
    items: list[dict[str, Any]] = result["imports" if kind == "imports" else "resources"]
    projects = {project["id"]: f"{project['name']} ({project['id']})" for project in result.get("projects", [])}
    items = [{**item, "project": projects.get(item.get("project_id"), "")} for item in items]
    where = f"in {len(projects)} projects" if projects else f"in project {result.get('project_id', '')}"
    notes = [f"{len(items)} of {result['total']} {kind} {where}" if result["total"] else f"no {kind} found {where}"]
    notes += [f"offset={result['next_offset']} shows more"] if "next_offset" in result else []
    notes += [f"{name.replace('_', ' ')}: {result[name]}" for name in ("left_out", "left_out_why") if result.get(name)]
    if kind == "user-files":
        shown = [_file(item) for item in items]
    else:
        row = _import if kind == "imports" else partial(_resource, _FIELDS[kind])
        shown = [Rows([row(item) for item in items])] if items else []
    return Group(*shown, *(as_text(line, "dim") for line in ("; ".join(notes), result.get("note")) if line))


def _row(item: dict[str, Any], dated: str, **cells: RenderableType) -> dict[str, RenderableType]:
    project, created = PathText(item.get("project", "")), as_text(day(item.get("created_at")))
    return {"id": Text(str(item["id"]), "bold"), **cells, "project": project, dated: created}


def _import(item: dict[str, Any]) -> dict[str, RenderableType]:
    branch = f" @{item['source_ref']}" if item.get("source_ref") else ""
    replaced = f"replaced by import {item['replaced_by']}" if item.get("replaced_by") else ""
    below = ((item.get("title"), "dim"), (item.get("error_message"), "red"), (replaced, "yellow"))
    status = str(item.get("import_status") or "")
    # A kind that only the server knows keeps its own word, made readable.
    kind = KINDS.get(item["source_type"]) or item["source_type"].replace("_", " ").strip() or "import"
    path = Group(PathText(f"{item['source_path']}{branch}"), *(as_text(text, style) for text, style in below if text))
    return _row(item, "imported", kind=as_text(kind), path=path, status=as_text(status, _COLOURS.get(status, "")))


def _resource(fields: dict[str, str], item: dict[str, Any]) -> dict[str, RenderableType]:
    return _row(item, "created", **{title: _value(field, item) for field, title in fields.items()})


def _value(field: str, item: dict[str, Any]) -> RenderableType:
    value = item.get(field)
    if field == "github_account_name" and not value:
        value = f"account {item.get('github_account_id', '')}"  # a running server may know no name
    if isinstance(value, bool):
        value = "shared" if value else "not shared"
    text = "" if value is None else str(value)
    return PathText(text) if field in ("model", "github_account_name") else as_text(text)


def _file(item: dict[str, Any]) -> RenderableType:
    """A file with its text, highlighted by its language."""
    name = item.get("title") or "untitled"
    name += f".{item['extension']}" if item.get("extension") and item["extension"] != name else ""
    notes = [f"{item['text_length']:,} characters"] if item.get("text_length") else []
    notes += [f"from character {item['text_offset']:,}"] if item.get("text_offset") else []
    notes += [f"{item['matches']:,} places match"] if item.get("matches") else []
    notes += [f"text_offset={item['next_text_offset']} shows more"] if item.get("next_text_offset") else []
    created, about = as_text(day(item.get("created_at"))), as_text(", ".join(notes), "dim")
    parts = (Text(str(item["id"]), "bold"), as_text(str(name), "bold cyan"), as_text(item["project"]), created, about)
    head = Text("  ").join(filter(None, parts))
    text = printable(item.get("text") or "", kept="\n\t").rstrip("\n")
    code = Syntax(text, item.get("language") or "text", theme="ansi_dark", background_color="default").highlight(text)
    code.rstrip()
    code.no_wrap, code.overflow = False, "fold"
    return Group(head, Padding(code, (0, 0, 1, 2), expand=False))
