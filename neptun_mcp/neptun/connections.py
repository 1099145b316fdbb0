"""The connections to Neptun: an HTTPX client for each, kept for one session, within one limit for all of them.

The HTTP library hands what is left over of an answer to the next request on its connection, as that request's answer.
Within one session that would be a mistake; between two it would show one person the other's data.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from functools import cached_property
from http.cookiejar import CookieJar

import anyio
import httpx2 as httpx

from .failures import unusable_setting

# A running server closes a connection that was idle for 5 to 6 s.
_KEEPALIVE_SECONDS = 4.0


class _NoCookies(CookieJar):
    """Keeps nothing: with every refusal Neptun hands out an anonymous session under the same name."""

    def extract_cookies(self, response: object, request: object) -> None:
        pass


class _Shared(httpx.AsyncBaseTransport):
    """A transport that is not closed with the client that uses it."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._transport.handle_async_request(request)


class _Connection:
    """An HTTPX client of one connection.

    A client of several connections would look at each of its idle ones twice for each request, to see whether the
    server has closed it: a tenth of the time of a busy server.

    Attributes:
        cookie: the session that it belongs to.
        http: the client.
    """

    def __init__(self, cookie: str | None, http: httpx.AsyncClient) -> None:
        self.cookie = cookie
        self.http = http
        self.used()

    def used(self) -> None:
        # The clock of the wall: others stand still while a laptop sleeps.
        self._used_at = time.time()

    @property
    def expired(self) -> bool:
        """Whether nothing was sent for so long that the server may have closed it."""
        return not 0 <= time.time() - self._used_at <= _KEEPALIVE_SECONDS


class Connections:
    """At most `limit` connections to one address, in use or idle.

    Args:
        address: the base URL.
        connect_timeout: seconds for connecting.
        limit: how many requests are under way at the same time at most; the others wait.
        http_transport: an HTTPX transport to use in place of the network.
    """

    def __init__(
        self,
        address: str,
        *,
        connect_timeout: float,
        limit: int,
        http_transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self._address = address
        # Plain http stays on this machine: there is no certificate to verify, and no proxy may see the cookie.
        self._encrypted = address.startswith("https:")
        # The caller's deadline covers everything after connecting.
        self._timeout = httpx.Timeout(None, connect=connect_timeout)
        self._http_transport = http_transport
        self._limit = limit
        self._turns = anyio.Semaphore(limit)
        self._in_use = 0
        self._idle: list[_Connection] = []  # the one that was used last is the last
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def lease(self, cookie: str | None) -> AsyncGenerator[tuple[httpx.AsyncClient, bool]]:
        """The client to send one request with, and whether that will go over a connection that has answered before.

        Args:
            cookie: the session. Without one the connection is used once.

        Raises:
            Unreachable: a TLS or proxy setting of this machine cannot be used.
        """
        async with self._turns:
            surplus = self._remove_expired()
            known = next((c for c in reversed(self._idle) if c.cookie == cookie), None)
            if known:
                self._idle.remove(known)
            elif self._in_use + len(self._idle) >= self._limit:
                surplus.append(self._idle.pop(0))
            connection, answered = known or _Connection(cookie, self._open()), False
            self._in_use += 1
            try:
                await _close(surplus)
                yield connection.http, known is not None
                answered = True
            finally:
                self._in_use -= 1
                if answered and cookie is not None and not self._closed:
                    connection.used()
                    self._idle.append(connection)
                    self._close_in_time()
                else:
                    await _close([connection])

    async def renew(self, cookie: str | None) -> None:
        """Use none of a session's idle connections again: another one was lost, and they may be, too."""
        lost = [connection for connection in self._idle if connection.cookie == cookie]
        self._idle = [connection for connection in self._idle if connection not in lost]
        await _close(lost)

    async def aclose(self) -> None:
        """Close the connections, those in use after it, and the transport that was given."""
        self._closed = True
        if self._timer:
            self._timer.cancel()
        idle, self._idle = self._idle, []
        await _close(idle)
        if self._http_transport:
            await self._http_transport.aclose()

    def _remove_expired(self) -> list[_Connection]:
        expired = [connection for connection in self._idle if connection.expired]
        if expired:
            self._idle = [connection for connection in self._idle if connection not in expired]
        return expired

    def _close_in_time(self) -> None:
        """See to it that idle connections are closed when they expire, whether or not there is another request."""
        if self._timer is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return  # trio: they are closed with the next request, or with the client
            self._timer = loop.call_later(_KEEPALIVE_SECONDS, self._close_expired, loop)

    def _close_expired(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if expired := self._remove_expired():
            self._closing = loop.create_task(_close(expired))
        if self._idle:
            self._close_in_time()

    def _open(self) -> httpx.AsyncClient:
        try:
            return httpx.AsyncClient(
                cookies=_NoCookies(),
                verify=self._tls,
                trust_env=self._encrypted,
                follow_redirects=False,
                timeout=self._timeout,
                limits=httpx.Limits(max_connections=1, keepalive_expiry=_KEEPALIVE_SECONDS),
                transport=self._http_transport and _Shared(self._http_transport),
            )
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
            raise unusable_setting(self._address) from error

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return httpx.create_ssl_context(verify=self._encrypted, trust_env=self._encrypted)


async def _close(connections: Iterable[_Connection]) -> None:
    for connection in connections:
        with anyio.CancelScope(shield=True):
            await connection.http.aclose()
