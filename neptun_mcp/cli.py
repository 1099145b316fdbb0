"""Parses the command line of `neptun-mcp`. What a command does is in the module of its name in `commands`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from ._version import __version__
from .commands import INTERRUPTED, prepare_streams


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 for success, 1 for a failure, 2 for a malformed setting or argument."""
    closed = prepare_streams()
    options = _parser().parse_args(arguments)
    options.closed_streams = closed
    command = import_module(f".commands.{options.command or 'serve'}", __package__)
    try:
        sys.exit(command.run(options))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _parser() -> argparse.ArgumentParser:
    sandbox = argparse.ArgumentParser(add_help=False)
    sandbox.add_argument(
        "--sandbox",
        action="store_const",
        const="observed",
        default=argparse.SUPPRESS,
        help="use an embedded Neptun with sample data: no account is needed (the same as NEPTUN_SANDBOX=1)",
    )
    command = argparse.ArgumentParser(
        prog="neptun-mcp",
        parents=[sandbox],
        description="An MCP server that lets an assistant look up and tidy your Neptun projects. Without a command it "
        "serves on stdin and stdout: that is how an assistant's host (Claude Desktop, Claude Code, Cursor, VS Code) "
        "starts it. Settings are NEPTUN_* environment variables; the README lists them.",
        epilog="New here? `neptun-mcp demo` shows what it does, on sample data, without an account.",
    )
    command.add_argument("--version", action="version", version=f"neptun-mcp {__version__}")
    command.set_defaults(http=False)
    commands = command.add_subparsers(title="commands", metavar="", dest="command")

    serve = commands.add_parser("serve", parents=[sandbox], help="serve on stdin and stdout, or over HTTP for many")
    serve.add_argument("--http", action="store_true", help="serve over HTTP, at http://HOST:PORT/mcp")
    serve.add_argument("--host", default=argparse.SUPPRESS, help="the address to listen on (127.0.0.1)")
    serve.add_argument("--port", type=_port, default=argparse.SUPPRESS, help="the port to listen on (8000)")

    commands.add_parser("demo", help="show a conversation with the server, on sample data")

    call = commands.add_parser("call", parents=[sandbox], help="call a tool and print what it returns", add_help=False)
    call.add_argument("tool", nargs="?", default="", help="the tool; without one, all are listed")
    call.add_argument(
        "arguments", nargs="*", metavar="name=value", help="an argument of the tool, such as project_id=3"
    )
    call.add_argument("--json", action="store_true", help="print the result as JSON, for a program")
    call.add_argument("-h", "--help", action="store_true", help="show this, or with a tool its arguments")
    call.set_defaults(usage=call.format_help)

    account = argparse.ArgumentParser(add_help=False)
    account.add_argument("--base-url", default=argparse.SUPPRESS, help="the address of Neptun (NEPTUN_BASE_URL)")
    login = commands.add_parser("login", parents=[account], help="log in to Neptun, and keep the session")
    login.add_argument(
        "--cookie", action="store_true", help="paste a session cookie, if you sign in with GitHub or a passkey"
    )
    commands.add_parser("whoami", parents=[sandbox, account], help="show which account is used")
    commands.add_parser("logout", parents=[account], help="remove the session that was kept")

    install = commands.add_parser(
        "install", parents=[sandbox], help="add the server to a host, such as claude-code or cursor"
    )
    install.add_argument("host", nargs="?", default="", help="the host; all are listed if none is given")
    install.add_argument("--print", action="store_true", help="show the entry, and change no file")
    install.add_argument(
        "--with-secrets", action="store_true", help="put cookie, e-mail address and password into the host's file, too"
    )

    doctor = commands.add_parser("doctor", parents=[sandbox], help="find out why it does not work")
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON, for a bug report")

    served = commands.add_parser("sandbox", help="serve the sample Neptun on a port, for curl or another client")
    served.add_argument("--port", type=_port, default=8765, help="the port on 127.0.0.1 (8765); 0: any free one")
    served.add_argument("--contract", choices=["observed", "documented"], default="observed", help="how it answers")
    return command


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)
