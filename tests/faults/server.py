"""An HTTP server that does what a test says, down to the byte, and remembers every request.

It speaks over real sockets of 127.0.0.1, with or without TLS. What it answers is an action: a function that is given
an exchange, which is one request and the connection it came on.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import struct
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel

REASONS = {200: "OK", 204: "No Content", 302: "Found", 401: "Unauthorized"}
ENDLESS = 2**40


@dataclass(frozen=True)
class Request:
    """A request as it came.

    Attributes:
        headers: by their names in lower case.
        connection: the number of its connection, from 1 on.
        reused: it was not the first on its connection.
        at: when it came, in seconds of the event loop's clock.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int
    reused: bool
    at: float


@dataclass
class Exchange:
    """A request, and what can be done on its connection in answer."""

    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    closed: bool = False

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def close(self) -> None:
        """End the connection in order: what was sent arrives."""
        self.closed = True
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.closed = True
        linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        with suppress(OSError):
            while await self.reader.read(2**16):
                pass
        self.closed = True


Action: TypeAlias = Callable[[Exchange], Awaitable[None]]


@dataclass
class Server:
    """A server that is listening.

    Attributes:
        greeting: what it says to a connection before it is asked, and nothing more.
        requests: what came, in the order of arrival.
        open: how many connections are open now.
        lost: is set when a client has closed a connection or when it ended otherwise.
    """

    scheme: str
    listener: asyncio.Server
    greeting: bytes = b""
    requests: list[Request] = field(default_factory=list[Request])
    connections: int = 0
    open: int = 0
    lost: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        self.port: int = self.listener.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        """By name if there is a certificate for it; the name has two addresses, which a proxy may not have."""
        return f"{self.scheme}://{'localhost' if self.scheme == 'https' else '127.0.0.1'}:{self.port}"

    def refuse_connections(self) -> None:
        """Take no more connections. Those that are there go on."""
        self.listener.close()

    async def all_closed(self) -> None:
        """Wait until no connection is open."""
        while self.open:
            await self.lost.wait()

    async def converse(self, answer: Action, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        self.open += 1
        number, reused = self.connections, False
        try:
            if self.greeting:
                writer.write(self.greeting)
                return
            while request := await _read_request(reader, number, reused):
                self.requests.append(request)
                exchange = Exchange(request, reader, writer)
                await answer(exchange)
                if exchange.closed:
                    break
                reused = True
        except OSError:
            pass  # the client has gone: a test looks at what it has left behind
        finally:
            writer.close()
            self.open -= 1
            lost, self.lost = self.lost, anyio.Event()
            lost.set()


@asynccontextmanager
async def serve(answer: Action, *, tls: ssl.SSLContext | None = None, greeting: bytes = b"") -> AsyncGenerator[Server]:
    """Answer every request with the action, until the block ends."""
    async with anyio.create_task_group() as tasks:

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.start_soon(server.converse, answer, reader, writer)

        listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
        server = Server("https" if tls else "http", listener, greeting)
        try:
            yield server
        finally:
            listener.close()
            tasks.cancel_scope.cancel()


async def _read_request(reader: asyncio.StreamReader, connection: int, reused: bool) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").splitlines()[:-1]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = first.split(" ")
    return Request(method, target, headers, body, connection, reused, anyio.current_time())


# What is answered, in bytes


def http(status: int, body: bytes = b"", **headers: str | int | None) -> bytes:
    """An answer with its length, unless `content_length` says otherwise; None leaves a header out."""
    named: dict[str, str | int | None] = {"content_type": "application/json", "content_length": len(body), **headers}
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items() if value is not None]
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Said So')}\r\n{''.join(lines)}\r\n".encode("latin-1") + body


def chunk(content: bytes) -> bytes:
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


def to_json(value: Any) -> bytes:
    return json.dumps(value).encode()


# Actions


def answer(status: int, body: bytes = b"", **headers: str | int | None) -> Action:
    """A complete answer, without the body if only the head was asked for."""
    content = http(status, body, **headers)

    async def action(exchange: Exchange) -> None:
        await exchange.send(content.removesuffix(body) if exchange.request.method == "HEAD" else content)

    return action


def say(*parts: bytes, close: bool = True, reset: bool = False) -> Action:
    """These bytes, part for part, and the end of the connection, in order or by a reset."""

    async def action(exchange: Exchange) -> None:
        for part in parts:
            await exchange.send(part)
            await anyio.lowlevel.checkpoint()
        if reset:
            exchange.reset()
        elif close:
            await exchange.close()

    return action


def stay_silent(*said: bytes) -> Action:
    """These bytes, and nothing more until the client gives up."""

    async def action(exchange: Exchange) -> None:
        for part in said:
            await exchange.send(part)
        await exchange.gone()

    return action


def drip(every: float) -> Action:
    """An answer with a body that comes byte by byte and never ends."""

    async def action(exchange: Exchange) -> None:
        await exchange.send(http(200, content_length=ENDLESS) + b"[")
        with suppress(OSError):
            while not exchange.reader.at_eof():
                await anyio.sleep(every)
                await exchange.send(b" ")
        exchange.closed = True

    return action


def pour(head: bytes, part: bytes, times: int) -> Action:
    """A long body, or as much of it as the client wants."""

    async def action(exchange: Exchange) -> None:
        with suppress(OSError):
            await exchange.send(head)
            for _ in range(times):
                await exchange.send(part)
        await exchange.close()

    return action


def bomb(size: int) -> bytes:
    """An answer of few bytes that is `size` bytes of blanks once it is unpacked."""
    body = gzip.compress(b" " * size)
    return http(200, body, content_encoding="gzip")


def break_tls() -> Action:
    """Bytes that are not TLS in the middle of a connection that is."""

    async def action(exchange: Exchange) -> None:
        connection = socket.socket(fileno=exchange.writer.get_extra_info("socket").fileno())
        connection.send(b"this is not TLS" * 10)
        connection.detach()
        exchange.reset()

    return action


# Addresses at which no HTTP server answers


def refusing_port() -> int:
    """A port on which nothing listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


@asynccontextmanager
async def full_port() -> AsyncGenerator[int]:
    """A port with a full queue: a connection is neither accepted nor refused."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting: list[socket.socket] = []
        try:
            for _ in range(4):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(server.getsockname())
                waiting.append(one)
            yield server.getsockname()[1]
        finally:
            for one in waiting:
                one.close()


async def open_tunnel(exchange: Exchange) -> None:
    """What a proxy does that is asked to CONNECT."""
    host, _, port = exchange.request.target.rpartition(":")
    there_reader, there = await asyncio.open_connection(host, int(port))
    await exchange.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_pump, exchange.reader, there)
        tasks.start_soon(_pump, there_reader, exchange.writer)
    exchange.closed = True


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while content := await reader.read(2**16):
                writer.write(content)
                await writer.drain()
    finally:
        writer.close()
