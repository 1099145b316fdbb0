"""Sessions that are kept between runs: none is lost, and none stays behind."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from neptun_mcp.neptun import store as module
from neptun_mcp.neptun.store import SessionStore
from tests.processes import environment

HERE, THERE = "https://here.example.com", "https://there.example.com"


@pytest.fixture(autouse=True)
def no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "sessions.json"


@pytest.fixture
def store(file: Path) -> SessionStore:
    return SessionStore(lambda: file, "some-program")


DAMAGED = [
    "{",
    '{"https://there.example.com": "x"}',
    "[]",
    "[" * 100_000,
    "\xff",
    '{"https://there.example.com": {"cookie": "x"}',
]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_is_named_and_stays_as_it_is(store: SessionStore, file: Path, content: str) -> None:
    store.save(THERE, "x")
    file.write_text(content, "latin-1")
    for use in (
        lambda: store.load(HERE),
        lambda: store.save(HERE, "y"),
        lambda: store.remove(THERE),
    ):
        with pytest.raises(OSError, match="it is damaged") as caught:
            use()
        assert caught.value.filename == str(file)
    assert file.read_text("latin-1") == content


@pytest.mark.parametrize("cookie", [5, "two words", {}])
def test_what_is_no_cookie_is_no_session(store: SessionStore, file: Path, cookie: Any) -> None:
    store.save(THERE, "x")
    file.write_text(json.dumps({HERE: {"cookie": cookie}}))
    with pytest.raises(OSError, match="it is damaged"):
        store.load(HERE)
    assert store.remove(HERE)


def test_below_a_file_nothing_is_kept(file: Path) -> None:
    file.parent.mkdir()
    file.write_text("")
    store = SessionStore(lambda: file / "sessions.json", "some-program")
    assert (store.load(HERE), store.remove(HERE)) == (None, False)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_a_link_to_itself_may_hide_a_session(store: SessionStore, file: Path) -> None:
    file.parent.mkdir()
    file.symlink_to(file.name)
    with pytest.raises(OSError, match="symbolic links"):
        store.remove(HERE)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFOs in the file system")
def test_a_file_that_is_none_is_refused_without_waiting(store: SessionStore, file: Path) -> None:
    file.parent.mkdir()
    os.mkfifo(file)
    for use in (lambda: store.load(HERE), lambda: store.save(HERE, "y"), lambda: store.remove(HERE)):
        with pytest.raises(OSError, match="not a regular file"):
            use()
    assert stat.S_ISFIFO(file.stat().st_mode)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX")
def test_a_linked_file_is_written_where_it_is_and_for_its_owner_alone(store: SessionStore, file: Path) -> None:
    target = file.parent.parent / "elsewhere.json"
    target.write_text("{}")
    target.chmod(0o644)
    file.parent.mkdir()
    file.symlink_to(target)
    store.save(HERE, "x")
    assert file.is_symlink()
    assert json.loads(target.read_text()) == {HERE: {"cookie": "x"}}
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can do this")
def test_what_root_makes_for_a_person_belongs_to_that_person(store: SessionStore, file: Path, tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    store.save(HERE, "x")
    made = [file, *file.relative_to(tmp_path).parents]
    assert {(tmp_path / path).stat().st_uid for path in made} == {12345}


SAVER = """
import sys
from pathlib import Path
from neptun_mcp.neptun.store import SessionStore
sys.modules["keyring"] = None
for number in range(30):
    SessionStore(lambda: Path(sys.argv[1]), "some-program").save(f"{sys.argv[2]}-{number}", "x")
"""


def test_processes_that_save_at_the_same_time_lose_nothing(store: SessionStore, file: Path) -> None:
    savers = [
        subprocess.Popen([sys.executable, "-c", SAVER, str(file), name], env=environment()) for name in ("one", "two")
    ]
    assert [saver.wait(60) for saver in savers] == [0, 0]
    assert len(json.loads(file.read_text())) == 60


def test_without_a_place_nothing_is_kept_and_nothing_else_fails() -> None:
    def find_file() -> Path:
        raise FileNotFoundError("no place")

    store = SessionStore(find_file, "some-program")
    assert store.load(HERE) is None
    assert store.stamp() is None
    assert not store.remove(HERE)
    with pytest.raises(OSError, match="no place"):
        store.save(HERE, "x")


def test_a_full_disk_is_named_with_the_file_and_keeps_no_session(
    store: SessionStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store.save(HERE, "x")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        store.save(THERE, "y")
    assert caught.value.filename == str(file)
    assert store.remove(HERE)
    assert [*file.parent.iterdir()] == []


# The keyring


class Keyring:
    """What stands in for the keyring of a system, in which each call may take long, fail, or ask on stdin."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passwords: dict[tuple[str, str], str] = {}
        self.act: Any = lambda: None
        monkeypatch.setitem(sys.modules, "keyring", self)

    def get_keyring(self) -> Any:
        return SimpleNamespace(priority=5)

    def set_password(self, service: str, name: str, secret: str) -> None:
        self.act()
        self.passwords[service, name] = secret

    def get_password(self, service: str, name: str) -> str | None:
        self.act()
        return self.passwords.get((service, name))

    def delete_password(self, service: str, name: str) -> None:
        self.act()
        del self.passwords[service, name]


def fail() -> None:
    raise RuntimeError("locked")


@pytest.fixture
def keyring(monkeypatch: pytest.MonkeyPatch) -> Keyring:
    return Keyring(monkeypatch)


def test_a_keyring_that_never_answers_is_named(
    store: SessionStore, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.save(HERE, "x") == "the system's keyring"
    monkeypatch.setattr(module, "KEYRING_SECONDS", 0.05)
    keyring.act = threading.Event().wait
    before = set(threading.enumerate())
    with pytest.raises(OSError, match="keyring does not answer"):
        store.load(HERE)
    with pytest.raises(OSError, match="keyring does not answer"):
        store.remove(HERE)
    left = set(threading.enumerate()) - before
    assert left
    assert all(thread.daemon for thread in left)  # none of them keeps the process alive


def test_what_a_locked_keyring_has_is_not_called_removed(store: SessionStore, keyring: Keyring) -> None:
    store.save(HERE, "x")
    keyring.act = fail
    with pytest.raises(OSError, match="locked, or not there"):
        store.remove(HERE)
    keyring.act = lambda: None
    assert store.remove(HERE)
    assert keyring.passwords == {}
    assert not store.remove(HERE)


def test_what_a_keyring_has_instead_of_a_cookie_is_named(store: SessionStore, keyring: Keyring) -> None:
    store.save(HERE, "x")
    keyring.passwords["some-program", HERE] = "two words"
    with pytest.raises(OSError, match="the system's keyring has is no cookie"):
        store.load(HERE)


def test_a_second_log_in_that_fell_back_to_the_file_leaves_nothing_behind(
    store: SessionStore, file: Path, keyring: Keyring
) -> None:
    store.save(HERE, "first")
    keyring.act = fail
    assert store.save(HERE, "second") == str(file)
    assert store.load(HERE) == "second"
    with pytest.raises(OSError, match="locked, or not there"):
        store.remove(HERE)
    assert "second" not in file.read_text()
    keyring.act = lambda: None
    assert store.remove(HERE)
    assert keyring.passwords == {}
