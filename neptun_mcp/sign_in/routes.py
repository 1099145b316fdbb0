"""Signing in with a browser: the routes of the authorization server, and what the page's forms do."""

from __future__ import annotations

import logging
import math
import re
import secrets
from collections import OrderedDict, deque
from collections.abc import Sequence
from urllib.parse import urlsplit

import anyio
from mcp.server.auth.handlers.authorize import AuthorizationHandler
from mcp.server.auth.handlers.metadata import MetadataHandler
from mcp.server.auth.handlers.token import TokenHandler
from mcp.server.auth.middleware.client_auth import AuthenticationError, ClientAuthenticator
from mcp.server.auth.provider import construct_redirect_uri
from mcp.server.auth.routes import (
    build_metadata,
    build_resource_metadata_url,
    cors_middleware,
    create_auth_routes,
    create_protected_resource_routes,
)
from mcp.server.auth.settings import ClientRegistrationOptions, RevocationOptions
from pydantic import AnyHttpUrl, ConfigDict, TypeAdapter
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from ..log import digest, request_id_of
from ..neptun.client import NeptunClient
from ..neptun.cookies import cookie_value
from ..neptun.errors import LoginRefused, NeptunError, SessionRefused
from ..neptun.session import Credentials
from .page import Question, form, message
from .provider import PENDING_SECONDS, Access, Pending, Provider, browser

ATTEMPTS = 5
"""How often one account may be tried within `ATTEMPTS_SECONDS`, in this process."""

ATTEMPTS_SECONDS = 5 * 60
MAX_ACCOUNTS = 10_000
"""Accounts whose attempts are remembered."""

MAX_COOKIE = 4_096
"""Characters of a pasted session, as in browsers; a real one has about 440."""

ADVICE = "Sign in to this server again, as your host offers it."
"""What to do if a token is not valid, or a session has ended."""

_NO_STORE = {"Cache-Control": "no-store"}
_BROWSER = re.compile(r"[\w-]{43}", re.ASCII)
_URL = TypeAdapter(AnyHttpUrl, config=ConfigDict(url_preserve_empty_path=True))

_log = logging.getLogger("neptun_mcp.sign_in")
_log.setLevel(logging.INFO)  # whatever is set for the others


class NoAccess(Exception):
    """A request without a valid access token.

    Attributes:
        words: what is wrong and what to do, two sentences without quotes.
        no_token: the request carries no token at all.
    """

    def __init__(self, words: str, *, no_token: bool = False) -> None:
        super().__init__(words)
        self.words = words
        self.no_token = no_token


class SignIn:
    """The authorization server.

    Attributes:
        metadata_url: where the metadata of the protected resource are (RFC 9728).

    Args:
        neptun: its connections are used for the people who sign in.
        address: this server's public one, such as `https://mcp.example.com`.
        keys: the first one seals, all of them open.
        read_only: whether no import can be deleted, as the page says.
        hint: a sentence on the page, such as what one signs in with; empty for none.
    """

    def __init__(
        self, neptun: NeptunClient, address: str, keys: Sequence[str], *, read_only: bool, hint: str = ""
    ) -> None:
        self._provider = provider = Provider(neptun, address, keys)
        self._neptun = neptun
        self._read_only = read_only
        self._hint = hint
        self._server = urlsplit(address)
        self._handler = AuthorizationHandler(provider)
        self._authenticator = ClientAuthenticator(provider)
        self._tokens = TokenHandler(provider, self._authenticator)
        self._attempts = Attempts()
        self.metadata_url = str(build_resource_metadata_url(AnyHttpUrl(provider.resource)))

    def access(self, authorization: Sequence[str]) -> Access:
        """What the access token of a request gives access to.

        Args:
            authorization: the values of the request's headers `Authorization`.

        Raises:
            NoAccess: there is no valid access token.
        """
        if not authorization:
            raise NoAccess("An access token is needed. Sign in to this server, as your host offers it.", no_token=True)
        scheme, _, token = authorization[0].strip().partition(" ") if len(authorization) == 1 else ("", "", "")
        access = self._provider.access(token.strip()) if scheme.lower() == "bearer" else None
        if access is None:
            raise NoAccess(f"A valid access token is needed. {ADVICE}")
        return access

    def routes(self) -> list[Route]:
        """The routes, to be served at the root of the public address. They do not limit what a request may take."""
        issuer = _URL.validate_python(self._provider.address)
        registration = ClientRegistrationOptions(enabled=True)
        metadata = build_metadata(issuer, None, registration, RevocationOptions(enabled=True))
        # What the SDK does not say of its handlers, and what is added to them here.
        metadata.token_endpoint_auth_methods_supported = ["none", "client_secret_post", "client_secret_basic"]
        metadata.revocation_endpoint_auth_methods_supported = metadata.token_endpoint_auth_methods_supported
        metadata.authorization_response_iss_parameter_supported = True
        described = cors_middleware(MetadataHandler(metadata).handle, ["GET", "OPTIONS"])
        resource = _URL.validate_python(self._provider.resource)
        return [
            Route("/.well-known/oauth-authorization-server", described, methods=["GET", "OPTIONS"]),
            Route("/authorize", self._authorize, methods=["GET", "POST"]),
            Route("/token", cors_middleware(self._exchange, ["POST", "OPTIONS"]), methods=["POST", "OPTIONS"]),
            Route("/revoke", cors_middleware(self._revoke, ["POST", "OPTIONS"]), methods=["POST", "OPTIONS"]),
            Route("/sign-in", self._show, methods=["GET"]),
            Route("/sign-in", self._submit, methods=["POST"]),
            # The first route of a path counts: those above go before the SDK's.
            *create_auth_routes(self._provider, issuer, client_registration_options=registration),
            *create_protected_resource_routes(resource, [issuer], resource_name="Neptun"),
        ]

    async def _authorize(self, request: Request) -> Response:
        """The SDK's handler; beside it, the browser is marked, and errors that a person sees are words."""
        if request.method == "POST":
            await request.form()  # refuses a malformed body; the SDK's handler would write a traceback for it
        mark = request.cookies.get(self._cookie_name, "")
        mark = mark if _BROWSER.fullmatch(mark) else secrets.token_urlsafe(32)
        browser.set(mark)
        response = await self._handler.handle(request)
        location = response.headers.get("location")
        if location is None:
            return message(
                "This application cannot sign you in",
                "It is not registered here, or no longer, or its request is not valid. "
                "Remove this server from the application, add it again, and sign in there.",
                400,
            )
        if not location.startswith(f"{self._provider.address}/sign-in?"):
            location = construct_redirect_uri(location, iss=self._provider.address)
            if location.startswith("https:"):
                # Anyone can register an address of another site: nobody is led there unasked (RFC 9700, 4.11.2).
                words = "Its request is not valid. Nothing was changed."
                return message("This application cannot sign you in", words, 400, back=location)
            response.headers["location"] = location
        secure = self._server.scheme == "https"
        response.set_cookie(
            self._cookie_name, mark, max_age=PENDING_SECONDS, secure=secure, httponly=True, samesite="lax"
        )
        return response

    @property
    def _cookie_name(self) -> str:
        # With this prefix no other site of the domain can set it. Browsers want TLS for that.
        return "__Host-sign-in" if self._server.scheme == "https" else "sign-in"

    async def _show(self, request: Request) -> Response:
        sealed = request.query_params.get("request", "")
        pending = self._opened(request, sealed)
        return form(self._question(sealed, pending)) if pending else _expired()

    async def _submit(self, request: Request) -> Response:
        async with request.form() as fields:
            sealed = _text(fields, "request")
            pending = self._opened(request, sealed)
            if pending is None:
                return _expired()
            if "refuse" in fields:
                _log_outcome(request, "refused", pending)
                return _to_application(self._provider.refuse(pending))
            try:
                session, user_id = await self._session(fields)
            except _NotSignedIn as problem:
                _log_outcome(request, problem.outcome, pending)
                question, email = self._question(sealed, pending), _text(fields, "email")
                return form(question, errors=problem.errors, email=email, status=problem.status)
        _log_outcome(request, "signed_in", pending, session)
        return _to_application(self._provider.accept(pending, session, user_id))

    def _opened(self, request: Request, sealed: str) -> Pending | None:
        """A pending request, if this is the browser in which it began."""
        pending = self._provider.pending.open(sealed)
        return pending if pending and pending.browser == request.cookies.get(self._cookie_name) else None

    def _question(self, sealed: str, pending: Pending) -> Question:
        return Question(
            request=sealed,
            application=pending.client_name,
            redirect_uri=pending.params.redirect_uri,
            server=self._server.netloc,
            neptun=self._neptun.address,
            read_only=self._read_only,
            hint=self._hint,
        )

    async def _session(self, fields: FormData) -> tuple[str, int]:
        """The session cookie that a person's form leads to, and the user's id."""
        credentials = _credentials(fields)
        account = digest((credentials.email or "").casefold())
        if credentials.email and (wait := self._attempts.take(account)):
            minutes = math.ceil(wait / 60)
            later = "1 minute" if minutes == 1 else f"{minutes} minutes"
            words = f"There were too many attempts for this account. Try again in {later}."
            raise _NotSignedIn("limited", 429, {"": words})
        try:
            neptun = self._neptun.with_options(credentials=credentials)
            session, user_id = await neptun.session_cookie(), await neptun.user_id()
        except LoginRefused:
            wrong = "The e-mail address or the password is wrong. Both are case-sensitive."
            raise _NotSignedIn("wrong", 422, {"password": wrong}) from None
        except SessionRefused:
            wrong = "Neptun does not accept this cookie: it is expired or wrong. Copy it again."
            raise _NotSignedIn("wrong", 422, {"cookie": wrong}) from None
        except NeptunError as error:
            _log.warning("nobody can sign in: %s", error)
            words = "Neptun cannot be reached, or does not answer as expected. Try again in a minute."
            raise _NotSignedIn("failed", 503, {"": words}) from None
        self._attempts.forget(account)
        return session, user_id

    async def _exchange(self, request: Request) -> Response:
        """The SDK's handler, which ignores the resource that a token is asked for (RFC 8707, 2.2)."""
        async with request.form() as fields:
            if not self._provider.serves(_text(fields, "resource")):
                words = f"this server gives access to {self._provider.resource} only"
                return JSONResponse({"error": "invalid_target", "error_description": words}, 400, _NO_STORE)
            return await self._tokens.handle(request)

    async def _revoke(self, request: Request) -> Response:
        """RFC 7009. The SDK's handler does not take the requests of clients that have no secret."""
        try:
            client = await self._authenticator.authenticate_request(request)
        except AuthenticationError as error:
            return JSONResponse({"error": "invalid_client", "error_description": error.message}, 401)
        async with request.form() as fields:
            self._provider.revoke(client, _text(fields, "token"))
        return Response(headers=_NO_STORE)


class Attempts:
    """How often an account is tried in this process."""

    def __init__(self) -> None:
        self._times = OrderedDict[str, deque[float]]()

    def take(self, account: str) -> float:
        """Seconds until the account may be tried again; 0 for now, which counts as an attempt."""
        times, now = self._times.setdefault(account, deque(maxlen=ATTEMPTS)), anyio.current_time()
        if len(times) == ATTEMPTS and (wait := times[0] + ATTEMPTS_SECONDS - now) > 0:
            return wait
        times.append(now)
        self._times.move_to_end(account)
        if len(self._times) > MAX_ACCOUNTS:
            self._times.popitem(last=False)
        return 0

    def forget(self, account: str) -> None:
        """Its attempts do not count any more: the last one was right."""
        self._times.pop(account, None)


class _NotSignedIn(Exception):
    """What the person has to correct.

    Attributes:
        outcome: a word for the log.
        status: the HTTP status of the page.
        errors: as the page shows them.
    """

    def __init__(self, outcome: str, status: int, errors: dict[str, str]) -> None:
        self.outcome = outcome
        self.status = status
        self.errors = errors


def _credentials(fields: FormData) -> Credentials:
    email, password, pasted = (_text(fields, name) for name in ("email", "password", "cookie"))
    if pasted.strip():
        cookie = cookie_value(pasted) if len(pasted) <= MAX_COOKIE else None
        if cookie is None:
            wrong = "This is not a session cookie. Copy the value of neptun-session again."
            raise _NotSignedIn("wrong", 422, {"cookie": wrong})
        return Credentials(cookie=cookie)
    missing = {
        name: f"Enter your {word}."
        for name, word, given in (("email", "e-mail address", email.strip()), ("password", "password", password))
        if not given
    }
    if missing:
        raise _NotSignedIn("wrong", 422, missing)
    return Credentials(email=email.strip(), password=password)


def _text(fields: FormData, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _expired() -> Response:
    return message(
        "This page has expired",
        "It was opened too long ago, or in another browser than the one in which you began. "
        "Nothing was changed. Go back to the application and sign in there again.",
        400,
    )


def _to_application(location: str) -> Response:
    return RedirectResponse(location, 303, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})


def _log_outcome(request: Request, outcome: str, pending: Pending, session: str | None = None) -> None:
    redirects_to = pending.params.redirect_uri.host
    fields = {"outcome": outcome, "redirects_to": redirects_to, "request_id": request_id_of(request.headers)}
    if session:
        fields["caller"] = digest(session)[:16]
    _log.info("sign-in", extra={"fields": fields})
