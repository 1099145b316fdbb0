"""How messages name the command."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import pytest

from neptun_mcp import command_line as module
from neptun_mcp.command_line import command_line
from tests.processes import run

PACKAGE = Path(module.__file__).parent

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the paths are those of POSIX")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program in a folder that is not on PATH."""
    path = tmp_path / "bin/neptun-mcp"
    path.parent.mkdir()
    path.touch(0o755)
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setattr(sys, "argv", [str(path)])
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    return path


def test_a_program_that_is_not_on_path_is_named_by_its_path(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert command_line() == str(program)
    monkeypatch.setattr(sys, "argv", [".venv/bin/neptun-mcp"])
    assert command_line() == ".venv/bin/neptun-mcp"
    monkeypatch.setattr(sys, "argv", ["/home/my files/neptun-mcp"])
    assert command_line() == "'/home/my files/neptun-mcp'"


def test_a_program_on_path_is_named_alone(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(program.parent))
    assert command_line() == "neptun-mcp"
    monkeypatch.setattr(sys, "argv", ["/another/neptun-mcp"])
    assert command_line() == "/another/neptun-mcp"


def test_a_module_is_named_with_its_python(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [str(PACKAGE / "__main__.py")])
    assert command_line() == f"{sys.executable} -m neptun_mcp"
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    program.with_name("python").touch(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    assert command_line() == "python -m neptun_mcp"


def test_within_another_program_it_is_the_script_beside_python_or_python_itself(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scripts(name: str) -> str:
        return str(folder)

    monkeypatch.setattr(sys, "argv", ["/usr/bin/uvicorn"])
    monkeypatch.setattr(sysconfig, "get_path", scripts)
    folder = program.parent
    assert command_line() == str(program)
    folder = Path("/nowhere")
    assert command_line() == f"{sys.executable} -m neptun_mcp"


@pytest.mark.parametrize(
    ("prefix", "origin", "expected"),
    [
        ("/home/a/.cache/uv/archive-v0/x", None, "uvx neptun-mcp"),
        ("/home/a/.cache/uv/archive-v0/x", '{"url": "file:///src/n", "dir_info": {}}', "uvx --from /src/n neptun-mcp"),
        (
            "/home/a/.cache/uv/archive-v0/x",
            '{"url": "https://example.org/n", "vcs_info": {"vcs": "git"}}',
            "uvx --from git+https://example.org/n neptun-mcp",
        ),
        ("/home/a/.local/pipx/.cache/x", None, "pipx run neptun-mcp"),
    ],
)
def test_a_program_that_is_installed_for_one_run_is_named_by_what_runs_it(
    program: Path, monkeypatch: pytest.MonkeyPatch, prefix: str, origin: str | None, expected: str
) -> None:
    install(monkeypatch, origin)
    monkeypatch.setenv("PATH", str(program.parent))  # as uvx sets it
    monkeypatch.setattr(sys, "prefix", prefix)
    assert command_line() == expected


def install(monkeypatch: pytest.MonkeyPatch, origin: str | None) -> None:
    """Say what the program was installed from."""

    class Installed:
        def read_text(self, name: str) -> str | None:
            return origin

    def installed(name: str) -> Installed:
        return Installed()

    monkeypatch.setattr(module, "distribution", installed)


def test_a_program_in_a_project_of_uv_is_run_by_uv(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert command_line() == "uv run neptun-mcp"


def test_a_bundle_has_no_command(program: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert command_line() == ""


def test_what_it_names_can_be_run() -> None:
    shown = run(
        "-c", "from neptun_mcp.command_line import command_line; print(command_line())", program=[sys.executable]
    )
    assert run("--version", program=shown.stdout.split()).stdout.startswith("neptun-mcp ")
