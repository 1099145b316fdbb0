"""People sign in with a browser: an OAuth 2.1 authorization server that stores nothing.

What such a server usually keeps in a database is given to whoever brings it back: a registration is the application's
id; a pending request, which is a field of the page's form, and codes and tokens, which carry the person's Neptun
session, are sealed (AES-GCM, by the SDK's codec). So every process that has the key can take part in every sign-in.
"""

from __future__ import annotations

import json
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Generic, Literal, TypeVar
from urllib.parse import urlencode

import anyio
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    AuthorizeError,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    TokenError,
    construct_redirect_uri,
)
from mcp.server.request_state import AESGCMRequestStateCodec, InvalidRequestState
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import BaseModel, Field, ValidationError

from ..log import digest
from ..neptun.client import NeptunClient
from ..neptun.errors import NeptunError, SessionRefused
from ..neptun.session import Credentials
from .attempts import KnownBrowser
from .registration import Client, client_of

PENDING_SECONDS = 15 * 60
"""How long a person may take to sign in."""

CODE_SECONDS = 5 * 60
"""People on a remote machine copy the code by hand."""

ACCESS_SECONDS = 10 * 60
"""Short, because a log-out is known to one process alone: the others take an access token until its time is over. Not
shorter, because hosts renew a token that has 5 minutes left: those would renew it at every call."""

UNRENEWED_SECONDS = 60 * 60
"""For applications that cannot renew a token: people would have to sign in again every few minutes."""

REFRESH_SECONDS = 30 * 24 * 60 * 60
RENEWAL_SECONDS = 5.0
"""How long Neptun may take to say whether a session has ended. Renewals that wait for it keep others waiting."""

KNOWN_SECONDS = 180 * 24 * 60 * 60
"""How long a browser is known in which somebody has signed in."""

MAX_REMEMBERED = 10_000
"""Used codes, and revoked sign-ins, that a process remembers."""

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

    def seal(self, model: ModelT, lifetime: int | None = None) -> str:
        """The model, sealed, for some seconds other than the usual ones if `lifetime` says so."""
        fields = model.model_dump(mode="json", exclude_defaults=True)
        lifetime = self._lifetime if lifetime is None else lifetime
        if lifetime is not None:
            fields["expires_at"] = int(time.time()) + lifetime
        return self._codec.seal(json.dumps(fields, separators=(",", ":")).encode())

    def open(self, sealed: str, *, expired: bool = False) -> ModelT | None:
        """What was sealed; None if it was not sealed here, or too long ago (unless `expired`: then that, too)."""
        try:
            fields = json.loads(self._codec.unseal(sealed))
            if fields.get("expires_at", math.inf) <= time.time() and not expired:
                return None
            return self._model.model_validate(fields)
        except (InvalidRequestState, ValidationError):
            return None


class Pending(BaseModel):
    """A request for authorization, between `/authorize` and the end of the sign-in.

    Attributes:
        client: the client's short id.
        client_name: what the application calls itself.
        browser: what marks the browser that began.
        params: what the client asked for.
    """

    client: str
    client_name: str | None
    browser: str
    params: AuthorizationParams


class Grant(BaseModel):
    """What codes and tokens have in common: what the person granted to an application.

    Attributes:
        cookie: the person's Neptun session.
        sign_in: tells one sign-in from another; all tokens that follow from it have it.
        user_id: the person's id in Neptun; None in tokens of versions that did not seal it.
        may_delete: whether imports may be deleted, each after the person was asked; else nothing can be changed. False
            in tokens of versions that did not seal it.
    """

    cookie: str = Field(repr=False)
    sign_in: str
    user_id: int | None = None
    may_delete: bool = False


class Code(AuthorizationCode, Grant):
    code: str = Field(default="", repr=False)
    expires_at: float = 0


class Refresh(RefreshToken, Grant):
    token: str = Field(default="", repr=False)


class Access(AccessToken, Grant):
    token: str = Field(default="", repr=False)


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
        self.old_clients = Seal(Client, "client", address, keys)  # as versions before registered them
        self.known_browsers = Seal(KnownBrowser, "known browser", address, keys, KNOWN_SECONDS)
        self.pending = Seal(Pending, "pending request", address, keys, PENDING_SECONDS)
        self.codes = Seal(Code, "code", address, keys, CODE_SECONDS)
        self.access_tokens = Seal(Access, "access token", address, keys)
        self.refresh_tokens = Seal(Refresh, "refresh token", address, keys, REFRESH_SECONDS)
        self._used = _Remembered()
        self._revoked = _Remembered()

    def serves(self, resource: str | None) -> bool:
        """Whether this is the server that a client wants access to; it need not say.

        The query, by which a connection narrows itself, is no part of it: it restrains the assistant, not the token.
        """
        return not resource or resource.partition("?")[0].rstrip("/") == self.resource

    async def get_client(self, client_id: str) -> Client | None:
        client = client_of(client_id)
        if client is None and (client := self.old_clients.open(client_id)):
            client.short_id, client.client_id = client.client_id, client_id
            client.secret_digest = digest(client.client_secret) if client.client_secret else None
        return client

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        """The address of the page on which the person signs in."""
        if not self.serves(params.resource):
            raise AuthorizeError("invalid_target", f"this server gives access to {self.resource} only")
        short_id, name = _client(client).short_id, client.client_name
        pending = Pending(client=short_id, client_name=name, browser=browser.get(), params=params)
        return f"{self.address}/sign-in?{urlencode({'request': self.pending.seal(pending)})}"

    def accept(self, pending: Pending, grant: Grant) -> str:
        """The address that takes the person back to the application, with a code for what the person grants."""
        params = pending.params
        code = Code(
            **grant.model_dump(),
            client_id=pending.client,
            scopes=params.scopes or [],
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=True,  # as the SDK's handler sees it, see `_exchange`
        )
        return self._return_address(params, code=self.codes.seal(code))

    def refuse(self, pending: Pending) -> str:
        """The address that takes the person back to the application, without access."""
        return self._return_address(pending.params, error="access_denied", error_description="The person refused.")

    def _return_address(self, params: AuthorizationParams, **result: str) -> str:
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
        found = _of_client(client, self.refresh_tokens.open(refresh_token))
        return None if found and found.sign_in in self._revoked else found

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: Refresh, scopes: list[str]
    ) -> OAuthToken:
        try:
            neptun = self._neptun.with_options(credentials=Credentials(cookie=refresh_token.cookie))
            with anyio.move_on_after(RENEWAL_SECONDS):
                refresh_token.user_id = (await neptun.user()).id
        except SessionRefused:
            raise TokenError("invalid_grant", "the Neptun session has ended: sign in again") from None
        except NeptunError:
            # Whether the session has ended cannot be seen now. If it has, the next call or renewal will show it.
            pass
        return self._tokens(client, refresh_token, scopes)

    def state_of(self, token: Access | None) -> Literal["good", "unknown", "revoked", "expired"]:
        """Whether an access token is good, or why not."""
        if token is None:
            return "unknown"
        if token.sign_in in self._revoked:
            return "revoked"
        return "good" if (token.expires_at or 0) > time.time() else "expired"

    def revoke(self, client: Client, token: str) -> Grant | None:
        """End the sign-in that a token of the client follows from, as far as this process is concerned."""
        found = self.refresh_tokens.open(token, expired=True) or self.access_tokens.open(token, expired=True)
        if found is None or found.client_id != client.short_id:
            return None
        self._revoked.add(found.sign_in)
        return found

    def _tokens(self, owner: OAuthClientInformationFull, source: Code | Refresh, scopes: list[str]) -> OAuthToken:
        client, granted = _client(owner), source.model_dump(include=set(Grant.model_fields))
        access = Access(client_id=client.short_id, scopes=[], **granted)
        refresh = Refresh(client_id=client.short_id, scopes=scopes, **granted)
        lifetime = ACCESS_SECONDS if client.renews else UNRENEWED_SECONDS
        return OAuthToken(
            access_token=self.access_tokens.seal(access, lifetime),
            refresh_token=self.refresh_tokens.seal(refresh) if client.renews else None,
            expires_in=lifetime,
            scope=" ".join(scopes) or None,
        )


class _Remembered:
    """What was used up in this process, the last ones of it."""

    def __init__(self) -> None:
        self._words = OrderedDict[str, None]()

    def add(self, word: str) -> None:
        self._words[word] = None
        if len(self._words) > MAX_REMEMBERED:
            self._words.popitem(last=False)

    def __contains__(self, word: str) -> bool:
        return word in self._words


def _client(client: OAuthClientInformationFull) -> Client:
    assert isinstance(client, Client), "the SDK's handlers pass on what get_client returned"  # noqa: S101
    return client


def _of_client(client: OAuthClientInformationFull, found: OwnedT | None) -> OwnedT | None:
    """A code or token, if it is the client's, with the id that the SDK's handlers expect in it."""
    if found is None or found.client_id != _client(client).short_id:
        return None
    found.client_id = client.client_id
    return found
