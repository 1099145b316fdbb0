"""Many clients at once, over HTTP, against two servers and a Neptun that takes its time (--delay).

    python benchmarks/load.py [--clients 200] [--seconds 60] [--connections 5] [--delay 0.05]

prints a table: calls a second beside what the delay and the connection limit allow, percentiles, errors, the most
connections that Neptun saw, and each server's memory after the first tenth of the time and at the end.

    python benchmarks/load.py --unfriendly [--seconds 60]

prints how long one caller waits, who calls one server with a session of their own, alone and among unfriendly ones:
200 with invented sessions, 300 who send half a head, 20 who send 60 requests and never read. All on 127.0.0.1; Linux
only.
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
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from typing import Any

from harness import COOKIE, BenchmarkError, Neptun, machine, memory, number, percentile, run, table

INVENTED = "invented" + COOKIE
TOKEN, HOST = "t" * 32, "mcp.example.com"
SERVERS = 2
CALL = {"name": "list_resources", "arguments": {"project_id": 1, "resource_type": "user-files", "limit": 1}}
VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
BODY = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALL | {"_meta": META}}).encode()


def request_of(session: str) -> bytes:
    """A call in a session."""
    return (
        f"POST /mcp HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\nMCP-Protocol-Version: {VERSION}\r\nMCP-Method: tools/call\r\n"
        f"MCP-Name: {CALL['name']}\r\nNeptun-Session: {session}\r\nContent-Length: {len(BODY)}\r\n\r\n"
    ).encode() + BODY


@contextmanager
def server(environment: Mapping[str, str]) -> Generator[tuple[int, int]]:
    """The port and the process id of one server, as an operator starts it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    factory = ["--factory", "neptun_mcp.remote:create_app", "--port", str(port), "--no-access-log"]
    protocol = ["--http", "neptun_mcp.remote.connections:LimitedProtocol"]
    command = [sys.executable, "-m", "uvicorn", *factory, *protocol, "--log-level", "warning"]
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


async def client(port: int, until: float, times: list[float], errors: list[str], session: str = COOKIE) -> None:
    """Call, one call after the other, on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = request_of(session)
    while (started := time.perf_counter()) < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = await reader.readexactly(int(length.split(b":")[1]))
        times.append(time.perf_counter() - started)
        if not head.startswith(b"HTTP/1.1 200") or b'"isError":false' not in body:
            errors.append((head.splitlines()[0] + b" " + body[:200]).decode())
    writer.close()


async def send_half_heads(port: int) -> None:
    """Send half a head, and again once the server has given up."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_of(COOKIE)[:100])
        with suppress(OSError):
            await reader.read()
        writer.close()


async def never_read(port: int) -> None:
    """Send many requests, in another session, and read nothing of the answers."""
    while True:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(60 * request_of(f"{COOKIE}0"))
        with suppress(OSError):
            await writer.wait_closed()


async def among_unfriendly(port: int, seconds: float) -> dict[str, list[str]]:
    """The rows of the table: how long one caller waits alone, and among unfriendly ones."""
    now, ignored, errors = time.perf_counter(), list[Any](), list[str]()
    alone, among = list[float](), list[float]()
    await client(port, now + seconds / 2, alone, errors)
    until = time.perf_counter() + seconds / 2
    unfriendly = [
        *(client(port, until, ignored, ignored, f"{number}{INVENTED}") for number in range(200)),
        *(send_half_heads(port) for _ in range(300)),
        *(never_read(port) for _ in range(20)),
    ]
    tasks = [asyncio.create_task(caller) for caller in unfriendly]
    await asyncio.sleep(2)
    await client(port, until, among, errors)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if errors:
        print(f"the first error: {errors[0]}", file=sys.stderr)
    return {
        "calls": [number(len(alone)), number(len(among))],
        **{
            f"{share:.0%} within (ms)": [number(percentile(times, share) * 1000) for times in (alone, among)]
            for share in (0.5, 0.95, 0.99)
        },
        "errors": ["", str(len(errors))],
    }


async def load(ports: list[int], processes: list[int], clients: int, seconds: float) -> dict[str, list[str]]:
    """Let the clients call, and return the rows of the table but the first and the last."""
    times: list[float] = []
    errors: list[str] = []
    started = time.perf_counter()
    until = started + seconds
    calling = [asyncio.create_task(client(ports[n % SERVERS], until, times, errors)) for n in range(clients)]
    await asyncio.sleep(seconds / 10)
    early = [memory(process, "VmRSS") for process in processes]
    await asyncio.gather(*calling)
    late = [memory(process, "VmRSS") for process in processes]
    if errors:
        print(f"the first error: {errors[0]}", file=sys.stderr)
    return {
        "calls a second": [number(len(times) / (time.perf_counter() - started))],
        "calls": [number(len(times))],
        "errors": [str(len(errors))],
        **{f"{share:.0%} within (ms)": [number(percentile(times, share) * 1000)] for share in (0.5, 0.95, 0.99)},
        "memory, early to late (MB)": [", ".join(f"{a:.1f} to {b:.1f}" for a, b in zip(early, late, strict=True))],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=5, help="NEPTUN_MAX_CONNECTIONS (5)")
    parser.add_argument("--delay", type=float, default=0.05, help="seconds that Neptun takes (0.05)")
    parser.add_argument("--unfriendly", action="store_true", help="one caller among unfriendly ones")
    arguments = parser.parse_args()
    print(measure_unfriendly(arguments) if arguments.unfriendly else measure_load(arguments))
    print(f"\n{machine()}; {arguments.connections} connections a server, Neptun takes {arguments.delay * 1000:g} ms.")


def environment_of(neptun: Neptun, connections: int) -> dict[str, str]:
    """The settings of a server."""
    return {
        **neptun.settings,
        "NEPTUN_MAX_CONNECTIONS": str(connections),
        "NEPTUN_MCP_TOKEN": TOKEN,
        "NEPTUN_MCP_ALLOWED_HOSTS": HOST,
        "NEPTUN_MCP_STATE_KEY": "k" * 32,
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


def measure_unfriendly(arguments: argparse.Namespace) -> str:
    """The table of one caller."""
    with Neptun("--contract", "documented", "--delay", str(arguments.delay)) as neptun:
        settings = {**environment_of(neptun, arguments.connections), "NEPTUN_MCP_CREDENTIALS": "caller"}
        with server(settings) as (port, _):
            rows = asyncio.run(among_unfriendly(port, arguments.seconds))
    return table(["one caller", "alone", "among unfriendly ones"], [[name, *values] for name, values in rows.items()])


if __name__ == "__main__":
    run(main)
