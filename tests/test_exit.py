"""A process that ends leaves nothing on stderr, in every mode and however it ends.

How a server on pipes ends in the middle of calls is in `faults/test_cancellation`.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE

import anyio
import pytest

from neptun_mcp.sandbox import COOKIE
from tests.processes import COMMAND, Child, environment, start
from tests.serving.support import HeldNeptun
from tests.support import GREETING, Site, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="signals and broken pipes are those of POSIX"),
]

LISTED = ("call", "list_resources", "project_id=1", "resource_type=user-files")


def is_clean(stderr: str) -> bool:
    """Whether there is nothing but where MCP is, and what uvicorn says of itself."""
    return all(re.search(r" INFO (uvicorn\.|neptun_mcp\.serve: )", line) for line in stderr.splitlines())


# Signals, in the middle of the work


async def has_printed(child: Child, neptun: HeldNeptun) -> None:
    await child.first_line()


async def has_asked(child: Child, neptun: HeldNeptun) -> None:
    await until(lambda: neptun.held > 0)


async def serves(child: Child, neptun: HeldNeptun) -> None:
    await until(lambda: "Application startup complete" in child.stderr())


@dataclass(frozen=True)
class Mode:
    """A way to run the command.

    Attributes:
        at_work: waits until it is in the middle of its work.
    """

    arguments: tuple[str, ...]
    at_work: Callable[[Child, HeldNeptun], Awaitable[None]]


HTTP = Mode(("serve", "--http", "--port", "0"), serves)
SIGNALS = [
    (HTTP, signal.SIGINT),
    (Mode(LISTED, has_asked), signal.SIGINT),
    # Handled by the web server alone: elsewhere it does what it does to any program.
    pytest.param(HTTP, signal.SIGTERM, marks=pytest.mark.slow),
    # The same as `call`, with other work and more processes.
    pytest.param(Mode(("sandbox", "--port", "0"), has_printed), signal.SIGINT, marks=pytest.mark.slow),
    pytest.param(Mode(("demo",), has_printed), signal.SIGINT, marks=pytest.mark.slow),
    pytest.param(Mode(("doctor",), has_asked), signal.SIGINT, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("mode", "number"), SIGNALS, ids=lambda it: getattr(it, "name", "") or it.arguments[0])
async def test_a_signal_ends_every_mode_quietly(site: Site, tmp_path: Path, mode: Mode, number: signal.Signals) -> None:
    neptun = HeldNeptun(site, "/check" if mode.arguments == ("doctor",) else "/user-files")
    env = environment(base_url=site.url, session_cookie=COOKIE)
    async with start(tmp_path / "stderr", *COMMAND, *mode.arguments, env=env, stdout=PIPE) as child:
        await mode.at_work(child, neptun)
        child.process.send_signal(number)
        assert await child.exit_code() == (130 if number is signal.SIGINT else -number)
        assert is_clean(child.stderr())
    neptun.released = True


# Nobody reads


@pytest.mark.parametrize(
    "arguments",
    [
        (*LISTED, "--sandbox"),
        pytest.param(("whoami", "--sandbox"), marks=pytest.mark.slow),
        pytest.param(("sandbox", "--port", "0"), marks=pytest.mark.slow),
        pytest.param(("demo",), marks=pytest.mark.slow),
        pytest.param(("doctor", "--sandbox"), marks=pytest.mark.slow),
    ],
)
async def test_a_reader_that_is_gone_is_no_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    async with start(tmp_path / "stderr", *COMMAND, *arguments, env=environment(), stdout=writer) as child:
        os.close(writer)
        await child.exit_code()
        assert child.stderr() == ""


# A host that uses a socket in place of pipes


async def test_a_host_that_closes_its_socket_with_an_answer_unread_ends_the_server(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    end = theirs.fileno()
    async with start(tmp_path / "stderr", *COMMAND, "--sandbox", env=environment(), stdin=end, stdout=end) as child:
        theirs.close()
        ours.sendall(f"{GREETING}\n".encode())
        await anyio.wait_readable(ours)
        ours.close()
        assert await child.exit_code() == 0
        assert child.stderr() == ""
