"""Calls are cancelled, the client disconnects or is killed, the server is stopped. Nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from subprocess import PIPE

import anyio
import pytest

from tests.processes import environment
from tests.support import ERAS, HELLO, PATIENCE, WEBSHOP, content_of, until

from .neptun import IMPORT, LOG_IN, PLACES, FaultyNeptun, Place, open_tools, start_server
from .server import Exchange, answer, to_json

pytestmark = pytest.mark.anyio

ONE_FILE = {"project_id": WEBSHOP, "resource_type": "user-files", "resource_id": 1}


class Hold:
    """An action that answers nothing, and sees when the client has given up."""

    def __init__(self, count: int = 1) -> None:
        self._arriving = self._leaving = count
        self.arrived, self.left = anyio.Event(), anyio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        self._arriving -= 1
        if not self._arriving:
            self.arrived.set()
        await exchange.gone()
        self._leaving -= 1
        if not self._leaving:
            self.left.set()


async def happened(event: anyio.Event) -> None:
    with anyio.fail_after(PATIENCE):
        await event.wait()


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.word)
async def test_a_cancelled_call_ends_its_request(neptun: FaultyNeptun, place: Place, era: str) -> None:
    settings = LOG_IN if place is Place.LOGIN else {}
    async with open_tools(neptun.settings(**settings), era=era) as tools:
        if place not in (Place.SESSION, Place.LOGIN):
            content_of(await tools.list_imports())
        tasks_before = len(asyncio.all_tasks())
        hold = Hold()
        neptun.break_at(place, hold, times=1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tools.ask_for, place)
            await happened(hold.arrived)
            tasks.cancel_scope.cancel()
        await happened(hold.left)
        assert neptun.holds(IMPORT)
        content_of(await tools.ask_for(place))
        # Neptun is in this process too, with a task for each connection.
        await until(lambda: len(asyncio.all_tasks()) <= tasks_before + neptun.server.open)


async def test_a_cancelled_call_is_not_answered(neptun: FaultyNeptun, tmp_path: Path) -> None:
    hold = Hold()
    neptun.break_at(Place.FILES, hold, times=1)
    async with start_server(neptun, tmp_path / "stderr") as server:
        await server.initialize()
        call = await server.call_files()
        await happened(hold.arrived)
        threads = server.threads()
        await server.send({"method": "notifications/cancelled", "params": {"requestId": call}})
        await happened(hold.left)
        next_call = await server.call_files()
        assert (await server.message())["id"] == next_call
        assert server.threads() == threads
        await server.hang_up()
        assert await server.exit_code() == 0
        assert server.stderr() == ""


async def test_after_the_end_of_stdin_requests_end_when_their_calls_time_out(
    neptun: FaultyNeptun, tmp_path: Path
) -> None:
    hold = Hold(10)
    neptun.break_at(Place.FILES, hold)
    async with start_server(neptun, tmp_path / "stderr", timeout="1") as server:
        await server.initialize()
        for _ in range(50):
            await server.call_files()
        await happened(hold.arrived)
        await server.hang_up()
        await happened(hold.left)
        assert await server.exit_code() == 0
        assert all(json.loads(line)["result"]["isError"] for line in (await server.rest()).splitlines())
        assert server.stderr() == ""
    with anyio.fail_after(PATIENCE):
        await neptun.server.all_closed()


async def test_answers_wait_for_a_client_that_is_slow_to_read(neptun: FaultyNeptun, tmp_path: Path) -> None:
    # Far more than a pipe and the client's own buffer hold.
    neptun.break_at(Place.FILE, answer(200, to_json({"id": 1, "title": "long", "text": "x" * 15_000})))
    async with start_server(neptun, tmp_path / "stderr") as server:
        await server.initialize()
        calls = {await server.call("list_resources", **ONE_FILE) for _ in range(20)}
        await until(lambda: len(neptun.asked_for(Place.FILE)) == 20)
        answers = [await server.message() for _ in range(20)]
        assert {answer["id"] for answer in answers} == calls
        for message in answers:
            assert message["result"]["structuredContent"]["resources"][0]["text"] == "x" * 15_000
        await server.hang_up()
        assert await server.exit_code() == 0
        assert server.stderr() == ""


async def test_an_answer_that_nobody_reads_causes_no_traceback(neptun: FaultyNeptun, tmp_path: Path) -> None:
    async with start_server(neptun, tmp_path / "stderr", timeout="1") as server:
        await server.initialize()
        server.stop_reading()
        await server.call_files()
        await until(lambda: bool(neptun.asked_for(Place.FILES)))
        await anyio.sleep(0.2)  # so that it comes to the writing; nothing depends on it
        hold = Hold()
        neptun.break_at(Place.FILES, hold)
        await server.call_files()
        await happened(hold.arrived)
        await server.hang_up()
        assert await server.exit_code() == 0
        assert server.stderr() == ""


PARENT = """
import json, subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "neptun_mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(child.pid, flush=True)
for line in sys.stdin:
    child.stdin.write(line.encode())
    child.stdin.flush()
    if '"id"' in line and "call" not in line:
        child.stdout.readline()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_client_that_is_killed_takes_the_server_with_it(neptun: FaultyNeptun) -> None:
    hold = Hold()
    neptun.break_at(Place.FILES, hold)
    arguments = {"name": "list_resources", "arguments": {"project_id": 1, "resource_type": "user-files"}}
    messages = [
        {"id": 1, "method": "initialize", "params": HELLO},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": arguments},
    ]
    parent = await anyio.open_process(
        [sys.executable, "-c", PARENT], stdin=PIPE, stdout=PIPE, env=environment(**neptun.variables, timeout="3")
    )
    async with parent:
        assert parent.stdin
        assert parent.stdout
        server = int(await parent.stdout.receive())
        for message in messages:
            await parent.stdin.send(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        await happened(hold.arrived)
        parent.kill()
        await happened(hold.left)
        await until(lambda: not is_running(server))


def is_running(process_id: int) -> bool:
    """Whether there is such a process, and not only its exit code, which nobody may come for."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
async def test_a_signal_ends_the_server(neptun: FaultyNeptun, tmp_path: Path, number: signal.Signals) -> None:
    """As a process ends that knows nothing of signals: a shell sees 130 and 143."""
    hold = Hold()
    neptun.break_at(Place.FILES, hold)
    async with start_server(neptun, tmp_path / "stderr") as server:
        await server.initialize()
        await server.call_files()
        await happened(hold.arrived)
        server.process.send_signal(number)
        assert await server.exit_code() == -number
        assert server.stderr() == ""
    await happened(hold.left)
