"""The tasks of a chat: each answer is in what the fewest calls return."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.tasks import COMPARABLE, TASKS, run_ours

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[1]


async def test_each_task_is_answered_in_few_calls_and_little_reading() -> None:
    """32 tasks in at most 34 calls and 45,000 characters, by the design; half of the characters will do."""
    tally = await run_ours(COMPARABLE)
    assert len(COMPARABLE) >= 32
    assert tally.unanswered == []
    assert tally.calls <= 34
    assert tally.characters <= 22_500


async def test_what_must_not_be_done_is_refused() -> None:
    refusals = [task for task in TASKS if task.refused]
    tally = await run_ours(refusals)
    assert refusals
    assert tally.unanswered == []


@pytest.mark.slow  # of FastMCP, not of ours
@pytest.mark.skipif(not find_spec("fastmcp"), reason="FastMCP is not installed")
def test_the_peer_reads_many_times_as_much() -> None:
    """In a process of its own: FastMCP leaves its client open."""
    ran = subprocess.run([sys.executable, "-m", "benchmarks.tasks"], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    figures = {
        line.split()[0]: [int(number.replace(",", "")) for number in line.split()[1:]]
        for line in ran.stdout.splitlines()
        if line.startswith(("ours", "FastMCP"))
    }
    assert figures["FastMCP's"][1] > 10 * figures["ours"][1]
