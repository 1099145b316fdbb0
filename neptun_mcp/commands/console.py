"""What a person reads in a terminal: tables, highlighted files and colours there, plain text elsewhere."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from ..log import printable
from . import show

_COLOURS = {"completed": "green", "failed": "red", "pending": "yellow", "processing": "yellow"}
_HIDDEN = ("neptun_user_id", "project_id", "updated_at", "github_account_avatar_url")
_SHORT = ("id", "kind", "imported", "created")
_QUIET_SECONDS = 1.0


def is_plain() -> bool:
    """Whether stdout gets plain text: it is no terminal, or the person wants no colours (https://no-color.org)."""
    return not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def render(result: dict[str, Any]) -> RenderableType:
    """A tool's result for a terminal."""
    if "imports" in result:
        return Group(_imports(result["imports"]), _footer(result, "imports"))
    if "resources" in result:
        files = result["resource_type"] == "user-files"
        shown = [_file(item) for item in result["resources"]] if files else [_table(result["resources"])]
        return Group(*shown, _footer(result, result["resource_type"]))
    return _deletion(result)


def plain(result: dict[str, Any]) -> str:
    """A tool's result as plain text: its values, then a block for each item; texts of several lines indented below."""
    return "\n".join(_lines(result, ""))


def _imports(imports: list[dict[str, Any]]) -> Table:
    table = _new_table("id", "kind", "path", "status", "imported")
    for item in imports:
        status = item.get("import_status", "")
        error = f"\n{item['error_message']}" if item.get("error_message") else ""
        table.add_row(
            str(item["id"]),
            _text(item["source_type"]),
            _text(item["source_path"]),
            _text(status + error, _COLOURS.get(status, "")),
            _date(item),
        )
    return table


def _table(items: list[dict[str, Any]]) -> Table:
    names = list(dict.fromkeys(name for item in items for name in item if name not in _HIDDEN))
    table = _new_table(*names)
    for item in items:
        table.add_row(*(_date(item) if name == "created_at" else _text(str(item.get(name, ""))) for name in names))
    return table


def _new_table(*names: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name.removesuffix("_at"), overflow="fold", no_wrap=name.removesuffix("_at") in _SHORT)
    return table


def _file(item: dict[str, Any]) -> RenderableType:
    """A file with its text, highlighted by its language."""
    name = f"{item.get('title') or 'untitled'}.{item['extension']}" if item.get("extension") else item.get("title", "")
    part = [f"{key.removeprefix('text_')} {item[key]:,}" for key in ("text_length", "text_offset") if item.get(key)]
    part += [f"text_offset={item['next_text_offset']} shows more"] if item.get("next_text_offset") else []
    head = Text.assemble(
        (f"{item['id']}  ", "bold"), _text(str(name), "bold cyan"), f"  {_date(item)}  {', '.join(part)}"
    )
    text = printable(item.get("text") or "", kept="\n\t").rstrip("\n")
    code = Syntax(text, item.get("language") or "text", theme="ansi_dark", background_color="default", word_wrap=True)
    return Group(head, Padding(code, (0, 0, 1, 2)))


def _deletion(result: dict[str, Any]) -> RenderableType:
    colour = "green" if result["deleted"] else "yellow"
    return Group(_text(result["message"], colour), _imports([result["import"]]))


def _footer(result: dict[str, Any], what: str) -> Text:
    shown = len(result["imports" if "imports" in result else "resources"])
    notes = [f"{shown} of {result['total']} {what} in project {result['project_id']}"]
    if "next_offset" in result:
        notes.append(f"offset={result['next_offset']} shows more")
    notes += [f"{name.replace('_', ' ')}: {result[name]}" for name in ("left_out", "left_out_why") if name in result]
    notes += [result["note"]] if "note" in result else []
    return Text("; ".join(notes), style="dim")


def _text(value: str, style: str = "") -> Text:
    """Text as it is: nothing in it is markup, and nothing controls the terminal."""
    return Text(printable(value, kept="\n"), style=style)


def _date(item: dict[str, Any]) -> str:
    return printable(str(item.get("created_at", "")))[:16].replace("T", " ")


def _lines(value: dict[str, Any], indent: str) -> list[str]:
    short: list[str] = []
    long: list[str] = []
    for name, field in value.items():
        if isinstance(field, dict):
            long += [f"{indent}{name}:", *_lines(cast("dict[str, Any]", field), indent + "  ")]
        elif isinstance(field, list):
            for item in cast("list[dict[str, Any]]", field):
                first, *others = _lines(item, indent + "  ")
                long += [f"{indent}- {first.lstrip()}", *others]
        elif "\n" in str(field):
            lines = printable(field, kept="\n\t").split("\n")
            long += [f"{indent}{name}:", *(f"{indent}  | {line}" for line in lines)]
        else:
            shown = printable(str(field), kept="\t")
            short.append(f"{name}: {shown}")
    head = textwrap.wrap("   ".join(short), 110, initial_indent=indent, subsequent_indent=indent + "  ")
    return head + long


def show_result(result: dict[str, Any]) -> None:
    """Write a tool's result to stdout."""
    if is_plain():
        show(plain(result))
    else:
        Console().print(render(result))


def show_line(head: str, text: str, colour: str) -> None:
    """Write a line to stdout whose head has a colour."""
    if is_plain():
        show(f"{head} {text}")
    else:
        Console(soft_wrap=True).print(Text.assemble((head, colour), " ", _text(text)))


def show_error(*lines: str) -> None:
    """Write what went wrong to stderr."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(*(_text(line, "red") for line in lines), sep="\n")


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
        self._status.update(_text(message or ""))

    def stop(self) -> None:
        """Say no more, as when the person is asked something."""
        self._over = True
        self._status.stop()

    async def _show_later(self) -> None:
        await anyio.sleep(_QUIET_SECONDS)
        if not self._over:
            self._status.start()
