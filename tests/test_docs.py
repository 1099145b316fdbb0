"""What the README, its pages and the example promise is what the program has."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

from neptun_mcp import Settings
from neptun_mcp.commands.hosts import HOSTS
from neptun_mcp.serving import bodies, callers, deadlines, gate, http, mcp_sessions, process, turns, web_server
from neptun_mcp.sign_in import forms, log_in, provider
from neptun_mcp.tools import create_tools, pages
from tests.processes import Command

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
USAGE = (ROOT / "docs" / "usage.md").read_text("utf-8")


def test_the_settings_table_has_each_setting_with_its_default_and_meaning() -> None:
    """Those over HTTP on the page about it, the others on the one about usage."""
    table = r"^\| `NEPTUN_(\w+)` \| (.*) \|$"
    rows = dict(re.findall(table, USAGE, re.MULTILINE))
    assert not any(name.startswith("MCP_") for name in rows)
    remote = (ROOT / "docs" / "remote.md").read_text("utf-8").partition("\n## Settings\n")[2]
    rows |= dict(re.findall(table, remote, re.MULTILINE))
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"{field.default:g}" if field.annotation is float else field.default
        default = int(default) if isinstance(default, bool) else default
        shown = f"`{default}` | " if default != "" else "| "
        assert rows.pop(name.upper()).removeprefix(" ") == f"{shown}{field.description}"
    assert rows == {}


def test_the_readme_is_a_screen() -> None:
    assert len(README.splitlines()) <= 65
    assert max(len(line) for line in README.splitlines() if not line.startswith("|")) <= 120


def test_the_readme_names_each_tool_with_its_arguments() -> None:
    for tool in create_tools():
        (shown,) = re.findall(rf"^- `{tool.name}\((.*?)\)`:", README, re.MULTILINE)
        required = tool.parameters.get("required", [])
        assert shown.split(", ") == [
            f"{name} = {schema['default']}" if "default" in schema else name if name in required else f"{name}?"
            for name, schema in tool.parameters["properties"].items()
        ]


def test_the_example_configuration_is_that_of_the_page_about_usage_and_of_install(command: Command) -> None:
    example = json.loads((ROOT / "claude_config_example.json").read_text("utf-8"))
    (shown,) = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", USAGE, re.DOTALL))
    assert shown == example
    (server,) = example["mcpServers"].values()
    assert server.pop("command").endswith("/.venv/bin/neptun-mcp")
    (printed,) = json.loads(command("install", "claude-desktop", "--print").stdout)["mcpServers"].values()
    assert server == {name: value for name, value in printed.items() if name != "command"}


def test_the_page_about_hosts_has_each_host_with_its_name_and_its_file() -> None:
    page = (ROOT / "docs" / "hosts.md").read_text("utf-8")
    rows = {
        name: (title, file) for title, name, file in re.findall(r"^\| (.*) \| `([\w-]+)` \| (.*) \| .* \|$", page, re.M)
    }
    assert rows.keys() == HOSTS.keys()
    for name, host in HOSTS.items():
        title, file = rows[name]
        if host.files:
            assert title == host.title
            assert Path(host.files[0]).name in file


def texts(node: ast.AST) -> str:
    """What a literal says; of an f-string, what does not change."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(str(part.value) for part in parts if isinstance(part, ast.Constant))


@cache
def said() -> list[str]:
    """What the literals of the package say."""
    modules = [ast.parse(file.read_text("utf-8")) for file in (ROOT / "neptun_mcp").rglob("*.py")]
    return [texts(node) for module in modules for node in ast.walk(module)]


def test_the_messages_on_the_page_about_troubles_are_those_of_the_program() -> None:
    literals = said()
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    rows = set(re.findall(r"^\| (.*?) \| .* \|$", page, re.MULTILINE)) - {"the message begins"}
    messages = [message for row in rows for message in row.split(" / ")]
    for message in messages:
        for part in re.split(r"…|\b\d+\b|Neptun-Session", message):
            assert any(part.strip(" .") in text for text in literals), message


def test_the_reasons_and_metrics_on_the_page_about_http_are_those_of_the_program() -> None:
    """Alarms and queries that are pasted from it would stay silent otherwise."""
    literals = set(said())
    page = (ROOT / "docs" / "remote.md").read_text("utf-8")
    reasons = set(re.findall(r"^  \| `(\w+)` \|", page, re.MULTILINE)) - {"reason"}
    assert reasons
    assert reasons <= literals
    metrics = {
        re.sub(r"_(bucket|count|total)$", "", name).removesuffix("_seconds")
        for name in re.findall(r"\b(?:http|mcp|neptun_mcp)_\w+", page.partition("### Metrics")[2].partition("###")[0])
    }
    assert "neptun_mcp_ready" in metrics
    others = {
        "http_client_request_duration",
        "http_response_status_code",
    }  # of OpenTelemetry's instrumentation of HTTPX
    assert metrics - others <= {name.replace(".", "_") for name in literals}


MINUTE, HOUR, DAY, KB = 60, 3600, 86_400, 2**10

FIGURES: dict[str, list[tuple[str, float]]] = {
    "SECURITY.md": [
        ("| pending request | {} minutes,", provider.PENDING_SECONDS / MINUTE),
        ("| code | {} minutes,", provider.CODE_SECONDS / MINUTE),
        ("within its {} minutes", provider.CODE_SECONDS / MINUTE),
        ("| access token | {} minutes; an hour", provider.ACCESS_SECONDS / MINUTE),
        ("for the rest of its {} minutes", provider.ACCESS_SECONDS / MINUTE),
        ("| refresh token | {} days,", provider.REFRESH_SECONDS / DAY),
        ("no answer within {} seconds", provider.RENEWAL_SECONDS),
        ("| {} days | digests of the last five accounts |", provider.KNOWN_SECONDS / DAY),
        ("refuses all tokens of the sign-in (it remembers the last {})", provider.MAX_REMEMBERED),
        ("*which codes were used* (the last {})", provider.MAX_REMEMBERED),
        ("in {} minutes in each process", log_in.ATTEMPTS_SECONDS / MINUTE),
    ],
    "docs/remote.md": [
        ("after {} hours without use", mcp_sessions.IDLE_SECONDS / HOUR),
        ("A process keeps {} sessions", mcp_sessions.MAX_SESSIONS),
        ("give a process `NEPTUN_TIMEOUT` and {} seconds more", web_server.GRACE_SECONDS),
        ("For {} seconds, connections that are open", web_server.LEAVING_SECONDS),
        ("until {} others have been used since", callers.MAX_CLIENTS),
        ("checked every {} seconds at most", http.READY_SECONDS),
        ("headers of at most {} kB each", gate.MAX_HEADER / KB),
        ("kB and {} fields", forms.MAX_FIELDS),
        ("more than {} kB, or not complete", gate.MAX_BODY / KB),
        ("not complete within {} seconds", bodies.BODY_SECONDS),
        ("a body may have {} kB", gate.MAX_PUBLIC_BODY / KB),
        ("At most {} bodies of calls", gate.MAX_BODIES),
        ("and {} others are half read", gate.MAX_PUBLIC_BODIES),
        ("{} more requests may wait", turns.MAX_WAITING),
        ("while {} requests are in flight", turns.MAX_IN_FLIGHT),
        ("answers {} refusals (4xx) a second", gate.MAX_REFUSALS),
        ("for {} seconds at most, so that peers", gate.HOLD_SECONDS),
        ("and {} requests may wait", http.MAX_WAITING_IN_ONE_ACCOUNT),
        ("up to {}.", process.MAX_OPEN),
        ("whose peers read nothing for {} seconds", deadlines.PEER_SECONDS),
    ],
}


@pytest.mark.parametrize("page", FIGURES)
def test_the_figures_that_a_page_promises_are_those_of_the_code(page: str) -> None:
    text = " ".join((ROOT / page).read_text("utf-8").split())
    promised = [phrase.format(f"{figure:,g}") for phrase, figure in FIGURES[page]]
    assert [phrase for phrase in promised if phrase not in text] == []
    assert (log_in.ATTEMPTS, log_in.MAX_KNOWN, provider.UNRENEWED_SECONDS) == (5, 5, HOUR), "in words, in SECURITY.md"
    assert (provider.ACCESS_SECONDS, pages.REMEMBERED_SECONDS) == (10 * MINUTE, 5 * MINUTE), "in words, in remote.md"


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("[!.]*/*.md")]), ids=lambda page: page.stem)
def test_what_a_page_links_to_or_names_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = set(re.findall(r"`(\w[\w/-]*/[\w.-]+\.(?:json|md|py|svg|yaml))`", text))
    assert [name for name in named if not any((place / name).exists() for place in (ROOT, ROOT / "neptun_mcp"))] == []
    for name, anchor in re.findall(r"\]\((?!https?://)([^)#]*)#([^)]+)\)", text):
        headings = re.findall(r"^#+ (.*)$", (page.parent / name if name else page).read_text("utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
