"""One exchange with Neptun over HTTPX: what may be sent where, how much may come back, what a failure means.

At level `debug` the logger of this module has a line for each request: method, route, status, duration and attempt,
without ids, headers or bodies.
"""

from __future__ import annotations

import logging
import random
import re
import ssl
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property, lru_cache
from http.cookiejar import CookieJar
from io import BytesIO
from typing import Any

import anyio
import httpcore2
import httpx2 as httpx

from .connections import Connections
from .errors import ConnectionLost, NotLikeNeptun, RateLimited, ServerFailed, TooLarge
from .failures import Progress, check_proxies, refusal, unreachable, unusable_setting
from .models import COOKIE_NAME

ATTEMPTS = 3
"""How often a reading request is sent at most, where sending it again can help."""

_ID_IN_PATH = re.compile(r"/([\w-]+)/\d[^/?]*")

_LONG_BODY = 2**24  # bytes that are worth a connection of their own
_CHUNK = 2**18  # bytes; asyncio receives as many at once
_NOT_JSON = b" \t\r\n\0\xef\xbb\xbf\xfe\xff"  # blanks, byte order marks, and the zeros of UTF-16

_log = logging.getLogger(__name__)


@dataclass
class Transfer:
    """How much the requests of a call have received, kept up to date by them, to show it meanwhile.

    Attributes:
        route: method and route of the latest request.
        received: bytes of all bodies so far.
        expected: bytes of all bodies, as far as their lengths are known.
    """

    route: str = ""
    received: int = 0
    expected: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer with a 2xx status."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def is_list(self) -> bool:
        """Whether the body begins and ends as an array in JSON, whatever its charset."""
        text = self.body.strip(_NOT_JSON)  # not copied where nothing surrounds it
        return text[:1] + text[-1:] == b"[]"


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


@dataclass(kw_only=True, eq=False)
class Transport:
    """The connections to one Neptun, shared by all who use this process. `NeptunClient` explains its attributes."""

    address: str
    timeout: float
    max_connections: int
    max_response_bytes: int
    http_transport: httpx.AsyncBaseTransport | None
    user_agent: str

    def __post_init__(self) -> None:
        self._is_encrypted = self.address.startswith("https:")
        self._headers = {
            # With any other Accept a running server answers a refusal with a page of HTML.
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": self.user_agent,
        }
        # Parsing a URL takes longer than waiting for a fast server.
        self._url = lru_cache(maxsize=256)(self._parsed_url)
        self._connections = Connections(self._open_client, self.max_connections)

    async def aclose(self) -> None:
        """Close every connection, and the transport that was given."""
        await self._connections.aclose()
        if self.http_transport:
            await self.http_transport.aclose()

    async def read(self, method: str, path: str, **options: Any) -> Answer:
        """`send` for requests that change nothing: sent again, after a pause, where that can help.

        The pause is what the server asked for, else half a second doubled each time and jittered. It ends with
        the caller's deadline at the latest.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self.send(method, path, attempt=attempt, **options)
            except (RateLimited, ServerFailed, ConnectionLost) as error:
                if isinstance(error, ConnectionLost):
                    await self._connections.renew(options.get("cookie"))
                pause = getattr(error, "retry_after", None)
                if pause is None:
                    pause = 0.25 * 2**attempt * random.uniform(0.5, 1.0)  # noqa: S311
                if attempt == ATTEMPTS or anyio.current_time() + pause >= anyio.current_effective_deadline():
                    raise
            _log.debug("%s %s: again in %.1f s", method, route_of(path), pause)
            await anyio.sleep(pause)
        raise AssertionError("unreachable")  # pragma: no cover

    async def send(
        self,
        method: str,
        path: str,
        *,
        cookie: str | None = None,
        json: object = None,
        progress: Progress | None = None,
        transfer: Transfer | None = None,
        attempt: int = 1,
    ) -> Answer:
        """One request and its complete answer; never repeated.

        Args:
            cookie: the session; sent to the configured address alone.
            progress: told how far the request has come.
            transfer: told what is received.
            attempt: which one this is, for the log.

        Raises:
            Denied: 401 (`Unauthorized`), 403, 404.
            BadRequest: 400.
            RateLimited, ServerFailed: 429; 408 and 5xx.
            NotLikeNeptun: a redirect, another 4xx, what is not JSON, a body that is too large or cannot be decoded.
            Unreachable: everything that keeps the answer from arriving completely.
        """
        headers = {**self._headers, "Cookie": f"{COOKIE_NAME}={cookie}"} if cookie else self._headers
        request = httpx.Request(method, self._url(path), headers=headers, json=json)
        if transfer:
            transfer.route = f"{method} {route_of(path)}"
        trace = progress or Progress()
        trace.sent |= self.http_transport is not None  # which reports no progress
        started, outcome = anyio.current_time(), "given up"
        try:
            # A deletion has a connection of its own: none that the server may just be closing, or on which the rest of
            # another answer could pass for the outcome.
            async with self._connections.lease(None if method == "DELETE" else cookie) as connection:
                if progress or not connection.used_at:
                    request.extensions["trace"] = trace.follow
                response = await connection.http.send(request, stream=True)
                trace.answered, outcome = True, f"{response.status_code}, incomplete"
                try:
                    body = await self._body(response, transfer or Transfer())
                finally:
                    await response.aclose()
                outcome = f"{response.status_code}, {len(body)} bytes"
        except httpx.DecodingError as error:
            raise NotLikeNeptun(self.address, "its answer could not be decompressed") from error
        except (httpx.TransportError, httpcore2.NetworkError, httpx.InvalidURL, ssl.SSLError) as error:
            outcome = type(error).__name__
            # The text of a ProtocolError repeats what was malformed, which may be an echo of the cookie.
            cause = None if isinstance(error, httpx.ProtocolError) else error
            raise unreachable(error, self.address, trace) from cause
        finally:
            if _log.isEnabledFor(logging.DEBUG):
                milliseconds = (anyio.current_time() - started) * 1000
                _log.debug("%s %s: %s in %.0f ms, attempt %d", method, route_of(path), outcome, milliseconds, attempt)
        if response.is_success:
            return Answer(response.status_code, response.headers, body)
        raise refusal(self.address, response, body)

    def _parsed_url(self, path: str) -> httpx.URL:
        return httpx.URL(self.address + path)

    def _open_client(self) -> httpx.AsyncClient:
        try:
            return httpx.AsyncClient(
                cookies=_NoCookies(),
                verify=self._tls,
                # Plain http stays on this machine: no proxy may see the cookie.
                trust_env=self._is_encrypted,
                # The caller's deadline covers everything else, and a lost packet is not mistaken for an outage.
                timeout=httpx.Timeout(None, connect=self.timeout / 3),
                limits=httpx.Limits(max_connections=1),
                transport=self.http_transport and _Shared(self.http_transport),
            )
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
            raise unusable_setting(self.address) from error

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        if self._is_encrypted:
            check_proxies()
        return httpx.create_ssl_context(verify=self._is_encrypted, trust_env=self._is_encrypted)

    async def _body(self, response: httpx.Response, transfer: Transfer) -> bytes:
        # A BytesIO grows without the copy that joining chunks, or parsing a bytearray, would need.
        body = BytesIO()
        length = response.headers.get("content-length", "")
        # Decoded, there is another number of bytes; beside chunks, the header does not count (RFC 9112, 6.3).
        is_as_sent = response.headers.keys().isdisjoint({"content-encoding", "transfer-encoding"})
        expected = int(length) if length.isdecimal() and is_as_sent else 0
        transfer.expected += expected
        is_long = expected >= _LONG_BODY and "network_stream" in response.extensions
        async for chunk in _long_body(response, expected) if is_long else response.aiter_bytes():
            body.write(chunk)
            transfer.received += len(chunk)
            if body.tell() > self.max_response_bytes:
                raise TooLarge(self.address, f"its answer is larger than {self.max_response_bytes / 2**20:g} MB")
        return body.getvalue()


async def _long_body(response: httpx.Response, length: int) -> AsyncGenerator[bytes]:
    """The chunks of a body, read past HTTPX, which copies each of them four times: that takes as long as receiving it.

    This needs HTTP/1.1, and a body that is neither encoded nor in chunks: then the first chunk is all that HTTPX has
    received of it, and the rest is what comes next from the network. `chunks` stays open until the end, as closing it
    closes the connection. HTTPX does not learn that the body is complete, so the connection serves no other request.

    Raises:
        httpx.RemoteProtocolError, httpcore2.NetworkError: the connection ended before the body.
    """
    stream = response.extensions["network_stream"]
    async with aclosing(response.aiter_bytes()) as chunks:
        chunk = await anext(chunks, b"")
        while chunk:
            yield chunk
            length -= len(chunk)
            chunk = await stream.read(min(length, _CHUNK)) if length else b""
    if length:
        raise httpx.RemoteProtocolError("the connection ended before the body")


def route_of(path: str) -> str:
    """A path with names in place of ids: `/api/users/{user_id}/projects/{project_id}/…`."""
    return _ID_IN_PATH.sub(lambda match: f"/{match[1]}/{{{match[1].removesuffix('s').replace('-', '_')}_id}}", path)
