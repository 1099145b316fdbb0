"""Maps what HTTPX raises, and what Neptun refuses, to the errors of this package."""

from __future__ import annotations

import math
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from traceback import clear_frames
from typing import Any
from urllib.request import getproxies

import httpx2 as httpx
from pydantic_core import from_json

from . import errors
from .errors import Obstacle

_LONGEST_DATE = 64  # characters

_OBSTACLES: list[tuple[type[Exception], Obstacle]] = [
    (ssl.SSLError, Obstacle.TLS),
    (socket.gaierror, Obstacle.NAME),
    (httpx.ProxyError, Obstacle.PROXY_REFUSED),
    (httpx.ConnectTimeout, Obstacle.TOO_SLOW),
    (httpx.ConnectError, Obstacle.REFUSED),
    (Exception, Obstacle.ENDED),
]
"""What an exception means, if it or one of its causes is of this type; the first that fits counts."""

_NEXT_MAY_HOLD = (Obstacle.REFUSED, Obstacle.PROXY_ENDED, Obstacle.ENDED, Obstacle.NOT_HTTP)


@dataclass
class Progress:
    """How far a request has come, as the HTTP library tells it.

    Attributes:
        peer: name and port that were connected to: Neptun's or a proxy's; None if that is not known.
        through_tunnel: a proxy was asked for a tunnel.
        sent: the first byte of the request itself is about to be written. Until then it certainly did not arrive.
        answered: the head of the answer came, so that it is HTTP.
    """

    peer: tuple[str, int] | None = None
    through_tunnel: bool = False
    sent: bool = False
    answered: bool = False

    async def follow(self, event: str, info: Mapping[str, Any]) -> None:
        """HTTPX's extension `trace`."""
        if event == "connection.connect_tcp.started":
            self.peer = info["host"], info["port"]
        elif event.endswith("send_request_headers.started"):
            if info["request"].method == b"CONNECT":
                self.through_tunnel = True
            else:
                self.sent = True


def unreachable(error: Exception, address: str, progress: Progress) -> errors.Unreachable:
    """What kept an answer from arriving, when HTTPX raised `error`."""
    import h11  # HTTPX has imported it by then

    causes = _causes(error)
    obstacle = next(obstacle for type_, obstacle in _OBSTACLES if any(isinstance(cause, type_) for cause in causes))
    if not progress.answered and any(isinstance(cause, h11.RemoteProtocolError) for cause in causes):
        obstacle = Obstacle.NOT_HTTP
    proxy = _proxy(address, progress)
    if obstacle is Obstacle.ENDED and proxy and not progress.sent:
        obstacle = Obstacle.PROXY_ENDED
    elif obstacle is Obstacle.TLS and progress.through_tunnel:
        proxy = ""
    why = next((cause.verify_message for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), "")
    error_type = errors.ConnectionLost if obstacle in _NEXT_MAY_HOLD else errors.Unreachable
    return error_type(address, obstacle, proxy=proxy, why=why)


def _proxy(address: str, progress: Progress) -> str:
    """Name and port of the proxy that was connected to; empty if there is none, or if that is not known."""
    url = httpx.URL(address)
    own = url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80)
    if progress.peer in (None, own):
        return ""
    name, port = progress.peer
    return f"{f'[{name}]' if ':' in name else name}:{port}"


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None:
        found.append(error)
        # anyio reports the attempts on several addresses of a name as a group.
        error = error.__cause__ or error.__context__ or next(iter(getattr(error, "exceptions", ())), None)
    return found


def refusal(address: str, response: httpx.Response, body: bytes) -> errors.NeptunError:
    """What an answer with a status other than 2xx means."""
    status = response.status_code
    if status == 429:
        return errors.RateLimited(address, _retry_after(response))
    if status == 408 or status >= 500:
        return errors.ServerFailed(address, status, _retry_after(response))
    if status in (301, 302, 303, 307, 308):
        what = f"it redirects elsewhere (status {status}), and the session cookie is sent to no other address"
        return errors.Redirected(address, what)
    if status < 400:
        return errors.NotLikeNeptun(address, f"it answered with status {status}")
    reasons: Any
    try:
        reasons = from_json(body) if body else {}
    except ValueError:
        reasons = None
    if not isinstance(reasons, dict):
        return errors.NotLikeNeptun(address, f"it refused with status {status} and a body that is not JSON")
    if status == 400:
        return errors.BadRequest()
    if status == 401:
        return errors.Unauthorized()
    if status in (403, 404):
        return errors.Denied(status, by_handler="message" not in reasons)
    return errors.NotLikeNeptun(address, f"it answered with status {status}")


def _retry_after(response: httpx.Response) -> float | None:
    """Retry-After in seconds (RFC 9110, 10.2.3: seconds or a date); None when absent or absurd.

    A date is compared with that of the answer, which a server with a clock sends (6.6.1): our clock may differ.
    """
    value, sent = (response.headers.get(name, "")[:_LONGEST_DATE] for name in ("retry-after", "date"))
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - parsedate_to_datetime(sent)).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
    return seconds if math.isfinite(seconds) and 0 <= seconds <= 86_400 else None


def unusable_setting(address: str) -> errors.Unreachable:
    """Which setting of this machine keeps HTTPX from being set up: each is tried by itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trials: dict[str, Callable[[str], object]] = {
        "SSL_CERT_FILE": context.load_verify_locations,
        **dict.fromkeys(("HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY"), _use_proxy),
        "SSLKEYLOGFILE": lambda value: setattr(context, "keylog_filename", value),
    }
    settings = {**os.environ, **{f"{scheme.upper()}_PROXY": value for scheme, value in getproxies().items()}}
    for name, use in trials.items():
        try:
            if value := settings.get(name):
                use(value)
        except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
            return errors.Unreachable(address, Obstacle.SETTING, setting=name, why=_fault(error))
    return errors.Unreachable(address, Obstacle.SETTING)


def _fault(error: Exception) -> str:
    """Why a setting cannot be used, without its value, which may hold a password."""
    if isinstance(error, ImportError):
        return "SOCKS needs the Python package socksio"
    if isinstance(error, ssl.SSLError):
        return "it holds no certificates"
    why = error.strerror if isinstance(error, OSError) else ""
    return why or "it is not the address of a proxy, such as http://proxy.example.com:8080"


def forget_frames(error: BaseException | None) -> None:
    """Let go of what the frames hold in which an error arose, and those before it, such as a whole answer.

    Whoever keeps an error would keep that, too; and in a cycle of both it would stay until Python looks for garbage.
    """
    while error:
        clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def check_proxies() -> None:
    """Raises ValueError for a proxy whose port does not exist: HTTPX would notice it only when it connects."""
    proxies = getproxies()
    for scheme in ("https", "all"):
        if value := proxies.get(scheme):
            _use_proxy(value)


def _use_proxy(value: str) -> None:
    url = httpx.URL(value if "://" in value else f"http://{value}")
    if (url.port or 0) > 65_535:
        raise ValueError("no such port")
    httpx.AsyncHTTPTransport(verify=False, proxy=url)
