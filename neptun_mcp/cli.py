"""The command `neptun-mcp`."""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

from ._version import __version__

if TYPE_CHECKING:
    from .settings import Settings

SUCCESS, FAILURE, MISUSE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit: 0 for success, 1 for a failure, 2 for a malformed setting or argument."""
    options = _parser().parse_args(arguments)
    if hasattr(signal, "SIGPIPE") and options.run in (_demo, _call, _doctor):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `neptun-mcp demo | head` ends quietly
    try:
        sys.exit(options.run(options))
    except KeyboardInterrupt:
        sys.exit(130)


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
    command.set_defaults(run=_serve_stdio)
    commands = command.add_subparsers(title="commands", metavar="")

    serve = commands.add_parser("serve", parents=[sandbox], help="serve on stdin and stdout, or over HTTP for many")
    serve.add_argument("--http", action="store_true", help="serve over HTTP, at http://HOST:PORT/mcp")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
    serve.add_argument("--port", type=_port, default=8000, help="the port to listen on (8000)")
    serve.set_defaults(run=_serve)

    demo = commands.add_parser("demo", help="show a conversation with the server, on sample data")
    demo.set_defaults(run=_demo)

    call = commands.add_parser("call", parents=[sandbox], help="call a tool and print what it returns")
    call.add_argument("tool", help="list_imports, list_resources or delete_import")
    call.add_argument(
        "arguments", nargs="*", metavar="name=value", help="an argument of the tool, such as project_id=3"
    )
    call.add_argument("--json", action="store_true", help="print the result as JSON, for a program")
    call.set_defaults(run=_call)

    doctor = commands.add_parser("doctor", parents=[sandbox], help="find out why it does not work")
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON, for a bug report")
    doctor.set_defaults(run=_doctor)

    served = commands.add_parser("sandbox", help="serve the sample Neptun on a port, for curl or another client")
    served.add_argument("--port", type=_port, default=8765, help="the port on 127.0.0.1 (8765); 0: any free one")
    served.add_argument("--contract", choices=["observed", "documented"], default="observed", help="how it answers")
    served.set_defaults(run=_sandbox)
    return command


def _port(text: str) -> int:
    if not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _settings(options: argparse.Namespace) -> Settings:
    """The settings; a malformed one ends the program, with a line a setting on stderr."""
    from pydantic import ValidationError

    from .settings import problems

    try:
        return _read_settings(options)
    except ValidationError as error:
        _tell(*problems(error))
        sys.exit(MISUSE)


def _read_settings(options: argparse.Namespace) -> Settings:
    from .log import configure_logging
    from .settings import Settings

    settings = Settings(**({"sandbox": options.sandbox} if "sandbox" in options else {}))
    configure_logging(settings)
    return settings


def _serve_stdio(options: argparse.Namespace) -> int:
    """Serve until stdin is closed."""
    # There is nothing to tidy up, and cancelled at a bad moment the SDK would end with a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # The SDK builds thousands of models when it is imported: looking for garbage meanwhile takes a tenth of the start.
    gc.disable()
    settings = _settings(options)
    if sys.stdin.isatty():
        _tell(
            f"neptun-mcp {__version__} is an MCP server: it waits for an assistant's host on stdin, which",
            "here is your keyboard. To see what it does: neptun-mcp demo. For the rest: neptun-mcp --help.",
            "Ctrl-C ends it.",
        )
    import anyio

    from .server import create_server
    from .stdio import serve

    server = create_server(settings)
    # What the imports made stays. Searched through for garbage, it would double the time that a long list takes.
    gc.freeze()
    gc.enable()
    anyio.run(serve, server)
    return SUCCESS


def _serve(options: argparse.Namespace) -> int:
    """Serve over HTTP until a signal ends it, or as without a command."""
    if not options.http:
        return _serve_stdio(options)
    settings = _settings(options)
    from .remote.app import serve

    try:
        serve(settings, options.host, options.port)
    except ValueError as error:
        _tell(str(error))
        return MISUSE
    return SUCCESS


def _demo(options: argparse.Namespace) -> int:
    import anyio

    from .commands.demo import demo

    anyio.run(demo)
    return SUCCESS


def _call(options: argparse.Namespace) -> int:
    """Call one tool through a real client, in this process."""
    settings = _settings(options)
    arguments: dict[str, Any] = {}
    for word in options.arguments:
        name, equals, value = word.partition("=")
        if not equals:
            _tell(f"{word!r} is not of the form name=value")
            return MISUSE
        arguments[name] = value
    import anyio

    from .commands.call import call, readable

    result = anyio.run(call, settings, options.tool, arguments)
    if result.is_error:
        _tell(*(block.text for block in result.content if block.type == "text"))
        return FAILURE
    print(json.dumps(result.structured_content) if options.json else readable(result.structured_content))
    return SUCCESS


def _doctor(options: argparse.Namespace) -> int:
    """Examine every step of a call; print each as it is taken, and at the end the one thing to fix."""
    import anyio
    from pydantic import ValidationError

    from .commands.doctor import Step, about_environment, examine
    from .settings import problems

    steps: list[Step] = []

    def take(step: Step) -> None:
        steps.append(step)
        if not options.json:
            took = f" ({step.milliseconds:g} ms)" if step.milliseconds else ""
            print(f"{'ok  ' if step.ok else 'FAIL'} {step.name}: {step.found}{took}", flush=True)

    async def walk() -> None:
        async for step in examine(settings):
            take(step)

    take(about_environment())
    try:
        settings = _read_settings(options)
    except ValidationError as error:
        take(Step("settings", False, "; ".join(problems(error)) + ".", "Correct the settings that are named."))
    else:
        take(Step("settings", True, "well-formed"))
        anyio.run(walk)
    last = steps[-1]
    if options.json:
        print(json.dumps({"ok": last.ok, "to_do": last.to_do, "steps": [asdict(step) for step in steps]}, indent=2))
    else:
        print("\nAll is well." if last.ok else f"\nTo do: {last.to_do}")
    return SUCCESS if last.ok else FAILURE


def _sandbox(options: argparse.Namespace) -> int:
    import anyio

    from . import sandbox
    from .sandbox.server import serve

    def started(url: str) -> None:
        print(
            f"A Neptun with sample data is at {url} (Ctrl-C ends it). Try:\n\n"
            f"  curl -H 'Cookie: neptun-session={sandbox.COOKIE}' {url}/api/users/1/projects\n\n"
            f"  NEPTUN_BASE_URL={url} NEPTUN_EMAIL={sandbox.EMAIL} NEPTUN_PASSWORD='{sandbox.PASSWORD}' \\\n"
            f"    neptun-mcp call list_imports project_id=1\n",
            flush=True,
        )

    async def run() -> None:
        await serve(sandbox.create_app(contract=options.contract), port=options.port, started=started)

    try:
        anyio.run(run)
    except OSError as error:
        _tell(f"Port {options.port} cannot be used: {os.strerror(error.errno or 0)}. Choose another with --port.")
        return FAILURE
    return SUCCESS


def _tell(*lines: str) -> None:
    print(*lines, sep="\n", file=sys.stderr)
