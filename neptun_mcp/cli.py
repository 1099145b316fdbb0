"""Parses the command line of `neptun-mcp`. What a command does is in the module of its name in `commands`.

Options may stand anywhere, before the command and between its arguments.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import NoReturn

from ._version import __version__
from .command_line import command_line
from .commands import INTERRUPTED, nearest, prepare_streams, refuse, show

_WITH_VALUE = ("--base-url", "--contract", "--host", "--port")


class _Parser(argparse.ArgumentParser):
    """A parser that complains in a sentence, and says where to look."""

    def print_help(self, file: object = None) -> None:
        """Show the help; argparse would take no notice of a stdout that cannot be written."""
        show(self.format_help().rstrip())

    def error(self, message: str) -> NoReturn:
        # Not what was given: after --cookie that is one.
        message = re.sub(r"ignored explicit argument .*", "it takes no value", message, flags=re.DOTALL)
        self.refuse(f"{message.removeprefix('argument ')}.")

    def refuse(self, what: str) -> NoReturn:
        """End the program as misused."""
        refuse(f"{what} `{self.prog.replace('neptun-mcp', command_line(), 1)} --help` shows what there is.")

    def refuse_unknown(self, words: Sequence[str], others: Iterable[_Parser]) -> None:
        """End the program if there are words that are none of this parser's.

        Args:
            others: the parsers that may have them.
        """
        for word in words[:1]:
            if not word.startswith("-"):
                hint = nearest(word, {f"--{word}"} & self.options)
                self.refuse(f'{self.prog} takes no argument "{word}". {hint}'.rstrip())
            option = word.partition("=")[0]
            form = "An argument of a tool has the form name=value." if self.prog.endswith(" call") else ""
            has_it = " and ".join(other.prog for other in others if option in other.options)
            hint = f"{has_it} {'have' if ' and ' in has_it else 'has'} it." if has_it else ""
            self.refuse(f"{self.prog} has no option {option}. {form or hint or nearest(option, self.options)}".rstrip())

    @property
    def options(self) -> set[str]:
        return {*re.findall(r"--[a-z-]+", self.format_help())}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 for success, 1 for a failure, 2 for a malformed setting or argument."""
    closed = prepare_streams()
    options = _parsed(sys.argv[1:] if arguments is None else arguments)
    options.closed_streams = closed
    if options.version:
        show(f"neptun-mcp {__version__}")
        sys.exit(0)
    command = import_module(f".commands.{options.command or 'serve'}", __package__)
    try:
        command.run(options)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(0)


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    """The command and its options: the first word that is neither an option nor the value of one is the command."""
    whole, commands = _parsers()
    before = ("", *words)
    places = [i for i, word in enumerate(words) if not word.startswith("-") and before[i] not in _WITH_VALUE]
    if not places:
        options, unknown = whole.parse_known_args(words)
        whole.refuse_unknown(unknown, commands.values())
        return options
    name, others = words[places[0]], [word for i, word in enumerate(words) if i != places[0]]
    if name not in commands:
        tool = f"Did you mean call {name.replace('-', '_')}?" if {"_", "-"} & {*name} else ""  # as tools are named
        hint = nearest(name, [*commands, "--help", "--version"]) or tool
        whole.refuse(f'There is no command "{name}". {hint}'.rstrip())
    parser = commands[name]
    options, unknown = parser.parse_known_intermixed_args(others)
    parser.refuse_unknown(unknown, commands.values())
    options.command = name
    return options


def _whole(common: _Parser) -> _Parser:
    """The parser of the options that go without a command, which describes the whole."""
    whole = _Parser(
        prog="neptun-mcp",
        usage="neptun-mcp [COMMAND] [OPTIONS]",
        parents=[common],
        allow_abbrev=False,
        description="An MCP server that lets an assistant look up and tidy your Neptun projects. Without a command it "
        "serves on stdin and stdout: that is how an assistant's host (Claude Desktop, Claude Code, Cursor, VS Code) "
        "starts it. Settings are NEPTUN_* environment variables; docs/usage.md lists them.",
        epilog=f"New here? `{command_line()} demo` shows what it does, on sample data, without an account.",
    )
    whole.add_argument("--version", action="store_true", help="show the version")
    whole.set_defaults(command="", http=False)
    return whole


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    """The parser of the whole, and that of each command."""
    common, version = _Parser(add_help=False), _Parser(add_help=False)
    common.add_argument("--base-url", default=argparse.SUPPRESS, help="the address of Neptun (NEPTUN_BASE_URL)")
    common.add_argument(
        "--sandbox",
        action="store_const",
        const="observed",
        default=argparse.SUPPRESS,
        help="use an embedded Neptun with sample data: no account is needed (the same as NEPTUN_SANDBOX=1)",
    )
    version.add_argument("--version", action="store_true", help=argparse.SUPPRESS)
    whole, commands = _whole(common), dict[str, _Parser]()
    added = whole.add_subparsers(title="commands", metavar="COMMAND --help", help="show its options", prog="neptun-mcp")

    def add(name: str, *parents: _Parser, about: str, add_help: bool = True) -> _Parser:
        commands[name] = added.add_parser(
            name,
            parents=[version, *parents],
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            add_help=add_help,
            allow_abbrev=False,
        )
        return commands[name]

    serve = add("serve", common, about="serve on stdin and stdout, or over HTTP for many")
    serve.add_argument("--http", action="store_true", help="serve over HTTP, at http://HOST:PORT/mcp")
    serve.add_argument("--host", type=_host, default=argparse.SUPPRESS, help="the address to listen on (127.0.0.1)")
    serve.add_argument("--port", type=_port, default=argparse.SUPPRESS, help="the port to listen on (8000)")

    add("demo", about="show a conversation with the server, on sample data")

    call = add("call", common, about="call a tool and print what it returns", add_help=False)
    call.add_argument("tool", nargs="?", default="", help="the tool; without one, all are listed")
    call.add_argument(
        "arguments", nargs="*", metavar="name=value", help="an argument of the tool, such as project_id=3"
    )
    call.add_argument("--json", action="store_true", help="print the result as JSON, for a program")
    call.add_argument("-h", "--help", action="store_true", help="show this, or with a tool its arguments")
    call.set_defaults(usage=lambda: call.format_help().rstrip())

    _add_accounts_and_hosts(add, common)

    doctor = add("doctor", common, about="find out why it does not work")
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON, for a bug report")

    served = add("sandbox", about="serve the sample Neptun on a port, for curl or another client")
    served.add_argument("--port", type=_port, default=8765, help="the port on 127.0.0.1 (8765); 0: any free one")
    served.add_argument(
        "--contract",
        choices=["observed", "documented"],
        default="observed",
        help="answer as a running Neptun does, or as documented",
    )
    return whole, commands


def _add_accounts_and_hosts(add: Callable[..., _Parser], common: _Parser) -> None:
    """The commands that log in and out, and those that change the files of hosts."""
    login = add("login", common, about="log in to Neptun, and keep the session")
    login.add_argument(
        "--cookie", action="store_true", help="paste a session cookie, if you sign in with GitHub or a passkey"
    )
    add("whoami", common, about="show which account is used")
    add("logout", common, about="remove the session that was kept")

    install = add("install", common, about="add the server to hosts, such as claude-code or cursor")
    install.add_argument("host", nargs="*", help="the hosts; without one, choose among those on this machine")
    install.add_argument("--print", action="store_true", help="show the entry, and change no file")
    install.add_argument(
        "--with-secrets", action="store_true", help="put cookie, e-mail address and password into the host's file, too"
    )

    uninstall = add("uninstall", about="take the server out of hosts again")
    uninstall.add_argument("host", nargs="*", help="the hosts")
    uninstall.add_argument("--all", action="store_true", help="take it out of every host that has it")


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
