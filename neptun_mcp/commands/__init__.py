"""What a person types: each command is `run(options)` in the module of its name, and returns if it succeeded.

This module has what they share. A command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import socket
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..settings import Settings

FAILURE, MISUSE, INTERRUPTED = 1, 2, 130
"""Exit codes, beside 0 for success."""


def read_settings(options: argparse.Namespace) -> Settings:
    """The settings, after which the log is written as they say.

    Raises:
        pydantic.ValidationError: a setting is malformed.
    """
    from ..log import configure_logging
    from ..settings import Settings

    given = {name: value for name, value in vars(options).items() if name in ("sandbox", "base_url")}
    settings = Settings(**given)
    configure_logging(settings)
    return settings


def settings_or_exit(options: argparse.Namespace) -> Settings:
    """The settings; a malformed one ends the program, with a line for each on stderr."""
    from pydantic import ValidationError

    from ..settings import problems

    try:
        return read_settings(options)
    except ValidationError as error:
        refuse(*problems(error))


def prepare_streams() -> list[str]:
    """Make the standard streams fit for any text, and usable where the parent has closed them; name the closed ones.

    What the encoding lacks is escaped. A closed stream becomes the null device, under its own number: otherwise the
    next file or connection would get that, and what is printed.
    """
    closed: list[str] = []
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            closed.append(name)
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace" if mode == "r" else "backslashreplace")
    return closed


def end_at_once() -> None:
    """Let Ctrl-C end the program: there is nothing to tidy up, and Python would wait for a thread at the keyboard."""
    signal.signal(signal.SIGINT, lambda _, __: os._exit(INTERRUPTED))


@contextmanager
def _output_not_lost(done: str) -> Generator[None]:
    """Where stdout cannot be written, tell what has been done; the program ends if nothing has."""
    try:
        yield
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # as with `| head`
            tell(f"The output cannot be written: {error.strerror}.")
        if not done:
            os._exit(FAILURE)  # from wherever it is shown, without another attempt at the end
        tell(done)
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def show(text: str, done: str = "") -> None:
    """Write text to stdout as it is; `done` as in `say`."""
    with _output_not_lost(done):
        print(text, flush=True)


def say(*what: RenderableType, done: str = "") -> None:
    """Write lines for a person to stdout, or what rich renders, as the terminal allows.

    Args:
        done: what has been done, if anything: if stdout cannot be written, stderr says so, and the program goes on.
    """
    from .console import write  # rich takes its time, and a server says nothing

    with _output_not_lost(done):
        write(sys.stdout, *what)


def tell(*lines: str, colour: str = "") -> None:
    """Write lines for a person to stderr, at a terminal wrapped between words."""
    from .console import as_text, write

    with suppress(OSError):
        write(sys.stderr, *(as_text(line, colour) for line in lines))


def fail(*lines: str, code: int = FAILURE) -> NoReturn:
    """End the program with lines for a person on stderr: it could not do what it was told."""
    tell(*lines, colour="red")
    sys.exit(code)


def refuse(*lines: str) -> NoReturn:
    """End the program with lines for a person on stderr: what it was told, or a setting, is wrong."""
    fail(*lines, code=MISUSE)


def listen(host: str, port: int, options: str) -> socket.socket:
    """A socket that listens. If there can be none, the program ends; its message names the options for the address."""
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, UnicodeError) as error:
        # Less what the library adds: the address.
        why = str(error.strerror).partition(" (")[0] if isinstance(error, OSError) else "no such host name"
        fail(f"Cannot listen on port {port}: {why}. Choose another address with {options}.")
    # Connections inherit it. Without it, each answer waits 40 ms for the delayed acknowledgement of its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def why(error: OSError | ValueError) -> str:
    """Why a file cannot be used, and which, to follow a colon."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}{f' ({error.filename})' if error.filename else ''}"
    return str(error) or "it cannot be used"


def as_typed(options: argparse.Namespace, words: str) -> str:
    """Words for a person, with the address called as it was given."""
    return words.replace("NEPTUN_BASE_URL", "--base-url") if "base_url" in options else words


def nearest(word: str, known: Iterable[str]) -> str:
    """A question that names what was probably meant, whatever its case; empty if nothing is close."""
    import difflib

    folded = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), folded, 1)
    return f"Did you mean {folded[near[0]]}?" if near else ""
