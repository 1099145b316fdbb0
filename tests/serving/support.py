"""A server over HTTP, in this process or in others, and a client that sends exactly what a test says."""

from __future__ import annotations

import json
import math
import re
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx2 as httpx
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from neptun_mcp import Settings
from neptun_mcp.sandbox import COOKIE
from neptun_mcp.sandbox.state import Store
from neptun_mcp.serving.http import build_asgi_app
from tests.listening import Server
from tests.processes import Child, free_port, start
from tests.running_neptun import create_app
from tests.support import Json, Site, http_client, until

TOKEN, OTHER_TOKEN = "token-of-the-tests-0123456789-one", "token-of-the-tests-0123456789-two"
STATE_KEY, OTHER_STATE_KEY = "key-of-the-tests-0123456789-seals", "key-of-the-tests-0123456789-other"
HOST = "mcp.example.com"
REMOTE = {
    "mcp_token": f"{TOKEN} {OTHER_TOKEN}",
    "mcp_allowed_hosts": HOST,
    "mcp_state_key": STATE_KEY,
    "mcp_credentials": "caller",
}
"""Settings of a server on any address, which holds no credentials."""
HEADERS = {"Host": HOST, "Authorization": f"Bearer {TOKEN}", "Neptun-Session": COOKIE}
"""Alice's."""

LIST_IMPORTS: Json = {"project_id": 1, "limit": 1}
LIST_FILES: Json = {"project_id": 1, "resource_type": "user-files"}
DELETE_IMPORT: Json = {"project_id": 1, "import_id": 104}

ASKABLE: Json = {"elicitation": {"form": {}}}
AGREED: Json = {"neptun_mcp.tools.questions:ask_deletion": {"action": "accept", "content": {"delete": True}}}


@dataclass
class Caller:
    """A client of the server, stateless as in MCP 2026-07-28, or as in 2025-11-25.

    Attributes:
        url: the address of the server.
        headers: sent with each request besides the protocol's own.
        era: the protocol version.
        capabilities: what the host says it can do.
        http: the connections, which several callers may share.
    """

    url: str
    http: httpx.AsyncClient
    headers: Mapping[str, str | bytes] = field(default_factory=dict[str, "str | bytes"])
    era: str = "2026-07-28"
    capabilities: Json = field(default_factory=lambda: ASKABLE)

    async def post(self, method: str, params: Json, path: str = "/mcp") -> httpx.Response:
        return await self.http.post(f"{self.url}{path}", **self.message(method, params))

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


def error_in(response: Json) -> str:
    """What a failing call says."""
    assert response["result"]["isError"], response
    return response["result"]["content"][0]["text"]


def content_in(response: Json) -> Json:
    """What a successful call returns."""
    assert not response["result"]["isError"], response
    return response["result"]["structuredContent"]


class QuickServer(Server):
    """uvicorn without its ticks of a tenth of a second, several of which each test would wait for."""

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await until(lambda: self.should_exit, math.inf)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        if not self.force_exit:
            await until(lambda: not (state.connections or state.tasks))
            await self.lifespan.shutdown()


@asynccontextmanager
async def listen(
    app: ASGIApp, port: int = 0, prepare: Callable[[socket.socket], None] = lambda _: None, **config: Any
) -> AsyncGenerator[str]:
    """The address of an application that runs in this event loop, with further settings of uvicorn."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        prepare(listener)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = {"ws": "none", "lifespan": "on", "log_config": None, "access_log": False, **config}
        server = QuickServer(uvicorn.Config(app, **config))

        async def run() -> None:
            with anyio.CancelScope(shield=True):  # cancelled, it would leave its connections to the next test
                await server.serve([listener])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await until(lambda: server.started)
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            except BaseException:
                server.force_exit = True  # what the test began may never end
                raise
            finally:
                server.should_exit = True


@asynccontextmanager
async def start_in_process(site: Site, host: str = "127.0.0.1", **settings: Any) -> AsyncGenerator[Caller]:
    """A server in this process, and a caller of it without extra headers."""
    given: Json = {"base_url": site.url, **settings}
    app = build_asgi_app(Settings(**given), host)
    http = http_client()
    async with listen(app) as url, http:
        yield Caller(url, http)


class HeldNeptun:
    """A site's sandbox that answers some requests only once it is told to, or the site has another.

    Attributes:
        path: the end of the paths of these requests.
        store: what the sandbox holds.
        held: the number of requests that wait for an answer.
        most: the highest that this number has been.
        released: set this to let them go.
    """

    def __init__(self, site: Site, path: str = "/user-files") -> None:
        self._app = create_app()
        self.store: Store = self._app.store
        self.path = path
        self.held = self.most = 0
        self.released = False
        self._site = site
        site.app = self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].endswith(self.path):
            self.held += 1
            self.most = max(self.most, self.held)
            await until(lambda: self.released or self._site.app is not self)
            self.held -= 1
        await self._app(scope, receive, send)


ROOT = Path(__file__).parents[2]
STARTED = ("service", "uvicorn", "image")
"""The ways in which operators start a server: as a service, with uvicorn, as an image."""


def started(way: str, port: int) -> list[str]:
    """The command line of a server, as the documentation and the image have it, on a port of this machine."""
    page = (ROOT / "docs" / "remote.md").read_text("utf-8")
    match way:
        case "service":
            (line,) = re.findall(r"^ExecStart=(.*)$", page, re.MULTILINE)
            changed = {"/opt/neptun-mcp/bin/neptun-mcp": "neptun_mcp", "%i": str(port)}
        case "uvicorn":
            (line,) = re.findall(r"^(/opt/neptun-mcp/bin/uvicorn (?:.*\\\n)*.*)$", page, re.MULTILINE)
            line = line.replace("\\\n", "")
            changed = {"/opt/neptun-mcp/bin/uvicorn": "uvicorn", "8001": str(port), "4": "1"}
        case _:
            (line,) = re.findall(r"^CMD (.*)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE)
            line = " ".join([*json.loads(line), "--port", str(port)])
            changed = {"neptun-mcp": "neptun_mcp", "0.0.0.0": "127.0.0.1"}
    words = line.split()
    assert changed.keys() <= set(words)
    return [sys.executable, "-m", *(changed.get(word, word) for word in words)]


@asynccontextmanager
async def worker(
    errors: Path, env: Mapping[str, str], way: str = "service", *, below: Sequence[str] = ()
) -> AsyncGenerator[tuple[str, Child]]:
    """The address and the process of one of several servers, as an operator starts them.

    below: another program, which starts it.
    """
    port = free_port()
    async with start(errors, *below, *started(way, port), env=env) as child:
        url = f"http://127.0.0.1:{port}"
        await child.answering(f"{url}/health")
        yield url, child
