"""Settings of the whole process. Only commands, and the application of a web server, change them: a program that
imports this package finds its process untouched."""

from __future__ import annotations

import errno
import gc
import logging
import math
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any, cast

READ_BYTES = 2**18
"""How much of a body HTTPX reads at a time. asyncio receives that much at once; handed on in HTTPX's quarters, a long
body takes half as long again."""

NEW_OBJECTS = 10_000
"""After how many of them Python looks for garbage; they take about 2 MB. After 700, as is usual, the objects of calls
under way are looked at again and again, for a tenth of the time that a busy server has."""

MAX_OPEN = 2**16
"""The open files and connections that a process asks for; most systems allow it 1,024 at first."""

FULL_SECONDS = 60.0
"""How long nothing more is said of connections that cannot be accepted."""

_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@contextmanager
def start_up() -> Generator[None]:
    """Import and build in the block, without looking for garbage: that takes a tenth of the start.

    What the block made stays. Searched for garbage later, it would double the time that a long list takes. What comes
    after is searched more rarely than usual.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(NEW_OBJECTS)
        gc.enable()


@contextmanager
def without_rich() -> Generator[None]:
    """Build an MCP server in the block, to which rich seems not to be installed.

    Where it is, the SDK (read in 2.3) imports it for a log that a process without one would get: a twentieth of the
    start, and 1.5 MB of memory, for nothing.
    """
    modules = cast("dict[str, Any]", sys.modules)
    modules.setdefault("rich", None)  # Python's way to say that there is none
    try:
        yield
    finally:
        if modules["rich"] is None:
            del modules["rich"]


def serve_many() -> None:
    """Set up a process that serves many people over HTTP."""
    from sse_starlette.sse import AppStatus

    AppStatus.disable_automatic_graceful_drain()  # at its end, let streams last as long as their calls
    read_long_bodies()
    allow_many_connections()
    one_line_when_full()


def read_long_bodies() -> None:
    """Read long bodies in larger pieces.

    HTTPX has no setting for it, so this sets a private constant of httpcore2 (read in 2.14 to 2.16).
    """
    from httpcore2 import AsyncHTTP11Connection

    AsyncHTTP11Connection.READ_NUM_BYTES = READ_BYTES  # pyright: ignore[reportAttributeAccessIssue]


def allow_many_connections() -> None:
    """Raise the limit of files and connections that this process may have open as far as it may; Windows has none."""
    try:
        import resource
    except ImportError:
        return
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN if most == resource.RLIM_INFINITY else min(most, MAX_OPEN)
    if limit != resource.RLIM_INFINITY and limit < wanted:
        with suppress(ValueError, OSError):  # macOS may allow less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def one_line_when_full() -> None:
    """Say in a line now and then that the event loop cannot accept connections.

    It would log a hundred tracebacks a second, as long as peers hold all the files that the process may open. Its lines
    are recognised by the word `accept` (read in Python 3.10 to 3.13).
    """
    said = -math.inf

    def shorten(record: logging.LogRecord) -> bool:
        nonlocal said
        error = record.exc_info and record.exc_info[1]
        if not isinstance(error, OSError) or error.errno not in _FULL or "accept" not in record.getMessage():
            return True
        if monotonic() < said + FULL_SECONDS:
            return False
        said, record.exc_info = monotonic(), None
        record.msg = (
            f"no further connection can be accepted now ({error.strerror}). Let the process open more files, or put a "
            "gateway before it that ends unused connections"
        )
        return True

    logging.getLogger("asyncio").addFilter(shorten)
