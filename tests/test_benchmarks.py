"""The Neptun of the benchmarks answers as the client expects: what is measured is a call that succeeds."""

from __future__ import annotations

import httpx2 as httpx
import pytest

from benchmarks.stub import Answers, DataSet
from neptun_mcp import Credentials, NeptunClient
from neptun_mcp.neptun.models import RESOURCE_MODELS

from .support import COOKIE

pytestmark = pytest.mark.anyio

DATA = {1: DataSet(local=2, installation=2, public=2, files=2)}


@pytest.mark.parametrize("documented", [True, False])
async def test_the_stub_speaks_both_contracts(documented: bool) -> None:
    answers = Answers(DATA, documented, delay=0, megabits=0)

    def answer(request: httpx.Request) -> httpx.Response:
        status, body = answers.route(request.method, request.url.raw_path.decode())
        return httpx.Response(status, json=body)

    transport = httpx.MockTransport(answer)
    async with NeptunClient(Credentials(cookie=COOKIE), http_transport=transport) as neptun:
        (project,) = (await neptun.list_projects()).items
        imports = await neptun.list_imports(project.id)
        assert (len(imports.items), imports.left_out) == (6, [])
        for resource_type in RESOURCE_MODELS:
            resources = await neptun.list_resources(project.id, resource_type)
            assert resources.items
            assert resources.left_out == []
        deletion = await neptun.delete_import(project.id, imports.items[0].id)
        assert deletion.confirmed
