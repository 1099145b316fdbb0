"""Many clients at once, over HTTP, against two servers and a Neptun that takes its time (--delay).

    python benchmarks/load.py [--clients 200] [--seconds 60] [--connections 5] [--delay 0.05]

prints a table: calls a second beside what the delay and the connection limit allow, percentiles, errors, the most
connections that Neptun saw, and each server's memory after the first tenth of the time and at the end. All on
127.0.0.1; Linux only.
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
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection

from harness import BenchmarkError, Neptun, machine, memory, number, percentile, run, table

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
REQUEST = (
    f"POST /mcp HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
    f"Accept: application/json\r\nMCP-Protocol-Version: {VERSION}\r\nMCP-Method: tools/call\r\n"
    f"MCP-Name: {CALL['name']}\r\nContent-Length: {len(BODY)}\r\n\r\n"
).encode() + BODY


@contextmanager
def server(environment: Mapping[str, str]) -> Generator[tuple[int, int]]:
    """The port and the process id of one server, as an operator starts it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    factory = ["--factory", "neptun_mcp.remote:create_app", "--port", str(port), "--no-access-log"]
    command = [sys.executable, "-m", "uvicorn", *factory, "--log-level", "warning"]
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


async def client(port: int, until: float, times: list[float], errors: list[str]) -> None:
    """Call, one call after the other, on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (started := time.perf_counter()) < until:
        writer.write(REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        body = await reader.readexactly(int(length.split(b":")[1]))
        times.append(time.perf_counter() - started)
        if not head.startswith(b"HTTP/1.1 200") or b'"isError":false' not in body:
            errors.append((head.splitlines()[0] + b" " + body[:200]).decode())
    writer.close()


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
    arguments = parser.parse_args()
    with ExitStack() as stack:
        neptun = stack.enter_context(Neptun("--contract", "documented", "--delay", str(arguments.delay)))
        environment = {
            **neptun.settings,
            "NEPTUN_MAX_CONNECTIONS": str(arguments.connections),
            "NEPTUN_MCP_TOKEN": TOKEN,
            "NEPTUN_MCP_ALLOWED_HOSTS": HOST,
            "NEPTUN_MCP_STATE_KEY": "k" * 32,
        }
        servers = [stack.enter_context(server(environment)) for _ in range(SERVERS)]
        ports, processes = [port for port, _ in servers], [process for _, process in servers]
        rows = asyncio.run(load(ports, processes, arguments.clients, arguments.seconds))
        rows["most connections that Neptun saw"] = [str(neptun.peak_connections())]
    possible = SERVERS * arguments.connections / arguments.delay
    header = [f"{arguments.clients} clients, {arguments.seconds:g} s, {SERVERS} servers", "measured"]
    allowed = ["calls a second that the connections allow", number(possible)]
    print(table(header, [allowed, *([name, *values] for name, values in rows.items())]))
    print(f"\n{machine()}; {arguments.connections} connections a server, Neptun takes {arguments.delay * 1000:g} ms.")


if __name__ == "__main__":
    run(main)
