"""Many clients at once, over HTTP, against servers on this machine.

    python benchmarks/load.py [--clients 200] [--seconds 60] [--connections 5] [--delay 0.05]

prints a table of two servers and a Neptun that takes its time: calls a second beside what the delay and the connection
limit allow, percentiles, errors, the most connections that Neptun saw, and each server's memory after the first tenth
of the time and at the end.

    python benchmarks/load.py --compare [--clients 50] [--seconds 10] [--rounds 3] [--delay 0]

prints how many calls of two imports a second one process of ours answers, on the loop of asyncio and on uvloop, beside
the floor, the SDK alone and the peer: in both protocols, in turns, each answer checked.

    python benchmarks/load.py --unfriendly [--mode caller] [--nginx] [--seconds 60]

prints how long one person's calls, and probes of /health, take beside a process that only keeps a core busy, and among
unfriendly peers on that core: 100 with invented credentials, 100 with sixty sign-ins of one person, 300 who send half a
head, 300 who send all but the last byte of a body, 20 who send 60 requests and never read. `--mode` is whose accounts
are used (environment, caller or sign-in; with the first of them, all unfriendly ones have no token), and `--nginx` puts
the nginx of docs/remote.md before two processes. All on 127.0.0.1; Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from http.client import HTTPConnection
from importlib.util import find_spec
from itertools import product
from math import inf
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import uvicorn
from harness import (
    BARE,
    COOKIE,
    FLOOR,
    HERE,
    OURS,
    PEER,
    PROTOCOL_VERSION,
    BenchmarkError,
    Json,
    Neptun,
    Server,
    Values,
    bare_server,
    cpu_seconds,
    floor_server,
    in_turns,
    machine,
    median_of,
    memory,
    number,
    our_server,
    peer_server,
    percentile,
    run,
    table,
)

from neptun_mcp import Settings
from neptun_mcp.account import create_client
from neptun_mcp.sandbox import COOKIE as ALICE
from neptun_mcp.sandbox import USER_ID
from neptun_mcp.sandbox.state import seal
from neptun_mcp.sign_in.provider import Grant, Provider
from tests.running_neptun import BOB_COOKIE, BOB_ID, create_app

TOKEN, KEY, HOST = "0123456789abcdef" * 2, "fedcba9876543210" * 2, "localhost:8000"
SERVERS = 2
SPAWN = get_context("spawn")
CALL = {"name": "list_resources", "arguments": {"project_id": 1, "resource_type": "user-files", "limit": 1}}
VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
WARM_UP = 1.0
"""Seconds of calls that are not counted."""


def request_of(session: str = COOKIE, call: Json = CALL, version: str = VERSION, token: str = TOKEN) -> bytes:
    """A call in a session, as a host of that protocol sends it."""
    newer = version == VERSION
    params = call | {"_meta": META} if newer else call
    routing = f"MCP-Method: tools/call\r\nMCP-Name: {call['name']}\r\n" if newer else ""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    return (
        f"POST /mcp HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {version}\r\n{routing}"
        f"Neptun-Session: {session}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def over_http(app: str, *options: str) -> list[str]:
    """The command of a server over HTTP, as an operator starts it."""
    command = [sys.executable, "-m", "uvicorn", "--factory", app, "--app-dir", str(HERE)]
    return [*command, "--no-access-log", "--log-level", "warning", *options]


COMMANDS = {
    OURS: over_http("neptun_mcp.serving:create_app", "--http", "h11", "--backlog", "32"),
    FLOOR: over_http("floor:http_app"),
    BARE: over_http("bare:http_app"),
    PEER: over_http("peer:http_app"),
}


@contextmanager
def server(environment: Mapping[str, str], command: Sequence[str] = COMMANDS[OURS]) -> Generator[tuple[int, int]]:
    """The port and the process id of one server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [*command, "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, process)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(60)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers."""
    for _ in range(300):
        if process.poll() is not None:
            break
        try:
            HTTPConnection("127.0.0.1", port, timeout=1).request("GET", "/health")
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise BenchmarkError("the server did not start")


def succeeds(answer: bytes) -> bool:
    """Whether a call did not fail."""
    return b'"isError":false' in answer


@lru_cache(maxsize=8)  # equal answers are looked at once
def shows_both(answer: bytes) -> bool:
    """Whether a call returned the two imports of the project."""
    if not succeeds(answer):
        return False
    (block,) = json.loads(answer)["result"]["content"]
    shown = json.loads(block["text"])
    return [item["id"] for item in shown.get("result", shown)["imports"]] == [1, 2]


async def client(
    port: int,
    until: float,
    times: list[float],
    errors: list[str],
    request: bytes = request_of(),
    is_right: Callable[[bytes], bool] = succeeds,
    pause: float = 0,
) -> None:
    """Call, one call after the other, on one connection, with a pause in seconds after each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (started := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = await reader.readexactly(int(length.split(b":")[1]))
        times.append(time.perf_counter() - started)
        if not (head.startswith(b"HTTP/1.1 200") and is_right(body)):
            errors.append((head.splitlines()[0] + b" " + body[:200]).decode())
        if pause:
            await asyncio.sleep(pause)
    writer.close()


async def call_for(
    seconds: float,
    clients: int,
    ports: Sequence[int],
    request: bytes = request_of(),
    is_right: Callable[[bytes], bool] = succeeds,
) -> tuple[list[float], list[str]]:
    """Let the clients call the servers for so long; how long each call took, and what was wrong."""
    times, errors = list[float](), list[str]()
    until = time.perf_counter() + seconds
    await asyncio.gather(
        *(client(ports[n % len(ports)], until, times, errors, request, is_right) for n in range(clients))
    )
    if errors:
        print(f"the first error: {errors[0]}", file=sys.stderr)
    return times, errors


async def load(ports: list[int], processes: list[int], clients: int, seconds: float) -> dict[str, list[str]]:
    """Let the clients call, and return the rows of the table but the first and the last."""
    started = time.perf_counter()
    calling = asyncio.create_task(call_for(seconds, clients, ports))
    await asyncio.sleep(seconds / 10)
    early = [memory(process, "VmRSS") for process in processes]
    times, errors = await calling
    late = [memory(process, "VmRSS") for process in processes]
    return {
        "calls a second": [number(len(times) / (time.perf_counter() - started))],
        "calls": [number(len(times))],
        "errors": [str(len(errors))],
        **{f"{share:.0%} within (ms)": [number(percentile(times, share) * 1000)] for share in (0.5, 0.95, 0.99)},
        "memory, early to late (MB)": [", ".join(f"{a:.1f} to {b:.1f}" for a, b in zip(early, late, strict=True))],
    }


USUALLY = {"clients": 200, "seconds": 60, "connections": 5, "delay": 0.05}
COMPARED = {"clients": 50, "seconds": 10, "connections": 10, "delay": 0}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--compare", action="store_true", help="one process of each server, one after the other")
    mode.add_argument("--unfriendly", action="store_true", help="one caller among unfriendly ones")
    parser.set_defaults(**COMPARED if "--compare" in sys.argv else USUALLY)
    parser.add_argument("--clients", type=int, help="200, or 50 to compare")
    parser.add_argument("--seconds", type=float, help="60, or 10 to compare")
    parser.add_argument("--connections", type=int, help="NEPTUN_MAX_CONNECTIONS (5, or 10 to compare)")
    parser.add_argument("--delay", type=float, help="seconds that Neptun takes (0.05, or 0 to compare)")
    parser.add_argument("--rounds", type=int, default=3, help="of the comparison (3)")
    parser.add_argument("--mode", choices=MODES, default="caller", help="whose accounts unfriendly ones meet (caller)")
    parser.add_argument("--nginx", action="store_true", help="unfriendly ones meet nginx, before two processes")
    parser.add_argument("--only", default="", help="compare only servers whose name contains this")
    arguments = parser.parse_args()
    measure = compare if arguments.compare else measure_unfriendly if arguments.unfriendly else measure_load
    print(measure(arguments))
    print(f"\n{machine()}; {arguments.connections} connections a server, Neptun takes {arguments.delay * 1000:g} ms.")


def environment_of(neptun: Neptun, connections: int) -> dict[str, str]:
    """The settings of a server."""
    return {
        **neptun.settings,
        "NEPTUN_MAX_CONNECTIONS": str(connections),
        "NEPTUN_MCP_TOKEN": TOKEN,
        "NEPTUN_MCP_ALLOWED_HOSTS": HOST.partition(":")[0],
        "NEPTUN_MCP_STATE_KEY": KEY,
    }


def measure_load(arguments: argparse.Namespace) -> str:
    """The table of many clients."""
    with ExitStack() as stack:
        neptun = stack.enter_context(Neptun("--contract", "documented", "--delay", str(arguments.delay)))
        environment = environment_of(neptun, arguments.connections)
        servers = [stack.enter_context(server(environment)) for _ in range(SERVERS)]
        ports, processes = [port for port, _ in servers], [process for _, process in servers]
        rows = asyncio.run(load(ports, processes, arguments.clients, arguments.seconds))
        rows["most connections that Neptun saw"] = [str(neptun.stats()["peak"])]
    possible = SERVERS * arguments.connections / arguments.delay
    header = [f"{arguments.clients} clients, {arguments.seconds:g} s, {SERVERS} servers", "measured"]
    allowed = ["calls a second that the connections allow", number(possible)]
    return table(header, [allowed, *([name, *values] for name, values in rows.items())])


# Among unfriendly peers

MODES = ("environment", "caller", "sign-in")
HEALTH = f"GET /health HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
SIGN_INS = 60


def serve_neptun(listener: socket.socket, delay: float) -> None:
    """The sandbox, in which Alice has many sessions, and which takes its time."""
    app = create_app()
    sessions = app.store.sessions
    sessions.update({session_of_alice(number): sessions[ALICE] for number in range(SIGN_INS)})

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(delay if scope["type"] == "http" else 0)
        await app(scope, receive, send)

    uvicorn.Server(uvicorn.Config(slow, log_level="error", access_log=False)).run([listener])


def session_of_alice(number: int) -> str:
    return seal(f"sign-in {number}")


def call_of(mode: str, user: int, session: str) -> bytes:
    """A call of a person in a session, in one of the modes. Where all share an account, Alice has no token."""
    call = {"name": "list_imports", "arguments": {"limit": 1}}
    if mode == "sign-in":
        seals = Provider(create_client(Settings()), f"http://{HOST}", [KEY]).access_tokens
        grant = Grant(client_id="load", scopes=[], cookie=session, sign_in=session[-32:], user_id=user)
        return request_of("", call, token=seals.seal(grant, 3600))
    return request_of(session, call, token="wrong" if mode == "environment" and user != BOB_ID else TOKEN)


async def stall(port: int, data: bytes) -> None:
    """Send something, read nothing, and begin again once the server has given up."""
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
            writer.write(data)
            await writer.wait_closed()
        await asyncio.sleep(0.1)


async def insist(port: int, request: bytes) -> None:
    """Call, one call after the other, whatever comes back."""
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            await client(port, inf, [], [], request)
        await asyncio.sleep(0.1)


def be_unfriendly(port: int, mode: str) -> None:
    """Do to a server what a process can, from the last core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    alice = [call_of(mode, USER_ID, session_of_alice(number)) for number in range(SIGN_INS)]
    invented = [call_of(mode, USER_ID, seal(f"invented {number}")) for number in range(100)]

    async def all_at_once() -> None:
        await asyncio.gather(
            *(insist(port, request) for request in invented),
            *(insist(port, alice[number % SIGN_INS]) for number in range(100)),
            *(stall(port, alice[0][:100]) for _ in range(300)),
            *(stall(port, alice[number % SIGN_INS][:-1]) for number in range(300)),
            *(stall(port, 60 * alice[number % SIGN_INS]) for number in range(20)),
        )

    asyncio.run(all_at_once())


def be_busy(share: float) -> None:
    """Use a share of the last core, and harm nobody."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    while True:
        until = time.process_time() + share / 100
        while time.process_time() < until:
            pass
        time.sleep((1 - share) / 100)


@contextmanager
def beside(target: Callable[..., None], *arguments: Any) -> Generator[int]:
    """The id of a process that does something during the block."""
    process = SPAWN.Process(target=target, args=arguments, daemon=True)
    process.start()
    try:
        yield process.pid or 0
    finally:
        process.kill()
        process.join()


async def waits(port: int, mode: str, seconds: float) -> tuple[list[float], list[float], list[str]]:
    """How long Bob's calls take, how long probes take, and what was wrong."""
    until, calls, probes, errors = time.perf_counter() + seconds, list[float](), list[float](), list[str]()
    await asyncio.gather(
        client(port, until, calls, errors, call_of(mode, BOB_ID, BOB_COOKIE), pause=0.01),
        client(port, until, probes, errors, HEALTH, lambda body: b"alive" in body, pause=0.01),
    )
    return calls, probes, errors


@contextmanager
def nginx(first: int, second: int) -> Generator[int]:
    """The port of nginx, as docs/remote.md has it, before two servers."""
    sys.path.append(str(HERE.parent))
    from tests.serving.nginx import NGINX, documented_configuration

    if NGINX is None:
        raise BenchmarkError("nginx is not installed")
    with TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        text = documented_configuration(Path(folder), port, f"127.0.0.1:{first}", f"127.0.0.1:{second}")
        file = Path(folder, "nginx.conf")
        file.write_text(text.replace("events {}", "events { worker_connections 4096; }"))
        process = subprocess.Popen([NGINX, "-c", str(file), "-p", folder], stderr=subprocess.DEVNULL)
        try:
            wait_for(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(60)


def measure_unfriendly(arguments: argparse.Namespace) -> str:
    """The table of one caller among unfriendly peers."""
    mode, half = arguments.mode, arguments.seconds / 2
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stack.enter_context(beside(serve_neptun, listener, arguments.delay))
        settings = {
            "NEPTUN_BASE_URL": f"http://127.0.0.1:{listener.getsockname()[1]}",
            "NEPTUN_MAX_CONNECTIONS": str(arguments.connections),
            "NEPTUN_MCP_STATE_KEY": KEY,
            "NEPTUN_MCP_CREDENTIALS": mode,
            **({"NEPTUN_MCP_PUBLIC_URL": f"http://{HOST}"} if mode == "sign-in" else {"NEPTUN_MCP_TOKEN": TOKEN}),
            "NEPTUN_MCP_ALLOWED_HOSTS": HOST.partition(":")[0],
            "NEPTUN_SESSION_COOKIE": BOB_COOKIE,
        }
        command = [sys.executable, "-m", "neptun_mcp", "serve", "--http"]
        ports = [stack.enter_context(server(settings, command))[0] for _ in range(1 + arguments.nginx)]
        port = stack.enter_context(nginx(*ports)) if arguments.nginx else ports[0]
        asyncio.run(waits(port, mode, WARM_UP))
        with beside(be_unfriendly, port, mode) as process:
            time.sleep(2 * WARM_UP)
            busy, started = cpu_seconds(process), time.perf_counter()
            among = asyncio.run(waits(port, mode, half))
            share = min(1, (cpu_seconds(process) - busy) / (time.perf_counter() - started))
        with beside(be_busy, share):
            time.sleep(WARM_UP)
            alone = asyncio.run(waits(port, mode, half))
    for _, _, errors in (alone, among):
        if errors:
            print(f"the first error: {errors[0]}", file=sys.stderr)
    rows: list[list[str]] = []
    for what, before, after in zip(("a call", "/health"), alone, among, strict=False):
        for portion in (0.5, 0.95, 0.99):
            quiet, loud = (percentile(times, portion) * 1000 for times in (before, after))
            rows.append([f"{what}, {portion:.0%} within (ms)", number(quiet), number(loud), number(loud / quiet)])
        rows.append([f"{what}, answers", str(len(before)), str(len(after)), ""])
    rows.append(["errors", str(len(alone[2])), str(len(among[2])), ""])
    way = "through nginx, to two processes" if arguments.nginx else "to one process"
    header = [f"{mode}, {way}", f"beside a process that uses {share:.0%} of a core", "among unfriendly peers", "ratio"]
    return table(header, rows)


# The comparison


@dataclass(frozen=True)
class Contestant(Server):
    """A server over HTTP, on an event loop, called in a version of the protocol."""

    loop: str = "asyncio"
    version: str = VERSION


def contestants(only: str) -> list[Contestant]:
    """What is compared: every server in both protocols, ours and the peer on both loops."""
    loops = ("asyncio", "uvloop") if find_spec("uvloop") else ("asyncio",)
    servers = [known for known in (our_server(None), floor_server(), bare_server(), peer_server()) if known]
    found = [
        Contestant(
            f"{known.name}, {loop}, {version}", COMMANDS[known.name], known.tools, known.arguments, loop, version
        )
        for version, loop, known in product((VERSION, PROTOCOL_VERSION), loops, servers)
        if loop == "asyncio" or known.name in (OURS, PEER)
    ]
    return [contestant for contestant in found if only in contestant.name]


def performance(neptun: Neptun, arguments: argparse.Namespace, contestant: Contestant) -> Values:
    """How one server does."""
    request = request_of(COOKIE, contestant.request("list_imports", {"project_id": 1}), contestant.version)
    is_right = succeeds if contestant.name.startswith(BARE) else shows_both
    command = [*contestant.command, "--loop", contestant.loop]
    with server(environment_of(neptun, arguments.connections), command) as (port, process):
        idle = memory(process, "VmRSS")
        calls = partial(call_for, clients=arguments.clients, ports=[port], request=request, is_right=is_right)
        asyncio.run(calls(WARM_UP))
        neptun.stats()
        busy, ours, started = cpu_seconds(process), time.process_time(), time.perf_counter()
        times, errors = asyncio.run(calls(arguments.seconds))
        return {
            "rate": (len(times) - len(errors)) / (time.perf_counter() - started),
            "busy": (cpu_seconds(process) - busy) / len(times) * 1000,
            "generator": (time.process_time() - ours) / len(times) * 1000,
            "middle": percentile(times, 0.5) * 1000,
            "late": percentile(times, 0.99) * 1000,
            "idle": idle,
            "memory": memory(process, "VmRSS"),
            "connections": neptun.stats()["peak"],
            "errors": len(errors),
        }


COLUMNS = {
    "rate": "calls/s",
    "busy": "CPU ms a call",
    "middle": "p50 ms",
    "late": "p99 ms",
    "idle": "memory, idle MB",
    "memory": "… after the calls",
    "connections": "connections to Neptun",
    "errors": "errors",
}


def compare(arguments: argparse.Namespace) -> str:
    """The table of the comparison."""
    servers = contestants(arguments.only)
    with Neptun("--contract", "documented", "--delay", str(arguments.delay)) as neptun:
        measurement = {"load": partial(performance, neptun, arguments)}
        samples = in_turns(arguments.rounds, servers, measurement)["load"]
        stub = cpu_seconds(neptun.process_id)
    rows: list[list[str]] = []
    for name, found in samples.items():
        peer = samples.get(f"{PEER},{name.partition(',')[2]}", [])
        ratios = [mine["rate"] / theirs["rate"] for mine, theirs in zip(found, peer, strict=False)]
        ratio = number(median(ratios)) if ratios else "–"
        cells = [number(median_of(found, key)) for key in COLUMNS]
        rows.append([name, cells[0], ratio, *cells[1:]])
    header = ["server, loop, protocol", "calls/s", "to the peer", *list(COLUMNS.values())[1:]]
    generators = [sample["generator"] for found in samples.values() for sample in found]
    calls = sum(sample["rate"] * arguments.seconds for found in samples.values() for sample in found)
    note = (
        f"{arguments.clients} callers, each on a connection of its own; medians of {arguments.rounds} round(s). "
        f"Beside the server, the callers took {number(median(generators))} ms a call, "
        f"and Neptun {number(stub / calls * 1000)} ms."
    )
    return f"{table(header, rows)}\n\n{note}"


if __name__ == "__main__":
    run(main)
