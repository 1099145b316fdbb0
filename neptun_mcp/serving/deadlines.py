"""Connections that wait for their peers no longer than it takes; uvicorn alone waits for ever.

uvicorn --http neptun_mcp.serving.deadlines:LimitedProtocol …
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, ClassVar

import anyio
import h11
from starlette.requests import HTTPConnection
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 800
"""In a process. Most systems allow it 1,024 files and sockets, of which some are for Neptun."""

PEER_SECONDS = 15.0
"""How long a peer may take for the head of a request, or not read an answer."""

_ENDING = "ending"  # the key in the state of a request


class Ending:
    """The end of a server: it cancels what waits for a message that will not arrive any more."""

    def __init__(self) -> None:
        self._has_begun = False
        self._waits = set[anyio.CancelScope]()

    def begin(self) -> None:
        """Cancel what waits, now and from now on."""
        self._has_begun = True
        for wait in self._waits:
            wait.cancel()

    @contextmanager
    def cancels(self) -> Generator[None]:
        """Cancel the block when the server ends."""
        with anyio.CancelScope() as wait:
            self._waits.add(wait)
            if self._has_begun:
                wait.cancel()
            try:
                yield
            finally:
                self._waits.remove(wait)


def ending_of(request: HTTPConnection[Any]) -> Ending:
    """That of the server that got a request. Without `LimitedProtocol` nobody says when it begins."""
    return getattr(request.state, _ENDING, None) or Ending()


class LimitedProtocol(H11Protocol):
    """uvicorn's protocol on h11, whose parser limits the length of a head, with limits of time and number.

    A connection that waits for its peer longer than `PEER_SECONDS` ends, unless it is idle between two requests: for
    how long it may be that is a setting of uvicorn. Of too many connections the one that waits longest makes room.
    """

    _waiting: ClassVar[dict[LimitedProtocol, None]] = {}  # those that wait for their peers, the longest first

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ending: Ending = self.app_state.setdefault(_ENDING, Ending())  # one for all connections
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._note_whose_turn_it_is()
        if len(self.connections) > MAX_CONNECTIONS:
            next(iter(self._waiting)).transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._note_whose_turn_it_is()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._note_whose_turn_it_is()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self.timeout_keep_alive_task = None
        # The connection is not closed before the peer has read what was sent.
        self._note_whose_turn_it_is()

    def shutdown(self) -> None:
        super().shutdown()
        self._ending.begin()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._note_whose_turn_it_is()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._note_whose_turn_it_is()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_waiting()

    def _note_whose_turn_it_is(self) -> None:
        answering = self.conn.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY)
        if answering and not self.flow.write_paused:
            self._stop_waiting()
            return
        self._waiting.setdefault(self, None)
        if self._timer is None and self.timeout_keep_alive_task is None:
            self._timer = self.loop.call_later(PEER_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        self._waiting.pop(self, None)
        if self._timer:
            self._timer.cancel()
            self._timer = None
