"""Files that hold a secret: as people save them on any system, and nothing that would stop the process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from neptun_mcp import Settings
from neptun_mcp.neptun.secret_files import read_secret_file, write_secret_file
from neptun_mcp.sandbox import COOKIE
from tests.support import WEBSHOP, Host

TOKENS = "0123456789abcdef" * 2, "fedcba9876543210" * 2
SAVED: dict[str, Callable[[str], bytes]] = {
    "UTF-8": lambda text: text.encode(),
    "UTF-8 with a byte order mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16 of PowerShell": lambda text: b"\xff\xfe" + f"{text}\r\n".encode("utf-16-le"),
    "UTF-16, big-endian": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "characters without width": lambda text: f"\u200b{text}\u200d\u2060".encode(),
    "blanks and line ends around": lambda text: f"\r\n {text}\t\r\n".encode(),
}
each_form = pytest.mark.parametrize("form", SAVED)


@pytest.mark.anyio
@each_form
async def test_a_cookie_file_is_read_as_it_was_saved(host: Host, tmp_path: Path, form: str) -> None:
    file = tmp_path / "cookie"
    file.write_bytes(SAVED[form](COOKIE))
    host.settings |= {"session_cookie": "", "session_cookie_file": file}
    assert (await host.gets("list_imports", project_id=WEBSHOP))["total"] == 7


@each_form
def test_a_token_file_is_read_as_it_was_saved(tmp_path: Path, form: str) -> None:
    file = tmp_path / "tokens"
    file.write_bytes(SAVED[form](",".join(TOKENS)))
    assert Settings(mcp_token_file=file).tokens == list(TOKENS)


def test_the_largest_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * 2**16)
    assert len(read_secret_file(tmp_path / "secret")) == 2**16


def test_a_larger_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * (2**16 + 1))
    with pytest.raises(OSError, match="larger than 64 kB"):
        read_secret_file(tmp_path / "secret")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFOs in the file system, and no /dev")
def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(OSError, match="not a regular file"):
            read_secret_file(path)
        with pytest.raises(ValueError, match=r"NEPTUN_MCP_TOKEN_FILE: cannot be read \(it is not a regular file\)"):
            Settings(mcp_token_file=path)


@pytest.mark.parametrize("path", ["~nobody-of-this-name/secret", "\0", "a\udcff\ud800", "nowhere"])
def test_what_is_no_path_does_not_exist(path: str) -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        read_secret_file(Path(path))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
@pytest.mark.anyio
async def test_a_name_that_is_no_text_can_be_told(host: Host, tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"\xffcookie")
    file.write_bytes(b"")
    host.settings |= {"session_cookie": "", "session_cookie_file": file}
    assert f"{tmp_path}/\ufffdcookie" in await host.fails("list_imports", project_id=WEBSHOP)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_what_root_writes_belongs_to_the_owner_of_the_file_or_of_the_folder(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("old")
    for path in (tmp_path, mine):
        os.chown(path, 1234, 1235)
    for path in (mine, tmp_path / "a/b/new"):
        write_secret_file(path, b"new")
        assert (path.stat().st_uid, path.stat().st_gid, path.read_bytes()) == (1234, 1235, b"new")
    assert {path.stat().st_uid for path in (tmp_path / "a", tmp_path / "a/b")} == {1234}


def test_what_fails_before_the_file_is_replaced_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def refuse() -> None:
        raise ValueError("not yet")

    with pytest.raises(ValueError, match="not yet"):
        write_secret_file(path, b"new", before_replacing=refuse)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file", "old")]
