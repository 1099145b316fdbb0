"""The stdio transport: a stream for the SDK's server that costs no thread, and answers to what the SDK drops.

The SDK's own streams read and write in worker threads: three thread switches a call. If the standard streams are pipes
or sockets, as under every host, the event loop can wait for them itself, and a signal ends the process at once. The SDK
also leaves two things without an answer: a line that cannot be read, and calls that are in flight when stdin ends.
"""

from __future__ import annotations

import logging
import math
import os
import stat
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import ObjectStream
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

from ..server import lowlevel_server
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
    host = _Host(os.dup(0), os.dup(1), seconds + GRACE_SECONDS)
    os.dup2(2, 1)
    os.dup2(nothing := os.open(os.devnull, os.O_RDONLY), 0)
    os.close(nothing)
    inner = lowlevel_server(server)
    await inner.run(host, host, inner.create_initialization_options())


class _Host(ObjectStream[SessionMessage]):
    """What the host sends and is sent, until the calls in flight at the end of stdin are answered."""

    def __init__(self, stdin: int, stdout: int, seconds: float) -> None:
        self._lines = _lines(stdin)
        self._stdout = stdout
        self._polls_stdout = _is_pollable(stdout)
        if self._polls_stdout:
            os.set_blocking(stdout, False)
        self._writing = anyio.Lock()
        self._seconds = seconds
        self._deadline = math.inf
        self._unanswered: list[RequestId] = []  # the host's requests
        self._questions: list[RequestId] = []  # the server's, which the host has not answered
        self._changed = anyio.Event()  # set when one of the former ends or one of the latter begins

    async def receive(self) -> SessionMessage:
        while (line := await anext(self._lines, None)) is not None:
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
                    await self.send(answer)
        return await self._answer_after_the_end()

    def _noted(self, message: JSONRPCMessage) -> SessionMessage:
        if isinstance(message, (JSONRPCResponse, JSONRPCError)) and message.id in self._questions:
            self._questions.remove(message.id)
        if not isinstance(message, JSONRPCRequest):
            return SessionMessage(message)
        self._unanswered.append(message.id)

        async def cancelled() -> None:
            self._settle(message.id)

        return SessionMessage(message, ServerMessageMetadata(on_request_unanswered=cancelled))

    async def _answer_after_the_end(self) -> SessionMessage:
        """The answer to an open question, as nobody else can give one any more.

        Raises:
            anyio.EndOfStream: the in-flight calls are answered, or their time is over.
        """
        self._deadline = min(self._deadline, anyio.current_time() + self._seconds)
        with anyio.CancelScope(deadline=self._deadline):
            while self._unanswered:
                if self._questions:
                    closed = ErrorData(code=CONNECTION_CLOSED, message="Connection closed")
                    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=self._questions.pop(), error=closed))
                self._changed = anyio.Event()
                await self._changed.wait()
        raise anyio.EndOfStream

    async def send(self, item: SessionMessage) -> None:
        message = item.message
        if isinstance(message, JSONRPCRequest):
            self._questions.append(message.id)
            self._changed.set()
        text = message.model_dump_json(by_alias=True, exclude_unset=True)
        for character in _LINE_ENDS:
            text = text.replace(character, f"\\u{ord(character):04x}")
        await self._write(f"{text}\n".encode(errors="replace"))
        if isinstance(message, (JSONRPCResponse, JSONRPCError)):
            self._settle(message.id)

    def _settle(self, request: RequestId | None) -> None:
        if request in self._unanswered:
            self._unanswered.remove(request)
        self._changed.set()

    async def _write(self, line: bytes) -> None:
        left = memoryview(line)
        async with self._writing:
            while left:
                try:
                    if self._polls_stdout:
                        left = left[os.write(self._stdout, left) :]
                    else:
                        left = left[await anyio.to_thread.run_sync(os.write, self._stdout, left) :]
                except BlockingIOError:
                    await anyio.wait_writable(self._stdout)
                except OSError:
                    return  # nobody reads any more: the end of stdin is next

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


async def _lines(descriptor: int) -> AsyncGenerator[bytes]:
    """The lines that arrive; one that is too long is cut just above `MAX_LINE`. The end of all ends a line, too."""
    is_polled, rest = _is_pollable(descriptor), bytearray()
    while True:
        try:
            if is_polled:
                await anyio.wait_readable(descriptor)
                chunk = os.read(descriptor, _CHUNK)
            else:
                chunk = await anyio.to_thread.run_sync(os.read, descriptor, _CHUNK, abandon_on_cancel=True)
        except OSError:
            chunk = b""  # the other end is gone
        first, *others = chunk.split(b"\n")
        rest += first[: MAX_LINE + 1 - len(rest)]
        for other in others:
            yield bytes(rest)
            rest = bytearray(other)
        if not chunk:
            break
    if rest:
        yield bytes(rest)


def _is_pollable(descriptor: int) -> bool:
    """Whether the event loop can wait for it."""
    mode = os.fstat(descriptor).st_mode
    return os.name == "posix" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))
