"""Applications: what they register, where they may send people, and the id that says so.

An application's id is its registration, in JSON and base64: nothing is stored. It needs no seal, since anyone may
register anything; what it says is checked whenever it is used. A secret is in it as a digest. So no rotation of keys
makes an application register again.
"""

from __future__ import annotations

import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import AfterValidator, AnyUrl, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from ..log import digest
from ..settings import is_loopback
from .refusals import Refused

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

GRANTS = ("authorization_code", "refresh_token")

Method: TypeAlias = Literal["none", "client_secret_post", "client_secret_basic"]
METHODS: tuple[Method, ...] = get_args(Method)
"""How applications may authenticate. One that has a secret may send it in either way."""

_WHERE = "A redirect URI is https, http to a loopback address, or of a known editor such as vscode, without a fragment."
_URLS = ConfigDict(url_preserve_empty_path=True)


def _leads_somewhere(uri: AnyUrl) -> AnyUrl:
    """Raises ValueError unless a person may be sent there: to a site over TLS, or an application on their machine."""
    here = uri.scheme in EDITORS or (uri.scheme == "http" and is_loopback((uri.host or "").strip("[]")))
    more = uri.username or uri.password or uri.fragment is not None
    if not uri.host or more or not (here or uri.scheme == "https"):
        raise ValueError(_WHERE)
    return uri


RedirectUri: TypeAlias = Annotated[AnyUrl, AfterValidator(_leads_somewhere)]
_read = TypeAdapter[AnyUrl](RedirectUri, config=_URLS).validate_python


def _redirect_uri(text: str) -> AnyUrl | None:
    try:
        return _read(text)
    except ValidationError:
        return None


class Client(BaseModel):
    """A registered application.

    Attributes:
        client_id: the short one, by which codes and tokens name it; the application sends the long one.
        client_name: what it calls itself.
        nonce: tells it from others that have registered the same.
        secret_digest: of its secret, if it has one.
        client_secret: only in registrations that earlier versions sealed.
    """

    model_config = _URLS

    client_id: str
    client_name: str | None = None
    grant_types: list[str] = list(GRANTS)
    redirect_uris: list[RedirectUri] = Field(min_length=1)
    nonce: str = ""
    secret_digest: str | None = None
    client_secret: str | None = Field(default=None, repr=False)

    @property
    def renews(self) -> bool:
        """Whether it gets refresh tokens."""
        return "refresh_token" in self.grant_types

    def leads_to(self, asked: str) -> AnyUrl | None:
        """The address to send the person to: exactly as registered, but for the port of a loopback address, which
        applications choose anew each time (RFC 8252, 7.3). If none is asked for, the only one. None for nowhere."""
        if not asked:
            return self.redirect_uris[0] if len(self.redirect_uris) == 1 else None
        uri = _redirect_uri(asked)
        return uri if uri and _comparable(uri) in map(_comparable, self.redirect_uris) else None


def client_of(long_id: str) -> Client | None:
    """The application that an id describes; None if it describes none that may send people anywhere."""
    if len(long_id) > MAX_CLIENT_ID:
        return None
    try:
        described = from_json(urlsafe_b64decode(long_id + "=" * (-len(long_id) % 4)))
        return Client.model_validate({**described, "client_id": digest(long_id)[:32]})
    except (ValueError, TypeError):  # a ValidationError is a ValueError
        return None


_Texts: TypeAlias = Annotated[list[str], Field(min_length=1, max_length=MAX_LISTED, fail_fast=True)]


class _Metadata(BaseModel):
    """What an application may say of itself, as far as it matters here (RFC 7591, 2)."""

    redirect_uris: _Texts
    grant_types: _Texts | None = None
    response_types: _Texts | None = None
    method: Method | Literal[""] | None = Field(default=None, alias="token_endpoint_auth_method")
    client_name: str | None = None
    scope: str | None = None


def register(body: bytes) -> tuple[Client, dict[str, Any]]:
    """A new application, and the answer to its registration (RFC 7591): what is granted, whatever was asked for.

    Raises:
        Refused: nothing can be granted.
    """
    try:
        asked = _Metadata.model_validate_json(body)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = str(wrong["loc"][0]) if wrong["loc"] else "registration"
        code = "invalid_redirect_uri" if name == "redirect_uris" else "invalid_client_metadata"
        raise Refused(f"{name}: {wrong['msg']}", error=code) from None
    kept = [uri for text in asked.redirect_uris if (uri := _redirect_uri(text))]
    if not kept:
        raise Refused(_WHERE, error="invalid_redirect_uri")
    grants, types = asked.grant_types or GRANTS, asked.response_types or ["code"]
    if "authorization_code" not in grants or "code" not in types:
        words = "grant_types has to include authorization_code, and response_types code"
        raise Refused(words, error="invalid_client_metadata")
    method = asked.method or "client_secret_basic"
    secret = None if method == "none" else secrets.token_hex(32)
    described = Client(
        client_id="",
        client_name=asked.client_name,
        grant_types=[grant for grant in GRANTS if grant in grants],
        redirect_uris=kept,
        nonce=secrets.token_urlsafe(6),
        secret_digest=digest(secret) if secret else None,
    )
    json = described.model_dump_json(exclude={"client_id"}, exclude_defaults=True)
    long_id = urlsafe_b64encode(json.encode()).decode().rstrip("=")
    client = client_of(long_id)
    if client is None:
        raise Refused("the name and the redirect URIs are too long", error="invalid_client_metadata")
    answer = {
        **client.model_dump(mode="json", include={"client_name", "grant_types", "redirect_uris"}),
        "client_id": long_id,
        "client_id_issued_at": int(time.time()),
        "client_secret": secret,
        "client_secret_expires_at": 0 if secret else None,  # never
        "response_types": ["code"],
        "scope": asked.scope,
        "token_endpoint_auth_method": method,
    }
    return client, {name: value for name, value in answer.items() if value is not None}


def _comparable(uri: AnyUrl) -> tuple[object, ...]:
    """The parts of an address by which it is compared. Over http, it is a loopback address."""
    return uri.scheme, uri.host, None if uri.scheme == "http" else uri.port, uri.path or "/", uri.query
