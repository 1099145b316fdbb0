"""Which application sent a request to `/token` or `/revoke`."""

from __future__ import annotations

import hmac

from mcp.server.auth.middleware.client_auth import AuthenticationError, ClientAuthenticator
from starlette.requests import Request

from ..log import digest
from .forms import Unreadable, read_basic, read_fields
from .provider import Provider
from .registration import Client


async def read_application_fields(request: Request) -> dict[str, str]:
    """The fields of a form, with the application's id and secret also where they are in the header alone.

    Raises:
        Unreadable: form or header cannot be read, or contradict each other.
    """
    fields = await read_fields(request)
    if basic := read_basic(request.headers):
        for name, value in zip(("client_id", "client_secret"), basic, strict=True):
            if fields.setdefault(name, value) != value:
                raise Unreadable(401, f"{name} in the form is another one than in the header Authorization.")
    return fields


class Authenticator(ClientAuthenticator):
    """The SDK's handlers ask it. An id holds a digest of the secret only, so the SDK's own way cannot compare them."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider)
        self._provider = provider

    async def authenticate_request(self, request: Request) -> Client:
        """The application of a request whose form has its id and secret, however they were sent."""
        fields = await read_fields(request)
        client_id = fields.get("client_id")
        if client_id is None:
            raise AuthenticationError("client_id is missing")
        client = await self._provider.get_client(client_id)
        if client is None:
            raise AuthenticationError("this server does not know the client_id: register again")
        given = digest(fields.get("client_secret", ""))
        if client.secret_digest and not hmac.compare_digest(client.secret_digest, given):
            raise AuthenticationError("client_secret is missing or wrong")
        return client
