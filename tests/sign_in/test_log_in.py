"""How a person signs in: with a password or a cookie, and how often one may try."""

from __future__ import annotations

from functools import partial
from secrets import token_urlsafe

import anyio
import pytest

from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from neptun_mcp.sandbox.state import seal
from neptun_mcp.serving import gate
from neptun_mcp.sign_in import log_in
from tests.serving.support import (
    LIST_IMPORTS,
    HeldNeptun,
    content_in,
)
from tests.sign_in.browser import REDIRECT, Browser, brought, words_of
from tests.sign_in.support import sign_in_server
from tests.support import PATIENCE, RECORDINGS, Site, failure, until

pytestmark = pytest.mark.anyio

LOGIN = "POST /api/auth/login"
SESSION = "GET /api/_auth/session"
WRONG = "The e-mail address or the password is wrong."


async def test_signs_in_with_the_password(site: Site) -> None:
    async with sign_in_server(site) as server:
        answer = await server.browser.submit(await server.page(), email=f" {EMAIL} ", password=PASSWORD)
        assert answer.headers["location"].startswith(f"{REDIRECT}?")
        back = brought(answer)
        assert (back["state"], back["iss"]) == ("of the application", server.url)
        tokens = (await server.app.exchange(back["code"])).json()
        assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 600)
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
    store, usual = site.sandbox(), seal("long")
    more = token_urlsafe(log_in.MAX_COOKIE)[: log_in.MAX_COOKIE - len(usual)]
    cookie = f"{usual[:-90]}{more}{usual[-90:]}"
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
        assert 'aria-invalid="true" autofocus aria-describedby="password-error"' in again.text
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
        back = brought(await server.browser.refuse(await server.page()))
    assert (back["error"], back["state"], back["iss"]) == ("access_denied", "of the application", server.url)
    assert site.requests == []


async def test_one_account_is_not_tried_for_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async with sign_in_server(site) as server:
        page = await server.page()
        for _ in range(log_in.ATTEMPTS):
            assert (await server.browser.submit(page, email=EMAIL, password="Wr0ng!secret")).status_code == 422
        asked = site.requests.count(LOGIN)
        for email in (EMAIL, EMAIL.upper()):
            limited = await server.browser.submit(page, email=email, password=PASSWORD)
            assert limited.status_code == 429
            assert "too many attempts for this account. Try again in 5 minutes, or use a browser" in words_of(limited)
        assert site.requests.count(LOGIN) == asked
        other = await server.browser.submit(page, email="bob@example.com", password="Passw0rd!bob")
        assert "code" in brought(other)
    monkeypatch.setattr(log_in, "ATTEMPTS_SECONDS", 0)
    async with sign_in_server(site) as server:
        page = await server.page()
        for _ in range(log_in.ATTEMPTS + 1):
            assert (await server.browser.submit(page, email=EMAIL, password="Wr0ng!secret")).status_code == 422


async def test_a_browser_that_has_signed_in_before_is_not_locked_out_by_others(site: Site) -> None:
    async with sign_in_server(site) as server:
        page = await server.page()
        assert "code" in brought(await server.browser.submit(page, email=EMAIL, password=PASSWORD))
        (known,) = (cookie for cookie in server.browser.http.cookies.jar if cookie.name == "known-browser")
        assert known.has_nonstandard_attr("HttpOnly")
        stranger = Browser(server.app.http)
        theirs = await stranger.open(server.app.link())
        for _ in range(log_in.ATTEMPTS):
            assert (await stranger.submit(theirs, email=EMAIL, password="Wr0ng!secret")).status_code == 422
        assert (await stranger.submit(theirs, email=EMAIL, password=PASSWORD)).status_code == 429
        # The owner's own attempts are counted by themselves.
        for _ in range(log_in.ATTEMPTS - 1):
            assert (await server.browser.submit(page, email=EMAIL, password="Wr0ng!secret")).status_code == 422
        assert "code" in brought(await server.browser.submit(page, email=EMAIL, password=PASSWORD))
        # What the browser carries is for this account alone.
        for status in (*[422] * log_in.ATTEMPTS, 429):
            answer = await server.browser.submit(page, email="bob@example.com", password="Wr0ng!secret")
            assert answer.status_code == status


async def test_trying_many_accounts_frees_no_attempt(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_in, "MAX_ACCOUNTS", 3)
    async with sign_in_server(site) as server:
        page = await server.page()
        for _ in range(log_in.ATTEMPTS):
            await server.browser.submit(page, email=EMAIL, password="Wr0ng!secret")
        for number, status in enumerate((422, 422, 429, 429)):
            answer = await server.browser.submit(page, email=f"{number}@example.com", password="Wr0ng!secret")
            assert answer.status_code == status
        assert (await server.browser.submit(page, email=EMAIL, password=PASSWORD)).status_code == 429


async def test_an_attempt_that_failed_on_neptuns_side_does_not_count(site: Site) -> None:
    async with sign_in_server(site) as server:
        page = await server.page()
        site.answers[LOGIN] = failure(500)
        for _ in range(log_in.ATTEMPTS + 1):
            assert (await server.browser.submit(page, email=EMAIL, password=PASSWORD)).status_code == 503
        site.answers.clear()
        assert "code" in brought(await server.browser.submit(page, email=EMAIL, password=PASSWORD))


async def test_neptun_is_not_asked_about_what_is_no_session(site: Site) -> None:
    async with sign_in_server(site) as server:
        page = await server.page()
        for rubbish in ("x" * 441, "Fe26.2", f"Fe25.2{COOKIE[6:]}", COOKIE[:60], f"neptun-session={'a' * 441}"):
            again = await server.browser.submit(page, cookie=rubbish)
            assert (again.status_code, "not a session cookie" in words_of(again)) == (422, True), rubbish
    assert site.requests == []


async def test_people_with_passwords_and_cookies_do_not_wait_for_each_other(site: Site) -> None:
    async with sign_in_server(site, timeout=PATIENCE) as server:
        page, neptun = await server.page(), HeldNeptun(site, "/login")
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(partial(server.browser.submit, page, email=f"{number}@example.com", password="x"))
            await until(lambda: neptun.held > 0)
            assert "code" in brought(await server.browser.submit(page, cookie=COOKIE))
            assert "error" in brought(await server.browser.refuse(page))
            neptun.released = True


@pytest.mark.parametrize("sandbox", ["off", "observed"])
async def test_with_sample_data_the_page_says_who_can_sign_in(site: Site, sandbox: str) -> None:
    async with sign_in_server(site, sandbox=sandbox) as server:
        said = words_of(await server.page())
    hint = f'Sample data: sign in as {EMAIL} with the password "{PASSWORD}".'
    assert (hint in said) == (sandbox == "observed")


async def test_a_right_password_is_no_attempt(site: Site) -> None:
    async with sign_in_server(site) as server:
        page = await server.page()
        for _ in range(log_in.ATTEMPTS + 1):
            assert "code" in brought(await server.browser.submit(page, email=EMAIL, password=PASSWORD))
