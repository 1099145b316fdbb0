"""The stdio transport: two streams for the SDK's server, which cost no thread, and answers to what it drops.

The SDK's own streams read and write in worker threads: three thread switches a call. If the standard streams are pipes
or sockets, as under every host, the event loop can wait for them itself, and a signal ends the process at once. The SDK
also leaves two things without an answer: a line that cannot be read, and calls that are in flight when stdin ends.
"""

from __future__ import annotations

import logging
import math
import os
import stat
from collections import deque
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp.types import (
    CONNECTION_CLOSED,
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from .messages import NoMessage, read_message

MAX_LINE = 256 * 2**10
"""Bytes. The longest arguments and the state of a question take a few thousand."""

GRACE_SECONDS = 2.0
"""How much longer than the time limit of a call the process lives after the end of stdin."""

_CHUNK = 2**16

# A newline ends a message. These, which JSON leaves as they are, end a line for some readers.
_LINE_ENDS = "\x85\u2028\u2029"

_log = logging.getLogger(__name__)


async def serve(server: MCPServer[Any], seconds: float) -> None:
    """Serve until stdin is closed and the in-flight calls are answered, which may take `seconds`, the limit of a call.

    What else is printed in the meantime goes to stderr, not into the protocol. What else reads stdin, such as a keyring
    that asks there, finds its end.
    """
    lines, to_host = _Lines(os.dup(0)), _ToHost(_Writer(os.dup(1)))
    os.dup2(2, 1)
    os.dup2(nothing := os.open(os.devnull, os.O_RDONLY), 0)
    os.close(nothing)
    inner = _inner_server(server)
    from_host = _FromHost(lines, to_host, seconds + GRACE_SECONDS)
    await inner.run(from_host, to_host, inner.create_initialization_options())


def _inner_server(server: MCPServer[Any]) -> Server[Any]:
    """The server that runs on streams. `MCPServer` wraps it, and gives it out only beside an HTTP application."""
    server.streamable_http_app()  # 0.2 ms; nothing listens
    return server.session_manager.app


class _ToHost(ObjectSendStream[SessionMessage]):
    """What the server sends.

    Attributes:
        unanswered: the host's requests that the server has not answered.
        questions: the server's requests that the host has not answered.
        changed: set when one of the former ends or one of the latter begins.
    """

    def __init__(self, writer: _Writer) -> None:
        self._writer = writer
        self.unanswered: list[RequestId] = []
        self.questions: list[RequestId] = []
        self.changed = anyio.Event()

    async def send(self, item: SessionMessage) -> None:
        message = item.message
        if isinstance(message, JSONRPCRequest):
            self.questions.append(message.id)
            self.changed.set()
        await self._writer.write(message.model_dump_json(by_alias=True, exclude_unset=True) + "\n")
        if isinstance(message, (JSONRPCResponse, JSONRPCError)):
            self.settle(message.id)

    def settle(self, request: RequestId | None) -> None:
        if request in self.unanswered:
            self.unanswered.remove(request)
        self.changed.set()

    async def aclose(self) -> None:
        pass


class _FromHost(ObjectReceiveStream[SessionMessage]):
    """What the host sends. It ends later than stdin: once the in-flight calls are answered."""

    def __init__(self, lines: _Lines, to_host: _ToHost, seconds: float) -> None:
        """
        Args:
            lines: what is read.
            to_host: where refusals go.
            seconds: how long calls may last after the end of stdin.
        """
        self._lines = lines
        self._to_host = to_host
        self._seconds = seconds
        self._deadline = math.inf

    async def receive(self) -> SessionMessage:
        while True:
            # In a terminal there is more to read after the end.
            line = await self._lines.next() if self._deadline == math.inf else None
            if line is None:
                return await self._answer_after_the_end()
            try:
                if len(line) > MAX_LINE:
                    raise NoMessage(INVALID_REQUEST, f"The line is longer than {MAX_LINE:,} bytes. Send less.")
                if found := read_message(line, "line"):
                    return self._noted(found[0])
            except NoMessage as refusal:
                _log.warning("a line on stdin was refused: %s", refusal)
                answer, members = SessionMessage(refusal.answer), refusal.members
                if "method" not in members and ("result" in members or "error" in members):
                    refusal.answer.error.code = PARSE_ERROR
                    return answer  # to a question: whoever waits for it learns that it cannot be read
                if "method" not in members or "id" in members:  # else it is a notification
                    await self._to_host.send(answer)

    async def _answer_after_the_end(self) -> SessionMessage:
        """The answer to an open question, as nobody else can give one any more.

        Raises:
            anyio.EndOfStream: the in-flight calls are answered, or their time is over.
        """
        self._deadline = min(self._deadline, anyio.current_time() + self._seconds)
        with anyio.CancelScope(deadline=self._deadline):
            while self._to_host.unanswered:
                if self._to_host.questions:
                    closed = ErrorData(code=CONNECTION_CLOSED, message="Connection closed")
                    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=self._to_host.questions.pop(), error=closed))
                self._to_host.changed = anyio.Event()
                await self._to_host.changed.wait()
        raise anyio.EndOfStream

    def _noted(self, message: JSONRPCMessage) -> SessionMessage:
        to_host = self._to_host
        if isinstance(message, (JSONRPCResponse, JSONRPCError)) and message.id in to_host.questions:
            to_host.questions.remove(message.id)
        if not isinstance(message, JSONRPCRequest):
            return SessionMessage(message)
        to_host.unanswered.append(message.id)

        async def cancelled() -> None:
            to_host.settle(message.id)

        return SessionMessage(message, ServerMessageMetadata(on_request_unanswered=cancelled))

    async def aclose(self) -> None:
        pass


class _Lines:
    """The lines that arrive at a descriptor; one that is too long is cut just above `MAX_LINE`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._polled = _is_pipe(descriptor)
        self._lines: deque[bytes] = deque()
        self._rest = bytearray()

    async def next(self) -> bytes | None:
        """The next line; None at the end."""
        while not self._lines:
            chunk = await self._read()
            if not chunk:
                if not self._rest:
                    return None
                chunk = b"\n"  # the end of stdin ends a line too
            first, *others = chunk.split(b"\n")
            self._rest += first[: MAX_LINE + 1 - len(self._rest)]
            for other in others:
                self._lines.append(bytes(self._rest))
                self._rest = bytearray(other)
        return self._lines.popleft()

    async def _read(self) -> bytes:
        try:
            if self._polled:
                await anyio.wait_readable(self._descriptor)
                return os.read(self._descriptor, _CHUNK)
            return await anyio.to_thread.run_sync(os.read, self._descriptor, _CHUNK, abandon_on_cancel=True)
        except OSError:
            return b""  # the other end is gone


class _Writer:
    """Writes lines to a descriptor, one after the other."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._polled = _is_pipe(descriptor)
        self._turn = anyio.Lock()
        if self._polled:
            os.set_blocking(descriptor, False)

    async def write(self, text: str) -> None:
        for character in _LINE_ENDS:
            text = text.replace(character, f"\\u{ord(character):04x}")
        left = memoryview(text.encode(errors="replace"))
        async with self._turn:
            while left:
                try:
                    if self._polled:
                        left = left[os.write(self._descriptor, left) :]
                    else:
                        left = left[await anyio.to_thread.run_sync(os.write, self._descriptor, left) :]
                except BlockingIOError:
                    await anyio.wait_writable(self._descriptor)
                except OSError:
                    return  # nobody reads any more: the end of stdin is next


def _is_pipe(descriptor: int) -> bool:
    """Whether the event loop can wait for it."""
    mode = os.fstat(descriptor).st_mode
    return os.name == "posix" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))
