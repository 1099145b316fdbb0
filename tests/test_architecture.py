"""Which room of the package may import which: one way, without exceptions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "neptun_mcp"

ARROWS = {
    "__init__": {"_version", "neptun", "server", "settings"},
    "__main__": {"cli"},
    "_version": set[str](),
    "account": {"_version", "neptun", "sandbox", "settings"},
    "cli": {"_version", "commands"},
    "commands": {"_version", "account", "log", "neptun", "sandbox", "server", "serving", "settings", "tools"},
    "log": {"neptun", "settings"},
    "neptun": set[str](),
    "sandbox": {"neptun"},
    "server": {"_version", "account", "neptun", "settings", "tools"},
    "serving": {"account", "log", "neptun", "server", "settings", "sign_in", "tools"},
    "settings": {"neptun"},
    "sign_in": {"log", "neptun", "settings"},
    "tools": {"neptun"},
}
"""What each file at the top and each room imports of the others. Whatever is not here is not allowed."""


def modules() -> dict[str, Path]:
    return {".".join(file.relative_to(PACKAGE).with_suffix("").parts): file for file in PACKAGE.rglob("*.py")}


def imported(module: str) -> Iterator[str]:
    """The modules of the package that a module imports, wherever in its text."""
    known = modules()
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


def room(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    others = {room(name) for name in imported(module)} - {room(module)}
    assert others <= ARROWS[room(module)]


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {module: set(imported(module)) - {module} for module in modules()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)
