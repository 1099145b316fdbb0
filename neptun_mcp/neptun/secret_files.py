"""Files that hold a secret, as people save them: by whatever editor, on whatever system."""

from __future__ import annotations

import codecs
import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MAX_SECRET_FILE = 64 * 2**10
"""Bytes. A browser's whole cookies.txt fits."""

INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
"""For `str.translate`: characters without width, which come along when people copy. No secret holds them."""

_BYTE_ORDER_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def read_secret_file(path: Path) -> str:
    """The text of a file that holds a secret: UTF-8 or, as Windows writes it, UTF-16; without `INVISIBLE` characters.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger than `MAX_SECRET_FILE`; `strerror` says which.
    """
    try:
        with open(path.expanduser(), "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            return read_secret(file)
    except (RuntimeError, ValueError):
        # A home directory that is not known, a character that no path holds.
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT)) from None


def read_secret(file: BinaryIO) -> str:
    """The text of an open file, which may be a pipe, as `read_secret_file` has it.

    Raises:
        OSError: it cannot be read, or is larger than `MAX_SECRET_FILE`.
    """
    content = file.read(MAX_SECRET_FILE + 1)
    if len(content) > MAX_SECRET_FILE:
        raise OSError(errno.EFBIG, f"it is larger than {MAX_SECRET_FILE // 2**10} kB")
    text = content.decode(_BYTE_ORDER_MARKS.get(content[:2], "utf-8"), "replace")
    return text.translate(INVISIBLE)


def _without_waiting(path: str, flags: int) -> int:
    """Open a FIFO too without waiting until somebody writes to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def path_text(path: Path) -> str:
    """A path as text. Its name may be any bytes; what is no UTF-8 could be neither sent nor printed."""
    return os.fsencode(path).decode(errors="replace")


def shown_path(path: Path) -> str:
    """A path in parentheses, after a blank; nothing if there is no such file, since it may be the secret itself."""
    try:
        return f" ({path_text(path)})" if path.expanduser().exists() else ""
    except (OSError, RuntimeError, ValueError):
        return ""
