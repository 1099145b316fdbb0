"""What a person types: each module is a command, with `run(options) -> exit code`.

This module has what they share. A command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..settings import Settings

SUCCESS, FAILURE, MISUSE = 0, 1, 2


def read_settings(options: argparse.Namespace) -> Settings:
    """The settings, after which the log is written as they say.

    Raises:
        pydantic.ValidationError: a setting is malformed.
    """
    from ..log import configure_logging
    from ..settings import Settings

    settings = Settings(**({"sandbox": options.sandbox} if "sandbox" in options else {}))
    configure_logging(settings)
    return settings


def settings_or_exit(options: argparse.Namespace) -> Settings:
    """The settings; a malformed one ends the program, with a line for each on stderr."""
    from pydantic import ValidationError

    from ..settings import problems

    try:
        return read_settings(options)
    except ValidationError as error:
        tell(*problems(error))
        sys.exit(MISUSE)


def end_with_the_reader() -> None:
    """Let `neptun-mcp demo | head` end quietly."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def tell(*lines: str) -> None:
    """Write lines for a person to stderr."""
    print(*lines, sep="\n", file=sys.stderr)
