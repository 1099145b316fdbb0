"""An application that people sign in to with a browser, and a browser that does what it is told."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2 as httpx

from tests.support import Json

REDIRECT = "http://localhost:3118/callback"
VERIFIER = "v" * 43
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


@dataclass
class Browser:
    """Keeps cookies, runs no scripts, and opens nothing but the server's pages."""

    http: httpx.AsyncClient

    async def open(self, url: str) -> httpx.Response:
        """The page at the end of an address; or the answer that leads elsewhere."""
        page = await self.http.get(url)
        while page.is_redirect and page.headers["location"].startswith(str(self.http.base_url)):
            page = await self.http.get(page.headers["location"])
        return page

    async def submit(self, page: httpx.Response, **fields: str) -> httpx.Response:
        """The answer to the form of a page with the password; with a field `cookie`, to that with the cookie."""
        form = "/sign-in/cookie" if "cookie" in fields else "/sign-in"
        return await self.http.post(form, data={"request": hidden(page), **fields})

    async def refuse(self, page: httpx.Response) -> httpx.Response:
        """The answer to the form of a page by which a person refuses."""
        return await self.http.post("/sign-in/refuse", data={"request": hidden(page)})


def hidden(page: httpx.Response) -> str:
    """The pending request in a page."""
    found = set(re.findall(r'<input type="hidden" name="request" value="([^"]*)">', page.text))
    assert len(found) == 1, page.text
    return unescape(found.pop())


def words_of(page: httpx.Response) -> str:
    """What a page says, without its style."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]*>", " ", page.text, flags=re.DOTALL)))


def brought(answer: httpx.Response) -> dict[str, str]:
    """What an answer that leads back to the application brings it."""
    assert answer.status_code in (302, 303), answer.text
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}


@dataclass
class Application:
    """An OAuth client that says just what it is told."""

    http: httpx.AsyncClient
    registration: Json = field(default_factory=dict[str, Any])

    async def register(self, **metadata: Any) -> httpx.Response:
        known: Json = {"client_name": "Tester", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"}
        response = await self.http.post("/register", json={**known, **metadata})
        if response.is_success:
            self.registration = response.json()
        return response

    def link(self, **parameters: str) -> str:
        """Where the application sends a browser."""
        known = {
            "client_id": self.registration.get("client_id", ""),
            "redirect_uri": REDIRECT,
            "response_type": "code",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "state": "of the application",
        }
        return f"/authorize?{urlencode({**known, **parameters})}"

    async def token(self, **fields: str) -> httpx.Response:
        return await self.http.post("/token", data={"client_id": self.registration["client_id"], **fields})

    async def exchange(self, code: str, **fields: str) -> httpx.Response:
        """The answer to a code."""
        known = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
        }
        return await self.token(**{**known, **fields})

    async def refresh(self, refresh_token: str) -> httpx.Response:
        return await self.token(grant_type="refresh_token", refresh_token=refresh_token)
