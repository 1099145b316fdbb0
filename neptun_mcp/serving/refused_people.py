"""People whom whoever runs the server has stopped: a file with the `caller` of the log on each line."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from ..neptun.client import NeptunClient
from ..neptun.errors import NeptunError
from ..neptun.secret_files import read_secret_file
from ..tools.not_done import NotDone
from .callers import caller_of
from .observability import caller_name
from .refusals import refused

STOPPED = "You may not use this server any more. Ask its operator."

_log = logging.getLogger(__name__)


class RefusedPeople:
    """The callers that a file names; blank lines and what follows a `#` do not count.

    The file is read again when it changes. If it cannot be read, what was read last holds.

    Args:
        file: None if nobody is refused.

    Raises:
        ValueError: the file cannot be read at the start.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._stamp: object = None
        self._callers: frozenset[str] = frozenset()
        if file:
            try:
                self._stamp, self._callers = _stamp(file), _read(file)
            except (OSError, ValueError) as error:
                raise ValueError(f"NEPTUN_MCP_REFUSED_FILE: cannot be read ({_why(error)})") from None

    def __bool__(self) -> bool:
        """Whether there is such a file."""
        return self._file is not None

    def __contains__(self, caller: object) -> bool:
        if self._file:
            self._notice_change(self._file)
        return caller in self._callers

    def guarding(self, app: ASGIApp, client_for: Callable[[Request], NeptunClient] | None) -> ASGIApp:
        """ASGI middleware behind a `Gate`, which answers these callers with 403: at 401 hosts would sign in again.

        Args:
            app: what is behind it.
            client_for: the client of a caller, who is asked for their user id; None if all callers share an account.
        """

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            caller = caller_of(Request(scope))
            user_id = await _user_id(Request(scope), client_for) if self._file and client_for else None
            if caller_name(caller, user_id) in self or caller_name(caller, None) in self:
                await refused(403, STOPPED).response(scope, receive, send)
            else:
                await app(scope, receive, send)

        return guarded

    def has_user(self, user_id: int) -> bool:
        """Whether a Neptun user is refused."""
        return f"user-{user_id}" in self

    def _notice_change(self, file: Path) -> None:
        stamp: object = None
        try:
            stamp = _stamp(file)
            if stamp != self._stamp:
                self._callers = _read(file)
                _log.info("NEPTUN_MCP_REFUSED_FILE was read again", extra={"fields": {"callers": len(self._callers)}})
        except (OSError, ValueError) as error:
            stamp = stamp or repr(error)
            if stamp != self._stamp:
                _log.error("NEPTUN_MCP_REFUSED_FILE cannot be read, so what was read last holds: %s", _why(error))
        self._stamp = stamp


async def _user_id(request: Request, client_for: Callable[[Request], NeptunClient]) -> int | None:
    if user_id := caller_of(request).user_id:
        return user_id
    try:
        return await client_for(request).user_id()
    except (NeptunError, NotDone):
        return None  # then the call fails as well, and says why


def _why(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _stamp(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(file: Path) -> frozenset[str]:
    words = (line.partition("#")[0].strip() for line in read_secret_file(file).splitlines())
    return frozenset(word for word in words if word)
