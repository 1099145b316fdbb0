"""What a server does not wait for: peers that leave an answer unread, and, at its end, messages that will not arrive.

A head that is never finished and a connection that is never used reach no application: a gateway ends those.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import anyio

PEER_SECONDS = 15.0
"""How long a peer may leave an answer unread before its connection ends."""

_SIGNALS = [signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGBREAK") if name in signal.Signals.__members__]


class Ending:
    """The end of a server: it cancels what waits for a message that will not arrive any more.

    Attributes:
        has_begun: whether the process has been told to end.
    """

    def __init__(self) -> None:
        self.has_begun = False
        self._waits = set[anyio.CancelScope]()

    def begin(self) -> None:
        """Cancel what waits, now and from now on."""
        self.has_begun = True
        for wait in self._waits:
            wait.cancel()

    @contextmanager
    def cancels(self) -> Generator[None]:
        """Cancel the block when the server ends."""
        with anyio.CancelScope() as wait:
            self._waits.add(wait)
            if self.has_begun:
                wait.cancel()
            try:
                yield
            finally:
                self._waits.remove(wait)

    @contextmanager
    def begins_with_signals(self) -> Generator[None]:
        """Begin with the signal that ends the web server, whose own handler is called as well.

        The web server ends the lifespan only once all requests are over, and these wait for the end.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop, before = asyncio.get_running_loop(), dict[int, Any]()

        def end(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self.begin)
            before[number](number, frame)

        for number in _SIGNALS:
            if callable(handler := signal.getsignal(number)):  # else no web server waits for it
                before[number] = handler
                signal.signal(number, end)
        try:
            yield
        finally:
            for number, handler in before.items():
                if signal.getsignal(number) is end:
                    signal.signal(number, handler)


def end_unread_connections(listener: socket.socket) -> None:
    """Let the system end the connections of a listener whose peers read nothing for `PEER_SECONDS`.

    A web server cannot: closed, a connection stays until the peer has read what was sent. Only Linux has this.
    """
    with suppress(AttributeError):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(PEER_SECONDS * 1000))
