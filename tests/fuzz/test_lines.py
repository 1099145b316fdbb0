"""Whatever a line on stdin holds: a request gets one answer, nothing else gets any, and the process lives on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator
from pathlib import Path
from queue import Queue
from subprocess import PIPE
from threading import Thread
from typing import Any, TypeAlias, cast

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, given, settings

from neptun_mcp.tools import create_tools
from tests.processes import COMMAND, environment
from tests.support import HELLO, PATIENCE, Json

META: Json = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
LIST: Json = {"name": "list_imports", "arguments": {"project_id": 1}}


class LineServer:
    """A process of ours, to which a line is sent at a time."""

    def __init__(self, era: str, errors: Path) -> None:
        with errors.open("wb") as stderr:
            command = [*COMMAND, "--sandbox"]
            self._process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=stderr, env=environment())
        self._received = Queue[Json]()
        self._meta: Json = {"_meta": META} if era == "2026-07-28" else {}
        self._pings = 0
        self._receiver = Thread(target=self._receive, daemon=True)
        self._receiver.start()
        if not self._meta:
            self.send({"id": 0, "method": "initialize", "params": HELLO})
            self._received.get(timeout=PATIENCE)
        assert "result" in self.call(LIST)

    def _receive(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._received.put(json.loads(line))

    def send_line(self, line: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()

    def send(self, message: Json) -> None:
        self.send_line(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def call(self, params: Json) -> Json:
        self.send({"id": "call", "method": "tools/call", "params": {**params, **self._meta}})
        return self._received.get(timeout=PATIENCE)

    def answers_to(self, line: bytes, owed: int) -> list[Json]:
        """What comes back before a ping that was sent behind the line, and at least what is owed."""
        self._pings += 1
        ping = f"ping {self._pings}"
        self.send_line(line)
        self.send({"id": ping, "method": "ping", "params": self._meta})
        answers: list[Json] = []
        answered = False
        while not answered or len(answers) < owed:
            answer = self._received.get(timeout=PATIENCE)
            answered = answered or answer["id"] == ping
            if answer["id"] != ping:
                answers.append(answer)
        return answers

    def end(self) -> int:
        """The exit code, after the end of stdin."""
        assert self._process.stdin
        self._process.stdin.close()
        code = self._process.wait(PATIENCE)
        self._receiver.join(PATIENCE)
        assert self._process.stdout
        self._process.stdout.close()
        return code


@pytest.fixture(scope="module", params=[pytest.param("2025-11-25", marks=pytest.mark.slow), "2026-07-28"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[LineServer]:
    errors = tmp_path_factory.mktemp("fuzz") / "stderr"
    server = LineServer(request.param, errors)
    yield server
    assert "result" in server.call(LIST)
    assert server.end() == 0
    assert "Traceback" not in errors.read_text("utf-8")


# Lines

CHARACTERS = st.characters(exclude_characters="\n") | st.sampled_from('\ud800\udfff\u2028\ufeff\x85"\\')
TEXTS: st.SearchStrategy[str] = st.text(CHARACTERS, max_size=8)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
# Not prompts/get: the SDK logs a traceback for a prompt that it does not know.
METHODS: st.SearchStrategy[str] = st.sampled_from(
    [
        *("ping", "tools/list", "tools/call", "initialize", "server/discover", "resources/read", "prompts/list"),
        *("notifications/initialized", "notifications/cancelled", "logging/setLevel", "completion/complete", "no/such"),
    ]
)
CALLS: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"name": st.sampled_from([tool.name for tool in create_tools()]) | TEXTS},
    optional={"arguments": st.dictionaries(st.sampled_from(["project_id", "import_id", "query"]) | TEXTS, VALUES)},
)


def enveloped(params: Json) -> Json:
    return {**params, "_meta": META}


PARAMS: st.SearchStrategy[Any] = CALLS | st.builds(enveloped, CALLS) | VALUES
MESSAGES: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | st.just("2.0") | VALUES,
        "id": st.integers() | TEXTS | VALUES,
        "method": METHODS | METHODS | VALUES,
        "params": PARAMS,
        "result": VALUES,
        "error": VALUES | st.fixed_dictionaries({"code": st.integers(), "message": TEXTS}),
    },
)
REQUESTS: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "id": st.integers() | TEXTS, "method": METHODS}, optional={"params": PARAMS}
)


def written(message: Any, ascii_only: bool) -> bytes:
    return json.dumps(message, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


Cut: TypeAlias = tuple[int, int, bytes]


def mutated(line: bytes, cuts: list[Cut]) -> bytes:
    """A line in which some stretches are replaced by something else."""
    for start, length, replacement in cuts:
        start %= len(line) + 1
        line = line[:start] + replacement + line[start + length :]
    return line.replace(b"\n", b" ")


PIECES = st.binary(max_size=4) | st.sampled_from(
    [b"{", b"}", b"[" * 300, b'"', b"\\", b"\\ud800", b'"id":', b"\xef\xbb\xbf"]
)
CUTS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 4), PIECES), min_size=1, max_size=3)
SOUND = st.builds(written, REQUESTS | MESSAGES | VALUES, st.booleans())
LINES = st.one_of(SOUND, st.builds(mutated, SOUND, CUTS), st.binary(max_size=30).map(lambda line: mutated(line, [])))


def owed(line: bytes) -> tuple[int, Any]:
    """How many answers a line gets, and with which id, as far as that is certain: `...` is any."""
    text = line.decode(errors="replace").removeprefix("\ufeff").strip()
    if not text:
        return 0, None
    try:
        message: Any = json.loads(text)
    except (ValueError, RecursionError):
        return 0, ...
    if not isinstance(message, dict):
        return 1, None
    message = cast("Json", message)
    if "method" not in message and not message.keys().isdisjoint(("result", "error")):
        return 0, None
    if "id" not in message:
        return int("method" not in message), None
    id: Any = message["id"]
    if isinstance(id, str):
        return 1, "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in id)
    return 1, id if isinstance(id, int) and not isinstance(id, bool) else None


@settings(phases=[Phase.generate])  # lines are short, and a missing answer takes PATIENCE to notice
@given(line=LINES)
def test_a_request_gets_one_answer_and_nothing_else_gets_any(server: LineServer, line: bytes) -> None:
    count, id = owed(line)
    answers = server.answers_to(line, count)
    if id is ...:  # no JSON: refused, unless it is recognised as an answer or a notification
        assert len(answers) <= 1
    else:
        assert [answer["id"] for answer in answers] == [id] * count
    assert all(answer.keys() == {"jsonrpc", "id", "result"} or "code" in answer["error"] for answer in answers)
