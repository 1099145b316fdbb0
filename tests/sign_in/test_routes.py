"""People sign in with a browser: what the page says and does, and what codes and tokens are good for."""

from __future__ import annotations

import pytest

from neptun_mcp.sandbox import BOB_COOKIE, COOKIE, EMAIL, PASSWORD
from neptun_mcp.sandbox.state import seal
from neptun_mcp.serving import gate
from neptun_mcp.sign_in import provider, routes
from tests.serving.support import (
    LIST_IMPORTS,
    OTHER_STATE_KEY,
    STATE_KEY,
    content_in,
    free_port,
    start_in_process,
)
from tests.sign_in.browser import REDIRECT, Application, Browser, brought, hidden, words_of
from tests.sign_in.support import sign_in_server
from tests.support import RECORDINGS, Json, Site, failure

pytestmark = pytest.mark.anyio

LOGIN = "POST /api/auth/login"
SESSION = "GET /api/_auth/session"
WRONG = "The e-mail address or the password is wrong."


# What the server says of itself


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


# Signing in


async def test_signs_in_with_the_password(site: Site) -> None:
    async with sign_in_server(site) as server:
        answer = await server.browser.submit(await server.page(), email=f" {EMAIL} ", password=PASSWORD)
        assert answer.headers["location"].startswith(f"{REDIRECT}?")
        back = brought(answer)
        assert (back["state"], back["iss"]) == ("of the application", server.url)
        tokens = (await server.app.exchange(back["code"])).json()
        assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 3600)
        access = server.provider.access_tokens.open(tokens["access_token"])
        assert access is not None
        assert site.requests == [LOGIN, SESSION]
        assert site.cookies == [None, access.cookie]
        assert content_in(await server.caller(tokens).call("list_imports", LIST_IMPORTS))["total"] == 7
    assert set(site.cookies[1:]) == {access.cookie}


async def test_signs_in_with_a_pasted_cookie(site: Site) -> None:
    async with sign_in_server(site) as server:
        code = server.provider.codes.open(
            await server.code(cookie=f"neptun-session={COOKIE}; Path=/", email="", password="")
        )
    assert code is not None
    assert code.cookie == COOKIE
    assert set(site.cookies) == {COOKIE}


async def test_the_longest_session_that_browsers_keep_fits_everywhere(site: Site) -> None:
    store, cookie = site.sandbox(), "x" * routes.MAX_COOKIE
    store.sessions[cookie] = store.sessions[COOKIE]
    async with sign_in_server(site) as server:
        answer = await server.browser.submit(await server.page(), cookie=cookie)
        assert len(answer.headers["location"]) < gate.MAX_HEADER
        tokens = (await server.app.exchange(brought(answer)["code"])).json()
        assert content_in(await server.caller(tokens).call("list_imports", LIST_IMPORTS))["total"] == 7


async def test_a_wrong_password_is_the_page_again(site: Site) -> None:
    async with sign_in_server(site) as server:
        again = await server.browser.submit(await server.page(), email=EMAIL, password="Wr0ng!secret")
        assert again.status_code == 422
        assert WRONG in words_of(again)
        assert f'value="{EMAIL}"' in again.text
        assert "Wr0ng!secret" not in again.text
        assert 'aria-invalid="true" autofocus aria-describedby="password-error password-hint"' in again.text
        assert "code" in brought(await server.browser.submit(again, email=EMAIL, password=PASSWORD))


async def test_says_what_is_missing_or_wrong(site: Site) -> None:
    cases: list[tuple[dict[str, str], str]] = [
        ({}, "Enter your e-mail address."),
        ({"email": EMAIL, "password": ""}, "Enter your password."),
        ({"email": " ", "password": PASSWORD}, "Enter your e-mail address."),
        ({"cookie": "not a cookie"}, "This is not a session cookie."),
        ({"cookie": "x" * 10_000}, "This is not a session cookie."),
        ({"cookie": seal("ended")}, "Neptun does not accept this cookie"),
    ]
    async with sign_in_server(site) as server:
        page = await server.page()
        for fields, said in cases:
            again = await server.browser.submit(page, **fields)
            assert (again.status_code, said in words_of(again)) == (422, True), fields
            assert not any(len(value) > 1 and value in again.text for name, value in fields.items() if name != "email")


async def test_neptun_out_of_reach_is_not_a_wrong_password(site: Site) -> None:
    async with sign_in_server(site) as server:
        page = await server.page()
        # With its database down, Neptun answers like to a wrong password.
        database_down = (RECORDINGS["dbdown_login"], RECORDINGS["dbdown_shared_collection_GET_unknown_uuid"])
        for answers in (
            {LOGIN: failure(500)},
            {recording.request_line: recording.answer() for recording in database_down},
        ):
            site.answers = answers
            again = await server.browser.submit(page, email=EMAIL, password=PASSWORD)
            assert again.status_code == 503
            assert "Neptun cannot be reached" in words_of(again)
            assert WRONG not in words_of(again)


async def test_refusing_takes_the_person_back(site: Site) -> None:
    async with sign_in_server(site) as server:
        back = brought(await server.browser.submit(await server.page(), refuse="1", email=EMAIL, password=PASSWORD))
    assert (back["error"], back["state"], back["iss"]) == ("access_denied", "of the application", server.url)
    assert site.requests == []


async def test_one_account_is_not_tried_for_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sign_in_server(site) as server:
        page = await server.page()
        for _ in range(routes.ATTEMPTS):
            assert (await server.browser.submit(page, email=EMAIL, password="Wr0ng!secret")).status_code == 422
        for email in (EMAIL, EMAIL.upper()):
            limited = await server.browser.submit(page, email=email, password=PASSWORD)
            assert limited.status_code == 429
            assert "too many attempts for this account. Try again in 5 minutes." in words_of(limited)
        assert site.requests.count(LOGIN) == routes.ATTEMPTS
        other = await server.browser.submit(page, email="bob@example.com", password="Passw0rd!bob")
        assert "code" in brought(other)
        monkeypatch.setattr(routes, "ATTEMPTS_SECONDS", 0)
        assert "code" in brought(await server.browser.submit(page, email=EMAIL, password=PASSWORD))


@pytest.mark.parametrize("sandbox", ["off", "observed"])
async def test_with_sample_data_the_page_says_who_can_sign_in(site: Site, sandbox: str) -> None:
    async with sign_in_server(site, sandbox=sandbox) as server:
        said = words_of(await server.page())
    hint = f'Sample data: sign in as {EMAIL} with the password "{PASSWORD}".'
    assert (hint in said) == (sandbox == "observed")


async def test_a_right_password_is_no_attempt(site: Site) -> None:
    async with sign_in_server(site) as server:
        page = await server.page()
        for _ in range(routes.ATTEMPTS + 1):
            assert "code" in brought(await server.browser.submit(page, email=EMAIL, password=PASSWORD))


# The page


async def test_says_who_asks_and_where_it_leads_before_anything_is_typed(site: Site) -> None:
    async with sign_in_server(site) as server:
        await server.app.register(
            client_name='<script>alert("x")</script>\u202e & Co',
            redirect_uris=["https://Evil.example:8443/cb", REDIRECT],
        )
        elsewhere = await server.page(redirect_uri="https://evil.example:8443/cb")
        here = await server.page()
    said = words_of(elsewhere)
    assert r'"<script>alert(\"x\")</script>\u202e & Co"' in said
    assert "<script>" not in elsewhere.text
    assert "Sends you afterwards to evil.example:8443 " in said
    assert f"This server {server.url.removeprefix('http://')} Neptun {site.url} " in said
    assert "read everything in your projects, and delete imports" in said
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
                await others.submit(page, refuse="1"),
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
    monkeypatch.setattr(provider, "PENDING_SECONDS", -1)
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


# Applications


async def test_people_are_sent_to_sites_and_to_their_own_machine(site: Site) -> None:
    async with sign_in_server(site) as server:
        for redirect in (
            "https://claude.ai/api/mcp/auth_callback",
            REDIRECT,
            "http://[::1]:1/",
            *provider.APP_REDIRECTS,
        ):
            await server.app.register(redirect_uris=[redirect])
            back = await server.browser.submit(await server.page(redirect_uri=redirect), refuse="1")
            assert back.headers["location"].startswith(f"{redirect}?error=")


NOWHERE = (
    "http://example.com/cb",
    "http://127.0.0.1.example.com/cb",
    "https://user:secret@example.com/cb",
    "https://example.com/cb#fragment",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil://anysphere.cursor-mcp/oauth/callback",
    "cursor://anysphere.cursor-mcp/elsewhere",
)


async def test_people_are_sent_nowhere_else(site: Site) -> None:
    async with sign_in_server(site) as server:
        for redirect in NOWHERE:
            refused = await server.app.register(redirect_uris=[redirect])
            assert (refused.status_code, refused.json()["error"]) == (400, "invalid_redirect_uri"), redirect
        kept = await server.app.register(redirect_uris=[*NOWHERE, REDIRECT])
        assert kept.json()["redirect_uris"] == [REDIRECT]


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
                assert (await server.app.exchange(code, redirect_uri=asked)).status_code == 200, (registered, asked)


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


async def test_a_malformed_form_leaves_nothing_in_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    async with sign_in_server(site) as server:
        for path in ("/authorize", "/sign-in", "/token", "/revoke"):
            answer = await server.app.http.post(path, headers={"Content-Type": "multipart/form-data"}, content=b"x")
            assert answer.status_code == 400, path
    assert caplog.records == []


async def test_the_resource_may_be_named(site: Site) -> None:
    async with sign_in_server(site) as server:
        for resource in (f"{server.url}/mcp", f"{server.url}/mcp/"):
            assert (await server.page(resource=resource)).status_code == 200
            assert (await server.app.exchange(await server.code(), resource=resource)).status_code == 200
        elsewhere = await server.app.exchange(await server.code(), resource="https://other.example/mcp")
        assert (elsewhere.status_code, elsewhere.json()["error"]) == (400, "invalid_target")


async def test_a_registration_that_is_too_long_for_an_address_is_refused(site: Site) -> None:
    async with sign_in_server(site) as server:
        refused = await server.app.register(client_name="x" * 4_000)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_client_metadata")


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
async def test_an_application_with_a_secret_has_to_know_it(site: Site, method: str) -> None:
    async with sign_in_server(site) as server:
        secret = (await server.app.register(token_endpoint_auth_method=method)).json()["client_secret"]
        for given, status in (("wrong", 401), (secret, 200)):
            if method == "client_secret_basic":
                server.app.http.auth = (server.app.registration["client_id"], given)
                response = await server.app.exchange(await server.code())
            else:
                response = await server.app.exchange(await server.code(), client_secret=given)
            assert response.status_code == status


async def test_scopes_are_given_as_asked_for(site: Site) -> None:
    async with sign_in_server(site) as server:
        page = await server.page(scope="offline_access mcp")
        code = brought(await server.browser.submit(page, cookie=COOKIE))["code"]
        tokens = (await server.app.exchange(code)).json()
        assert tokens["scope"] == "offline_access mcp"
        again = await server.app.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"], scope="mcp")
    assert again.json()["scope"] == "mcp"


# Codes and tokens


async def test_a_code_is_good_for_one_exchange(site: Site) -> None:
    async with sign_in_server(site) as server:
        code = await server.code()
        tokens = (await server.app.exchange(code)).json()
        again = await server.app.exchange(code)
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
        # Whoever has it twice may have stolen it: what came of it is worth nothing any more.
        assert not await server.lets_in(tokens)
        assert (await server.app.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_code_needs_its_verifier_redirect_and_application(site: Site) -> None:
    async with sign_in_server(site) as server:
        code = await server.code()
        for fields in ({"code_verifier": "w" * 43}, {"redirect_uri": "http://localhost:3119/callback"}):
            assert (await server.app.exchange(code, **fields)).status_code == 400
        registration = server.app.registration
        await server.app.register()
        assert (await server.app.exchange(code)).json()["error"] == "invalid_grant"
        server.app.registration = registration
        assert (await server.app.exchange(code)).status_code == 200


async def test_nothing_opens_but_what_it_was_sealed_for(site: Site) -> None:
    async with sign_in_server(site) as server:
        page = await server.page()
        code = brought(await server.browser.submit(page, email=EMAIL, password=PASSWORD))["code"]
        tokens = (await server.app.exchange(code)).json()
        sealed = {
            "clients": server.app.registration["client_id"],
            "pending": hidden(page),
            "codes": code,
            "access_tokens": tokens["access_token"],
            "refresh_tokens": tokens["refresh_token"],
        }
        for purpose in sealed:
            opened = [name for name, text in sealed.items() if getattr(server.provider, purpose).open(text)]
            assert opened == [purpose]


@pytest.mark.parametrize("lifetime", ["CODE_SECONDS", "ACCESS_SECONDS", "REFRESH_SECONDS"])
async def test_codes_and_tokens_expire(site: Site, monkeypatch: pytest.MonkeyPatch, lifetime: str) -> None:
    monkeypatch.setattr(provider, lifetime, -1)
    async with sign_in_server(site) as server:
        code = await server.code()
        exchanged = await server.app.exchange(code)
        if lifetime == "CODE_SECONDS":
            assert exchanged.json()["error"] == "invalid_grant"
        else:
            tokens = exchanged.json()
            refreshed = await server.app.refresh(tokens["refresh_token"])
            expired = [not await server.lets_in(tokens), refreshed.status_code == 400]
            assert expired == [lifetime == "ACCESS_SECONDS", lifetime == "REFRESH_SECONDS"]


async def test_tokens_are_renewed_while_the_session_lives(site: Site) -> None:
    store = site.sandbox()
    async with sign_in_server(site) as server:
        tokens = await server.tokens()
        for _ in range(2):
            site.requests.clear()
            tokens = (await server.app.refresh(tokens["refresh_token"])).json()
            assert site.requests == [SESSION]
        access = server.provider.access_tokens.open(tokens["access_token"])
        assert access is not None
        store.end_session(access.cookie)
        dead = await server.app.refresh(tokens["refresh_token"])
    assert (dead.status_code, dead.json()["error"]) == (400, "invalid_grant")


async def test_whose_tokens_they_are_is_sealed_into_them(site: Site) -> None:
    async with sign_in_server(site) as server:
        tokens = await server.tokens(cookie=BOB_COOKIE)
        opened = server.provider.refresh_tokens.open(tokens["refresh_token"])
        assert opened is not None
        # Tokens of versions before did not hold it: they go on working, and have it once they are renewed.
        old = opened.model_copy(update={"user_id": None})
        renewed = (await server.app.refresh(server.provider.refresh_tokens.seal(old))).json()
        for access_token in (tokens["access_token"], renewed["access_token"]):
            access = server.provider.access(access_token)
            assert access is not None
            assert access.user_id == 2


async def test_tokens_are_renewed_while_neptun_cannot_be_asked(site: Site) -> None:
    async with sign_in_server(site) as server:
        tokens = await server.tokens()
        site.answers[SESSION] = failure(500)
        assert (await server.app.refresh(tokens["refresh_token"])).status_code == 200


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_a_revoked_token_ends_the_sign_in(site: Site, kind: str) -> None:
    async with sign_in_server(site) as server:
        tokens = await server.tokens()
        registration = server.app.registration
        for client_id, status in (("unknown", 401), ((await server.app.register()).json()["client_id"], 200)):
            fields = {"client_id": client_id, "token": tokens[kind]}
            assert (await server.app.http.post("/revoke", data=fields)).status_code == status
            assert await server.lets_in(tokens)
        fields = {"client_id": registration["client_id"], "token": tokens[kind]}
        assert (await server.app.http.post("/revoke", data=fields)).status_code == 200
        server.app.registration = registration
        assert not await server.lets_in(tokens)
        assert (await server.app.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_only_the_last_used_codes_are_remembered(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "MAX_REMEMBERED", 1)
    async with sign_in_server(site) as server:
        first, second = await server.code(), await server.code()
        statuses = [(await server.app.exchange(code)).status_code for code in (first, second, second, first)]
    assert statuses == [200, 200, 400, 200]


# Processes and keys


async def test_a_key_is_rotated_while_people_sign_in(site: Site) -> None:
    port = free_port()
    async with sign_in_server(site, port=port) as server:
        registration, tokens = server.app.registration, await server.tokens()
    for key, good in ((f"{OTHER_STATE_KEY} {STATE_KEY}", True), (OTHER_STATE_KEY, False)):
        async with sign_in_server(site, key, port=port) as server:
            server.app.registration = registration
            assert await server.lets_in(tokens) == good
            assert (await server.app.refresh(tokens["refresh_token"])).is_success == good
            assert ((await server.page()).status_code == 200) == good


async def test_another_server_with_the_same_key_is_another_server(site: Site) -> None:
    async with sign_in_server(site) as one, sign_in_server(site) as two:
        tokens = await one.tokens()
        assert await one.lets_in(tokens)
        assert not await two.lets_in(tokens)


# Secrets


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
    logged = [record.__dict__["fields"] for record in caplog.records if record.message == "sign-in"]
    assert [fields["outcome"] for fields in logged] == ["wrong", "signed_in", "signed_in"]
    assert all(fields["redirects_to"] == "localhost" and len(fields["request_id"]) == 32 for fields in logged)
