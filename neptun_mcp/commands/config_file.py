"""A host's configuration file: set a value in it or take it out, and leave the rest of it as it is."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from codecs import BOM_UTF8
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from .json_text import copy_json, read_json, remove_json, set_json
from .toml_text import copy_toml, read_toml, remove_toml, set_toml

MAX_FILE = 32 * 2**20
"""Bytes. Claude Code keeps much else in its file."""

_JSON = (read_json, set_json, remove_json, copy_json)
_TOML = (read_toml, set_toml, remove_toml, copy_toml)


class FileChanged(OSError):
    """Somebody else has written to the file since it was read."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} was written by another program at the same time")


def can_edit(path: Path) -> bool:
    """Whether files of this kind can be edited. YAML cannot: ruamel.yaml changes more of a file than was asked for."""
    return path.suffix in (".json", ".jsonc", ".toml")


class ConfigFile:
    """A file of TOML, or of JSON with comments and trailing commas, as its suffix says.

    Attributes:
        path: where it is.
        text: what is to be in it, with "\\n" at the ends of lines.
    """

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        """
        Args:
            content: what is in it; None if there is no such file.

        Raises:
            ValueError: that cannot be parsed, or is something other than an object.
        """
        self.path = path
        self._content = content
        self._read, self._set, self._remove, self._copy = _TOML if path.suffix == ".toml" else _JSON
        self._parsed: tuple[str, dict[str, Any]] | None = None
        try:
            text = (content or b"").decode("utf-8-sig")
            self._newline = "\r\n" if 0 < text.count("\r\n") == text.count("\n") else "\n"
            self.text = self._first = text.replace(self._newline, "\n")
            self._object()
        except (RecursionError, ValueError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from None

    @classmethod
    def read(cls, path: Path) -> ConfigFile:
        """The file at a path. Symbolic links are followed, so that they stay.

        Raises:
            OSError: it cannot be opened, is no regular file, or is larger than `MAX_FILE`.
            ValueError: it cannot be parsed, or holds something other than an object.
        """
        path = Path(os.path.realpath(path))
        return cls(path, file_content(path))

    @property
    def backup(self) -> Path:
        """Where the file is kept as it was before the first `install`."""
        return self.path.with_name(f"{self.path.name}.before-neptun")

    def read_backup(self) -> ConfigFile | None:
        """The file as it was; None if there is no backup that can be read."""
        with suppress(OSError, ValueError):
            content = file_content(self.backup)
            return None if content is None else ConfigFile(self.path, content)
        return None

    @property
    def changed(self) -> bool:
        """Whether the text is another than that of the file."""
        return self.text != self._first

    def get(self, *path: str) -> Any:
        """The value at a path; None if there is none."""
        value: Any = self._object()
        for key in path:
            value = cast("dict[str, Any]", value).get(key) if isinstance(value, dict) else None
        return value

    def set(self, path: Sequence[str], value: Any) -> None:
        """Change the text, not yet the file.

        Raises:
            ValueError: something on the path is no object.
        """
        try:
            self.text = self._set(self.text, path, value)
        except ValueError as error:
            raise ValueError(f"{self.path} has no place for the entry: {error}") from None

    def remove(self, path: Sequence[str], before: ConfigFile | None = None) -> None:
        """Undo `set` in the text, not yet in the file.

        Args:
            before: the file as it was before `set`.

        Raises:
            ValueError: the value cannot be taken out by itself.
        """
        try:
            self.text = self._remove(self.text, path, before.text if before else None)
        except ValueError as error:
            raise ValueError(f"{self.path} has an entry that cannot be removed: {error}") from None

    def copy(self, path: Sequence[str], other: ConfigFile) -> None:
        """Take over a value, to the letter, from another state of the file. Both have one."""
        self.text = self._copy(self.text, path, other.text)

    def save(self, *, keep: bool = False, private: bool = False) -> None:
        """Write the file, at once and whole. Its owner and mode stay; a new one is for its owner alone.

        Args:
            keep: whether to keep the file as it was, as `backup`.
            private: whether file and backup are to be for their owner alone.

        Raises:
            FileChanged: the file is no longer what was read.
            OSError: it cannot be written. In both cases the file is what it was.
        """
        _make_folder(self.path.parent)
        like = self.path if self._content is not None else self.path.parent
        mode = 0o600 if private or self._content is None else stat.S_IMODE(self.path.stat().st_mode)
        if keep and self._content is not None:
            _write(self.backup, self._content, mode, like)
        elif private and self.backup.exists():
            self.backup.chmod(0o600)
        _write(self.path, self._encoded(), mode, like, self._require_unchanged)

    def delete(self) -> None:
        """Delete the file, and its folder if nothing else is in it.

        Raises:
            FileChanged: the file is no longer what was read.
            OSError: it cannot be deleted.
        """
        self._require_unchanged()
        self.path.unlink()
        with suppress(OSError):
            self.path.parent.rmdir()

    def close(self) -> None:
        """Make file and backup readable by their owner alone."""
        for path in (self.path, self.backup):
            if path.exists():
                path.chmod(0o600)

    def is_readable_by_others(self) -> bool:
        """Whether somebody else than the owner may read the file or its backup."""
        return os.name != "nt" and any(
            path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (self.path, self.backup)
        )

    def delete_backup_if_equal(self) -> bool:
        """Delete the backup if it holds what the file is to hold; whether none is left."""
        with suppress(OSError):
            if file_content(self.backup) == self._encoded():
                self.backup.unlink()
        return not self.backup.exists()

    def _encoded(self) -> bytes:
        mark = BOM_UTF8 if (self._content or b"").startswith(BOM_UTF8) else b""
        return mark + self.text.replace("\n", self._newline).encode()

    def _require_unchanged(self) -> None:
        if file_content(self.path) != self._content:
            raise FileChanged(self.path)

    def _object(self) -> dict[str, Any]:
        if self._parsed is None or self._parsed[0] is not self.text:
            value = self._read(self.text)
            if not isinstance(value, dict):
                raise ValueError("what it holds is no object")
            self._parsed = self.text, cast("dict[str, Any]", value)
        return self._parsed[1]


def file_content(path: Path) -> bytes | None:
    """What is in a file of a host; None if there is none.

    Raises:
        OSError: it cannot be opened, is no regular file, or is larger than `MAX_FILE`.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    if status.st_size > MAX_FILE:
        raise OSError(errno.EFBIG, f"it is larger than {MAX_FILE // 2**20} MB", str(path))
    return path.read_bytes()


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, for the owner of the first one that is there."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _give(folder, folder.parent)


def _give(path: Path, like: Path) -> None:
    """Give what root has made to the owner of another file."""
    if os.name != "nt" and path.stat().st_uid != (owner := like.stat()).st_uid:
        os.chown(path, owner.st_uid, owner.st_gid)


def _write(path: Path, data: bytes, mode: int, like: Path, check: Callable[[], None] = lambda: None) -> None:
    """Write a file, which belongs to the owner of another one: with `sudo`, too, it stays the person's."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _give(Path(temporary), like)
        os.chmod(temporary, mode)
        check()
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
