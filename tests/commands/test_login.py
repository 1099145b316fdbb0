"""login, whoami and logout: what is asked, what is kept, where, and who uses it."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from starlette.responses import JSONResponse

from neptun_mcp import Settings
from neptun_mcp.account import credentials_of
from neptun_mcp.command_line import command_line
from neptun_mcp.sandbox import COOKIE, EMAIL, PASSWORD
from tests.processes import COMMAND, Command, Completed, environment
from tests.running_neptun import BOB_COOKIE
from tests.support import PATIENCE, WEBSHOP, Host, Site, end_session, failure

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="the folder of a person's settings cannot be redirected"
)
EXPORT = json.dumps([{"name": "other", "value": "x"}, {"name": "neptun-session", "value": COOKIE}], indent=2)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Site) -> Path:
    """An empty home of a person who uses the site."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("NEPTUN_BASE_URL", site.url)
    return tmp_path


def files_in(home: Path) -> list[Path]:
    """The files in a home."""
    return [path for path in home.rglob("*") if path.is_file()]


@pytest.fixture
def paste(command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`login --cookie` with this on stdin."""

    def run(pasted: str, *options: str, encoding: str = "utf-8") -> Completed:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(pasted.encode(encoding))))
        return command("login", "--cookie", *options)

    return run


def type_at(ours: int, typed: str) -> str:
    """Type line by line at a terminal, each once it is asked for. The result is all that the terminal shows."""
    shown = b""
    lines = typed.splitlines(keepends=True)
    with suppress(OSError):  # the other end is closed
        while True:
            shown += os.read(ours, 1024)
            if lines and shown.rstrip(b" ").endswith(b":"):
                typing = lines.pop(0).encode(errors="surrogateescape")
                while typing:
                    typing = typing[os.write(ours, typing) :]
    os.close(ours)
    return shown.decode()


def log_in_at_terminal(typed: str) -> tuple[int, str]:
    """`login` in a process, since a password is read from the terminal that the process belongs to."""
    import pty  # POSIX

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "login"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(base_url=os.environ["NEPTUN_BASE_URL"]) | {"COLUMNS": "300"},
        start_new_session=True,
    )
    os.close(theirs)
    shown = type_at(ours, typed)
    return process.wait(timeout=PATIENCE), shown


PasteAtTerminal: TypeAlias = Callable[[str], tuple[int | str | None, str]]


@pytest.fixture
def paste_at_terminal(command: Command, monkeypatch: pytest.MonkeyPatch) -> PasteAtTerminal:
    """`login --cookie` at a terminal: its exit code, and all that the terminal shows."""
    import pty  # POSIX

    def run(typed: str) -> tuple[int | str | None, str]:
        ours, theirs = pty.openpty()
        monkeypatch.setenv("COLUMNS", "300")
        with ThreadPoolExecutor() as threads:
            typing = threads.submit(type_at, ours, typed)
            with open(theirs, closefd=False) as keyboard, open(theirs, "w") as screen:
                for name, stream in (("stdin", keyboard), ("stdout", screen), ("stderr", screen)):
                    monkeypatch.setattr(sys, name, stream)
                ran = command("login", "--cookie")
            return ran.code, typing.result(PATIENCE)

    return run


@pytest.mark.parametrize(
    "pasted", [COOKIE, f"neptun-session={COOKIE}; Path=/; HttpOnly", EXPORT], ids=["bare", "line", "JSON"]
)
def test_a_pasted_cookie_is_checked_and_kept(
    paste: Command, command: Command, home: Path, site: Site, pasted: str
) -> None:
    (ran := paste(pasted))
    (file,) = files_in(home)
    said = (
        f"Logged in to {site.url} as {EMAIL} (user 1). The session is kept in {file}.\n"
        "Next: neptun-mcp install adds the server to your host; one that has it needs no restart.\n"
    )
    assert ran == Completed(0, said, "")
    assert json.loads(file.read_text()) == {site.url: {"cookie": COOKIE}}
    assert command("whoami") == Completed(0, f"Logged in to {site.url} as {EMAIL} (user 1), by neptun-mcp login.\n", "")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_cookie_may_come_from_a_file_as_windows_writes_it(paste: Command, home: Path, encoding: str) -> None:
    assert paste(f"{COOKIE}\r\n", encoding=encoding).code == 0


def test_a_file_that_is_too_large_is_no_cookie(paste: Command, home: Path) -> None:
    said = "The cookie cannot be read: it is larger than 64 kB. Nothing is kept.\n"
    assert paste("x" * 70_000) == Completed(1, "", said)


@pytest.mark.parametrize("email", [None, 7, "", "nobody", "a@b\u202e", "a@b\n", f"{'a' * 300}@example.com"])
def test_without_an_email_address_the_user_has_a_number(paste: Command, home: Path, site: Site, email: Any) -> None:
    site.answers["GET /api/_auth/session"] = JSONResponse({"user": {"id": 1, "primary_email": email}})
    assert " as user 1. " in paste(COOKIE).stdout


def test_only_the_owner_may_read_the_file(paste: Command, home: Path) -> None:
    paste(COOKIE)
    (file,) = files_in(home)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_email_and_password_are_typed_and_the_password_is_not_shown(home: Path, site: Site) -> None:
    code, shown = log_in_at_terminal(f"{EMAIL}\n\x1b[200~{PASSWORD}\x1b[201~\n")  # as some terminals send a paste
    assert code == 0, shown
    assert f"as {EMAIL} (user 1)." in shown
    assert PASSWORD not in shown
    (file,) = files_in(home)
    assert set(json.loads(file.read_text())[site.url]) == {"cookie"}
    assert PASSWORD not in file.read_text()


def test_a_cookie_is_pasted_at_the_terminal_without_being_shown(home: Path, paste_at_terminal: PasteAtTerminal) -> None:
    code, shown = paste_at_terminal(f"{EXPORT}\n")
    assert code == 0, shown
    assert f"as {EMAIL} (user 1)." in shown
    assert COOKIE not in shown
    assert files_in(home)


def test_a_header_that_is_longer_than_a_line_of_the_terminal_is_pasted(
    home: Path, paste_at_terminal: PasteAtTerminal
) -> None:
    header = f"Cookie: consent={'x' * 5_000}; neptun-session={COOKIE}; theme=dark"
    code, shown = paste_at_terminal(f"{header}\n")
    assert code == 0, shown
    assert COOKIE not in shown


@pytest.mark.parametrize(
    "typed",
    [
        f"neptun-session=garbage-garbage-garbage\x15{COOKIE}\n",
        f"\x15no\x17x\xe9\x7f\b\x7f{COOKIE}x\x7f\n",
        f"\x1b[200~{COOKIE}\x1b[201~\n",
        f"\udcfc\n{COOKIE}\n",
        f"garbage\n{COOKIE}\n",
    ],
    ids=["Ctrl-U", "Backspace", "codes of a paste", "no UTF-8", "second try"],
)
def test_a_paste_is_corrected_or_done_once_more(home: Path, paste_at_terminal: PasteAtTerminal, typed: str) -> None:
    code, shown = paste_at_terminal(typed)
    assert code == 0, shown


@pytest.mark.parametrize("typed", ["\n", "\x04"], ids=["Enter", "Ctrl-D"])
def test_nothing_typed_is_no_log_in(home: Path, paste_at_terminal: PasteAtTerminal, typed: str) -> None:
    code, shown = paste_at_terminal(typed)
    assert code == 1
    assert "What you entered is not a log-in" in shown


@pytest.mark.slow
@pytest.mark.parametrize("password", ["Wr0ng!password", "no UTF-8: p\udce4ssword"])
def test_a_wrong_password_keeps_nothing(home: Path, password: str) -> None:
    code, shown = log_in_at_terminal(f"{EMAIL}\n{password}\n")
    assert code == 1
    assert "the e-mail address or the password is wrong. Nothing is kept." in shown
    assert "there is no password: use `python -m neptun_mcp login --base-url " in shown.replace(
        sys.executable, "python"
    )
    assert " --cookie`." in shown
    assert not files_in(home)


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        (
            "garbage-that-is-long-enough\n\n",
            "Neptun refused the session: the cookie is expired or wrong. Nothing is kept.",
        ),
        ("", "What you entered is not a log-in, so nothing was saved. Enter the value of the cookie neptun-session."),
        (
            "two words\n\n",
            "What you entered is not a log-in, so nothing was saved. Enter the value of the cookie neptun-session.",
        ),
    ],
)
def test_a_bad_cookie_keeps_nothing(paste: Command, home: Path, pasted: str, said: str) -> None:
    ran = paste(pasted)
    assert (ran.code, ran.stdout) == (1, "")
    assert ran.stderr.startswith(said)
    assert "garbage-that" not in ran.stderr
    assert not files_in(home)


def test_a_failing_neptun_changes_nothing_that_was_kept(paste: Command, home: Path, site: Site) -> None:
    paste(COOKIE)
    (before,) = [file.read_text() for file in files_in(home)]
    site.answers["GET /api/_auth/session"] = failure(500)
    ran = paste(BOB_COOKIE)
    assert ran.code == 1
    assert "failed on its side (status 500). Nothing is kept." in ran.stderr
    assert [file.read_text() for file in files_in(home)] == [before]


def test_a_session_is_kept_for_one_address(paste: Command, command: Command, home: Path, site: Site) -> None:
    paste(COOKIE)
    site.requests.clear()
    elsewhere = site.url.replace("127.0.0.1", "localhost")
    ran = command("whoami", "--base-url", elsewhere)
    assert ran.code == 1
    assert ran.stderr.startswith(f"No Neptun credentials are set. Run `neptun-mcp login --base-url {elsewhere}`")
    assert site.requests == []


def test_logout_removes_the_session_of_the_address(paste: Command, command: Command, home: Path, site: Site) -> None:
    paste(COOKIE)
    elsewhere = site.url.replace("127.0.0.1", "localhost")
    paste(BOB_COOKIE, "--base-url", elsewhere)
    assert command("logout") == Completed(0, f"Logged out of {site.url}.\n", "")
    other = f"A session is kept for {elsewhere}: --base-url or NEPTUN_BASE_URL chooses it."
    assert command("logout") == Completed(0, f"No session was kept for {site.url}. {other}\n", "")
    assert command("whoami").code == 1
    assert command("whoami", "--base-url", elsewhere).stdout.startswith(f"Logged in to {elsewhere} as bob@")


def test_the_environment_goes_first(
    paste: Command, command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEPTUN_SESSION_COOKIE", COOKIE)
    assert "is set here, and is used instead. Unset it" in paste(BOB_COOKIE).stderr
    assert command("whoami").stdout.count("(user 1), by") == 1
    monkeypatch.delenv("NEPTUN_SESSION_COOKIE")
    assert command("whoami").stdout.count("(user 2), by") == 1


def test_a_folder_that_cannot_be_written_is_named(paste: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := home / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(file))
    monkeypatch.setenv("HOME", str(file))
    ran = paste(COOKIE)
    assert ran.code == 1
    assert ran.stderr.startswith("The session cannot be kept: Not a directory")


def test_the_sandbox_needs_no_log_in(command: Command, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPTUN_SANDBOX", "1")
    assert command("login").code == 2
    assert command("whoami").stdout.startswith(f"{EMAIL} (user 1) of the sample data")


def test_without_a_terminal_only_a_cookie_is_taken(command: Command, home: Path) -> None:
    ran = command("login")
    assert ran.code == 2
    assert f"`neptun-mcp login --base-url {os.environ['NEPTUN_BASE_URL']} --cookie < FILE`" in ran.stderr


def test_a_damaged_file_is_named_and_nothing_in_it_is_lost(paste: Command, command: Command, home: Path) -> None:
    paste(COOKIE)
    (file,) = files_in(home)
    file.write_text(damaged := file.read_text()[:-1])
    for ran in (command("whoami"), command("logout"), paste(COOKIE)):
        assert ran.code == 1
        assert f"it is damaged ({file})" in ran.stderr
    assert file.read_text() == damaged


def test_without_a_home_directory_there_is_no_session(
    paste: Command, command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pwd

    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name)
    assert command("whoami").stderr.startswith("No Neptun credentials are set.")
    assert command("logout").stdout.startswith("No session was kept")
    assert "the home directory is not known; set HOME" in paste(COOKIE).stderr
    assert command("uninstall", "--all").stderr == "Nothing was changed: the home directory is not known; set HOME.\n"


def test_a_session_in_a_keyring_that_is_gone_is_named(
    paste: Command, command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paste(COOKIE)
    (file,) = files_in(home)
    (address,) = json.loads(file.read_text())
    file.write_text(json.dumps({address: {"keyring": True}}))
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert "kept for" not in command("whoami").stderr  # but elsewhere
    assert command("logout").stderr.endswith("locked, or not there. Unlock the keyring, and log out again.\n")


def test_an_empty_file_counts_as_no_session(paste: Command, command: Command, home: Path) -> None:
    paste(COOKIE)
    (file,) = files_in(home)
    file.write_text("")
    assert command("whoami").stderr.startswith("No Neptun credentials are set.")
    assert paste(COOKIE).code == 0
    assert command("whoami").code == 0


# The server


@pytest.mark.anyio
async def test_a_server_finds_a_log_in_a_newer_one_and_a_log_out_without_a_restart(
    home: Path, site: Site, host: Host
) -> None:
    store = site.sandbox()
    host.settings["session_cookie"] = ""
    sessions = credentials_of(Settings(base_url=site.url)).kept
    assert sessions
    async with host.connected() as tools:
        said = await tools.fails("list_imports", project_id=WEBSHOP)
        assert said.startswith(
            f"No Neptun credentials are set. Run `{command_line()} login --base-url http://127.0.0.1"
        )
        sessions.save(site.url, COOKIE)
        assert (await tools.gets("list_imports", project_id=WEBSHOP, limit=2))["total"] == 7
        end_session(store, COOKIE)
        said = await tools.fails("list_imports", project_id=WEBSHOP)
        assert said.startswith(
            f"Neptun refused the session: the cookie is expired or wrong. Run `{command_line()} login"
        )
        assert said.endswith("again; there is no need to restart the server.")
        sessions.save(site.url, BOB_COOKIE)
        said = await tools.fails("list_imports", project_id=WEBSHOP, limit=2, offset=2)
        assert said.startswith("There is no project 1, or it is not yours.")
        assert (await tools.gets("list_imports", project_id=7))["project_id"] == 7
        sessions.remove(site.url)
        assert (await tools.fails("list_imports", project_id=7)).startswith("No Neptun credentials are set.")


# The keyring


class Keyring:
    """What stands in for the keyring of a system."""

    def __init__(self, *, works: bool = True) -> None:
        self.passwords: dict[tuple[str, str], str] = {}
        self.priority = 5
        self._works = works

    def get_keyring(self) -> Any:
        return self

    def set_password(self, service: str, name: str, secret: str) -> None:
        if not self._works:
            raise RuntimeError("locked")
        self.passwords[service, name] = secret

    def get_password(self, service: str, name: str) -> str | None:
        return self.passwords.get((service, name))

    def delete_password(self, service: str, name: str) -> None:
        del self.passwords[service, name]


def test_a_keyring_that_works_holds_the_cookie_and_the_file_does_not(
    paste: Command, command: Command, home: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = Keyring()
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    assert paste(COOKIE).stdout.count("The session is kept in the system's keyring.\n") == 1
    (file,) = files_in(home)
    assert COOKIE not in file.read_text()
    assert keyring.passwords == {("neptun-mcp", site.url): COOKIE}
    assert command("whoami").stdout.count("(user 1), by") == 1
    command("logout")
    assert keyring.passwords == {}
    assert command("whoami").code == 1


class BrokenKeyring:
    """A keyring whose backend cannot even be asked."""

    def get_keyring(self) -> Any:
        raise RuntimeError("no backend")


def test_a_keyring_that_cannot_be_read_is_told(
    paste: Command, command: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", Keyring())
    paste(COOKIE)
    monkeypatch.setitem(sys.modules, "keyring", BrokenKeyring())
    assert "kept cannot be read: the system's keyring is locked, or not there." in command("whoami").stderr
    assert paste(COOKIE).code == 0
    assert command("whoami").code == 0


def test_without_a_keyring_that_works_the_file_holds_the_cookie(
    paste: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", Keyring(works=False))
    assert f"kept in {home}" in paste(COOKIE).stdout
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert f"kept in {home}" in paste(COOKIE).stdout
