"""Settings that count for the whole process. Only commands, and the application of a web server, make them: a program
that imports this package finds its process untouched."""

from __future__ import annotations

import gc
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress

READ_BYTES = 2**18
"""How much of a body HTTPX reads at a time. asyncio receives that much at once; handed on in HTTPX's quarters, a long
body takes half as long again."""

NEW_OBJECTS = 10_000
"""After how many of them Python looks for garbage; they take about 2 MB. After 700, as is usual, the objects of calls
under way are looked at again and again, for a tenth of the time that a busy server has."""

MAX_OPEN = 2**16
"""Files and connections that a process asks to be allowed; most systems start it with 1,024."""


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
    if "rich" in sys.modules:
        yield
        return
    sys.modules["rich"] = None  # pyright: ignore[reportArgumentType] - Python's way to say that there is none
    try:
        yield
    finally:
        del sys.modules["rich"]


def read_long_bodies() -> None:
    """Read long bodies in larger pieces.

    HTTPX has no setting for it, so a constant of httpcore2 (read in 2.14) is set, which is not part of its public API.
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
