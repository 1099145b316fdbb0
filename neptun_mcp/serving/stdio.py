"""The stdio transport: a message a line, and one answer for each request, whatever the line holds.

The SDK's own leaves a line that it cannot read without an answer, drops in-flight calls at the end of stdin, and reads
and writes in worker threads: three thread switches a call. If the standard streams are pipes or sockets, as under every
host, the event loop can wait for them itself, and a signal ends the process at once.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
from collections import deque
from typing import Any

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.mcpserver import MCPServer
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp.types import (
    CONNECTION_CLOSED,
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError

MAX_LINE = 256 * 2**10
"""Bytes. The longest arguments and the state of a question take a few thousand."""

GRACE_SECONDS = 2.0
"""How much longer than the time limit of a call the process lives after the end of stdin."""

_CHUNK = 2**16

# A newline ends a message. These, which JSON leaves as they are, end a line for some readers.
_LINE_ENDS = "\x85\u2028\u2029"

# An escape in JSON: a whole surrogate pair, half of one (the group), or another.
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(u[dD][89a-fA-F]..)|.)")
_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^\s",:\[\]{}]+|[,:\[\]{}])', re.DOTALL)
_INTEGER = re.compile(r"-?\d{1,100}", re.ASCII)

_log = logging.getLogger(__name__)


async def serve(server: MCPServer[Any], seconds: float) -> None:
    """Serve until stdin is closed and the in-flight calls are answered, which may take `seconds`, the limit of a call.

    What else is printed in the meantime goes to stderr, not into the protocol.
    """
    # The public way in has no parameter for the streams.
    lowlevel = getattr(server, "_lowlevel_server", None)
    if lowlevel is None:
        await server.run_stdio_async()
        return
    stdin, stdout = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    to_server, from_host = anyio.create_memory_object_stream[SessionMessage | Exception]()
    to_host, from_server = anyio.create_memory_object_stream[SessionMessage]()
    connection = _Connection(to_server, to_host.clone())
    async with anyio.create_task_group() as tasks:

        async def read() -> None:
            await connection.read(_Lines(stdin))
            tasks.cancel_scope.deadline = anyio.current_time() + seconds + GRACE_SECONDS
            await connection.finish()

        tasks.start_soon(read)
        tasks.start_soon(connection.write, from_server, _Writer(stdout))
        await lowlevel.run(from_host, to_host, lowlevel.create_initialization_options())


class _Connection:
    """What passes between host and server, and what each still owes the other."""

    def __init__(
        self,
        to_server: MemoryObjectSendStream[SessionMessage | Exception],
        to_host: MemoryObjectSendStream[SessionMessage],
    ) -> None:
        self._to_server = to_server
        self._to_host = to_host
        self._unanswered: list[RequestId] = []
        self._questions: list[RequestId] = []
        self._changed = anyio.Event()

    async def read(self, lines: _Lines) -> None:
        """Hand on what the host sends, until it hangs up."""
        while (line := await lines.next()) is not None:
            try:
                message = message_in(line)
            except _Refused as refusal:
                _log.warning("a line on stdin was refused: %s", refusal)
                await self._refuse(refusal)
            else:
                if message:
                    await self._to_server.send(self._noted(message))

    async def finish(self) -> None:
        """Let the in-flight calls finish. Nobody can answer what they ask any more."""
        async with self._to_server, self._to_host:
            while self._unanswered:
                if self._questions:
                    closed = ErrorData(code=CONNECTION_CLOSED, message="Connection closed")
                    answer = JSONRPCError(jsonrpc="2.0", id=self._questions.pop(), error=closed)
                    await self._to_server.send(SessionMessage(answer))
                else:
                    self._changed = anyio.Event()
                    await self._changed.wait()

    async def write(self, messages: MemoryObjectReceiveStream[SessionMessage], writer: _Writer) -> None:
        """Hand on what the server sends."""
        async with messages:
            async for message in messages:
                await writer.write(_as_line(message.message))
                if isinstance(message.message, JSONRPCRequest):
                    self._questions.append(message.message.id)
                elif isinstance(message.message, (JSONRPCResponse, JSONRPCError)):
                    self._settle(message.message.id)
                self._changed.set()

    def _noted(self, message: JSONRPCMessage) -> SessionMessage:
        if isinstance(message, (JSONRPCResponse, JSONRPCError)) and message.id in self._questions:
            self._questions.remove(message.id)
        # A stream of notifications lasts: there is no answer to wait for.
        if not isinstance(message, JSONRPCRequest) or message.method == "subscriptions/listen":
            return SessionMessage(message)
        self._unanswered.append(message.id)

        async def cancelled() -> None:
            self._settle(message.id)
            self._changed.set()

        return SessionMessage(message, ServerMessageMetadata(on_request_unanswered=cancelled))

    def _settle(self, request: RequestId | None) -> None:
        if request in self._unanswered:
            self._unanswered.remove(request)

    async def _refuse(self, refusal: _Refused) -> None:
        answer = SessionMessage(JSONRPCError(jsonrpc="2.0", id=refusal.id, error=refusal.error))
        if refusal.is_answer:
            # Who waits for it learns that it cannot be read.
            await self._to_server.send(answer)
        elif not refusal.is_notification:
            await self._to_host.send(answer)


class _Refused(Exception):
    """A line is no message.

    Attributes:
        members: those of the message, as `_members` finds them.
        error: what is wrong with it.
        id: of the request, if it can be read.
        is_notification: nobody waits for an answer.
        is_answer: it is itself the answer to a question.
    """

    def __init__(self, line: str, code: int, reason: str) -> None:
        self.members = members = _members(line)
        self.error = ErrorData(code=code, message=f"{reason} Send one JSON-RPC 2.0 message a line.")
        self.id = _id(members.get("id", ""))
        # Of what cannot be parsed, an id may have been lost.
        self.is_notification = "method" in members and "id" not in members and code != PARSE_ERROR
        self.is_answer = "method" not in members and ("result" in members or "error" in members)
        super().__init__(reason)


def message_in(line: bytes) -> JSONRPCMessage | None:
    """The message in a line; None if the line is blank. A byte order mark and half surrogate pairs are tolerated.

    Raises:
        _Refused: there is none.
    """
    text = line.decode(errors="replace").removeprefix("\ufeff").strip()
    if not text:
        return None
    if len(line) > MAX_LINE:
        raise _Refused(text, INVALID_REQUEST, f"The line is longer than {MAX_LINE:,} bytes.")
    try:
        try:
            message = jsonrpc_message_adapter.validate_json(text, by_name=False)
        except ValidationError:
            message = jsonrpc_message_adapter.validate_json(_mended(text), by_name=False)
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] == "json_invalid":
            raise _Refused(text, PARSE_ERROR, "The line is not JSON, or is nested too deeply.") from None
        refused = _Refused(text, INVALID_REQUEST, "The line is not a JSON-RPC message.")
        if refused.id is not None and refused.members.get("params", "{") not in ("{", "null"):
            refused = _Refused(text, INVALID_PARAMS, "The params are not an object.")
        raise refused from None
    # The SDK takes a request with an id of a wrong type for a notification, or for an error without an id.
    if not isinstance(message, JSONRPCRequest) and '"id"' in text and {"id", "method"} <= _members(text).keys():
        raise _Refused(text, INVALID_REQUEST, "The id is neither a whole number nor a string.")
    return message


def _members(line: str) -> dict[str, str]:
    """The members of the object in a line that may be broken or incomplete: the first token of each value, by name."""
    found: dict[str, str] = {}
    depth, position, name, last = 0, 0, "", ""
    while line.startswith("{") and (token := _TOKEN.match(line, position)):
        position = token.end()
        if depth == 1 and last == ":":
            found[name[1:-1]] = token[1]
        if token[1] == ":":
            name = last
        depth += (token[1] in "[{") - (token[1] in "]}")
        last = token[1]
        if depth == 0:
            break
    return found


def _id(token: str) -> RequestId | None:
    if _INTEGER.fullmatch(token):
        return int(token)
    try:
        return json.loads(_mended(token)) if token.startswith('"') else None
    except ValueError:
        return None


def _mended(text: str) -> str:
    """JSON with U+FFFD in place of half surrogate pairs, which cannot be encoded."""
    return _ESCAPE.sub(lambda escape: r"\ufffd" if escape[1] else escape[0], text)


def _as_line(message: JSONRPCMessage) -> str:
    try:
        text = message.model_dump_json(by_alias=True, exclude_unset=True)
    except PydanticSerializationError:  # half a surrogate pair, wherever it is from, does not end the process
        text = _mended(json.dumps(message.model_dump(mode="json", by_alias=True, exclude_unset=True)))
    for character in _LINE_ENDS:
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text + "\n"


class _Lines:
    """The lines that arrive at a descriptor, without their ends; one that is too long is cut just above `MAX_LINE`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._polled = _is_pipe(descriptor)
        self._lines: deque[bytes] = deque()
        self._rest = bytearray()

    async def next(self) -> bytes | None:
        """The next line; None after the last one."""
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
    """Writes text to a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._polled = _is_pipe(descriptor)
        if self._polled:
            os.set_blocking(descriptor, False)

    async def write(self, text: str) -> None:
        left = memoryview(text.encode(errors="replace"))
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
