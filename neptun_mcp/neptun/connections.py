"""The connections to Neptun: one HTTPX client, with its pool, for each session, within one limit for all of them.

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


class _Pool:
    """The connections of one session.

    Attributes:
        http: the HTTPX client.
        in_use: how many requests are under way.
        opened: how many connections may be open, in use or idle: as many as were in use at the same time.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.in_use = 0
        self.opened = 0
        self._used_at = time.time()

    @property
    def expired(self) -> bool:
        """Whether nothing was sent for so long that the server may have closed the connections."""
        # The clock of the wall: others stand still while a laptop sleeps.
        return not 0 <= time.time() - self._used_at <= _KEEPALIVE_SECONDS

    def begin(self) -> None:
        self.in_use += 1
        self.opened = max(self.opened, self.in_use)

    def end(self) -> None:
        self.in_use -= 1
        self._used_at = time.time()


class Connections:
    """At most `limit` requests to one address at the same time, and as many idle connections.

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
        self._by_cookie: dict[str, _Pool] = {}  # the one that was used last is the last
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
            pool, has_idle = await self._take(cookie)
            try:
                yield pool.http, has_idle
            finally:
                pool.end()
                if cookie is not None and self._by_cookie.get(cookie) is pool:
                    self._close_in_time()
                else:
                    await _close([pool])

    async def renew(self, cookie: str | None) -> None:
        """Use none of a session's connections again: one of them was lost, and the others may be, too."""
        if cookie is not None and (lost := self._by_cookie.pop(cookie, None)):
            await _close([lost])

    async def aclose(self) -> None:
        """Close the connections, those in use after it, and the transport that was given."""
        if self._timer:
            self._timer.cancel()
        pools, self._by_cookie = list(self._by_cookie.values()), {}
        await _close(pools)
        if self._http_transport:
            await self._http_transport.aclose()

    async def _take(self, cookie: str | None) -> tuple[_Pool, bool]:
        """The pool for a request, which is counted as begun; and whether it has an idle connection."""
        closed = self._remove_expired()
        pool = self._by_cookie.pop(cookie, None) if cookie is not None else None
        if pool is None or pool.expired:  # an expired one is in use still: whoever uses it last closes it
            pool = _Pool(self._open(keep=cookie is not None))
        has_idle = pool.in_use < pool.opened
        if not has_idle:
            closed += self._make_room()
        if cookie is not None:
            self._by_cookie[cookie] = pool
        pool.begin()
        await _close(closed)
        return pool, has_idle

    def _make_room(self) -> list[_Pool]:
        """The pools that were not used for longest, which give way to a new connection."""
        free = self._limit - sum(pool.opened for pool in self._by_cookie.values())
        closed: list[_Pool] = []
        for cookie, pool in list(self._by_cookie.items()):
            if free > 0:
                break
            if not pool.in_use:
                closed.append(self._by_cookie.pop(cookie))
                free += pool.opened
        return closed

    def _remove_expired(self) -> list[_Pool]:
        expired = {cookie: pool for cookie, pool in self._by_cookie.items() if pool.expired and not pool.in_use}
        for cookie in expired:
            del self._by_cookie[cookie]
        return list(expired.values())

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
        if self._by_cookie:
            self._close_in_time()

    def _open(self, *, keep: bool) -> httpx.AsyncClient:
        limits = httpx.Limits(max_keepalive_connections=None if keep else 0, keepalive_expiry=_KEEPALIVE_SECONDS)
        try:
            return httpx.AsyncClient(
                cookies=_NoCookies(),
                verify=self._tls,
                trust_env=self._encrypted,
                follow_redirects=False,
                timeout=self._timeout,
                limits=limits,
                transport=self._http_transport and _Shared(self._http_transport),
            )
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
            raise unusable_setting(self._address) from error

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return httpx.create_ssl_context(verify=self._encrypted, trust_env=self._encrypted)


async def _close(pools: Iterable[_Pool]) -> None:
    """Close those that are not in use; whoever uses another last closes it."""
    for pool in pools:
        if not pool.in_use:
            with anyio.CancelScope(shield=True):
                await pool.http.aclose()
