"""Applications: what they register, where they may send people, and the id that says so.

An application's id is its registration, in JSON and base64: nothing is stored. It needs no seal, since anyone may
register anything; what it says is checked whenever it is used. A secret is in it as a digest. So no rotation of keys
makes an application register again.
"""

from __future__ import annotations

import json
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import urlsplit

from mcp.server.auth.provider import RegistrationError
from mcp.shared.auth import DEFAULT_GRANT_TYPES, InvalidRedirectUriError, OAuthClientInformationFull
from pydantic import AnyUrl, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from ..log import digest
from ..neptun.errors import quoted
from ..settings import is_loopback

MAX_CLIENT_ID = 4_000
"""Characters. It is part of addresses, for which many servers have room for 8 kB."""

MAX_LISTED = 20
"""Redirect URIs, and the like, of one registration."""

EDITORS = {
    "antigravity": "Antigravity",
    "code-oss": "Code - OSS",
    "cursor": "Cursor",
    "kiro": "Kiro",
    "positron": "Positron",
    "trae": "Trae",
    "vscode": "VS Code",
    "vscode-insiders": "VS Code Insiders",
    "vscodium": "VSCodium",
    "windsurf": "Windsurf",
    "windsurf-next": "Windsurf Next",
    "zed": "Zed",
}
"""Editors by the scheme of the addresses that they open, those of their extensions included. PKCE keeps another
application that takes such an address from using the code (RFC 8252, 8.1)."""

METHODS = ("none", "client_secret_post", "client_secret_basic")
"""How applications may authenticate. One that has a secret may send it in either way."""

_WHERE = "A redirect URI is https, http to a loopback address, or of a known editor such as vscode, without a fragment."
_DESCRIBED = {"client_name", "grant_types", "nonce", "redirect_uris", "secret_digest"}
_URI = TypeAdapter(AnyUrl, config=ConfigDict(url_preserve_empty_path=True))


class Client(OAuthClientInformationFull):
    """A registered application.

    Attributes:
        client_secret: None, but in registrations that versions before sealed.
        nonce: tells it from others that have registered the same.
        secret_digest: of its secret, if it has one.
        short_id: by which codes and tokens name it; the id itself is long.
    """

    client_secret: str | None = Field(default=None, repr=False)
    nonce: str = ""
    secret_digest: str | None = None
    short_id: str = ""

    @property
    def renews(self) -> bool:
        """Whether it gets refresh tokens."""
        return "refresh_token" in self.grant_types

    def validate_redirect_uri(self, redirect_uri: AnyUrl | None) -> AnyUrl:
        """The address to send the person to: exactly as registered, but for the port of a loopback address, which
        applications choose anew each time (RFC 8252, 7.3)."""
        if redirect_uri is None:
            return super().validate_redirect_uri(None)
        if _comparable(redirect_uri) not in map(_comparable, self.redirect_uris or ()):
            raise InvalidRedirectUriError("redirect_uri is not registered for this client")
        return redirect_uri

    def validate_scope(self, requested_scope: str | None) -> list[str]:
        """Whatever is asked for: what a token is good for is the person's choice on the page."""
        return (requested_scope or "").split()


def client_of(client_id: str) -> Client | None:
    """The application that an id describes; None if it describes none that may send people anywhere."""
    if len(client_id) > MAX_CLIENT_ID:
        return None
    try:
        described = from_json(urlsafe_b64decode(client_id + "=" * (-len(client_id) % 4)))
        known = {name: value for name, value in described.items() if name in _DESCRIBED}
        client = Client.model_validate({**known, "client_id": client_id, "short_id": digest(client_id)[:32]})
    except (ValueError, AttributeError):  # a ValidationError is a ValueError
        return None
    return client if client.redirect_uris and all(map(_is_allowed, client.redirect_uris)) else None


def register(body: bytes) -> tuple[Client, dict[str, Any]]:
    """A new application, and the answer to its registration (RFC 7591): what is granted, whatever was asked for.

    Raises:
        RegistrationError: nothing can be granted.
    """
    asked = _metadata(body)
    kept, dropped = _sorted_uris(_texts(asked, "redirect_uris"))
    if not kept:
        raise RegistrationError("invalid_redirect_uri", _WHERE)
    grants = _texts(asked, "grant_types", DEFAULT_GRANT_TYPES)
    if "authorization_code" not in grants or "code" not in _texts(asked, "response_types", ["code"]):
        raise _refused("grant_types has to include authorization_code, and response_types code")
    method = asked.get("token_endpoint_auth_method") or "client_secret_basic"  # the default: RFC 7591, 2
    if method not in METHODS:
        raise _refused(f"token_endpoint_auth_method has to be one of {', '.join(METHODS)}")
    name, scope = (asked.get(field) for field in ("client_name", "scope"))
    secret = None if method == "none" else secrets.token_hex(32)
    described = Client(
        client_id="new",
        client_name=name if isinstance(name, str) else None,
        grant_types=[grant for grant in DEFAULT_GRANT_TYPES if grant in grants],
        redirect_uris=kept,
        nonce=secrets.token_urlsafe(6),
        secret_digest=digest(secret) if secret else None,
    )
    client = client_of(_id_of(described))
    if client is None:
        raise _refused("the name and the redirect URIs are too long")
    answer: dict[str, Any] = {
        **client.model_dump(mode="json", include={"client_id", "client_name", "grant_types", "redirect_uris"}),
        "client_id_issued_at": int(time.time()),
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
    }
    if secret:
        answer |= {"client_secret": secret, "client_secret_expires_at": 0}  # never
    if isinstance(scope, str):
        answer["scope"] = scope
    if dropped:
        answer["warning"] = f"Not registered: {', '.join(quoted(uri) for uri in dropped)}. {_WHERE}"
    return client, {name: value for name, value in answer.items() if value is not None}


def _id_of(client: Client) -> str:
    described = client.model_dump(mode="json", include=_DESCRIBED, exclude_defaults=True)
    return urlsafe_b64encode(json.dumps(described, separators=(",", ":")).encode()).decode().rstrip("=")


def _metadata(body: bytes) -> dict[str, Any]:
    try:
        metadata = from_json(body)
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        raise _refused("a registration is a JSON object")
    return cast("dict[str, Any]", metadata)


def _texts(metadata: dict[str, Any], name: str, default: list[str] | None = None) -> list[str]:
    """A list of texts in what was asked for. Its words are short whatever is in it."""
    value = metadata.get(name)
    if value is None and default is not None:
        return default
    values = cast("list[object]", value) if isinstance(value, list) else []
    texts = [text for text in values[:MAX_LISTED] if isinstance(text, str)]
    if not values or len(texts) < len(values):
        words = f"{name} has to be a list of 1 to {MAX_LISTED} texts"
        raise RegistrationError("invalid_redirect_uri", words) if name == "redirect_uris" else _refused(words)
    return texts


def _sorted_uris(texts: Iterable[str]) -> tuple[list[AnyUrl], list[str]]:
    """The addresses to which people may be sent, and the texts of the others."""
    kept, dropped = list[AnyUrl](), list[str]()
    for text in texts:
        try:
            uri = _URI.validate_python(text)
        except ValidationError:
            uri = None
        if uri and _is_allowed(uri):
            kept.append(uri)
        else:
            dropped.append(text)
    return kept, dropped


def _refused(words: str) -> RegistrationError:
    return RegistrationError("invalid_client_metadata", words)


def _is_allowed(uri: AnyUrl) -> bool:
    """Whether a person may be sent to an address: to a site over TLS, or to an application on the own machine."""
    if uri.fragment is not None or uri.username or uri.password or not uri.host:
        return False
    if uri.scheme == "http":
        return is_loopback(uri.host.strip("[]"))
    return uri.scheme == "https" or uri.scheme in EDITORS


def _comparable(uri: AnyUrl) -> str:
    """An address as it is compared: as text, without the port if it is a loopback address."""
    text = str(AnyUrl(str(uri)))  # the SDK's models differ in the slash after a bare host
    parts = urlsplit(text)
    if parts.scheme == "http" and is_loopback(parts.hostname or ""):
        return parts._replace(netloc=parts.netloc.removesuffix(f":{parts.port}")).geturl()
    return text
