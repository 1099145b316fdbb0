"""The command, and other programs, as processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any, TypeAlias, cast

import anyio
import anyio.abc
import httpx2 as httpx
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.support import HELLO, PATIENCE, WEBSHOP, Json, http_client

COMMAND = (sys.executable, "-m", "neptun_mcp")
LONGEST_LINE = 2**24


def environment(**settings: str) -> dict[str, str]:
    """What the interpreter needs of this machine's environment, and these settings."""
    needed = ("PATH", "PYTHON", "COV", "LD_", "SYSTEMROOT", "HOME", "XDG_CONFIG_HOME")
    kept = {name: value for name, value in os.environ.items() if name.startswith(needed)}
    return kept | {f"NEPTUN_{name.upper()}": value for name, value in settings.items()}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@dataclass(frozen=True)
class Completed:
    """What a command left behind."""

    code: int | str | None
    stdout: str
    stderr: str


Command: TypeAlias = Callable[..., Completed]


def run(*arguments: str, program: Sequence[str] = COMMAND, stdin: int = DEVNULL, **settings: str) -> Completed:
    """Run a program to its end."""
    process = subprocess.run(
        [*program, *arguments],
        stdin=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
        check=False,
        env=environment(**settings),
    )
    return Completed(process.returncode, process.stdout, process.stderr)


@dataclass
class Child:
    """A running process."""

    process: anyio.abc.Process
    errors: Path

    async def exit_code(self) -> int:
        """Wait for the end of the process."""
        with anyio.fail_after(PATIENCE):
            return await self.process.wait()

    async def first_line(self) -> str:
        """Wait for the first line on stdout."""
        assert self.process.stdout
        with anyio.fail_after(PATIENCE):
            return (await BufferedByteReceiveStream(self.process.stdout).receive_until(b"\n", LONGEST_LINE)).decode()

    async def answering(self, url: str) -> None:
        """Wait until somebody answers at an address."""
        http = http_client()
        async with http:
            while True:
                assert self.process.returncode is None, self.stderr()
                try:
                    await http.get(url)
                except httpx.TransportError:
                    await anyio.sleep(0.05)
                else:
                    return

    def stderr(self) -> str:
        return self.errors.read_text("utf-8", "replace")

    def limit_of_files(self) -> int:
        """How many files and connections the process may have open; 0 if /proc does not show it."""
        limits = Path(f"/proc/{self.process.pid}/limits")
        lines = limits.read_text().splitlines() if limits.exists() else []
        return next((int(line.split()[3]) for line in lines if line.startswith("Max open files")), 0)


@asynccontextmanager
async def start(
    errors: Path, *command: str, env: Mapping[str, str], stdin: int = DEVNULL, stdout: int = DEVNULL
) -> AsyncGenerator[Child]:
    """Start a process. At the end of the block SIGTERM ends it, unless it has ended.

    Its stderr goes to the file, and may hold no traceback.
    """
    with errors.open("wb") as stderr:
        process = await anyio.open_process(command, env=env, stdin=stdin, stdout=stdout, stderr=stderr)
        child = Child(process, errors)
        async with process:
            try:
                yield child
            finally:
                with anyio.move_on_after(PATIENCE, shield=True):
                    if process.returncode is None:
                        process.terminate()
                    await process.wait()
                if process.returncode is None:
                    process.kill()
    assert "Traceback" not in child.stderr()


@dataclass
class StdioServer(Child):
    """Our server as a host starts it: it is spoken to line by line, and all that comes back is seen.

    Attributes:
        lines: every line of stdout so far.
    """

    lines: list[bytes] = field(default_factory=list[bytes])

    def __post_init__(self) -> None:
        assert self.process.stdout
        self._stdout = BufferedByteReceiveStream(self.process.stdout)
        self._last_id = 0

    async def send(self, message: Json) -> None:
        await self.send_line(json.dumps({"jsonrpc": "2.0", **message}).encode())

    async def send_line(self, line: bytes) -> None:
        assert self.process.stdin
        await self.process.stdin.send(line + b"\n")

    async def request(self, method: str, parameters: Json) -> int:
        """Send a request; the result is its id."""
        self._last_id += 1
        await self.send({"id": self._last_id, "method": method, "params": parameters})
        return self._last_id

    async def call(self, tool: str, **arguments: Any) -> int:
        """Send a call of a tool; the result is its id."""
        return await self.request("tools/call", {"name": tool, "arguments": arguments})

    async def call_files(self) -> int:
        return await self.call("list_resources", project_id=WEBSHOP, resource_type="user-files")

    async def message(self) -> Json:
        """Wait for the next message."""
        with anyio.fail_after(PATIENCE):
            self.lines.append(await self._stdout.receive_until(b"\n", LONGEST_LINE))
        return json.loads(self.lines[-1])

    async def initialize(self, capabilities: Json | None = None) -> None:
        await self.request("initialize", {**HELLO, "capabilities": capabilities or {}})
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

    async def rest(self) -> bytes:
        """What stdout still holds after the end."""
        content = self._stdout.buffer
        try:
            while True:
                content += await self._stdout.receive()
        except anyio.EndOfStream:
            return content

    def title(self) -> str:
        """The command line, which everybody on this machine can see; empty if /proc does not show it."""
        line = Path(f"/proc/{self.process.pid}/cmdline")
        return line.read_text() if line.exists() else ""

    def threads(self) -> int:
        """The number of threads; 0 if /proc does not show them."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        return len(list(tasks.iterdir())) if tasks.exists() else 0


@asynccontextmanager
async def start_stdio(
    errors: Path, *arguments: str, program: Sequence[str] = COMMAND, **settings: str
) -> AsyncGenerator[StdioServer]:
    """Start our server on pipes. Its stderr goes to the file."""
    env = environment(**settings)
    async with start(errors, *program, *arguments, env=env, stdin=PIPE, stdout=PIPE) as child:
        yield StdioServer(child.process, errors)
