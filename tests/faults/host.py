"""A host of our server as a process: it speaks the protocol line by line, and sees everything that comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

from neptun_mcp.sandbox import COOKIE
from tests.support import HELLO, PATIENCE, WEBSHOP, Json

LONGEST_LINE = 2**24


@dataclass
class Host:
    """One server process and its pipes.

    Attributes:
        lines: every line of stdout so far.
    """

    process: anyio.abc.Process
    errors: Path
    lines: list[bytes] = field(default_factory=list[bytes])

    def __post_init__(self) -> None:
        assert self.process.stdout
        self._stdout = BufferedByteReceiveStream(self.process.stdout)
        self._last_id = 0

    async def send(self, message: Json) -> None:
        assert self.process.stdin
        await self.process.stdin.send(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    async def request(self, method: str, parameters: Json) -> int:
        """The id of the request that was sent."""
        self._last_id += 1
        await self.send({"id": self._last_id, "method": method, "params": parameters})
        return self._last_id

    async def call(self, tool: str, **arguments: Any) -> int:
        return await self.request("tools/call", {"name": tool, "arguments": arguments})

    async def call_files(self) -> int:
        return await self.call("list_resources", project_id=WEBSHOP, resource_type="user-files")

    async def message(self) -> Json:
        """The next message."""
        with anyio.fail_after(PATIENCE):
            self.lines.append(await self._stdout.receive_until(b"\n", LONGEST_LINE))
        return json.loads(self.lines[-1])

    async def initialize(self) -> None:
        await self.request("initialize", HELLO)
        await self.message()
        await self.send({"method": "notifications/initialized"})

    def stop_reading(self) -> None:
        """Close our end of stdout."""
        # What anyio opens can be closed only together with the process.
        cast(Any, self.process)._process._transport.get_pipe_transport(1).close()

    async def hang_up(self) -> None:
        """Close stdin."""
        assert self.process.stdin
        await self.process.stdin.aclose()

    async def exit_code(self) -> int:
        """Wait for the end of the process."""
        with anyio.fail_after(PATIENCE):
            return await self.process.wait()

    async def rest(self) -> bytes:
        """What stdout still holds after the end."""
        content = self._stdout.buffer
        try:
            while True:
                content += await self._stdout.receive()
        except anyio.EndOfStream:
            return content

    def stderr(self) -> str:
        return self.errors.read_text("utf-8", "replace")

    def title(self) -> str:
        """The command line that everybody on this machine can see; empty where that cannot be known."""
        line = Path(f"/proc/{self.process.pid}/cmdline")
        return line.read_text() if line.exists() else ""

    def threads(self) -> int:
        """How many threads it has; 0 where that cannot be known."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        return len(list(tasks.iterdir())) if tasks.exists() else 0


def environment(url: str, **settings: str) -> Mapping[str, str]:
    """What a server needs to find Neptun, and nothing else of this machine but what the interpreter needs."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "PYTHON", "COV", "LD_"))}
    named = {f"NEPTUN_{name.upper()}": value for name, value in settings.items()}
    return {**kept, "NEPTUN_BASE_URL": url, "NEPTUN_SESSION_COOKIE": COOKIE, "NEPTUN_USER_ID": "1", **named}


@asynccontextmanager
async def host(url: str, errors: Path, **settings: str) -> AsyncGenerator[Host]:
    """A fresh server in a process of its own, which does not outlive the block. Its stderr goes to the file."""
    with errors.open("wb") as stderr:
        process = await anyio.open_process(
            [sys.executable, "-m", "neptun_mcp"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment(url, **settings),
        )
        async with process:
            try:
                yield Host(process, errors)
            finally:
                if process.returncode is None:
                    process.kill()
