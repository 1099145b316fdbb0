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
from typing import Any, cast

import anyio

from ..account import create_client, session_store
from ..command_line import command_line
from ..neptun.errors import CredentialsMissing, LoginRefused, NeptunError, SessionRefused
from ..neptun.models import DEFAULT_BASE_URL
from ..neptun.session import User
from ..settings import PRIVATE, Settings
from ..settings import variable as variable_of
from ..tools.words import happened, login_command, why
from . import FAILURE, MISUSE, SUCCESS, kept_elsewhere, nearest, permission, settings_or_exit, show, shown_user, tell
from .config_file import ConfigFile, edit
from .console import write
from .entries import entry_in, put_entry
from .hosts import HOSTS, NAME, Host, Server

_CONFIRM, _BASE_URL = "NEPTUN_CONFIRM_DELETE", "NEPTUN_BASE_URL"
_SECONDS_TO_ASK = 5.0
QUESTION = "Which of my Neptun imports failed?"


def run(options: argparse.Namespace) -> int:
    """Write the entries, unless they are there already. With `--print`, show them."""
    names = known_hosts(options.host)
    here = _found() if names == [] else []
    if here and sys.stdin.isatty() and not options.print:
        names = _chosen(here)
    if names is None:
        return MISUSE
    if not names:
        tell(
            f"Which host? On this machine: {', '.join(here) or 'none found'}.",
            f"All hosts: {', '.join(HOSTS)}.",
            f"For example: {command_line()} install {here[0] if here else 'claude-code'}",
        )
        return MISUSE
    settings = settings_or_exit(options)
    plain, secrets = _variables(settings, options)
    env = {**plain, **secrets} if options.with_secrets else plain
    failed, written = False, list[str]()
    for name in names:
        try:
            if _add(name, env, only_print=options.print):
                written.append(name)
        except (OSError, ValueError) as error:
            by_hand = f"add what `{command_line()} install {name} --print` shows by hand"
            tell(f"{HOSTS[name].title}: nothing was changed: {why(error)}. Fix that, or {by_hand}.")
            failed = True
    if secrets and not options.with_secrets:
        tell(f"Secrets were left out: {', '.join(secrets)}. Run `{command_line()} login`, or use --with-secrets.")
    if not options.print and (written or not failed):
        (report if written else tell)(*_next_steps(settings, env, written))
    return FAILURE if failed else SUCCESS


def _found() -> list[str]:
    """The hosts on this machine."""
    try:
        return [name for name, host in HOSTS.items() if host.is_here]
    except OSError:  # there is no home
        return []


def _file(host: Host) -> Path | None:
    """Where what is printed would go; None if there is no home."""
    try:
        return host.file
    except OSError:
        return None


def known_hosts(words: Iterable[str]) -> list[str] | None:
    """The hosts that were named, each once; None, after a line about it, if one of them is unknown."""
    names = list(dict.fromkeys(words))
    for name in names:
        if name not in HOSTS:
            tell(f"There is no host {name!r}. {nearest(name, HOSTS)}".rstrip(), f"The hosts are: {', '.join(HOSTS)}.")
            return None
    return names


def report(*lines: str) -> None:
    """Say what was done. Where stdout takes nothing, stderr does: what was done was done all the same."""
    try:
        write(sys.stdout, *lines)
    except OSError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # or the end of the program would fail once more
        tell(*lines)


def _chosen(here: list[str]) -> list[str] | None:
    """The hosts that the person chooses at the terminal; None as `known_hosts` has it."""
    width = max(map(len, here))
    tell("Found on this machine:", *(f"{n:3}  {name:{width}}  {HOSTS[name].title}" for n, name in enumerate(here, 1)))
    print('Add the server to which? Numbers, "all", or Enter for none: ', end="", file=sys.stderr, flush=True)
    words = sys.stdin.readline().replace(",", " ").split()
    if words == ["all"]:
        return here
    chosen = [here[int(word) - 1] if word.isdecimal() and 0 < int(word) <= len(here) else word for word in words]
    return known_hosts(chosen)


def _add(name: str, env: dict[str, str], *, only_print: bool) -> bool:
    """Write or print the entry of one host; whether it was written.

    Raises:
        OSError: the file cannot be read or written.
        ValueError: the file is malformed, or has no place for the entry.
    """
    host = HOSTS[name]
    entry = host.entry(_server({_CONFIRM: "require", **env} if host.require else env))
    _refuse_expanded(host, entry)
    file = _file(host) if only_print else host.file
    if file and not (only_print or host.by_hand):
        report(*edit(file, partial(_install, name, file, entry)))
        return True
    config = ConfigFile(file or Path((*host.files, "generic.json")[0]))
    put_entry(host, config, entry)
    show(config.text.rstrip())
    tell(f"Add this to {file or 'the configuration of your host'}.", *_about(name, config))
    return False


def _variables(settings: Settings, options: argparse.Namespace) -> tuple[dict[str, str], dict[str, str]]:
    """The environment variables of the settings that are set and count on stdio: the plain and the secret ones.

    The address of the only session that `login` keeps is one of them if nothing else says which account is meant.
    """
    plain, secret = dict[str, str](), dict[str, str]()
    for setting in Settings.model_fields:
        if setting in settings.model_fields_set and not setting.startswith("mcp_"):
            variable, value = f"NEPTUN_{setting.upper()}", getattr(settings, setting)
            text = value if setting in options else variable_of(setting) or value
            if isinstance(value, Path):  # a host may start the server in any folder
                text = value.expanduser().absolute()
            variables = secret if setting in PRIVATE else plain
            variables[variable] = str(text)
    if not {"base_url", "sandbox"} & settings.model_fields_set and not settings.has_credentials:
        kept = session_store().addresses()
        if len(kept) == 1 and kept != [DEFAULT_BASE_URL]:
            plain[_BASE_URL] = kept[0]
    return plain, secret


def _server(env: dict[str, str]) -> Server:
    """The program that runs now, by its absolute path: graphical hosts have a short PATH."""
    command = shutil.which("neptun-mcp", path=sysconfig.get_path("scripts"))
    return Server(command, [], env) if command else Server(sys.executable, ["-m", "neptun_mcp"], env)


def _refuse_expanded(host: Host, entry: dict[str, Any]) -> None:
    """
    Raises:
        ValueError: the host would put something else in place of a text in the entry.
    """
    if not host.expands:
        return
    for key, value in entry.items():
        texts = cast("dict[str, str]", value) if isinstance(value, dict) else {key: str(value)}
        for name, text in texts.items():
            if found := re.search(host.expands, text):
                # No more of it than its first character: it may be a password.
                raise ValueError(
                    f"{name} holds a {found[0][0]!r} that {host.title} takes for the beginning of a variable's name, "
                    "and there is no way to write it"
                )


def _about(name: str, config: ConfigFile) -> Iterator[str]:
    """What the person has to know of a host, with the entry that is in its file."""
    host, entry = HOSTS[name], entry_in(name, config)
    confirm = entry.environment.get(_CONFIRM) if entry else None
    if host.note:
        yield host.note.format(title=host.title)
    if host.require and confirm != "require":
        yield f"{_CONFIRM} is {confirm}, as you set it: {host.title} may delete imports without asking anyone."
    else:
        yield permission.sentence(config) if host.has_permissions else host.asks.format(title=host.title)


def _install(name: str, file: Path, entry: dict[str, Any], config: ConfigFile) -> list[str]:
    """Write the entry into the file. What else a person has put into it stays.

    Returns:
        What was done, in words.

    Raises:
        OSError: the file cannot be written.
        ValueError: the file has no place for the entry.
    """
    host, old = HOSTS[name], entry_in(name, config)
    if old and not old.command:
        raise ValueError(f"{config.path} has another kind of entry {NAME}, which starts no command")
    put_entry(host, config, entry)
    new = entry_in(name, config)
    gone = [variable for variable in (old.environment if old else ()) if new and variable not in new.environment]
    private = os.name != "nt" and any(entry and entry.holds_secret for entry in (old, new))
    done = f"{file} has this entry already, and was not changed."
    if config.changed:
        # Once the entry is ours, the file is no longer what the person had: the first backup stays.
        ours = old is not None and (old.is_ours if config.backup.exists() else old.is_as_installed)
        config.save(keep=not ours, private=private)
        done = f"{'added the server to' if old is None else 'updated the server in'} {file}."
    kept = config.changed and config.was_there and config.backup.exists()
    if private:
        config.close()
    return [
        f"{host.title}: {done}",
        *([f"Removed from its entry: {', '.join(sorted(gone))}."] if gone else []),
        *([f"As a secret is in it, only you can read {file} and its backup."] if private else []),
        *([f"The file as it was: {config.backup}."] if kept else []),
        *_about(name, config),
        *([f"Restart {host.title}."] if config.changed else []),
    ]


def _next_steps(settings: Settings, env: dict[str, str], names: list[str]) -> Iterator[str]:
    """What the person needs to know after it, whatever the host."""
    if "cache" in sys.prefix.lower():
        yield (
            f"neptun-mcp runs from a cache that may be cleared ({sys.prefix}). "
            "Install it with `uv tool install` or `pipx install`, then run this again."
        )
    yield _account(settings, env)
    yield f'Then ask: "{QUESTION}"'
    if names:
        yield f"To undo this: {command_line()} uninstall {' '.join(names)}"


def _account(settings: Settings, env: dict[str, str]) -> str:
    """Whose account the server in the host will use, or how to log in."""
    if settings.sandbox != "off":
        return "The server uses sample data, because NEPTUN_SANDBOX is set: no log-in is needed."
    without = {setting: None for setting in PRIVATE if f"NEPTUN_{setting.upper()}" not in env}
    used = settings.model_copy(update={**without, "base_url": env.get(_BASE_URL, settings.base_url)})

    async def user() -> User | None:
        with anyio.move_on_after(_SECONDS_TO_ASK):
            async with create_client(used) as neptun:
                return await neptun.user()

    try:
        found = anyio.run(user)
    except (CredentialsMissing, SessionRefused, LoginRefused):
        kept = "" if used.has_credentials else kept_elsewhere()
        return f"Next, log in: {login_command(used.base_url)}. {kept}".rstrip()
    except NeptunError as error:
        return f"Whether you are logged in could not be checked. {happened(error)}"
    if found is None:
        return f"Whether you are logged in could not be checked: {used.base_url} does not answer."
    return f"You are logged in to {used.base_url} as {shown_user(found)}."
