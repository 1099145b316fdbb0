"""`neptun-mcp install [HOST …]`: writes the entry of this server into hosts' configuration files, or prints it."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from ..account import session_store
from ..command_line import command_line
from ..neptun.errors import CredentialsMissing, LoginRefused, NeptunError, SessionRefused
from ..neptun.models import DEFAULT_BASE_URL
from ..settings import PRIVATE, Settings, variable_name
from ..settings import variable as variable_of
from ..tools.words import happened, login_command
from . import FAILURE, nearest, refuse, say, settings_or_exit, show, tell, why
from .config_file import ConfigFile, edit
from .entries import Entry, entry_in, permission, put_entry
from .hosts import HOSTS, NAME, Host
from .whoami import account, kept_elsewhere

_BASE_URL, _CONFIRM, _READ_ONLY = "NEPTUN_BASE_URL", "NEPTUN_CONFIRM_DELETE", "NEPTUN_READ_ONLY"
_SECRETS = set(map(variable_name, PRIVATE))
_SECONDS_TO_ASK = 5.0


def run(options: argparse.Namespace) -> None:
    """Write the entries, unless they are there already. With `--print`, show them."""
    hosts = hosts_or_exit(options.host) or _chosen(ask=not options.print and sys.stdin.isatty())
    settings = settings_or_exit(options)
    env = _variables(settings, options)
    left_out = [] if options.with_secrets else [name for name in env if name in _SECRETS]
    env = {name: value for name, value in env.items() if name not in left_out}
    failed, written = False, list[str]()
    for host in hosts:
        try:
            entry = _entry(host, env)
            if options.print or host.by_hand or not host.files:
                _print(host, entry)
            else:
                report(*edit(host.file, partial(_install, host, entry)))
                written.append(host.name)
        except (OSError, ValueError) as error:
            by_hand = f"`{command_line()} install {host.name} --print` shows what to write by hand"
            tell(f"{host.title}: nothing was changed: {why(error)}. Correct that, or edit the file: {by_hand}.")
            failed = True
    if left_out:
        tell(f"Secrets were left out: {', '.join(left_out)}. Run `{command_line()} login`, or use --with-secrets.")
    if not options.print and (written or not failed):
        (report if written else tell)(*_next_steps(settings, env, written))
    if failed:
        sys.exit(FAILURE)


def hosts_or_exit(words: Iterable[str]) -> list[Host]:
    """The hosts that were named, each once; an unknown one ends the program, with a line about it."""
    names = list(dict.fromkeys(words))
    for name in names:
        if name not in HOSTS:
            hint = f"There is no host {name!r}. {nearest(name, HOSTS)}".rstrip()
            refuse(hint, f"The hosts are: {', '.join(HOSTS)}.")
    return [HOSTS[name] for name in names]


def report(*lines: str) -> None:
    """Say what was done, whatever becomes of the output."""
    say(*lines, done="\n".join(lines))


def _chosen(*, ask: bool) -> list[Host]:
    """The hosts that the person chooses among those on this machine; none ends the program."""
    here, chosen = [host for host in HOSTS.values() if host.is_here], list[Host]()
    if here and ask:
        width = max(len(host.name) for host in here)
        rows = (f"{number:3}  {host.name:{width}}  {host.title}" for number, host in enumerate(here, 1))
        tell("Found on this machine:", *rows)
        print('Add the server to which? Numbers, "all", or Enter for none: ', end="", file=sys.stderr, flush=True)
        words = sys.stdin.readline().replace(",", " ").split()
        numbers = {str(number): host.name for number, host in enumerate(here, 1)}
        chosen = here if words == ["all"] else hosts_or_exit(numbers.get(word, word) for word in words)
    if not chosen:
        names = [host.name for host in here]
        refuse(
            f"Which host? On this machine: {', '.join(names) or 'none found'}.",
            f"All hosts: {', '.join(HOSTS)}.",
            f"For example: {command_line()} install {names[0] if names else 'claude-code'}",
        )
    return chosen


def _entry(host: Host, env: dict[str, str]) -> dict[str, Any]:
    """The entry with which a host starts the program that runs now, by its absolute path: some have a short PATH."""
    variables = {_CONFIRM: "require", **env} if host.require else env
    script = shutil.which("neptun-mcp", path=sysconfig.get_path("scripts"))
    command, args = (script, list[str]()) if script else (sys.executable, ["-m", "neptun_mcp"])
    for name, text in {"command": command, **variables}.items():
        if found := re.search(host.expands, text):
            # No more of it than its first character: it may be a password.
            raise ValueError(
                f"{name} holds a {found[0][0]!r} that {host.title} takes for the beginning of a variable's name, "
                "and there is no way to write it"
            )
    return host.entry(command, args, variables)


def _print(host: Host, entry: dict[str, Any]) -> None:
    """Show the entry, in a form that can be added to the host's file."""
    where = f"Add this to {host.file or 'the configuration of your host'}."
    config = ConfigFile(Path("" if host.by_hand else "".join(host.files[:1])))
    about, text = _about(put_entry(host, config, entry), config), config.text.rstrip()
    if host.by_hand:
        text = yaml.safe_dump({host.servers: {NAME: entry}}, sort_keys=False).rstrip()
        where += f' If that has a line "{host.servers}:" already, add what follows that line here below it.'
    show(text)
    tell(where, *about)


def _variables(settings: Settings, options: argparse.Namespace) -> dict[str, str]:
    """The environment variables of the settings that are set and count on stdio, secrets included.

    The address of the only session that `login` keeps is one of them if nothing else says which account is meant.
    """
    found = dict[str, str]()
    for setting in Settings.model_fields:
        if setting in settings.model_fields_set and not setting.startswith("mcp_"):
            value = getattr(settings, setting)
            text = value if setting in options else variable_of(setting) or value
            if isinstance(value, Path):  # a host may start the server in any folder
                text = value.absolute()
            found[variable_name(setting)] = str(text)
    if not {"base_url", "sandbox"} & settings.model_fields_set and not settings.has_credentials:
        kept = session_store().addresses()
        if len(kept) == 1 and kept != [DEFAULT_BASE_URL]:
            found[_BASE_URL] = kept[0]
    return found


def _about(entry: Entry, config: ConfigFile) -> Iterator[str]:
    """What the person has to know of a host with this entry in its file."""
    host, confirm = entry.host, entry.environment.get(_CONFIRM)
    if host.note:
        yield host.note.format(title=host.title)
    if TypeAdapter(bool).validate_strings(entry.environment.get(_READ_ONLY, "0")):
        yield f"There is no tool that deletes ({_READ_ONLY})."
    elif confirm == "require":
        yield f"delete_import refuses unless the server's question is shown to you ({_CONFIRM}=require)."
    elif confirm == "off" or host.require:
        yield f"{_CONFIRM} is {confirm}, as you set it: the server may delete imports without asking you."
    elif host.has_permissions:
        does = {"ask": "asks before a deletion", "deny": "refuses every deletion"}
        what = does.get(permission(config), "deletes without asking anyone")
        yield f'{host.title} {what}, because "permission" in this file says so.'
    else:
        yield host.asks.format(title=host.title)


def _install(host: Host, entry: dict[str, Any], config: ConfigFile) -> list[str]:
    """Write the entry into a file, in which everything else stays; what was done, in words."""
    title, file, old = host.title, config.path, entry_in(host, config)
    if old and "command" not in old.value:
        raise ValueError(f"{file} has another kind of entry {NAME}, which install does not replace")
    new = put_entry(host, config, entry)
    gone = sorted(old.environment.keys() - new.environment.keys()) if old else []
    private = os.name != "nt" and any(one.environment.get(name) for one in (old, new) if one for name in _SECRETS)
    done = f"{title}: {file} has this entry already, and was not changed."
    if config.changed:
        # Once the entry is ours, the file is no longer what the person had: the first backup stays.
        ours = old is not None and (old.is_ours if config.backup.exists() else old.is_as_installed)
        config.save(keep=not ours, private=private)
        done = f"{title}: {'updated the server in' if old else 'added the server to'} {file}."
    if private:
        config.make_private()
    kept = config.changed and config.content is not None and config.backup.exists()
    return [
        done,
        *([f"Removed from its entry: {', '.join(gone)}."] if gone else []),
        *([f"As a secret is in it, only you can read {file} and its backup."] if private else []),
        *([f"The file as it was: {config.backup}."] if kept else []),
        *_about(new, config),
        *([f"Restart {title}."] if config.changed else []),
    ]


def _next_steps(settings: Settings, env: dict[str, str], names: list[str]) -> Iterator[str]:
    """What the person needs to know after it, whatever the host."""
    if "cache" in sys.prefix.lower():
        yield (
            f"neptun-mcp runs from a cache that may be cleared ({sys.prefix}). "
            "Install it with `uv tool install` or `pipx install`, then run this again."
        )
    yield _account(settings, env)
    yield 'Then ask: "Which of my Neptun imports failed?"'
    if names:
        yield f"To undo this: {command_line()} uninstall {' '.join(names)}"


def _account(settings: Settings, env: dict[str, str]) -> str:
    """Whose account the server in the host will use, or how to log in."""
    if settings.sandbox != "off":
        return "The server uses sample data, because NEPTUN_SANDBOX is set in its entry: no log-in is needed."
    without = {setting: None for setting in PRIVATE if variable_name(setting) not in env}
    changed = {**without, "base_url": env.get(_BASE_URL, settings.base_url), "timeout": _SECONDS_TO_ASK}
    used = settings.model_copy(update=changed)
    try:
        return f"You are logged in to {used.base_url} as {account(used)}."
    except (CredentialsMissing, SessionRefused, LoginRefused):
        kept = "" if used.has_credentials else kept_elsewhere(used.base_url)
        return f"Next, log in: {login_command(used.base_url)}. {kept}".rstrip()
    except NeptunError as error:
        return f"Whether you are logged in could not be checked. {happened(error)}"
