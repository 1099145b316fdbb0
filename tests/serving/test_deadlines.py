"""Peers that keep a connection waiting, and the end of a server."""

from __future__ import annotations

import signal
import socket
from types import FrameType
from urllib.parse import urlsplit

import anyio
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from neptun_mcp.serving import deadlines
from neptun_mcp.serving.deadlines import Ending, end_unread_connections
from tests.serving.support import listen
from tests.support import until

pytestmark = pytest.mark.anyio

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has this limit")
async def test_the_system_ends_a_connection_whose_answer_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "PEER_SECONDS", 0.2)
    ended = False

    async def talkative(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal ended
        if scope["type"] == "http":
            await PlainTextResponse("x" * 2**26)(scope, receive, send)
            ended = (await receive())["type"] == "http.disconnect"

    async with listen(talkative, prepare=end_unread_connections) as url:
        port = urlsplit(url).port or 0
        async with await anyio.connect_tcp(remote_host="127.0.0.1", remote_port=port) as stream:
            await stream.send(REQUEST)
            await until(lambda: ended)


async def test_the_signal_that_ends_the_web_server_ends_what_waits() -> None:
    heard: list[int] = []

    def web_server(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGTERM, web_server)
    try:
        ending = Ending()
        with ending.begins_with_signals():
            with ending.cancels():
                signal.raise_signal(signal.SIGTERM)
                await anyio.sleep_forever()
            with ending.cancels():
                await anyio.sleep_forever()
        assert heard == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is web_server
    finally:
        signal.signal(signal.SIGTERM, before)
