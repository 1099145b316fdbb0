"""What the benchmarks share: the servers compared, the stub in its process, a client, tokens, tables.

Everything runs on this machine: each server is a child process that speaks MCP on its pipes and reaches a
stub Neptun on 127.0.0.1. The client is blocking and does nothing but write lines and read lines, so that its
own cost does not hide the server's. Memory is read from /proc, so this needs Linux.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import math
import os
import platform
import select
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent

PROTOCOL_VERSION = "2025-11-25"
ANSWER_TIMEOUT = 120.0
"""Seconds to wait for bytes of an answer before a benchmark gives up."""
COOKIE = f"Fe26.2*1*{'0123456789abcdef' * 4}*{'SmVwdHVu' * 3}*{'c2Vzc2lvbg' * 12}**{'fedcba98' * 8}*{'U2VhbGVk' * 5}"
"""A session of the form and length that Neptun seals."""

PIPE_SIZE = 1 << 20
"""Bytes a pipe holds: 500 calls fit, so that writing them at once never waits for the server."""
MAX_COUNTED = 500_000
"""Characters of a text whose tokens are counted."""

OURS, FLOOR, PEER, BARE = "ours", "floor", "peer", "SDK"

Json = dict[str, Any]
Values = dict[str, float]
"""What one run of one measurement found, by the key of its row."""


class BenchmarkError(Exception):
    """A server or the stub did not do what a benchmark needs; the message says which and what."""


# The servers compared


@dataclass(frozen=True)
class Server:
    """An MCP server on stdio, and how its tools are called.

    `tools` maps our tool names to its own; `arguments` go along with every call.
    """

    name: str
    command: Sequence[str]
    tools: Mapping[str, str] = field(default_factory=dict[str, str])
    arguments: Mapping[str, object] = field(default_factory=dict[str, object])

    def request(self, tool: str, arguments: Mapping[str, object]) -> Json:
        """The `params` of a tools/call."""
        return {"name": self.tools.get(tool, tool), "arguments": {**self.arguments, **arguments}}


ServerT = TypeVar("ServerT", bound=Server)


def our_server(command: str | None) -> Server | None:
    """Our server as it is in this checkout, or by another command; None where it is not installed."""
    if command is not None:
        return Server(OURS, shlex.split(command))
    try:
        distribution("neptun-mcp")
    except PackageNotFoundError:
        return None
    return Server(OURS, [sys.executable, "-m", "neptun_mcp"])


def floor_server() -> Server:
    """The floor; ends the program where its HTTP client is not installed."""
    if find_spec("httpx") is None:
        raise BenchmarkError("The floor needs httpx, which is not installed: pip install httpx")
    return Server(FLOOR, [sys.executable, str(HERE / "floor.py")])


def peer_server() -> Server | None:
    """The peer, or None where FastMCP is not installed."""
    if find_spec("fastmcp") is None:
        return None
    names = {
        "list_imports": "listProjectImports",
        "list_resources": "listProjectResources",
        "delete_import": "deleteProjectImport",
    }
    return Server(PEER, [sys.executable, str(HERE / "peer.py")], names, {"user_id": 1})


def bare_server() -> Server:
    """The SDK with nothing behind it."""
    return Server(BARE, [sys.executable, str(HERE / "bare.py")])


def find_servers(arguments: argparse.Namespace) -> tuple[list[Server], list[str]]:
    """The servers asked for that can run here, ours first, and a note on each that cannot."""
    found: dict[str, Callable[[], Server | None]] = {
        OURS: lambda: our_server(arguments.ours),
        FLOOR: floor_server,
        PEER: peer_server,
        BARE: bare_server,
    }
    missing = {
        OURS: "ours was skipped: neptun-mcp is not installed (pip install -e .)",
        PEER: "peer was skipped: fastmcp is not installed (pip install fastmcp)",
    }
    servers: list[Server] = []
    notes: list[str] = []
    for name in arguments.servers:
        server = found[name]()
        if server is None:
            notes.append(missing[name])
        else:
            servers.append(server)
    return servers, notes


# Processes


def child_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """A child's environment: this one's without what would lead its traffic elsewhere or slow its imports."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("NEPTUN_", "PYTHONDONTWRITE")) and not name.lower().endswith("_proxy")
    }
    return {**kept, **settings}


def memory(process_id: int, which: Literal["VmRSS", "VmHWM"]) -> float:
    """Resident memory of a process in MB (2**20 bytes): now (VmRSS), or its highest so far (VmHWM)."""
    status = Path(f"/proc/{process_id}/status").read_text()
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith(which))
    return int(kibibytes) / 1024


def cpu_seconds(process_id: int) -> float:
    """How long a process has kept a processor busy, the kernel's work for it included."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Process:
    """A child process with pipes; killed when its `with` block ends, however it ends."""

    def __init__(self, name: str, command: Sequence[str], settings: Mapping[str, str]) -> None:
        self.name = name
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
            pipesize=PIPE_SIZE,
            cwd=ROOT,
            env=child_environment(settings),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin = self._process.stdin.fileno()
        self._stdout = self._process.stdout.fileno()
        self._rest = b""

    def write(self, content: bytes) -> None:
        """Write to the child's stdin."""
        view = memoryview(content)
        while view:
            view = view[os.write(self._stdin, view) :]

    def read_lines(self, count: int) -> tuple[list[bytes], float]:
        """The next `count` lines of the child's stdout, and when the last one was there (perf_counter)."""
        parts = [self._rest]
        missing = count - self._rest.count(b"\n")
        while missing > 0:
            parts.append(self._read())
            missing -= parts[-1].count(b"\n")
        arrived = time.perf_counter()
        *lines, self._rest = b"".join(parts).split(b"\n", count)
        return lines, arrived

    def _read(self) -> bytes:
        """What the child's stdout has now; waits for it."""
        ready, _, _ = select.select([self._stdout], [], [], ANSWER_TIMEOUT)
        content = os.read(self._stdout, PIPE_SIZE) if ready else b""
        if not content:
            what = "ended" if ready else f"did not answer within {ANSWER_TIMEOUT:.0f} s"
            raise BenchmarkError(f"{self.name} {what}; its stderr ends with:\n{self._last_words()}")
        return content

    def _last_words(self) -> str:
        """The end of the child's stderr."""
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - 2000))
        return self._stderr.read().decode(errors="replace")

    @property
    def process_id(self) -> int:
        """The child's."""
        return self._process.pid

    def memory(self, which: Literal["VmRSS", "VmHWM"]) -> float:
        """Resident memory of the child, see `memory`."""
        return memory(self._process.pid, which)

    def close(self) -> None:
        """Kill the child and free what belongs to it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream is not None:
                stream.close()


class Neptun(Process):
    """The stub Neptun (`stub.py`) with its options, in a process of its own; ends with this program."""

    def __init__(self, *options: str) -> None:
        super().__init__("stub", [sys.executable, str(HERE / "stub.py"), "--until-eof", *options], {})
        try:
            lines, _ = self.read_lines(1)
        except BaseException:
            self.close()
            raise
        self.port = int(lines[0])

    def __enter__(self) -> Neptun:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def settings(self) -> dict[str, str]:
        """The environment by which a server finds this stub."""
        return {
            "NEPTUN_BASE_URL": f"http://127.0.0.1:{self.port}",
            "NEPTUN_SESSION_COOKIE": COOKIE,
            "NEPTUN_USER_ID": "1",
        }

    def fetch(self, target: str, method: str = "GET") -> bytes:
        """The body of one plain request; the stub also prepares that answer by it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_TIMEOUT)
        try:
            connection.request(method, target)
            return connection.getresponse().read()
        finally:
            connection.close()

    def stats(self) -> dict[str, int]:
        """The stub's counts since the last call of this: `requests`, `open` and `peak` connections."""
        counts = json.loads(self.fetch("/stats"))
        self.fetch("/stats", "DELETE")
        return counts


class Reply(NamedTuple):
    """One answer of a server: the line as it came, and the seconds from the request to its last byte."""

    line: bytes
    seconds: float

    @property
    def result(self) -> Json:
        """The JSON-RPC result."""
        return json.loads(self.line)["result"]

    @property
    def text(self) -> str:
        """What an assistant reads: the text blocks of a tool's result."""
        return "\n".join(block["text"] for block in self.result["content"] if block["type"] == "text")


class Session:
    """A fresh MCP server process, initialized and asked for its tools, in a `with` block.

    `startup` is the seconds from the start of the process to the answer of the first tools/list.
    """

    def __init__(self, server: Server, neptun: Neptun) -> None:
        self.server = server
        self._neptun = neptun
        self._last_id = 0

    def __enter__(self) -> Session:
        started = time.perf_counter()
        self._process = Process(self.server.name, self.server.command, self._neptun.settings)
        try:
            self.tools = self._handshake()
        except BaseException:
            self._process.close()
            raise
        self.startup = time.perf_counter() - started
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()

    def _handshake(self) -> list[Json]:
        """Initialize the session; the tools."""
        client = {"name": "benchmark", "version": "1"}
        hello = {"protocolVersion": PROTOCOL_VERSION, "capabilities": {}, "clientInfo": client}
        self._ask("initialize", hello)
        self._process.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
        return self._ask("tools/list", {}).result["tools"]

    def call(self, tool: str, **arguments: object) -> Reply:
        """Call a tool, by our name for it, and wait for its result."""
        return self._ask("tools/call", self.server.request(tool, arguments))

    def calls_at_once(self, count: int, tool: str, **arguments: object) -> float:
        """Seconds from sending `count` equal calls at once to the last of their results."""
        parameters = self.server.request(tool, arguments)
        content = b"".join(self._request("tools/call", parameters) for _ in range(count))
        started = time.perf_counter()
        self._process.write(content)
        return self._replies(count)[1] - started

    def memory(self, which: Literal["VmRSS", "VmHWM"]) -> float:
        """Resident memory of the server, see `memory`."""
        return self._process.memory(which)

    def _ask(self, method: str, parameters: Json) -> Reply:
        """Send one request and wait for its answer."""
        content = self._request(method, parameters)
        started = time.perf_counter()
        self._process.write(content)
        (line,), arrived = self._replies(1)
        return Reply(line, arrived - started)

    def _request(self, method: str, parameters: Json) -> bytes:
        """A JSON-RPC request with the next id, as a line."""
        self._last_id += 1
        message = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": parameters}
        return json.dumps(message).encode() + b"\n"

    def _replies(self, count: int) -> tuple[list[bytes], float]:
        """The next `count` answers, and when the last was there; notifications between them are left out."""
        replies: list[bytes] = []
        arrived = 0.0
        while len(replies) < count:
            lines, arrived = self._process.read_lines(count - len(replies))
            replies += [line for line in lines if b'"method":' not in line[:120]]
        for line in replies:
            # Inside a text, quotes are escaped: these bytes are only there where a call failed.
            if b'"isError":true' in line or b'"error":{' in line[:120]:
                raise BenchmarkError(f"{self.server.name} answered with an error: {line[:2000].decode()}")
        return replies, arrived


# Rounds


def in_turns(
    rounds: int, servers: Sequence[ServerT], measurements: Mapping[str, Callable[[ServerT], Values]]
) -> dict[str, dict[str, list[Values]]]:
    """Run every measurement in every round on each server in turn.

    Returns by measurement and server one sample a round. Taking turns lets whatever else this machine does
    fall on all servers alike.
    """
    samples: dict[str, dict[str, list[Values]]] = {
        name: {server.name: [] for server in servers} for name in measurements
    }
    for number in range(rounds):
        for name, measure in measurements.items():
            for server in servers:
                print(f"round {number + 1}/{rounds}: {name}, {server.name}", file=sys.stderr)
                samples[name][server.name].append(measure(server))
    return samples


def median_of(samples: Sequence[Values], key: str) -> float | None:
    """The median of one value over the rounds; None where it was not measured."""
    values = [sample[key] for sample in samples if key in sample]
    return statistics.median(values) if values else None


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


# Tokens


def _characters(text: str) -> float:
    """Tokens as they are in JSON on average: a rule of thumb."""
    return len(text) / 3.5


def _vocabulary_is_cached() -> bool:
    """Whether tiktoken has o200k on disk, where it looks before it would download it."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    source = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
    name = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return (Path(folder or Path(tempfile.gettempdir()) / "data-gym-cache") / name).exists()


@cache
def tokenizer() -> tuple[str, Callable[[str], float]]:
    """How tokens are counted here (o200k where a vocabulary is installed), and the function that counts."""
    if find_spec("tiktoken") is not None and _vocabulary_is_cached():
        tiktoken: Any = import_module("tiktoken")
        encoding = tiktoken.get_encoding("o200k_base")
        return "o200k (tiktoken)", lambda text: len(encoding.encode_ordinary(text))
    if find_spec("bpe_openai") is not None:
        bpe_openai: Any = import_module("bpe_openai")
        encoding = bpe_openai.get_encoding("o200k_base")
        return "o200k (bpe-openai)", lambda text: len(encoding.encode(text))
    return "characters / 3.5", _characters


def count_tokens(text: str) -> int:
    """Tokens of a text; beyond MAX_COUNTED characters extrapolated from that many, to keep it quick."""
    counted = text[:MAX_COUNTED]
    return round(tokenizer()[1](counted) * len(text) / max(1, len(counted)))


# The command line and what is printed


def options(
    description: str | None, names: Iterable[str], rounds: int, all_servers: Sequence[str] = (OURS, FLOOR, PEER)
) -> argparse.ArgumentParser:
    """The options that every benchmark has; `names` are what `--only` chooses from."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds, help=f"how often each is run ({rounds})")
    parser.add_argument("--only", action="append", choices=list(names), help="this one (may be repeated)")
    parser.add_argument("--servers", nargs="+", choices=all_servers, default=all_servers, metavar="SERVER")
    parser.add_argument("--ours", metavar="COMMAND", help="another command for our server")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every sample to this file")
    return parser


def number(value: float | None) -> str:
    """A number with three significant digits, or with its thousands separated; a dash for None."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left and the others to the right."""
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> str:
    """This machine, in a line."""
    python = f"Python {platform.python_version()}"
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {python}"


def _exit(signal_number: int, _: object) -> None:
    """Turn a signal into an exception."""
    sys.exit(128 + signal_number)


def run(main: Callable[[], None]) -> None:
    """Run a benchmark's main function; its failure is one message and exit code 1.

    A SIGTERM ends it as Ctrl-C does, by an exception, so that the children are killed.
    """
    signal.signal(signal.SIGTERM, _exit)
    try:
        main()
    except BenchmarkError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
