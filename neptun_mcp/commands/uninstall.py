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
        title, (done, problems) = HOSTS[name].title, _uninstall(name)
        if done:
            report(*done)
        for problem in problems:
            what = "not everything" if done else "nothing"
            tell(f"{title}: {what} was changed: {problem}. If the entry {NAME} is there, remove it by hand.")
        if names and not done and not problems:
            report(f"{title} does not have the server: there is nothing to do.")
        good, here = good and not problems, here or bool(done)
    if options.all and good and not here:
        report("No host has the server: there is nothing to do.")
    return SUCCESS if good else FAILURE


def _uninstall(name: str) -> tuple[list[str], list[str]]:
    """Take the server out of every file of a host: what was done, and why the rest could not be, in words."""
    done, problems = list[str](), list[str]()
    if not HOSTS[name].files:
        return done, ["install writes no file for it"]
    try:
        files = HOSTS[name].places
    except OSError as error:
        return done, [why(error)]
    for file in files:
        try:
            done += edit(file, partial(_take_out, name))
        except (OSError, ValueError) as error:
            problems.append(why(error))
    return done, problems


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
