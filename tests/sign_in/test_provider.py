"""What codes and tokens are good for, for how long, and with which keys."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hashlib import sha256

import pytest
from pydantic import BaseModel

from neptun_mcp.log import digest
from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from neptun_mcp.sign_in import provider, routes
from neptun_mcp.sign_in.provider import Seal
from tests.running_neptun import BOB_COOKIE
from tests.serving.support import (
    OTHER_STATE_KEY,
    STATE_KEY,
    HeldNeptun,
    free_port,
)
from tests.sign_in.browser import REDIRECT, VERIFIER, brought, hidden
from tests.sign_in.support import sign_in_server
from tests.support import Site, end_session, failure

pytestmark = pytest.mark.anyio

SESSION = "GET /api/_auth/session"


async def test_a_code_is_good_for_one_exchange(site: Site) -> None:
    async with sign_in_server(site) as server:
        code = await server.code()
        granted = await server.app.exchange(code)
        tokens, uncached = granted.json(), (granted.headers["cache-control"], granted.headers["pragma"])
        assert uncached == ("no-store", "no-cache")  # RFC 6749, 5.1
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


async def test_a_refresh_token_is_good_for_its_application_alone_as_often_as_it_likes(site: Site) -> None:
    async with sign_in_server(site) as server:
        token, registration = (await server.tokens())["refresh_token"], server.app.registration
        await server.app.register()
        assert (await server.app.refresh(token)).json()["error"] == "invalid_grant"
        server.app.registration = registration
        for _ in range(2):
            assert (await server.app.refresh(token)).status_code == 200


async def test_nothing_opens_but_what_it_was_sealed_for(site: Site) -> None:
    async with sign_in_server(site) as server:
        page = await server.page()
        code = brought(await server.browser.submit(page, email=EMAIL, password=PASSWORD))["code"]
        tokens = (await server.app.exchange(code)).json()
        sealed = {
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
    monkeypatch.setattr(routes if lifetime == "CODE_SECONDS" else provider, lifetime, -1)
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
        end_session(store, access.cookie)
        dead = await server.app.refresh(tokens["refresh_token"])
    assert (dead.status_code, dead.json()["error"]) == (400, "invalid_grant")


async def test_whose_tokens_they_are_is_sealed_into_them(site: Site) -> None:
    async with sign_in_server(site) as server:
        tokens = await server.tokens(cookie=BOB_COOKIE)
        opened = server.provider.refresh_tokens.open(tokens["refresh_token"])
        assert opened is not None
        # Tokens of versions before did not hold it: they go on working, and have it once they are renewed.
        old = opened.model_copy(update={"user_id": None})
        renewed = (await server.app.refresh(server.provider.refresh_tokens.seal(old, 60))).json()
        for access_token in (tokens["access_token"], renewed["access_token"]):
            access = server.provider.access_tokens.open(access_token)
            assert access is not None
            assert access.user_id == 2


class EarlierToken(BaseModel):
    client_id: str
    scopes: list[str]
    resource: str | None = None
    cookie: str
    sign_in: str
    expires_at: int = 0


async def test_what_earlier_versions_gave_goes_on_working(site: Site) -> None:
    async with sign_in_server(site) as server:
        registration = {"client_name": "Tester", "redirect_uris": [REDIRECT], "nonce": "cGVwcGVy"}
        client_id = urlsafe_b64encode(json.dumps(registration, separators=(",", ":")).encode()).decode().rstrip("=")
        server.app.registration = {"client_id": client_id}
        token = EarlierToken(client_id=digest(client_id)[:32], scopes=["mcp"], cookie=COOKIE, sign_in="earlier")
        access, refresh = (
            Seal(EarlierToken, purpose, server.url, [STATE_KEY]).seal(token, 60)
            for purpose in ("access token", "refresh token")
        )
        assert await server.lets_in({"access_token": access})
        renewed = (await server.app.refresh(refresh)).json()
        assert await server.lets_in(renewed)
    assert renewed["scope"] == "mcp"


async def test_what_is_missing_is_named_and_no_code_is_given_away_without_a_verifier(site: Site) -> None:
    """RFC 6749, 5.2; RFC 7636, 4.5."""
    async with sign_in_server(site) as server:
        page = await server.page(code_challenge=urlsafe_b64encode(sha256().digest()).decode().rstrip("="))
        code = brought(await server.browser.submit(page, cookie=COOKIE))["code"]
        fields = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
        answers = {name: await server.app.token(**{**fields, name: ""}) for name in fields}
        answers["refresh_token"] = await server.app.refresh("")
    for name, answer in answers.items():
        assert answer.status_code == 400
        assert answer.json() == {"error": "invalid_request", "error_description": f"missing: {name}"}


@pytest.mark.parametrize("uri", ["named", "left out"])
async def test_whoever_exchanges_a_code_need_not_repeat_where_it_was_sent(site: Site, uri: str) -> None:
    async with sign_in_server(site) as server:
        page = await server.page(**({"redirect_uri": ""} if uri == "left out" else {}))
        code = brought(await server.browser.submit(page, cookie=COOKIE))["code"]
        wrong = await server.app.exchange(code, redirect_uri="http://localhost:3119/callback")
        assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_grant")
        assert (await server.app.exchange(code, redirect_uri="")).status_code == 200


async def test_tokens_are_renewed_while_neptun_cannot_be_asked(site: Site) -> None:
    async with sign_in_server(site) as server:
        tokens = await server.tokens()
        site.answers[SESSION] = failure(500)
        assert (await server.app.refresh(tokens["refresh_token"])).status_code == 200


async def test_tokens_are_renewed_while_neptun_does_not_answer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "RENEWAL_SECONDS", 0.1)
    async with sign_in_server(site) as server:
        tokens = await server.tokens()
        neptun = HeldNeptun(site, "/session")
        assert (await server.app.refresh(tokens["refresh_token"])).status_code == 200
        neptun.released = True


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


async def test_a_log_out_with_an_access_token_that_has_expired_ends_the_sign_in(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(provider, "ACCESS_SECONDS", -1)
    async with sign_in_server(site) as server:
        tokens = await server.tokens()
        assert not await server.lets_in(tokens)
        fields = {"client_id": server.app.registration["client_id"], "token": tokens["access_token"]}
        await server.app.http.post("/revoke", data=fields)
        assert not await server.lets_in(tokens)
        assert (await server.app.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    refused = [record.__dict__["fields"]["outcome"] for record in caplog.records if record.message == "token"]
    assert refused == ["expired", "revoked"]


async def test_only_the_last_used_codes_are_remembered(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "MAX_REMEMBERED", 1)
    async with sign_in_server(site) as server:
        first, second = await server.code(), await server.code()
        statuses = [(await server.app.exchange(code)).status_code for code in (first, second, second, first)]
    assert statuses == [200, 200, 400, 200]


async def test_scopes_are_given_as_asked_for(site: Site) -> None:
    async with sign_in_server(site) as server:
        page = await server.page(scope="offline_access mcp")
        code = brought(await server.browser.submit(page, cookie=COOKIE))["code"]
        tokens = (await server.app.exchange(code)).json()
        assert tokens["scope"] == "offline_access mcp"
        again = await server.app.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"], scope="mcp")
    assert again.json()["scope"] == "mcp"


async def test_the_resource_may_be_named(site: Site) -> None:
    async with sign_in_server(site) as server:
        address = f"{server.url}/mcp"
        for resource in (
            address,
            f"{address}/",
            f"{address}?read_only=1&project_id=3",
            address.replace("http", "HTTP"),
        ):
            assert (await server.page(resource=resource)).status_code == 200
            assert (await server.app.exchange(await server.code(), resource=resource)).status_code == 200
        elsewhere = await server.app.exchange(await server.code(), resource="https://other.example/mcp")
        assert (elsewhere.status_code, elsewhere.json()["error"]) == (400, "invalid_target")


# Processes and keys


async def test_a_key_is_rotated_and_nobody_signs_in_again(site: Site) -> None:
    port = free_port()
    async with sign_in_server(site, port=port) as server:
        registration, tokens = server.app.registration, await server.tokens()
        left = await server.tokens()
    steps = (f"{STATE_KEY} {OTHER_STATE_KEY}", f"{OTHER_STATE_KEY} {STATE_KEY}", OTHER_STATE_KEY)
    for key in steps:
        async with sign_in_server(site, key, port=port) as server:
            server.app.registration = registration
            assert await server.lets_in(tokens)
            tokens = (await server.app.refresh(tokens["refresh_token"])).json()
            assert await server.lets_in(tokens)
            assert (await server.page()).status_code == 200
            # Whoever has renewed nothing in all that time is signed out with the old key.
            assert await server.lets_in(left) == (key != OTHER_STATE_KEY)


async def test_another_server_with_the_same_key_is_another_server(site: Site) -> None:
    async with sign_in_server(site) as one, sign_in_server(site) as two:
        tokens = await one.tokens()
        assert await one.lets_in(tokens)
        assert not await two.lets_in(tokens)
