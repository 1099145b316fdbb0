from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse

from neptun_mcp.commands.hosts import HOSTS
from neptun_mcp.sandbox import COOKIE, EMAIL
from tests.processes import Command
from tests.support import USER, Site, failure

SECRET = "Pa55word-that-nobody-may-see-in-a-report"


@pytest.fixture
def doctor(site: Site, monkeypatch: pytest.MonkeyPatch, command: Command, tmp_path: Path) -> Any:
    """Runs the command with settings, and returns its exit code and what it printed."""
    for home in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(home, str(tmp_path))

    def run(*options: str, **settings: str) -> tuple[int, str]:
        for name, value in {"BASE_URL": site.url, "SESSION_COOKIE": COOKIE, **settings}.items():
            monkeypatch.setenv(f"NEPTUN_{name}", value)
        ran = command("doctor", *options)
        assert ran.stderr == ""
        return int(str(ran.code)), ran.stdout

    return run


def test_each_step_says_what_it_found_and_the_end_that_all_is_well(doctor: Any, site: Site) -> None:
    code, printed = doctor()
    assert code == 0
    steps = [line.partition(":")[0] for line in printed.splitlines() if line.startswith("ok ")]
    names = ["environment", "settings", "hosts", "address", "session", "projects", "imports"]
    assert [step.split()[1] for step in steps] == names
    assert f"{site.url} answers" in printed
    assert "it belongs to user 1" in printed
    assert '1 "webshop"' in printed
    assert "a request for each kind of import" in printed
    assert printed.rstrip().endswith("All is well.")


def test_it_says_which_contract_a_documented_server_speaks(doctor: Any, site: Site) -> None:
    site.sandbox("documented")
    code, printed = doctor()
    assert code == 0
    assert "the server speaks: as documented" in printed


@pytest.mark.parametrize(
    ("settings", "step", "found", "to_do"),
    [
        ({"SESSION_COOKIE": ""}, "session", "No Neptun credentials are set", "Run `neptun-mcp login --base-url http"),
        ({"SESSION_COOKIE": "garbage"}, "session", "expired or wrong", "Run `neptun-mcp login --base-url http"),
        ({"USER_ID": "2"}, "session", "belongs to user 1", "Remove NEPTUN_USER_ID"),
        ({"PROJECT_ID": "99"}, "imports", "no project 99", "Your projects are"),
        ({"BASE_URL": "http://127.0.0.1:9"}, "address", "refused the connection", "Check NEPTUN_BASE_URL"),
        ({"TIMEOUT": "soon"}, "settings", "NEPTUN_TIMEOUT", "Correct the settings"),
        ({"PASSWORD": SECRET}, "settings", "NEPTUN_EMAIL and NEPTUN_PASSWORD go together", "Correct the settings"),
    ],
)
def test_it_ends_with_the_one_thing_to_fix(
    doctor: Any, settings: dict[str, str], step: str, found: str, to_do: str
) -> None:
    code, printed = doctor(**settings)
    assert code == 1
    *_, failed, _, last = printed.rstrip().splitlines()
    assert failed.startswith(f"FAIL {step}:")
    assert found in failed
    assert last.startswith(f"To do: {to_do}")


def test_a_failing_list_of_projects_is_named(doctor: Any, site: Site) -> None:
    site.answers[f"GET {USER}/projects"] = failure(500)
    code, printed = doctor()
    assert code == 1
    assert "FAIL projects: Neptun at" in printed


def test_an_account_without_projects_is_not_a_failure(doctor: Any, site: Site) -> None:
    site.answers[f"GET {USER}/projects"] = JSONResponse([])
    code, printed = doctor()
    assert code == 0
    assert "projects: none yet" in printed
    assert "imports: not looked at: there is no project" in printed


def test_the_json_report_holds_no_secret(doctor: Any) -> None:
    code, printed = doctor("--json", EMAIL=EMAIL, PASSWORD=SECRET, PASWORD=SECRET, MCP_TOKEN=SECRET)
    report = json.loads(printed)
    assert code == 0
    assert report["ok"] is True
    assert [step["name"] for step in report["steps"]][-1] == "imports"
    environment = report["steps"][0]["found"]
    assert f"NEPTUN_PASWORD=({len(SECRET)} characters; there is no such setting)" in environment
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in environment
    for secret in (SECRET, COOKIE, EMAIL):
        assert secret not in printed


def test_an_address_with_a_password_in_it_is_not_printed(doctor: Any) -> None:
    code, printed = doctor(BASE_URL=f"https://alice:{SECRET}@example.org")
    assert code == 1
    assert SECRET not in printed


def test_it_says_which_hosts_have_the_server_and_which_cannot_start_it(doctor: Any, tmp_path: Path) -> None:
    assert "ok   hosts: none has the server; `neptun-mcp install` adds it\n" in doctor()[1]
    for host, command in (("cursor", "gone"), ("gemini-cli", sys.executable)):
        file = HOSTS[host].file
        assert file
        file.parent.mkdir()
        file.write_text(json.dumps({"mcpServers": {"neptun": {"command": command}}}), "utf-8")
    code, printed = doctor()
    assert code == 1
    assert "FAIL hosts: cursor (the command in its entry does not exist), gemini-cli\nok   address" in printed
    assert printed.endswith("\nTo do: Run `neptun-mcp install cursor`, or remove the server from that host.\n")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("SESSION_COOKIE_FILE", SECRET),
        ("SESSION_COOKIE_FILE", f"~{SECRET}/x"),
        ("SESSION_COOKIE_FILE", f"{SECRET}/{'x' * 300}"),
        ("MCP_TOKEN_FILE", SECRET),
        ("USER_ID", SECRET),
        ("TIMEOUT", SECRET),
        ("READ_ONLY", SECRET),
        ("LOG_LEVEL", SECRET),
        ("SANDBOX", SECRET),
        ("MCP_ALLOWED_HOSTS", f"https://{SECRET}"),
        ("BASE_URL", f"https://example.org/?password={SECRET}"),
        ("BASE_URL", f"http://[::1]{SECRET}"),
        ("PASWORD", SECRET),
    ],
)
def test_a_misplaced_secret_is_not_printed(doctor: Any, setting: str, value: str) -> None:
    code, printed = doctor(SESSION_COOKIE="", **{setting: value})
    assert code == 1
    assert SECRET not in printed


def test_the_name_of_a_file_that_exists_is_printed(doctor: Any, tmp_path: Path) -> None:
    file = tmp_path / "cookie"
    file.write_text(COOKIE)
    code, printed = doctor(SESSION_COOKIE="", SESSION_COOKIE_FILE=f'"{file}"\r')
    assert code == 0
    assert f'NEPTUN_SESSION_COOKIE_FILE="{file}"' in printed
