"""The package as a library: what it exports, what importing it costs, and the server inside another program."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files

import pytest
from mcp.client.client import Client

import neptun_mcp
from neptun_mcp import Credentials, NeptunClient, Settings, create_server
from neptun_mcp.sandbox import COOKIE
from tests.support import WEBSHOP, ContractName, Site, content_of

pytestmark = pytest.mark.anyio


def test_the_exported_names() -> None:
    assert neptun_mcp.__all__ == ["Credentials", "NeptunClient", "NeptunError", "Settings", "create_server"]
    assert all(getattr(neptun_mcp, name).__name__ == name for name in neptun_mcp.__all__)


def test_no_other_names_are_exported() -> None:
    with pytest.raises(AttributeError, match="module 'neptun_mcp' has no attribute 'no_such_name'"):
        _ = neptun_mcp.no_such_name


def test_the_package_is_typed() -> None:
    assert files(neptun_mcp).joinpath("py.typed").is_file()


STEPS = {
    "import neptun_mcp": {"mcp", "httpx2", "pydantic", "anyio", "neptun_mcp.settings"},
    "neptun_mcp.NeptunClient": {"mcp", "starlette", "uvicorn", "neptun_mcp.tools"},
    "from neptun_mcp.account import create_client; create_client(neptun_mcp.Settings())": {"mcp", "starlette"},
    "import neptun_mcp.commands.serve, neptun_mcp.server, neptun_mcp.serving.stdio": {
        *("neptun_mcp.serving.http", "neptun_mcp.sign_in", "neptun_mcp.sandbox")
    },
}
"""What a program does, one after the other, and what it has not imported then."""


def test_only_what_is_used_is_imported() -> None:
    steps = [f"{code}; print({absent} & sys.modules.keys())" for code, absent in STEPS.items()]
    program = "\n".join(["import sys", *steps])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert shown.stdout == "set()\n" * len(STEPS)


async def test_the_client_is_used_without_mcp(site: Site, contract: ContractName) -> None:
    site.sandbox(contract)
    async with NeptunClient(Credentials(COOKIE), base_url=site.url) as neptun:
        assert neptun.address == site.url
        assert [project.id for project in (await neptun.list_projects()).items] == [3, 2, 1]
        assert [item.id for item in (await neptun.list_imports(WEBSHOP, "local_folder")).items] == [104, 103, 102]
        newest, *_ = (await neptun.list_resources(WEBSHOP, "user-files")).items
        assert newest.title == "runbook"
        assert (await neptun.find_import(WEBSHOP, 104)).source_path == "/home/alice/webshop"
        assert (await neptun.delete_import(WEBSHOP, 104)).confirmed


async def test_a_server_is_embedded_with_a_client_that_stays_open(site: Site) -> None:
    async with NeptunClient(Credentials(COOKIE), base_url=site.url) as neptun:
        server = create_server(Settings(project_id=WEBSHOP), client=neptun)
        for _ in range(2):
            async with Client(server) as client:
                assert content_of(await client.call_tool("list_imports"))["total"] == 7
        assert len((await neptun.list_projects()).items) == 3
