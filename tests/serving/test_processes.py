"""Several processes that share nothing but a key: behind nginx, ended, killed."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2 as httpx
import pytest
from anyio.abc import SocketStream
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.request_state import AESGCMRequestStateCodec

from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from neptun_mcp.serving import web_server
from tests.processes import environment, free_port
from tests.running_neptun import BOB_COOKIE
from tests.serving.nginx import behind_nginx
from tests.serving.support import (
    AGREED,
    DELETE_IMPORT,
    HEADERS,
    LIST_FILES,
    LIST_IMPORTS,
    OTHER_STATE_KEY,
    OTHER_TOKEN,
    REMOTE,
    STATE_KEY,
    TOKEN,
    Caller,
    HeldNeptun,
    content_in,
    error_in,
    start_in_process,
    worker,
)
from tests.sign_in.browser import Application, Browser, brought
from tests.support import YES, Json, Person, Site, content_of, http_client, until

pytestmark = pytest.mark.anyio


@pytest.mark.slow  # of two servers in this process, each takes the other's answers, too
async def test_nginx_sends_the_deletions_of_a_person_to_one_process_and_the_rest_to_any(
    site: Site, tmp_path: Path
) -> None:
    """However often the same yes arrives, and whatever else is called between."""
    env = environment(base_url=site.url, **REMOTE)
    async with (
        worker(tmp_path / "one.log", env) as (one, _),
        worker(tmp_path / "two.log", env) as (two, _),
        behind_nginx(tmp_path, one, two) as url,
    ):
        served, deleted_by = set[str](), set[str]()

        async def remember(response: httpx.Response) -> None:
            served.add(response.headers["x-served-by"])
            if response.request.headers.get("mcp-name") == "delete_import":
                deleted_by.add(response.headers["x-served-by"])

        person = Person(YES)
        http = http_client(headers=HEADERS, event_hooks={"response": [remember]})
        async with (
            http,
            Client(
                streamable_http_client(f"{url}/mcp", http_client=http),
                mode="2026-07-28",
                elicitation_callback=person,
            ) as client,
        ):
            result = content_of(await client.call_tool("delete_import", DELETE_IMPORT))
            caller = Caller(url, http, HEADERS)
            while len(served) == 1:
                await caller.call("list_imports", LIST_IMPORTS)
            again: Json = {"project_id": 1, "import_id": 103}
            state = await question(caller, again)
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(reply, caller, state, again)
    assert result["message"] == "Import 104 was deleted."
    assert len(person.questions) == 1
    assert len(site.deletions()) == 2
    assert len(deleted_by) == 1
    lines = (tmp_path / "one.log").read_text() + (tmp_path / "two.log").read_text()
    assert re.findall(r"neptun_mcp.audit: deletion outcome=(\w+)", lines).count("deleted") == 2
    assert COOKIE not in lines
    assert TOKEN not in lines


@asynccontextmanager
async def two_servers(site: Site, second_key: str = STATE_KEY) -> AsyncGenerator[tuple[Caller, Caller]]:
    """Two servers in this process, as different as two processes are."""
    async with (
        start_in_process(site, **REMOTE) as one,
        start_in_process(site, **{**REMOTE, "mcp_state_key": second_key}) as two,
    ):
        one.headers = two.headers = HEADERS
        yield one, two


async def question(asking: Caller, arguments: Json = DELETE_IMPORT) -> str:
    """The state that comes with the question whether an import, by default 104, may be deleted."""
    return (await asking.call("delete_import", arguments))["result"]["requestState"]


async def reply(answered: Caller, state: Any, arguments: Json = DELETE_IMPORT) -> Json:
    return await answered.call("delete_import", arguments, inputResponses=AGREED, requestState=state)


def refused(response: Json) -> bool:
    return "Nothing was done; make the call again" in response.get("error", {}).get("message", "")


def tampered(state: str) -> str:
    return state[:-1] + ("A" if state[-1] != "A" else "B")


def expired(state: str) -> str:
    codec = AESGCMRequestStateCodec([STATE_KEY])
    return codec.seal(json.dumps(json.loads(codec.unseal(state)) | {"exp": 0}).encode())


async def test_of_two_processes_that_get_the_same_yes_at_once_the_second_says_that_the_import_was_gone(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    neptun, results = HeldNeptun(site, "/imports/104"), list[str]()

    async def agree(server: Caller) -> None:
        results.append(content_in(await reply(server, state))["message"])

    async with two_servers(site) as servers:
        state = await question(servers[0])
        async with anyio.create_task_group() as tasks:
            for server in servers:
                tasks.start_soon(agree, server)
            await until(lambda: neptun.held == 2)
            neptun.released = True
    assert sorted("gone already" in result for result in results) == [False, True]
    outcomes = [getattr(record, "fields", {})["outcome"] for record in caplog.records if "audit" in record.name]
    assert sorted(outcomes) == ["deleted", "gone"]


async def test_a_tampered_or_late_answer_deletes_nothing(site: Site) -> None:
    async with two_servers(site) as (one, two):
        state = await question(one)
        for bad in (tampered(state), expired(state), "", "v1.", state[:40]):
            assert refused(await reply(two, bad))
    assert site.deletions() == []


async def test_somebody_elses_answer_deletes_nothing(site: Site) -> None:
    async with two_servers(site) as (one, two):
        state = await question(one)
        for foreign in ({"Neptun-Session": BOB_COOKIE}, {"Authorization": f"Bearer {OTHER_TOKEN}"}):
            two.headers = {**HEADERS, **foreign}
            assert refused(await reply(two, state))
    assert site.deletions() == []


async def test_an_answer_to_another_question_deletes_nothing(site: Site) -> None:
    async with two_servers(site) as (one, two):
        state = await question(one)
        assert refused(await reply(two, state, {**DELETE_IMPORT, "import_id": 101}))
        listing: Json = {"project_id": 1}
        assert refused(await two.call("list_imports", listing, inputResponses=AGREED, requestState=state))
    assert site.deletions() == []


@pytest.mark.parametrize("state", [{"v": 1}, ["v1"], 1])
async def test_an_answer_whose_state_is_no_text_deletes_nothing(site: Site, state: Any) -> None:
    async with two_servers(site) as (one, _):
        assert refused(await reply(one, state))
    assert site.deletions() == []


async def test_an_answer_without_a_question_deletes_nothing(site: Site) -> None:
    async with two_servers(site) as (_, two):
        response = await two.call("delete_import", DELETE_IMPORT, inputResponses=AGREED)
    assert response["result"]["resultType"] == "input_required"
    assert site.deletions() == []


async def test_a_repeated_answer_deletes_nothing_more(site: Site) -> None:
    async with two_servers(site) as (one, two):
        state = await question(one)
        assert content_in(await reply(two, state))["deleted"]
        assert (await reply(two, state))["error"]["message"].startswith("This answer was used already")
        assert error_in(await reply(one, state)).startswith("Import 104 is no longer in project 1")
    assert len(site.deletions()) == 1


async def test_a_yes_that_arrives_ten_times_at_once_is_sent_once(site: Site) -> None:
    answers: list[Json] = []
    neptun = HeldNeptun(site, "/imports/104")
    async with two_servers(site) as (one, two):
        state = await question(one)

        async def agree() -> None:
            answers.append(await reply(two, state))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(agree)
            await until(lambda: len(answers) == 9 and neptun.held == 1)
            neptun.released = True
    assert len(site.deletions()) == 1
    assert ["error" in answer for answer in answers] == 9 * [True] + [False]


async def test_a_key_is_rotated_without_losing_an_answer(site: Site) -> None:
    for second_key in (f"{OTHER_STATE_KEY} {STATE_KEY}", f"{STATE_KEY},{OTHER_STATE_KEY}"):
        site.sandbox()
        async with two_servers(site, second_key) as (one, two):
            assert content_in(await reply(two, await question(one)))["deleted"]
    async with two_servers(site, OTHER_STATE_KEY) as (one, two):
        site.sandbox()
        assert refused(await reply(two, await question(one)))


async def test_a_host_of_the_older_era_deletes_only_if_nobody_is_asked(site: Site) -> None:
    for policy in ("ask", "require"):
        async with start_in_process(site, session_cookie=COOKIE, confirm_delete=policy) as caller:
            caller.era = "2025-11-25"
            said = error_in(await caller.call("delete_import", DELETE_IMPORT))
            assert said.startswith("Import 104 was not deleted: the person has to agree")
    assert site.deletions() == []
    async with start_in_process(site, session_cookie=COOKIE, confirm_delete="off") as caller:
        caller.era = "2025-11-25"
        assert content_in(await caller.call("delete_import", DELETE_IMPORT))["deleted"]


# The end of a process


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
async def test_sigterm_lets_in_flight_calls_finish(site: Site, tmp_path: Path) -> None:
    neptun, results, sent = HeldNeptun(site), list[Json](), list[str]()
    env = environment(base_url=site.url, **REMOTE, max_connections="8")
    http = http_client()

    async def note_sent(event: str, info: Json) -> None:
        if event == "http11.receive_response_headers.started":
            sent.append(event)

    async with worker(tmp_path / "log", env) as (url, child), http:
        alice = Caller(url, http, HEADERS)
        await alice.call("list_imports", LIST_IMPORTS)  # until Neptun has confirmed who she is, she has other turns
        async with anyio.create_task_group() as tasks:
            for _ in range(5):  # so that the process has taken the connections
                tasks.start_soon(alice.call, "list_imports", LIST_IMPORTS)
        sent.clear()
        message = alice.message("tools/call", {"name": "list_resources", "arguments": LIST_FILES})

        async def call() -> None:
            response = await http.post(f"{url}/mcp", **message, extensions={"trace": note_sent})
            results.append(content_in(response.json()))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(call)
            await until(lambda: neptun.held == 2 and len(sent) == 5)
            child.process.send_signal(signal.SIGTERM)
            await refusing(url)
            neptun.released = True
            await child.exit_code()
    assert len(results) == 5, "those that waited for their turn too"
    assert child.process.returncode in (0, -signal.SIGTERM)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
async def test_a_request_that_arrives_as_the_process_ends_is_the_last_on_its_connection(
    site: Site, tmp_path: Path
) -> None:
    """A connection that is closed before would take a gateway's request with it."""
    http = http_client()
    async with worker(tmp_path / "log", environment(base_url=site.url, **REMOTE)) as (url, child), http:
        await http.get(f"{url}/health")
        child.process.send_signal(signal.SIGTERM)
        while (await http.get(f"{url}/health")).headers.get("connection") != "close":
            pass
        await refusing(url)
        assert await child.exit_code() in (0, -signal.SIGTERM)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
async def test_connections_that_a_process_has_not_accepted_when_it_ends_are_served(site: Site, tmp_path: Path) -> None:
    """Closed with the listener, they would take a gateway's requests with them."""
    answers = list[bytes]()
    async with worker(tmp_path / "log", environment(base_url=site.url, **REMOTE)) as (url, child):
        child.process.send_signal(signal.SIGSTOP)
        port = urlsplit(url).port or 0
        async with AsyncExitStack() as streams, anyio.create_task_group() as tasks:
            for _ in range(3 * web_server.BACKLOG + 60):
                stream = await streams.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
                await stream.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")

                async def read(stream: SocketStream = stream) -> None:
                    answers.append((await stream.receive())[:12])

                tasks.start_soon(read)
            child.process.send_signal(signal.SIGTERM)
            await anyio.sleep(0.2)  # uvicorn looks every tenth of a second
            child.process.send_signal(signal.SIGCONT)
        await child.exit_code()
    assert set(answers) == {b"HTTP/1.1 200"}


async def refusing(url: str) -> None:
    """Wait until nobody listens at an address."""
    http = http_client()
    async with http:
        while True:
            try:
                await http.get(f"{url}/health")
            except httpx.TransportError:
                return
            await anyio.sleep(0.05)


@pytest.mark.slow
async def test_the_next_call_works_after_a_process_was_killed(site: Site, tmp_path: Path) -> None:
    neptun, http = HeldNeptun(site), http_client()
    env = environment(base_url=site.url, **REMOTE)
    async with (
        worker(tmp_path / "one.log", env) as (one, first),
        worker(tmp_path / "two.log", env) as (two, second),
        behind_nginx(tmp_path, one, two) as url,
        http,
    ):
        caller = Caller(url, http, HEADERS)
        statuses: list[int] = []

        async def call() -> None:
            response = await caller.post("tools/call", {"name": "list_resources", "arguments": LIST_FILES})
            statuses.append(response.status_code)

        async with anyio.create_task_group() as tasks:
            for _ in range(24):  # nginx chooses at random: of so many, both processes get some
                tasks.start_soon(call)
            await until(lambda: neptun.held >= 2)
            first.process.kill()
            await until(lambda: 502 in statuses)
            neptun.released = True
        assert second.process.returncode is None
        assert content_in(await caller.call("list_resources", LIST_FILES))["total"] > 0
    assert set(statuses) == {200, 502}


@pytest.mark.slow
async def test_renewals_from_one_address_are_not_limited_with_the_page(site: Site, tmp_path: Path) -> None:
    """A whole office may have one address, and its hosts renew tokens every few minutes."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    env = environment(base_url=site.url, mcp_credentials="sign-in", mcp_public_url=url, mcp_state_key=STATE_KEY)
    http = http_client(base_url=url)
    async with worker(tmp_path / "log", env) as (one, _), behind_nginx(tmp_path, one, one, port), http:
        app, page = Application(http), Browser(http)
        await app.register()
        code = brought(await page.submit(await page.open(app.link()), email=EMAIL, password=PASSWORD))["code"]
        token = (await app.exchange(code)).json()["refresh_token"]
        tried = [(await http.post("/sign-in", data={"request": "x"})).status_code for _ in range(60)]
        renewed = [(await app.refresh(token)).status_code for _ in range(60)]
    assert set(tried) == {400, 429}
    assert set(renewed) == {200}
