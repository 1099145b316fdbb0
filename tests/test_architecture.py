"""Imports run one way, and docs/architecture.md draws them: `python -m tests.test_architecture` draws them anew."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "neptun_mcp"
PAGE = ROOT / "docs" / "architecture.md"

NEVER = {
    "neptun": "*",
    "sandbox": "* but neptun",
    "tools": "* but command_line, neptun",
    "sign_in": "serving, server, tools, commands",
    "settings": "account, log, server, serving, sign_in, tools",
}
"""What a package or a file at the top does not import, beside what would close a circle."""


MAX_FUNCTION = 60
"""Lines."""


def modules() -> dict[str, Path]:
    return {".".join(file.relative_to(PACKAGE).with_suffix("").parts): file for file in PACKAGE.rglob("*.py")}


@cache
def imported(module: str) -> list[str]:
    """The modules of the package that a module imports, wherever in its text."""
    return list(_imported(module, modules()))


def _imported(module: str, known: dict[str, Path]) -> Iterator[str]:
    package = module.split(".")[:-1]
    for node in ast.walk(ast.parse(known[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith(PACKAGE.name) for alias in node.names), f"{module}: import … from"
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith(PACKAGE.name)):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = [*above, *(node.module or "").removeprefix(f"{PACKAGE.name}.").split(".")]
            for alias in node.names:
                path = ".".join(part for part in (*base, alias.name) if part)
                parent = path.rpartition(".")[0]
                found = [name for name in (path, f"{path}.__init__", parent, f"{parent}.__init__") if name in known]
                assert found, f"{module}: {path}"
                yield found[0]


def place(module: str) -> str:
    """The package that a module is in, or the module itself if it is at the top."""
    return module.partition(".")[0]


def arrows() -> dict[str, set[str]]:
    """What each place imports of the others, those by name included: `cli` finds commands so."""
    found: dict[str, set[str]] = {place(module): set() for module in modules()}
    for module in modules():
        found[place(module)] |= {place(name) for name in imported(module)} - {place(module)}
    found["cli"] |= {"commands"}
    return found


@pytest.mark.parametrize("name", NEVER)
def test_a_place_does_not_import_what_it_must_not_know(name: str) -> None:
    forbidden, _, allowed = NEVER[name].partition(" but ")
    taken = arrows()[name] - set(allowed.split(", "))
    assert taken == set() if forbidden == "*" else taken.isdisjoint(forbidden.split(", "))


def test_no_module_imports_itself_by_way_of_others() -> None:
    for graph in ({module: set(imported(module)) - {module} for module in modules()}, arrows()):
        assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


def test_no_two_files_have_the_same_name() -> None:
    names = Counter(file.name for file in modules().values() if file.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_no_function_is_longer_than_a_screen() -> None:
    lengths = {
        f"{module}, line {node.lineno}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for module, file in modules().items()
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    assert {name: length for name, length in lengths.items() if length > MAX_FUNCTION} == {}


def drawing() -> str:
    """The places of the package and their imports, from the top down, as a flow chart of Mermaid."""
    graph = arrows()
    lines = ["```mermaid", "flowchart TD"]
    for name in reversed([*TopologicalSorter({name: sorted(graph[name]) for name in sorted(graph)}).static_order()]):
        file = modules().get(name) or modules()[f"{name}.__init__"]
        about = re.split(r"(?<=[^.])[.:](?=\s|$)", ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "")[0]
        title = f"{name}.py" if name in modules() else f"<b>{name}/</b>"
        lines.append(f'    {name.strip("_")}["{title}<br>{about.replace("`", "")}"]')
        lines += [f"    {name.strip('_')} --> {other.strip('_')}" for other in sorted(graph[name])]
    return "\n".join([*lines, "```"])


def test_the_page_draws_the_imports_as_they_are() -> None:
    assert drawing() in PAGE.read_text("utf-8"), "draw them anew: python -m tests.test_architecture"


if __name__ == "__main__":
    drawn = re.sub(
        r"```mermaid\nflowchart TD\n.*?```", lambda _: drawing(), PAGE.read_text("utf-8"), count=1, flags=re.S
    )
    PAGE.write_text(drawn, "utf-8")
