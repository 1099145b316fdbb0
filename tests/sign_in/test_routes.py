"""What the authorization server says of itself, what it reads, and what it logs."""

from __future__ import annotations

import re

import anyio
import httpx2 as httpx
import pytest
from starlette.datastructures import Headers

from neptun_mcp.log import digest
from neptun_mcp.sandbox import EMAIL, PASSWORD
from neptun_mcp.serving import gate, turns
from neptun_mcp.sign_in.forms import read_cookie
from tests.running_neptun import BOB_COOKIE
from tests.serving.support import STATE_KEY, HeldNeptun
from tests.sign_in.support import sign_in_server
from tests.support import Site, until

pytestmark = pytest.mark.anyio

DESCRIPTION = re.compile(r"[ !#-\[\]-~]+")
"""Of an error (RFC 6749, 5.2)."""


async def test_describes_itself(site: Site) -> None:
    async with sign_in_server(site) as server:
        described = (await server.app.http.get("/.well-known/oauth-authorization-server")).json()
        resource = (await server.app.http.get("/.well-known/oauth-protected-resource/mcp")).json()
    assert resource["resource"] == f"{server.url}/mcp"
    assert resource["authorization_servers"] == [described["issuer"]] == [server.url]
    for name in ("authorization", "token", "registration", "revocation"):
        assert described[f"{name}_endpoint"].startswith(f"{server.url}/")
    assert described["code_challenge_methods_supported"] == ["S256"]
    assert "none" in described["token_endpoint_auth_methods_supported"]


async def test_applications_in_web_pages_may_ask(site: Site) -> None:
    async with sign_in_server(site) as server:
        for path, method in (
            ("/token", "POST"),
            ("/revoke", "POST"),
            ("/register", "POST"),
            ("/.well-known/oauth-authorization-server", "GET"),
            ("/.well-known/oauth-protected-resource/mcp", "GET"),
        ):
            asked = {"Origin": "https://app.example", "Access-Control-Request-Method": method}
            headers = {**asked, "Access-Control-Request-Headers": "authorization, content-type, mcp-protocol-version"}
            answer = await server.app.http.options(path, headers=headers)
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*"), path


async def test_a_malformed_form_leaves_nothing_in_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async with sign_in_server(site) as server:
        forms = ("/authorize", "/sign-in", "/sign-in/cookie", "/sign-in/refuse", "/token", "/revoke")
        for path in (*forms, "/register"):
            for given in ("multipart/form-data; boundary=x; charset=punycode", "text/plain", ""):
                answer = await server.app.http.post(path, headers={"Content-Type": given}, content=b"--x")
                assert answer.status_code == 415, (path, given)
        for path in forms:
            for body in (b"a=%FF", b"a=\xff", b"a=1&a=2", b"&".join(b"%d=1" % number for number in range(65))):
                given = "application/x-www-form-urlencoded; charset=utf-7"
                answer = await server.app.http.post(path, headers={"Content-Type": given}, content=body)
                assert answer.status_code == 400, (path, body)
    assert [record for record in caplog.records if record.levelname != "INFO"] == []


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/authorize", None),
        ("/sign-in", None),
        ("/sign-in/cookie", None),
        ("/sign-in/refuse", None),
        ("/token", "invalid_request"),
        ("/revoke", "invalid_request"),
        ("/register", "invalid_request"),
    ],
)
async def test_a_refusal_is_a_page_for_people_and_an_oauth_error_for_applications(
    site: Site, path: str, error: str | None
) -> None:
    async with sign_in_server(site) as server:
        http = server.app.http
        refused = [
            (413, await http.post(path, content=b"x" * (gate.MAX_PUBLIC_BODY + 1))),
            (431, await http.post(path, headers={"X-Long": "x" * (gate.MAX_HEADER + 1)})),
            (414, await http.post(f"{path}?{'x' * (gate.MAX_HEADER + 1)}")),
        ]
    for status, answer in refused:
        assert answer.status_code == status
        assert_says(answer, error)


def assert_says(answer: httpx.Response, error: str | None) -> None:
    """That it is an error of OAuth (RFC 6749, 5.2) which web pages may read, too; without one that it is a page."""
    if error is None:
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "<h1>This request was not carried out</h1>" in answer.text
    else:
        assert (answer.json().keys(), answer.json()["error"]) == ({"error", "error_description"}, error)
        assert DESCRIPTION.fullmatch(answer.json()["error_description"])
        assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize(("asks", "error"), [("/login", None), ("/session", "temporarily_unavailable")])
async def test_who_has_to_try_again_later_is_told_in_the_same_way(
    site: Site, asks: str, error: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "MAX_IN_FLIGHT", 0)
    async with sign_in_server(site, max_connections=1) as server:
        page, tokens = await server.page(), await server.tokens()
        neptun = HeldNeptun(site, asks)

        async def ask() -> httpx.Response:
            if error:
                return await server.app.refresh(tokens["refresh_token"])
            return await server.browser.submit(page, email=EMAIL, password=PASSWORD)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await until(lambda: neptun.held == 1)
            refused = await ask()
            neptun.released = True
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
            assert_says(refused, error)


async def test_a_form_that_is_opened_by_its_address_is_a_page(site: Site) -> None:
    async with sign_in_server(site) as server:
        for path in ("/sign-in", "/sign-in/cookie", "/sign-in/refuse"):
            answer = await server.app.http.get(path)
            assert answer.status_code == 400
            assert "This page has expired" in answer.text


def test_nothing_in_a_cookie_is_interpreted() -> None:
    headers = Headers({"cookie": 'a="; sign-in=1"; sign-in="\\101"; sign-in=2'})
    assert (read_cookie(headers, "sign-in"), read_cookie(headers, "other")) == ('1"', "")


async def test_errors_are_short_whatever_was_sent(site: Site) -> None:
    async with sign_in_server(site) as server:
        tokens = await server.tokens()
        for fields in (
            {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "scope": '\u00fc"' * 3_000},
            {"grant_type": "x" * 3_000},
        ):
            refused = await server.app.token(**fields)
            assert refused.status_code == 400
            assert len(refused.json()["error_description"]) <= 200
            assert DESCRIPTION.fullmatch(refused.json()["error_description"])


async def test_no_secret_is_shown(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    for logger in ("neptun_mcp", "mcp", "asyncio", "uvicorn"):
        caplog.set_level("DEBUG", logger)
    async with sign_in_server(site) as server:
        page = await server.page()
        await server.browser.submit(page, email=EMAIL, password="Wr0ng!secret")
        await server.browser.submit(page, cookie=BOB_COOKIE)
        code = await server.code()
        tokens = (await server.app.exchange(code)).json()
        await server.app.refresh(tokens["refresh_token"])
        opened = [
            server.provider.codes.open(code),
            server.provider.access_tokens.open(tokens["access_token"]),
            server.provider.refresh_tokens.open(tokens["refresh_token"]),
        ]
    assert all(opened)
    shown = caplog.text + repr([record.__dict__ for record in caplog.records])
    shown += repr(opened) + repr(server.provider)
    cookies = [thing.cookie for thing in opened if thing]
    for secret in (PASSWORD, "Wr0ng!secret", BOB_COOKIE, *cookies, code, *tokens.values(), STATE_KEY):
        if isinstance(secret, str) and secret != "Bearer":
            assert secret not in shown


async def test_what_happens_is_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    store = site.sandbox()
    async with sign_in_server(site) as server:
        page = await server.page()
        await server.browser.submit(page, email=EMAIL, password="Wr0ng!secret")
        await server.browser.refuse(page)
        code = await server.code(cookie=BOB_COOKIE, access="delete")
        tokens = (await server.app.exchange(code)).json()
        await server.app.exchange(code, code_verifier="w" * 43)
        fresh = await server.tokens(cookie=BOB_COOKIE, access="delete")
        await server.app.refresh(fresh["refresh_token"])
        store.sessions.clear()
        await server.app.refresh(fresh["refresh_token"])
        await server.app.http.post("/register", json={})
        for token in (fresh["access_token"], "rubbish"):
            known = {"client_id": server.app.registration["client_id"], "token": token}
            await server.app.http.post("/revoke", data=known)
            assert not await server.lets_in({"access_token": token})
    ours = [record for record in caplog.records if record.name == "neptun_mcp.sign_in"]
    logged = [(record.message, record.__dict__["fields"]) for record in ours]
    assert [(event, fields["outcome"], fields["status"]) for event, fields in logged] == [
        ("registration", "registered", 201),
        ("authorization", "asked", 302),
        ("sign-in", "wrong", 422),
        ("sign-in", "refused", 303),
        ("authorization", "asked", 302),
        ("sign-in", "signed_in", 303),
        ("exchange", "granted", 200),
        ("exchange", "invalid_grant", 400),
        ("authorization", "asked", 302),
        ("sign-in", "signed_in", 303),
        ("exchange", "granted", 200),
        ("renewal", "granted", 200),
        ("renewal", "invalid_grant", 400),
        ("registration", "invalid_redirect_uri", 400),
        ("revocation", "revoked", 200),
        ("token", "revoked", 401),
        ("revocation", "unknown", 200),
        ("token", "unknown", 401),
    ]
    assert all(len(fields["request_id"]) == 32 for _, fields in logged)
    known = [fields for _, fields in logged if "sign_in" in fields]
    assert [(fields["user_id"], fields["may_delete"]) for fields in known] == [(2, True)] * 9
    assert len({fields["sign_in"] for fields in known}) == 2
    assert digest(tokens["access_token"])[:16] not in str(logged)
    assert logged[15][1]["token"] == digest(fresh["access_token"])[:16]


@pytest.mark.parametrize("grant", ["password", "client_credentials", "urn:ietf:params:oauth:grant-type:device_code"])
async def test_a_grant_that_is_not_offered_is_named_as_such(site: Site, grant: str) -> None:
    """RFC 6749, 5.2."""
    async with sign_in_server(site) as server:
        refused = await server.app.token(grant_type=grant)
    assert refused.status_code == 400
    assert refused.json() == {
        "error": "unsupported_grant_type",
        "error_description": "grant_type has to be authorization_code or refresh_token",
    }


async def test_a_revocation_names_a_token(site: Site) -> None:
    """RFC 7009, 2.1; one that is not known is revoked already (2.2)."""
    async with sign_in_server(site) as server:
        without = await server.app.http.post("/revoke", data={"client_id": server.app.registration["client_id"]})
        unknown = await server.app.http.post(
            "/revoke", data={"client_id": server.app.registration["client_id"], "token": "x"}
        )
    assert (without.status_code, without.json()["error"], unknown.status_code) == (400, "invalid_request", 200)


async def test_a_link_may_be_looked_at_by_its_head(site: Site) -> None:
    async with sign_in_server(site) as server:
        assert (await server.app.http.head(server.app.link())).status_code == 302
