"""What goes wrong between here and Neptun, at each thing that Neptun is asked for.

Each case pins what the assistant reads, and every request that it took.
"""

from __future__ import annotations

import gzip
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio
import pytest
from mcp.types import CallToolResult

from tests.support import PATIENCE, content_of

from .neptun import (
    GUARD_401,
    HTML,
    JSON,
    LOG_IN,
    PLACES,
    FaultyNeptun,
    Place,
    WebshopTools,
    open_tools,
    plain_error_of,
    start_neptun,
)
from .server import Action, answer, bomb, chunk, drip, http, pour, say, stay_silent

pytestmark = pytest.mark.anyio

MB = 2**20
TIMEOUT = 4
CHECK, SESSION, LOGIN, PROJECTS, IMPORTS, FILES, DELETE, *_ = Place
AT_THE_START = (SESSION, LOGIN)
"""What a server asks for before it has a session and its user, and not again."""


@dataclass(frozen=True)
class Expected:
    """The outcome of a call.

    Attributes:
        asked: every request that it takes.
        says: parts of what the assistant reads; empty if the call succeeds.
        lasting: the next call fails too, though Neptun is well again.
    """

    asked: str
    says: tuple[str, ...] = ()
    lasting: bool = False


@dataclass(frozen=True)
class Fault:
    """A way to go wrong.

    Attributes:
        says: what happened and what to do about it, unless a special outcome is expected.
        sent: how often a request that reads is sent.
        special: the outcomes at places that differ.
        session: whether the session is valid when it is checked.
    """

    name: str
    action: Action
    says: tuple[str, ...]
    sent: int = 1
    special: Mapping[Place, Expected] = field(default_factory=dict[Place, Expected])
    session: bool = True

    def expected(self, place: Place) -> Expected:
        if place in self.special:
            return self.special[place]
        if place is DELETE:
            says = DELETION_TIMED_OUT if self.says is TIMED_OUT else self.says
            return Expected("imports delete imports", (*says, *MAY_YET_GO))
        return Expected(" ".join([place.word] * self.sent), self.says)


STILL_THERE = ("Import 105 is still there",)
MAY_YET_GO = ("Import 105 is still there, but may yet go: look with list_imports first",)
STRANGE = ("does not answer like Neptun", "Check NEPTUN_BASE_URL")
TIMED_OUT = (f"did not answer completely within {TIMEOUT} seconds", "NEPTUN_TIMEOUT")
DELETION_TIMED_OUT = ("did not answer completely within ", "NEPTUN_TIMEOUT")
"""Two thirds of the time: the rest is kept for the list."""
NOT_HTTP = ("answered is not valid HTTP", "Check NEPTUN_BASE_URL")
LOST = ("ended before the answer was complete", "Try again in a minute")
TOO_LARGE = ("larger than 1 MB", "raise NEPTUN_MAX_RESPONSE_MB")
REDIRECTED = ("redirects elsewhere", "Set NEPTUN_BASE_URL to the final address")
NOT_A_LIST = (*STRANGE, "sent JSON, but not the list that was asked for")
SOMEBODY_ELSE = ("does not say whose session this is", "Check NEPTUN_BASE_URL; if it is right, set NEPTUN_USER_ID")
LOGIN_REFUSED = ("refused the log-in", "Correct NEPTUN_EMAIL and NEPTUN_PASSWORD", "not tried again")
SESSION_REFUSED = ("refused the session", "expired or wrong", "copy the value", "remove NEPTUN_SESSION_COOKIE")
NO_SESSION = (*STRANGE, "accepted the log-in but gave no session")
BODIES: dict[str, tuple[bytes, str]] = {
    "JSON": (JSON, "application/json"),
    "nothing": (b"", "text/plain"),
    "HTML": (HTML, "text/html"),
}


def failed(status: int) -> tuple[str, ...]:
    return f"failed on its side (status {status})", "try again in a minute"


def unreliable_connections() -> list[Fault]:
    started = http(200, content_length=1000)
    chunked = http(200, content_length=None, transfer_encoding="chunked")
    return [
        Fault("closed before the first byte", say(), LOST, sent=3),
        Fault("reset before the first byte", say(reset=True), LOST, sent=3),
        Fault("closed in the middle of the body", say(started, b'[{"id":1,'), LOST, sent=3),
        Fault("closed in the middle of a chunked body", say(chunked, chunk(b'[{"id":1,')), LOST, sent=3),
        Fault("reset in the middle of the body", say(started, b'[{"id":1,', reset=True), LOST, sent=3),
        Fault("not HTTP", say(b"SSH-2.0-OpenSSH_9.6\r\n"), LOST, sent=3),
        Fault("endless headers", say(http(200, endless="x" * 200_000)), NOT_HTTP, sent=3),
    ]


def refusals(status: int, special: Mapping[Place, Expected], *says: str) -> list[Fault]:
    """A status that means something, but with a page of HTML, which comes from somewhere else."""
    strange = (*STRANGE, f"refused with status {status} and a body that is not JSON")
    return [
        Fault(
            f"{status} with {kind}",
            answer(status, body, content_type=media),
            strange if kind == "HTML" else says,
            special={} if kind == "HTML" else special,
        )
        for kind, (body, media) in BODIES.items()
    ]


def failures(status: int) -> list[Fault]:
    """A status that says everything, whatever comes with it. The header spares the tests the pause."""
    says = ("receiving too many requests (429)", "Wait 1 second,") if status == 429 else failed(status)
    return [
        Fault(f"{status} with {kind}", answer(status, body, content_type=media, retry_after=0), says, sent=3)
        for kind, (body, media) in BODIES.items()
    ]


def without_access(status: int) -> dict[Place, Expected]:
    """The session is valid and the project is in the list of projects, so Neptun has failed."""
    look = "check " if status == 401 else ""
    refused = "failed on its side (status 404)" if status == 404 else f"Neptun answered {status}"
    log_in = f"answered the log-in with status {status}"
    return {
        IMPORTS: Expected(f"imports {look}projects", failed(status)),
        FILES: Expected(f"files {look}projects", failed(status)),
        PROJECTS: Expected(f"projects {look}".strip(), failed(status)),
        SESSION: Expected(f"session {look}".strip(), SOMEBODY_ELSE),
        LOGIN: Expected("login database login", LOGIN_REFUSED, lasting=True)
        if status == 401
        else Expected("login", (log_in,)),
        DELETE: Expected(f"imports delete {look}imports", (refused, *STILL_THERE)),
    }


def without_session() -> dict[Place, Expected]:
    reads = {place: Expected(f"{place.word} check", SESSION_REFUSED) for place in (IMPORTS, FILES, PROJECTS, SESSION)}
    deletion = Expected("imports delete check", (*SESSION_REFUSED, "Nothing was deleted"))
    return {**reads, LOGIN: Expected("login database login", LOGIN_REFUSED, lasting=True), DELETE: deletion}


def statuses() -> list[Fault]:
    argument: dict[Place, Expected] = {
        LOGIN: Expected("login", LOGIN_REFUSED, lasting=True),
        DELETE: Expected("imports delete", ("does not accept the value", "Nothing was deleted")),
    }
    return [
        *refusals(400, argument, "does not accept the value of an argument", "positive whole numbers"),
        *refusals(401, without_access(401)),
        Fault("401 of a session that is over", GUARD_401, (), special=without_session(), session=False),
        *refusals(403, without_access(403)),
        *refusals(404, without_access(404)),
        *refusals(413, {}, *STRANGE, "answered with status 413"),
        *refusals(431, {}, *STRANGE, "answered with status 431"),
        *(fault for status in (408, 429, 500, 502, 503, 504) for fault in failures(status)),
        Fault("429", answer(429, JSON), ("too many requests (429)", "Wait a minute"), sent=3),
        Fault("429, wait 99 seconds", answer(429, JSON, retry_after=99), ("(429)", "Wait 99 seconds")),
        Fault("429, wait until a day long past", answer(429, retry_after=PAST), ("(429)", "Wait a minute"), sent=3),
        Fault("429, wait absurdly", answer(429, JSON, retry_after="1e999"), ("(429)", "Wait a minute"), sent=3),
        Fault("redirect on the same host", answer(302, location="/login"), REDIRECTED),
        Fault("redirect to another host", answer(301, HTML, location="https://example.invalid/"), REDIRECTED),
        Fault("redirect to http", answer(307, location="http://example.invalid/"), REDIRECTED),
        Fault("redirect to nowhere", answer(302), REDIRECTED),
    ]


PAST = "Wed, 21 Oct 2015 07:28:00 GMT"


def bodies() -> list[Fault]:
    """Answers with 200 that are not what was asked for."""
    no_session = {LOGIN: Expected("login", NO_SESSION)}
    nobody = {SESSION: Expected("session", SOMEBODY_ELSE), **no_session}
    undecided = {SESSION: Expected("session check", SOMEBODY_ELSE), **no_session}
    unclear = {
        DELETE: Expected("imports delete imports", (*STRANGE, "something else than an empty list", *MAY_YET_GO)),
    }
    not_json = {**nobody, **unclear}
    unpacked = answer(200, gzip.compress(b"[]" * 1000)[:-20], content_encoding="gzip")
    return [
        Fault("HTML", answer(200, HTML, content_type="text/html"), ("sent a page of HTML",), special=not_json),
        Fault("broken JSON", answer(200, b'[{"id":'), (*STRANGE, "sent broken JSON"), special=not_json),
        Fault("JSON of endless depth", answer(200, b"[" * 10**5), (*STRANGE, "broken JSON"), special=not_json),
        Fault("gzip that stops", unpacked, (*STRANGE, "broken JSON"), special=not_json),
        Fault("nothing", answer(200), (*STRANGE, "sent nothing"), special=not_json),
        Fault(
            "204",
            answer(204, content_length=None),
            (*STRANGE, "answered with status 204"),
            special={**nobody, DELETE: Expected("imports delete")},
        ),
        Fault("null", answer(200, b"null"), NOT_A_LIST, special={**nobody, **unclear}),
        Fault("a string", answer(200, b'"imports"'), NOT_A_LIST, special={**nobody, **unclear}),
        Fault("a number", answer(200, b"17"), NOT_A_LIST, special={**nobody, **unclear}),
        Fault("an object of something else", answer(200, JSON), NOT_A_LIST, special={**undecided, **unclear}),
        Fault(
            "an object without a list",
            answer(200, b'{"imports": null, "projects": null, "user": {"id": 1e999}}'),
            NOT_A_LIST,
            special={**nobody, **unclear},
        ),
        Fault(
            "accepted, not done",
            answer(202, JSON),
            (*STRANGE, "answered with status 202"),
            special={
                **undecided,
                DELETE: Expected("imports delete imports", (*STRANGE, "a deletion with status 202", *MAY_YET_GO)),
            },
        ),
        Fault(
            "gzip that is none",
            answer(200, b"\x1f\x8bno", content_encoding="gzip"),
            (*STRANGE, "could not be decompressed"),
        ),
        Fault("a gzip bomb", say(bomb(20 * MB)), TOO_LARGE),
        Fault("a body over the limit", pour(http(200, content_length=8 * MB), b" " * MB, 8), TOO_LARGE),
        Fault(
            "a body over the limit, of unknown length",
            pour(http(200, content_length=None, transfer_encoding="chunked"), chunk(b" " * MB), 8),
            TOO_LARGE,
        ),
    ]


TIMEOUTS = [
    Fault("no answer", stay_silent(), TIMED_OUT),
    Fault("half of the headers, then silence", stay_silent(b"HTTP/1.1 200 OK\r\ncontent-"), TIMED_OUT),
    Fault("headers, then silence", stay_silent(http(200, content_length=1000)), TIMED_OUT),
    Fault("a body that drips and never ends", drip(every=0.05), TIMED_OUT),
]
FAULTS = [*TIMEOUTS, *unreliable_connections(), *statuses(), *bodies()]


@dataclass
class Outcome:
    asked: str
    result: CallToolResult
    next_result: CallToolResult


@dataclass
class Probe:
    """Tries faults at one place.

    Attributes:
        seconds: the time limit of a call.
        tools: of a server that outlives every fault; if there are none, each fault gets a fresh server.
    """

    place: Place
    neptun: FaultyNeptun
    seconds: float
    tools: WebshopTools | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[WebshopTools]:
        if self.tools:
            yield self.tools
            return
        settings = {"timeout": self.seconds, "max_response_mb": 1}
        settings |= {"user_id": 1, **LOG_IN} if self.place is LOGIN else {}
        async with open_tools(self.neptun.settings(**settings)) as tools:
            yield tools

    async def outcome(self, fault: Fault) -> Outcome:
        self.neptun.heal()
        async with self.connected() as tools:
            self.neptun.break_at(self.place, fault.action)
            if not fault.session:
                self.neptun.break_at(CHECK, GUARD_401)
            result = await tools.ask_for(self.place)
            asked = self.neptun.asked
            self.neptun.heal()
            return Outcome(asked, result, await tools.ask_for(self.place))


Outcomes: TypeAlias = dict[Place, Outcome]


async def start_probes(stack: AsyncExitStack, connected: Collection[Place], seconds: float = PATIENCE) -> list[Probe]:
    """A probe for each place, with a server that lasts at these."""
    probes = [Probe(place, await stack.enter_async_context(start_neptun()), seconds) for place in PLACES]
    for probe in probes:
        probe.neptun.has_one_project()
        if probe.place in connected:
            probe.tools = await stack.enter_async_context(probe.connected())
        if probe.tools and probe.place not in AT_THE_START:
            content_of(await probe.tools.list_imports())
    return probes


async def try_everywhere(fault: Fault, probes: list[Probe]) -> Outcomes:
    """The outcome of a fault at each place, tried at all of them at the same time."""
    outcomes: Outcomes = {}

    async def attempt(probe: Probe) -> None:
        outcomes[probe.place] = await probe.outcome(fault)

    async with anyio.create_task_group() as tasks:
        for probe in probes:
            tasks.start_soon(attempt, probe)
    return outcomes


@pytest.fixture(scope="module")
async def probes(anyio_backend: str) -> AsyncGenerator[list[Probe]]:
    async with AsyncExitStack() as stack:
        yield await start_probes(stack, [place for place in PLACES if place not in AT_THE_START])


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in TIMEOUTS], ids=lambda fault: fault.name)
async def test_fault(probes: list[Probe], fault: Fault) -> None:
    outcomes = await try_everywhere(fault, probes)
    for place in PLACES:
        check(fault, outcomes, place)


@pytest.mark.slow
async def test_timeouts() -> None:
    """The faults that take all the time of a call, at the same time."""
    outcomes: dict[str, Outcomes] = {}

    async def attempt(fault: Fault, probes: list[Probe]) -> None:
        outcomes[fault.name] = await try_everywhere(fault, probes)

    async with AsyncExitStack() as stack:
        # No time is measured while servers start.
        started = [(fault, await start_probes(stack, PLACES, TIMEOUT)) for fault in TIMEOUTS]
        async with anyio.create_task_group() as tasks:
            for fault, probes in started:
                tasks.start_soon(attempt, fault, probes)
    for fault in TIMEOUTS:
        for place in PLACES:
            check(fault, outcomes[fault.name], place)


def check(fault: Fault, outcomes: Outcomes, place: Place) -> None:
    expected, outcome = fault.expected(place), outcomes[place]
    if expected.says:
        words = plain_error_of(outcome.result)
        for part in expected.says:
            assert part in words, (fault.name, place)
    else:
        content_of(outcome.result)
    assert outcome.asked == expected.asked, (fault.name, place)
    if expected.lasting:
        plain_error_of(outcome.next_result)
    else:
        content_of(outcome.next_result)
