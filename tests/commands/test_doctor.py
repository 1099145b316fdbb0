from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from starlette.responses import JSONResponse

from neptun_mcp.commands import doctor as module
from neptun_mcp.commands.hosts import HOSTS
from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from tests.processes import Command
from tests.support import USER, Json, Site, failure

SECRET = "Pa55word-that-nobody-may-see-in-a-report"


@pytest.fixture
def doctor(site: Site, monkeypatch: pytest.MonkeyPatch, command: Command, person: Path) -> Any:
    """Runs the command with settings, and returns its exit code and what it printed."""
    monkeypatch.delenv("NEPTUN_SANDBOX")

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
    assert "Neptun lists them each kind by itself" in printed
    assert printed.rstrip().endswith("All is well.")


def test_it_says_which_contract_a_documented_server_speaks(doctor: Any, site: Site) -> None:
    site.sandbox("documented")
    code, printed = doctor()
    assert code == 0
    assert "Neptun lists them as documented" in printed


@pytest.mark.parametrize(
    ("settings", "step", "found", "to_do"),
    [
        ({"SESSION_COOKIE": ""}, "session", "No Neptun credentials are set", "Run `neptun-mcp login --base-url http"),
        ({"SESSION_COOKIE": "garbage"}, "session", "expired or wrong", "Run `neptun-mcp login --base-url http"),
        ({"USER_ID": "2"}, "session", "belongs to user 1", "Remove NEPTUN_USER_ID"),
        (
            {"PROJECT_ID": "99"},
            "imports",
            "no project 99",
            "Correct NEPTUN_PROJECT_ID, or remove it. Your projects are",
        ),
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


def test_the_address_can_be_an_option(doctor: Any, site: Site) -> None:
    code, printed = doctor("--base-url", site.url, BASE_URL="")
    assert (code, f"address: {site.url} answers" in printed) == (0, True)
    code, printed = doctor("--base-url", "http://127.0.0.1:9", BASE_URL="")
    assert code == 1
    assert printed.endswith("To do: Check --base-url and the network, then try again.\n")


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
    code, printed = doctor("--json", EMAIL=EMAIL, PASSWORD=SECRET, PASWORD=SECRET, MAIL="", MCP_TOKEN=SECRET)
    report = json.loads(printed)
    assert code == 0
    assert report["ok"] is True
    assert [step["name"] for step in report["steps"]][-1] == "imports"
    environment = report["steps"][0]["found"]
    assert f"NEPTUN_PASWORD=({len(SECRET)} characters; there is no such setting)" in environment
    assert "NEPTUN_MAIL=(0 characters; there is no such setting)" in environment
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in environment
    for secret in (SECRET, COOKIE, EMAIL):
        assert secret not in printed


def test_an_address_with_a_password_in_it_is_not_printed(doctor: Any) -> None:
    code, printed = doctor(BASE_URL=f"https://alice:{SECRET}@example.org")
    assert code == 1
    assert SECRET not in printed


def put(host: str, **entry: Any) -> Path:
    """An entry in the file of a host."""
    file = HOSTS[host].file
    assert file
    file.parent.mkdir(parents=True, exist_ok=True)
    whole = {HOSTS[host].servers: {"neptun": entry}}
    file.write_text(tomlkit.dumps(whole) if file.suffix == ".toml" else json.dumps(whole), "utf-8")
    return file


PROGRAM = [sys.executable, "-m", "neptun_mcp"]


def test_it_says_which_hosts_have_the_server_and_which_cannot_start_it(doctor: Any) -> None:
    assert "ok   hosts: none has the server; `neptun-mcp install` adds it\n" in doctor()[1]
    put("cursor", command="/gone/neptun-mcp")
    put("zed", command=PROGRAM[0], args=PROGRAM[1:])
    put("gemini-cli", command=sys.executable, args=["other.py"])
    code, printed = doctor()
    assert code == 1
    assert "FAIL host cursor: the command in its entry does not exist" in printed
    assert printed.endswith("\nTo do: Run `neptun-mcp install cursor`, or `neptun-mcp uninstall cursor`.\n")


def test_an_entry_is_looked_at_with_its_own_environment(doctor: Any, site: Site) -> None:
    put("cursor", command=PROGRAM[0], args=PROGRAM[1:], env={"NEPTUN_SANDBOX": "1"})
    own = {"NEPTUN_BASE_URL": site.url, "NEPTUN_EMAIL": EMAIL, "NEPTUN_PASSWORD": PASSWORD}
    put("opencode", command=PROGRAM, environment=own)
    code, printed = doctor(SESSION_COOKIE="")
    assert code == 0
    assert f"host cursor: sample data\nok   host opencode: logged in to {site.url} as user 1\n" in printed
    assert "session: No Neptun credentials are set. No host uses these settings. (" in printed
    code, printed = doctor(SESSION_COOKIE="", BASE_URL="http://127.0.0.1:9")
    assert (code, "refused the connection. No host uses these settings. (" in printed) == (0, True)
    put("zed", command=PROGRAM[0], args=PROGRAM[1:], env={"NEPTUN_BASE_URL": site.url})
    code, printed = doctor(SESSION_COOKIE="")
    assert code == 1
    assert "host zed: the log-in of this command" in printed


def test_variables_where_the_host_does_not_look_do_not_count(doctor: Any, site: Site) -> None:
    put("opencode", command=PROGRAM, env={"NEPTUN_SANDBOX": "1"}, environment={"NEPTUN_BASE_URL": site.url})
    assert "host opencode: the log-in of this command\n" in doctor(SESSION_COOKIE="")[1]


@pytest.mark.parametrize(
    ("host", "entry", "found"),
    [
        ("claude-code", {"command": "${MY_PROGRAM}", "args": PROGRAM[1:]}, "the log-in of this command"),
        ("claude-code", {"url": "${MY_URL:-http://127.0.0.1:9/mcp}"}, "http://127.0.0.1:9/mcp does not answer"),
        ("cursor", {"command": PROGRAM[0], "args": [*PROGRAM[1:], "--sandbox"]}, "sample data"),
        (
            "cursor",
            {"command": PROGRAM[0], "args": [*PROGRAM[1:], "--base-url=http://127.0.0.1:9"]},
            "No Neptun credentials are set.",
        ),
        ("cline", {"command": "/gone/neptun-mcp", "disabled": True}, "switched off there"),
        ("codex", {"command": "/gone/neptun-mcp", "enabled": False}, "switched off there"),
        ("opencode", {"url": "http://127.0.0.1:9/mcp", "enabled": False}, "switched off there"),
        ("cursor", {"command": "docker", "args": ["run", "-i", "neptun-mcp"]}, "starts docker"),
        (
            "vscode",
            {"command": PROGRAM[0], "args": PROGRAM[1:], "env": {"NEPTUN_PASSWORD": "${input:password}"}},
            "asks you for its settings",
        ),
    ],
)
def test_an_entry_is_read_as_its_host_does(
    doctor: Any, site: Site, monkeypatch: pytest.MonkeyPatch, host: str, entry: Json, found: str
) -> None:
    def which(program: str, path: str | None = None) -> str | None:
        return program if program in ("docker", PROGRAM[0]) else None

    monkeypatch.setattr(module.shutil, "which", which)
    monkeypatch.setenv("MY_PROGRAM", PROGRAM[0])
    if found == "the log-in of this command":
        entry = {**entry, "env": {"NEPTUN_BASE_URL": site.url, "NEPTUN_SESSION_COOKIE": COOKIE}}
    put(host, **entry)
    assert f"host {host}: {found}\n" in doctor()[1]


def test_codex_takes_a_header_from_a_variable(doctor: Any, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.answers["POST /mcp"] = failure(401)
    monkeypatch.setenv("MY_TOKEN", "Bearer x")
    put("codex", url=f"{site.url}/mcp", env_http_headers={"Authorization": "MY_TOKEN"})
    assert f"FAIL host codex: {site.url}/mcp refuses the token in its entry (401)\n" in doctor()[1]


@pytest.mark.parametrize(
    ("env", "found", "to_do"),
    [
        ({"NEPTUN_TIMEOUT": "soon"}, "its settings are malformed: NEPTUN_TIMEOUT", "Correct the entry neptun in "),
        ({"NEPTUN_SESSION_COOKIE": SECRET}, "expired or wrong", "Correct the entry neptun in "),
        (
            {"NEPTUN_BASE_URL": "http://127.0.0.1:9"},
            "No Neptun credentials",
            "Run `neptun-mcp login --base-url http://127",
        ),
    ],
)
def test_an_entry_with_settings_that_do_not_work_is_named(
    doctor: Any, site: Site, env: dict[str, str], found: str, to_do: str
) -> None:
    put("cursor", command=PROGRAM[0], args=PROGRAM[1:], env={"NEPTUN_BASE_URL": site.url, **env})
    code, printed = doctor()
    assert code == 1
    assert "FAIL host cursor: " in printed
    assert found in printed
    assert f"To do: {to_do}" in printed
    assert SECRET not in printed


@pytest.mark.parametrize(
    ("host", "url", "cookie"),
    [
        ("gemini-cli", "${{MY_URL:-{}}}", "$MY_COOKIE"),
        ("cursor", "{}", "${env:MY_COOKIE}"),
        ("opencode", "{}", "{env:MY_COOKIE}"),
    ],
)
def test_a_host_that_expands_variables_is_looked_at_as_it_does(
    doctor: Any, site: Site, monkeypatch: pytest.MonkeyPatch, host: str, url: str, cookie: str
) -> None:
    monkeypatch.setenv("MY_COOKIE", COOKIE)
    env = {"NEPTUN_BASE_URL": url.format(site.url), "NEPTUN_SESSION_COOKIE": cookie}
    start: Any = {"command": PROGRAM, "environment": env}
    put(host, **(start if host == "opencode" else {"command": PROGRAM[0], "args": PROGRAM[1:], "env": env}))
    assert f"host {host}: logged in to {site.url} as user 1\n" in doctor(SESSION_COOKIE=f"{COOKIE}x")[1]


def test_what_a_host_does_not_expand_is_left(doctor: Any, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_COOKIE", COOKIE)
    env = {"NEPTUN_BASE_URL": site.url, "NEPTUN_SESSION_COOKIE": "$MY_COOKIE"}
    put("claude-code", command=PROGRAM[0], args=PROGRAM[1:], env=env)
    assert "claude-code: logged in" not in doctor()[1]


@pytest.mark.parametrize(
    ("host", "keys"),
    [
        ("claude-code", "url"),
        ("codex", "url"),
        ("gemini-cli", "httpUrl"),
        ("windsurf", "serverUrl"),
        ("cline", "transport.url"),
    ],
)
def test_an_entry_with_an_address_is_looked_at_over_http(doctor: Any, site: Site, host: str, keys: str) -> None:
    site.answers["POST /mcp"] = JSONResponse({"jsonrpc": "2.0", "id": 1, "result": {}})
    *outer, key = keys.split(".")
    entry: dict[str, Any] = {key: f"{site.url}/mcp", "headers": {"Authorization": "Bearer x"}}
    put(host, **({outer[0]: entry} if outer else entry))
    code, printed = doctor()
    assert code == 0
    assert f"host {host}: {site.url}/mcp answers\n" in printed


@pytest.mark.parametrize(
    ("status", "headers", "found", "ok"),
    [
        (401, {}, "answers, and asks you to sign in", True),
        (401, {"authorization": "Bearer x"}, "refuses the token in its entry (401)", False),
        (404, {}, "answers 404 to a host's first message", False),
        (0, {}, "does not answer", False),
    ],
)
def test_an_address_that_does_not_work_is_named(
    doctor: Any, site: Site, status: int, headers: dict[str, str], found: str, ok: bool
) -> None:
    site.answers["POST /mcp"] = failure(status or 200)
    url = f"{site.url}/mcp" if status else "http://127.0.0.1:9/mcp"
    file = put("cursor", url=url, headers=headers)
    code, printed = doctor()
    assert (code == 0, f"host cursor: {url} {found}\n" in printed) == (ok, True)
    assert ok or f"the entry neptun in {file}.\n" in printed


@pytest.mark.parametrize(
    ("variable", "value"),
    [("SSL_CERT_FILE", "/no/such/file"), ("ALL_PROXY", "socks5://127.0.0.1:9"), ("ALL_PROXY", "ftp://127.0.0.1:9")],
)
def test_a_setting_of_the_machine_that_keeps_an_entry_from_being_looked_at_is_named(
    doctor: Any, site: Site, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    put("cursor", url=f"{site.url}/mcp")
    monkeypatch.setenv(variable, value)
    code, printed = doctor(SANDBOX="1")
    assert f"FAIL host cursor: {site.url}/mcp cannot be reached: {variable}, a setting of this machine, " in printed
    assert (code, f"To do: Correct {variable} or unset it." in printed) == (1, True)


@pytest.mark.parametrize("entry", ["\n    cmd: '/gone/neptun-mcp' # mine\n    args: []", " {cmd: /gone/neptun-mcp}"])
def test_goose_is_looked_at_although_its_file_is_yaml(doctor: Any, entry: str) -> None:
    file = HOSTS["goose"].file
    assert file
    file.parent.mkdir(parents=True)
    file.write_text(f"extensions:\n  other:\n    cmd: x\n  neptun:{entry}\n", "utf-8")
    code, printed = doctor()
    assert code == 1
    assert "FAIL host goose: the command in its entry does not exist\n" in printed
    assert "To do: Run `neptun-mcp install goose`" in printed


@pytest.mark.parametrize(
    ("settings", "ok", "found"),
    [
        (
            {"MCP_CREDENTIALS": "caller"},
            True,
            "HTTP: the settings are complete; each caller brings a session of their own",
        ),
        (
            {
                "MCP_CREDENTIALS": "sign-in",
                "MCP_PUBLIC_URL": "https://mcp.example.com",
                "MCP_STATE_KEY": "0123456789abcdef" * 3,
            },
            True,
            "HTTP: the settings are complete; each person signs in with a browser",
        ),
        (
            {"MCP_CREDENTIALS": "sign-in"},
            False,
            "FAIL HTTP: NEPTUN_MCP_PUBLIC_URL and NEPTUN_MCP_STATE_KEY are not set",
        ),
    ],
)
def test_it_checks_what_the_modes_of_http_need(doctor: Any, settings: dict[str, str], ok: bool, found: str) -> None:
    code, printed = doctor(SESSION_COOKIE="", **settings)
    assert (code == 0) == ok
    assert found in printed


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


def test_a_file_of_a_host_that_cannot_be_read_is_named(doctor: Any) -> None:
    file = Path.home() / ".cursor/mcp.json"
    file.parent.mkdir(parents=True)
    file.write_text("{ broken")
    code, printed = doctor()
    assert code == 1
    assert "FAIL host cursor: its file cannot be read: " in printed
    assert "mcp.json" in printed.rpartition("To do: ")[2]


def test_entries_that_claude_code_has_for_a_project_are_looked_at(
    doctor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    entry: Json = {"mcpServers": {"neptun": {"command": "/gone/neptun-mcp"}}}
    file = put("claude-code", command=PROGRAM[0], args=PROGRAM[1:], env={"NEPTUN_SANDBOX": "1"})
    file.write_text(json.dumps({**json.loads(file.read_text()), "projects": {"/work/shop": entry, "/work/other": {}}}))
    code, printed = doctor()
    assert "ok   host claude-code: sample data\n" in printed
    assert "FAIL host claude-code in /work/shop: the command in its entry does not exist\n" in printed
    assert (code, f"To do: Correct the entry neptun in {file}.\n" in printed) == (1, True)
    file.unlink()
    (tmp_path / ".mcp.json").write_text(json.dumps(entry))
    code, printed = doctor()
    assert "FAIL host claude-code: the command in its entry does not exist\n" in printed
    assert (code, f"To do: Correct the entry neptun in {tmp_path / '.mcp.json'}.\n" in printed) == (1, True)
