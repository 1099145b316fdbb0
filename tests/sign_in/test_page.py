"""The page on which a person signs in: what it says, to whom, and what its forms are good for."""

from __future__ import annotations

import pytest

from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from neptun_mcp.sign_in import routes
from tests.serving.support import (
    STATE_KEY,
    start_in_process,
)
from tests.sign_in.browser import REDIRECT, Application, Browser, brought, hidden, words_of
from tests.sign_in.support import sign_in_server
from tests.support import Json, Site

pytestmark = pytest.mark.anyio


async def test_says_who_asks_and_where_it_leads_before_anything_is_typed(site: Site) -> None:
    async with sign_in_server(site) as server:
        await server.app.register(
            client_name='<script>alert("x")</script>\u202e & Co',
            redirect_uris=["https://Evil.example:8443/cb", REDIRECT],
        )
        elsewhere = await server.page(redirect_uri="https://evil.example:8443/cb")
        here = await server.page()
        editors = "vscode-insiders://publisher.extension/callback"
        await server.app.register(redirect_uris=[editors])
        editor = await server.page(redirect_uri=editors)
    assert (
        "you are then sent to VS Code Insiders on this computer (vscode-insiders://publisher.extension) ."
        in words_of(editor)
    )
    said = words_of(elsewhere)
    assert r'An application that calls itself "<script>alert(\"x\")</script>\u202e & Co"' in said
    assert "<script>" not in elsewhere.text
    assert f"This is {server.url.removeprefix('http://')} , which signs you in to Neptun at {site.url} ." in said
    asks = "asks to look up everything in your projects, and, if you allow it, to delete imports after asking you."
    assert asks in said
    assert "started this yourself; you are then sent to evil.example:8443 ." in said
    assert "an application on this computer (http://localhost:3118)" in words_of(here)


async def test_says_if_nothing_can_be_deleted(site: Site) -> None:
    async with sign_in_server(site, read_only=True) as server:
        assert "delete" not in words_of(await server.page())


async def test_nothing_is_kept_framed_or_fetched(site: Site) -> None:
    async with sign_in_server(site) as server:
        page = await server.page()
        pages = [
            page,
            await server.browser.submit(page, email=EMAIL, password=""),
            await server.browser.open("/sign-in"),
        ]
        left = await server.browser.submit(page, cookie=COOKIE)
    assert [page.status_code for page in pages] == [200, 422, 400]
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "frame-ancestors 'none'" in policy
        assert (page.headers["cache-control"], page.headers["referrer-policy"]) == ("no-store", "no-referrer")
        assert "<script" not in page.text
        assert "http-equiv" not in page.text
    assert (left.headers["cache-control"], left.headers["referrer-policy"]) == ("no-store", "no-referrer")


async def test_the_mark_of_a_browser_is_for_this_site_alone(site: Site) -> None:
    address: Json = {"mcp_public_url": "https://MCP.example.com/mcp/", "mcp_credentials": "sign-in"}
    async with start_in_process(site, **address, mcp_state_key=STATE_KEY) as caller:
        caller.http.base_url = caller.url
        app = Application(caller.http)
        await app.register()
        began = await app.http.get(app.link())
    mark = began.headers["set-cookie"].split("; ")
    assert mark[0].startswith("__Host-sign-in=")
    assert {"HttpOnly", "Path=/", "Secure", "SameSite=lax"} < set(mark)
    assert began.headers["location"].startswith("https://mcp.example.com/sign-in?request=")


async def test_another_browser_cannot_go_on(site: Site) -> None:
    async with sign_in_server(site) as server:
        began = (await server.browser.http.get(server.app.link())).headers["location"]
        page = await server.browser.open(began)
        others = Browser(server.app.http)
        for _ in range(2):
            for answer in (
                await others.open(began),
                await others.submit(page, email=EMAIL, password=PASSWORD),
                await others.refuse(page),
            ):
                assert answer.status_code == 400
                assert "This page has expired" in words_of(answer)
            await others.open(server.app.link())  # a mark of its own does not help
        assert site.requests == []


async def test_a_browser_may_be_signing_in_twice_at_once(site: Site) -> None:
    async with sign_in_server(site) as server:
        pages = [await server.page(), await server.page()]
        for page in pages:
            assert "code" in brought(await server.browser.submit(page, email=EMAIL, password=PASSWORD))


async def test_a_page_expires(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "PENDING_SECONDS", -1)
    async with sign_in_server(site) as server:
        page = await server.page()
    assert page.status_code == 400
    assert "sign in there again" in words_of(page)


async def test_a_changed_page_is_worth_nothing(site: Site) -> None:
    async with sign_in_server(site) as server:
        request = hidden(await server.page())
        for sealed in ("", "v1.", "v1.AAAA", "\u00fc", request[:-1], f"{request}A"):
            fields = {"request": sealed, "email": EMAIL, "password": PASSWORD}
            assert (await server.browser.http.post("/sign-in", data=fields)).status_code == 400, sealed
    assert site.requests == []


async def test_what_may_be_done_is_the_persons_choice(site: Site) -> None:
    async with sign_in_server(site) as server:
        page = await server.page()
        assert page.text.count('value="look-up" checked') == 2, "the careful choice, in both forms"
        again = await server.browser.submit(page, email=EMAIL, password="", access="delete")
        assert again.text.count('value="delete" checked') == 2
        for fields, may_delete in (
            ({}, False),
            ({"access": "look-up"}, False),
            ({"access": "anything"}, False),
            ({"access": "delete"}, True),
        ):
            tokens = await server.tokens(cookie=COOKIE, **fields)
            for _ in range(2):
                access = server.provider.access_tokens.open(tokens["access_token"])
                assert access is not None
                assert access.may_delete == may_delete, fields
                tokens = (await server.app.refresh(tokens["refresh_token"])).json()


async def test_nobody_can_allow_what_the_server_does_not(site: Site) -> None:
    async with sign_in_server(site, read_only=True) as server:
        assert "radio" not in (await server.page()).text
        tokens = await server.tokens(cookie=COOKIE, access="delete")
        access = server.provider.access_tokens.open(tokens["access_token"])
    assert access is not None
    assert not access.may_delete
