"""What a sign-in grants, and the codes and tokens that carry it: an OAuth 2.1 authorization server that stores nothing.

What such a server usually keeps in a database is given to whoever brings it back: a registration is the application's
id; a pending request, which is a field of the page's form, and codes and tokens, which carry the person's Neptun
session, are sealed (AES-GCM, by the SDK's codec). So every process that has the key can take part in every sign-in.
"""

from __future__ import annotations

import json
import math
import time
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Generic, Literal, TypeVar

from mcp.server.request_state import AESGCMRequestStateCodec, InvalidRequestState
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, ValidationError

from ..log import digest
from ..neptun.client import NeptunClient
from ..neptun.errors import NeptunError, SessionRefused
from ..neptun.session import Credentials
from ..neptun.time_limit import TimeLimit
from .log_in import KnownBrowser
from .refusals import Refused
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
"""How long a browser in which somebody has signed in is remembered."""

MAX_REMEMBERED = 10_000
"""Used codes, and revoked sign-ins, that a process remembers."""

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
    """

    def __init__(self, model: type[ModelT], purpose: str, address: str, keys: Sequence[str]) -> None:
        self._model = model
        self._codec = AESGCMRequestStateCodec([f"{purpose} for {address}: {key}" for key in keys])

    def seal(self, model: ModelT, seconds: int) -> str:
        """The model, sealed, good for some seconds."""
        fields = model.model_dump(mode="json", exclude_defaults=True)
        fields["expires_at"] = int(time.time()) + seconds
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
    """A request for authorization, between `/authorize` and the end of the sign-in (RFC 6749, 4.1.1).

    Attributes:
        client_id: the application's short id.
        client_name: what the application calls itself.
        browser: what marks the browser that began.
        redirect_uri: where the person is sent afterwards.
        code_challenge: a digest of what the application will bring with the code (RFC 7636).
        scopes: those that the application asks for. They mean nothing: the person chooses on the page.
        state: the application's, to tell the answer by.
    """

    model_config = ConfigDict(url_preserve_empty_path=True)

    client_id: str
    client_name: str | None
    browser: str
    redirect_uri: AnyUrl
    code_challenge: str
    scopes: list[str]
    state: str | None


class Grant(BaseModel):
    """What the person granted to an application: what access and refresh tokens hold.

    Attributes:
        client_id: the application's short id.
        scopes: those that the application asked for.
        cookie: the person's Neptun session.
        sign_in: tells one sign-in from another; all tokens that follow from it have it.
        user_id: the person's id in Neptun; None in tokens of versions that did not seal it.
        may_delete: whether imports may be deleted, each after asking the person; False in tokens of versions that did
            not seal it.
        expires_at: seconds since 1970.
    """

    client_id: str
    scopes: list[str]
    cookie: str = Field(repr=False)
    sign_in: str
    user_id: int | None = None
    may_delete: bool = False
    expires_at: float = 0


class Code(Grant):
    """What a code holds: beside the grant, what whoever brings it has to know."""

    model_config = ConfigDict(url_preserve_empty_path=True)

    code_challenge: str
    redirect_uri: AnyUrl


class Provider:
    """What is sealed for applications and browsers, and what this process has used up of it.

    Attributes:
        resource: what tokens give access to.

    Args:
        neptun: its connections are used for the people who sign in.
        address: the server's public one, such as `https://mcp.example.com`.
        keys: the first one seals, all of them open.
    """

    def __init__(self, neptun: NeptunClient, address: str, keys: Sequence[str]) -> None:
        self._neptun = neptun
        self.resource = f"{address}/mcp"
        self.old_clients = Seal(Client, "client", address, keys)  # as earlier versions registered them
        self.known_browsers = Seal(KnownBrowser, "known browser", address, keys)
        self.pending = Seal(Pending, "pending request", address, keys)
        self.codes = Seal(Code, "code", address, keys)
        self.access_tokens = Seal(Grant, "access token", address, keys)
        self.refresh_tokens = Seal(Grant, "refresh token", address, keys)
        self._used = _Remembered()
        self._revoked = _Remembered()

    def client(self, client_id: str) -> Client | None:
        """The application with an id; None if there is none."""
        client = client_of(client_id) or self.old_clients.open(client_id)
        if client and client.client_secret:
            client.secret_digest = digest(client.client_secret)
        return client

    def authenticated(self, fields: Mapping[str, str]) -> Client:
        """The application that sent the fields of a form.

        Raises:
            Refused: it is not known, or does not know its secret.
        """
        client = self.client(fields.get("client_id", ""))
        if client is None:
            words = "this server does not know the client_id, or it is missing: register again"
            raise Refused(words, 401, "invalid_client")
        # The digest is no secret, and may be any text: who registers makes the id that holds it.
        if client.secret_digest and client.secret_digest != digest(fields.get("client_secret", "")):
            raise Refused("client_secret is missing or wrong", 401, "invalid_client")
        return client

    def check_resource(self, fields: Mapping[str, str]) -> None:
        """Raises Refused unless the fields of a form ask for access to this server, or do not say (RFC 8707, 2).

        The query, by which a connection narrows itself, is no part of it: it restrains the assistant, not the token.
        """
        if fields.get("resource", self.resource).partition("?")[0].rstrip("/").lower() != self.resource:
            raise Refused(f"this server gives access to {self.resource} only", error="invalid_target")

    def exchange(self, client: Client, code: Code, fields: Mapping[str, str]) -> dict[str, Any]:
        """The tokens for a code (RFC 6749, 4.1.3 and 5.1; RFC 7636, 4.6).

        Args:
            client: the application that brings it.
            code: what it holds.
            fields: those of the form.

        Raises:
            Refused: the code was used, or the fields are not those that belong to it.
        """
        if code.sign_in in self._used:
            # Somebody has the code who should not: what it was exchanged for is worth nothing either (RFC 6749, 4.1.2).
            self._revoked.add(code.sign_in)
            raise Refused("the code was used before", error="invalid_grant")
        redirect_uri = fields.get("redirect_uri")  # nobody need repeat it (OAuth 2.1, 10.2)
        if redirect_uri and str(client.leads_to(redirect_uri)).rstrip("/") != str(code.redirect_uri).rstrip("/"):
            raise Refused("redirect_uri is another one than the code was sent to", error="invalid_grant")
        verifier = sha256(fields["code_verifier"].encode()).digest()
        if urlsafe_b64encode(verifier).decode().rstrip("=") != code.code_challenge:
            raise Refused("code_verifier is wrong", error="invalid_grant")
        self._used.add(code.sign_in)
        return self._tokens(client, Grant(**code.model_dump(include=set(Grant.model_fields))), code.scopes)

    async def renew(self, client: Client, grant: Grant, fields: Mapping[str, str]) -> dict[str, Any]:
        """The tokens for a refresh token, if Neptun still accepts the session, or cannot be asked (RFC 6749, 6).

        Args:
            client: the application that brings it.
            grant: what it holds.
            fields: those of the form.

        Raises:
            Refused: the person has to sign in again, or the scope is another one.
        """
        scopes = fields.get("scope", "").split() or grant.scopes
        if not set(scopes) <= set(grant.scopes):
            raise Refused("the scope goes beyond what was asked for first", error="invalid_scope")
        if grant.sign_in in self._revoked:
            raise Refused("this sign-in has ended: sign in again", error="invalid_grant")
        try:
            neptun = self._neptun.with_options(
                credentials=Credentials(cookie=grant.cookie), time_limit=TimeLimit(RENEWAL_SECONDS)
            )
            grant.user_id = (await neptun.user()).id
        except SessionRefused:
            raise Refused("the Neptun session has ended: sign in again", error="invalid_grant") from None
        except NeptunError:
            # Whether the session has ended cannot be seen now. If it has, the next call or renewal will show it.
            pass
        return self._tokens(client, grant, scopes)

    def state_of(self, token: Grant | None) -> Literal["good", "unknown", "revoked", "expired"]:
        """Whether an access token is good, or why not."""
        if token is None:
            return "unknown"
        if token.sign_in in self._revoked:
            return "revoked"
        return "good" if token.expires_at > time.time() else "expired"

    def revoke(self, client: Client, token: str) -> Grant | None:
        """End the sign-in that a token of the client follows from, as far as this process is concerned."""
        found = self.refresh_tokens.open(token, expired=True) or self.access_tokens.open(token, expired=True)
        if found is None or found.client_id != client.client_id:
            return None
        self._revoked.add(found.sign_in)
        return found

    def _tokens(self, client: Client, grant: Grant, scopes: list[str]) -> dict[str, Any]:
        seconds = ACCESS_SECONDS if client.renews else UNRENEWED_SECONDS
        tokens = {
            "access_token": self.access_tokens.seal(grant, seconds),
            "token_type": "Bearer",
            "expires_in": seconds,
        }
        if client.renews:
            tokens["refresh_token"] = self.refresh_tokens.seal(grant, REFRESH_SECONDS)
        return {**tokens, "scope": " ".join(scopes)} if scopes else tokens


class _Remembered(OrderedDict[str, None]):
    """The last of what was used up in this process."""

    def add(self, word: str) -> None:
        self[word] = None
        if len(self) > MAX_REMEMBERED:
            self.popitem(last=False)
