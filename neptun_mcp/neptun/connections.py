"""The connections to Neptun: a few for everybody, each of which serves the session that opened it and no other.

The HTTP library hands what is left over of an answer to the next request on its connection, as that request's answer.
Within one session that would be a mistake; between two it would show one person the other's data.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncGenerator
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


class Connection:
    """A connection for one request at a time; it opens with the first.

    Attributes:
        http: the HTTPX client that sends on it.
        kept: it has answered before. If it has silently died since, nobody knows.
    """

    def __init__(self, http: httpx.AsyncClient, cookie: str | None) -> None:
        self.http = http
        self.kept = False
        self._cookie = cookie
        self._idle_since = 0.0

    def serves(self, cookie: str | None) -> bool:
        return self._cookie == cookie

    def keep(self) -> None:
        # The clock of the wall: others stand still while a laptop sleeps.
        self.kept, self._idle_since = True, time.time()

    @property
    def expired(self) -> bool:
        return not 0 <= time.time() - self._idle_since <= _KEEPALIVE_SECONDS


class Connections:
    """At most `limit` connections to one address, in use or idle.

    Args:
        address: the base URL.
        connect_timeout: seconds for connecting.
        limit: how many are open at the same time at most; requests wait for one.
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
        self._turns = anyio.Semaphore(limit)
        self._idle: list[Connection] = []  # the one that was used last is the last

    @asynccontextmanager
    async def lease(self, cookie: str | None, *, fresh: bool = False) -> AsyncGenerator[Connection]:
        """A connection for one request, to be kept if the block ends without an error.

        Args:
            cookie: the session. Without one the connection is used once.
            fresh: open one, even if there is an idle one.

        Raises:
            Unreachable: a TLS or proxy setting of this machine cannot be used.
        """
        async with self._turns:
            connection = await self._take(cookie, fresh)
            try:
                yield connection
            except BaseException:
                await _close(connection)
                raise
            if cookie is None:
                await _close(connection)
            else:
                connection.keep()
                self._idle.append(connection)

    def has_idle(self, cookie: str | None) -> bool:
        """Whether a connection of the session would be used again."""
        return any(connection.serves(cookie) for connection in self._idle)

    async def close_idle(self) -> None:
        """Close the connections that are not in use."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await _close(connection)

    async def aclose(self) -> None:
        """Close every connection that is not in use, and the transport that was given."""
        await self.close_idle()
        if self._http_transport:
            await self._http_transport.aclose()

    async def _take(self, cookie: str | None, fresh: bool) -> Connection:
        expired = [connection for connection in self._idle if connection.expired]
        self._idle = [connection for connection in self._idle if not connection.expired]
        mine = [] if fresh else [connection for connection in self._idle if connection.serves(cookie)]
        if mine:
            self._idle.remove(mine[-1])
        elif len(self._idle) > self._turns.value:
            # All others are in use: somebody else's makes room.
            expired.append(self._idle.pop(0))
        for connection in expired:
            await _close(connection)
        return mine[-1] if mine else Connection(self._open(), cookie)

    def _open(self) -> httpx.AsyncClient:
        try:
            return httpx.AsyncClient(
                cookies=_NoCookies(),
                verify=self._tls,
                trust_env=self._encrypted,
                follow_redirects=False,
                timeout=self._timeout,
                limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None),
                transport=self._http_transport and _Shared(self._http_transport),
            )
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
            raise unusable_setting(self._address) from error

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return httpx.create_ssl_context(verify=self._encrypted, trust_env=self._encrypted)


async def _close(connection: Connection) -> None:
    with anyio.CancelScope(shield=True):
        await connection.http.aclose()
