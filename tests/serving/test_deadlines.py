"""Peers that keep a connection waiting."""

from __future__ import annotations

from urllib.parse import urlsplit

import anyio
import pytest
from anyio.abc import SocketStream
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from neptun_mcp.serving import deadlines
from neptun_mcp.serving.deadlines import LimitedProtocol
from tests.serving.support import listen
from tests.support import until

pytestmark = pytest.mark.anyio

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF_A_HEAD = REQUEST[:-4]


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await PlainTextResponse("hello")(scope, receive, send)


async def dial(url: str) -> SocketStream:
    return await anyio.connect_tcp(remote_host="127.0.0.1", remote_port=urlsplit(url).port or 0)


async def is_closed(stream: SocketStream) -> bool:
    try:
        return not await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return True


@pytest.mark.parametrize("before", [b"", REQUEST])
async def test_half_a_head_is_given_up(monkeypatch: pytest.MonkeyPatch, before: bytes) -> None:
    monkeypatch.setattr(deadlines, "PEER_SECONDS", 0.05)
    async with listen(hello, http=LimitedProtocol) as url, await dial(url) as stream:
        if before:
            await stream.send(before)
            assert b"hello" in await stream.receive()
        await stream.send(HALF_A_HEAD)
        assert await is_closed(stream)


async def test_an_answer_that_nobody_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "PEER_SECONDS", 0.05)
    ended = False

    async def talkative(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal ended
        if scope["type"] == "http":
            await PlainTextResponse("x" * 2**26)(scope, receive, send)
            ended = (await receive())["type"] == "http.disconnect"

    async with listen(talkative, http=LimitedProtocol) as url, await dial(url) as stream:
        await stream.send(REQUEST)
        await until(lambda: ended)


async def test_who_waits_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "MAX_CONNECTIONS", 3)
    async with listen(hello, http=LimitedProtocol) as url:
        slow = [await dial(url) for _ in range(3)]
        for stream in slow:
            await stream.send(HALF_A_HEAD)
        async with await dial(url) as quick:
            await quick.send(REQUEST)
            assert b"hello" in await quick.receive()
        assert await is_closed(slow[0])
        for stream in slow[1:]:
            await stream.send(b"\r\n\r\n")
            assert b"hello" in await stream.receive()
        for stream in slow:
            await stream.aclose()


async def test_an_idle_connection_stays_as_long_as_uvicorn_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "PEER_SECONDS", 0.05)
    async with listen(hello, http=LimitedProtocol, timeout_keep_alive=60) as url, await dial(url) as stream:
        await stream.send(REQUEST)
        assert b"hello" in await stream.receive()
        async with await dial(url) as other:
            assert await is_closed(other), "which waited at least as long"
        await stream.send(REQUEST)
        assert b"hello" in await stream.receive()
