"""`neptun-mcp uninstall HOST …`: takes the server out of hosts' configuration files, as `install` put it in.

Files are edited, never restored: whatever was changed since stays. The backup tells what was there before.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..command_line import command_line
from . import FAILURE, MISUSE, SUCCESS, tell
from .config_file import ConfigFile, FileChanged, can_edit
from .entries import Entry, entry_in, read_entry
from .hosts import HOSTS, NAME, Host, Server
from .install import known_hosts, report

_TRIES = 5


def run(options: argparse.Namespace) -> int:
    """Take the server out of the hosts that are named, or of all."""
    names = known_hosts(options.host)
    if names is None:
        return MISUSE
    if bool(names) == options.all:
        tell(f"Which host? For all of them: {command_line()} uninstall --all", f"The hosts are: {', '.join(HOSTS)}.")
        return MISUSE
    good, here = True, False
    for name in names or [name for name, host in HOSTS.items() if host.files]:
        try:
            lines = _uninstall(name)
        except (OSError, ValueError) as error:
            tell(f"{HOSTS[name].title}: nothing was changed: {error}. Remove the entry {NAME} by hand.")
            good = False
            continue
        here = here or bool(lines)
        if lines:
            report(*lines)
        elif names:
            report(f"{HOSTS[name].title} does not have the server: there is nothing to do.")
    if options.all and good and not here:
        report("No host has the server: there is nothing to do.")
    return SUCCESS if good else FAILURE


def _uninstall(name: str) -> list[str]:
    """Take the server out of every file of a host.

    Returns:
        What was done, in words; empty if there was nothing to do.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: a file is malformed, or its entry is not ours.
    """
    host = HOSTS[name]
    if not host.files:
        raise ValueError("install writes no file for it")
    lines: list[str] = []
    for file in [place for place in host.places if place.exists()]:
        if not can_edit(file):
            if read_entry(name, file):
                raise ValueError(f"{file} is YAML, which is left to you")
            continue
        for left in reversed(range(_TRIES)):
            try:
                lines += _take_out(name, file)
                break
            except FileChanged:
                if not left:
                    raise
    return lines


def _take_out(name: str, file: Path) -> list[str]:
    host, config = HOSTS[name], ConfigFile.read(file)
    entry = entry_in(name, config)
    if entry is None:
        return []
    if not entry.is_ours:
        what = f"connects to {entry.url}" if entry.url else f"starts {' '.join(entry.command) or 'nothing'}"
        raise ValueError(f"the entry {NAME} in {file} is not from install: it {what}")
    before = config.read_backup()
    if before is None and _as_made_by_install(host, config, entry):
        config.delete()
        return [f"{host.title}: deleted {file}, which held nothing but the server.", f"Restart {host.title}."]
    earlier = entry_in(name, before) if before else None
    returns = earlier is not None and not earlier.is_as_installed and earlier.value != entry.value
    if returns and before and earlier:
        _put_back(config, before, host, entry, earlier)
    else:
        config.remove([*host.path, NAME], before)
    if host.permission:
        host.permission.undo(config, before)
    config.save()
    lines = [f"{host.title}: took the server out of {file}."]
    if returns:
        lines = [f"{host.title}: the entry that install had replaced is back in {file}."]
    if before and not config.delete_backup_if_equal():
        lines.append(f"{config.backup} stays, because the file has been changed since. Delete it when you like.")
    return [*lines, f"Restart {host.title}."]


def _as_made_by_install(host: Host, config: ConfigFile, entry: Entry) -> bool:
    """Whether the file holds what `install` would write where there is none, and nothing else."""
    if not entry.is_as_installed:
        return False
    made = ConfigFile(config.path)
    made.set([*host.path, NAME], entry.value)
    if host.permission:
        host.permission.ask(made)
    return made.text == config.text


def _put_back(config: ConfigFile, before: ConfigFile, host: Host, entry: Entry, earlier: Entry) -> None:
    """Make an entry what it was, but for what the person has changed since."""
    path = [*host.path, NAME]
    keys: list[list[str]] = []
    for key, value in {**host.entry(Server("", [], {})), **host.dropped}.items():
        if isinstance(value, dict):  # of the environment, ours
            names = {*entry.variables(key), *earlier.variables(key)}
            keys += [[key, name] for name in sorted(names) if name.startswith("NEPTUN_")]
        else:
            keys.append([key])
    for key in keys:
        was = before.get(*path, *key)
        if was is None:
            config.remove([*path, *key], before)
        elif was != config.get(*path, *key):
            config.set([*path, *key], was)
    for key, value in entry.value.items():
        if isinstance(value, dict) and key not in earlier.value and not config.get(*path, key):
            config.remove([*path, key], before)
    if config.get(*path) == earlier.value:
        config.copy(path, before)
