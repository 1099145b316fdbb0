"""Applications: what they register, where people may be sent, and how they authenticate."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import AnyUrl

from neptun_mcp.sandbox import COOKIE
from neptun_mcp.sign_in.registration import Client
from tests.sign_in.browser import REDIRECT, brought, words_of
from tests.sign_in.support import sign_in_server
from tests.support import Json, Site

pytestmark = pytest.mark.anyio


async def test_people_are_sent_to_sites_and_to_their_own_machine(site: Site) -> None:
    async with sign_in_server(site) as server:
        for redirect in (
            "https://claude.ai/api/mcp/auth_callback",
            REDIRECT,
            "http://[::1]:1/",
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "vscode-insiders://publisher.extension/callback",
            "windsurf://publisher.extension/callback",
        ):
            await server.app.register(redirect_uris=[redirect])
            back = await server.browser.refuse(await server.page(redirect_uri=redirect))
            assert back.headers["location"].startswith(f"{redirect}?error=")


NOWHERE = (
    "http://example.com/cb",
    "http://127.0.0.1.example.com/cb",
    "https://user:secret@example.com/cb",
    "https://example.com/cb#fragment",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil://anysphere.cursor-mcp/oauth/callback",
    "cursor:///without/a/host",
    "vscode://publisher.extension/callback#fragment",
    "no address",
)


async def test_people_are_sent_nowhere_else(site: Site) -> None:
    async with sign_in_server(site) as server:
        for redirect in NOWHERE:
            refused = await server.app.register(redirect_uris=[redirect])
            assert (refused.status_code, refused.json()["error"]) == (400, "invalid_redirect_uri"), redirect
        kept = (await server.app.register(redirect_uris=[*NOWHERE, REDIRECT])).json()
        assert kept["redirect_uris"] == [REDIRECT]


async def test_addresses_are_compared_exactly(site: Site) -> None:
    async with sign_in_server(site) as server:
        for registered, asked, good in (
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:50123/cb", True),
            ("http://127.0.0.1:1", "http://127.0.0.1:2", True),
            ("http://localhost/cb", "http://localhost:3/cb", True),
            ("http://[::1]:1/cb", "http://[::1]:2/cb", True),
            ("http://127.0.0.1:1/cb", "http://localhost:1/cb", False),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:1/cb/", False),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:1/cb?a=b", False),
            ("http://127.0.0.1:1/cb", "http://x@127.0.0.1:1/cb", False),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1.example.com:1/cb", False),
            ("https://example.com/cb", "https://example.com:8443/cb", False),
            ("https://example.com/cb", "https://example.com/cb/..", False),
            ("https://example.com/cb", "https://www.example.com/cb", False),
        ):
            await server.app.register(redirect_uris=[registered])
            page = await server.page(redirect_uri=asked)
            assert page.status_code == (200 if good else 400), (registered, asked)
            if good:
                code = brought(await server.browser.submit(page, cookie=COOKIE))["code"]
                same = asked if urlsplit(asked).path else f"{asked}/"  # RFC 3986, 6.2.3
                assert (await server.app.exchange(code, redirect_uri=same)).status_code == 200, (registered, asked)


async def test_an_unknown_application_is_refused_with_a_message(site: Site) -> None:
    async with sign_in_server(site) as server:
        for parameters in ({"client_id": "unknown"}, {"redirect_uri": "https://evil.example/"}):
            page = await server.page(**parameters)
            assert page.status_code == 400
            assert "Remove this server from the application, add it again" in words_of(page)


async def test_an_application_is_told_what_it_does_wrong(site: Site) -> None:
    async with sign_in_server(site) as server:
        for parameters, error in (
            ({"code_challenge_method": "plain"}, "invalid_request"),
            ({"response_type": "token"}, "unsupported_response_type"),
            ({"response_type": ""}, "invalid_request"),
            ({"code_challenge": ""}, "invalid_request"),
            ({"resource": "https://other.example/mcp"}, "invalid_target"),
        ):
            back = brought(await server.page(**parameters))
            assert (back["error"], back["state"], back["iss"]) == (error, "of the application", server.url)


async def test_nobody_is_led_to_another_site_unasked(site: Site) -> None:
    elsewhere = "https://evil.example/cb"
    async with sign_in_server(site) as server:
        await server.app.register(redirect_uris=[elsewhere])
        page = await server.page(redirect_uri=elsewhere, response_type="token", state='"><script>')
    assert (page.status_code, page.headers.get("location")) == (400, None)
    assert "Its request is not valid. Nothing was changed. Back to evil.example" in words_of(page)
    assert f'<a href="{elsewhere}?error=unsupported_response_type&amp;' in page.text
    assert "<script>" not in page.text


async def test_a_registration_that_is_too_long_for_an_address_is_refused(site: Site) -> None:
    async with sign_in_server(site) as server:
        refused = await server.app.register(client_name="x" * 4_000)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata")


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic", None, ""])
async def test_an_application_with_a_secret_has_to_know_it(site: Site, method: str | None) -> None:
    async with sign_in_server(site) as server:
        registered = (await server.app.register(token_endpoint_auth_method=method)).json()
        assert registered["token_endpoint_auth_method"] == (method or "client_secret_basic")
        tokens = (await server.app.exchange(await server.code(), client_secret=registered["client_secret"])).json()
        for given, status in (("wrong", 401), ("", 401), (registered["client_secret"], 200)):
            fields = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
            posted = await server.app.token(**fields, client_secret=given)
            assert posted.status_code == status
            assert "www-authenticate" not in posted.headers
            # The header alone, as RFC 6749 (2.3.1) has it, with the scheme in any case.
            for scheme in ("Basic", "basic"):
                pair = b64encode(f"{registered['client_id']}:{given}".encode()).decode()
                headers = {"Authorization": f"{scheme} {pair}"}
                answer = await server.app.http.post("/token", data=fields, headers=headers)
                assert (answer.status_code, answer.headers.get("www-authenticate")) == (
                    status,
                    "Basic" if status == 401 else None,
                )
                revoked = await server.app.http.post("/revoke", data={"token": "x"}, headers=headers)
                assert revoked.status_code == status


async def test_a_header_that_contradicts_the_form_or_cannot_be_read_is_refused(site: Site) -> None:
    async with sign_in_server(site) as server:
        registered = (await server.app.register(token_endpoint_auth_method="client_secret_basic")).json()
        pair = f"{registered['client_id']}:{registered['client_secret']}".encode()
        good = b64encode(pair).decode()
        for header, fields in (
            (f"Basic {good}", {"client_id": "another"}),
            (f"Basic {good}", {"client_secret": "another"}),
            (f"Basic {good}!", {}),
            (f"Basic {b64encode(b'without a colon').decode()}", {}),
            ("Basic /w==", {}),
            (f"Bearer {good}", {}),
        ):
            answer = await server.app.http.post(
                "/token", data={"token": "x", **fields}, headers={"Authorization": header}
            )
            assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), header
        twice = [("Authorization", "Basic"), ("Authorization", good)]
        assert (await server.app.http.post("/token", data={"token": "x"}, headers=twice)).status_code == 401


async def test_a_registration_says_what_is_granted(site: Site) -> None:
    both = ["authorization_code", "refresh_token"]
    async with sign_in_server(site) as server:
        for asked, granted in (
            (None, both),
            (["password", "refresh_token", "authorization_code", "urn:ietf:params:oauth:grant-type:device_code"], both),
            (["authorization_code"], both[:1]),
        ):
            answer = (await server.app.register(grant_types=asked, response_types=["code", "token"])).json()
            assert (answer["grant_types"], answer["response_types"]) == (granted, ["code"])
            tokens = (await server.app.exchange(await server.code(cookie=COOKIE))).json()
            assert ("refresh_token" in tokens) == ("refresh_token" in granted)
            assert tokens["expires_in"] == (600 if "refresh_token" in granted else 3600)
            assert await server.lets_in(tokens)


async def test_what_cannot_be_registered_is_refused_in_few_words(site: Site) -> None:
    good: Json = {"redirect_uris": [REDIRECT]}
    cases: list[tuple[Any, str]] = [
        ({**good, "grant_types": [1] * 9_000}, "invalid_client_metadata"),
        ({"redirect_uris": [REDIRECT] * 500}, "invalid_redirect_uri"),
        ({"redirect_uris": [None]}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": None}, "invalid_redirect_uri"),
        ({**good, "grant_types": ["password"]}, "invalid_client_metadata"),
        ({**good, "response_types": ["token"]}, "invalid_client_metadata"),
        ({**good, "token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({**good, "token_endpoint_auth_method": [1] * 9_000}, "invalid_client_metadata"),
        ([1] * 9_000, "invalid_client_metadata"),
    ]
    async with sign_in_server(site) as server:
        for given, error in cases:
            refused = await server.app.http.post("/register", json=given)
            assert (refused.status_code, refused.json()["error"]) == (400, error), str(given)[:80]
            assert len(refused.content) < 400
        for body in (b"", b"{", b"[" * 5_000):
            headers = {"Content-Type": "application/json"}
            refused = await server.app.http.post("/register", content=body, headers=headers)
            assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata")


async def test_an_id_of_somebodys_own_making_leads_nowhere_that_a_registration_would_not(site: Site) -> None:
    async with sign_in_server(site) as server:
        ids: list[Any] = [
            {"redirect_uris": ["http://evil.example/cb"]},
            {"redirect_uris": [REDIRECT, "javascript:alert(1)"]},
            {"redirect_uris": []},
            {"redirect_uris": 1},
            [],
        ]
        for described in ids:
            server.app.registration["client_id"] = urlsafe_b64encode(json.dumps(described).encode()).decode()
            page = await server.page(redirect_uri="http://evil.example/cb")
            assert (page.status_code, page.headers.get("location")) == (400, None)
        described = {"redirect_uris": [REDIRECT], "secret_digest": "\u00e9"}
        server.app.registration["client_id"] = urlsafe_b64encode(json.dumps(described).encode()).decode()
        assert (await server.app.refresh("x")).status_code == 401


async def test_applications_of_earlier_versions_are_known(site: Site) -> None:
    async with sign_in_server(site) as server:
        sealed = server.provider.old_clients.seal(
            Client(
                client_id="a number", client_name="Tester", redirect_uris=[AnyUrl(REDIRECT)], client_secret="s" * 64
            ),
            60,
        )
        server.app.registration = {"client_id": sealed}
        assert "code" in brought(await server.browser.submit(await server.page(), cookie=COOKIE))
        for secret, status in (("wrong", 401), ("s" * 64, 200)):
            answer = await server.app.exchange(await server.code(cookie=COOKIE), client_secret=secret)
            assert answer.status_code == status
