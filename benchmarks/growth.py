"""How time and memory of one call grow with the number of imports and with the size of texts.

    python benchmarks/growth.py [--rounds N] [--only imports|texts] [--servers ours floor peer] [--json FILE]

prints a Markdown table for each. Beside the servers stands the reference: what it takes merely to read that
body from the stub and to parse it as JSON (`pydantic_core.from_json`): who looks at all of it must pay that.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from harness import (
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


TABLES: dict[str, Callable[[ExitStack], list[Point]]] = {"imports": import_points, "texts": text_points}


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

    def read_and_parse() -> float:
        started = time.perf_counter()
        from_json(point.neptun.fetch(point.target))
        return time.perf_counter() - started

    # The first request also has the stub prepare its answer.
    size = len(point.neptun.fetch(point.target))
    return {"bytes": size, "ms": repeated(read_and_parse) * 1000}


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


def main() -> None:
    """Measure and print."""
    arguments = options(__doc__, TABLES, rounds=3).parse_args()
    servers, notes = find_servers(arguments)
    written: dict[str, object] = {}
    for name in arguments.only or TABLES:
        with ExitStack() as stack:
            points = TABLES[name](stack)
            references = {point.label: reference(point) for point in points}
            measurements = {point.label: partial(measure, point) for point in points}
            samples = in_turns(arguments.rounds, servers, measurements)
        print(growth_table(points, references, samples, servers) + "\n")
        written[name] = {"reference": references, "samples": samples}
    print("\n".join([f"{machine()}; medians of {arguments.rounds} round(s).", *notes]))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), **written}, indent=1))


if __name__ == "__main__":
    run(main)
