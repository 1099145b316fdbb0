"""`neptun-mcp uninstall`: the exact inverse of `install`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from neptun_mcp.commands import config_file
from neptun_mcp.commands.hosts import HOSTS
from neptun_mcp.commands.json_text import read_json
from tests.commands.conftest import find_entries
from tests.processes import Command
from tests.support import Json

EDITED = [name for name, host in HOSTS.items() if host.files and not host.by_hand]
JSON = [name for name in EDITED if name != "codex"]


@pytest.fixture(autouse=True)
def home(person: Path) -> Path:
    return person


def put(host: str, content: str | bytes) -> Path:
    file = HOSTS[host].file
    assert file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def files(home: Path) -> dict[str, bytes]:
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


TEXTS = {
    "empty": "",
    "nothing": "{}",
    "blanks": " {\n} \n",
    "only a comment": "// mine",
    "one line": '{"a": 1, "PATH": {"other": {"command": "x"}}}',
    "tight": '{"PATH":{"other":{"command":"x"}},"z":[1,2]}',
    "loose": '{ "PATH" : { "other" : { } } , "z" : 1 }',
    "no servers": '{\n  "z": 1\n}\n',
    "no line at the end": '{\n    "z": 1}',
    "servers empty": '{\n  // none yet\n  "PATH": {},\n}\n',
    "servers empty and broken": '{\n  "PATH": {\n  }\n}\n',
    "servers null": '{"PATH": null}',
    "tabs": '{\n\t"PATH": {\n\t\t"a": {"url": "http://a"} // of a  \n\t\t/* the end */\n\t},\n\t"z": 1\n}\n',
    "trailing commas": '{ // "PATH": {\n    "PATH": {\n        "a": {}, // }\n    },\n}',
    "permission": '{"permission": {"bash": "ask", "*": "allow"}, "PATH": {}}',
    "permission for all": '{\n  "permission": "allow"\n}',
    "permission overridden": '{"permission": {"neptun_delete_import": "ask", "*": "allow"}}',
    "an entry": '{\n  "PATH": {\n    "neptun": {\n      "command": "old", // mine\n      "on": true\n    }\n  }\n}',
    "an entry on a line": '{"PATH": {"neptun": {"command":"node","args":["x"],"env":{"NEPTUN_TIMEOUT":"9","A":"1"}}}}',
    "an entry by hand": '{"PATH": {"neptun": {"command": "/old/neptun-mcp"}, "z": {}}}',
    "twice": '{"PATH": {}, "PATH": {"a": {}}}',
}
TOMLS = {
    "empty": "",
    "one key": "a = 1\n",
    "no line at the end": 'model = "x" # mine',
    "blank lines": "a = 1\n\n\n",
    "tables": '[mcp_servers.a]\ncommand = "a" # of a\n\n# of b\n[b]\nx = 1\n',
    "servers": "[mcp_servers]\n\n[mcp_servers.a]\ncommand = 'a'\n# the end",
    "an entry": '# of us\n[mcp_servers.neptun]\ncommand = "node" # mine\nargs=["x"]\n\n# of b\n[b]\nx = 1\n',
    "an entry with more": '[mcp_servers.neptun]\ncommand = "node"\nenv_vars = ["A"]\n'
    '[mcp_servers.neptun.env]\nA = "1"\nNEPTUN_X = "9"\n[mcp_servers.neptun.tools]\nx = 1\n\n# of b\n[b]\n',
    "an entry in a line": "# of us\n[mcp_servers]\nneptun = { command = 'node', env = {A='1'} } # mine\n# of b\n[b]\n",
    "an entry with dots": '[mcp_servers]\nneptun.command = "node"\nneptun.env.NEPTUN_X = "9"\n\n# of b\n[b]\nx = 1\n',
    "a line with dots": '# of us\nmcp_servers.neptun = {command="node", args=["x"]} # mine\n# of a\na = 1\n',
    "servers in a line": "mcp_servers = { a = {command='a'} } # of a\n\n# of b\n[b]\n",
    "no servers in a line": "mcp_servers = {} # none\na = 1\n",
}


def check_there_and_back(command: Command, home: Path, host: str, text: str) -> None:
    put(host, text)
    before = files(home)
    assert command("install", host).code == 0
    assert len(files(home)) == len(before) + 1  # the backup
    ran = command("uninstall", host)
    assert (ran.code, files(home)) == (0, before)


@pytest.mark.parametrize(
    ("host", "newline"),
    [("cursor", "\n"), ("vscode", "\r\n"), pytest.param("opencode", "\n", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_install_and_uninstall_leave_json_as_it_was(
    command: Command, home: Path, text: str, host: str, newline: str
) -> None:
    check_there_and_back(command, home, host, text.replace("PATH", HOSTS[host].servers).replace("\n", newline))


@pytest.mark.parametrize("host", JSON)
def test_so_they_do_in_every_host(command: Command, home: Path, host: str) -> None:
    check_there_and_back(command, home, host, TEXTS["tabs"].replace("PATH", HOSTS[host].servers))


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("text", TOMLS.values(), ids=TOMLS)
def test_install_and_uninstall_leave_toml_as_it_was(command: Command, home: Path, text: str, newline: str) -> None:
    check_there_and_back(command, home, "codex", text.replace("\n", newline))


@pytest.mark.parametrize("host", ["cursor", "codex"])
def test_a_byte_order_mark_stays(command: Command, home: Path, host: str) -> None:
    check_there_and_back(command, home, host, "\ufeff" + ("{}" if host == "cursor" else "a = 1\n"))


@pytest.mark.parametrize("host", EDITED)
def test_a_file_that_install_made_goes(command: Command, home: Path, host: str) -> None:
    command("install", host)
    ran = command("uninstall", host)
    assert (ran.code, files(home)) == (0, {})
    assert "which held nothing but the server.\n" in ran.stdout


@pytest.mark.parametrize("host", EDITED)
def test_several_installs_are_one_to_undo(
    command: Command, home: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for existing in (False, True):
        if existing:
            put(host, "a = 1\n" if host == "codex" else "{}")
        before = files(home)
        for project in ("3", "4"):
            monkeypatch.setenv("NEPTUN_PROJECT_ID", project)
            command("install", host)
        assert command("uninstall", host).code == 0
        assert files(home) == before


def test_what_was_changed_since_stays_and_so_does_the_backup(command: Command, home: Path) -> None:
    file = put("cursor", '{\n  "mcpServers": {\n    "a": {}\n  }\n}\n')
    command("install", "cursor")
    text = file.read_text()
    file.write_text(text.replace('"a": {}', '"a": {} /* mine */, "b": {}').replace("  }\n}", '  },\n  "z": 1\n}'))
    ran = command("uninstall", "cursor")
    assert file.read_text() == ('{\n  "mcpServers": {\n    "a": {} /* mine */, "b": {}\n  },\n  "z": 1\n}\n')
    backup = file.with_name("mcp.json.before-neptun")
    assert backup.read_text() == '{\n  "mcpServers": {\n    "a": {}\n  }\n}\n'
    assert f"{backup} stays, because the file has been changed since. Delete it when you like.\n" in ran.stdout


def test_a_comment_that_is_left_alone_stays(command: Command, home: Path) -> None:
    file = put("cursor", "{}")
    command("install", "cursor")
    file.write_text(file.read_text().replace('"mcpServers": {', '"mcpServers": { // mine\n // of all servers'))
    command("uninstall", "cursor")
    assert file.read_text() == '{\n  "mcpServers": { // mine\n // of all servers\n  }\n}'
    file.write_text('{"mcpServers": {"neptun": {"command": "neptun-mcp", "env": {"NEPTUN_X": "// {}"}}}}')
    command("install", "cursor")
    assert "NEPTUN_X" not in file.read_text()


def test_what_stands_after_the_entry_stays(command: Command, home: Path) -> None:
    file = put("cursor", "{}")
    command("install", "cursor")
    value: Any = read_json(file.read_text())
    value["mcpServers"]["later"] = {"command": "x"}
    file.write_text(json.dumps(value, indent=2))
    assert command("uninstall", "cursor").code == 0
    assert file.read_text() == json.dumps({"mcpServers": {"later": {"command": "x"}}}, indent=2)
    codex = put("codex", "a = 1\n")
    command("install", "codex")
    codex.write_text(codex.read_text() + "\n# later\n[b]\nx = 1\n")
    command("uninstall", "codex")
    assert codex.read_text() == "a = 1\n\n# later\n[b]\nx = 1\n"


def test_an_entry_comes_back_with_what_was_added_to_ours(command: Command, home: Path) -> None:
    file = put("cursor", '{"mcpServers": {"neptun": {"command": "node", "env": {"A": "1", "NEPTUN_TIMEOUT": "9"}}}}')
    command("install", "cursor")
    value: Any = read_json(file.read_text())
    value["mcpServers"]["neptun"]["disabled"] = True
    value["mcpServers"]["neptun"]["env"]["B"] = "2"
    file.write_text(json.dumps(value))
    ran = command("uninstall", "cursor")
    assert f"the entry that install had replaced is back in {file}.\n" in ran.stdout
    assert read_json(file.read_text())["mcpServers"]["neptun"] == {
        "command": "node",
        "env": {"A": "1", "B": "2", "NEPTUN_TIMEOUT": "9"},
        "disabled": True,
    }


def test_a_permission_that_was_changed_since_stays(command: Command, home: Path) -> None:
    file = put("opencode", "{}")
    command("install", "opencode")
    file.write_text(file.read_text().replace('"ask"', '"deny"'))
    command("uninstall", "opencode")
    assert read_json(file.read_text()) == {"permission": {"neptun_delete_import": "deny"}}


def test_without_a_backup_the_entry_goes_and_the_rest_stays(command: Command, home: Path) -> None:
    file = put("opencode", '{"a": 1}')
    command("install", "opencode")
    file.with_name(f"{file.name}.before-neptun").unlink()
    assert command("uninstall", "opencode").code == 0
    assert file.read_text() == '{"a": 1}'


@pytest.mark.parametrize(
    ("host", "entry", "why"),
    [
        ("cursor", {"url": "https://mcp.example.com/mcp"}, "it connects to https://mcp.example.com/mcp"),
        ("codex", {"command": "docker", "args": ["run", "x"]}, "it starts docker run x"),
    ],
)
def test_an_entry_that_is_not_ours_is_left(command: Command, home: Path, host: str, entry: Json, why: str) -> None:
    whole = {HOSTS[host].servers: {"neptun": entry}}
    file = put(host, tomlkit.dumps(whole) if host == "codex" else json.dumps(whole))
    before = files(home)
    for arguments in ([host], ["--all"]):
        ran = command("uninstall", *arguments)
        assert (ran.code, ran.stdout, files(home)) == (1, "", before)
        assert f"the entry neptun in {file} is not from install: {why}." in ran.stderr


def test_a_backup_goes_or_is_named_where_the_entry_is_gone_already(command: Command, home: Path) -> None:
    file = put("cursor", '{"a": 1}')
    before = files(home)
    command("install", "cursor")
    file.write_text('{"a": 1}')  # by hand
    assert (command("uninstall", "cursor").code, files(home)) == (0, before)
    command("install", "cursor")
    file.unlink()
    ran = command("uninstall", "cursor")
    left = "mcp.json.before-neptun stays, because the file has been changed since. Delete it when you like.\n"
    assert (ran.code, ran.stdout.endswith(left)) == (0, True)


def test_a_file_that_was_not_there_goes_although_an_old_backup_is_there(command: Command, home: Path) -> None:
    file = put("cursor", '{"a": 1}')
    command("install", "cursor")
    file.unlink()
    before = files(home)
    assert "The file as it was" not in command("install", "cursor").stdout
    ran = command("uninstall", "cursor")
    assert (ran.code, files(home)) == (0, before)
    assert "mcp.json.before-neptun stays" in ran.stdout


def test_a_folder_that_is_a_file_has_no_host(command: Command, home: Path) -> None:
    (home / ".cursor").touch()
    assert command("uninstall", "--all").code == 0
    assert command("install", "cursor").code == 1


def test_nothing_to_do_is_no_failure(command: Command, home: Path) -> None:
    put("zed", '{"a": 1}')
    before = files(home)
    for arguments in (["cursor"], ["zed"], ["codex", "goose"], ["--all"]):
        ran = command("uninstall", *arguments)
        assert (ran.code, ran.stderr, files(home)) == (0, "", before)
        assert "there is nothing to do.\n" in ran.stdout


def test_all_takes_it_out_of_every_host(command: Command, home: Path) -> None:
    (home / ".config/Code - Insiders/User").mkdir(parents=True)
    command("install", *EDITED)
    put("goose", "extensions: {}\n")
    ran = command("uninstall", "--all")
    assert (ran.code, ran.stderr, [*find_entries()]) == (0, "", [])
    assert ran.stdout.count("which held nothing but the server") == len(EDITED)


def test_of_two_files_the_good_one_is_edited_and_the_other_named(command: Command, home: Path) -> None:
    command("install", "vscode")
    other = home / ".config/Code - Insiders/User/mcp.json"
    other.parent.mkdir(parents=True)
    other.write_text("{")
    ran = command("uninstall", "vscode")
    assert (ran.code, files(home)) == (1, {str(other.relative_to(home)): b"{"})
    assert ran.stdout.startswith("VS Code: deleted ")
    assert ran.stderr.startswith(f"VS Code: {other} cannot be read: ")


def test_what_cannot_be_edited_is_left_to_the_person(command: Command, home: Path) -> None:
    file = put("goose", "extensions:\n  neptun:\n    cmd: neptun-mcp\n")
    ran = command("uninstall", "goose")
    assert ran.code == 1
    assert ran.stderr == (
        f"goose: {file} cannot be edited: it is YAML, which is left to you. "
        "If the entry neptun is there, remove it by hand.\n"
    )
    assert command("uninstall", "generic").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["curser"], "There is no host 'curser'. Did you mean cursor?\n"),
        ([], "Which host? For all of them: neptun-mcp uninstall --all\n"),
        (["cursor", "--all"], "Which host? For all of them: neptun-mcp uninstall --all\n"),
    ],
)
def test_hosts_are_named_or_all_are_meant(command: Command, arguments: list[str], message: str) -> None:
    ran = command("uninstall", *arguments)
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.stderr.startswith(message)


def test_what_a_host_writes_meanwhile_is_kept(command: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = put("cursor", "{}")
    command("install", "cursor")
    later, chmod = iter(['{"host": 1}']), config_file.os.chmod

    def write_before(path: Any, mode: int, **more: Any) -> None:
        if text := next(later, ""):
            file.write_text(text)
        chmod(path, mode, **more)

    monkeypatch.setattr(config_file.os, "chmod", write_before)
    assert command("uninstall", "cursor").code == 0
    assert file.read_text() == '{"host": 1}'


@pytest.mark.parametrize("host", ["cursor", "vscode", "opencode", "zed", "codex"])
def test_an_entry_without_its_last_setting_is_taken_out_at_once(
    command: Command, home: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.delenv("NEPTUN_SANDBOX", raising=False)
    command("install", host, "--sandbox")
    command("install", host)
    assert "has this entry already" in command("install", host).stdout
    assert "which held nothing but the server" in command("uninstall", host).stdout
    assert [*find_entries()] == []
