"""The command line of `neptun-mcp`. What a command does is in the module of its name in `commands`.

Options may stand anywhere, before the command and between its arguments.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from ._version import __version__
from .command_line import command_line
from .commands import INTERRUPTED, nearest, prepare_streams, refuse, show


def _host(text: str) -> str:
    """A name or an address; one of IPv6 without the brackets that it has in a URL."""
    host = text.strip("[]")
    is_v6 = re.fullmatch(r"[0-9A-Fa-f:.]+(%\w+)?", host) and host.count(":") > 1
    if not (is_v6 or re.fullmatch(r"[\w.-]+", host)):
        raise argparse.ArgumentTypeError("a host is a name or an address, without http:// and without a port")
    return host


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


_FLAG: dict[str, Any] = {"action": "store_true"}
_IF_GIVEN: dict[str, Any] = {"default": argparse.SUPPRESS}
_ARGUMENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "--help": ("show this", _FLAG),
    "--version": ("show the version", _FLAG),
    "--base-url": ("the address of Neptun (NEPTUN_BASE_URL)", _IF_GIVEN),
    "--sandbox": (
        "use an embedded Neptun with sample data: no account is needed (the same as NEPTUN_SANDBOX=1)",
        {**_IF_GIVEN, "action": "store_const", "const": "observed"},
    ),
    "--http": ("serve over HTTP, at http://HOST:PORT/mcp", _FLAG),
    "--host": ("the address to listen on (127.0.0.1)", {**_IF_GIVEN, "type": _host}),
    "--port": ("the port to listen on (8000; of the sandbox, 8765); 0: any free one", {**_IF_GIVEN, "type": _port}),
    "tool": ("the tool; without one, all are listed; with --help, its arguments", {"nargs": "?", "default": ""}),
    "arguments": ("an argument of the tool, such as project_id=3", {"nargs": "*", "metavar": "name=value"}),
    "--json": ("print JSON, for a program or a bug report", _FLAG),
    "--cookie": ("paste a session cookie, if you sign in with GitHub or a passkey", _FLAG),
    "host": ("the hosts, such as claude-code or cursor", {"nargs": "*"}),
    "--print": ("show the entry, and change no file", _FLAG),
    "--with-secrets": ("put cookie, e-mail address and password into the host's file, too", _FLAG),
    "--all": ("take it out of every host that has it", _FLAG),
    "--contract": (
        "answer as a running Neptun does, or as documented",
        {"choices": ["observed", "documented"], "default": "observed"},
    ),
}
"""What may stand in a command line: what it is for, and how argparse reads it."""

_COMMANDS = {
    "": (
        "an MCP server that lets an assistant look up and tidy your Neptun projects. Without a command it serves on "
        "stdin and stdout: that is how an assistant's host (Claude Desktop, Claude Code, Cursor, VS Code) starts it. "
        "Settings are NEPTUN_* environment variables; docs/usage.md lists them",
        "--base-url --sandbox",
    ),
    "serve": ("serve on stdin and stdout, or over HTTP for many", "--base-url --sandbox --http --host --port"),
    "demo": ("show a conversation with the server, on sample data", ""),
    "call": ("call a tool and print what it returns", "tool arguments --base-url --sandbox --json"),
    "login": ("log in to Neptun, and keep the session", "--base-url --sandbox --cookie"),
    "whoami": ("show which account is used", "--base-url --sandbox"),
    "logout": ("remove the session that was kept", "--base-url --sandbox"),
    "install": ("add the server to hosts on this machine", "host --base-url --sandbox --print --with-secrets"),
    "uninstall": ("take the server out of hosts again", "host --all"),
    "doctor": ("find out why it does not work", "--base-url --sandbox --json"),
    "sandbox": ("serve the sample Neptun on a port, for curl or another client", "--port --contract"),
}
"""What a command does, and what may stand after it; the empty name stands for none."""

_WITH_VALUE = {name for name, (_, how) in _ARGUMENTS.items() if name.startswith("--") and "action" not in how}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 for success, 1 failure, 2 a malformed setting or argument, 130 Ctrl-C."""
    closed = prepare_streams()
    options = _parsed(sys.argv[1:] if arguments is None else arguments)
    options.closed_streams = closed
    command = import_module(f".commands.{options.command or 'serve'}", __package__)
    try:
        command.run(options)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(0)


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    """The command and its options; --help and --version end the program, and so does what is wrong.

    The first word that is neither an option nor the value of one is the command.
    """
    flags, names = list[str](), list[str]()
    for before, word in zip(("", *words), words, strict=False):
        (flags if word.startswith("-") or before in _WITH_VALUE else names).append(word)
    command = "".join(names[:1])
    if command not in _COMMANDS:
        hint = nearest(command, [*filter(None, _COMMANDS), "--help", "--version"])
        if not hint and {"_", "-"} & {*command}:  # as tools are named
            hint = f"Did you mean call {command.replace('-', '_')}?"
        _refuse(_parser(""), f'There is no command "{command}". {hint}'.rstrip())
    parser = _parser(command)
    try:
        options, unknown = parser.parse_known_args([*flags, *names[1:]])
    except argparse.ArgumentError as error:
        # Not what was given: after --cookie that is one.
        what = "it takes no value" if error.message.startswith("ignored explicit") else error.message
        _refuse(parser, f"{error.argument_name}: {what}.")
    if unknown:
        _refuse(parser, _no_such(unknown[0], command, parser.prog))
    if options.version:
        show(f"neptun-mcp {__version__}")
        sys.exit(0)
    if options.help and not getattr(options, "tool", ""):
        if not command:
            listed = parser.add_argument_group("commands", "COMMAND --help shows its options.")
            for name in filter(None, _COMMANDS):  # not sooner: each would take a word
                listed.add_argument(name, help=_COMMANDS[name][0])
        show(parser.format_help().rstrip())
        sys.exit(0)
    options.command = command
    return options


def _refuse(parser: argparse.ArgumentParser, what: str) -> NoReturn:
    """End the program as misused, and say where to look."""
    refuse(f"{what} `{parser.prog.replace('neptun-mcp', command_line(), 1)} --help` shows what there is.")


def _no_such(word: str, command: str, prog: str) -> str:
    """What is wrong with a word that a command does not take, and what may have been meant."""
    options = [name for name in _COMMANDS[command][1].split() if name.startswith("--")]
    if not word.startswith("-"):
        named = "" if command == "login" else f' "{word}"'  # there it may be a password or a cookie
        return f"{prog} takes no argument{named}. {nearest(word, {f'--{word}'} & {*options})}".rstrip()
    option = word.partition("=")[0]
    has_it = [f"neptun-mcp {name}" for name, (_, its) in _COMMANDS.items() if option in its.split()]
    hint = f"{' and '.join(has_it)} {'have' if has_it[1:] else 'has'} it." if has_it else nearest(option, options)
    form = "An argument of a tool has the form name=value." if command == "call" else hint
    return f"{prog} has no option {option}. {form}".rstrip()


def _parser(command: str) -> argparse.ArgumentParser:
    """The parser of a command; that of none describes the whole."""
    about, names = _COMMANDS[command]
    parser = argparse.ArgumentParser(
        prog=f"neptun-mcp {command}".rstrip(),
        description=f"{about[0].upper()}{about[1:]}.",
        add_help=False,
        allow_abbrev=False,
        exit_on_error=False,
    )
    if not command:
        parser.usage = "neptun-mcp [COMMAND] [OPTIONS]"
        parser.epilog = f"New here? `{command_line()} demo` shows what it does, on sample data, without an account."
        parser.set_defaults(http=False)
    for name in ("--help", "--version", *names.split()):
        about, how = _ARGUMENTS[name]
        parser.add_argument(*(["-h"] if name == "--help" else []), name, help=about, **how)
    return parser
