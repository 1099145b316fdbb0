"""`neptun-mcp uninstall HOST …`: takes the server out of hosts' configuration files, as `install` put it in.

Files are edited, never restored: whatever was changed since stays. The backup tells what was there before.
"""

from __future__ import annotations

import argparse
from functools import partial

from ..command_line import command_line
from ..tools.words import why
from . import FAILURE, MISUSE, SUCCESS, permission, tell
from .config_file import ConfigFile, edit
from .entries import Entry, entry_in, put_entry
from .hosts import HOSTS, NAME, Host
from .install import known_hosts, report


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
            by_hand = f"If the entry {NAME} is there, remove it by hand."
            tell(f"{HOSTS[name].title}: nothing was changed: {why(error)}. {by_hand}")
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
    for file in host.places:
        lines += edit(file, partial(_take_out, name))
    return lines


def _take_out(name: str, config: ConfigFile) -> list[str]:
    host, entry = HOSTS[name], entry_in(name, config)
    if entry is None:
        return _without_backup(config)
    if not entry.is_ours:
        what = f"connects to {entry.url}" if entry.url else f"starts {' '.join(entry.command) or 'nothing'}"
        raise ValueError(f"the entry {NAME} in {config.path} is not from install: it {what}")
    path, backup, nothing = [*host.path, NAME], config.read_backup(), ConfigFile(config.path)
    earlier = entry_in(name, backup) if backup else None
    if backup and earlier and earlier.is_as_installed:  # an earlier version kept its own entry
        backup.remove(path)
        earlier = None
    before = next((one for one in (backup, nothing) if one and _installed(host, one, entry) == config.text), None)
    if before is nothing:
        config.delete()
        done = f"deleted {config.path}, which held nothing but the server"
        return [f"{host.title}: {done}.", *_without_backup(config), f"Restart {host.title}."]
    if before:
        config.text = before.text
    else:  # something else has changed since, too
        if earlier:
            _put_back(config, host, entry, earlier)
        else:
            config.remove(path, backup)
        if host.has_permissions:
            permission.undo(config, backup)
    config.save()
    done = "the entry that install had replaced is back in" if earlier else "took the server out of"
    return [f"{host.title}: {done} {config.path}.", *_without_backup(config), f"Restart {host.title}."]


def _installed(host: Host, before: ConfigFile, entry: Entry) -> str | None:
    """What `install` makes of a file; None if it would make another entry."""
    if not entry.is_as_installed:
        return None
    made = ConfigFile(before.path, before.text.encode())
    put_entry(host, made, entry.installed)
    return made.text


def _without_backup(config: ConfigFile) -> list[str]:
    """Delete the backup, or say why not."""
    if config.delete_backup_if_equal():
        return []
    return [f"{config.backup} stays, because the file has been changed since. Delete it when you like."]


def _put_back(config: ConfigFile, host: Host, entry: Entry, earlier: Entry) -> None:
    """Make an entry what it was, but for what the person has changed since."""
    for key in (*host.form, *host.dropped):
        was, now = earlier.value.get(key), entry.value.get(key)
        if isinstance(now, dict):  # the environment, of which ours alone is put back
            others = {name: value for name, value in entry.environment.items() if not name.startswith("NEPTUN_")}
            ours = {name: value for name, value in earlier.environment.items() if name.startswith("NEPTUN_")}
            was = {**others, **ours} or was
        if was is None:
            config.remove([*host.path, NAME, key])
        elif was != now:
            config.set([*host.path, NAME, key], was)
