"""`neptun-mcp install HOST`: writes the entry of this server into a host's configuration file, or prints it."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from ..command_line import command_line
from ..settings import PRIVATE, Settings
from . import FAILURE, MISUSE, SUCCESS, settings_or_exit, tell
from .config_file import ConfigFile, can_edit
from .hosts import HOSTS, NAME, Host, Server

_CONFIRM = "NEPTUN_CONFIRM_DELETE"


def run(options: argparse.Namespace) -> int:
    """Write the entry, unless it is there already. With `--print`, show it."""
    name: str = options.host
    host = HOSTS.get(name)
    if host is None:
        near = difflib.get_close_matches(name, HOSTS, 1)
        tell(
            (f"There is no host {name!r}." if name else "Which host?") + (f" Did you mean {near[0]}?" if near else ""),
            f"The hosts are: {', '.join(HOSTS)}.",
        )
        return MISUSE
    env, secrets = _variables(settings_or_exit(options))
    if host.require:
        env.setdefault(_CONFIRM, "require")
    entry = host.entry(_server({**env, **secrets} if options.with_secrets else env))
    notes = _notes(host, env, {} if options.with_secrets else secrets)
    try:
        file = host.file
        if options.print or file is None or not can_edit(file):
            print(_shown(host, file, entry))
            tell(f"Add this to {file or 'the configuration of your host'}.", *notes)
        else:
            print(*_install(host, file, entry), *notes, sep="\n")
    except (OSError, ValueError) as error:
        tell(f"Nothing was changed: {error}. Fix that, or add the output of --print by hand.")
        return FAILURE
    return SUCCESS


def _variables(settings: Settings) -> tuple[dict[str, str], dict[str, str]]:
    """The environment variables of the settings that are set and count on stdio: the plain and the secret ones."""
    plain, secret = dict[str, str](), dict[str, str]()
    for setting in Settings.model_fields:
        if setting in settings.model_fields_set and not setting.startswith("mcp_"):
            variable, value = f"NEPTUN_{setting.upper()}", getattr(settings, setting)
            # A host may start the server in any folder.
            text = str(value.expanduser().absolute()) if isinstance(value, Path) else os.environ.get(variable, value)
            (secret if setting in PRIVATE else plain)[variable] = str(text).strip()
    return plain, secret


def _server(env: dict[str, str]) -> Server:
    """The program that runs now, by its absolute path: graphical hosts have a short PATH."""
    command = shutil.which("neptun-mcp", path=sysconfig.get_path("scripts"))
    return Server(command, [], env) if command else Server(sys.executable, ["-m", "neptun_mcp"], env)


def _shown(host: Host, file: Path | None, entry: dict[str, Any]) -> str:
    """What a file with nothing but the entry looks like."""
    path = [*host.path, NAME]
    if file and not can_edit(file):  # YAML, in which every JSON value is a value
        above = [f"{'  ' * depth}{key}:" for depth, key in enumerate(path)]
        return "\n".join([*above, *(f"{'  ' * len(path)}{key}: {json.dumps(entry[key])}" for key in entry)])
    config = ConfigFile(file or Path("generic.json"))
    config.set(path, entry)
    if host.prepare:
        host.prepare(config)
    return config.text.rstrip()


def _install(host: Host, file: Path, entry: dict[str, Any]) -> list[str]:
    """Write the entry into the file. What else a person has put into it stays.

    Returns:
        What was done, in words.

    Raises:
        OSError: the file cannot be read or written.
        ValueError: the file is malformed, or has no place for the entry.
    """
    config = ConfigFile.read(file)
    path = [*host.path, NAME]
    old = config.get(*path)
    gone: set[str] = set()
    if old is None:
        config.set(path, entry)
    elif not isinstance(old, dict) or "command" not in old:
        raise ValueError(f"{config.path} has another kind of entry {NAME}, which starts no command")
    else:
        for key, value in entry.items():
            before = cast("dict[str, Any]", old).get(key)
            if before != value:
                config.set([*path, key], value)
            if isinstance(before, dict):
                gone = before.keys() - value.keys()
    if host.prepare:
        host.prepare(config)
    if not config.changed:
        return [f"{host.title}: {file} has this entry already, and was not changed."]
    backup = config.save()
    return [
        f"{host.title}: {'added the server to' if old is None else 'updated the server in'} {file}.",
        *([f"Removed from its entry: {', '.join(sorted(gone))}."] if gone else []),
        *([f"Backup: {backup}. Delete it once everything works."] if backup else []),
        f"Restart {host.title}.",
    ]


def _notes(host: Host, env: dict[str, str], left_out: dict[str, str]) -> Iterator[str]:
    if host.require and env[_CONFIRM] != "require":
        yield f"{_CONFIRM} is {env[_CONFIRM]}, as you set it: {host.title} may delete imports without asking anyone."
    elif host.note:
        yield host.note
    if left_out:
        yield f"Not written, as secret: {', '.join(left_out)}. Run `{command_line()} login`, or use --with-secrets."
    if "cache" in sys.prefix.lower():
        yield (
            f"neptun-mcp runs from a cache that may be cleared ({sys.prefix}). "
            "Install it with `uv tool install` or `pipx install`, then run this again."
        )
