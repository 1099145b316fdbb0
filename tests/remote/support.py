"""A server over HTTP, in this process or in processes of their own, and a client that says just what it is told."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import anyio
import httpx2 as httpx
import uvicorn
from anyio.abc import Process
from starlette.types import ASGIApp

from neptun_mcp import Settings
from neptun_mcp.remote.app import app_of
from neptun_mcp.sandbox.server import Server
from tests.support import Json, Site, until

TOKEN, OTHER_TOKEN = "a" * 32, "b" * 32
STATE_KEY, OTHER_STATE_KEY = "k" * 32, "o" * 32
HOST = "mcp.example.com"

ASKABLE: Json = {"elicitation": {"form": {}}}
YES: Json = {"neptun_mcp.tools.tools:ask_deletion": {"action": "accept", "content": {"delete": True}}}


@dataclass
class Caller:
    """One who calls the server, statelessly as in MCP 2026-07-28, or as in 2025-11-25.

    Attributes:
        url: where the server is.
        headers: what goes with each request besides the protocol's own.
        era: the protocol version.
        capabilities: what the host says it can do.
        http: the connections, which several callers may share.
    """

    url: str
    http: httpx.AsyncClient
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    era: str = "2026-07-28"
    capabilities: Json = field(default_factory=lambda: ASKABLE)

    async def post(self, method: str, params: Json) -> httpx.Response:
        return await self.http.post(f"{self.url}/mcp", **self.message(method, params))

    def message(self, method: str, params: Json) -> Json:
        """Body and headers of a request."""
        modern = self.era >= "2026"
        meta = {
            "io.modelcontextprotocol/protocolVersion": self.era,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": self.capabilities,
        }
        routing = {"MCP-Method": method, "MCP-Name": params.get("name", "")} if modern else {}
        return {
            "json": {
                "jsonrpc": "2.0",
                "id": 1,
                "method": method,
                "params": params | ({"_meta": meta} if modern else {}),
            },
            "headers": {"Accept": "application/json", "MCP-Protocol-Version": self.era, **routing, **self.headers},
        }

    async def call(self, tool: str, arguments: Json, **more: Any) -> Json:
        """The JSON-RPC response to a tool's call."""
        response = await self.post("tools/call", {"name": tool, "arguments": arguments, **more})
        return response.json()


def words(response: Json) -> str:
    """What a failing call says."""
    assert response["result"]["isError"], response
    return response["result"]["content"][0]["text"]


def content(response: Json) -> Json:
    """What a successful call returns."""
    assert not response["result"]["isError"], response
    return response["result"]["structuredContent"]


@asynccontextmanager
async def listening(app: ASGIApp) -> AsyncGenerator[str]:
    """The address of an application that runs in this event loop."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = Server(uvicorn.Config(app, ws="none", lifespan="on", log_config=None, access_log=False))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            await until(lambda: server.started)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = True


@asynccontextmanager
async def serving(site: Site, host: str = "127.0.0.1", **settings: Any) -> AsyncGenerator[Caller]:
    """A caller without headers of its own, of a server in this process."""
    given: Json = {"base_url": site.url, **settings}
    app = app_of(Settings(**given), host)
    http = httpx.AsyncClient(timeout=30, verify=False)
    async with listening(app) as url, http:
        yield Caller(url, http)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def environment(site: Site, **settings: str) -> dict[str, str]:
    """The environment of a server in a process of its own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("NEPTUN_", "OTEL_"))}
    return {**inherited, "NEPTUN_BASE_URL": site.url, **settings}


@asynccontextmanager
async def process(log: Path, *command: str, env: Mapping[str, str]) -> AsyncGenerator[Process]:
    """A process that is ended by SIGTERM at last, whose stderr goes to a file."""
    with log.open("wb") as stderr:
        running = await anyio.open_process(command, env=env, stdin=DEVNULL, stdout=DEVNULL, stderr=stderr)
        try:
            yield running
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(30):
                if running.returncode is None:
                    running.terminate()
                await running.wait()
            if running.returncode is None:
                running.kill()


@asynccontextmanager
async def worker(log: Path, env: Mapping[str, str]) -> AsyncGenerator[tuple[str, Process]]:
    """The address and the process of one of several servers, as an operator starts them."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "neptun_mcp.remote:create_app", "--port", str(port)]
    async with process(log, *command, env=env) as running:
        url = f"http://127.0.0.1:{port}"
        await answering(f"{url}/health", running)
        yield url, running


async def answering(url: str, running: Process) -> None:
    """Wait until somebody answers at an address."""
    http = httpx.AsyncClient()
    async with http:
        while True:
            assert running.returncode is None, "it ended before it answered"
            try:
                await http.get(url)
            except httpx.TransportError:
                await anyio.sleep(0.05)
            else:
                return
