"""One exchange with Neptun over HTTPX: what may be sent where, how much may come back, what a failure means.

At level `debug` the logger of this module has a line for each request: method, route, status, duration and attempt,
without ids, headers or bodies.
"""

from __future__ import annotations

import logging
import math
import random
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from io import BytesIO
from typing import Any, cast

import anyio
import httpx2 as httpx
from pydantic_core import from_json

from .connections import Connections
from .errors import (
    BadRequest,
    ConnectionLost,
    Denied,
    NeptunError,
    NotLikeNeptun,
    RateLimited,
    ServerFailed,
    Unauthorized,
    Unreachable,
)
from .models import COOKIE_NAME
from .time_limit import start_later

ATTEMPTS = 3
"""How often a reading request is sent at most, where sending it again can help."""

_ID_IN_PATH = re.compile(r"/([\w-]+)/\d[^/?]*")
_KNOWN_FIELDS = frozenset({"user_id", "project_id", "import_id", "resource_type", "import_source_type"})
_LONGEST_DATE = 64
_CHECK_ADDRESS = "Check NEPTUN_BASE_URL and the network, then try again."
_CHECK_PROXY = "Check HTTPS_PROXY, ALL_PROXY and NO_PROXY, and whether the proxy runs."


_log = logging.getLogger(__name__)


@dataclass
class Transfer:
    """How much the requests of a call have received, kept up to date by them, for who wants to show it.

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


class Transport:
    """The connections to one Neptun, shared by everyone who uses this process.

    Args:
        base_url: `https://host[:port][/path]`, or `http://` to this machine.
        timeout: seconds for connecting, a third of it, so that a lost packet is not mistaken for an outage.
        max_connections: how many connections are open at the same time at most.
        max_response_bytes: a longer body, after decompression, is refused.
        http_transport: an HTTPX transport to use in place of the network.
        user_agent: how this program names itself.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float,
        max_connections: int,
        max_response_bytes: int,
        http_transport: httpx.AsyncBaseTransport | None,
        user_agent: str,
    ) -> None:
        self.address = base_url
        self.max_response_bytes = max_response_bytes
        self._headers = {
            # With any other Accept a running server answers a refusal with a page of HTML.
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": user_agent,
        }
        # Parsing a URL takes longer than waiting for a fast server.
        self._url = lru_cache(maxsize=256)(self._parsed_url)
        self._connections = Connections(
            base_url, connect_timeout=timeout / 3, limit=max_connections, http_transport=http_transport
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._connections.aclose()

    async def read(self, method: str, path: str, **options: Any) -> Answer:
        """`send` for requests that change nothing: sent again, after a pause, where that can help.

        The pause is what the server asked for, else half a second doubled each time and jittered. It ends with
        the caller's deadline at the latest.
        """
        fresh = False
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if attempt == 1:
                    return await self._first_attempt(method, path, **options)
                return await self.send(method, path, attempt=attempt, fresh=fresh, **options)
            except (RateLimited, ServerFailed, ConnectionLost) as error:
                fresh = isinstance(error, ConnectionLost)
                pause = getattr(error, "retry_after", None)
                if pause is None:
                    pause = 0.25 * 2**attempt * random.uniform(0.5, 1.0)  # noqa: S311
                if attempt == ATTEMPTS or anyio.current_time() + pause >= anyio.current_effective_deadline():
                    raise
            _log.debug("%s %s: again in %.1f s", method, route_of(path), pause)
            await anyio.sleep(pause)
        raise AssertionError("unreachable")  # pragma: no cover

    async def _first_attempt(self, method: str, path: str, *, cookie: str | None = None, **options: Any) -> Answer:
        """`send` once; and once more, on a new connection, while a kept one stays silent.

        A kept connection may be dead without anybody having been told. If the head of the answer has not come in a
        third of the time that is left, the second request goes beside the first, which may still be answered: a slow
        server has all the time that the caller has. The first outcome counts.
        """
        left = anyio.current_effective_deadline() - anyio.current_time()
        if math.isinf(left) or not self._connections.has_idle(cookie):
            return await self.send(method, path, cookie=cookie, **options)
        outcomes: list[Answer | NeptunError] = []
        asked_again = False

        async with anyio.create_task_group() as tasks:

            async def ask(fresh: bool) -> None:
                try:
                    answer = await self.send(method, path, cookie=cookie, on_answer=call_off, fresh=fresh, **options)
                    outcomes.append(answer)
                except NeptunError as error:
                    outcomes.append(error)
                if asked_again:
                    tasks.cancel_scope.cancel()

            async def ask_again() -> None:
                nonlocal asked_again
                if outcomes:
                    return
                asked_again = True
                _log.debug("%s %s: a kept connection is silent, trying a new one", method, route_of(path))
                await self._connections.close_idle()
                await ask(fresh=True)

            call_off = start_later(tasks, left / 3, ask_again)
            try:
                await ask(fresh=False)
            finally:
                call_off()
        outcome = outcomes.pop(0)
        if isinstance(outcome, NeptunError):
            raise outcome
        return outcome

    async def send(
        self,
        method: str,
        path: str,
        *,
        cookie: str | None = None,
        json: object = None,
        on_sending: Callable[[], None] | None = None,
        on_answer: Callable[[], object] | None = None,
        transfer: Transfer | None = None,
        fresh: bool = False,
        attempt: int = 1,
    ) -> Answer:
        """One request and its complete answer; never repeated.

        Args:
            cookie: the session; sent to the configured host alone.
            on_sending: called when there is a connection and the first byte is about to be written. Until then the
                request certainly did not arrive.
            on_answer: called when the head of the answer has come.
            transfer: told what is received.
            fresh: use a new connection, even if there is an idle one.
            attempt: which one this is, for the log.

        Raises:
            Denied: 401 (`Unauthorized`), 403, 404 and other 4xx.
            BadRequest: 400.
            RateLimited, ServerFailed: 429; 408 and 5xx.
            NotLikeNeptun: a redirect, a refusal that is not JSON, a body that is too large or cannot be decoded.
            Unreachable: everything that keeps the answer from arriving completely.
        """
        request = httpx.Request(
            method,
            self._url(path),
            headers={**self._headers, "Cookie": f"{COOKIE_NAME}={cookie}"} if cookie else self._headers,
            json=json,
        )
        if transfer:
            transfer.route = f"{method} {route_of(path)}"
        progress = _Progress(on_sending)
        started, outcome = anyio.current_time(), "given up"
        try:
            async with self._connections.lease(cookie, fresh=fresh) as connection:
                if on_sending or not connection.kept:
                    request.extensions["trace"] = progress.follow
                response = await connection.http.send(request, stream=True)
                outcome = f"{response.status_code}, incomplete"
                if on_answer:
                    on_answer()
                try:
                    body = await self._body(response, transfer)
                finally:
                    await response.aclose()
                outcome = f"{response.status_code}, {len(body)} bytes"
        except httpx.DecodingError as error:
            raise NotLikeNeptun(self.address, "its answer could not be decompressed") from error
        except httpx.ProtocolError as error:
            outcome = type(error).__name__
            # Its text repeats what was malformed, which may be an echo of the cookie.
            raise self._unreachable(error, progress) from None
        except (httpx.TransportError, httpx.InvalidURL, ssl.SSLError) as error:
            outcome = type(error).__name__
            raise self._unreachable(error, progress) from error
        finally:
            if _log.isEnabledFor(logging.DEBUG):
                milliseconds = (anyio.current_time() - started) * 1000
                _log.debug("%s %s: %s in %.0f ms, attempt %d", method, route_of(path), outcome, milliseconds, attempt)
        if response.is_success:
            return Answer(response.status_code, response.headers, body)
        raise _failure(self.address, response, body)

    def _unreachable(self, error: Exception, progress: _Progress) -> Unreachable:
        """What kept the answer from arriving."""
        causes = _causes(error)
        proxy = self._proxy_name(progress)
        there, check = (f"the {proxy}", _CHECK_PROXY) if proxy else (self.address, _CHECK_ADDRESS)
        if any(isinstance(cause, ssl.SSLError) for cause in causes):
            reasons = [c.verify_message for c in causes if isinstance(c, ssl.SSLCertVerificationError)]
            why = f" ({reasons[0]})" if reasons else ""
            return Unreachable(
                f"The TLS connection to {self.address if progress.through_tunnel else there} failed{why}.",
                "Check NEPTUN_BASE_URL; if a company proxy or a private certificate authority is in use, add its "
                "certificate to the system's trust store or name it in SSL_CERT_FILE.",
            )
        if any(isinstance(cause, socket.gaierror) for cause in causes):
            return Unreachable(f"The host name of {there} was not found.", check)
        if isinstance(error, httpx.ProxyError):
            return Unreachable(
                f"The {proxy or 'proxy'} on the way to {self.address} refused the connection.",
                "Check HTTPS_PROXY (with user name and password, if the proxy wants them) and NO_PROXY.",
            )
        if isinstance(error, httpx.ConnectTimeout):
            return Unreachable(f"Could not connect to {there} in time.", check)
        if isinstance(error, httpx.ConnectError):
            return ConnectionLost(f"{f'The {proxy}' if proxy else there} refused the connection.", check)
        if proxy and not progress.sent:
            return ConnectionLost(f"The {proxy} ended the connection before it led to {self.address}.", check)
        return ConnectionLost(
            f"The connection to {self.address} ended before the answer was complete.", "Try again in a minute."
        )

    def _proxy_name(self, progress: _Progress) -> str:
        """The proxy that was connected to, with its address; empty if there is none, or if that is not known."""
        if progress.peer in (None, self._host_and_port):
            return ""
        host, port = progress.peer
        return f"proxy {f'[{host}]' if ':' in host else host}:{port}"

    @cached_property
    def _host_and_port(self) -> tuple[str, int]:
        url = self._url("")
        return url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80)

    def _parsed_url(self, path: str) -> httpx.URL:
        return httpx.URL(self.address + path)

    async def _body(self, response: httpx.Response, transfer: Transfer | None) -> bytes:
        # A BytesIO grows without the copy that joining chunks, or parsing a bytearray, would need.
        body = BytesIO()
        transfer = transfer or Transfer()
        length = response.headers.get("content-length", "")
        if length.isdecimal() and "content-encoding" not in response.headers:
            transfer.expected += int(length)
        async for chunk in response.aiter_bytes():
            body.write(chunk)
            transfer.received += len(chunk)
            if body.tell() > self.max_response_bytes:
                raise NotLikeNeptun(
                    self.address,
                    f"its answer is larger than {self.max_response_bytes / 2**20:g} MB",
                    "If the project really is that large, raise NEPTUN_MAX_RESPONSE_MB.",
                )
        return body.getvalue()


def route_of(path: str) -> str:
    """A path with names in place of ids: `/api/users/{user_id}/projects/{project_id}/…`."""
    return _ID_IN_PATH.sub(lambda match: f"/{match[1]}/{{{match[1].removesuffix('s').replace('-', '_')}_id}}", path)


class _Progress:
    """How far a request has come, as the HTTP library tells it.

    Args:
        on_sending: called when the first byte of the request is about to be written.

    Attributes:
        peer: the host and the port that were connected to: Neptun's or a proxy's; None if that is not known.
        through_tunnel: a proxy was asked for a tunnel.
        sent: the request itself was begun to be sent.
    """

    def __init__(self, on_sending: Callable[[], None] | None) -> None:
        self._on_sending = on_sending
        self.peer: tuple[str, int] | None = None
        self.through_tunnel = False
        self.sent = False

    async def follow(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.started":
            self.peer = info["host"], info["port"]
        elif event.endswith("send_request_headers.started"):
            if info["request"].method == b"CONNECT":
                self.through_tunnel = True
            else:
                self.sent = True
                if self._on_sending:
                    self._on_sending()


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None:
        found.append(error)
        # anyio reports the attempts on several addresses of a host as a group.
        error = error.__cause__ or error.__context__ or next(iter(getattr(error, "exceptions", ())), None)
    return found


def _failure(address: str, response: httpx.Response, body: bytes) -> NeptunError:
    """The one place where an HTTP status becomes an error."""
    status = response.status_code
    if status == 429:
        return RateLimited(address, _retry_after(response))
    if status == 408 or status >= 500:
        return ServerFailed(address, status, _retry_after(response))
    if status < 400:
        return NotLikeNeptun(
            address,
            f"it redirects elsewhere (status {status}), and the session cookie is sent to no other address",
            "Set NEPTUN_BASE_URL to the final address of the site.",
        )
    refusal: Any
    try:
        refusal = from_json(body) if body else {}
    except ValueError:
        refusal = None
    if not isinstance(refusal, dict):
        return NotLikeNeptun(address, f"it refused with status {status} and a body that is not JSON")
    if status == 400:
        return BadRequest(_refused_fields(cast("dict[str, Any]", refusal)))
    if status == 401:
        return Unauthorized()
    if status in (403, 404):
        return Denied(status)
    return NotLikeNeptun(address, f"it answered with status {status}")


def _refused_fields(refusal: Mapping[str, Any]) -> list[str]:
    """The parameters that a running server names in `data.issues[].path`; known names only, never its text."""
    try:
        paths = [issue["path"][0] for issue in refusal["data"]["issues"]]
    except (KeyError, IndexError, TypeError):
        return []
    return [path for path in paths if isinstance(path, str) and path in _KNOWN_FIELDS]


def _retry_after(response: httpx.Response) -> float | None:
    """Retry-After in seconds (RFC 9110, 10.2.3: seconds or a date); None when absent or absurd.

    A date is measured against that of the answer: the two clocks may differ.
    """
    value = response.headers.get("retry-after", "")[:_LONGEST_DATE]
    try:
        seconds = float(value)
    except ValueError:
        moment = _moment(value)
        if moment is None:
            return None
        now = _moment(response.headers.get("date", "")[:_LONGEST_DATE]) or datetime.now(timezone.utc)
        seconds = (moment - now).total_seconds()
    return seconds if math.isfinite(seconds) and 0 <= seconds <= 86_400 else None


def _moment(date: str) -> datetime | None:
    """A date of HTTP; None for anything else."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment.replace(tzinfo=moment.tzinfo or timezone.utc)
