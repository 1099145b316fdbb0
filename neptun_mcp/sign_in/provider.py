"""People sign in with a browser: an OAuth 2.1 authorization server that stores nothing.

What such a server usually keeps in a database is sealed (AES-GCM, by the SDK's codec) and given to whoever brings it
back: a registration is the client's id, a pending request is a field of the page's form, and codes and tokens carry the
person's Neptun session. So every process that has the key can take part in every sign-in.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Generic, TypeVar
from urllib.parse import urlencode, urlsplit

from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    AuthorizeError,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    RegistrationError,
    TokenError,
    construct_redirect_uri,
)
from mcp.server.request_state import AESGCMRequestStateCodec, InvalidRequestState
from mcp.shared.auth import InvalidRedirectUriError, OAuthClientInformationFull, OAuthToken
from pydantic import AnyUrl, BaseModel, Field, ValidationError

from ..neptun.client import NeptunClient
from ..neptun.errors import NeptunError, SessionRefused
from ..neptun.session import Credentials
from ..settings import is_loopback

PENDING_SECONDS = 15 * 60
"""How long a person may take to sign in."""

CODE_SECONDS = 5 * 60
"""People on a remote machine copy the code by hand."""

ACCESS_SECONDS = 60 * 60
REFRESH_SECONDS = 30 * 24 * 60 * 60
MAX_CLIENT_ID = 4_000
"""Characters. It is part of addresses, for which many servers have room for 8 kB."""

MAX_REMEMBERED = 10_000
"""Used codes, and revoked sign-ins, that a process remembers."""

APP_REDIRECTS = ("cursor://anysphere.cursor-mcp/oauth/callback",)
"""Addresses of applications on the person's machine that can be opened in no other way. PKCE keeps another application
that takes the address from using the code (RFC 8252, 8.1)."""

_SEALED_OF_CLIENT = {
    "client_id",
    "client_name",
    "client_secret",
    "grant_types",
    "redirect_uris",
    "token_endpoint_auth_method",
}

browser: ContextVar[str] = ContextVar("browser")
"""What marks the browser that sent the request to `/authorize`."""

ModelT = TypeVar("ModelT", bound=BaseModel)


class Seal(Generic[ModelT]):
    """Seals models for one purpose.

    The purpose and the server's address are part of the key: what was sealed for another purpose, or by another server
    that has the same key, does not open.

    Args:
        model: what is sealed. A field `expires_at` is set by `seal`.
        purpose: a few words, the same ones in every version.
        address: the server's.
        keys: the first one seals, all of them open.
        lifetime: seconds; None for no end.
    """

    def __init__(
        self, model: type[ModelT], purpose: str, address: str, keys: Sequence[str], lifetime: int | None = None
    ) -> None:
        self._model = model
        self._codec = AESGCMRequestStateCodec([f"{purpose} for {address}: {key}" for key in keys])
        self._lifetime = lifetime

    def seal(self, thing: ModelT) -> str:
        fields = thing.model_dump(mode="json", exclude_defaults=True)
        if self._lifetime is not None:
            fields["expires_at"] = int(time.time()) + self._lifetime
        return self._codec.seal(json.dumps(fields, separators=(",", ":")).encode())

    def open(self, sealed: str) -> ModelT | None:
        """What was sealed; None if it was not sealed here, or too long ago."""
        try:
            fields = json.loads(self._codec.unseal(sealed))
            return self._model.model_validate(fields) if fields.get("expires_at", math.inf) > time.time() else None
        except (InvalidRequestState, ValidationError):
            return None


class Client(OAuthClientInformationFull):
    """A registered application. Its id is its registration, sealed.

    Attributes:
        number: the id that the SDK gave it, by which codes and tokens name it: the sealed one is long.
    """

    client_secret: str | None = Field(default=None, repr=False)
    number: str = ""

    def validate_redirect_uri(self, redirect_uri: AnyUrl | None) -> AnyUrl:
        """The address to send the person to: exactly as registered, but for the port of a loopback address, which
        applications choose anew each time (RFC 8252, 7.3)."""
        if redirect_uri is None:
            return super().validate_redirect_uri(None)
        if _comparable(redirect_uri) not in map(_comparable, self.redirect_uris or ()):
            raise InvalidRedirectUriError("redirect_uri is not registered for this client")
        return redirect_uri

    def validate_scope(self, requested_scope: str | None) -> list[str]:
        """Whatever is asked for: a token is good for all tools, whose list the server's settings decide on."""
        return (requested_scope or "").split()


class Pending(BaseModel):
    """A request for authorization, between `/authorize` and the end of the sign-in.

    Attributes:
        client: the client's number.
        client_name: what the application calls itself.
        browser: what marks the browser that began.
        params: what the client asked for.
    """

    client: str
    client_name: str | None
    browser: str
    params: AuthorizationParams


class _Session(BaseModel):
    """What codes and tokens have in common.

    Attributes:
        cookie: the person's Neptun session.
        sign_in: tells one sign-in from another; all tokens that follow from it have it.
        user_id: the person's id in Neptun; None in tokens of versions that did not seal it.
    """

    cookie: str = Field(repr=False)
    sign_in: str
    user_id: int | None = None


class Code(AuthorizationCode, _Session):
    code: str = Field(default="", repr=False)
    expires_at: float = 0


class Refresh(RefreshToken, _Session):
    token: str = Field(default="", repr=False)


class Access(AccessToken, _Session):
    token: str = Field(default="", repr=False)


TokenT = TypeVar("TokenT", Refresh, Access)
OwnedT = TypeVar("OwnedT", Code, Refresh)


class Provider(OAuthAuthorizationServerProvider[Code, Refresh, Access]):
    """What the SDK's handlers ask about clients, codes and tokens.

    Args:
        neptun: its connections are used for the people who sign in.
        address: the server's public one, such as `https://mcp.example.com`.
        keys: the first one seals, all of them open.
    """

    def __init__(self, neptun: NeptunClient, address: str, keys: Sequence[str]) -> None:
        self._neptun = neptun
        self.address = address
        self.resource = f"{address}/mcp"
        self.clients = Seal(Client, "client", address, keys)
        self.pending = Seal(Pending, "pending request", address, keys, PENDING_SECONDS)
        self.codes = Seal(Code, "code", address, keys, CODE_SECONDS)
        self.access_tokens = Seal(Access, "access token", address, keys, ACCESS_SECONDS)
        self.refresh_tokens = Seal(Refresh, "refresh token", address, keys, REFRESH_SECONDS)
        self._used = _Remembered()
        self._revoked = _Remembered()

    def serves(self, resource: str | None) -> bool:
        """Whether this is the server that a client wants access to; it need not say."""
        return not resource or resource.rstrip("/") == self.resource

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        """Make the registration the client's id; the SDK's handler answers with this object."""
        client_info.redirect_uris = [uri for uri in client_info.redirect_uris or () if _is_allowed(uri)]
        if not client_info.redirect_uris:
            raise RegistrationError(
                "invalid_redirect_uri", "a redirect URI is https, or http to a loopback address, without a fragment"
            )
        client = Client.model_validate(client_info.model_dump(include=_SEALED_OF_CLIENT))
        client_info.client_id = self.clients.seal(client)
        if len(client_info.client_id) > MAX_CLIENT_ID:
            raise RegistrationError("invalid_client_metadata", "the name and the redirect URIs are too long")

    async def get_client(self, client_id: str) -> Client | None:
        client = self.clients.open(client_id)
        if client:
            client.number, client.client_id = client.client_id, client_id
        return client

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        """The address of the page on which the person signs in."""
        if not self.serves(params.resource):
            raise AuthorizeError("invalid_target", f"this server gives access to {self.resource} only")
        pending = Pending(client=_number(client), client_name=client.client_name, browser=browser.get(), params=params)
        return f"{self.address}/sign-in?{urlencode({'request': self.pending.seal(pending)})}"

    def accept(self, pending: Pending, cookie: str, user_id: int) -> str:
        """The address that takes the person back to the application, with a code for this Neptun session."""
        params = pending.params
        code = Code(
            client_id=pending.client,
            cookie=cookie,
            user_id=user_id,
            sign_in=secrets.token_urlsafe(16),
            scopes=params.scopes or [],
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
        )
        return self._back(params, code=self.codes.seal(code))

    def refuse(self, pending: Pending) -> str:
        """The address that takes the person back to the application, without access."""
        return self._back(pending.params, error="access_denied", error_description="The person refused.")

    def _back(self, params: AuthorizationParams, **result: str) -> str:
        return construct_redirect_uri(str(params.redirect_uri), **result, state=params.state, iss=self.address)

    async def load_authorization_code(self, client: OAuthClientInformationFull, authorization_code: str) -> Code | None:
        code = _of_client(client, self.codes.open(authorization_code))
        if code and code.sign_in in self._used:
            # Somebody has the code who should not: what it was exchanged for is worth nothing either (RFC 6749, 4.1.2).
            self._revoked.add(code.sign_in)
            return None
        return code

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: Code
    ) -> OAuthToken:
        self._used.add(authorization_code.sign_in)
        return self._tokens(client, authorization_code, authorization_code.scopes)

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> Refresh | None:
        return _of_client(client, self._unrevoked(self.refresh_tokens.open(refresh_token)))

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: Refresh, scopes: list[str]
    ) -> OAuthToken:
        try:
            neptun = self._neptun.with_options(credentials=Credentials(cookie=refresh_token.cookie))
            refresh_token.user_id = await neptun.user_id()
        except SessionRefused:
            raise TokenError("invalid_grant", "the Neptun session has ended: sign in again") from None
        except NeptunError:
            # Whether the session has ended cannot be seen now. If it has, the next call or renewal will show it.
            pass
        return self._tokens(client, refresh_token, scopes)

    def access(self, token: str) -> Access | None:
        """What an access token gives access to; None if it is not valid."""
        return self._unrevoked(self.access_tokens.open(token))

    def revoke(self, client: OAuthClientInformationFull, token: str) -> None:
        """End the sign-in that a token of the client follows from, as far as this process is concerned."""
        found = self.refresh_tokens.open(token) or self.access_tokens.open(token)
        if found and found.client_id == _number(client):
            self._revoked.add(found.sign_in)

    def _unrevoked(self, token: TokenT | None) -> TokenT | None:
        return None if token is None or token.sign_in in self._revoked else token

    def _tokens(self, client: OAuthClientInformationFull, source: Code | Refresh, scopes: list[str]) -> OAuthToken:
        common = source.model_dump(include=set(_Session.model_fields))
        access = Access(client_id=_number(client), scopes=[], **common)
        refresh = Refresh(client_id=_number(client), scopes=scopes, **common)
        return OAuthToken(
            access_token=self.access_tokens.seal(access),
            refresh_token=self.refresh_tokens.seal(refresh),
            expires_in=ACCESS_SECONDS,
            scope=" ".join(scopes) or None,
        )


class _Remembered:
    """Words that were used up in this process, the last ones of them."""

    def __init__(self) -> None:
        self._words = OrderedDict[str, None]()

    def add(self, word: str) -> None:
        self._words[word] = None
        if len(self._words) > MAX_REMEMBERED:
            self._words.popitem(last=False)

    def __contains__(self, word: str) -> bool:
        return word in self._words


def _number(client: OAuthClientInformationFull) -> str:
    assert isinstance(client, Client), "the SDK's handlers pass on what get_client returned"  # noqa: S101
    return client.number


def _of_client(client: OAuthClientInformationFull, found: OwnedT | None) -> OwnedT | None:
    """A code or token, if it is the client's, with the id that the SDK's handlers expect in it."""
    if found is None or found.client_id != _number(client):
        return None
    found.client_id = client.client_id
    return found


def _is_allowed(uri: AnyUrl) -> bool:
    """Whether a person may be sent to an address: to a site over TLS, or to an application on the own machine."""
    if str(uri) in APP_REDIRECTS:
        return True
    if uri.fragment is not None or uri.username or uri.password or not uri.host:
        return False
    return uri.scheme == "https" or (uri.scheme == "http" and is_loopback(uri.host.strip("[]")))


def _comparable(uri: AnyUrl) -> str:
    """An address as it is compared: as text, without the port if it is a loopback address."""
    text = str(AnyUrl(str(uri)))  # the SDK's models differ in the slash after a bare host
    parts = urlsplit(text)
    if parts.scheme == "http" and is_loopback(parts.hostname or ""):
        return parts._replace(netloc=parts.netloc.removesuffix(f":{parts.port}")).geturl()
    return text
