"""People whom the operator has stopped: a file with the `caller` of the log on each line."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

from starlette.requests import Request

from ..neptun.errors import NeptunError, SessionRefused
from ..neptun.secret_files import read_secret_file
from ..sign_in.refusals import Refused
from .callers import Clients, caller_of

READ_SECONDS = 1.0
"""How often the file is read."""

# A hyphen in a token: the ids of applications that earlier versions registered have some.
_CALLER = re.compile(r"user-[1-9][0-9]*|(token|session)-[0-9a-f-]{16}|-")

_log = logging.getLogger(__name__)


class RefusedPeople:
    """The callers that a file names; blank lines and what follows a `#` do not count.

    If the file cannot be read, what was read last holds.

    Args:
        file: None if nobody is refused.

    Raises:
        ValueError: the file cannot be read at the start.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._problem = ""  # why it could not be read the last time
        self._callers: frozenset[str] = frozenset()
        if file:
            try:
                self._callers = _read(file)
            except OSError as error:
                raise ValueError(f"NEPTUN_MCP_REFUSED_FILE: cannot be read ({error.strerror})") from None

    @contextmanager
    def kept_up_to_date(self) -> Generator[None]:
        """Read the file every second while the block runs, in a thread of its own: its disk may hang."""
        end = Event()
        if file := self._file:

            def watch() -> None:
                while not end.wait(READ_SECONDS):
                    self.read_again(file)

            _warn_of_nobody(self._callers)
            Thread(target=watch, name="refused people", daemon=True).start()
        try:
            yield
        finally:
            end.set()

    def read_again(self, file: Path) -> None:
        """From now on, what the file says now holds."""
        try:
            callers = _read(file)
        except OSError as error:
            problem = str(error.strerror)
            if problem != self._problem:
                _log.error("NEPTUN_MCP_REFUSED_FILE cannot be read, so what was read last holds: %s", problem)
            self._problem = problem
            return
        if callers != self._callers or self._problem:
            _log.info("NEPTUN_MCP_REFUSED_FILE was read again", extra={"fields": {"callers": len(callers)}})
            _warn_of_nobody(callers)
        self._callers, self._problem = callers, ""

    async def check(self, request: Request[Any], clients: Clients) -> None:
        """Refuse these callers with 403: at 401 hosts would sign in again.

        Args:
            request: it went through a `Gate`.
            clients: those of callers, to ask Neptun for the user id of a session.

        Raises:
            Refused: the caller is one of them, or it cannot be found out (503).
        """
        if not self._callers:
            return
        caller = caller_of(request)
        if caller.cookie and caller.user_id is None:
            try:
                user_id = (await clients.client_for(request).user()).id
                caller = request.state.caller = replace(caller, user_id=user_id)
            except SessionRefused:
                pass  # no call succeeds either
            except NeptunError:
                raise Refused("Neptun does not say who you are. Try again in a minute.", 503) from None
        if found := self._callers & {caller.name(caller.user_id), caller.name(None)}:
            words = "You may not use this server any more. Ask its operator."
            raise Refused(words, 403, note=f"NEPTUN_MCP_REFUSED_FILE names {min(found)}")

    def has_user(self, user_id: int) -> bool:
        """Whether a Neptun user is refused."""
        return f"user-{user_id}" in self._callers


def _warn_of_nobody(callers: frozenset[str]) -> None:
    """Log that lines of the file name no caller: nobody would be stopped, or notice."""
    if strange := [caller for caller in callers if not _CALLER.fullmatch(caller)]:
        _log.error(
            "NEPTUN_MCP_REFUSED_FILE names nobody in %d of its lines. Write one caller of the log on each, such as "
            "user-7, and a # before a comment.",
            len(strange),
        )


def _read(file: Path) -> frozenset[str]:
    words = (line.partition("#")[0].strip() for line in read_secret_file(file).splitlines())
    return frozenset(word for word in words if word)
