"""`neptun-mcp doctor`: checks the entries in hosts and each step of a call, and ends with the one thing to fix.

It looks at an entry as the host would, down to its program or address.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import AsyncGenerator, Collection
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import anyio
import httpx2 as httpx
from pydantic import ValidationError
from rich.text import Text

from ..account import create_client, credentials_of
from ..command_line import command_line
from ..neptun.client import NeptunClient
from ..neptun.errors import NeptunError, ProjectNotFound, Unavailable, WrongUser, quoted
from ..neptun.failures import unusable_setting
from ..neptun.secret_files import shown_path
from ..serving.checks import check_settings
from ..settings import PRIVATE, Settings, is_unset, problems, variable, variable_name
from ..tools.words import HOST, TERMINAL, advice, happened, listed
from . import FAILURE, as_typed, end_at_once, read_settings, say, show, why
from .config_file import ConfigFile
from .console import as_text
from .entries import Entry, entry_in
from .hosts import HOSTS, Host
from .json_text import is_object

_ANSWER_SECONDS = 5.0
_SAME_LOG_IN = "the log-in of this command"
_WHOSE = {"caller": "each caller brings a session of their own", "sign-in": "each person signs in with a browser"}
_VARIABLE = re.compile(r"\$?\{(?:env:)?(?P<name>\w+)(?::-(?P<default>[^}]*))?\}|\$(?P<short>\w+)")


@dataclass(frozen=True)
class Step:
    """What was found at one step, and what to do about it; `to_do` is empty if a call gets past it."""

    name: str
    found: str
    to_do: str = ""
    milliseconds: float | None = None


def run(options: argparse.Namespace) -> None:
    """Check every step; print each as it is done, and at the end the one thing to fix."""
    end_at_once()
    steps: list[Step] = []

    def add(step: Step) -> None:
        steps.append(step)
        if not options.json:
            took = f" ({step.milliseconds:g} ms)" if step.milliseconds else ""
            verdict = as_text("FAIL", "red") if step.to_do else as_text("ok  ", "green")
            say(Text.assemble(verdict, " ", as_text(f"{step.name}: {step.found}{took}")))

    async def check() -> None:
        hosts = [step async for step in check_entries(settings)]
        for step in hosts or [Step("hosts", f"none has the server; `{command_line()} install` adds it")]:
            add(step)
        needs_log_in = not hosts or _SAME_LOG_IN in [step.found for step in hosts]
        async for step in check_steps(settings, needs_log_in):
            add(step)

    try:
        settings = read_settings(options)
    except ValidationError as error:
        add(check_environment({str(name) for detail in error.errors() for name in detail["loc"][:1]}))
        add(Step("settings", "; ".join(problems(error)) + ".", "Correct the settings that are named."))
    else:
        add(check_environment())
        add(Step("settings", "well-formed"))
        anyio.run(check)
    to_do = as_typed(options, next((step.to_do for step in steps if step.to_do), ""))
    if options.json:
        found = [{**asdict(step), "ok": not step.to_do} for step in steps]
        show(json.dumps({"ok": not to_do, "to_do": to_do, "steps": found}, indent=2))
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
    value, why_not = variable(setting), ""
    if setting not in Settings.model_fields:
        why_not = "; there is no such setting"
    elif is_unset(value):
        return "(counts as not set)"
    elif setting.endswith("_file") and not shown_path(Path(value)):
        why_not = "; there is no such file"
    return f"({len(value)} characters{why_not})" if why_not or malformed or setting in PRIVATE else quoted(value)


async def check_entries(settings: Settings) -> AsyncGenerator[Step]:
    """What is found of each entry on this machine. The log-in of `settings` is left to `check_steps`."""
    for host in HOSTS.values():
        for file in [*host.places, *([Path(".mcp.json")] if host.name == "claude-code" else [])]:
            try:
                entries = _entries(host, ConfigFile.read(file))
            except (OSError, ValueError) as error:
                to_do = f"Correct the file of {host.title}: {why(error)}."
                yield Step(f"host {host.name}", f"its file cannot be read: {why(error)}", to_do)
                continue
            for entry in entries:
                where = f" in {entry.project}" if entry.project else ""
                if entry.value.get("disabled") is True or entry.value.get("enabled") is False:
                    found, to_do = "switched off there", ""
                else:
                    found, to_do = await (_check_url(entry) if entry.url else _check_program(entry, settings))
                yield Step(f"host {host.name}{where}", found, to_do)


def _entries(host: Host, config: ConfigFile) -> list[Entry]:
    """The entries in a file of a host: `claude mcp add` without a scope makes one for a project alone."""
    projects = config.value.get("projects") if host.name == "claude-code" else None
    found = (entry_in(host, config, project) for project in ("", *(projects if is_object(projects) else ())))
    return [entry for entry in found if entry]


async def _check_program(entry: Entry, settings: Settings) -> tuple[str, str]:
    """What is found of an entry that starts a program, and what to do about it."""
    program = _expanded(entry, next(iter(entry.command), ""))
    if not shutil.which(program, path=entry.environment.get("PATH")):
        again = f"Run `{command_line()} install {entry.host.name}`, or `{command_line()} uninstall {entry.host.name}`."
        is_installed = entry.is_ours and not entry.project and entry.file.name != ".mcp.json"
        return "the command in its entry does not exist", again if is_installed else _edit(entry)
    if not entry.is_ours:
        return f"starts {program}", ""
    if any("${input:" in value for value in entry.environment.values()):  # VS Code
        return "asks you for its settings", ""
    try:
        own = _settings_of(entry)
    except ValidationError as error:
        return f"its settings are malformed: {'; '.join(problems(error))}", _edit(entry)
    if own.sandbox != "off":
        return "sample data", ""
    if (own.base_url, credentials_of(own)) == (settings.base_url, credentials_of(settings)):
        return _SAME_LOG_IN, ""
    try:
        async with create_client(own) as neptun:
            return f"logged in to {own.base_url} as user {(await neptun.user()).id}", ""
    except NeptunError as error:
        to_do = advice(error, HOST) if isinstance(error, Unavailable) or not own.has_credentials else _edit(entry)
        return happened(error), to_do


def _edit(entry: Entry) -> str:
    return f"Correct the entry neptun in {entry.file}."


def _settings_of(entry: Entry) -> Settings:
    """The settings that its environment and its options make, and no other."""
    given = {name: _expanded(entry, value) for name, value in entry.environment.items()}
    options = " ".join(_expanded(entry, word) for word in entry.command[1:])
    if "--sandbox" in options:
        given["NEPTUN_SANDBOX"] = "1"
    if address := re.search(r"--base-url[= ](\S+)", options):
        given["NEPTUN_BASE_URL"] = address[1]
    return Settings.model_validate({name: given.get(variable_name(name), "") for name in Settings.model_fields})


def _expanded(entry: Entry, text: str) -> str:
    """A text of the entry as the host passes it on."""
    expands = entry.host.expands

    def value(found: re.Match[str]) -> str:
        known = os.environ.get(found["name"] or found["short"], found["default"] or found[0])
        return known if re.match(expands, found[0]) else found[0]

    return _VARIABLE.sub(value, text)


async def _check_url(entry: Entry) -> tuple[str, str]:
    """Greet the server at an address as the host does: what is found, and what to do about it."""
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "doctor", "version": "1"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
    url = _expanded(entry, entry.url)
    headers = {name: _expanded(entry, value) for name, value in entry.headers.items()}
    asked = {**headers, "Accept": "application/json, text/event-stream"}
    to_do = f"Start the server there, or correct the entry neptun in {entry.file}."
    try:
        http = httpx.AsyncClient(timeout=_ANSWER_SECONDS)
    except (OSError, ValueError, ImportError, httpx.InvalidURL):
        problem = unusable_setting(url)
        return happened(problem), advice(problem, TERMINAL)
    try:
        async with http:
            answer = await http.post(url, json=message, headers=asked)
            if session := answer.headers.get("Mcp-Session-Id"):
                await http.delete(url, headers={**headers, "Mcp-Session-Id": session})
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return f"{url} does not answer", to_do
    status = answer.status_code
    if status in (401, 403) and "authorization" in {name.lower() for name in headers}:
        return f"{url} refuses the token in its entry ({status})", _edit(entry)
    if status == 401:
        return f"{url} answers, and asks you to sign in", ""
    if status >= 400:
        return f"{url} answers {status} to a host's first message", to_do
    return f"{url} answers", ""


async def check_steps(settings: Settings, needs_log_in: bool) -> AsyncGenerator[Step]:
    """The steps of a call, one after the other; the first that fails is the last.

    Args:
        needs_log_in: whether a server in a host uses the log-in of these settings.
    """
    name, started = "address", anyio.current_time()

    def step(found: str, to_do: str = "") -> Step:
        return Step(name, found, to_do, round((anyio.current_time() - started) * 1000, 1))

    try:
        async with create_client(settings) as neptun:
            await neptun.check_reachable()
            tls = "TLS is good" if neptun.address.startswith("https:") else "without TLS, on this machine"
            yield step(f"{neptun.address} answers; {tls}")
            if settings.mcp_credentials != "environment":
                name = "HTTP"
                check_settings(settings, "127.0.0.1")
                mode = settings.mcp_credentials
                yield step(f"the settings are complete; {_WHOSE[mode]} (NEPTUN_MCP_CREDENTIALS={mode})")
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
        if not needs_log_in and not settings.has_credentials and settings.mcp_credentials == "environment":
            yield step(f"{happened(error)} No host uses these settings.")
        else:
            setting = "Correct NEPTUN_PROJECT_ID, or remove it. " if isinstance(error, ProjectNotFound) else ""
            yield step(happened(error), setting + advice(error, TERMINAL))
    except ValueError as error:
        yield step(str(error), "Correct the settings that are named.")


async def _imports(neptun: NeptunClient, project_id: int) -> str:
    imports = await neptun.list_imports(project_id)
    how = "each kind by itself" if neptun.learned.imports_by_kind else "as documented"
    left_out = f", {len(imports.left_out)} more could not be read" if imports.left_out else ""
    return f"{len(imports.items)} in project {project_id}{left_out}; Neptun lists them {how}"
