"""`neptun-mcp uninstall HOST …`: takes the server out of hosts' configuration files, as `install` put it in.

Files are edited, never restored: whatever was changed since stays. The backup tells what was there before. Nothing
marks an entry as written by `install`: one that starts this server goes, whoever wrote it. The mode of a file stays,
too, even if `install` has closed it to others because of a secret: what it was before is not kept.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from functools import partial
from typing import Any

from ..account import NO_HOME
from ..command_line import command_line
from . import FAILURE, fail, refuse, tell, why
from .config_file import ConfigFile, edit, file_content
from .entries import Entry, entry_in, put_entry
from .hosts import HOSTS, NAME, Host
from .install import hosts_or_exit, report
from .json_text import is_object


def run(options: argparse.Namespace) -> None:
    """Take the server out of the hosts that are named, or of all."""
    named = hosts_or_exit(options.host)
    if bool(named) == options.all:
        refuse(f"Which host? For all of them: {command_line()} uninstall --all", f"The hosts are: {', '.join(HOSTS)}.")
    if not HOSTS["cursor"].places:  # and no other host's either
        fail(f"Nothing was changed: {NO_HOME}.")
    here = failed = False
    for host in named or HOSTS.values():
        done, problems = list[str](), list[str]()
        for file in host.places:
            try:
                done += edit(file, partial(_take_out, host))
            except (OSError, ValueError) as error:
                problems.append(f"{host.title}: {why(error)}. If the entry {NAME} is there, remove it by hand.")
        if named and not done and not problems:
            done.append(f"{host.title}: install has added nothing to it, so there is nothing to do.")
        report(*done)
        tell(*problems)
        here, failed = here or bool(done), failed or bool(problems)
    if not here and not failed:
        report("No host has the server: there is nothing to do.")
    if failed:
        sys.exit(FAILURE)


def _take_out(host: Host, config: ConfigFile) -> list[str]:
    """Take the entry out of a file, and the rest of what `install` did to it; what was done, in words."""
    title, entry = host.title, entry_in(host, config)
    if entry is None:
        return _without_backup(config)
    if not entry.is_ours:
        what = f"connects to {entry.url}" if entry.url else f"starts {' '.join(entry.command) or 'nothing'}"
        raise ValueError(f"the entry {NAME} in {config.path} is not from install: it {what}")
    befores = [*filter(None, [config.read_backup()]), ConfigFile(config.path)]
    exact = next((before for before in befores if _installed(host, before, entry).text == config.text), None)
    if exact and exact.content is None:
        config.delete()
        done = f"deleted {config.path}, which held nothing but the server"
        return [f"{title}: {done}.", *_without_backup(config), f"Restart {title}."]
    if exact:
        config.text = exact.text
    else:  # something else has changed since
        was, made = befores[0].value, _installed(host, befores[0], entry).value
        undone = {key: _undone(was.get(key), made.get(key), config.value.get(key)) for key in made}
        # First what is in the objects that go, so that a comment in them stays.
        config.update({key: {} for key, value in undone.items() if value is None and key in config.value})
        config.update(undone)
    config.save()
    is_back = entry_in(host, befores[0]) is not None
    what = "the entry that install had replaced is back in" if is_back else "took the server out of"
    return [f"{title}: {what} {config.path}.", *_without_backup(config), f"Restart {title}."]


def _installed(host: Host, before: ConfigFile, entry: Entry) -> ConfigFile:
    """What `install` makes of a file. An entry that is new there is all ours, with whatever was added to it."""
    after = ConfigFile(before.path, before.text.encode())
    put_entry(host, after, entry.installed if entry_in(host, before) else entry.value)
    return after


def _undone(was: Any, made: Any, now: Any) -> Any:
    """A value as it was before `install`, with what has been changed since."""
    if now == made:
        return was
    before: Any = {} if was is None else was
    if was == made or not (is_object(before) and is_object(made) and is_object(now)):
        return now
    undone = {key: _undone(before.get(key), made.get(key), now.get(key)) for key in {**now, **before}}
    return {key: value for key, value in undone.items() if value is not None}


def _without_backup(config: ConfigFile) -> list[str]:
    """Delete the backup if it holds what the file does now, or say why not."""
    with suppress(OSError):
        if file_content(config.backup) == config.encoded():
            config.backup.unlink()
    if not config.backup.exists():
        return []
    return [f"{config.backup} stays, because the file has been changed since. Delete it when you like."]
