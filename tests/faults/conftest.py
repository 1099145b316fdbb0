from __future__ import annotations

import os
import random
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack

import pytest

from tests.support import CONTRACTS

from .neptun import World, caller, neptun


@pytest.fixture(scope="session", autouse=True)
def same_everywhere() -> Generator[None]:
    """No setting, proxy or certificate of this machine has a say, not even in fixtures that outlive a test; and of
    the pauses before a request is sent again, which are drawn by lot, each is the shortest one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random, "uniform", min)
        for name in list(os.environ):
            if name.startswith(("NEPTUN_", "SSL_CERT_")) or name.lower().endswith("_proxy"):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
async def worlds(anyio_backend: str, same_everywhere: None) -> AsyncGenerator[dict[str, World]]:
    """For each contract a server that outlives every fault of its Neptun."""
    async with AsyncExitStack() as stack:
        found: dict[str, World] = {}
        for contract in CONTRACTS:
            one = (await stack.enter_async_context(neptun(contract))).has_one_project()
            client = await stack.enter_async_context(caller(one.settings(user_id=1, timeout=5, max_response_mb=1)))
            found[contract] = World(one, client)
        yield found


@pytest.fixture(params=CONTRACTS)
def world(request: pytest.FixtureRequest, worlds: dict[str, World]) -> World:
    """Healthy at the start, of either contract."""
    worlds[request.param].neptun.heal()
    return worlds[request.param]


@pytest.fixture
def observed(worlds: dict[str, World]) -> World:
    worlds["observed"].neptun.heal()
    return worlds["observed"]


@pytest.fixture
def documented(worlds: dict[str, World]) -> World:
    """Its imports come in one list, which makes counting easier."""
    worlds["documented"].neptun.heal()
    return worlds["documented"]
