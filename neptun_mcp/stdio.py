"""stdin and stdout for the SDK's stdio transport, without threads.

The SDK reads and writes the standard streams in worker threads: three thread switches a call. If they are pipes or
sockets, as under every host, the event loop can wait for them itself, and a signal ends the process at once.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from typing import Any, cast

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.stdio import stdio_server

_CHUNK = 2**16

# A newline ends a message. These, which JSON leaves as they are, end a line for some readers.
_LINE_ENDS = "\x85\u2028\u2029"


class _Lines:
    """The lines that arrive at a descriptor, as text with the line end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._rest = bytearray()

    def __aiter__(self) -> _Lines:
        return self

    async def __anext__(self) -> str:
        while not self._lines:
            await anyio.wait_readable(self._descriptor)
            chunk = os.read(self._descriptor, _CHUNK)
            if not chunk:
                if not self._rest:
                    raise StopAsyncIteration
                chunk = b"\n"  # the end of stdin ends a line too
            self._rest += chunk
            if b"\n" in chunk:
                *lines, rest = bytes(self._rest).split(b"\n")
                self._lines.extend(lines)
                self._rest = bytearray(rest)
        return self._lines.popleft().decode(errors="replace")


class _Writer:
    """Writes text to a descriptor that does not block."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    async def write(self, text: str) -> None:
        for character in _LINE_ENDS:
            text = text.replace(character, f"\\u{ord(character):04x}")
        left = memoryview(text.encode(errors="replace"))
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                await anyio.wait_writable(self._descriptor)
            except BrokenPipeError:
                return  # nobody reads any more: the end of stdin is next

    async def flush(self) -> None:
        pass


async def serve(server: MCPServer[Any]) -> None:
    """Serve until stdin is closed. What else is printed in the meantime goes to stderr, not into the protocol."""
    # The public way in has no parameter for the streams.
    lowlevel = getattr(server, "_lowlevel_server", None)
    if lowlevel is None or not all(_is_pipe(descriptor) for descriptor in (0, 1)):
        await server.run_stdio_async()
        return
    stdin, stdout = os.dup(0), os.dup(1)
    os.dup2(2, 1)
    async with stdio_server(cast(Any, _Lines(stdin)), cast(Any, _Writer(stdout))) as (reading, writing):
        await lowlevel.run(reading, writing, lowlevel.create_initialization_options())


def _is_pipe(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return os.name == "posix" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))
