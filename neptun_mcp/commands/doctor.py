"""`neptun-mcp doctor`: checks each step of a call, and ends with the one thing to fix."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import AsyncGenerator, Collection
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import anyio
from pydantic import ValidationError

from ..account import create_client
from ..command_line import command_line
from ..neptun.client import Contract, NeptunClient
from ..neptun.errors import NeptunError, WrongUser, quoted
from ..neptun.secret_files import shown_path
from ..settings import PRIVATE, Settings, is_unset, problems, variable
from ..tools.words import advice, happened
from . import FAILURE, SUCCESS, end_at_once, read_settings, show, show_line
from .hosts import installed


@dataclass(frozen=True)
class Step:
    """What was found at one step.

    Attributes:
        name: what was checked.
        ok: whether a call gets past it.
        found: what was found, in words.
        to_do: what to do about it; empty if there is nothing to do.
        milliseconds: how long Neptun took; None if it was not asked.
    """

    name: str
    ok: bool
    found: str
    to_do: str = ""
    milliseconds: float | None = None


def run(options: argparse.Namespace) -> int:
    """Check every step; print each as it is done, and at the end the one thing to fix."""
    end_at_once()
    steps: list[Step] = []

    def add(step: Step) -> None:
        steps.append(step)
        if not options.json:
            took = f" ({step.milliseconds:g} ms)" if step.milliseconds else ""
            show_line("ok  " if step.ok else "FAIL", f"{step.name}: {step.found}{took}", "green" if step.ok else "red")

    async def check() -> None:
        async for step in check_steps(settings):
            add(step)

    try:
        settings = read_settings(options)
    except ValidationError as error:
        add(check_environment({str(name) for detail in error.errors() for name in detail["loc"][:1]}))
        add(Step("settings", False, "; ".join(problems(error)) + ".", "Correct the settings that are named."))
    else:
        add(check_environment())
        add(Step("settings", True, "well-formed"))
        add(check_hosts())
        anyio.run(check)
    to_do = next((step.to_do for step in steps if not step.ok), "")
    if options.json:
        show(json.dumps({"ok": not to_do, "to_do": to_do, "steps": [asdict(step) for step in steps]}, indent=2))
    else:
        show(f"\nTo do: {to_do}" if to_do else "\nAll is well.")
    return FAILURE if to_do else SUCCESS


def check_environment(malformed: Collection[str] = ()) -> Step:
    """The versions, and the `NEPTUN_*` variables, fit for a bug report: a malformed value may be a misplaced secret."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("neptun-mcp", "mcp", "httpx2", "pydantic"))
    settings = sorted(name.removeprefix("NEPTUN_").lower() for name in os.environ if name.startswith("NEPTUN_"))
    shown = [f"NEPTUN_{setting.upper()}={_shown(setting, setting in malformed)}" for setting in settings]
    return Step(
        "environment",
        True,
        f"{versions}, Python {platform.python_version()} on {sys.platform}; {', '.join(shown) or 'no NEPTUN_* is set'}",
    )


def check_hosts() -> Step:
    """The hosts that have the server, and whether they can still start it."""
    entries = installed()
    found = ", ".join(f"{entry.host} ({entry.problem})" if entry.problem else entry.host for entry in entries)
    broken = next((entry.host for entry in entries if entry.problem), None)
    to_do = f"Run `{command_line()} install {broken}`, or remove the server from that host." if broken else ""
    return Step("hosts", not broken, found or f"none has the server; `{command_line()} install` adds it", to_do)


def _shown(setting: str, malformed: bool) -> str:
    value = variable(setting)
    if setting not in Settings.model_fields:
        return f"({len(value)} characters; there is no such setting)"
    if is_unset(value):
        return "(counts as not set)"
    if setting.endswith("_file") and not shown_path(Path(value)):
        return f"({len(value)} characters; there is no such file)"
    return f"({len(value)} characters)" if malformed or setting in PRIVATE else quoted(value)


async def check_steps(settings: Settings) -> AsyncGenerator[Step]:
    """The steps of a call, one after the other; the first that fails is the last."""
    neptun = create_client(settings)
    try:
        for name, look in (
            ("address", _address),
            ("session", _session),
            ("projects", _projects),
            ("imports", _imports),
        ):
            started = anyio.current_time()
            try:
                found = await look(neptun, settings)
            except NeptunError as error:
                yield Step(name, False, happened(error), advice(error), _since(started))
                return
            yield Step(name, True, found, milliseconds=_since(started))
    finally:
        await neptun.aclose()


def _since(started: float) -> float:
    return round((anyio.current_time() - started) * 1000, 1)


async def _address(neptun: NeptunClient, settings: Settings) -> str:
    await neptun.check_reachable()
    tls = "TLS is good" if neptun.address.startswith("https:") else "without TLS, on this machine"
    return f"{neptun.address} answers; {tls}"


async def _session(neptun: NeptunClient, settings: Settings) -> str:
    user = await neptun.user_id()
    if settings.user_id and settings.user_id != user and settings.sandbox == "off":
        raise WrongUser(settings.user_id, user)
    return f"good; it belongs to user {user}"


async def _projects(neptun: NeptunClient, settings: Settings) -> str:
    projects = (await neptun.list_projects()).items
    names = ", ".join(f"{project.id} {quoted(project.name)}" for project in projects[:10])
    return f"{len(projects)}: {names}{', …' if len(projects) > 10 else ''}" if projects else "none yet"


async def _imports(neptun: NeptunClient, settings: Settings) -> str:
    project_id = settings.project_id
    if project_id is None:
        projects = (await neptun.list_projects()).items
        if not projects:
            return "not looked at: there is no project"
        project_id = projects[0].id
    imports = await neptun.list_imports(project_id)
    contract = "as documented" if neptun.contract is Contract.DOCUMENTED else "a request for each kind of import"
    left_out = f", {len(imports.left_out)} more could not be read" if imports.left_out else ""
    return f"{len(imports.items)} in project {project_id}{left_out}; the server speaks: {contract}"
