"""Addresses behind which there is no Neptun, or to which there is no way: each tool says so, and what to do."""

from __future__ import annotations

import ssl
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from typing import Any, TypeAlias

import anyio
import pytest
import trustme
from mcp.types import CallToolResult

from tests.support import content_of, settings_for

from .neptun import HTML, LOG_IN, Place, open_tools, plain_error_of, start_neptun
from .server import Action, Server, answer, break_tls, full_port, open_tunnel, refusing_port, say, serve, stay_silent

pytestmark = pytest.mark.anyio

WITHOUT_SESSION = [Place.FILES, Place.LOGIN, Place.DELETE]
LONG_AGO = datetime(2001, 1, 1, tzinfo=timezone.utc)

Address: TypeAlias = AbstractAsyncContextManager[tuple[str, Server | None]]
"""An address, and the server that sees the connections to it, if any."""


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def certificate(name: str = "localhost", **options: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with authority().issue_cert(name, **options).private_key_and_cert_chain_pem.tempfile() as path:
        context.load_cert_chain(path)
    return context


@asynccontextmanager
async def trusted() -> AsyncGenerator[None]:
    """Our own certificate authority is named in SSL_CERT_FILE."""
    with authority().cert_pem.tempfile() as path, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", path)
        yield


@asynccontextmanager
async def nowhere(url: str) -> AsyncGenerator[tuple[str, None]]:
    yield url, None


@asynccontextmanager
async def full() -> AsyncGenerator[tuple[str, None]]:
    if sys.platform != "linux":
        pytest.skip("elsewhere a connection for which the queue has no room is refused")
    async with full_port() as port:
        yield f"http://127.0.0.1:{port}", None


@asynccontextmanager
async def encrypted(
    tls: Callable[[], ssl.SSLContext], trust: bool = True, action: Action | None = None
) -> AsyncGenerator[tuple[str, Server]]:
    async with AsyncExitStack() as stack:
        if trust:
            await stack.enter_async_context(trusted())
        if action:
            server = await stack.enter_async_context(serve(action, tls=tls()))
        else:
            server = (await stack.enter_async_context(start_neptun(tls=tls()))).has_one_project().server
        yield server.url, server


@asynccontextmanager
async def behind_proxy(action: Action = open_tunnel) -> AsyncGenerator[tuple[str, Server]]:
    async with encrypted(certificate) as (url, _), serve(action) as server:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HTTPS_PROXY", server.url)
            yield url, server


@asynccontextmanager
async def with_environment(name: str, value: str) -> AsyncGenerator[tuple[str, None]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, value)
        yield "https://localhost:1", None


@asynccontextmanager
async def blurting(scheme: str, greeting: bytes) -> AsyncGenerator[tuple[str, Server]]:
    async with serve(say(), greeting=greeting) as server:
        yield f"{scheme}://localhost:{server.port}", server


@asynccontextmanager
async def blurting_proxy() -> AsyncGenerator[tuple[str, None]]:
    async with (
        blurting("https", b"HTTP/1.1 400 Bad Request\r\n\r\n") as (proxy, _),
        with_environment("HTTPS_PROXY", proxy) as (url, _),
    ):
        yield url, None


@asynccontextmanager
async def without_key_log() -> AsyncGenerator[tuple[str, None]]:
    """Where the certificates are named, OpenSSL is told to log its keys too."""
    async with trusted(), with_environment("SSLKEYLOGFILE", "/nowhere/keys") as (url, _):
        yield url, None


@asynccontextmanager
async def encrypted_asked_in_the_open() -> AsyncGenerator[tuple[str, Server]]:
    async with encrypted(certificate) as (url, server):
        yield url.replace("https", "http"), server


@dataclass(frozen=True)
class Unreachable:
    """An address at which Neptun cannot be reached.

    Attributes:
        says: what happened and what to do about it.
        tries: how many connections a call makes; None if they cannot be counted.
        timeout: the time limit of a call in seconds; short if nothing else ends it.
    """

    name: str
    address: Callable[[], Address]
    says: tuple[str, ...]
    tries: int | None
    timeout: int = 20


CHECK_ADDRESS = "Check NEPTUN_BASE_URL"
TLS = ("The TLS connection to https://localhost", "failed", "trust store", "SSL_CERT_FILE")
PROXY = ("The proxy 127.0.0.1:", "on the way to https://localhost", "refused the connection", "Check HTTPS_PROXY")
CHECK_PROXY = "Check HTTPS_PROXY, ALL_PROXY and NO_PROXY"


NO_PROXY_ADDRESS = "it is not the address of a proxy, such as http://proxy.example.com:8080"


def unusable(name: str, why: str) -> tuple[str, ...]:
    return f"{name}, a setting of this machine, cannot be used ({why}).", f"Correct {name} or unset it"


LOST = ("ended before the answer was complete", "Try again")

UNREACHABLE = [
    Unreachable(
        "refused",
        lambda: nowhere(f"http://127.0.0.1:{refusing_port()}"),
        ("http://127.0.0.1:", "refused the connection", CHECK_ADDRESS),
        None,
    ),
    Unreachable(
        "unknown name", lambda: nowhere("https://name.invalid"), ("name.invalid was not found", CHECK_ADDRESS), None
    ),
    Unreachable("no answer to a connection", full, ("Could not connect to", "in time", CHECK_ADDRESS), None, timeout=2),
    Unreachable("unknown authority", lambda: encrypted(certificate, trust=False), (*TLS, "issuer"), 0),
    Unreachable(
        "another's certificate", lambda: encrypted(lambda: certificate("other.example")), (*TLS, "mismatch"), 0
    ),
    Unreachable(
        "expired certificate",
        lambda: encrypted(lambda: certificate(not_before=LONG_AGO, not_after=LONG_AGO)),
        (*TLS, "expired"),
        0,
    ),
    Unreachable("TLS that breaks", lambda: encrypted(certificate, action=break_tls()), TLS, 1),
    Unreachable("no TLS", lambda: blurting("https", b"HTTP/1.1 400 Bad Request\r\n\r\n" + HTML), TLS, 1),
    Unreachable("TLS where there should be none", encrypted_asked_in_the_open, LOST, 0),
    Unreachable("proxy that asks who you are", lambda: behind_proxy(answer(407, HTML)), PROXY, 1),
    Unreachable("proxy that is not allowed to", lambda: behind_proxy(answer(502)), PROXY, 1),
    Unreachable(
        "proxy that hangs up",
        lambda: behind_proxy(say()),
        ("The proxy 127.0.0.1:", "ended the connection before it led to https://localhost", CHECK_PROXY),
        3,
    ),
    Unreachable(
        "proxy that is silent",
        lambda: behind_proxy(stay_silent()),
        ("did not answer completely", "NEPTUN_TIMEOUT"),
        1,
        timeout=2,
    ),
    Unreachable(
        "no proxy where it should be",
        lambda: with_environment("HTTPS_PROXY", f"http://127.0.0.1:{refusing_port()}"),
        ("The proxy 127.0.0.1:", "refused the connection", CHECK_PROXY),
        None,
    ),
    Unreachable(
        "no proxy for everything",
        lambda: with_environment("ALL_PROXY", f"http://localhost:{refusing_port()}"),
        ("The proxy localhost:", "refused the connection", CHECK_PROXY),
        None,
    ),
    Unreachable(
        "unknown proxy",
        lambda: with_environment("HTTPS_PROXY", "http://proxy.invalid:8080"),
        ("The host name of the proxy proxy.invalid:8080 was not found", CHECK_PROXY),
        None,
    ),
    Unreachable(
        "proxy that speaks no TLS",
        lambda: blurting_proxy(),
        ("The TLS connection to the proxy localhost:", "failed", "SSL_CERT_FILE"),
        None,
    ),
    Unreachable(
        "unknown kind of proxy",
        lambda: with_environment("HTTPS_PROXY", "carrier-pigeon://x"),
        unusable("HTTPS_PROXY", NO_PROXY_ADDRESS),
        None,
    ),
    Unreachable(
        "a port of a proxy that there is not",
        lambda: with_environment("HTTPS_PROXY", "http://127.0.0.1:99999"),
        unusable("HTTPS_PROXY", NO_PROXY_ADDRESS),
        None,
    ),
    Unreachable(
        "no address of a proxy",
        lambda: with_environment("HTTP_PROXY", "http://[::1"),
        unusable("HTTP_PROXY", NO_PROXY_ADDRESS),
        None,
    ),
    Unreachable(
        "SOCKS, which is not installed",
        lambda: with_environment("ALL_PROXY", "socks5://127.0.0.1:1080"),
        unusable("ALL_PROXY", "SOCKS needs the Python package socksio"),
        None,
    ),
    Unreachable(
        "no certificates",
        lambda: with_environment("SSL_CERT_FILE", "/nowhere.pem"),
        unusable("SSL_CERT_FILE", "No such file or directory"),
        None,
    ),
    Unreachable(
        "what is no certificate",
        lambda: with_environment("SSL_CERT_FILE", __file__),
        unusable("SSL_CERT_FILE", "it holds no certificates"),
        None,
    ),
    Unreachable(
        "no place for the keys of TLS",
        lambda: without_key_log(),
        unusable("SSLKEYLOGFILE", "No such file or directory"),
        None,
    ),
]
TUNNEL_TO_NOWHERE = Unreachable(
    "proxy that opens a tunnel to nowhere",
    lambda: behind_proxy(say(b"HTTP/1.1 200 OK\r\n\r\nno TLS at all, but words", close=False)),
    TLS,
    1,
)
"""It takes the seconds that TLS may take to begin."""


async def results_at(url: str, seconds: int = 20) -> dict[Place, CallToolResult]:
    """The result of each tool. All are called at the same time, each on its own server."""
    results: dict[Place, CallToolResult] = {}

    async def call(place: Place) -> None:
        settings = settings_for(url, timeout=seconds, user_id=1, **(LOG_IN if place is Place.LOGIN else {}))
        async with open_tools(settings) as tools:
            results[place] = await tools.ask_for(place)

    async with anyio.create_task_group() as tasks:
        for place in WITHOUT_SESSION:
            tasks.start_soon(call, place)
    return results


@pytest.mark.parametrize(
    "case", [*UNREACHABLE, pytest.param(TUNNEL_TO_NOWHERE, marks=pytest.mark.slow)], ids=lambda case: case.name
)
async def test_an_unreachable_address_is_explained(case: Unreachable) -> None:
    async with case.address() as (url, server):
        results = await results_at(url, case.timeout)
    for place, result in results.items():
        words = plain_error_of(result)
        for part in case.says:
            assert part in words
        assert ("Nothing was deleted." in words) == (place is Place.DELETE)
    if server and case.tries is not None:
        assert server.connections == case.tries * len(WITHOUT_SESSION)


@pytest.mark.parametrize("address", [lambda: encrypted(certificate), behind_proxy], ids=["directly", "through a proxy"])
async def test_a_certificate_from_an_authority_in_ssl_cert_file_is_accepted(address: Callable[[], Address]) -> None:
    async with address() as (url, _):
        for result in (await results_at(url)).values():
            content_of(result)
