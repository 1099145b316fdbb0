"""`neptun-mcp doctor`: checks each step of a call, and ends with the one thing to fix."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import AsyncGenerator, Collection
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import anyio
from pydantic import ValidationError
from rich.text import Text

from ..account import create_client
from ..command_line import command_line
from ..neptun.client import NeptunClient
from ..neptun.errors import CredentialsMissing, NeptunError, ProjectNotFound, WrongUser, quoted
from ..neptun.secret_files import shown_path
from ..settings import PRIVATE, Settings, is_unset, problems, variable, variable_name
from ..tools.words import TERMINAL, advice, happened, listed
from . import FAILURE, as_typed, end_at_once, read_settings, say, show
from .console import as_text
from .host_checks import Step, check_entries


def run(options: argparse.Namespace) -> None:
    """Check every step; print each as it is done, and at the end the one thing to fix."""
    end_at_once()
    steps: list[Step] = []

    def add(step: Step) -> None:
        steps.append(step)
        if not options.json:
            took = f" ({step.milliseconds:g} ms)" if step.milliseconds else ""
            verdict = as_text("ok  ", "green") if step.ok else as_text("FAIL", "red")
            say(Text.assemble(verdict, " ", as_text(f"{step.name}: {step.found}{took}")))

    async def check() -> None:
        hosts = [step async for step in check_entries(settings)]
        for step in hosts or [Step("hosts", f"none has the server; `{command_line()} install` adds it")]:
            add(step)
        async for step in check_steps(settings, needs_log_in=not hosts or any(step.shares_log_in for step in hosts)):
            add(step)

    try:
        settings = read_settings(options)
    except ValidationError as error:
        add(check_environment({str(name) for detail in error.errors() for name in detail["loc"][:1]}))
        add(Step("settings", "; ".join(problems(error)) + ".", "Correct the settings that are named.", ok=False))
    else:
        add(check_environment())
        add(Step("settings", "well-formed"))
        anyio.run(check)
    to_do = as_typed(options, next((step.to_do for step in steps if not step.ok), ""))
    if options.json:
        show(json.dumps({"ok": not to_do, "to_do": to_do, "steps": [asdict(step) for step in steps]}, indent=2))
    else:
        say(f"\nTo do: {to_do}" if to_do else "\nAll is well.")
    if to_do:
        sys.exit(FAILURE)


def check_environment(malformed: Collection[str] = ()) -> Step:
    """The versions, and the `NEPTUN_*` variables, fit for a bug report: a malformed value may be a misplaced secret."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("neptun-mcp", "mcp", "httpx2", "pydantic"))
    settings = sorted(name.removeprefix("NEPTUN_").lower() for name in os.environ if name.startswith("NEPTUN_"))
    shown = [f"{variable_name(setting)}={_shown(setting, setting in malformed)}" for setting in settings]
    return Step(
        "environment",
        f"{versions}, Python {platform.python_version()} on {sys.platform}; {', '.join(shown) or 'no NEPTUN_* is set'}",
    )


def _shown(setting: str, malformed: bool) -> str:
    value = variable(setting)
    if setting not in Settings.model_fields:
        return f"({len(value)} characters; there is no such setting)"
    if is_unset(value):
        return "(counts as not set)"
    if setting.endswith("_file") and not shown_path(Path(value)):
        return f"({len(value)} characters; there is no such file)"
    return f"({len(value)} characters)" if malformed or setting in PRIVATE else quoted(value)


async def check_steps(settings: Settings, *, needs_log_in: bool = True) -> AsyncGenerator[Step]:
    """The steps of a call, one after the other; the first that fails is the last.

    Args:
        settings: whose account is used, and how.
        needs_log_in: whether a server in a host uses the log-in of these settings.
    """
    name, started = "address", anyio.current_time()

    def step(found: str, to_do: str = "") -> Step:
        return Step(name, found, to_do, not to_do, round((anyio.current_time() - started) * 1000, 1))

    try:
        async with create_client(settings) as neptun:
            await neptun.check_reachable()
            tls = "TLS is good" if neptun.address.startswith("https:") else "without TLS, on this machine"
            yield step(f"{neptun.address} answers; {tls}")
            if settings.mcp_credentials != "environment":
                name = "HTTP"
                yield step(_http(settings))
                return
            name, started = "session", anyio.current_time()
            user = (await neptun.user()).id
            if settings.user_id and settings.user_id != user and settings.sandbox == "off":
                raise WrongUser(settings.user_id, user)
            yield step(f"good; it belongs to user {user}")
            name, started = "projects", anyio.current_time()
            projects = (await neptun.list_projects()).items
            yield step(listed((f"{project.id} {quoted(project.name)}" for project in projects), 10) or "none yet")
            name, started = "imports", anyio.current_time()
            project_id = settings.project_id or next((project.id for project in projects), None)
            yield step(await _imports(neptun, project_id) if project_id else "not looked at: there is no project")
    except NeptunError as error:
        if type(error) is CredentialsMissing and not needs_log_in and not settings.has_credentials:
            yield Step(name, "none here; the server in the hosts does not use it")
        else:
            setting = "Correct NEPTUN_PROJECT_ID, or remove it. " if isinstance(error, ProjectNotFound) else ""
            yield step(happened(error), setting + advice(error, TERMINAL))
    except ValueError as error:
        yield step(str(error), "Correct the settings that are named.")


def _http(settings: Settings) -> str:
    """Whose sessions are used over HTTP.

    Raises:
        ValueError: a setting is missing that this way to serve needs.
    """
    from ..serving.checks import check_settings

    check_settings(settings, "127.0.0.1")
    mode = settings.mcp_credentials
    whose = "each caller brings a session of their own" if mode == "caller" else "each person signs in with a browser"
    return f"the settings are complete; {whose} (NEPTUN_MCP_CREDENTIALS={mode})"


async def _imports(neptun: NeptunClient, project_id: int) -> str:
    imports = await neptun.list_imports(project_id)
    how = "each kind by itself" if neptun.learned.imports_by_kind else "as documented"
    left_out = f", {len(imports.left_out)} more could not be read" if imports.left_out else ""
    return f"{len(imports.items)} in project {project_id}{left_out}; Neptun lists them {how}"
