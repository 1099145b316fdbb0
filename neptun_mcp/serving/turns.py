"""How many requests of one person are carried out at the same time, and how many may wait."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from starlette.types import Receive

from .refusals import Refused, refused

MAX_WAITING = 32
"""Requests of one person that may wait at the same time: for a turn, for the person to answer, for the peer to read."""

MAX_IN_FLIGHT = 512
"""Requests in a process, beyond which none waits."""


class Disconnected(Exception):
    """The peer is gone."""


class Turn:
    """The turn of one request. It may end before the request does, and begin again.

    Attributes:
        call: what the request has begun in a session, as long as it lasts; cancelled when the request is over.
        queued: for how many seconds it has waited for turns.
        waited: for how many seconds the person was asked, in all.
    """

    def __init__(self, turns: Turns, line: _Line, receive: Receive) -> None:
        self._turns = turns
        self._limiter = line.limiter
        self._receive = receive
        self._begun = False
        self.call: anyio.CancelScope | None = None
        self.queued = 0.0
        self.waited = 0.0

    async def begin(self) -> None:
        """Wait for the turn.

        Raises:
            Refused: it takes too long, or too much waits already.
            Disconnected: the peer is gone.
        """
        try:
            self._limiter.acquire_on_behalf_of_nowait(self)
        except anyio.WouldBlock:
            if self._turns.is_nearly_full:
                raise _too_busy("the server has too much to do") from None
            await self._wait()
        self._begun = True

    async def _wait(self) -> None:
        started = anyio.current_time()
        limit = anyio.CancelScope(deadline=started + self._turns.seconds - self.queued)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_if_disconnected, self._receive, tasks.cancel_scope)
                with limit:
                    await self._limiter.acquire_on_behalf_of(self)
                    self._begun = True
                tasks.cancel_scope.cancel()
        finally:
            self.queued += anyio.current_time() - started
        if limit.cancelled_caught:
            raise _too_busy(f"it waited {self.queued:.0f} seconds for its turn")
        if not self._begun:
            raise Disconnected

    def end(self) -> None:
        if self._begun:
            self._begun = False
            self._limiter.release_on_behalf_of(self)


async def _cancel_if_disconnected(receive: Receive, wait: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    wait.cancel()


def _too_busy(why: str) -> Refused:
    """A refusal of what cannot be carried out now."""
    words = f"This request was not carried out: {why}. Try again in a few seconds."
    return refused(429, words, {"Retry-After": "5"})


@dataclass
class _Line:
    """The requests of one person in flight, and the limit to their turns."""

    limiter: anyio.CapacityLimiter
    requests: int = 0


class Turns:
    """Turns of people.

    Args:
        at_once: how many each has at the same time.
        seconds: how long a request may wait for turns, in all.
        waiting: how many more requests of each may be in flight.
    """

    def __init__(self, at_once: int, seconds: float, waiting: int = MAX_WAITING) -> None:
        self.seconds = seconds
        self._at_once = at_once
        self._most = at_once + waiting
        self._lines = dict[str, _Line]()
        self._in_flight = 0

    @property
    def is_nearly_full(self) -> bool:
        """Whether so much is in flight that nothing may wait."""
        return self._in_flight > MAX_IN_FLIGHT

    @asynccontextmanager
    async def take(self, person: str, receive: Receive) -> AsyncGenerator[Turn]:
        """Wait for a turn, which lasts as long as the block unless it is ended before.

        Args:
            receive: says when the peer is gone, and nothing else any more.

        Raises:
            Refused: too many requests of this person are in flight, or the wait takes too long.
            Disconnected: the peer did not wait so long.
        """
        line = self._lines.get(person) or self._lines.setdefault(person, _Line(anyio.CapacityLimiter(self._at_once)))
        if line.requests >= self._most:
            raise _too_busy("too many others are under way")
        turn = Turn(self, line, receive)
        line.requests += 1
        self._in_flight += 1
        try:
            await turn.begin()
            yield turn
        finally:
            if turn.call:
                turn.call.cancel()
            turn.end()
            self._in_flight -= 1
            line.requests -= 1
            if not line.requests:
                del self._lines[person]
