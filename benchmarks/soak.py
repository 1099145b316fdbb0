"""Many calls of our tools by callers at the same time, while Neptun answers a part of the requests with every fault
that the tests know: does anything grow, and does every answer belong to its question?

    python -m benchmarks.soak [--calls 20000] [--callers 50] [--faults 0.1] [--seed 1]

Run it from the root of the repository; it needs what the tests need, and Linux. Neptun is a process of its own.
Memory, descriptors and tasks are those of the process in which our server and its client run, while nothing is in
flight. Ends with 1 where an answer belonged to another question, or was not foreseen.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
from mcp.client.client import Client
from mcp.types import CallToolResult, TextContent

from benchmarks.harness import memory
from neptun_mcp import create_server
from neptun_mcp.log import configure_logging
from tests.faults.neptun import Place
from tests.faults.server import Exchange, Request, answer, serve, to_json
from tests.faults.test_matrix import FAULTS
from tests.support import Json, settings_for

PROJECTS = 200
KINDS = ("local_folder", "github_repository_installation", "public_github_repository_url")
LONGEST = 60.0
"""Seconds after which a call is not waited for."""


# Neptun


def items(project: int) -> list[Json]:
    """What a project holds. Its ids, and everything else, tell whose it is."""
    return [
        {
            "id": 10 * project + number,
            "source_type": kind,
            "source_path": f"/projects/{project}/{number}",
            "title": f"item {number} of {project}",
            "text": f"text of {project}. " * 100,
            "created_at": f"2026-01-0{number + 1}T00:00:00.000Z",
            "project_id": project,
        }
        for number, kind in enumerate(KINDS)
    ]


def body_for(request: Request) -> bytes:
    """What a running Neptun answers, in which nothing is ever deleted."""
    place = Place.of(request)
    found = re.search(r"/projects/(\d+)", request.target)
    if place is Place.SESSION:
        return to_json({"id": "x", "user": {"id": 1}})
    if place is Place.PROJECTS:
        return to_json([{"id": number, "name": f"project {number}"} for number in range(1, PROJECTS + 1)])
    if place is Place.FILES and found:
        return to_json(items(int(found[1])))
    if place is Place.IMPORTS and found:
        kind = request.target.partition("import_source_type=")[2] or KINDS[0]
        return to_json([item for item in items(int(found[1])) if item["source_type"] == kind])
    return b"[]" if place is Place.DELETE else b""


async def be_neptun(share: float, seed: int) -> None:
    """Answer until stdin ends, a share of the requests with a fault."""
    chance = random.Random(seed)

    async def respond(exchange: Exchange) -> None:
        if chance.random() < share:
            await chance.choice(FAULTS).action(exchange)
        else:
            await answer(200, body_for(exchange.request))(exchange)

    async with serve(respond) as server:
        print(server.port, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.buffer.read)


# The callers


@dataclass
class Tally:
    """What the calls came to."""

    outcomes: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])
    seconds: list[float] = field(default_factory=list[float])

    def count(self, tool: str, project: int, result: CallToolResult) -> None:
        (block,) = result.content
        assert isinstance(block, TextContent)
        self.outcomes[sort_of(block.text) if result.is_error else "success"] += 1
        right = (is_about if result.is_error else is_complete)(project, block.text, result.structured_content or {})
        if not right:
            self.wrong.append(f"{tool} of project {project}: {block.text[:500]}")


def is_about(project: int, words: str, content: Json) -> bool:
    """Whether a failure was foreseen, and names no other project or import."""
    named = [int(number) for number in re.findall(r"(?:of|no) project (\d+)", words)]
    imports = [int(number) // 10 for number in re.findall(r"[Ii]mport (\d+)", words)]
    return "not foreseen" not in words and {*named, *imports} <= {project}


def is_complete(project: int, words: str, content: Json) -> bool:
    """Whether a success shows all that was asked for, and nothing of another project."""
    parts: list[Json] = content.get("imports") or content.get("resources") or [content["import"]]
    own = all(
        part["id"] // 10 == project
        and part.get("project_id", project) == project
        and part["title"].endswith(f" of {project}")
        and part.get("text", f"text of {project}. ").startswith(f"text of {project}. ")
        for part in parts
    )
    whole = len(parts) == content["total"] == len(KINDS) if "total" in content else content["deleted"]
    return own and whole and content["project_id"] == project and json.loads(words) == content


def sort_of(words: str) -> str:
    """The first sentence of a failure, without what differs from call to call."""
    return re.sub(r"https?://\S+", "Neptun", words).partition(". ")[0][:100]


async def call(client: Client, tally: Tally, chance: random.Random) -> None:
    project = chance.randint(1, PROJECTS)
    tool = chance.choice(["list_imports", "list_imports", "list_resources", "list_resources", "delete_import"])
    arguments: Json = {"project_id": project}
    if tool == "list_resources":
        arguments["resource_type"] = "user-files"
    if tool == "delete_import":
        arguments["import_id"] = 10 * project + chance.randrange(len(KINDS))
    started = time.perf_counter()
    with anyio.fail_after(LONGEST):
        result = await client.call_tool(tool, arguments)
    tally.seconds.append(time.perf_counter() - started)
    tally.count(tool, project, result)


async def calls(client: Client, tally: Tally, count: int, callers: int, seed: int) -> None:
    """So many calls, by so many callers."""
    left = count

    async def caller(number: int) -> None:
        nonlocal left
        chance = random.Random(f"{seed} {number}")
        while left > 0:
            left -= 1
            await call(client, tally, chance)

    async with anyio.create_task_group() as tasks:
        for number in range(callers):
            tasks.start_soon(caller, number)


def figures(when: str, done: int) -> str:
    gc.collect()
    descriptors = len(os.listdir("/proc/self/fd"))
    threads = len(os.listdir("/proc/self/task"))
    tasks = len(asyncio.all_tasks())
    return f"| {when} | {done:,} | {memory(os.getpid(), 'VmRSS'):.1f} | {descriptors} | {tasks} | {threads} |"


async def soak(options: argparse.Namespace) -> bool:
    """Print the figures; whether every answer was right."""
    command = [sys.executable, "-m", "benchmarks.soak", "--neptun"]
    command += ["--faults", str(options.faults), "--seed", str(options.seed)]
    process = await anyio.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None)
    async with process:
        assert process.stdout
        url = f"http://127.0.0.1:{int(await process.stdout.receive())}"
        settings = settings_for(url, user_id=1, timeout=2, max_response_mb=1)
        configure_logging(settings)
        tally = Tally()
        print("| | calls | memory (MB) | descriptors | tasks | threads |\n|---|---|---|---|---|---|")
        async with Client(create_server(settings), mode=options.era) as client:
            print(figures("idle", 0), flush=True)
            step = options.calls // 4
            for quarter in range(1, 5):
                await calls(client, tally, step, options.callers, options.seed + quarter)
                print(figures(f"{quarter} of 4", quarter * step), flush=True)
        print(figures("closed", 4 * step))
        assert process.stdin
        await process.stdin.aclose()
    seconds = sorted(tally.seconds)
    print(f"\nA call took {seconds[len(seconds) // 2] * 1000:.0f} ms in the middle, {seconds[-1]:.2f} s at most.\n")
    for outcome, count in tally.outcomes.most_common():
        print(f"{count:7,}  {outcome}")
    print(f"\n{len(tally.wrong)} answers were wrong.", *tally.wrong[:10], sep="\n")
    return not tally.wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--callers", type=int, default=50)
    parser.add_argument("--faults", type=float, default=0.1, help="the share of requests that Neptun fails")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--era", default="legacy", help="legacy (MCP 2025-11-25) or 2026-07-28")
    parser.add_argument("--neptun", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.neptun:
        anyio.run(be_neptun, options.faults, options.seed)
    elif not anyio.run(soak, options):
        sys.exit(1)


if __name__ == "__main__":
    main()
