"""How many requests of one caller are processed at the same time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio

from .refusals import refused

MAX_WAITING = 256
"""Requests of one caller that may wait for a turn, or for the person; one more is answered with 429."""


class Turn:
    """The turn of one request. It may end before the request does, and begin again.

    Attributes:
        call: what the request has begun in a session, as long as it lasts; cancelled when the request is over.
        queued: for how many seconds it has waited for turns.
        waited: for how many seconds the person was asked, in all.
    """

    def __init__(self, limiter: anyio.CapacityLimiter) -> None:
        self._limiter = limiter
        self._begun = False
        self.call: anyio.CancelScope | None = None
        self.queued = 0.0
        self.waited = 0.0

    async def begin(self) -> None:
        started = anyio.current_time()
        await self._limiter.acquire_on_behalf_of(self)
        self.queued += anyio.current_time() - started
        self._begun = True

    def end(self) -> None:
        if self._begun:
            self._begun = False
            self._limiter.release_on_behalf_of(self)


@dataclass
class _Line:
    """The requests of one caller in flight, and the limit to their turns."""

    limiter: anyio.CapacityLimiter
    requests: int = 0


class Turns:
    """Turns of callers: `at_once` for each."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._lines = defaultdict[Any, _Line](lambda: _Line(anyio.CapacityLimiter(at_once)))

    @asynccontextmanager
    async def take(self, key: Any) -> AsyncGenerator[Turn]:
        """Wait for a turn, which lasts as long as the block unless it is ended before.

        Raises:
            Refused: too many requests of this caller wait.
        """
        line = self._lines[key]
        if line.requests >= self._at_once + MAX_WAITING:
            raise refused(429, "Too many requests at once. Try again in a second.", {"Retry-After": "1"})
        turn = Turn(line.limiter)
        line.requests += 1
        try:
            await turn.begin()
            yield turn
        finally:
            if turn.call:
                turn.call.cancel()
            turn.end()
            line.requests -= 1
            if not line.requests:
                del self._lines[key]
