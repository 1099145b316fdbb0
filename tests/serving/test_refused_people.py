"""Stopping one person: what the file says counts at once, and what cannot be read changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from neptun_mcp.sandbox import BOB_COOKIE, COOKIE
from neptun_mcp.serving.refused_people import RefusedPeople
from tests.serving.support import HEADERS, HOST, LIST_IMPORTS, TOKEN, content_in, start_in_process
from tests.support import ERAS, Json, Site

pytestmark = pytest.mark.anyio

TEAM: Json = {"mcp_credentials": "caller", "mcp_token": TOKEN, "mcp_allowed_hosts": HOST}


@pytest.mark.parametrize("era", ERAS)
async def test_a_person_is_stopped_and_no_other(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, era: str
) -> None:
    file = tmp_path / "refused"
    file.write_text("")
    async with start_in_process(site, mcp_refused_file=file, **TEAM) as caller:
        caller.era = era
        caller.headers = HEADERS
        content_in(await caller.call("list_imports", LIST_IMPORTS))
        file.write_text("# left in March\nuser-1  # Alice\n")
        response = await caller.post("tools/call", {"name": "list_imports", "arguments": LIST_IMPORTS})
        assert response.status_code == 403
        assert "may not use this server" in response.json()["error"]["message"]
        caller.headers = {**HEADERS, "Neptun-Session": BOB_COOKIE}
        assert (await caller.post("tools/list", {})).status_code == 200
        file.write_text("")
        caller.headers = HEADERS
        content_in(await caller.call("list_imports", LIST_IMPORTS))
    assert COOKIE not in caplog.text


def test_what_was_read_last_holds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "refused"
    file.write_text("user-7")
    refused = RefusedPeople(file)
    file.unlink()
    assert [refused.has_user(7), refused.has_user(8), refused.has_user(7)] == [True, False, True]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    file.write_text("user-8")
    assert [refused.has_user(7), refused.has_user(8)] == [False, True]


def test_a_file_that_cannot_be_read_at_the_start_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^NEPTUN_MCP_REFUSED_FILE: cannot be read \(No such file or directory\)$"):
        RefusedPeople(tmp_path / "none")
