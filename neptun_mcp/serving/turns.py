"""How many requests of one person run at the same time, how many may wait, and how much of the processor they take."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from math import inf
from time import process_time, thread_time
from types import coroutine
from typing import Any, TypeVar

import anyio
from starlette.types import Receive

from ..sign_in.refusals import Refused

MAX_WAITING = 32
"""Requests of one person that may wait at the same time: for a turn, for the person to answer, for the peer to read."""

MAX_IN_FLIGHT = 512
"""Requests in a process, beyond which none waits."""

SHARE, ALONE_SECONDS = 1 / 3, 30.0
"""How much of the processor the requests of one person may take for long, if others sent some in so many seconds."""

CREDIT_SECONDS, REST_SECONDS = 0.5, 2.0
"""How much processor time they may take in one go, for some 100 calls; and for how long at most they then rest."""

REQUEST_SECONDS = 0.0005
"""The processor time that a request takes before its turn and after it: to read, to authenticate, to answer."""

UNSEEN = 2.5
"""How much a request takes for each second of its own steps: the rest runs in tasks that the SDK and the library begin,
and in none. Calls, lists and notifications were measured in both protocols, with sessions and without: 1 to 3.5."""

T = TypeVar("T")


class Disconnected(Exception):
    """The peer is gone."""


class Turn:
    """The turn of one request. It may end before the request does, and begin again.

    Attributes:
        call: what the request has begun in a session, as long as it lasts; cancelled when the request is over.
        queued: for how many seconds it has waited for turns.
        asking: for how many seconds the person was asked, in all.
        is_measured: whether a step of the request is being measured: what is measured within it was counted then.
    """

    def __init__(self, turns: Turns, line: _Line, receive: Receive) -> None:
        self._turns = turns
        self._line = line
        self._receive = receive
        self._is_held = False
        self._begun: float | None = None
        self.call: anyio.CancelScope | None = None
        self.queued = 0.0
        self.asking = 0.0
        self.is_measured = False

    async def begin(self) -> None:
        """Wait for the turn.

        Raises:
            Refused: it takes too long, or too much waits already.
            Disconnected: the peer is gone.
        """
        with suppress(anyio.WouldBlock):
            self._line.turns.acquire_nowait()
            self._is_held = True
        if not self._is_held or self._line.rest > 0:
            if self._turns.in_flight > MAX_IN_FLIGHT:
                raise _too_busy("the server has too much to do")
            await self._wait()
        if self._turns.are_paced:
            self._turns.charge(self._line, REQUEST_SECONDS)
            self._begun = self._turns.thread_seconds()
            self._turns.running += 1

    async def _wait(self) -> None:
        started, is_due = anyio.current_time(), False
        limit = anyio.CancelScope(deadline=started + self._turns.seconds - self.queued)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_cancel_if_disconnected, self._receive, tasks.cancel_scope)
                with limit:
                    if not self._is_held:
                        await self._line.turns.acquire()
                        self._is_held = True
                    await anyio.sleep(max(0, self._line.rest))
                    is_due = True
                tasks.cancel_scope.cancel()
        finally:
            self.queued += anyio.current_time() - started
        if limit.cancelled_caught:
            raise _too_busy(f"it waited {self.queued:.0f} seconds for its turn")
        if not is_due:
            raise Disconnected

    @coroutine
    def measured(self, work: Awaitable[T]) -> Generator[Any, Any, T]:
        """The result of a part of the request that runs in a task of its own; its work is counted.

        Each step is timed by itself, without the waits in between, in which the steps of others are taken. asyncio
        tells nobody how long a task has run. If the work were shared among all that is under way, those who only
        wait for Neptun would pay for somebody who asks for much. Counted in calls or bytes, work would cost the same on
        every machine.
        """
        steps = work.__await__()
        if not self._turns.are_paced:
            return (yield from steps)
        resume: Callable[[Any], Any] = steps.send
        argument: Any = None
        while True:
            begun, is_inner = thread_time(), self.is_measured
            self.is_measured = True
            try:
                waits_for = resume(argument)
            except StopIteration as over:
                return over.value
            finally:
                argument = None  # an error that passes here would keep itself, and all that its frames hold
                self.is_measured = is_inner
                if not is_inner:
                    self.worked(UNSEEN * (thread_time() - begun))
            try:
                resume, argument = steps.send, (yield waits_for)
            except BaseException as error:
                resume, argument = steps.throw, error

    def worked(self, seconds: float) -> None:
        """Charge time of the event loop to the person."""
        self._turns.charge(self._line, seconds)

    def end(self) -> None:
        """End the turn, if it has begun."""
        if self._begun is not None:
            self._turns.charge(self._line, self._turns.thread_seconds() - self._begun)
            self._turns.running -= 1
            self._begun = None
        if self._is_held:
            self._is_held = False
            self._line.turns.release()


async def _cancel_if_disconnected(receive: Receive, wait: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    wait.cancel()


def _too_busy(why: str) -> Refused:
    """A refusal of what cannot be carried out now."""
    words = f"This request was not carried out: {why}. Try again in a few seconds."
    return Refused(words, 429, headers={"Retry-After": "5"})


@dataclass
class _Line:
    """The requests of one person in flight, and the limits to them."""

    turns: anyio.Semaphore
    requests: int = 0
    rests_until: float = -inf

    @property
    def rest(self) -> float:
        """How many seconds pass before the next request may begin."""
        return self.rests_until - anyio.current_time()

    def is_over(self, seconds: float) -> bool:
        """Whether nothing is in flight, nor has been for these seconds."""
        return not self.requests and self.rest < -seconds


class Turns:
    """Turns of people.

    Attributes:
        in_flight: the requests of all people.
        running: the turns that have begun, where it counts how much of the processor each takes.

    Args:
        at_once: how many each has at the same time.
        seconds: how long a request may wait for turns, in all.
        waiting: how many more requests of each may be in flight.
        share: how much of the processor each may take for long.
    """

    def __init__(self, at_once: int, seconds: float, waiting: int = MAX_WAITING, share: float = SHARE) -> None:
        self.seconds = seconds
        self._share = share
        self._at_once = at_once
        self._most = at_once + waiting
        self._last, self._seen, self._other_seen = "", -inf, -inf  # who came last, when, and when somebody else did
        self._threads_took, self._of_each = 0.0, 0.0
        self.running = 0
        self._lines = OrderedDict[str, _Line]()  # the one not used for longest first
        self.in_flight = 0

    @property
    def are_paced(self) -> bool:
        """Whether it counts how much of the processor each takes."""
        return self._share < inf

    def thread_seconds(self) -> float:
        """The processor time of threads so far, as if all turns that are `running` took equal parts of it.

        Whose it is cannot be seen. The event loop's own is measured, see `Turn.measured`.
        """
        now = process_time() - thread_time()
        self._of_each += (now - self._threads_took) / max(1, self.running)
        self._threads_took = now
        return self._of_each

    def notice(self, person: str) -> None:
        """Note that somebody is served: for a while, the others have to leave room."""
        if person != self._last:
            self._last, self._other_seen = person, self._seen
        self._seen = anyio.current_time()

    def charge(self, line: _Line, seconds: float) -> None:
        """Let a person rest for as long as keeps these seconds of work within their share of the time."""
        now = anyio.current_time()
        if now < self._other_seen + ALONE_SECONDS:
            begun = max(line.rests_until, now - CREDIT_SECONDS / self._share)
            line.rests_until = min(begun + seconds / self._share, now + REST_SECONDS)

    @asynccontextmanager
    async def take(self, person: str, receive: Receive, kind: str = "") -> AsyncGenerator[Turn]:
        """Wait for a turn, which lasts as long as the block unless it is ended before.

        Args:
            person: who takes it.
            receive: says when the peer is gone, and nothing else any more.
            kind: of what has turns of its own.

        Raises:
            Refused: too many requests of this person are in flight, or the wait takes too long.
            Disconnected: the peer did not wait so long.
        """
        self.notice(person)
        line = self._line_of(f"{person} {kind}")
        if line.requests >= self._most:
            raise _too_busy("too many others are under way")
        turn = Turn(self, line, receive)
        line.requests += 1
        self.in_flight += 1
        try:
            await turn.begin()
            yield turn
        finally:
            if turn.call:
                turn.call.cancel()
            turn.end()
            self.in_flight -= 1
            line.requests -= 1

    def _line_of(self, name: str) -> _Line:
        line = self._lines.pop(name, None) or _Line(anyio.Semaphore(self._at_once))
        while self._lines and next(iter(self._lines.values())).is_over(CREDIT_SECONDS / self._share):
            self._lines.popitem(last=False)
        self._lines[name] = line
        return line
