"""Whether the server's entries in hosts work: each is looked at as its host would, with its program or address."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import httpx2 as httpx
from pydantic import ValidationError

from ..account import create_client, credentials_of
from ..command_line import command_line
from ..neptun.errors import NeptunError, Unavailable
from ..neptun.failures import unusable_setting
from ..settings import Settings, problems, variable_name
from ..tools.words import HOST, TERMINAL, advice, happened, why
from .config_file import ConfigFile
from .entries import Entry, entry_in
from .hosts import HOSTS

_ANSWER_SECONDS = 5.0
_VARIABLE = re.compile(r"\$?\{(?:env:)?(?P<name>\w+)(?::-(?P<default>[^}]*))?\}|\$(?P<short>\w+)")


@dataclass(frozen=True)
class Step:
    """What `doctor` found at one step.

    Attributes:
        name: what was checked.
        found: what was found, in words.
        to_do: what to do about it; empty if there is nothing to do.
        ok: whether a call gets past it.
        milliseconds: how long it took; None if that says nothing.
        shares_log_in: whether it is an entry that uses the log-in which the settings of this command name.
    """

    name: str
    found: str
    to_do: str = ""
    ok: bool = True
    milliseconds: float | None = None
    shares_log_in: bool = False


async def check_entries(settings: Settings) -> AsyncGenerator[Step]:
    """What is found of each entry on this machine.

    Args:
        settings: those of this command; a log-in that is the same is left to its own steps.
    """
    for name, host in HOSTS.items():
        for file in host.places:
            try:
                entry = entry_in(name, ConfigFile.read(file))
            except (OSError, ValueError) as error:
                to_do = f"Correct the file of {host.title}: {why(error)}."
                yield Step(f"host {name}", f"its file cannot be read: {why(error)}", to_do, ok=False)
                continue
            if entry and entry.is_off:
                yield _step(entry, "switched off there")
            elif entry:
                yield await (_check_url(entry) if entry.url else _check_program(entry, settings))


def _step(entry: Entry, found: str, to_do: str = "", *, shares_log_in: bool = False) -> Step:
    return Step(f"host {entry.host}", found, to_do, not to_do, shares_log_in=shares_log_in)


async def _check_program(entry: Entry, settings: Settings) -> Step:
    again = f"Run `{command_line()} install {entry.host}`, or `{command_line()} uninstall {entry.host}`."
    program = _expanded(entry, next(iter(entry.command), ""))
    if not shutil.which(program, path=entry.environment.get("PATH")):
        return _step(entry, "the command in its entry does not exist", again if entry.is_ours else _edit(entry))
    if not entry.is_ours:
        return _step(entry, f"starts {program}")
    if any("${input:" in value for value in entry.environment.values()):  # VS Code
        return _step(entry, "asks you for its settings")
    try:
        own = _settings_of(entry)
    except ValidationError as error:
        return _step(entry, f"its settings are malformed: {'; '.join(problems(error))}", _edit(entry))
    if own.sandbox != "off":
        return _step(entry, "sample data")
    if (own.base_url, credentials_of(own)) == (settings.base_url, credentials_of(settings)):
        return _step(entry, "the log-in of this command", shares_log_in=True)
    try:
        async with create_client(own) as neptun:
            return _step(entry, f"logged in to {own.base_url} as user {(await neptun.user()).id}")
    except NeptunError as error:
        to_do = advice(error, HOST) if isinstance(error, Unavailable) or not own.has_credentials else _edit(entry)
        return _step(entry, happened(error), to_do)


def _edit(entry: Entry) -> str:
    return f"Correct the entry neptun in {entry.file}."


def _settings_of(entry: Entry) -> Settings:
    """The settings that its environment and its options make, and no other.

    Raises:
        ValidationError: one is malformed.
    """
    given = {name: _expanded(entry, value) for name, value in entry.environment.items()}
    options = " ".join(_expanded(entry, word) for word in entry.command[1:])
    if "--sandbox" in options:
        given["NEPTUN_SANDBOX"] = "1"
    if address := re.search(r"--base-url[= ](\S+)", options):
        given["NEPTUN_BASE_URL"] = address[1]
    return Settings.model_validate({name: given.get(variable_name(name), "") for name in Settings.model_fields})


def _expanded(entry: Entry, text: str) -> str:
    """A text of the entry as the host passes it on."""
    expands = HOSTS[entry.host].expands

    def value(found: re.Match[str]) -> str:
        known = os.environ.get(found["name"] or found["short"], found["default"] or found[0])
        return known if re.match(expands, found[0]) else found[0]

    return _VARIABLE.sub(value, text)


async def _check_url(entry: Entry) -> Step:
    """Greet a server as the host does."""
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
        return _step(entry, happened(problem), advice(problem, TERMINAL))
    try:
        async with http:
            answer = await http.post(url, json=message, headers=asked)
            if session := answer.headers.get("Mcp-Session-Id"):
                await http.delete(url, headers={**headers, "Mcp-Session-Id": session})
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return _step(entry, f"{url} does not answer", to_do)
    status = answer.status_code
    if status in (401, 403) and "authorization" in {name.lower() for name in headers}:
        return _step(entry, f"{url} refuses the token in its entry ({status})", _edit(entry))
    if status == 401:
        return _step(entry, f"{url} answers, and asks you to sign in")
    if status >= 400:
        return _step(entry, f"{url} answers {status} to a host's first message", to_do)
    return _step(entry, f"{url} answers")
