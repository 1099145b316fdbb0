"""How time and memory of one call grow with the number of imports and with the size of texts; what a page costs.

    python benchmarks/growth.py [--rounds N] [--only imports|texts|pages] [--servers ours floor peer] [--json FILE]

prints a Markdown table for each. Beside the servers stands the reference: what it takes merely to read that
body from the stub and to parse it as JSON (`pydantic_core.from_json`): who looks at all of it must pay that.

The table of pages is of ours alone, as no other server has any: a project with 42 MB of files, without delay and
on a slow line.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from harness import (
    OURS,
    Json,
    Neptun,
    Server,
    Session,
    Values,
    find_servers,
    in_turns,
    machine,
    median_of,
    number,
    options,
    run,
    table,
)
from pydantic_core import from_json
from stub import CUSTOM_PROJECT

Samples = Mapping[str, Mapping[str, Sequence[Values]]]

MIN_CALLS, MAX_CALLS = 3, 30
MAX_SECONDS = 1.0
"""A point's calls end after MAX_CALLS, or after MIN_CALLS once they have taken this long."""
IMPORT_COUNTS = [10, 100, 1000, 10000]
FILES = 200
TEXT_SIZES = [1, 10, 40]
"""Megabytes (10**6 characters) of text in a project's user files."""
REFERENCE = "reading and parsing"

LARGE = 3
"""The stub's project with 42 MB of files. Each takes a second part: as JSON it is longer than a result may be."""
MEGABITS = 50
FIRST, SECOND, REST, FILE, PART = "first page", "second page", "all other pages", "one file", "its second part"
AGAIN = "first page again"
LATER_LIMIT = 0.1
"""What a later page or one file may take of the first page's time."""
MAX_REQUESTS = {SECOND: 0, REST: 0, FILE: 1, PART: 0}
MAX_MEMORY = 260
"""MB (2**20 bytes) after all pages were read, and the first again."""


@dataclass(frozen=True)
class Point:
    """One size: what is called for it, and where its body comes from."""

    label: str
    neptun: Neptun
    tool: str
    arguments: Mapping[str, object]
    target: str


def import_points(stack: ExitStack) -> list[Point]:
    """Projects of ever more imports."""
    neptun = stack.enter_context(Neptun())
    return [
        Point(
            f"{count:,} imports",
            neptun,
            "list_imports",
            {"project_id": count},
            f"/api/users/1/projects/{count}/resources/imports",
        )
        for count in IMPORT_COUNTS
    ]


def text_point(stack: ExitStack, megabytes: int) -> Point:
    """A project of FILES user files with so much text in all."""
    length = megabytes * 1_000_000 // FILES
    return Point(
        f"{FILES} user files, {megabytes} MB",
        stack.enter_context(Neptun("--files", str(FILES), "--file-length", str(length))),
        "list_resources",
        {"project_id": CUSTOM_PROJECT, "resource_type": "user-files"},
        f"/api/users/1/projects/{CUSTOM_PROJECT}/resources/user-files",
    )


def text_points(stack: ExitStack) -> list[Point]:
    """Projects of ever larger user files, as many in each."""
    return [text_point(stack, megabytes) for megabytes in TEXT_SIZES]


def repeated(call: Callable[[], float]) -> float:
    """The median of what `call` returns, called a bounded number of times."""
    values: list[float] = []
    started = time.perf_counter()
    while len(values) < MAX_CALLS:
        values.append(call())
        if len(values) >= MIN_CALLS and time.perf_counter() - started > MAX_SECONDS:
            break
    return statistics.median(values)


def measure(point: Point, server: Server) -> Values:
    """Time of one call, and the highest memory of the server: while idle, and with its first call."""
    with Session(server, point.neptun) as session:
        idle = session.memory("VmHWM")
        session.call(point.tool, **point.arguments)
        peak = session.memory("VmHWM")
        seconds = repeated(lambda: session.call(point.tool, **point.arguments).seconds)
    return {"ms": seconds * 1000, "idle": idle, "peak": peak}


def reference(point: Point) -> Values:
    """Bytes of the body, and the time of reading and parsing it (ms)."""

    # The first request also has the stub prepare its answer.
    size = len(point.neptun.fetch(point.target))
    return {"bytes": size, "ms": repeated(partial(read_and_parse, point.neptun, point.target)) * 1000}


def read_and_parse(neptun: Neptun, target: str) -> float:
    """Seconds that it takes to read a body and to parse it."""
    started = time.perf_counter()
    from_json(neptun.fetch(target))
    return time.perf_counter() - started


def growth_table(
    points: Sequence[Point], references: Mapping[str, Values], samples: Samples, servers: Sequence[Server]
) -> str:
    """Points down, servers across."""
    header = ["one call", "body (kB)", f"{REFERENCE} (ms)"]
    for server in servers:
        header += [f"{server.name} (ms)", f"{server.name}, peak (MB)"]
    idle = ["idle", "", ""]
    for server in servers:
        values = [sample for point in points for sample in samples[point.label][server.name]]
        idle += ["", number(median_of(values, "idle"))]
    rows = [idle]
    for point in points:
        cost = references[point.label]
        row = [point.label, number(cost["bytes"] / 1000), number(cost["ms"])]
        for server in servers:
            by_round = samples[point.label][server.name]
            row += [number(median_of(by_round, "ms")), number(median_of(by_round, "peak"))]
        rows.append(row)
    return table(header, rows)


def growth(
    find_points: Callable[[ExitStack], list[Point]], rounds: int, servers: Sequence[Server]
) -> tuple[str, object]:
    """The table of one kind of growth, and every sample."""
    with ExitStack() as stack:
        points = find_points(stack)
        references = {point.label: reference(point) for point in points}
        measurements = {point.label: partial(measure, point) for point in points}
        samples = in_turns(rounds, servers, measurements)
    return growth_table(points, references, samples, servers), {"reference": references, "samples": samples}


def read_project(session: Session, neptun: Neptun, project_id: int) -> Values:
    """Read all pages of a project's files, one file in two parts, the first page again: time (ms) and requests."""
    values: Values = defaultdict(float)

    def call(name: str, **arguments: object) -> Json:
        neptun.stats()
        reply = session.call("list_resources", project_id=project_id, resource_type="user-files", **arguments)
        values[name] += reply.seconds * 1000
        values[f"{name}, requests"] += neptun.stats()["requests"]
        return reply.result["structuredContent"]

    page = call(FIRST)
    page = call(SECOND, offset=page["next_offset"])
    while offset := page.get("next_offset"):
        page = call(REST, offset=offset)
    file = call(FILE, resource_id=1)["resources"][0]
    call(PART, resource_id=1, text_offset=file["next_text_offset"])
    call(AGAIN)
    return values


def measure_pages(neptun: Neptun, server: Server) -> Values:
    """What `read_project` finds in the large project, the server's highest memory, and the reference."""
    with Session(server, neptun) as session:
        # Once on a small project, so that no call is slower for being the first of its kind.
        read_project(session, neptun, CUSTOM_PROJECT)
        values = read_project(session, neptun, LARGE)
        values["memory"] = session.memory("VmHWM")
    values[REFERENCE] = read_and_parse(neptun, f"/api/users/1/projects/{LARGE}/resources/user-files") * 1000
    return values


def pages(rounds: int, servers: Sequence[Server]) -> tuple[str, object]:
    """The table of pages, and every sample."""
    ours = [server for server in servers if server.name == OURS]
    small = ("--files", "60", "--file-length", "20000")
    with Neptun(*small) as near, Neptun(*small, "--megabits", str(MEGABITS)) as slow:
        measurements = {"without delay": near, f"{MEGABITS} Mbit/s": slow}
        for neptun in measurements.values():
            neptun.fetch(f"/api/users/1/projects/{LARGE}/resources/user-files")
        samples = in_turns(rounds, ours, {name: partial(measure_pages, at) for name, at in measurements.items()})
    return pages_table({name: by_server.get(OURS, []) for name, by_server in samples.items()}), samples


def pages_table(samples: Mapping[str, Sequence[Values]]) -> str:
    """Calls down, lines across."""
    header = ["42 MB of files"]
    for line in samples:
        header += [f"{line} (ms)", "of the first"]
    rows = [pages_row(name, samples) for name in (REFERENCE, FIRST, SECOND, REST, FILE, PART, AGAIN)]
    memory = [median_of(by_round, "memory") for by_round in samples.values()]
    last = ["highest memory (MB)"]
    for value in memory:
        last += [number(value), ""]
    met = all(value is not None and value < MAX_MEMORY for value in memory)
    rows.append([*last, "", f"< {MAX_MEMORY}: {verdict(met)}"])
    return table([*header, "requests", "target"], rows)


def pages_row(name: str, samples: Mapping[str, Sequence[Values]]) -> list[str]:
    """One kind of call on each line."""
    row = [name]
    shares: list[float] = []
    for by_round in samples.values():
        value, first = median_of(by_round, name), median_of(by_round, FIRST)
        share = value / first if value is not None and first else None
        shares += [] if share is None else [share]
        row += [number(value), number(share)]
    requests = max((median_of(by_round, f"{name}, requests") or 0 for by_round in samples.values()), default=0)
    row.append("1" if name == REFERENCE else number(requests))
    if name not in MAX_REQUESTS:
        return [*row, ""]
    words, met = f"≤ {MAX_REQUESTS[name]} request(s)", requests <= MAX_REQUESTS[name]
    if name != REST:
        words, met = f"≤ {LATER_LIMIT}, {words}", met and max(shares, default=1.0) <= LATER_LIMIT
    return [*row, f"{words}: {verdict(met)}"]


def verdict(met: bool) -> str:
    """Whether a target is met."""
    return "met" if met else "MISSED"


TABLES: dict[str, Callable[[int, Sequence[Server]], tuple[str, object]]] = {
    "imports": partial(growth, import_points),
    "texts": partial(growth, text_points),
    "pages": pages,
}


def main() -> None:
    """Measure and print."""
    arguments = options(__doc__, TABLES, rounds=3).parse_args()
    servers, notes = find_servers(arguments)
    written: dict[str, object] = {}
    for name in arguments.only or TABLES:
        text, written[name] = TABLES[name](arguments.rounds, servers)
        print(text + "\n")
    print("\n".join([f"{machine()}; medians of {arguments.rounds} round(s).", *notes]))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), **written}, indent=1))


if __name__ == "__main__":
    run(main)
