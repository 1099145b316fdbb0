"""Runs the suite and compares its results with `expected.json`."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from tests.processes import COMMAND, environment

SUITE = ("@modelcontextprotocol/conformance@0.2.0-alpha.12", "node@22")
"""With the Node that it needs, whatever is installed."""

EXPECTED: dict[str, Any] = json.loads(Path(__file__).with_name("expected.json").read_text("utf-8"))
SUMMARY = re.compile(r"Passed: (\d+)/(\d+), (\d+) failed, (\d+) warnings")
SKIPPED = 77


def main() -> int:
    """0 if every scenario ended as expected, 1 if not, 77 if Node is missing."""
    if not (shutil.which("node") and shutil.which("npm")):
        sys.stdout.write("skipped: Node and npm are not installed\n")
        return SKIPPED
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", *SUITE], cwd=folder, check=True)
        found = _run(Path(folder))
    wrong = {name: result for name, result in found.items() if EXPECTED.get(name) != result}
    sys.stdout.write(f"{len(found)} scenarios, {len(wrong)} not as expected\n")
    for name, result in wrong.items():
        sys.stdout.write(f"{name}: {result}, expected {EXPECTED.get(name)}\n")
    return 1 if wrong else 0


def _run(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    with _server(sandbox="1") as url:
        for name in EXPECTED:
            if not name.startswith("authorization-"):
                found[name] = _scenario(folder, "server", "--url", f"{url}/mcp", "--scenario", name)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    signing_in = {"mcp_credentials": "sign-in", "mcp_public_url": address, "mcp_state_key": os.urandom(32).hex()}
    with _server(port, sandbox="1", **signing_in) as url:
        name = "authorization-server-metadata-endpoint"
        found[name] = _scenario(folder, "authorization", "--url", url, "--scenario", name)
    return found


def _scenario(folder: Path, *arguments: str) -> str:
    """What the suite says of a scenario: "passed/checks, failed, warnings"."""
    binaries = folder / "node_modules" / ".bin"
    env = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1"}
    try:
        ran = subprocess.run(
            [str(binaries / "conformance"), *arguments],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no end within a minute"
    if summary := SUMMARY.search(ran.stdout):
        passed, checks, failed, warnings = summary.groups()
        return f"{passed} of {checks} passed, {failed} failed, {warnings} warnings"
    return f"exit code {ran.returncode}, no summary: {ran.stdout[-300:]}"


@contextmanager
def _server(port: int = 0, **settings: str) -> Generator[str]:
    if not port:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [*COMMAND, "serve", "--http", "--port", str(port)]
    process = subprocess.Popen(command, env=environment(**settings), stderr=subprocess.DEVNULL)
    try:
        _wait_for(f"{url}/health")
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str) -> None:
    for _ in range(100):
        try:
            with urlopen(url, timeout=5):
                return
        except URLError:
            time.sleep(0.1)
    raise TimeoutError(url)


if __name__ == "__main__":
    sys.exit(main())
