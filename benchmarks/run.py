"""Compare our server with the floor, the peer and the bare SDK: start-up, memory, time of calls, bytes and tokens.

    python benchmarks/run.py [--rounds N] [--only NAME] [--servers ours floor peer SDK] [--json FILE]

prints one Markdown table. All are asked the same things in turns, each measurement in a fresh process.
"""

from __future__ import annotations

import argparse
import json
import operator
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from harness import (
    BARE,
    FLOOR,
    OURS,
    PEER,
    Json,
    Neptun,
    Server,
    Session,
    Values,
    count_tokens,
    find_servers,
    in_turns,
    machine,
    median_of,
    number,
    options,
    percentile,
    run,
    table,
    tokenizer,
)

Samples = dict[str, dict[str, list[Values]]]

PAIR, LISTS, LARGE, FIFTY = 1, 2, 3, 5
"""Projects of the stub: 2 imports; 200 imports and files of 2 kB; 2,000 files of 20 kB; 50 imports."""
WARM_UP = 20
CALLS = 300
LIST_WARM_UP = 5
LIST_CALLS = 40
CALLS_AT_ONCE = 500
LARGE_CALLS = 3


# What is measured: each takes a server and the stub and finds the values of some rows


def startup(neptun: Neptun, server: Server) -> Values:
    """Time to the first tools/list, and the memory then."""
    with Session(server, neptun) as session:
        return {"startup": session.startup * 1000, "idle": session.memory("VmRSS")}


def milliseconds(session: Session, calls: int, tool: str, **arguments: object) -> list[float]:
    """How long each of `calls` calls took, one after the other."""
    return [session.call(tool, **arguments).seconds * 1000 for _ in range(calls)]


def one_call(neptun: Neptun, server: Server) -> Values:
    """The smallest useful call, one at a time: what every call costs."""
    with Session(server, neptun) as session:
        milliseconds(session, WARM_UP, "list_imports", project_id=PAIR)
        times = milliseconds(session, CALLS, "list_imports", project_id=PAIR)
    return {"call": statistics.median(times), "call_p99": percentile(times, 0.99)}


def call_by_kind(neptun: Neptun, server: Server) -> Values:
    """The same on a server that answers a request with one kind of import: ours asks for all three."""
    return {"call_by_kind": one_call(neptun, server)["call"]}


def imports(neptun: Neptun, server: Server) -> Values:
    """A project of 200 imports."""
    with Session(server, neptun) as session:
        milliseconds(session, LIST_WARM_UP, "list_imports", project_id=LISTS)
        times = milliseconds(session, LIST_CALLS, "list_imports", project_id=LISTS)
    return {"imports": statistics.median(times)}


def files(neptun: Neptun, server: Server) -> Values:
    """A project of 200 user files of 2 kB."""
    arguments = {"project_id": LISTS, "resource_type": "user-files"}
    with Session(server, neptun) as session:
        milliseconds(session, LIST_WARM_UP, "list_resources", **arguments)
        times = milliseconds(session, LIST_CALLS, "list_resources", **arguments)
    return {"files": statistics.median(times)}


def at_once(neptun: Neptun, server: Server) -> Values:
    """Calls a second where many are sent before the first is answered, and the connections that took."""
    with Session(server, neptun) as session:
        milliseconds(session, WARM_UP, "list_imports", project_id=PAIR)
        neptun.stats()
        seconds = session.calls_at_once(CALLS_AT_ONCE, "list_imports", project_id=PAIR)
        return {"at_once": CALLS_AT_ONCE / seconds, "connections": neptun.stats()["peak"]}


def large(neptun: Neptun, server: Server) -> Values:
    """A body of 42 MB: the time, what reaches the host of it, and the highest memory of the server."""
    neptun.fetch(f"/api/users/1/projects/{LARGE}/resources/user-files")
    with Session(server, neptun) as session:
        user_files = partial(session.call, "list_resources", resource_type="user-files")
        replies = [user_files(project_id=LARGE) for _ in range(LARGE_CALLS)]
        return {
            "large": statistics.median(reply.seconds for reply in replies) * 1000,
            "large_bytes": len(replies[0].line),
            "large_memory": session.memory("VmHWM"),
        }


def compact(tools: Sequence[Json]) -> str:
    """Tool definitions as JSON without blanks."""
    return json.dumps(tools, ensure_ascii=False, separators=(",", ":"))


def sizes(neptun: Neptun, server: Server) -> Values:
    """Bytes and tokens of the tool definitions, and tokens of the text of each result."""
    with Session(server, neptun) as session:
        full = compact(session.tools)
        bare = compact([{key: tool[key] for key in tool if key != "outputSchema"} for tool in session.tools])
        user_files = partial(session.call, "list_resources", resource_type="user-files")
        results = {
            "tokens_imports_2": session.call("list_imports", project_id=PAIR),
            "tokens_imports_50": session.call("list_imports", project_id=FIFTY),
            "tokens_imports_200": session.call("list_imports", project_id=LISTS),
            "tokens_files_200": user_files(project_id=LISTS),
            "tokens_files_2000": user_files(project_id=LARGE),
            "tokens_delete": session.call("delete_import", project_id=PAIR, import_id=1),
        }
    tokens = {key: count_tokens(reply.text) for key, reply in results.items()}
    definitions: Values = {
        "tools_bytes": len(full.encode()),
        "tools_tokens": count_tokens(full),
        "bare_tools_bytes": len(bare.encode()),
        "bare_tools_tokens": count_tokens(bare),
    }
    return definitions | tokens | {"tokens_largest": max(tokens.values())}


MEASUREMENTS: dict[str, Callable[[Neptun, Server], Values]] = {
    "startup": startup,
    "call": one_call,
    "call-by-kind": call_by_kind,
    "imports": imports,
    "files": files,
    "at-once": at_once,
    "large": large,
    "sizes": sizes,
}

BY_KIND = ("call-by-kind", "sizes")
"""What is measured against the stub that answers as a Neptun of today. Times are compared against the stub that
answers as documented, where all servers send one request a call; sizes, on what is really sent."""

OF_THE_SDK = ("startup", "call", "at-once")
"""What is measured of the bare SDK: where nobody is asked, nothing depends on Neptun's answer."""


def measure(name: str, neptun: Neptun, server: Server) -> Values:
    """What one run of a measurement finds on a server; nothing where it makes no sense."""
    return MEASUREMENTS[name](neptun, server) if server.name != BARE or name in OF_THE_SDK else {}


# What is printed


@dataclass(frozen=True)
class Target:
    """What our value should be: as a multiple of another server's, or (`of` None) in itself."""

    limit: float
    of: str | None = FLOOR
    at_least: bool = False

    def verdict(self, ours: float | None, others: Mapping[str, float | None], ratio: float | None) -> str:
        """The target in words, and whether it is met where that is known."""
        sign = "≥" if self.at_least else "≤"
        words = f"{sign} {self.limit:,g}" + (f" × {self.of}" if self.of else "")
        value = ratio if self.of == FLOOR else quotient(ours, others[self.of] if self.of else 1.0)
        if value is None:
            return words
        met = operator.ge(value, self.limit) if self.at_least else operator.le(value, self.limit)
        return f"{words}: {'met' if met else 'MISSED'}" + (f" ({value:.2f})" if self.of == PEER else "")


@dataclass(frozen=True)
class Row:
    """One row of the table: which measurement finds it, under which key, and what it is called."""

    measurement: str
    key: str
    label: str
    target: Target | None = None


ROWS = [
    Row("startup", "startup", "start-up to the first tools/list (ms)", Target(1.0)),
    Row("startup", "idle", "memory after it (MB)", Target(1.0)),
    Row("call", "call", "list_imports, 2 items: median (ms)", Target(0.38)),
    Row("call", "call_p99", "list_imports, 2 items: 99th percentile (ms)"),
    Row("call-by-kind", "call_by_kind", "… where ours needs three requests (ms)"),
    Row("imports", "imports", "200 imports (ms)", Target(0.62)),
    Row("files", "files", "200 user files of 2 kB (ms)"),
    Row("at-once", "at_once", "500 calls sent at once (calls/s)", Target(2.5, at_least=True)),
    Row("at-once", "connections", "… connections to Neptun at their peak"),
    Row("large", "large", "2,000 user files of 20 kB (ms)", Target(0.22)),
    Row("large", "large_bytes", "… bytes sent to the host"),
    Row("large", "large_memory", "… highest memory (MB)", Target(0.5)),
    Row("sizes", "tools_bytes", "tools/list (bytes)"),
    Row("sizes", "tools_tokens", "… tokens", Target(2200, of=None)),
    Row("sizes", "bare_tools_bytes", "tools/list without output schemas (bytes)"),
    Row("sizes", "bare_tools_tokens", "… tokens", Target(1000, of=None)),
    Row("sizes", "tokens_imports_2", "text of 2 imports (tokens)"),
    Row("sizes", "tokens_imports_50", "text of 50 imports (tokens)", Target(0.5, of=PEER)),
    Row("sizes", "tokens_imports_200", "text of 200 imports (tokens)"),
    Row("sizes", "tokens_files_200", "text of 200 user files of 2 kB (tokens)"),
    Row("sizes", "tokens_files_2000", "text of 2,000 user files of 20 kB (tokens)"),
    Row("sizes", "tokens_delete", "text of a deletion (tokens)"),
    Row("sizes", "tokens_largest", "largest of these texts (tokens)", Target(10000, of=None)),
]


def quotient(value: float | None, reference: float | None) -> float | None:
    """`value / reference`, where both are known."""
    return value / reference if value is not None and reference else None


def median_ratio(by_server: Mapping[str, list[Values]], key: str) -> float | None:
    """The median over the rounds of ours/floor of the same round; None where one of them was not measured."""
    pairs = zip(by_server.get(OURS, []), by_server.get(FLOOR, []), strict=False)
    ratios = [ours[key] / floor[key] for ours, floor in pairs if floor[key]]
    return statistics.median(ratios) if ratios else None


def cells(row: Row, by_server: Mapping[str, list[Values]]) -> list[str]:
    """One row of the table."""
    values = {name: median_of(by_server.get(name, []), row.key) for name in (OURS, FLOOR, PEER, BARE)}
    ratio = median_ratio(by_server, row.key)
    target = row.target.verdict(values[OURS], values, ratio) if row.target else ""
    shown = "–" if ratio is None else f"{ratio:.2f}"
    return [row.label, *(number(value) for value in values.values()), shown, target]


def report(samples: Samples, notes: Sequence[str], arguments: argparse.Namespace) -> str:
    """The table and what is needed to read it."""
    rows = [cells(row, samples[row.measurement]) for row in ROWS if row.measurement in samples]
    delay = f", {arguments.delay * 1000:g} ms before each of Neptun's answers" if arguments.delay else ""
    below = [
        f"{machine()}; medians of {arguments.rounds} round(s); tokens: {tokenizer()[0]}{delay}.",
        "Tools are called with their defaults: ours answers with a page, floor and peer with everything.",
        *notes,
    ]
    return table(["", OURS, FLOOR, PEER, BARE, "ours/floor", "target"], rows) + "\n\n" + "\n".join(below)


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, MEASUREMENTS, rounds=5, all_servers=(OURS, FLOOR, PEER, BARE))
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each of Neptun's answers")
    arguments = parser.parse_args()
    servers, notes = find_servers(arguments)
    delay = ("--delay", str(arguments.delay))
    with Neptun("--contract", "documented", *delay) as documented, Neptun(*delay) as by_kind:
        chosen = {
            name: partial(measure, name, by_kind if name in BY_KIND else documented)
            for name in MEASUREMENTS
            if not arguments.only or name in arguments.only
        }
        # Sizes are the same in every round.
        last = {name: chosen.pop(name) for name in ["sizes"] if name in chosen}
        samples = in_turns(arguments.rounds, servers, chosen) | in_turns(1, servers, last)
    print(report(samples, notes, arguments))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "samples": samples}, indent=1))


if __name__ == "__main__":
    run(main)
