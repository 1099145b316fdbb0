"""A server that people sign in to, in this process."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx

from neptun_mcp import Settings
from neptun_mcp.account import create_client
from neptun_mcp.sandbox import EMAIL, PASSWORD
from neptun_mcp.serving.http import build_asgi_app
from neptun_mcp.sign_in.provider import Provider
from tests.serving.support import STATE_KEY, Caller, free_port, listen
from tests.sign_in.browser import Application, Browser, brought
from tests.support import Json, Site

SIGN_IN = {"mcp_credentials": "sign-in", "mcp_state_key": STATE_KEY}


@dataclass
class SignInServer:
    """A server that people sign in to, somebody's browser, and an application that is registered.

    Attributes:
        url: where it is.
        key: the key that it shares with its other processes.
    """

    url: str
    key: str
    browser: Browser
    app: Application

    @property
    def provider(self) -> Provider:
        """That of another process with the same key, which opens whatever this one has sealed."""
        return Provider(create_client(Settings()), self.url, self.key.split())

    async def page(self, **parameters: str) -> httpx.Response:
        return await self.browser.open(self.app.link(**parameters))

    async def code(self, **fields: str) -> str:
        """The code that a person gets."""
        fields = fields or {"email": EMAIL, "password": PASSWORD}
        return brought(await self.browser.submit(await self.page(), **fields))["code"]

    async def tokens(self, **fields: str) -> Json:
        response = await self.app.exchange(await self.code(**fields))
        assert response.status_code == 200, response.text
        return response.json()

    def caller(self, tokens: Json) -> Caller:
        return Caller(self.url, self.app.http, {"Authorization": f"Bearer {tokens['access_token']}"})

    async def lets_in(self, tokens: Json) -> bool:
        status = (await self.caller(tokens).post("tools/list", {})).status_code
        assert status in (200, 401)
        return status == 200


@asynccontextmanager
async def sign_in_server(
    site: Site, key: str = STATE_KEY, port: int = 0, **settings: Any
) -> AsyncGenerator[SignInServer]:
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    given: Json = {"base_url": site.url, "mcp_credentials": "sign-in", "mcp_public_url": url, "mcp_state_key": key}
    app = build_asgi_app(Settings(**given, **settings))
    # Without TLS to prepare, a client is made in no time.
    person, application = (httpx.AsyncClient(base_url=url, verify=False) for _ in range(2))
    async with listen(app, port), person, application:
        server = SignInServer(url, key, Browser(person), Application(application))
        await server.app.register()
        yield server
