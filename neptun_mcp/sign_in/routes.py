"""Signing in with a browser: the routes of the authorization server, and what the page's forms do."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import urlencode, urlsplit

from mcp.server.auth.provider import construct_redirect_uri
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route, request_response

from ..account import sample_login
from ..log import digest, event_log, ids_of
from ..neptun.client import NeptunClient
from ..settings import Settings
from .forms import check_type, read_application_fields, read_cookie, read_fields
from .log_in import KnownBrowser, LogIn, NotLoggedIn
from .page import SignInPage, message
from .provider import CODE_SECONDS, KNOWN_SECONDS, PENDING_SECONDS, Code, Grant, Pending, Provider
from .refusals import Refused, unauthorized
from .registration import GRANTS, METHODS, register

ADVICE = "Sign in to this server again, from your host."
"""What to do if a token is not valid, or a session has ended."""

_log = event_log("sign_in")
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749, 5.1
_FORMS = ("/sign-in", "/sign-in/cookie", "/sign-in/refuse")
"""A path for each thing that a person may do, so that each has turns of its own."""

_PAGES = ("/authorize", *_FORMS)
_METADATA = ("/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource/mcp")
PATHS = (*_PAGES, *_METADATA, "/register", "/token", "/revoke")
_BROWSER = re.compile(r"[\w-]{43}", re.ASCII)

Event: TypeAlias = dict[str, Any]
"""What a line of the log says of a request, filled in as it becomes known: its `name`, such as `sign-in`, its
`outcome`, a word, and further fields. None of it is a secret."""


def _about(grant: Grant | None, token: str = "") -> Event:
    """The fields about what was granted, if that is known, and about the code or token that was brought."""
    fields: Event = {"token": digest(token)[:16] if token else None}
    if grant:
        # All tokens of one sign-in have this id, however often they are renewed.
        sign_in = digest(grant.sign_in)[:16]
        fields |= {"user_id": grant.user_id, "may_delete": grant.may_delete, "sign_in": sign_in}
    return fields


class SignIn:
    """The authorization server.

    Args:
        neptun: its connections are used for the people who sign in.
        settings: with a public address and keys.
        is_refused: whether a Neptun user gets no tokens.
    """

    def __init__(self, neptun: NeptunClient, settings: Settings, is_refused: Callable[[int], bool]) -> None:
        self._address = address = settings.mcp_public_url or ""
        self._is_refused = is_refused
        self._provider = Provider(neptun, address, settings.state_keys)
        self._read_only = settings.read_only
        self._log_in = LogIn(neptun)
        server, hint = urlsplit(address), sample_login(settings)
        self._page = SignInPage(server.netloc, neptun.address, read_only=settings.read_only, hint=hint)
        # With this prefix no other site of the domain can set a cookie. Browsers want TLS for that.
        self._prefix = "__Host-" if server.scheme == "https" else ""
        self._metadata_url = f"{address}{_METADATA[1]}"  # RFC 9728

    def access(self, headers: Headers) -> Grant:
        """What the access token of a request with these headers gives access to.

        Raises:
            Refused: there is no valid access token.
        """
        if "authorization" not in headers:
            words = "An access token is needed. Sign in to this server, from your host."
            raise unauthorized(words, no_token=True, resource_metadata=self._metadata_url)
        scheme, _, token = ", ".join(headers.getlist("authorization")).partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        grant = self._provider.access_tokens.open(token, expired=True)
        state = self._provider.state_of(grant)
        if grant is None or state != "good":
            _log("token", outcome=state, status=401, **_about(grant, token), **ids_of(headers))
            raise self._sign_in_again("A valid access token is needed.")
        return grant

    def session_ended(self) -> Refused:
        """The answer to a call for which Neptun refused the session: it makes applications sign people in again."""
        return self._sign_in_again("The Neptun session has ended.")

    def _sign_in_again(self, why: str) -> Refused:
        return unauthorized(f"{why} {ADVICE}", note=None, resource_metadata=self._metadata_url)

    def routes(self) -> list[Route]:
        """The routes, to be served at the root of the public address. They do not limit what a request may take."""
        address = self._address
        server = {
            "issuer": address,
            "authorization_endpoint": f"{address}/authorize",
            "token_endpoint": f"{address}/token",
            "registration_endpoint": f"{address}/register",
            "revocation_endpoint": f"{address}/revoke",
            "response_types_supported": ["code"],
            "grant_types_supported": GRANTS,
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": METHODS,
            "revocation_endpoint_auth_methods_supported": METHODS,
            "authorization_response_iss_parameter_supported": True,
        }
        resource = {"resource": self._provider.resource, "resource_name": "Neptun", "authorization_servers": [address]}
        return [
            _endpoint(_METADATA[0], partial(_describe, server), "GET"),
            _endpoint(_METADATA[1], partial(_describe, resource), "GET"),
            _endpoint("/register", _logged("registration", self._register), "POST"),
            _endpoint("/token", _logged("exchange", self._exchange), "POST"),
            _endpoint("/revoke", _logged("revocation", self._revoke), "POST"),
            Route("/authorize", _logged("authorization", self._authorize), methods=["GET", "POST"]),
            *(Route(path, self._show, methods=["GET"]) for path in _FORMS),
            *(Route(path, _logged("sign-in", self._submit), methods=["POST"]) for path in _FORMS),
        ]

    async def _register(self, request: Request, event: Event) -> Response:
        check_type(request.headers, "application/json")
        client, answer = register(await request.body())
        leads_to = sorted({uri.host or "" for uri in client.redirect_uris})
        event |= {"outcome": "registered", "application": client.client_id, "leads_to": leads_to}
        return JSONResponse(answer, 201, _NO_STORE)

    async def _authorize(self, request: Request, event: Event) -> Response:
        """RFC 6749, 4.1.1: marks the browser and leads it to the page. People see errors in words."""
        title, fields = "This application cannot sign you in", await read_fields(request)
        client = self._provider.client(fields.get("client_id", ""))
        redirect_uri = client.leads_to(fields.get("redirect_uri", "")) if client else None
        if client is None or redirect_uri is None:
            event["outcome"] = "invalid_client"
            words = (
                "It is not registered here, or not for the address that you would be sent to. Remove this server from "
                "the application, add it again, and sign in there."
            )
            return message(title, words, 400)
        event["leads_to"] = redirect_uri.host
        mark = read_cookie(request.headers, f"{self._prefix}sign-in")
        pending = Pending(
            client_id=client.client_id,
            client_name=client.client_name,
            browser=mark if _BROWSER.fullmatch(mark) else secrets.token_urlsafe(32),
            redirect_uri=redirect_uri,
            code_challenge=fields.get("code_challenge", ""),
            scopes=fields.get("scope", "").split(),
            state=fields.get("state"),
        )
        try:
            self._check_request(fields)
        except Refused as refusal:
            event["outcome"] = refusal.error
            location = self._location(pending, error=refusal.error, error_description=refusal.words)
            if location.startswith("https:"):
                # Anyone can register an address of another site: nobody is led there unasked (RFC 9700, 4.11.2).
                return message(title, "Its request is not valid. Nothing was changed.", 400, back=location)
            return RedirectResponse(location, 302, _NO_STORE)
        event["outcome"] = "asked"
        query = urlencode({"request": self._provider.pending.seal(pending, PENDING_SECONDS)})
        response = RedirectResponse(f"{self._address}/sign-in?{query}", 302, _NO_STORE)
        self._set_cookie(response, "sign-in", pending.browser, PENDING_SECONDS)
        return response

    def _check_request(self, fields: Mapping[str, str]) -> None:
        """Raises Refused unless the fields ask for what is offered: a code, with a challenge, for this server."""
        if fields.get("response_type", "code") != "code":
            raise Refused("response_type has to be code", error="unsupported_response_type")
        by_s256 = "code_challenge" in fields and fields.get("code_challenge_method", "S256") == "S256"
        if not by_s256 or "response_type" not in fields:
            raise Refused("response_type is needed, and code_challenge by the method S256")
        self._provider.check_resource(fields)

    def _location(self, pending: Pending, **result: str) -> str:
        """The address that takes the person back to the application."""
        return construct_redirect_uri(str(pending.redirect_uri), **result, state=pending.state, iss=self._address)

    async def _show(self, request: Request) -> Response:
        sealed = request.query_params.get("request", "")
        pending = self._opened(request, sealed)
        return self._page.form(sealed, pending, {}) if pending else _expired()

    def _known_browser(self, headers: Headers) -> KnownBrowser | None:
        """The browser that sent a request with these headers, if somebody has signed in there before."""
        return self._provider.known_browsers.open(read_cookie(headers, f"{self._prefix}known-browser"))

    async def sender(self, request: Request) -> str:
        """Who sent a request, by what this server has sealed for them; empty for strangers."""
        if request.scope["path"] == "/token":
            with suppress(Refused):
                refresh_token = (await read_fields(request)).get("refresh_token", "")
                if grant := self._provider.refresh_tokens.open(refresh_token):
                    return f"user {grant.user_id}" if grant.user_id else f"sign-in {grant.sign_in}"
        known = self._known_browser(request.headers)
        return f"browser {known.id}" if known else ""

    async def _submit(self, request: Request, event: Event) -> Response:
        """The answer to a form of the page: back to the application, or the page again."""
        fields, path = await read_fields(request), request.scope["path"]
        sealed = fields.get("request", "")
        pending = self._opened(request, sealed)
        if pending is None:
            event["outcome"] = "expired"
            return _expired()
        event["leads_to"] = pending.redirect_uri.host
        if path == "/sign-in/refuse":
            event["outcome"] = "refused"
            description = "The person refused."
            return _back(self._location(pending, error="access_denied", error_description=description))
        try:
            if path == "/sign-in/cookie":
                cookie, user_id, browser = await self._log_in.with_cookie(fields)
            else:
                known = self._known_browser(request.headers)
                cookie, user_id, browser = await self._log_in.with_password(fields, known)
        except NotLoggedIn as problem:
            event["outcome"] = problem.error
            return self._page.form(sealed, pending, fields, problem)
        code = Code(
            client_id=pending.client_id,
            scopes=pending.scopes,
            cookie=cookie,
            sign_in=secrets.token_urlsafe(16),
            user_id=user_id,
            may_delete=not self._read_only and fields.get("access") == "delete",
            code_challenge=pending.code_challenge,
            redirect_uri=pending.redirect_uri,
        )
        event |= _about(code)
        if self._is_refused(user_id):
            event["outcome"] = "access_denied"
            return message("You may not use this server any more", "Ask its operator. Nothing was changed.", 403)
        event["outcome"] = "signed_in"
        response = _back(self._location(pending, code=self._provider.codes.seal(code, CODE_SECONDS)))
        if browser:
            carried = self._provider.known_browsers.seal(browser, KNOWN_SECONDS)
            self._set_cookie(response, "known-browser", carried, KNOWN_SECONDS)
        return response

    def _opened(self, request: Request, sealed: str) -> Pending | None:
        """A pending request, if this is the browser in which it began."""
        pending = self._provider.pending.open(sealed)
        mark = read_cookie(request.headers, f"{self._prefix}sign-in")
        return pending if pending and pending.browser == mark else None

    def _set_cookie(self, response: Response, name: str, value: str, seconds: int) -> None:
        name, secure = f"{self._prefix}{name}", bool(self._prefix)
        response.set_cookie(name, value, max_age=seconds, secure=secure, httponly=True, samesite="lax")

    async def _exchange(self, request: Request, event: Event) -> Response:
        """Tokens for a code or a refresh token."""
        provider, fields = self._provider, await read_application_fields(request)
        renewal = fields.get("grant_type") == "refresh_token"
        seal, brought = (provider.refresh_tokens, "refresh_token") if renewal else (provider.codes, "code")
        needed = {"grant_type", brought} if renewal else {"grant_type", brought, "code_verifier"}
        token = fields.get(brought, "")
        grant = seal.open(token)
        event |= {"name": "renewal" if renewal else "exchange", **_about(grant, token)}
        client = provider.authenticated(fields)
        provider.check_resource(fields)
        if fields.get("grant_type", GRANTS[0]) not in GRANTS:
            raise Refused(f"grant_type has to be {' or '.join(GRANTS)}", error="unsupported_grant_type")
        if missing := needed - fields.keys():
            raise Refused(f"missing: {', '.join(sorted(missing))}")
        if grant is None or grant.client_id != client.client_id:
            raise Refused(f"the {brought} has expired, or is not one of this application", error="invalid_grant")
        if grant.user_id and self._is_refused(grant.user_id):
            raise Refused("this person may not use this server any more", 403, "access_denied")
        if isinstance(grant, Code):
            tokens = provider.exchange(client, grant, fields)
        else:
            tokens = await provider.renew(client, grant, fields)
        event |= {"outcome": "granted", "user_id": grant.user_id}
        return JSONResponse(tokens, headers=_NO_STORE)

    async def _revoke(self, request: Request, event: Event) -> Response:
        """RFC 7009."""
        fields = await read_application_fields(request)
        client = self._provider.authenticated(fields)
        token = fields.get("token", "")
        if not token:
            raise Refused("token is missing")
        grant = self._provider.revoke(client, token)
        event |= {"outcome": "revoked" if grant else "unknown", **_about(grant, token)}
        return Response(headers=_NO_STORE)


def refusal_at(path: str, refusal: Refused) -> Response:
    """The answer to a refused request for one of the `PATHS`: a page for people, OAuth's error for applications."""
    if path in _PAGES:
        response = message("This request was not carried out", refusal.words, refusal.status)
    else:
        error = "temporarily_unavailable" if refusal.status == 429 else refusal.error
        said = {"error": error, "error_description": refusal.words}
        # As `_endpoint` says of the other answers.
        response = JSONResponse(said, refusal.status, {**_NO_STORE, "Access-Control-Allow-Origin": "*"})
    response.headers.update(refusal.headers)
    return response


def _logged(
    name: str, handle: Callable[[Request, Event], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    """A handler's response, or its refusal, with a line in the log."""

    async def answer(request: Request) -> Response:
        event: Event = {"name": name, "outcome": ""}
        try:
            response = await handle(request, event)
        except Refused as refusal:
            event["outcome"] = refusal.error
            response = refusal_at(request.scope["path"], refusal)
            if refusal.status == 401 and "authorization" in request.headers:
                response.headers["WWW-Authenticate"] = "Basic"
        _log(event.pop("name"), **event, status=response.status_code, **ids_of(request.headers))
        return response

    return answer


async def _describe(metadata: dict[str, Any], request: Request) -> Response:
    return JSONResponse(metadata, headers={"Cache-Control": "public, max-age=3600"})


def _endpoint(path: str, handler: Callable[[Request], Awaitable[Response]], method: str) -> Route:
    """A route that applications in web pages call, too. Nothing is sent to it unasked, so any site may."""
    app = CORSMiddleware(
        request_response(handler),
        allow_origins=["*"],
        allow_methods=[method],
        allow_headers=["Authorization", MCP_PROTOCOL_VERSION_HEADER],
    )
    return Route(path, app, methods=[method, "OPTIONS"])


def _expired() -> Response:
    return message(
        "This page has expired",
        "It was opened too long ago, or in another browser than the one in which you began. "
        "Nothing was changed. Go back to the application and sign in there again.",
        400,
    )


def _back(location: str) -> Response:
    return RedirectResponse(location, 303, {**_NO_STORE, "Referrer-Policy": "no-referrer"})
