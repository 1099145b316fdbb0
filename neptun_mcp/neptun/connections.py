"""The connections to Neptun: an HTTPX client for each, kept for one session, within one limit for all of them.

The HTTP library hands what is left over of an answer to the next request on its connection, as that request's answer.
Within one session that would be a mistake; between two it would show one person the other's data.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
import httpx2 as httpx

# A running server closes a connection that was idle for 5 to 6 s.
_KEEPALIVE_SECONDS = 4.0


@dataclass(eq=False)
class Connection:
    """An HTTPX client of one connection, for one session.

    A client of several connections would look at each of its idle ones twice for each request, to see whether the
    server has closed it: a tenth of the time of a busy server.

    Attributes:
        used_at: when it answered last, by the wall clock: others stand still while a laptop sleeps; 0 if never.
    """

    http: httpx.AsyncClient
    cookie: str | None
    used_at: float = 0.0

    @property
    def expired(self) -> bool:
        """Whether nothing was sent for so long that the server may have closed it."""
        return not 0 <= time.time() - self.used_at <= _KEEPALIVE_SECONDS


class Connections:
    """At most `limit` connections to one address, in use or idle; where all are in use, requests wait."""

    def __init__(self, open_client: Callable[[], httpx.AsyncClient], limit: int) -> None:
        self._open_client = open_client
        self._turns = anyio.Semaphore(limit)
        self._idle: list[Connection] = []  # the one that was used last is the last
        self._closed = False
        self._closing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def lease(self, cookie: str | None) -> AsyncGenerator[Connection]:
        """The connection to send one request over; without a session it is used once."""
        async with self._turns:
            surplus = self._take(lambda idle: idle.expired)
            known = next((idle for idle in reversed(self._idle) if idle.cookie == cookie), None)
            if known:
                self._idle.remove(known)
            elif len(self._idle) > self._turns.value:
                surplus.append(self._idle.pop(0))
            await _close(surplus)
            connection = known or Connection(self._open_client(), cookie)
            answered = False
            try:
                yield connection
                answered = True
            finally:
                if answered and cookie is not None and not self._closed:
                    connection.used_at = time.time()
                    self._idle.append(connection)
                    self._close_in_time()
                else:
                    await _close([connection])

    async def renew(self, cookie: str | None) -> None:
        """Use none of a session's idle connections again: another one was lost, and they may be, too."""
        await _close(self._take(lambda idle: idle.cookie == cookie))

    async def aclose(self) -> None:
        """Close the connections, those in use after it."""
        self._closed = True
        await _close(self._take(lambda _: True))

    def _take(self, which: Callable[[Connection], bool]) -> list[Connection]:
        """Idle connections, which are idle no more."""
        taken = [connection for connection in self._idle if which(connection)]
        if taken:
            self._idle = [connection for connection in self._idle if connection not in taken]
        return taken

    def _close_in_time(self) -> None:
        """See to it that idle connections are closed when they expire, whether or not there is another request."""

        async def close_expired() -> None:
            while self._idle:
                await asyncio.sleep(_KEEPALIVE_SECONDS)
                await _close(self._take(lambda idle: idle.expired))

        if self._closing is None or self._closing.done():
            with suppress(RuntimeError):  # trio: they are closed with the next request, or with the client
                self._closing = asyncio.get_running_loop().create_task(close_expired())


async def _close(connections: Iterable[Connection]) -> None:
    for connection in connections:
        with anyio.CancelScope(shield=True):
            await connection.http.aclose()
