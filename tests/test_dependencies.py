"""What is imported is declared in pyproject.toml, instead of being there by chance."""

from __future__ import annotations

import ast
import csv
import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, requires
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"benchmarks", "neptun_mcp", "tests"}


def declared(*, dev: bool) -> set[str]:
    """The distributions that the package and its extras require, with the extra dev or without."""
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 does not read TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [name for name in project["optional-dependencies"] if dev or name != "dev"]
    optional = [requirement for name in extras for requirement in project["optional-dependencies"][name]]
    requirements = [*project["dependencies"], *optional]
    return names(requirement for requirement in requirements if not requirement.startswith("neptun-mcp"))


def names(requirements: Iterable[str]) -> set[str]:
    """The distributions that are required. What one of them requires in one version only is a part of it."""
    found: set[str] = set()
    for requirement in requirements:
        (name,) = re.findall(r"^[\w.-]+", requirement)
        found |= {name} | names(part for part in requires(name) or [] if re.fullmatch(r"[\w.-]+==[\w.]+", part))
    return found


def imports_of(folder: str) -> set[str]:
    """All that is imported, wherever in a file, except from the standard library and from our own packages."""
    found: set[str] = set()
    for file in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "importorskip":
                found |= {str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)}
    return {name for name in found if name.partition(".")[0] not in OURS | sys.stdlib_module_names}


@cache
def file_of(name: str) -> str | None:
    """The file of a module, or of the module that a name is imported from."""
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:
        spec = None
    if spec and spec.origin:
        return spec.origin
    above = name.rpartition(".")[0]
    return file_of(above) if above else None


@cache
def files_of(name: str) -> set[str]:
    """The files of a distribution. Its `files` would be the same, and take a second where there are thousands."""
    found = distribution(name)
    folder = found.locate_file("")
    return {f"{folder}/{file}" for file, *_ in csv.reader((found.read_text("RECORD") or "").splitlines())}


@pytest.mark.parametrize(("folder", "dev"), [("neptun_mcp", False), ("tests", True)])
def test_every_import_is_declared(folder: str, dev: bool) -> None:
    try:
        provided = set[str]().union(*map(files_of, declared(dev=dev)))
    except PackageNotFoundError as missing:
        pytest.skip(f"{missing.name} is not installed")
    assert [name for name in sorted(imports_of(folder)) if file_of(name) not in provided] == []
