"""Whose Neptun account is used, as the settings say: its credentials, where its session is kept, a client for it."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

from ._version import __version__
from .neptun.client import NeptunClient
from .neptun.session import Credentials
from .neptun.store import SessionStore
from .settings import Settings

NO_HOME = "the home directory is not known; set HOME"
"""Why there is no place for a person's files."""


def create_client(settings: Settings) -> NeptunClient:
    """A client as the settings describe it; with `sandbox`, of an embedded Neptun."""
    credentials, base_url, http_transport = credentials_of(settings), settings.base_url, None
    if settings.sandbox != "off":
        import httpx2 as httpx

        from . import sandbox

        credentials, base_url = Credentials(cookie=sandbox.COOKIE), "http://neptun.localhost"
        http_transport = httpx.ASGITransport(app=sandbox.create_app(contract=settings.sandbox))
    return NeptunClient(
        credentials,
        user_id=None if http_transport else settings.user_id,
        base_url=base_url,
        timeout=settings.timeout,
        max_connections=settings.max_connections,
        max_response_bytes=settings.max_response_bytes,
        http_transport=http_transport,
        user_agent=f"neptun-mcp/{__version__}",
    )


def credentials_of(settings: Settings) -> Credentials:
    """How to get a session: as the settings say, else the session that `neptun-mcp login` keeps."""
    return Credentials(
        cookie=settings.session_cookie.get_secret_value() if settings.session_cookie else None,
        cookie_file=settings.session_cookie_file,
        email=settings.email,
        password=settings.password.get_secret_value() if settings.password else None,
        kept=None if settings.has_credentials else session_store(),
    )


def session_store() -> SessionStore:
    """Where `neptun-mcp login` keeps sessions."""

    def find_file() -> Path:
        from platformdirs import user_config_path  # not needed to start

        with suppress(RuntimeError):
            file = user_config_path("neptun-mcp", appauthor=False) / "sessions.json"
            if file.is_absolute():  # not `~`, which stays without a home directory
                return file
        raise FileNotFoundError(errno.ENOENT, NO_HOME, "sessions.json")

    return SessionStore(find_file, "neptun-mcp")


def sample_login(settings: Settings) -> str:
    """How a person signs in to the sample data, a sentence; empty without them."""
    if settings.sandbox == "off":
        return ""
    from .sandbox import EMAIL, PASSWORD

    return f'Sample data: sign in as {EMAIL} with the password "{PASSWORD}".'
