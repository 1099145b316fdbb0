"""People whom whoever runs the server has stopped: a file with the `caller` of the log on each line."""

from __future__ import annotations

import logging
import time
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

SETTLED_SECONDS = 2.0
"""For how long after a change a file may change again without a trace: some file systems count whole seconds."""

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
                self._callers = _read(file)
            except OSError as error:
                raise ValueError(f"NEPTUN_MCP_REFUSED_FILE: cannot be read ({error.strerror})") from None

    def __contains__(self, caller: object) -> bool:
        if self._file:
            self._notice_change(self._file)
        return caller in self._callers

    def guarding(self, app: ASGIApp, client_for: Callable[[Request], NeptunClient] | None) -> ASGIApp:
        """ASGI middleware behind a `Gate`, which refuses these callers with 403: at 401 hosts would sign in again.

        Args:
            app: what is behind it.
            client_for: the client of a caller, who is asked for their user id; None if all callers share an account.
        """
        if self._file is None:
            return app

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            request = Request(scope)
            caller, user_id = caller_of(request), await _user_id(request, client_for) if client_for else None
            if caller_name(caller, user_id) in self or caller_name(caller, None) in self:
                raise refused(403, STOPPED)
            await app(scope, receive, send)

        return guarded

    def has_user(self, user_id: int) -> bool:
        """Whether a Neptun user is refused."""
        return f"user-{user_id}" in self

    def _notice_change(self, file: Path) -> None:
        try:
            status = file.stat()
            stamp: object = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp == self._stamp:
                return
            callers = _read(file)
            if callers != self._callers or isinstance(self._stamp, str):
                _log.info("NEPTUN_MCP_REFUSED_FILE was read again", extra={"fields": {"callers": len(callers)}})
            self._callers = callers
            self._stamp = stamp if time.time() - status.st_mtime > SETTLED_SECONDS else None
        except OSError as error:
            why = str(error.strerror)
            if why != self._stamp:
                _log.error("NEPTUN_MCP_REFUSED_FILE cannot be read, so what was read last holds: %s", why)
            self._stamp = why


async def _user_id(request: Request, client_for: Callable[[Request], NeptunClient]) -> int | None:
    if user_id := caller_of(request).user_id:
        return user_id
    try:
        return (await client_for(request).user()).id
    except (NeptunError, NotDone):
        return None  # then the call fails as well, and says why


def _read(file: Path) -> frozenset[str]:
    words = (line.partition("#")[0].strip() for line in read_secret_file(file).splitlines())
    return frozenset(word for word in words if word)
