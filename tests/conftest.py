from __future__ import annotations

import gc
import io
import json
import logging
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from jsonschema import Draft202012Validator

from neptun_mcp.cli import main
from tests.processes import Command, Completed
from tests.support import CONTRACTS, ERAS, ContractName, Host, Site, start_site

# Compiled tests are kept, wherever else bytecode is not: with the asserts rewritten, compiling takes longer than all
# imports, in each process of pytest.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

hypothesis.settings.register_profile("same every time", deadline=None, derandomize=True, database=None, max_examples=50)
hypothesis.settings.register_profile("long", deadline=None, database=None, max_examples=10_000)
hypothesis.settings.load_profile("same every time")


def pytest_collection_finish() -> None:
    """What was imported and collected stays: looking for garbage among it would take a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def schemas_checked_once() -> Generator[None]:
    """The SDK's client checks a tool's output schema with its first result, which takes longer than the call. Here
    nearly each call has a client of its own, and the schemas are always the same."""
    check, sound = Draft202012Validator.check_schema, set[str]()

    def check_once(schema: dict[str, Any]) -> None:
        if (text := json.dumps(schema)) not in sound:
            check(schema)
            sound.add(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Draft202012Validator, "check_schema", check_once)
        yield


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, empty_home: Path) -> None:
    """Nothing of the machine's own environment, and no session that somebody has logged in to."""
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(empty_home))
    for name in [name for name in os.environ if name.startswith("NEPTUN_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("COLUMNS", raising=False)  # of a test runner


@pytest.fixture(scope="session")
def port() -> Iterator[Site]:
    with start_site() as site:
        yield site


@pytest.fixture
def site(port: Site) -> Site:
    """A fresh sandbox over a socket, which answers as the running server was observed to do."""
    port.sandbox()
    port.answers, port.turns = {}, {}
    port.requests, port.cookies = [], []
    return port


@pytest.fixture(params=CONTRACTS)
def contract(request: pytest.FixtureRequest) -> ContractName:
    return request.param


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def host(site: Site) -> Host:
    """The host of a person who cannot be asked, at the observed sandbox."""
    return Host(site)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Generator[Command]:
    """The command in this process, which is faster, without what it changes for the whole process."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys, "argv", ["neptun-mcp"])
    loggers = [logging.getLogger(name) for name in (None, "neptun_mcp", "mcp")]
    before = [(logger.level, logger.handlers[:]) for logger in loggers]

    def run(*arguments: str) -> Completed:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        shown = capsys.readouterr()
        return Completed(caught.value.code, shown.out, shown.err)

    interrupt, threshold = signal.getsignal(signal.SIGINT), gc.get_threshold()
    yield run
    signal.signal(signal.SIGINT, interrupt)
    gc.set_threshold(*threshold)
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
