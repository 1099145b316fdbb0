"""Connections are few, and each serves one person only."""

from __future__ import annotations

import random
import ssl
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import anyio
import httpx2 as httpx
import pytest

from neptun_mcp import Credentials, NeptunClient
from neptun_mcp.neptun import connections, transport
from neptun_mcp.neptun.errors import ConnectionLost, DeletionFailed
from neptun_mcp.sandbox import COOKIE
from tests.faults.server import Action, Exchange, Server, http, say, serve, to_json
from tests.support import PATIENCE, import_item

pytestmark = pytest.mark.anyio


def of(exchange: Exchange) -> bytes:
    """An answer that shows who asked: user 7, for `neptun-session=person-7`."""
    number = int(exchange.request.headers["cookie"].rpartition("-")[2])
    if exchange.request.target == "/api/_auth/session":
        return http(200, to_json({"user": {"id": number}}))
    return http(200, to_json([{"id": 1, "neptun_user_id": number}]))


async def answer_by_cookie(exchange: Exchange) -> None:
    await exchange.send(of(exchange))


@asynccontextmanager
async def people(action: Action, count: int, limit: int = 10) -> AsyncGenerator[tuple[Server, list[NeptunClient]]]:
    """A server, and as many people with sessions of their own over the same connections."""
    async with (
        serve(action) as server,
        NeptunClient(Credentials(), base_url=server.url, max_connections=limit) as client,
    ):
        yield (
            server,
            [client.with_options(credentials=Credentials(f"person-{number}")) for number in range(1, count + 1)],
        )


async def file_owners(client: NeptunClient) -> list[int | None]:
    return [file.neptun_user_id for file in (await client.list_resources(1, "user-files")).items]


async def test_the_rest_of_an_answer_reaches_nobody_else() -> None:
    async def answer_twice(exchange: Exchange) -> None:
        is_list = "user-files" in exchange.request.target
        await exchange.send(of(exchange) * (2 if is_list else 1))

    async with people(answer_twice, 3) as (_, clients):
        for _ in range(2):
            for number, client in enumerate(clients, 1):
                assert await file_owners(client) == [number]


async def test_a_long_body_in_chunks_may_name_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9112, 6.3: the chunks count."""
    monkeypatch.setattr(transport, "_LONG_BODY", 500_000)
    text = "x" * 1_000_000
    body = to_json([{"id": 1, "text": text}])
    halves = body[:500_000], body[500_000:]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(half), half) for half in halves) + b"0\r\n\r\n"
    both = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n" % len(body)
    )

    async def answer_in_chunks(exchange: Exchange) -> None:
        is_list = "user-files" in exchange.request.target
        await exchange.send(both + chunks if is_list else of(exchange))

    async with people(answer_in_chunks, 1) as (_, (client,)):
        (file,) = (await client.list_resources(1, "user-files")).items
        assert file.text == text


@pytest.mark.parametrize("ending", ["", "more", "close", "reset"])
async def test_a_long_body_arrives_whole_or_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(transport, "_LONG_BODY", 500_000)
    pauses: Callable[[float, float], float] = lambda low, _: low / 50  # noqa: E731
    monkeypatch.setattr(random, "uniform", pauses)
    text = "".join(map(str, range(200_000)))
    whole = http(200, to_json([{"id": 1, "text": text}]))

    async def answer_at_length(exchange: Exchange) -> None:
        if "user-files" not in exchange.request.target:
            return await answer_by_cookie(exchange)
        cut = ending in ("close", "reset") and server.connections == 1
        await exchange.send(whole[:700_000] if cut else whole * (2 if ending == "more" else 1))
        if cut:
            await exchange.close() if ending == "close" else exchange.reset()
        return None

    async with people(answer_at_length, 1) as (server, (client,)):
        for _ in range(2):
            (file,) = (await client.list_resources(1, "user-files")).items
            assert file.text == text
        assert server.connections == (3 if ending in ("close", "reset") else 2)


async def test_the_rest_of_an_answer_is_not_taken_for_the_outcome_of_a_deletion() -> None:
    async def fail_to_delete(exchange: Exchange) -> None:
        listed = http(200, to_json({"imports": [import_item(1)]}))
        is_deletion = exchange.request.method == "DELETE"
        await exchange.send(http(500, b"{}") if is_deletion else listed + http(200, b"[]"))

    async with (
        serve(fail_to_delete) as server,
        NeptunClient(Credentials(COOKIE), user_id=1, base_url=server.url) as client,
    ):
        for _ in range(2):
            await client.list_imports(1)
            with pytest.raises(DeletionFailed, match=r"status 500\). Import 1 is still there"):
                await client.delete_import(1, 1)


async def test_a_person_is_served_on_one_connection() -> None:
    async with people(answer_by_cookie, 1) as (server, (client,)):
        for _ in range(5):
            await file_owners(client)
        assert server.connections == 1


async def test_people_share_one_limit() -> None:
    most_open = 0

    async def count_open(exchange: Exchange) -> None:
        nonlocal most_open
        most_open = max(most_open, server.open)
        await answer_by_cookie(exchange)

    async with people(count_open, 20, limit=3) as (server, clients):
        async with anyio.create_task_group() as tasks:
            for client in clients * 3:
                tasks.start_soon(file_owners, client)
        assert len(server.requests) == 20 + 60
    # One that is being closed may still be seen beside the one that takes its place.
    assert most_open <= 3 + 1


async def test_idle_connections_of_many_people_share_the_limit_too() -> None:
    async with people(answer_by_cookie, 20, limit=3) as (server, clients):
        for client in clients:
            await file_owners(client)
            assert server.open <= 3 + 1


async def test_idle_connections_are_closed_without_another_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_KEEPALIVE_SECONDS", 0.01)
    async with people(answer_by_cookie, 5) as (server, clients):
        for client in clients:
            await file_owners(client)
        with anyio.fail_after(PATIENCE):
            await server.all_closed()


async def test_a_connection_from_before_a_laptop_slept_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000.0]
    monkeypatch.setattr(connections, "time", SimpleNamespace(time=lambda: now[0]))
    async with people(answer_by_cookie, 1) as (server, (client,)):
        await file_owners(client)
        now[0] += 3
        await file_owners(client)
        assert server.connections == 1
        now[0] += 3_600
        await file_owners(client)
        assert server.connections == 2
        now[0] -= 7_200  # a clock may be corrected
        await file_owners(client)
        assert server.connections == 3


async def test_connections_that_end_at_any_moment_mix_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: Callable[[float, float], float] = lambda low, _: low / 50  # noqa: E731
    monkeypatch.setattr(random, "uniform", pauses)
    dice = random.Random(1)
    calm, most_open = False, 0

    async def end_somehow(exchange: Exchange) -> None:
        nonlocal most_open
        most_open = max(most_open, server.open)
        ending, said = "" if calm else dice.choice(["", "close", "reset", "more"]), of(exchange)
        if not calm and dice.random() < 0.3:
            said, ending = said[: dice.randrange(len(said))], dice.choice(["close", "reset"])
        await exchange.send(said * (2 if ending == "more" else 1))
        if ending == "reset":
            exchange.reset()
        elif ending in ("close", "more"):
            await exchange.close()

    async def ask(number: int, client: NeptunClient) -> None:
        for _ in range(8):
            with anyio.move_on_after(dice.choice([PATIENCE, PATIENCE, 0.01])):
                with suppress(ConnectionLost):  # three times in a row
                    seen.append(await file_owners(client) == [number])

    seen: list[bool] = []
    async with people(end_somehow, 12, limit=3) as (server, clients):
        async with anyio.create_task_group() as tasks:
            for number, client in enumerate(clients, 1):
                tasks.start_soon(ask, number, client)
        assert seen
        assert all(seen)
        assert most_open <= 3 + 1
        calm = True
        with anyio.fail_after(PATIENCE):  # no turn was lost
            assert [await file_owners(client) for client in clients] == [[number] for number in range(1, 13)]
        await clients[0].aclose()
        await server.all_closed()


async def test_people_share_one_tls_context(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ssl.SSLContext] = []
    real = httpx.create_ssl_context

    def create(**options: Any) -> ssl.SSLContext:
        made.append(real(**options))
        return made[-1]

    monkeypatch.setattr(httpx, "create_ssl_context", create)
    async with people(answer_by_cookie, 5) as (_, clients):
        for client in clients:
            await file_owners(client)
    assert len(made) == 1


async def test_every_connection_is_closed_in_the_end() -> None:
    async with people(answer_by_cookie, 5) as (server, clients):
        for client in clients:
            await file_owners(client)
        assert server.open == 5
        await clients[0].aclose()
        await server.all_closed()


async def test_a_malformed_header_that_echoes_the_cookie_is_not_in_the_traceback() -> None:
    async with people(say(f"HTTP/1.1 200 OK\r\n{COOKIE} \0\r\n\r\n".encode()), 1) as (_, (client,)):
        with pytest.raises(ConnectionLost) as caught:
            await file_owners(client)
    assert COOKIE not in "".join(traceback.format_exception(caught.value))
