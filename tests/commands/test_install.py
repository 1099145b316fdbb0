"""`neptun-mcp install`: the entry that each host gets, and that nothing else in its file changes."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, cast

import hypothesis
import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from neptun_mcp.account import session_store
from neptun_mcp.commands import config_file, hosts
from neptun_mcp.commands.hosts import HOSTS
from neptun_mcp.commands.json_text import read_json, remove_json, set_json
from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from tests.commands.conftest import VARIABLES, find_entries
from tests.processes import COMMAND as PROGRAM
from tests.processes import Command, Completed, environment
from tests.support import Json, Site

COMMAND = shutil.which("neptun-mcp", path=sysconfig.get_path("scripts"))
SANDBOX = {"NEPTUN_SANDBOX": "1"}
STDIO: Json = {"command": COMMAND, "args": [], "env": SANDBOX}
TYPED: Json = {"type": "stdio", **STDIO}
CAREFUL: Json = {"timeout": 60, **STDIO, "env": {**SANDBOX, "NEPTUN_CONFIRM_DELETE": "require"}}

posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has neither these modes nor, for everyone, symlinks")

FILES: dict[str, tuple[str, Json]] = {
    "claude-desktop": (".config/Claude/claude_desktop_config.json", {"mcpServers": {"neptun": STDIO}}),
    "claude-code": (".claude.json", {"mcpServers": {"neptun": TYPED}}),
    "cursor": (".cursor/mcp.json", {"mcpServers": {"neptun": TYPED}}),
    "vscode": (".config/Code/User/mcp.json", {"servers": {"neptun": TYPED}}),
    "windsurf": (".config/devin/mcp_config.json", {"mcpServers": {"neptun": STDIO}}),
    "zed": (".config/zed/settings.json", {"context_servers": {"neptun": STDIO}}),
    "gemini-cli": (".gemini/settings.json", {"mcpServers": {"neptun": {"trust": False, **STDIO}}}),
    "qwen-code": (".qwen/settings.json", {"mcpServers": {"neptun": {"trust": False, **STDIO}}}),
    "copilot-cli": (
        ".copilot/mcp-config.json",
        {"mcpServers": {"neptun": {"type": "local", "tools": ["*"], **STDIO}}},
    ),
    "opencode": (
        ".config/opencode/opencode.jsonc",
        {
            "mcp": {"neptun": {"type": "local", "command": [COMMAND], "environment": SANDBOX}},
            "permission": {"neptun_delete_import": "ask"},
        },
    ),
    "cline": (".cline/data/settings/cline_mcp_settings.json", {"mcpServers": {"neptun": CAREFUL}}),
}
"""Where the hosts whose files are JSON have what, on Linux."""

PROXIES = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "all_proxy", "no_proxy"]
SESSION = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
]
CODEX: Json = {**STDIO, "env_vars": [*PROXIES, *SESSION]}


@pytest.fixture(autouse=True)
def home(person: Path) -> Path:
    return person


# Entries and their places


@pytest.mark.parametrize("host", FILES)
def test_each_host_gets_the_entry_in_its_place_and_form(command: Command, home: Path, host: str) -> None:
    place, content = FILES[host]
    assert command("install", host).code == 0
    assert json.loads((home / place).read_text("utf-8")) == content


def test_codex_gets_a_table(command: Command, home: Path) -> None:
    assert command("install", "codex").code == 0
    assert tomlkit.parse((home / ".codex/config.toml").read_text("utf-8")).unwrap() == {
        "mcp_servers": {"neptun": CODEX}
    }


@pytest.mark.parametrize("host", [*FILES, "codex"])
def test_what_is_printed_is_what_would_be_written(command: Command, home: Path, host: str) -> None:
    printed = command("install", host, "--print")
    assert (printed.code, list(home.iterdir())) == (0, [])
    command("install", host)
    (written,) = (path for path in home.rglob("*") if path.is_file())
    assert printed.stdout == written.read_text("utf-8")
    assert printed.stderr.startswith(f"Add this to {written}.\n")


def test_goose_is_shown_what_to_add_to_its_yaml(command: Command, home: Path) -> None:
    ran = command("install", "goose")
    assert (ran.code, list(home.iterdir())) == (0, [])
    assert ran.stdout == (
        "extensions:\n"
        "  neptun:\n"
        "    type: stdio\n"
        "    name: neptun\n"
        "    enabled: true\n"
        "    timeout: 300\n"
        f"    cmd: {COMMAND}\n"
        "    args: []\n"
        "    envs:\n"
        "      NEPTUN_CONFIRM_DELETE: require\n"
        "      NEPTUN_SANDBOX: '1'\n"
    )
    assert ran.stderr.startswith(
        f'Add this to {home / ".config/goose/config.yaml"}. If that has a line "extensions:" already, add what '
        "follows that line here below it.\n"
    )


def test_another_host_is_shown_the_usual_entry_which_refuses_to_delete_unasked(command: Command) -> None:
    ran = command("install", "generic", "--print")
    env = {"NEPTUN_CONFIRM_DELETE": "require", **SANDBOX}
    assert (ran.code, json.loads(ran.stdout)) == (0, {"mcpServers": {"neptun": {**STDIO, "env": env}}})
    assert ran.stderr.startswith("Add this to the configuration of your host.\n")


@pytest.mark.anyio
async def test_an_entry_starts_the_server(command: Command) -> None:
    entry = json.loads(command("install", "generic", "--print").stdout)["mcpServers"]["neptun"]
    async with Client(stdio_client(StdioServerParameters(**entry))) as client:
        assert (await client.call_tool("list_imports", {"project_id": 1})).is_error is False


def test_without_a_script_the_entry_starts_python(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scripts(name: str) -> str:
        return str(home)

    monkeypatch.setattr(sysconfig, "get_path", scripts)
    entry = json.loads(command("install", "generic", "--print").stdout)["mcpServers"]["neptun"]
    assert (entry["command"], entry["args"]) == (sys.executable, ["-m", "neptun_mcp"])


APPLICATION_SUPPORT, ROAMING = "Library/Application Support", "AppData/Roaming"


@pytest.mark.parametrize(
    ("host", "macos", "windows"),
    [
        (
            "claude-desktop",
            f"{APPLICATION_SUPPORT}/Claude/claude_desktop_config.json",
            f"{ROAMING}/Claude/claude_desktop_config.json",
        ),
        ("claude-code", ".claude.json", ".claude.json"),
        ("cursor", ".cursor/mcp.json", ".cursor/mcp.json"),
        ("vscode", f"{APPLICATION_SUPPORT}/Code/User/mcp.json", f"{ROAMING}/Code/User/mcp.json"),
        ("windsurf", ".config/devin/mcp_config.json", f"{ROAMING}/devin/mcp_config.json"),
        ("zed", ".config/zed/settings.json", f"{ROAMING}/zed/settings.json"),
        ("codex", ".codex/config.toml", ".codex/config.toml"),
        ("opencode", ".config/opencode/opencode.jsonc", ".config/opencode/opencode.jsonc"),
        ("goose", ".config/goose/config.yaml", f"{ROAMING}/Block/goose/config/config.yaml"),
    ],
)
def test_places_on_other_systems(
    home: Path, monkeypatch: pytest.MonkeyPatch, host: str, macos: str, windows: str
) -> None:
    for platform, place in (("darwin", macos), ("win32", windows)):
        monkeypatch.setattr(hosts, "PLATFORM", platform)
        assert HOSTS[host].file == home / place


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_host_that_was_moved_is_found(home: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    host, place = VARIABLES[variable]
    monkeypatch.setenv(variable, str(home / "elsewhere"))
    assert HOSTS[host].file == home / "elsewhere" / place


@pytest.mark.parametrize(
    ("platform", "host", "existing"),
    [
        ("linux", "opencode", ".config/opencode/opencode.json"),
        ("linux", "windsurf", ".codeium/windsurf/mcp_config.json"),
        ("linux", "vscode", ".config/Code - Insiders/User/mcp.json"),
        (
            "win32",
            "claude-desktop",
            "AppData/Local/Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming/Claude/claude_desktop_config.json",
        ),
    ],
)
def test_the_place_in_use_is_chosen_of_several(
    home: Path, monkeypatch: pytest.MonkeyPatch, platform: str, host: str, existing: str
) -> None:
    monkeypatch.setattr(hosts, "PLATFORM", platform)
    (home / existing).parent.mkdir(parents=True)
    if host == "opencode":  # both names are for one folder
        (home / existing).touch()
    assert HOSTS[host].file == home / existing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["claude-cod"], "There is no host 'claude-cod'. Did you mean claude-code?"),
        (["emacs"], "There is no host 'emacs'."),
    ],
)
def test_an_unknown_host_is_a_misuse_and_all_are_listed(command: Command, arguments: list[str], message: str) -> None:
    assert command("install", *arguments) == Completed(2, "", f"{message}\nThe hosts are: {', '.join(HOSTS)}.\n")


# Settings and secrets


def test_the_settings_that_are_set_go_into_the_entry(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEPTUN_SANDBOX")
    monkeypatch.chdir(home)
    monkeypatch.setenv("NEPTUN_PROJECT_ID", " 3 ")
    monkeypatch.setenv("NEPTUN_USER_ID", "")
    monkeypatch.setenv("NEPTUN_SESSION_COOKIE_FILE", "~nobody-of-this-name/x")
    monkeypatch.setenv("NEPTUN_MCP_ALLOWED_HOSTS", "example.com")  # counts over HTTP only
    entry = json.loads(command("install", "generic", "--print").stdout)["mcpServers"]["neptun"]
    assert entry["env"] == {
        "NEPTUN_CONFIRM_DELETE": "require",
        "NEPTUN_PROJECT_ID": "3",
        "NEPTUN_SESSION_COOKIE_FILE": str(home / "~nobody-of-this-name/x"),
    }


SECRETS = {"NEPTUN_SESSION_COOKIE": COOKIE, "NEPTUN_EMAIL": EMAIL, "NEPTUN_PASSWORD": PASSWORD}


def test_secrets_stay_out_of_the_file_and_are_named(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    ran = command("install", "cursor")
    written = (home / ".cursor/mcp.json").read_text("utf-8")
    assert not [value for value in SECRETS.values() if value in written + ran.stdout + ran.stderr]
    assert (
        "Secrets were left out: NEPTUN_SESSION_COOKIE, NEPTUN_EMAIL, NEPTUN_PASSWORD. "
        "Run `neptun-mcp login`, or use --with-secrets.\n"
    ) in ran.stderr


def test_secrets_are_written_if_they_are_asked_for(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NEPTUN_PASSWORD", f" {PASSWORD} ")  # the blanks belong to it
    ran = command("install", "cursor", "--with-secrets")
    file = home / ".cursor/mcp.json"
    assert json.loads(file.read_text("utf-8"))["mcpServers"]["neptun"]["env"] == {
        **SANDBOX,
        **SECRETS,
        "NEPTUN_PASSWORD": f" {PASSWORD} ",
    }
    assert not [value for value in SECRETS.values() if value in ran.stdout + ran.stderr]
    assert os.name == "nt" or file.stat().st_mode & 0o777 == 0o600


def test_malformed_settings_are_not_installed(command: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPTUN_PROJECT_ID", "webshop")
    assert (command("install", "cursor").code, list(home.iterdir())) == (2, [])


def test_a_command_in_a_cache_is_said_not_to_last(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/home/alice/.cache/uv/archive-v0/x")
    assert "cache that may be cleared (/home/alice/.cache/uv/archive-v0/x)" in command("install", "cursor").stdout


# Hosts that do not ask


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"neptun_delete_import": "ask"}),
        ({"permission": {"bash": "ask", "*": "allow"}}, {"bash": "ask", "*": "allow", "neptun_delete_import": "ask"}),
        ({"permission": "allow"}, {"*": "allow", "neptun_delete_import": "ask"}),
        ({"permission": "ask"}, "ask"),
        ({"permission": {"neptun_delete_import": "ask", "*": "allow"}}, {"*": "allow", "neptun_delete_import": "ask"}),
        ({"permission": {"neptun_*": "allow"}}, {"neptun_*": "allow", "neptun_delete_import": "ask"}),
        ({"permission": {"neptun_*": "ask"}}, {"neptun_*": "ask"}),
        ({"permission": {"neptun_delete_import": "deny"}}, {"neptun_delete_import": "deny"}),
        ({"permission": {"neptun_delete_import": "allow"}}, {"neptun_delete_import": "allow"}),
    ],
)
def test_opencode_is_made_to_ask_unless_the_person_has_said_otherwise(
    command: Command, home: Path, before: Json, after: Json | str
) -> None:
    file = put(home, "opencode", json.dumps(before))
    ran = command("install", "opencode")
    said = {"deny": "refuses every deletion", "allow": "deletes without asking anyone"}
    last = after if isinstance(after, str) else list(after.values())[-1]
    assert f"opencode {said.get(last, 'asks before a deletion')}, because" in ran.stdout
    permission: Any = json.loads(file.read_text("utf-8"))["permission"]
    assert permission == after
    assert list(permission) == list(after)  # in opencode the last rule counts


def test_the_person_may_say_that_cline_need_not_ask(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEPTUN_CONFIRM_DELETE", "off")
    ran = command("install", "cline")
    entry = json.loads((home / FILES["cline"][0]).read_text("utf-8"))["mcpServers"]["neptun"]
    assert entry["env"] == {**SANDBOX, "NEPTUN_CONFIRM_DELETE": "off"}
    assert (
        "NEPTUN_CONFIRM_DELETE is off, as you set it: the server may delete imports without asking you." in ran.stdout
    )


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("READ_ONLY", "yes", "There is no tool that deletes (NEPTUN_READ_ONLY)."),
        ("READ_ONLY", "0", None),
        (
            "CONFIRM_DELETE",
            "off",
            "NEPTUN_CONFIRM_DELETE is off, as you set it: the server may delete imports without asking you.",
        ),
        ("CONFIRM_DELETE", "require", "delete_import refuses unless the server's question is shown to you"),
        ("CONFIRM_DELETE", "ask", None),
    ],
)
@pytest.mark.parametrize("host", ["claude-code", "gemini-cli", "opencode"])
def test_what_install_says_of_deletions_goes_by_the_settings(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch, host: str, setting: str, value: str, said: str | None
) -> None:
    usual = "opencode asks before" if host == "opencode" else "Before a deletion {} asks you"
    monkeypatch.setenv(f"NEPTUN_{setting}", value)
    assert (said or usual).format(HOSTS[host].title) in command("install", host).stdout


def test_gemini_is_trusted_no_longer(command: Command, home: Path) -> None:
    file = put(home, "gemini-cli", json.dumps({"mcpServers": {"neptun": {**STDIO, "trust": True}}}))
    command("install", "gemini-cli")
    assert json.loads(file.read_text("utf-8"))["mcpServers"]["neptun"]["trust"] is False


# What else is in the file


def put(home: Path, host: str, content: str | bytes) -> Path:
    file = HOSTS[host].file
    assert file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


TAB = "\t"


def nested(indent: str, step: str) -> str:
    return json.dumps(STDIO, indent=step).replace("\n", f"\n{indent}")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", f'{{\n  "mcpServers": {{\n    "neptun": {nested("    ", "  ")}\n  }}\n}}\n'),
        ("{}", f'{{\n  "mcpServers": {{\n    "neptun": {nested("    ", "  ")}\n  }}\n}}'),
        (
            '{\n  // none yet\n  "mcpServers": {},\n}\n',
            f'{{\n  // none yet\n  "mcpServers": {{\n    "neptun": {nested("    ", "  ")}\n  }},\n}}\n',
        ),
        (
            '{\n\t"mcpServers": {\n\t\t"a": {"url": "http://a"} // of a\n\t\t/* the end */\n\t},\n\t"z": 1\n}\n',
            '{\n\t"mcpServers": {\n\t\t"a": {"url": "http://a"}, // of a\n\t\t/* the end */\n'
            f'\t\t"neptun": {nested(2 * TAB, TAB)}\n\t}},\n\t"z": 1\n}}\n',
        ),
        (
            '{ // "mcpServers": {\n    "mcpServers": {\n        "a": {}, // }\n    }\n}',
            '{ // "mcpServers": {\n    "mcpServers": {\n        "a": {}, // }\n'
            f'        "neptun": {nested("        ", "    ")},\n    }}\n}}',
        ),
        (
            '{"a": "// \\"}", "b": [1,]}',
            f'{{"a": "// \\"}}", "b": [1,], "mcpServers": {{"neptun": {json.dumps(STDIO)}}}}}',
        ),
        ('{"mcpServers": null}', f'{{"mcpServers": {{\n  "neptun": {nested("  ", "  ")}\n}}}}'),
    ],
    ids=["empty", "nothing", "comment", "tabs", "trailing comma", "one line", "null"],
)
def test_everything_else_in_json_stays(command: Command, home: Path, before: str, after: str) -> None:
    file = put(home, "claude-desktop", before)
    assert command("install", "claude-desktop").code == 0
    assert file.read_text("utf-8") == after


blank = st.sampled_from(["", " ", "\n", "\n\t", " // {,}\n", '/* " } */'])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def commented(draw: st.DrawFn, value: Any) -> str:
    """The value as JSON with comments, odd blanks and trailing commas."""
    if isinstance(value, dict):
        members = cast("Json", value).items()
        items = [f"{json.dumps(k)}{draw(blank)}:{draw(blank)}{draw(commented(v))}{draw(blank)}" for k, v in members]
        opening, closing = "{}"
    elif isinstance(value, list):
        items = [f"{draw(commented(item))}{draw(blank)}" for item in cast("list[Any]", value)]
        opening, closing = "[]"
    else:
        return json.dumps(value, ensure_ascii=draw(st.booleans()))
    comma = "," if items and draw(st.booleans()) else ""
    return f"{opening}{draw(blank)}{f',{draw(blank)}'.join(items)}{comma}{draw(blank)}{closing}"


@hypothesis.settings(max_examples=50)
@given(st.data(), st.dictionaries(st.text(max_size=5), values, max_size=3))
def test_whatever_json_is_in_the_file_only_the_entry_is_added(data: st.DataObject, value: Json) -> None:
    text = f"{data.draw(blank)}{data.draw(commented({**value, 'mcpServers': {**value}}))}{data.draw(blank)}"
    after = set_json(text, ["mcpServers", "neptun"], STDIO)
    assert read_json(text) == {**value, "mcpServers": value}
    assert read_json(after) == {**value, "mcpServers": {**value, "neptun": STDIO}}
    removed = remove_json(after, ["mcpServers", "neptun"])
    assert read_json(removed) == read_json(text)
    assert "".join(removed.split()) == "".join(text.split())
    # Nothing was taken away but blanks: what was there is there, in its order.
    rest = iter(after)
    assert all(character in rest for character in "".join(text.split()))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"a": 1 // of a\n, "neptun": {} }', '{"a": 1 // of a\n }'),
        ('{"a": 1 // of a\n, "neptun": {}, }', '{"a": 1 // of a\n, }'),
        ('{ // {\n  "neptun": {}\n}', "{ // {\n}"),
        ('{\n  "a": 1,\n  "neptun": {},\n  "z": 2\n}', '{\n  "a": 1,\n  "z": 2\n}'),
    ],
)
def test_a_comment_beside_an_entry_of_json_that_goes_stays(before: str, after: str) -> None:
    assert remove_json(before, ["neptun"]) == after


@pytest.mark.parametrize(
    ("before", "gap"),
    [
        ("", ""),
        ('model = "x" # mine', "\n\n"),
        ("none = nan\n", "\n"),
        ('[mcp_servers.a]\ncommand = "a" # of a\n\n# of b\n[b]\nx = 1\n', "\n"),
    ],
)
def test_everything_else_in_toml_stays(command: Command, home: Path, before: str, gap: str) -> None:
    file = put(home, "codex", before)
    assert command("install", "codex").code == 0
    after = file.read_text("utf-8")
    assert after.startswith(f"{before}{gap}[mcp_servers.neptun]\ncommand = ")
    assert tomlkit.parse(after).unwrap()["mcp_servers"]["neptun"] == CODEX


@pytest.mark.parametrize(
    ("head", "entry", "tail"),
    [
        ("# of us\n[mcp_servers]\nneptun = { ", "command = 'x', z = 1", "} # mine\n\n# of b\n[b]\n"),
        ("mcp_servers.neptun = {", "command='x', z=1", "} # mine\na = 1\n"),
        ("mcp_servers = {neptun = {", "z = 1, command = 'x'", "}} # of all\na = 1\n"),
        ("# of us\n[mcp_servers]\n", "neptun.command = 'x'\nneptun.z = 1 # one\n", "\n# of b\n[b]\n"),
    ],
)
def test_an_entry_of_codex_without_a_header_is_edited_where_it_is(
    command: Command, home: Path, head: str, entry: str, tail: str
) -> None:
    file = put(home, "codex", head + entry + tail)
    assert command("install", "codex").code == 0
    after = file.read_text("utf-8")
    assert (after[: len(head)], after[-len(tail) :]) == (head, tail)
    assert "# one" in after or "# one" not in entry
    assert tomlkit.parse(after).unwrap()["mcp_servers"]["neptun"] == {**CODEX, "z": 1}


def test_additions_to_an_entry_stay(command: Command, home: Path) -> None:
    codex = put(
        home,
        "codex",
        '[mcp_servers.neptun]\ncommand = "old"\ntool_timeout_sec = 90 # slow\n\n'
        '[mcp_servers.neptun.env]\nNEPTUN_PROJECT_ID = "3"\n\n# of b\n[b]\nx = 1\n',
    )
    zed = put(
        home,
        "zed",
        '{\n  "context_servers": {\n    "neptun": {\n      "command": "old", // mine\n'
        '      "enabled": false\n    }\n  }\n}',
    )
    ran = command("install", "codex")
    assert ran.stdout.startswith(f"Codex: updated the server in {codex}.\nRemoved from its entry: NEPTUN_PROJECT_ID.\n")
    after = codex.read_text("utf-8")
    entry = tomlkit.parse(after).unwrap()["mcp_servers"]["neptun"]
    assert entry == {**CODEX, "tool_timeout_sec": 90}
    assert "tool_timeout_sec = 90 # slow\n" in after
    assert after.endswith("\n# of b\n[b]\nx = 1\n")
    command("install", "zed")
    assert read_json(zed.read_text("utf-8"))["context_servers"]["neptun"] == {**STDIO, "enabled": False}
    assert "// mine" in zed.read_text("utf-8")


@pytest.mark.parametrize("host", ["cursor", "codex"])
def test_byte_order_mark_and_line_ends_stay(command: Command, home: Path, host: str) -> None:
    before = b"\xef\xbb\xbf" + (b'{\r\n  "a": 1\r\n}\r\n' if host == "cursor" else b"a = 1\r\n")
    file = put(home, host, before)
    command("install", host)
    after = file.read_bytes()
    assert after.startswith(before[:9])
    assert after.count(b"\r\n") == after.count(b"\n") > 5


@pytest.mark.parametrize("host", [*FILES, "codex"])
def test_a_second_time_nothing_changes(command: Command, home: Path, host: str) -> None:
    command("install", host)
    (file,) = (path for path in home.rglob("*") if path.is_file())
    before = file.read_bytes(), file.stat()
    ran = command("install", host)
    assert ran.stdout.startswith(f"{HOSTS[host].title}: {file} has this entry already, and was not changed.\n")
    assert (file.read_bytes(), file.stat()) == before
    assert [path for path in home.rglob("*") if path.is_file()] == [file]


def test_the_file_as_it_was_is_kept(command: Command, home: Path) -> None:
    file = put(home, "cursor", '{"a": 1}')
    ran = command("install", "cursor")
    backup = home / ".cursor/mcp.json.before-neptun"
    assert ran.stdout.startswith(f"Cursor: added the server to {file}.\nThe file as it was: {backup}.\n")
    assert backup.read_text("utf-8") == '{"a": 1}'


@posix_only
def test_links_and_modes_stay(command: Command, home: Path) -> None:
    kept = home / "dotfiles.json"
    kept.write_text("{}")
    kept.chmod(0o640)
    link = put(home, "cursor", "")
    link.unlink()
    link.symlink_to(kept)
    command("install", "cursor")
    assert link.is_symlink()
    assert read_json(kept.read_text("utf-8"))["mcpServers"]["neptun"] == TYPED
    assert {path.stat().st_mode & 0o777 for path in (kept, home / "dotfiles.json.before-neptun")} == {0o640}


MALFORMED = {
    "cut short": ("cursor", b'{"mcpServers": {'),
    "unended comment": ("cursor", b"{} /*"),
    "a list": ("cursor", b"[]"),
    "nested": ("cursor", b"[" * 100_000),
    "servers in a list": ("cursor", b'{"mcpServers": []}'),
    "another kind of entry": ("cursor", b'{"mcpServers": {"neptun": {"url": "https://example.com/mcp"}}}'),
    "an entry of Cline's own": ("cline", b'{"mcpServers": {"neptun": {"transport": {"command": "/neptun-mcp"}}}}'),
    "no UTF-8": ("cursor", b'{"a": "\xff"}'),
    "malformed TOML": ("codex", b"[mcp_servers"),
    "TOML with a key twice": ("codex", b"a = 1\na = 2\n"),
    "the server in a number": ("codex", b"[mcp_servers]\nneptun = 1\n"),
    "servers in a number": ("codex", b"mcp_servers = 1\n"),
    "a header in a text of the entry": ("codex", b'[mcp_servers.neptun]\ncommand = "x"\na = """\n[b]\nx = 1\n"""\n'),
}


@pytest.mark.parametrize(("host", "content"), MALFORMED.values(), ids=MALFORMED)
def test_a_file_that_cannot_be_edited_is_left_alone(command: Command, home: Path, host: str, content: bytes) -> None:
    file = put(home, host, content)
    ran = command("install", host)
    assert (ran.code, ran.stdout) == (1, "")
    assert ran.stderr.startswith(f"{HOSTS[host].title}: nothing was changed: {file} ")
    assert "codec" not in ran.stderr
    assert ran.stderr.endswith(
        f". Correct that, or edit the file: `neptun-mcp install {host} --print` shows what to write by hand.\n"
    )
    assert (file.read_bytes(), [path for path in home.rglob("*") if path.is_file()]) == (content, [file])


@posix_only
def test_without_a_home_the_entry_is_printed_all_the_same(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", no_home)
    ran = command("install", "codex")
    assert (ran.code, ran.stdout) == (1, "")
    assert ran.stderr.startswith(
        "Codex: nothing was changed: the home directory is not known; set HOME. Correct that, "
    )
    ran = command("install", "codex", "--print")
    assert (ran.code, ran.stdout.partition("\n")[0]) == (0, "[mcp_servers.neptun]")
    assert command("install").code == 2


@posix_only
def test_what_cannot_be_written_is_named_as_the_person_knows_it(command: Command, home: Path) -> None:
    (home / ".cursor").symlink_to("/proc")  # where nobody can make a file
    ran = command("install", "cursor")
    assert (ran.code, ran.stdout) == (1, "")
    assert "(/proc/mcp.json)" in ran.stderr
    assert "Errno" not in ran.stderr


@posix_only
def test_a_link_to_itself_is_no_file(command: Command, home: Path) -> None:
    link = put(home, "cursor", "")
    link.unlink()
    link.symlink_to(link.name)
    ran = command("install", "cursor")
    assert (ran.code, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Cursor: nothing was changed: ")


def test_a_file_that_cannot_be_written_stays(command: Command, home: Path) -> None:
    file = put(home, "cursor", "{}")
    (home / ".cursor/mcp.json.before-neptun").mkdir()
    ran = command("install", "cursor")
    assert (ran.code, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Cursor: nothing was changed: ")
    assert (file.read_text("utf-8"), [path for path in home.rglob("*") if path.is_file()]) == ("{}", [file])


# What went wrong in the field


def test_the_first_backup_stays(command: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(home, "cursor", '{"a": 1}')
    command("install", "cursor")
    monkeypatch.setenv("NEPTUN_PROJECT_ID", "3")
    command("install", "cursor")
    assert (home / ".cursor/mcp.json.before-neptun").read_text("utf-8") == '{"a": 1}'


def test_a_file_that_only_install_wrote_gets_no_backup(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("install", "cursor")
    monkeypatch.setenv("NEPTUN_PROJECT_ID", "3")
    command("install", "cursor")
    assert [path.name for path in (home / ".cursor").iterdir()] == ["mcp.json"]


def test_what_a_host_writes_meanwhile_is_kept(command: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, written = put(home, "cursor", "{}"), iter(['{"host": 1}', '{"host": 2}'])
    replace = os.chmod

    def write_before(path: Any, mode: int, **more: Any) -> None:  # just before the file is replaced
        if ".before-neptun" not in str(path) and (text := next(written, "")):
            file.write_text(text)
        replace(path, mode, **more)

    monkeypatch.setattr(config_file.os, "chmod", write_before)
    assert command("install", "cursor").code == 0
    assert json.loads(file.read_text("utf-8")) == {"host": 2, "mcpServers": {"neptun": TYPED}}
    assert (home / ".cursor/mcp.json.before-neptun").read_text("utf-8") == '{"host": 2}'


def test_a_host_that_never_stops_writing_keeps_its_file(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(home, "cursor", "{}")
    replace = os.chmod

    def write_before(path: Any, mode: int, **more: Any) -> None:
        file.write_text(file.read_text() + " ")
        replace(path, mode, **more)

    monkeypatch.setattr(config_file.os, "chmod", write_before)
    ran = command("install", "cursor")
    assert (ran.code, json.loads(file.read_text())) == (1, {})
    assert "was written by another program at the same time" in ran.stderr


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_owner_and_mode_stay_when_root_installs(command: Command, home: Path) -> None:
    file = put(home, "cursor", "{}")
    file.chmod(0o640)
    for path in (home, file.parent, file):
        os.chown(path, 1234, 1235)
    command("install", "cursor", "zed")
    made = [file, file.with_name("mcp.json.before-neptun"), home / ".config", home / ".config/zed/settings.json"]
    assert {(path.stat().st_uid, path.stat().st_gid) for path in made} == {(1234, 1235)}
    assert file.stat().st_mode & 0o777 == 0o640


@posix_only
@pytest.mark.parametrize("first", [(), ("--with-secrets",)])
def test_a_file_with_a_secret_is_for_its_owner_alone(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch, first: tuple[str, ...]
) -> None:
    monkeypatch.setenv("NEPTUN_SESSION_COOKIE", COOKIE)
    file = put(home, "cursor", "{}")
    file.chmod(0o644)
    command("install", "cursor", *first)
    file.chmod(0o644)
    said = f"As a secret is in it, only you can read {file} and its backup.\n"
    with_secret = command("install", "cursor", "--with-secrets")
    modes = {path.stat().st_mode & 0o777 for path in file.parent.iterdir()}
    assert (said in with_secret.stdout, modes) == (True, {0o600})
    file.chmod(0o644)
    without = command("install", "cursor")  # the old entry holds it, which a backup may keep
    assert said in without.stdout
    assert {path.stat().st_mode & 0o777 for path in file.parent.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("host", "password"),
    [
        ("gemini-cli", "pa$word"),
        ("qwen-code", "${HOME}"),
        ("copilot-cli", "pa$word"),
        ("claude-code", "x${HOME}"),
        ("cursor", "x${env:HOME}"),
        ("vscode", "x${HOME}"),
        ("windsurf", "x${HOME}"),
        ("opencode", "{env:HOME}"),
    ],
)
def test_what_a_host_would_replace_in_a_value_is_refused(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch, host: str, password: str
) -> None:
    monkeypatch.setenv("NEPTUN_EMAIL", EMAIL)
    monkeypatch.setenv("NEPTUN_PASSWORD", f"{password}!")
    ran = command("install", host, "--with-secrets")
    assert (ran.code, list(home.iterdir())) == (1, [])
    assert f"NEPTUN_PASSWORD holds a {'{' if host == 'opencode' else '$'!r} that" in ran.stderr
    assert password not in ran.stderr
    assert command("install", "codex", "--with-secrets").code == 0


@pytest.mark.slow  # the way out is that of a deletion that cannot be told, in `test_call`
def test_nobody_reads_the_output_and_the_file_is_written_all_the_same(home: Path) -> None:
    with open("/dev/full" if Path("/dev/full").exists() else os.devnull, "w") as full:
        ran = subprocess.run(
            [*PROGRAM, "install", "cursor"],
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=environment(sandbox="1"),
            check=False,
        )
    assert ran.returncode == 0
    assert "Cursor: added the server to" in ran.stderr or not Path("/dev/full").exists()
    assert json.loads((home / ".cursor/mcp.json").read_text("utf-8")) == {"mcpServers": {"neptun": TYPED}}


@pytest.mark.parametrize("host", ["cursor", "codex"])
def test_only_our_variables_are_replaced(command: Command, home: Path, host: str) -> None:
    entry: Json = {"command": "/x/neptun-mcp", "args": [], "env": {"NEPTUN_TIMEOUT": "9", "NODE_EXTRA_CA_CERTS": "/ca"}}
    file = HOSTS[host]
    path = file.servers
    text = json.dumps({path: {"neptun": entry}}) if host == "cursor" else tomlkit.dumps({path: {"neptun": entry}})
    put(home, host, text)
    ran = command("install", host)
    assert "Removed from its entry: NEPTUN_TIMEOUT.\n" in ran.stdout
    (found,) = find_entries()
    assert found.environment == {"NODE_EXTRA_CA_CERTS": "/ca", **SANDBOX}


@pytest.mark.parametrize(
    "before",
    [
        '[mcp_servers.neptun]\ncommand = "old"\n\n# of b\n[b]\nx = 1\n',
        '# of us\n[mcp_servers.neptun]\ncommand = "old"\n# of b\n[b]\nx = 1\n',
        '[mcp_servers.neptun]\ncommand = "old"\n[mcp_servers.neptun.env]\nX = "1"\n\n# of b\n\n[[b]]\nx = 1\n',
        '[mcp_servers.neptun]\ncommand = "old"\n# the end',
    ],
)
def test_comments_around_a_table_of_toml_stay_where_they_are(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    file = put(home, "codex", before)
    head, _, tail = before.partition("[mcp_servers.neptun]")
    tail = tail[tail.index("\n# ") if "\n# " in tail else 0 :]
    for project_id in ("3", "4", ""):
        monkeypatch.setenv("NEPTUN_PROJECT_ID", project_id)
        assert command("install", "codex").code == 0
        after = file.read_text("utf-8")
        assert after.startswith(f"{head}[mcp_servers.neptun]\n")
        assert after.endswith(tail)
        assert "# " not in after[len(head) : len(after) - len(tail)]


def test_what_the_person_set_for_the_host_stays(command: Command, home: Path) -> None:
    put(home, "copilot-cli", json.dumps({"mcpServers": {"neptun": {**STDIO, "tools": ["list_imports"]}}}))
    put(home, "cline", json.dumps({"mcpServers": {"neptun": {**STDIO, "timeout": 120}}}))
    codex = {"mcp_servers": {"neptun": {"command": "x", "env_vars": ["MY_OWN"]}}}
    put(home, "codex", tomlkit.dumps(codex))
    command("install", "copilot-cli", "cline", "codex")
    values = {entry.host.name: entry.value for entry in find_entries()}
    assert values["copilot-cli"]["tools"] == ["list_imports"]
    assert values["cline"]["timeout"] == 120
    assert values["codex"]["env_vars"] == ["MY_OWN", *PROXIES, *SESSION]


@posix_only
def test_a_file_that_is_none_or_too_large_is_refused(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config_file, "MAX_FILE", 2**20)
    put(home, "zed", " " * (2**20 + 1))
    file = put(home, "cursor", "")
    file.unlink()
    os.mkfifo(file)
    ran = command("install", "cursor", "zed")
    assert (ran.code, ran.stdout) == (1, "")
    assert "it is not a regular file" in ran.stderr
    assert "it is larger than 1 MB" in ran.stderr
    assert list(find_entries()) == []


def test_the_address_of_the_only_session_that_is_kept_goes_along(
    command: Command, site: Site, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEPTUN_SANDBOX")
    session_store().save(site.url, COOKIE)
    ran = command("install", "cursor")
    (entry,) = find_entries()
    assert entry.environment == {"NEPTUN_BASE_URL": site.url}
    assert f"You are logged in to {site.url} as {EMAIL} (user 1).\n" in ran.stdout


def test_the_address_that_is_given_goes_along(command: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPTUN_BASE_URL", "http://127.0.0.1:8")
    command("install", "cursor", "--base-url", "http://127.0.0.1:9")
    (entry,) = find_entries()
    assert entry.environment["NEPTUN_BASE_URL"] == "http://127.0.0.1:9"


def test_several_sessions_that_are_kept_are_named(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEPTUN_SANDBOX")
    for port in (8, 9):
        session_store().save(f"http://127.0.0.1:{port}", COOKIE)
    ran = command("install", "cursor")
    kept = "Sessions are kept for http://127.0.0.1:8 and http://127.0.0.1:9: --base-url or NEPTUN_BASE_URL chooses one."
    assert f"\nNext, log in: `neptun-mcp login`. {kept}\n" in ran.stdout
    ran = command("whoami")
    assert (ran.code, ran.stderr.splitlines()[-1]) == (1, kept)


# Choosing, and what comes next


def test_without_a_host_or_a_terminal_those_on_this_machine_are_listed(command: Command, home: Path) -> None:
    (home / ".cursor").mkdir()
    put(home, "codex", "")
    ran = command("install")
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr == (
        f"Which host? On this machine: cursor, codex.\nAll hosts: {', '.join(HOSTS)}.\n"
        "For example: neptun-mcp install cursor\n"
    )


@pytest.mark.parametrize(
    ("answer", "code", "installed"),
    [("2\n", 0, ["codex"]), ("all\n", 0, ["cursor", "codex"]), ("1, codex\n", 0, ["cursor", "codex"]), ("\n", 2, [])],
)
def test_at_a_terminal_the_person_chooses(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, installed: list[str]
) -> None:
    (home / ".cursor").mkdir()
    put(home, "codex", "")
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    ran = command("install")
    assert ran.code == code
    assert "  1  cursor  Cursor\n  2  codex   Codex\n" in ran.stderr
    assert [entry.host.name for entry in find_entries()] == installed


def test_a_wrong_number_is_said_once(command: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".cursor").mkdir()
    monkeypatch.setattr(sys, "stdin", Terminal("2\n"))
    ran = command("install")
    assert (ran.code, ran.stderr.count("cursor, vscode")) == (2, 1)
    assert "There is no host '2'.\n" in ran.stderr


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("host", [*FILES, "codex"])
def test_it_ends_with_what_one_needs_next(command: Command, home: Path, host: str) -> None:
    ran = command("install", host)
    lines = ran.stdout.splitlines()
    assert lines[-3:] == [
        "The server uses sample data, because NEPTUN_SANDBOX is set in its entry: no log-in is needed.",
        'Then ask: "Which of my Neptun imports failed?"',
        f"To undo this: neptun-mcp uninstall {host}",
    ]
    assert any("delet" in line for line in lines)


def test_where_one_of_several_fails_the_others_end_with_what_one_needs_next(command: Command, home: Path) -> None:
    put(home, "codex", "x = [")
    ran = command("install", "cursor", "codex", "zed")
    assert (ran.code, ran.stderr.count("\n")) == (1, 1)
    assert ran.stdout.endswith("\nTo undo this: neptun-mcp uninstall cursor zed\n")


def test_without_a_log_in_the_next_step_is_to_log_in(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEPTUN_SANDBOX")
    monkeypatch.setenv("NEPTUN_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("NEPTUN_SESSION_COOKIE", COOKIE)  # stays out of the file, so that the host has none
    ran = command("install", "cursor")
    assert "\nNext, log in: `neptun-mcp login --base-url http://127.0.0.1:9`.\n" in ran.stdout


def test_a_neptun_that_does_not_answer_is_no_failure(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NEPTUN_SANDBOX")
    session_store().save("http://127.0.0.1:9", COOKIE)
    ran = command("install", "cursor")
    assert ran.code == 0
    assert "\nWhether you are logged in could not be checked. " in ran.stdout
