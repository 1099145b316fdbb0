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
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from http.cookiejar import CookieJar
from io import BytesIO
from typing import Any, cast

import anyio
import httpx2 as httpx
from pydantic_core import from_json

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

ATTEMPTS = 3
"""How often a reading request is sent at most, where sending it again can help."""

# A running server closes a connection that was idle for 5 to 6 s.
_KEEPALIVE_SECONDS = 4.0
_ID_IN_PATH = re.compile(r"/([\w-]+)/\d[^/?]*")
_KNOWN_FIELDS = frozenset({"user_id", "project_id", "import_id", "resource_type", "import_source_type"})
_CHECK_ADDRESS = "Check NEPTUN_BASE_URL and the network, then try again."


_log = logging.getLogger(__name__)


class TimeLimit:
    """The time that one call may take, however many requests it makes.

    Only time inside `spend` counts: a person who reads a question takes none of it.

    Attributes:
        seconds: the limit.
        spent: the seconds that were used so far.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.spent = 0.0

    @contextmanager
    def spend(self, share: float = 1.0) -> Generator[None]:
        """Let the block take what is left, or a share of it.

        Raises:
            TimeoutError: the block took longer, and was cancelled.
        """
        allowed = max(0.0, self.seconds - self.spent) * share
        started = anyio.current_time()
        try:
            with anyio.fail_after(allowed):
                yield
        finally:
            self.spent += min(allowed, anyio.current_time() - started)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer with a 2xx status."""

    status: int
    headers: httpx.Headers
    body: bytes


class _NoCookies(CookieJar):
    """Keeps nothing: with every refusal Neptun hands out an anonymous session under the same name."""

    def extract_cookies(self, response: object, request: object) -> None:
        pass


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
        # The caller's deadline covers everything after connecting.
        self._timeout = httpx.Timeout(None, connect=timeout / 3)
        self._limits = httpx.Limits(
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=_KEEPALIVE_SECONDS,
        )
        self._http_transport = http_transport

    @cached_property
    def _http(self) -> httpx.AsyncClient:
        # Plain http stays on this machine: there is no certificate to verify, and no proxy may see the cookie.
        encrypted = self.address.startswith("https:")
        try:
            return httpx.AsyncClient(
                cookies=_NoCookies(),
                verify=encrypted,
                trust_env=encrypted,
                follow_redirects=False,
                timeout=self._timeout,
                limits=self._limits,
                transport=self._http_transport,
            )
        except (OSError, ValueError, ImportError) as error:
            raise Unreachable(
                f"{self.address} cannot be reached: a TLS or proxy setting of this machine cannot be used.",
                "Check SSL_CERT_FILE, SSL_CERT_DIR, HTTPS_PROXY, ALL_PROXY and NO_PROXY.",
            ) from error

    async def aclose(self) -> None:
        """Close every connection."""
        if "_http" in self.__dict__:
            await self._http.aclose()

    async def read(self, method: str, path: str, **options: Any) -> Answer:
        """`send` for requests that change nothing: sent again, after a pause, where that can help.

        The pause is what the server asked for, else half a second doubled each time and jittered. It ends with
        the caller's deadline at the latest.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await self.send(method, path, attempt=attempt, **options)
            except (RateLimited, ServerFailed, ConnectionLost) as error:
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
        on_sending: Callable[[], None] | None = None,
        attempt: int = 1,
    ) -> Answer:
        """One request and its complete answer; never repeated.

        Args:
            cookie: the session; sent to the configured host alone.
            on_sending: called when there is a connection and the first byte is about to be written. Until then the
                request certainly did not arrive.
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
            extensions={"trace": _tracer(on_sending)} if on_sending else None,
        )
        started, outcome = anyio.current_time(), "given up"
        try:
            response = await self._http.send(request, stream=True)
            outcome = f"{response.status_code}, incomplete"
            try:
                body = await self._body(response)
            finally:
                await response.aclose()
            outcome = f"{response.status_code}, {len(body)} bytes"
        except httpx.DecodingError as error:
            raise NotLikeNeptun(self.address, "its answer could not be decompressed") from error
        except (httpx.TransportError, httpx.InvalidURL, ssl.SSLError) as error:
            outcome = type(error).__name__
            raise _unreachable(self.address, error) from error
        finally:
            if _log.isEnabledFor(logging.DEBUG):
                milliseconds = (anyio.current_time() - started) * 1000
                _log.debug("%s %s: %s in %.0f ms, attempt %d", method, route_of(path), outcome, milliseconds, attempt)
        if response.is_success:
            return Answer(response.status_code, response.headers, body)
        raise _failure(self.address, response, body)

    def _parsed_url(self, path: str) -> httpx.URL:
        return httpx.URL(self.address + path)

    async def _body(self, response: httpx.Response) -> bytes:
        # A BytesIO grows without the copy that joining chunks, or parsing a bytearray, would need.
        body = BytesIO()
        async for chunk in response.aiter_bytes():
            body.write(chunk)
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


def _tracer(on_sending: Callable[[], None]) -> Callable[[str, Mapping[str, Any]], Any]:
    async def trace(event: str, info: Mapping[str, Any]) -> None:
        # A proxy is asked for a tunnel first: that is not the request yet.
        if event.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
            on_sending()

    return trace


def _unreachable(address: str, error: Exception) -> Unreachable:
    causes = _causes(error)
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        reasons = [c.verify_message for c in causes if isinstance(c, ssl.SSLCertVerificationError)]
        why = f" ({reasons[0]})" if reasons else ""
        return Unreachable(
            f"The TLS connection to {address} failed{why}.",
            "Check NEPTUN_BASE_URL; if a company proxy or a private certificate authority is in use, add its "
            "certificate to the system's trust store or name it in SSL_CERT_FILE.",
        )
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Unreachable(f"The host name of {address} was not found.", _CHECK_ADDRESS)
    if isinstance(error, httpx.ProxyError):
        return Unreachable(
            f"The proxy on the way to {address} refused the connection.",
            "Check HTTPS_PROXY (with user name and password, if the proxy wants them) and NO_PROXY.",
        )
    if isinstance(error, httpx.ConnectTimeout):
        return Unreachable(f"Could not connect to {address} in time.", _CHECK_ADDRESS)
    if isinstance(error, httpx.ConnectError):
        return ConnectionLost(f"{address} refused the connection.", _CHECK_ADDRESS)
    return ConnectionLost(
        f"The connection to {address} ended before the answer was complete.", "Try again in a minute."
    )


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
    """Retry-After in seconds (RFC 9110, 10.2.3: seconds or a date); None when absent or absurd."""
    value = response.headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, TypeError, OverflowError):
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or timezone.utc) - datetime.now(timezone.utc)).total_seconds()
    return seconds if math.isfinite(seconds) and 0 <= seconds <= 86_400 else None
