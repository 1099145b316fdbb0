from __future__ import annotations

import os
import random
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack

import pytest

from tests.support import CONTRACTS, PATIENCE

from .neptun import FaultyNeptun, Rig, open_tools, start_neptun


def next_to_nothing(low: float, high: float) -> float:
    return low / 50


@pytest.fixture(scope="session", autouse=True)
def same_everywhere() -> Generator[None]:
    """No setting, proxy or certificate of this machine has a say, not even in fixtures that outlive a test; and the
    pauses before a request is sent again, which are drawn by lot, are next to nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "uniform", next_to_nothing)
        for name in list(os.environ):
            if name.startswith(("NEPTUN_", "SSL_CERT_")) or name.lower().endswith("_proxy"):
                patch.delenv(name)
        yield


@pytest.fixture
async def neptun(anyio_backend: str) -> AsyncGenerator[FaultyNeptun]:
    """A fresh one, as documented: its imports come in one list, which makes counting easier."""
    async with start_neptun() as neptun:
        yield neptun.has_one_project()


@pytest.fixture(scope="session")
async def rigs(anyio_backend: str, same_everywhere: None) -> AsyncGenerator[dict[str, Rig]]:
    """For each contract a server that outlives every fault of its Neptun."""
    async with AsyncExitStack() as stack:
        found: dict[str, Rig] = {}
        for contract in CONTRACTS:
            neptun = (await stack.enter_async_context(start_neptun(contract))).has_one_project()
            settings = neptun.settings(user_id=1, timeout=PATIENCE, max_response_mb=1)
            tools = await stack.enter_async_context(open_tools(settings))
            found[contract] = Rig(neptun, tools)
        yield found


@pytest.fixture(params=CONTRACTS)
def rig(request: pytest.FixtureRequest, rigs: dict[str, Rig]) -> Rig:
    """Healthy at the start, of either contract."""
    rigs[request.param].neptun.heal()
    return rigs[request.param]


@pytest.fixture
def observed(rigs: dict[str, Rig]) -> Rig:
    rigs["observed"].neptun.heal()
    return rigs["observed"]


@pytest.fixture
def documented(rigs: dict[str, Rig]) -> Rig:
    """Its imports come in one list, which makes counting easier."""
    rigs["documented"].neptun.heal()
    return rigs["documented"]
