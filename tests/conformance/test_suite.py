"""The published conformance suite of MCP, against this server over HTTP: `python -m pytest -rs tests/conformance`.

`npx` fetches the suite, which needs Node 22.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import anyio
import pytest

from neptun_mcp.sandbox import EMAIL, PASSWORD
from tests.processes import COMMAND, environment, free_port, start
from tests.sign_in.support import sign_in_server
from tests.support import Site

SUITE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
EXPECTED_FAILURES = Path(__file__).with_name("expected-failures.yaml")

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture(scope="module")
def suite() -> list[str]:
    """The command of the suite."""
    node, npx = shutil.which("node"), shutil.which("npx")
    if node is None or npx is None:
        pytest.skip("Node and npx are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(re.findall(r"\d+", version)[0]) < 22:
        pytest.skip(f"Node is {version}, and the suite needs 22")
    command = [npx, "--yes", SUITE]
    if subprocess.run([*command, "--version"], capture_output=True, check=False).returncode:
        pytest.skip(f"npx cannot fetch {SUITE}")
    return command


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
async def test_every_scenario_passes_that_needs_nothing_of_the_reference_server(
    suite: list[str], revision: str, tmp_path: Path
) -> None:
    port = str(free_port())
    url = f"http://127.0.0.1:{port}"
    serve = (*COMMAND, "serve", "--http", "--port", port)
    async with start(tmp_path / "log", *serve, env=environment(NEPTUN_SANDBOX="1")) as server:
        await server.answering(f"{url}/health")
        options = ["--url", f"{url}/mcp", "--requirements", revision, "-o", str(tmp_path)]
        command = [*suite, "server", *options, "--expected-failures", str(EXPECTED_FAILURES)]
        run = await anyio.run_process(command, check=False)
    assert run.returncode == 0, run.stdout.decode()[-5_000:]


async def test_the_authorization_server_passes_both_of_its_scenarios(suite: list[str], site: Site) -> None:
    async with sign_in_server(site) as server:
        port = free_port()
        redirect = f"http://127.0.0.1:{port}/callback"
        client = (await server.app.register(redirect_uris=[redirect])).json()["client_id"]
        options = ["--url", server.url, "--client-id", client, "--resource", f"{server.url}/mcp", "-p", str(port)]
        async with await anyio.open_process([*suite, "authorization", *options], stderr=None) as run:
            assert run.stdout
            shown = ""
            async for part in run.stdout:
                shown += part.decode()
                if "callback..." in shown and (found := re.search(rf"{server.url}/authorize\S+", shown)):
                    page = await server.browser.open(found[0])
                    answer = await server.browser.submit(page, email=EMAIL, password=PASSWORD)
                    shown = shown.replace(found[0], "")
                    await server.app.http.get(answer.headers["location"])
        assert run.returncode == 0, shown
        assert len(re.findall(r"✓ authorization-\S+: \d+ passed, 0 failed", shown)) == 2, shown
