"""Signing in with a browser: the routes of the authorization server, and what the page's forms do."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from mcp.server.auth.handlers.authorize import AuthorizationHandler
from mcp.server.auth.handlers.metadata import MetadataHandler, ProtectedResourceMetadataHandler
from mcp.server.auth.handlers.token import TokenHandler
from mcp.server.auth.middleware.client_auth import AuthenticationError
from mcp.server.auth.provider import RegistrationError, construct_redirect_uri
from mcp.server.auth.routes import build_metadata, build_resource_metadata_url
from mcp.server.auth.settings import ClientRegistrationOptions, RevocationOptions
from mcp.shared.auth import ProtectedResourceMetadata
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from pydantic import AnyHttpUrl, ConfigDict, TypeAdapter
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route, request_response
from starlette.types import ASGIApp

from ..neptun.client import NeptunClient
from .attempts import KnownBrowser
from .authentication import Authenticator, read_application_fields
from .events import log_event
from .forms import Unreadable, check_type, read_cookie, read_fields, with_fields
from .log_in import LoggedIn, LogIn, NotLoggedIn
from .page import form, message
from .provider import KNOWN_SECONDS, PENDING_SECONDS, Access, Code, Grant, Pending, Provider, browser
from .registration import METHODS, register

MAX_DESCRIPTION = 200
"""Characters of an error's description."""

ADVICE = "Sign in to this server again, from your host."
"""What to do if a token is not valid, or a session has ended."""

GRANTS = ("authorization_code", "refresh_token")
"""What the SDK's handler would take beside these is not offered here."""

_NO_STORE = {"Cache-Control": "no-store"}
_PAGES = ("/authorize", "/sign-in", "/sign-in/cookie", "/sign-in/refuse")
_ENDPOINTS = ("/register", "/token", "/revoke")
_BROWSER = re.compile(r"[\w-]{43}", re.ASCII)
_UNSAID = re.compile(r"[^ !#-\[\]-~]")
"""What an error's description may not hold (RFC 6749, 5.2)."""

_URL = TypeAdapter(AnyHttpUrl, config=ConfigDict(url_preserve_empty_path=True))


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
        is_refused: whether a Neptun user gets no tokens.
    """

    def __init__(
        self,
        neptun: NeptunClient,
        address: str,
        keys: Sequence[str],
        *,
        read_only: bool,
        hint: str = "",
        is_refused: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self._is_refused = is_refused
        self._provider = provider = Provider(neptun, address, keys)
        self._neptun_address = neptun.address
        self._read_only = read_only
        self._hint = hint
        self._server = urlsplit(address)
        self._handler = AuthorizationHandler(provider)
        self._authenticator = Authenticator(provider)
        self._tokens = TokenHandler(provider, self._authenticator)
        self._log_in = LogIn(neptun)
        self.metadata_url = str(build_resource_metadata_url(AnyHttpUrl(provider.resource)))

    def access(self, headers: Headers) -> Access:
        """What the access token of a request with these headers gives access to.

        Raises:
            NoAccess: there is no valid access token.
        """
        given = headers.getlist("authorization")
        if not given:
            raise NoAccess("An access token is needed. Sign in to this server, from your host.", no_token=True)
        scheme, _, token = given[0].strip().partition(" ") if len(given) == 1 else ("", "", "")
        token = token.strip()
        access = self._provider.access_tokens.open(token, expired=True) if scheme.lower() == "bearer" else None
        state = self._provider.state_of(access)
        if access is None or state != "good":
            log_event("token", headers, state, 401, grant=access, token=token)
            raise NoAccess(f"A valid access token is needed. {ADVICE}")
        return access

    def routes(self) -> list[Route]:
        """The routes, to be served at the root of the public address. They do not limit what a request may take."""
        issuer = _URL.validate_python(self._provider.address)
        metadata = build_metadata(
            issuer, None, ClientRegistrationOptions(enabled=True), RevocationOptions(enabled=True)
        )
        # What the SDK does not say of its handlers, and what is added to them here.
        metadata.token_endpoint_auth_methods_supported = list(METHODS)
        metadata.revocation_endpoint_auth_methods_supported = list(METHODS)
        metadata.authorization_response_iss_parameter_supported = True
        resource = ProtectedResourceMetadata(
            resource=_URL.validate_python(self._provider.resource),
            authorization_servers=[issuer],
            resource_name="Neptun",
        )
        return [
            _endpoint("/.well-known/oauth-authorization-server", MetadataHandler(metadata).handle, "GET"),
            _endpoint(urlsplit(self.metadata_url).path, ProtectedResourceMetadataHandler(resource).handle, "GET"),
            _endpoint("/register", self._register, "POST"),
            _endpoint("/token", self._exchange, "POST"),
            _endpoint("/revoke", self._revoke, "POST"),
            Route("/authorize", self._authorize, methods=["GET", "POST"]),
            # A path for each thing that a person may do, so that each has turns of its own.
            *(Route(path, self._show, methods=["GET"]) for path in _PAGES[1:]),
            Route("/sign-in", self._with_password, methods=["POST"]),
            Route("/sign-in/cookie", self._with_cookie, methods=["POST"]),
            Route("/sign-in/refuse", self._refuse, methods=["POST"]),
        ]

    async def _register(self, request: Request) -> Response:
        try:
            check_type(request.headers, "application/json")
            client, answer = register(await request.body())
        except Unreadable as error:
            return _refused("registration", request.headers, error.status, "invalid_client_metadata", error.words)
        except RegistrationError as error:
            return _refused("registration", request.headers, 400, error.error, error.error_description or "")
        leads_to = sorted({uri.host or "" for uri in client.redirect_uris or ()})
        log_event("registration", request.headers, "registered", 201, application=client.short_id, leads_to=leads_to)
        return JSONResponse(answer, 201, _NO_STORE)

    async def _authorize(self, request: Request) -> Response:
        """The SDK's handler; beside it, the browser is marked, and errors that a person sees are words."""
        mark = read_cookie(request.headers, self._cookie_name("sign-in"))
        mark = mark if _BROWSER.fullmatch(mark) else secrets.token_urlsafe(32)
        browser.set(mark)
        try:
            response = await self._handler.handle(with_fields(request, await read_fields(request)))
        except Unreadable as error:
            return message("This application cannot sign you in", f"{error.words} Nothing was changed.", error.status)
        location = response.headers.get("location")
        if location is None:
            return message(
                "This application cannot sign you in",
                "It is not registered here, or not for the address that you would be sent to, or its request is not "
                "valid. Remove this server from the application, add it again, and sign in there.",
                400,
            )
        if not location.startswith(f"{self._provider.address}/sign-in?"):
            location = construct_redirect_uri(location, iss=self._provider.address)
            if location.startswith("https:"):
                # Anyone can register an address of another site: nobody is led there unasked (RFC 9700, 4.11.2).
                words = "Its request is not valid. Nothing was changed."
                return message("This application cannot sign you in", words, 400, back=location)
            response.headers["location"] = location
        self._set_cookie(response, "sign-in", mark, PENDING_SECONDS)
        return response

    async def _show(self, request: Request) -> Response:
        sealed = request.query_params.get("request", "")
        pending = self._opened(request, sealed)
        return self._form(sealed, pending) if pending else _expired()

    def known_browser(self, headers: Headers) -> KnownBrowser | None:
        """The browser that sent a request with these headers, if somebody has signed in there before."""
        return self._provider.known_browsers.open(read_cookie(headers, self._cookie_name("known-browser")))

    async def sender(self, request: Request) -> str:
        """Who sent a request, by what this server has sealed for them; empty for strangers."""
        if request.scope["path"] == "/token":
            with suppress(Unreadable):
                refresh_token = (await read_fields(request)).get("refresh_token", "")
                if grant := self._provider.refresh_tokens.open(refresh_token):
                    return f"user {grant.user_id}" if grant.user_id else f"sign-in {grant.sign_in}"
        known = self.known_browser(request.headers)
        return f"browser {known.id}" if known else ""

    async def _with_password(self, request: Request) -> Response:
        carried = self.known_browser(request.headers)
        return await self._submit(request, lambda fields: self._log_in.with_password(fields, carried))

    async def _with_cookie(self, request: Request) -> Response:
        return await self._submit(request, self._log_in.with_cookie)

    async def _refuse(self, request: Request) -> Response:
        return await self._submit(request, None)

    async def _submit(
        self, request: Request, log_in: Callable[[Mapping[str, str]], Awaitable[LoggedIn]] | None
    ) -> Response:
        """The answer to a form of the page: back to the application, or the page again. Without `log_in`: refused."""
        try:
            fields = await read_fields(request)
        except Unreadable as error:
            log_event("sign-in", request.headers, "unreadable", error.status)
            return message("This form cannot be read", f"{error.words} Nothing was changed.", error.status)
        sealed = fields.get("request", "")
        pending = self._opened(request, sealed)
        if pending is None:
            log_event("sign-in", request.headers, "expired", 400)
            return _expired()
        leads_to = pending.params.redirect_uri.host
        if log_in is None:
            log_event("sign-in", request.headers, "refused", 303, leads_to=leads_to)
            return _to_application(self._provider.refuse(pending))
        may_delete = not self._read_only and fields.get("access") == "delete"
        try:
            person = await log_in(fields)
        except NotLoggedIn as problem:
            log_event("sign-in", request.headers, problem.outcome, problem.status, leads_to=leads_to)
            typed = {"may_delete": may_delete, "email": fields.get("email", "")}
            return self._form(sealed, pending, **typed, errors=problem.errors, status=problem.status)
        sign_in = secrets.token_urlsafe(16)
        grant = Grant(cookie=person.cookie, sign_in=sign_in, user_id=person.user_id, may_delete=may_delete)
        if self._is_refused(person.user_id):
            log_event("sign-in", request.headers, "access_denied", 403, grant=grant, leads_to=leads_to)
            return message("You may not use this server any more", "Ask its operator. Nothing was changed.", 403)
        log_event("sign-in", request.headers, "signed_in", 303, grant=grant, leads_to=leads_to)
        response = _to_application(self._provider.accept(pending, grant))
        if person.browser:
            known = self._provider.known_browsers.seal(person.browser)
            self._set_cookie(response, "known-browser", known, KNOWN_SECONDS)
        return response

    def _opened(self, request: Request, sealed: str) -> Pending | None:
        """A pending request, if this is the browser in which it began."""
        pending = self._provider.pending.open(sealed)
        mark = read_cookie(request.headers, self._cookie_name("sign-in"))
        return pending if pending and pending.browser == mark else None

    def _form(self, sealed: str, pending: Pending, **more: Any) -> Response:
        """The page with the question. `more`: what the person has chosen and typed, and what is wrong with it."""
        return form(
            sealed,
            pending.client_name,
            pending.params.redirect_uri,
            server=self._server.netloc,
            neptun=self._neptun_address,
            read_only=self._read_only,
            hint=self._hint,
            **more,
        )

    def _set_cookie(self, response: Response, name: str, value: str, seconds: int) -> None:
        secure = self._server.scheme == "https"
        response.set_cookie(
            self._cookie_name(name), value, max_age=seconds, secure=secure, httponly=True, samesite="lax"
        )

    def _cookie_name(self, name: str) -> str:
        # With this prefix no other site of the domain can set it. Browsers want TLS for that.
        return f"__Host-{name}" if self._server.scheme == "https" else name

    async def _exchange(self, request: Request) -> Response:
        """The SDK's handler, which ignores the resource that a token is asked for (RFC 8707, 2.2)."""
        headers = request.headers
        try:
            fields = await read_application_fields(request)
        except Unreadable as error:
            return _refused("exchange", headers, error.status, _error_of(error), error.words)
        renewal = fields.get("grant_type") == "refresh_token"
        event, brought = "renewal" if renewal else "exchange", fields.get("refresh_token" if renewal else "code", "")
        grant = (self._provider.refresh_tokens if renewal else self._provider.codes).open(brought)
        refused = partial(_refused, event, headers, grant=grant, token=brought)
        if not self._provider.serves(fields.get("resource")):
            return refused(400, "invalid_target", f"this server gives access to {self._provider.resource} only")
        if fields.get("grant_type", GRANTS[0]) not in GRANTS:
            return refused(400, "unsupported_grant_type", f"grant_type has to be {' or '.join(GRANTS)}")
        if grant and grant.user_id and self._is_refused(grant.user_id):
            return refused(403, "access_denied", "this person may not use this server any more")
        if "redirect_uri" not in fields and isinstance(grant, Code):
            # Nobody need repeat it (OAuth 2.1, 10.2), but the SDK's handler compares it.
            fields["redirect_uri"] = str(grant.redirect_uri)
        response = await self._tokens.handle(with_fields(request, fields))
        answer: dict[str, Any] = json.loads(bytes(response.body))
        if "error" in answer:
            return refused(response.status_code, answer["error"], answer.get("error_description", ""))
        log_event(event, headers, "granted", response.status_code, grant=grant, token=brought)
        return response

    async def _revoke(self, request: Request) -> Response:
        """RFC 7009. The SDK's handler does not take the requests of clients that have no secret."""
        try:
            fields = await read_application_fields(request)
            client = await self._authenticator.authenticate_request(with_fields(request, fields))
        except Unreadable as error:
            return _refused("revocation", request.headers, error.status, _error_of(error), error.words)
        except AuthenticationError as error:
            return _refused("revocation", request.headers, 401, "invalid_client", error.message)
        token = fields.get("token", "")
        if not token:
            return _refused("revocation", request.headers, 400, "invalid_request", "token is missing")
        grant = self._provider.revoke(client, token)
        log_event("revocation", request.headers, "revoked" if grant else "unknown", 200, grant=grant, token=token)
        return Response(headers=_NO_STORE)


def refusal_at(path: str, status: int, words: str, headers: Mapping[str, str]) -> Response | None:
    """A refusal of a request before it comes to one of the routes: a page for people, OAuth's error for applications.

    Args:
        path: where the request was sent.
        status: the HTTP status.
        words: what happened, and what to do.
        headers: further ones of the answer.

    Returns:
        None if the path is not one of the routes.
    """
    if path in _PAGES:
        response = message("This request was not carried out", words, status)
    elif path in _ENDPOINTS or path.startswith("/.well-known/"):
        invalid = "invalid_client_metadata" if path == "/register" else "invalid_request"
        response = _refusal(status, "temporarily_unavailable" if status == 429 else invalid, words)
        response.headers["Access-Control-Allow-Origin"] = "*"  # as `_endpoint` says of the other answers
    else:
        return None
    response.headers.update({name: value for name, value in headers.items() if not name.startswith("content-")})
    return response


def _endpoint(path: str, handler: Callable[[Request], Awaitable[Response]], method: str) -> Route:
    """A route that applications in web pages call, too. Nothing is sent to it unasked, so any site may."""
    app: ASGIApp = CORSMiddleware(
        request_response(handler),
        allow_origins=["*"],
        allow_methods=[method],
        allow_headers=["Authorization", MCP_PROTOCOL_VERSION_HEADER],
    )
    return Route(path, app, methods=[method, "OPTIONS"])


def _refusal(status: int, error: str, description: str, headers: Headers | None = None) -> Response:
    """An error as RFC 6749, 5.2 has it; with the headers of a request that authenticates by one, a challenge, too."""
    said = {"error": error, "error_description": _UNSAID.sub("?", description)[:MAX_DESCRIPTION]}
    challenge = {"WWW-Authenticate": "Basic"} if status == 401 and headers and "authorization" in headers else {}
    return JSONResponse(said, status, {**_NO_STORE, **challenge})


def _refused(event: str, headers: Headers, status: int, error: str, description: str, **known: Any) -> Response:
    """The same, logged as the outcome of an event, with what is known of it."""
    log_event(event, headers, error, status, **known)
    return _refusal(status, error, description, headers)


def _error_of(error: Unreadable) -> str:
    return "invalid_client" if error.status == 401 else "invalid_request"


def _expired() -> Response:
    return message(
        "This page has expired",
        "It was opened too long ago, or in another browser than the one in which you began. "
        "Nothing was changed. Go back to the application and sign in there again.",
        400,
    )


def _to_application(location: str) -> Response:
    return RedirectResponse(location, 303, {**_NO_STORE, "Referrer-Policy": "no-referrer"})
