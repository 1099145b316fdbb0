"""Where the session comes from, in every form that people paste, and when it is renewed."""

from __future__ import annotations

import json
import re
import threading
import traceback
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from starlette.responses import Response

from neptun_mcp import Credentials, NeptunClient, NeptunError
from neptun_mcp.command_line import command_line
from neptun_mcp.neptun.cookies import cookie_value
from neptun_mcp.neptun.errors import (
    CookieFileUnusable,
    LoginRefused,
    NotLikeNeptun,
    ServerFailed,
    SessionRefused,
)
from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from tests.running_neptun import BOB_COOKIE
from tests.support import PATIENCE, RECORDINGS, WEBSHOP, ContractName, Host, Site, client_for, ids, replay

pytestmark = pytest.mark.anyio

LOGIN, CHECK, SESSION = "POST /api/auth/login", "HEAD /api/auth/check", "GET /api/_auth/session"
PROBE = "GET /api/shared/collections/00000000-0000-4000-8000-000000000000"
ATTRIBUTES = "Path=/; HttpOnly; Secure; SameSite=Lax"
EXPORT = [
    {"domain": "neptun.example.com", "name": "other", "value": "x"},
    {"domain": "neptun.example.com", "name": "neptun-session", "path": "/", "secure": True, "value": COOKIE},
]


async def owners(client: NeptunClient) -> set[int | None]:
    """Whose imports the web shop's are."""
    return {item.neptun_user_id for item in (await client.list_imports(WEBSHOP)).items}


# What people paste


PASTED = {
    "bare": COOKIE,
    "blanks around": f"  {COOKIE}\n",
    "double quotes": f'"{COOKIE}"',
    "single quotes": f"'{COOKIE}'",
    "name": f"neptun-session={COOKIE}",
    "name and quotes": f'neptun-session="{COOKIE}"',
    "quotes around name and value": f'"neptun-session={COOKIE}"',
    "blanks around the sign": f"neptun-session = {COOKIE}",
    "colon": f"neptun-session: {COOKIE}",
    "doubled name": f"neptun-session=neptun-session={COOKIE}",
    "trebled name": f"neptun-session=neptun-session=neptun-session={COOKIE}",
    "semicolon": f"{COOKIE};",
    "attributes": f"neptun-session={COOKIE}; {ATTRIBUTES}",
    "bare with attributes": f"{COOKIE}; {ATTRIBUTES}",
    "Set-Cookie line": f"set-cookie: neptun-session={COOKIE}; {ATTRIBUTES}",
    "Cookie line": f"Cookie: a=b; neptun-session={COOKIE}; c=d",
    "value of the Cookie header": f"_ga=GA1.1; neptun-session={COOKIE}; theme=dark",
    "row of Chrome's table": f"neptun-session\t{COOKIE}\tneptun.example.com\t/\tSession\t455\t✓\t✓\tLax\t\tMedium",
    "row of Firefox's table": f'neptun-session:"{COOKIE}"',
    "cookies.txt": f"# Netscape HTTP Cookie File\n#HttpOnly_example.com\tFALSE\t/\tTRUE\t0\tneptun-session\t{COOKIE}\n",
    "curl option": f"-b 'theme=dark; neptun-session={COOKIE}'",
    "JSON object": json.dumps({"neptun-session": COOKIE}),
    "JSON of Firefox's request cookies": json.dumps({"Request Cookies": {"a": "b", "neptun-session": COOKIE}}),
    "JSON export": json.dumps(EXPORT),
    "JSON export, indented": json.dumps(EXPORT, indent=4),
    "JSON export, value first": json.dumps([EXPORT[0], dict(reversed(EXPORT[1].items()))]),
    "JSON export of one cookie": json.dumps(EXPORT[1]),
    "invisible characters": f"\ufeff{COOKIE[:9]}\u200b{COOKIE[9:]}\u2060",
    "curly quotes": f"“{COOKIE}”",
    "curly quotes and name": f"neptun-session=‘{COOKIE}’",
    "several lines": f"theme=dark\nneptun-session={COOKIE}\nlang=de\n",
}


@pytest.mark.parametrize("pasted", PASTED.values(), ids=PASTED)
def test_the_cookie_is_found_in_what_people_paste(pasted: str) -> None:
    assert cookie_value(pasted) == COOKIE


class Unlooked(str):
    """A text that must not be looked at, but for its length."""

    def translate(self, table: object) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise AssertionError("looked at")


def test_a_text_of_more_than_8_kb_is_not_looked_at() -> None:
    assert cookie_value(Unlooked("neptun-session=" + "x" * 2**13)) is None
    assert cookie_value("x" * 2**13) == "x" * 2**13


@pytest.mark.parametrize("cookie", [f"{COOKIE}\n", f"{COOKIE}; a=b", f" {COOKIE}", "Fe26.2**\u00e9", f"{COOKIE}\0"])
def test_credentials_refuse_a_malformed_cookie_without_repeating_it(cookie: str) -> None:
    with pytest.raises(ValueError, match="the session cookie holds") as caught:
        Credentials(cookie)
    assert "Fe26" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "pasted",
    [
        "",
        " \n",
        ";",
        '""',
        "neptun-session",
        "neptun-session=",
        'neptun-session=""',
        "neptun-session=; Path=/",
        "two words",
        "Fe26.2**\u00e9",
        '{"name": "other", "value": "x"}',
        '[{"name": "neptun-session", "value": ""}]',
        "{broken json",
    ],
)
def test_no_cookie_is_found_in_other_text(pasted: str) -> None:
    assert cookie_value(pasted) is None


FORMS = sorted(name for name in RECORDINGS if re.match("auth_cookie_(?!other_password)", name))


@pytest.mark.parametrize("name", FORMS)
async def test_every_recorded_form_of_a_good_cookie_works(site: Site, name: str) -> None:
    """Recorded: the server itself takes all of them but the doubled name."""
    site.app = replay()
    async with client_for(site, cookie=cookie_value(RECORDINGS[name].request["headers"]["Cookie"])) as client:
        assert len((await client.list_projects()).items) > 1


async def test_the_pasted_forms_work_as_a_setting(host: Host) -> None:
    for pasted in (PASTED["Set-Cookie line"], PASTED["JSON export"]):
        host.settings["session_cookie"] = pasted
        await host.gets("list_imports", project_id=WEBSHOP)
    assert set(host.site.cookies) == {COOKIE}


# The session's user


async def test_the_user_is_found_from_the_session_once(site: Site, contract: ContractName) -> None:
    site.sandbox(contract)
    async with client_for(site) as client:
        assert await owners(client) == {1}
        assert await owners(client) == {1}
    assert site.requests.count(SESSION) == 1


async def test_a_configured_user_is_not_asked_for(site: Site) -> None:
    async with client_for(site, user_id=1) as client:
        assert await owners(client) == {1}
    assert SESSION not in site.requests


NO_USERS = [{}, [1], 1, *({"id": id} for id in ("nobody", 1.5, 0, -3, 1e999, 10**30, "1" * 5_000, None))]


@pytest.mark.parametrize("answer", [*({"user": user} for user in NO_USERS), [], "text", None])
async def test_a_session_without_a_user_is_not_like_neptun(site: Site, answer: object) -> None:
    site.answers[SESSION] = Response(json.dumps(answer))
    async with client_for(site) as client:
        with pytest.raises(NotLikeNeptun, match="it does not say whose session this is"):
            await client.list_imports(WEBSHOP)


# A bad session


@pytest.mark.parametrize("cookie", ["garbage", COOKIE[:421], COOKIE[::-1]])
@pytest.mark.parametrize("user_id", [None, 1])
async def test_a_recorded_bad_cookie_is_refused(site: Site, cookie: str, user_id: int | None) -> None:
    """With and without asking for the session's user."""
    answers = {
        "GET /api/users/1/projects/1/resources/imports": "imports_GET_garbage_cookie",
        CHECK: "auth_check_HEAD_cookie_garbage",
        SESSION: "auth_session_GET_cookie_garbage",
    }
    site.app = replay(at=answers)
    async with client_for(site, cookie=cookie, user_id=user_id) as client:
        with pytest.raises(SessionRefused, match="the cookie is expired or wrong"):
            await client.list_imports(1)
    assert set(site.cookies) == {cookie}


# The cookie file


async def test_the_cookie_is_read_from_a_file(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "cookie"
    file.write_text(PASTED["cookies.txt"], "utf-8")
    async with client_for(site, cookie_file=file) as client:
        assert await owners(client) == {1}
    assert set(site.cookies) == {COOKIE}


async def test_the_file_is_read_again_when_the_session_is_refused(site: Site, tmp_path: Path) -> None:
    store = site.sandbox()
    file = tmp_path / "cookie"
    file.write_text("expired", "utf-8")
    async with client_for(site, cookie_file=file) as client:
        with pytest.raises(SessionRefused) as caught:
            await client.list_imports(WEBSHOP)
        assert caught.value.file == file
        file.write_text(COOKIE, "utf-8")
        assert await owners(client) == {1}
        file.write_text(fresh := store.new_cookie(store.sessions[COOKIE]), "utf-8")
        assert await owners(client) == {1}
        assert fresh not in site.cookies
        del store.sessions[COOKIE]
        assert await owners(client) == {1}
        assert site.cookies[-1] == fresh


@pytest.mark.parametrize("content", [None, "", "two words"])
async def test_it_is_enough_to_save_a_cookie_in_the_file(site: Site, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "cookie"
    if content is not None:
        file.write_text(content, "utf-8")
    async with client_for(site, cookie_file=file) as client:
        with pytest.raises(CookieFileUnusable):
            await client.list_imports(WEBSHOP)
        file.write_text(COOKIE, "utf-8")
        assert await owners(client) == {1}


@pytest.mark.parametrize("path", [COOKIE, f"~nobody-of-this-name/{COOKIE}", f"\0{COOKIE}", f"/{COOKIE * 20}"])
async def test_a_cookie_in_place_of_its_file_is_not_repeated(site: Site, path: str) -> None:
    async with client_for(site, cookie_file=Path(path)) as client:
        with pytest.raises(CookieFileUnusable, match=r"cannot be read: [\w ]+\.$") as caught:
            await client.list_imports(WEBSHOP)
    assert COOKIE not in str(caught.value)


async def test_while_the_cookie_file_hangs_everything_else_goes_on(site: Site, tmp_path: Path) -> None:
    going_on = threading.Event()
    waited: list[bool] = []

    class HangingPath(type(tmp_path)):  # pyright: ignore[reportUntypedBaseClass]
        def expanduser(self) -> Path:
            waited.append(going_on.wait(PATIENCE))
            return tmp_path / "cookie"

    (tmp_path / "cookie").write_text(COOKIE, "utf-8")
    async with client_for(site) as client, anyio.create_task_group() as tasks:
        hanging = client.with_options(credentials=Credentials(cookie_file=HangingPath("x")))
        tasks.start_soon(owners, hanging)
        await anyio.lowlevel.checkpoint()
        assert await owners(client) == {1}
        going_on.set()
    assert waited == [True]


# E-mail and password


async def test_email_and_password_log_in_once(site: Site, contract: ContractName) -> None:
    site.sandbox(contract)
    async with client_for(site, email=EMAIL, password=PASSWORD) as client:
        assert await owners(client) == {1}
        assert await owners(client) == {1}
    assert site.requests.count(LOGIN) == 1
    assert site.requests[0] == LOGIN
    assert len(set(site.cookies) - {None}) == 1


async def test_when_the_session_ends_the_log_in_is_repeated(site: Site, contract: ContractName) -> None:
    store = site.sandbox(contract)
    async with client_for(site, email=EMAIL, password=PASSWORD) as client:
        for _ in range(3):
            assert await owners(client) == {1}
            store.sessions.clear()
    assert site.requests.count(LOGIN) == 3


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (EMAIL, "Passw0rd!wrong1"),
        (EMAIL, "short"),
        (EMAIL, "Pw1!<script>alert(1)</script>"),
        ("ALICE@example.com", PASSWORD),
    ],
)
async def test_a_recorded_refusal_of_a_log_in_is_not_repeated(site: Site, email: str, password: str) -> None:
    """A password that breaks the site's rules is a 400, a wrong one a 401."""
    site.app = replay()
    async with client_for(site, email=email, password=password) as client:
        for _ in range(2):
            with pytest.raises(LoginRefused) as caught:
                await client.list_imports(1)
            assert password not in str(caught.value)
    assert site.requests in ([LOGIN], [LOGIN, PROBE, LOGIN])


async def test_a_log_in_refused_while_the_database_was_down_is_tried_again(site: Site) -> None:
    """Recorded: with the database down, a good password is refused like a wrong one."""
    site.app = replay("dbdown_login", "dbdown_shared_collection_GET_unknown_uuid")
    async with client_for(site, email="alice@example.org", password="Al1ce!passWord") as client:
        for _ in range(2):
            with pytest.raises(ServerFailed, match="failed on its side"):
                await client.list_imports(WEBSHOP)
        assert site.requests == [LOGIN, PROBE] * 2
        site.answers[LOGIN] = RECORDINGS["auth_login_success"].answer()
        assert len((await client.list_projects()).items) > 1


async def test_a_refused_log_in_is_tried_again_soon_and_then_later(
    site: Site, contract: ContractName, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = site.sandbox(contract)
    now = [1_000.0]
    async with client_for(site, email=EMAIL, password="Passw0rd!wrong1") as client:
        monkeypatch.setattr(anyio, "current_time", lambda: now[0])
        for now[0], until, logins in ((1_000, 1_015, 2), (1_014, 1_015, 2), (1_015, 1_315, 4), (1_016, 1_315, 4)):
            with pytest.raises(LoginRefused) as caught:
                await client.list_imports(WEBSHOP)
            assert caught.value.seconds == until - now[0]
            assert site.requests.count(LOGIN) == logins
        store.users[0].password = "Passw0rd!wrong1"
        now[0] = 1_315.0
        assert await owners(client) == {1}
        # A log-in that succeeded makes up for the refusals before it.
        store.users[0].password = PASSWORD
        store.sessions.clear()
        with pytest.raises(LoginRefused) as caught:
            await client.list_imports(WEBSHOP)
        assert caught.value.seconds == 15


async def test_a_password_that_cannot_be_encoded_is_wrong(site: Site) -> None:
    async with client_for(site, email=EMAIL, password=f"{PASSWORD}\udcff") as client:
        with pytest.raises(LoginRefused):
            await client.list_imports(WEBSHOP)


async def test_the_cookie_of_that_name_counts_and_no_other(site: Site) -> None:
    answer = Response('{"user": {"id": 1}}')
    for line in (f"neptun-session={COOKIE}", "old-neptun-session=x", "theme=neptun-session"):
        answer.raw_headers.append((b"set-cookie", f"{line}; {ATTRIBUTES}".encode()))
    site.answers[LOGIN] = answer
    async with client_for(site, email=EMAIL, password=PASSWORD) as client:
        assert await owners(client) == {1}
    assert set(site.cookies) == {None, COOKIE}


async def test_a_recorded_log_in_succeeds(site: Site) -> None:
    site.app = replay()
    async with client_for(site, email="alice@example.com", password="Passw0rd!alice") as client:
        assert ids([item.model_dump() for item in (await client.list_imports(1)).items]) == [9, 7, 6, 5, 4, 3, 2, 1]


# No credentials


async def test_without_credentials_the_server_starts_and_each_call_says_what_to_do(host: Host, era: str) -> None:
    host.era = era
    host.settings["session_cookie"] = ""
    async with host.connected() as tools:
        for tool, arguments in {
            "list_imports": {},
            "list_resources": {"resource_type": "user-files"},
            "delete_import": {"import_id": 1},
        }.items():
            for project in ({}, {"project_id": 1}):
                message = await tools.fails(tool, **arguments, **project)
                assert message.startswith("No Neptun credentials are set. ")
                assert f"Run `{command_line()} login --base-url http" in message
                assert "Or set NEPTUN_SESSION_COOKIE (to get it, log in at" in message
                assert "NEPTUN_EMAIL and NEPTUN_PASSWORD" in message
    assert host.site.requests == []


async def test_callers_share_connections_and_nothing_else(site: Site) -> None:
    async with client_for(site) as alice:
        bob = alice.with_options(credentials=Credentials(BOB_COOKIE))
        assert await owners(alice) == {1}
        assert {item.neptun_user_id for item in (await bob.list_imports(7)).items} == {2}
        assert [project.id for project in (await bob.list_projects()).items] == [7]
        with pytest.raises(NeptunError, match="There is no project 1, or it is not yours"):
            await bob.list_imports(WEBSHOP)
        assert await owners(alice) == {1}
