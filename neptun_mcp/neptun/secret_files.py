"""Files that hold a secret: read however people save them, written for their owner alone, locked meanwhile."""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

MAX_SECRET_FILE = 64 * 2**10
"""Bytes. A browser's whole cookies.txt fits."""

INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
"""For `str.translate`: characters without width, which come along when people copy. No secret holds them."""

_LOCK_SECONDS = 15.0


def read_file(path: Path, limit: int) -> bytes:
    """What is in a regular file.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger than `limit` bytes; `strerror` says which.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return _at_most(limit, file, str(path))


def read_secret_file(path: Path, limit: int = MAX_SECRET_FILE) -> str:
    """The text of a file that holds a secret: UTF-8 or, as Windows writes it, UTF-16 (or UTF-32); without
    `INVISIBLE` characters. In its path, `~` is the home directory. Raises what `read_file` does.
    """
    try:
        return _text(read_file(path.expanduser(), limit))
    except (RuntimeError, ValueError):
        # A home directory that is not known, a character that no path holds.
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT)) from None


def read_secret(file: BinaryIO) -> str:
    """The text of an open file, which may be a pipe, read as by `read_secret_file`. Raises OSError, too."""
    return _text(_at_most(MAX_SECRET_FILE, file))


def _at_most(limit: int, file: BinaryIO, name: str | None = None) -> bytes:
    content = file.read(limit + 1)
    if len(content) > limit:
        size = f"{limit // 2**20} MB" if limit >= 2**20 else f"{limit // 2**10} kB"
        raise OSError(errno.EFBIG, f"it is larger than {size}", name)
    return content


def _text(content: bytes) -> str:
    # By the zeros between ASCII characters, if there is no byte order mark.
    return content.decode(json.detect_encoding(content), "replace").translate(INVISIBLE)


def write_secret_file(
    path: Path, content: bytes, mode: int = 0o600, before_replacing: Callable[[], None] = lambda: None
) -> None:
    """Write a file that may hold a secret, as a whole or not at all; nobody else may read it, not even meanwhile.

    A symbolic link stays one, and what it leads to is written. Missing directories are made for the owner alone. With
    `sudo`, too, the file stays its owner's; what is new belongs to the owner of the directory that it is in.

    Args:
        mode: the permissions of the file when it is written.
        before_replacing: called when the new file is complete and the old one still there; if it raises, that stays.

    Raises:
        OSError: it cannot be written, or something is there that is no regular file; what was there stays as it was.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    make_directory(path.parent)
    beside = path.with_name(f".{path.name}.{token_hex(4)}")
    try:
        try:
            with open(beside, "xb", opener=partial(os.open, mode=0o600)) as new:
                new.write(content)
                new.flush()
                os.fsync(new.fileno())
        except OSError as error:  # which names the file that nobody knows
            raise OSError(error.errno, error.strerror, str(path)) from None
        _give(beside, path if path.exists() else path.parent)
        os.chmod(beside, mode)
        before_replacing()
        os.replace(beside, path)
    finally:
        with suppress(OSError):
            beside.unlink()


def make_directory(path: Path) -> None:
    """Make a directory and those above it, for the owner of the one that exists alone."""
    if not path.exists():
        make_directory(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
        _give(path, path.parent)


def _give(path: Path, like: Path) -> None:
    """Give what root has made to the owner of another file."""
    if os.name != "nt" and path.stat().st_uid != (owner := like.stat()).st_uid:
        os.chown(path, owner.st_uid, owner.st_gid)


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Keep other processes that lock this file, too, from reading and writing it during the block.

    Its directory has to exist. Where the file system knows no locks there is none.

    Raises:
        OSError: another process does not give the lock up.
    """
    descriptor = _open_to_lock(path)
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not _lock(descriptor):
            if time.monotonic() > deadline:
                raise OSError(errno.EAGAIN, "another process keeps it locked", str(path))
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


if os.name == "nt":
    import msvcrt

    def _open_to_lock(path: Path) -> int:
        return os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)

    def _lock(descriptor: int) -> bool:
        with suppress(OSError):
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            return True
        return False

else:
    import fcntl

    def _open_to_lock(path: Path) -> int:
        return os.open(path.parent, os.O_RDONLY)

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # no locks here
            return True
        return True


def _without_waiting(path: str, flags: int) -> int:
    """Open a FIFO too without waiting until somebody writes to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def path_text(path: Path) -> str:
    """A path as text. Its name may be any bytes; what is no UTF-8 could be neither sent nor printed."""
    return os.fsencode(path).decode(errors="replace")


def shown_path(path: Path) -> str:
    """A path in parentheses, after a blank; empty if neither it nor its folder exists: it may be the secret."""
    try:
        whole = path.expanduser()
        in_folder = whole.is_absolute() and whole.parent != Path(whole.anchor) and whole.parent.is_dir()
        return f" ({path_text(path)})" if in_folder or whole.exists() else ""
    except (OSError, RuntimeError, ValueError):
        return ""
