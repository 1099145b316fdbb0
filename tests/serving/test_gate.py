"""Who may come in, and how much at once."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import AsyncGenerator
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx2 as httpx
import pytest
import uvicorn
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.types import METHOD_NOT_FOUND
from pydantic import SecretStr
from starlette.responses import Response
from starlette.types import Message, Scope

from neptun_mcp import Settings
from neptun_mcp._version import __version__
from neptun_mcp.account import session_store
from neptun_mcp.sandbox import COOKIE
from neptun_mcp.sandbox.state import seal
from neptun_mcp.serving import bodies, callers, gate
from neptun_mcp.serving.http import build_asgi_app
from tests.processes import Command, environment, free_port, run, start
from tests.serving.support import (
    HEADERS,
    HOST,
    LIST_IMPORTS,
    OTHER_TOKEN,
    REMOTE,
    STATE_KEY,
    TOKEN,
    Caller,
    HeldNeptun,
    content_in,
    error_in,
    listen,
    start_in_process,
    started,
)
from tests.support import ERAS, Json, Site, failure, http_client, resources, until

pytestmark = pytest.mark.anyio

OPEN: Json = {"session_cookie": COOKIE}
CLOSED: Json = {
    **OPEN,
    "mcp_token": f"{TOKEN},{OTHER_TOKEN}",
    "mcp_allowed_hosts": HOST,
    "mcp_state_key": STATE_KEY,
}
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "remote.md"
DATABASE = "GET /api/shared/collections/00000000-0000-4000-8000-000000000000"
AUTHORIZED = f"Authorization: Bearer {TOKEN}"


@pytest.mark.parametrize("era", ERAS)
async def test_both_eras_work_without_an_mcp_session(site: Site, era: str) -> None:
    async with start_in_process(site, **OPEN, mcp_sessions=False) as caller:
        caller.era = era
        response = await caller.post("tools/call", {"name": "list_imports", "arguments": LIST_IMPORTS})
        assert content_in(response.json())["total"] == 7
        for method in ("GET", "DELETE"):
            refused = await caller.http.request(method, f"{caller.url}/mcp", headers={"Accept": "text/event-stream"})
            assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
            assert ("add this address to your host" in refused.json()["error"]["message"]) == (method == "GET")


async def test_on_loopback_only_requests_addressed_to_it_are_answered(site: Site) -> None:
    async with start_in_process(site, **OPEN) as caller:
        for header, value, status in (
            ("Host", "localhost", 200),
            ("Host", "[::1]:8000", 200),
            ("Host", "evil.example", 421),
            ("Host", "127.0.0.1.evil.example:80", 421),
            ("Host", "LOCALHOST:80", 200),
            ("Host", "localhost:1.evil.example", 421),
            ("Host", "evil.example@localhost", 421),
            ("Host", b"\x85localhost", 421),
            ("Origin", "http://localhost:6274", 200),
            ("Origin", "HTTPS://LocalHost", 200),
            ("Origin", "http://evil.example", 403),
            ("Origin", "http://localhost:1.evil.example", 403),
            ("Origin", "http://localhost.evil.example", 403),
            ("Origin", "ftp://localhost", 403),
            ("Origin", "null", 403),
        ):
            caller.headers = {header: value}
            assert (await caller.post("tools/list", {})).status_code == status, value


async def test_every_token_is_accepted(site: Site) -> None:
    async with start_in_process(site, "0.0.0.0", **CLOSED) as caller:
        for token in (TOKEN, OTHER_TOKEN):
            caller.headers = {"Host": HOST, "Authorization": f"bearer {token}"}
            assert content_in(await caller.call("list_imports", LIST_IMPORTS))["total"] == 7


async def test_tokens_from_a_file_are_accepted(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{TOKEN}\n")
    async with start_in_process(
        site, "0.0.0.0", **{**CLOSED, "mcp_token": OTHER_TOKEN, "mcp_token_file": file}
    ) as caller:
        for token in (TOKEN, OTHER_TOKEN):
            caller.headers = {"Host": HOST, "Authorization": f"Bearer {token}"}
            assert (await caller.post("tools/list", {})).status_code == 200


async def test_no_other_token_is_accepted(site: Site) -> None:
    twice = [("Host", HOST), ("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")]
    async with start_in_process(site, "0.0.0.0", **CLOSED) as caller:
        for given in (None, "", "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, twice):
            headers = given if isinstance(given, list) else [("Host", HOST)]
            if isinstance(given, str):
                headers.append(("Authorization", given))
            refused = await caller.http.post(f"{caller.url}/mcp", headers=headers)
            body = refused.json()
            assert (refused.status_code, body["error"]) == (401, "invalid_token"), given
            # RFC 6750, 3.1: without a token there is no error.
            named = {"realm": "neptun-mcp"} if given is None else body
            challenge = ", ".join(f'{name}="{value}"' for name, value in named.items())
            assert refused.headers["www-authenticate"] == f"Bearer {challenge}"
            assert ("the word Bearer" in body["error_description"]) == (given in ("", f"Basic {TOKEN}", TOKEN, twice))
        assert site.requests == []


def test_tokens_are_kept_as_digests() -> None:
    app = build_asgi_app(Settings(mcp_token=SecretStr(TOKEN), mcp_allowed_hosts=(HOST,)), "0.0.0.0")
    kept = f"{vars(callers.Tokens([TOKEN], with_sessions=True))}"
    assert sha256(TOKEN.encode()).hexdigest() in kept
    assert TOKEN not in f"{kept} {app.user_middleware} {app.routes}"


async def test_requests_for_another_host_are_refused_first(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Then who has no token."""
    async with start_in_process(site, "0.0.0.0", **{**CLOSED, "mcp_allowed_hosts": HOST.upper()}) as caller:
        caller.headers = {"Host": b"other\x85.example"}
        assert (await caller.post("tools/list", {})).status_code == 421
        caller.headers = {"Host": HOST}
        assert (await caller.post("tools/list", {})).status_code == 401
        caller.headers = HEADERS
        assert (await caller.post("tools/list", {})).status_code == 200
    said = [record.getMessage() for record in caplog.records if record.name == "neptun_mcp.requests"]
    advice = "if people use this name, add it to NEPTUN_MCP_ALLOWED_HOSTS"
    assert said == [rf"refused: Host is 'other\x85.example'; {advice}", "refused"]


async def test_hosts_hear_why_they_are_refused(site: Site) -> None:
    said = pytest.RaisesExc(MCPError, match="does not answer to the host name in the request")
    async with start_in_process(site, "0.0.0.0", **CLOSED) as caller:
        for mode in ERAS.values():
            http = http_client(headers={**HEADERS, "Host": "other.example"})
            transport = streamable_http_client(f"{caller.url}/mcp", http_client=http)
            with pytest.RaisesGroup(said, flatten_subgroups=True, allow_unwrapped=True):
                async with http, Client(transport, mode=mode) as client:
                    await client.list_tools()


@pytest.mark.parametrize("era", ERAS)
async def test_lenient_in_what_http_leaves_open(site: Site, era: str) -> None:
    async with start_in_process(site, **OPEN) as caller:
        caller.era = era
        message = caller.message("tools/call", {"name": "list_imports", "arguments": LIST_IMPORTS})
        headers: Json = message["headers"]
        del headers["Accept"]
        exact: Json = {"content": json.dumps(message["json"])}
        for accepted in ([], ["*/*"], ["text/event-stream", "application/json"], ["Application/JSON;q=0.9"]):
            for content_type in ("application/json", "Application/JSON; charset=UTF-8"):
                request = caller.http.build_request("POST", f"{caller.url}/mcp", **exact)
                del request.headers["Accept"]
                given = [*headers.items(), ("Content-Type", content_type), *(("Accept", a) for a in accepted)]
                request.headers = httpx.Headers([*request.headers.multi_items(), *given])
                response = await caller.http.send(request)
                assert content_in(response.json())["total"] == 7, (accepted, content_type)
        for content_type in ("text/plain", "application/x-www-form-urlencoded"):
            exact["headers"] = {**headers, "Content-Type": content_type}
            assert (await caller.http.post(f"{caller.url}/mcp", **exact)).status_code == 415


def test_it_refuses_to_start_without_tokens_and_hosts(site: Site) -> None:
    token: Json = {"mcp_token": TOKEN}
    hosts: Json = {"mcp_allowed_hosts": HOST}
    none: Json = {}
    for host, given, words in (
        ("0.0.0.0", none, "^NEPTUN_MCP_TOKEN and NEPTUN_MCP_ALLOWED_HOSTS are not set. .* it listens on 0.0.0.0, "),
        ("0.0.0.0", token, "^NEPTUN_MCP_ALLOWED_HOSTS is not set. .* needs the host names by which they do"),
        ("192.168.1.5", hosts, "^NEPTUN_MCP_TOKEN is not set. .* needs a token "),
        ("127.0.0.1", hosts, "^NEPTUN_MCP_TOKEN is not set. .* since NEPTUN_MCP_ALLOWED_HOSTS is set, "),
        ("", token, "^NEPTUN_MCP_ALLOWED_HOSTS is not set. .* it listens on an address unknown here, "),
    ):
        with pytest.raises(ValueError, match=words):
            build_asgi_app(Settings(base_url=site.url, **given), host)


SHORT_TOKEN = {"mcp_token": "short"}, "NEPTUN_MCP_TOKEN: must hold keys of 32 or more ASCII characters, "
NO_ADDRESS = {"mcp_state_key": STATE_KEY, "mcp_credentials": "sign-in"}, "NEPTUN_MCP_PUBLIC_URL is not set. "
NO_KEY = {"mcp_token": TOKEN, "mcp_allowed_hosts": HOST}, "NEPTUN_MCP_STATE_KEY has to be set: the same one for"


@pytest.mark.parametrize("way", ["service", "image"])
@pytest.mark.parametrize(("wrong", "said"), [SHORT_TOKEN, NO_ADDRESS])
def test_a_wrong_setting_is_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, way: str, wrong: Json, said: str
) -> None:
    for name, value in wrong.items():
        monkeypatch.setenv(f"NEPTUN_{name.upper()}", value)
    _python, _m, program, *arguments = started(way, free_port())
    assert program == "neptun_mcp"
    ran = command(*arguments)
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith(said)
    assert ran.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("wrong", "said"), [SHORT_TOKEN, NO_KEY])
def test_a_wrong_setting_is_one_line_with_uvicorn_too(wrong: Json, said: str) -> None:
    """The key is missed by the factory alone, which may be started as several processes."""
    program, *arguments = started("uvicorn", free_port())
    ran = run(*arguments, program=(program,), **wrong)
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith(said)
    assert ran.stderr.count("\n") == 1


def test_the_command_says_what_is_missing(command: Command) -> None:
    ran = command("serve", "--http", "--host", "0.0.0.0")
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("NEPTUN_MCP_TOKEN and NEPTUN_MCP_ALLOWED_HOSTS are not set. ")


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where each web server would listen. It ends at once."""
    listened: list[str] = []

    def run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        for listener in sockets:
            listened.append("http://{}:{}".format(*listener.getsockname()))
            listener.close()

    monkeypatch.setattr(uvicorn.Server, "run", run)
    return listened


def test_the_command_serves_on_loopback_without_settings(command: Command, addresses: list[str]) -> None:
    ran = command("serve", "--http", "--port", "0")
    about = f"version={__version__} credentials=environment tokens=0"
    assert f"INFO neptun_mcp.serve: MCP is at {addresses[0]}/mcp {about}\n" in ran.stderr
    assert addresses[0].startswith("http://127.0.0.1:")


def test_the_command_says_where_it_listens(
    command: Command, addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    public = "https://mcp.example.com"
    settings = {"mcp_credentials": "sign-in", "mcp_public_url": public, "mcp_state_key": STATE_KEY}
    for name, value in {**settings, "sandbox": "1", "log_format": "json"}.items():
        monkeypatch.setenv(f"NEPTUN_{name.upper()}", value)
    lines: list[Json] = [json.loads(line) for line in command("serve", "--http", "--port", "0").stderr.splitlines()]
    (started,) = [line for line in lines if line["logger"] == "neptun_mcp.serve"]
    assert started["message"] == f"MCP is at {public}/mcp"
    assert started["listens_on"] == addresses[0]
    assert (started["credentials"], started["neptun"]) == ("sign-in", "sample data")


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({**CLOSED, "mcp_state_key": None}, ["NEPTUN_MCP_STATE_KEY"]),
        (CLOSED, []),
        ({}, ["NEPTUN_SESSION_COOKIE"]),
        ({"sandbox": "1"}, []),
        ({"mcp_credentials": "caller"}, []),
    ],
)
async def test_what_people_will_miss_is_logged_at_start(
    site: Site, caplog: pytest.LogCaptureFixture, settings: Json, warned: list[str]
) -> None:
    async with start_in_process(site, **settings):
        pass
    lines = [record.getMessage() for record in caplog.records if record.name == "neptun_mcp.serve"]
    assert [name for line in lines for name in re.findall(r"NEPTUN_\w+", line)] == warned


@pytest.mark.parametrize("given", [{"mcp_token": "short"}, {"mcp_token": f"{TOKEN} {TOKEN}"}, {"mcp_state_key": "x"}])
def test_weak_keys_are_malformed(given: Json) -> None:
    with pytest.raises(ValueError, match="32 or more"):
        Settings(**given)


def test_a_token_file_of_weak_keys_is_malformed(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("short")
    with pytest.raises(ValueError, match="NEPTUN_MCP_TOKEN_FILE: must hold keys of 32 or more"):
        Settings(mcp_token_file=file)


def test_a_token_file_that_cannot_be_read_is_malformed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="NEPTUN_MCP_TOKEN_FILE: cannot be read"):
        Settings(mcp_token_file=tmp_path / "none")


# Paths


async def test_a_slash_at_the_end_makes_no_difference_and_nothing_redirects(site: Site) -> None:
    async with start_in_process(site, **OPEN) as caller:
        assert (await caller.post("tools/list", {}, "/mcp/")).status_code == 200
        for path in ("/", "/health/", "/mcp/tools"):
            response = await caller.post("tools/list", {}, path)
            assert (response.status_code, response.headers.get("location")) == (404, None)
            assert response.json() == {"error": "There is nothing here: MCP is at /mcp."}


async def test_serves_below_a_path(site: Site) -> None:
    app = build_asgi_app(Settings(base_url=site.url, session_cookie=SecretStr(COOKIE)), "127.0.0.1")
    http = http_client()
    async with listen(app, root_path="/neptun") as url, http:
        caller = Caller(url, http)
        assert content_in(await caller.call("list_imports", LIST_IMPORTS))["total"] == 7
        assert (await http.get(f"{url}/health")).status_code == 200
        assert (await http.get(f"{url}/ready")).status_code == 200
        assert (await http.get(url)).json() == {"error": "There is nothing here: MCP is at /neptun/mcp."}


async def test_serves_in_another_application_as_documented(site: Site, tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text("utf-8"), re.DOTALL)
    (tmp_path / "mounting.py").write_text(program)
    env = environment(base_url=site.url, **REMOTE)
    port = free_port()
    command = (sys.executable, "-m", "uvicorn", "--app-dir", str(tmp_path), "mounting:app", "--port", str(port))
    http = http_client()
    async with start(tmp_path / "log", *command, env=env) as child, http:
        url = f"http://127.0.0.1:{port}/neptun"
        await child.answering(f"{url}/health")
        caller = Caller(url, http, HEADERS)
        for path in ("/mcp", "/mcp/"):
            assert (await caller.post("tools/list", {}, path)).status_code == 200
        assert content_in(await caller.call("list_imports", LIST_IMPORTS))["total"] == 7


async def test_any_loopback_address_that_it_listens_on_is_its_own(site: Site) -> None:
    for host in ("127.0.0.2", "::1"):
        async with start_in_process(site, host, **OPEN) as caller:
            caller.headers = {"Host": f"[{host}]:80" if ":" in host else host}
            assert (await caller.post("tools/list", {})).status_code == 200


# Bodies


async def status_of(url: str, length: int, *more: str, body: str = "") -> int:
    """The status of the answer to a request with a body that is announced, but not sent, or not all of it."""
    head = ["POST /mcp HTTP/1.1", f"Host: {HOST}", "Content-Type: application/json", f"Content-Length: {length}"]
    lines = [*head, *more, "", body]
    async with await anyio.connect_tcp(remote_host="127.0.0.1", remote_port=urlsplit(url).port or 0) as stream:
        await stream.send("\r\n".join(lines).encode())
        return int((await stream.receive()).split()[1])


async def test_a_wrong_token_is_answered_before_a_body_is_read(site: Site) -> None:
    async with start_in_process(site, "0.0.0.0", **CLOSED) as caller:
        assert await status_of(caller.url, 1000) == 401


async def test_a_body_announced_as_too_long_is_not_read(site: Site) -> None:
    async with start_in_process(site, "0.0.0.0", **CLOSED) as caller:
        assert await status_of(caller.url, gate.MAX_BODY + 1, AUTHORIZED) == 413


async def test_a_body_that_turns_out_too_long_is_refused(site: Site) -> None:
    async def endless() -> AsyncGenerator[bytes]:
        for _ in range(gate.MAX_BODY // 2**16 + 1):
            yield b" " * 2**16

    async with start_in_process(site, **OPEN) as caller:
        headers = {"Content-Type": "application/json"}
        response = await caller.http.post(f"{caller.url}/mcp", content=endless(), headers=headers)
        assert response.status_code == 413


async def test_a_slow_body_is_given_up(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
    async with start_in_process(site, "0.0.0.0", **CLOSED) as caller:
        assert await status_of(caller.url, 1000, AUTHORIZED, body="{") == 408


async def test_a_caller_who_disconnects_within_a_body_leaves_nothing_in_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    async with start_in_process(site, "0.0.0.0", **CLOSED) as caller:
        with anyio.move_on_after(0.05):
            await status_of(caller.url, 1000, AUTHORIZED, body="{")
        caller.headers = HEADERS
        assert (await caller.post("tools/list", {})).status_code == 200
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{}", "The request is not a JSON-RPC message. "),
        (b"[1]", "The request is not a JSON-RPC message. "),
        (b'{"a": ', "The request is not JSON, or is nested too deeply. "),
        (100_000 * b"[", "The request is not JSON, or is nested too deeply. "),
        (b" ", "The request is empty. "),
        (b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}', "The id is neither a whole number nor a string. "),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}', "The params are not an object. "),
    ],
)
async def test_what_is_no_message_is_refused_in_words(site: Site, era: str, body: bytes, words: str) -> None:
    async with start_in_process(site, session_cookie=COOKIE) as caller:
        headers = {"Content-Type": "application/json", "MCP-Protocol-Version": era}
        answer = await caller.http.post(f"{caller.url}/mcp", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == f"{words}Send one JSON-RPC 2.0 message per request."


# Turns


async def test_sessions_that_nobody_knows_share_their_turns(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "MAX_NEW_CLIENTS", 3)
    neptun = HeldNeptun(site)
    async with start_in_process(site, mcp_credentials="caller", max_connections=4) as caller:

        async def invent(number: int) -> None:
            stranger = Caller(caller.url, caller.http, {"Neptun-Session": f"{number}{seal('invented')}"})
            assert "Neptun refused the session" in error_in(await stranger.call("list_imports", LIST_IMPORTS))

        alice = Caller(caller.url, caller.http, {"Neptun-Session": COOKIE})
        await alice.call("list_imports", LIST_IMPORTS)
        neptun.path = "/api/_auth/session"
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(invent, number)
            await until(lambda: neptun.held > 0)
            # More new ones than are remembered do not make a known one new.
            assert content_in(await alice.call("list_imports", LIST_IMPORTS))["total"] == 7
            neptun.released = True
        assert content_in(await alice.call("list_imports", LIST_IMPORTS))["total"] == 7
    assert neptun.most == 1
    assert site.cookies.count(COOKIE) == 1 + 3 * 3, "whose session it is was asked once"


async def test_who_does_not_read_keeps_nobody_waiting(site: Site) -> None:
    """The application is called as an ASGI server does whose buffers are full."""
    settings = Settings(base_url=site.url, session_cookie=SecretStr(COOKIE), max_connections=1)
    app = build_asgi_app(settings, "127.0.0.1")
    unread = list[Message]()

    async def send(message: Message) -> None:
        unread.append(message)
        await anyio.sleep_forever()

    http = http_client()
    async with listen(app) as url, http, anyio.create_task_group() as tasks:
        caller = Caller(url, http)
        request = http.build_request("POST", f"{url}/mcp", **caller.message("tools/list", {}))
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        scope: Scope = {"type": "http", "method": "POST", "path": "/mcp", "headers": headers, "query_string": b""}

        async def receive() -> Message:
            return {"type": "http.request", "body": request.read()}

        for _ in range(5):
            tasks.start_soon(app, scope, receive, send)
        await until(lambda: len(unread) == 5)
        assert (await caller.post("tools/list", {})).status_code == 200
        tasks.cancel_scope.cancel()


async def test_nobody_is_notified_because_nothing_changes(site: Site) -> None:
    async with start_in_process(site, **OPEN) as caller:
        discovered = (await caller.post("server/discover", {})).json()["result"]["capabilities"]
        assert [discovered[name].get("listChanged", False) for name in ("tools", "prompts")] == [False, False]
        caller.headers = {"Accept": "application/json, text/event-stream"}
        stream = await caller.post("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        # As the specification of 2026-07-28 has it for a method that a server does not have.
        assert (stream.status_code, stream.json()["error"]["code"]) == (404, METHOD_NOT_FOUND)


async def test_health_and_ready_need_no_token(site: Site) -> None:
    async with start_in_process(site, "0.0.0.0", **CLOSED) as caller:
        assert (await caller.http.get(f"{caller.url}/health")).status_code == 200
        assert (await caller.http.get(f"{caller.url}/ready")).status_code == 200
        assert (await caller.http.get(f"{caller.url}/ready")).status_code == 200
    assert len(site.requests) == 3, "the answer is remembered"
    assert site.cookies == [None, None, COOKIE]


async def test_not_ready_if_neptun_cannot_be_reached() -> None:
    async with start_in_process(Site("http://127.0.0.1:1"), **OPEN, timeout=0.1) as caller:
        assert (await caller.http.get(f"{caller.url}/health")).status_code == 200
        assert (await caller.http.get(f"{caller.url}/ready")).status_code == 503


@pytest.mark.parametrize(
    "answers",
    [
        {DATABASE: failure(500)},
        {"HEAD /api/auth/check": failure(404), "GET /api/_auth/session": failure(404)},
        {"POST /api/auth/login": failure(401)},
    ],
)
async def test_not_ready_if_no_call_can_succeed(site: Site, answers: dict[str, Response]) -> None:
    site.answers |= answers
    login: Json = {"email": "alice@example.com", "password": "correct horse"}
    async with start_in_process(site, **login) as caller:
        assert (await caller.http.get(f"{caller.url}/health")).status_code == 200
        assert (await caller.http.get(f"{caller.url}/ready")).status_code == 503


async def test_not_ready_without_an_account_for_everybody(site: Site) -> None:
    async with start_in_process(site) as caller:
        assert (await caller.http.get(f"{caller.url}/ready")).status_code == 503
    async with start_in_process(site, mcp_credentials="caller") as caller:
        assert (await caller.http.get(f"{caller.url}/ready")).status_code == 200


@pytest.mark.skipif(sys.platform == "win32", reason="the folder of a person's settings cannot be redirected")
async def test_ready_with_the_session_that_a_login_keeps(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    session_store().save(site.url, COOKIE)
    async with start_in_process(site) as caller:
        assert (await caller.http.get(f"{caller.url}/ready")).status_code == 200
    assert "No Neptun credentials" not in caplog.text


async def test_a_failed_call_is_a_message(site: Site) -> None:
    async with start_in_process(site, **OPEN) as caller:
        assert "There is no project 9" in error_in(await caller.call("list_imports", {"project_id": 9}))
        assert f"GET {resources(9, 'imports')}" in site.requests
