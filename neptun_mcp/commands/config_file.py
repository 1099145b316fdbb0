"""A host's configuration file: read, and edited with everything else left as it is."""

from __future__ import annotations

import os
import stat
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import yaml

from ..account import NO_HOME
from ..neptun.secret_files import read_file, write_secret_file
from .json_text import is_object, read_json, remove_json, set_json
from .toml_text import read_toml, remove_toml, set_toml

MAX_FILE = 32 * 2**20
"""Bytes. Claude Code keeps much else in its file."""

_TRIES = 5

T = TypeVar("T")


class FileChanged(ValueError):
    """Another program has written to the file since it was read."""


class ConfigFile:
    """A file of TOML, of YAML, or of JSON with comments and trailing commas, as its suffix says.

    Attributes:
        path: where it is.
        content: what was in it when it was read; None if there was no such file.
        text: what is to be in it, with "\\n" at the ends of lines.
        value: what the text says.

    Raises:
        ValueError: the content cannot be parsed, or is something other than an object.
    """

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        self.path = path
        self.content = content
        self._read, self._set, self._remove = _FORMATS.get(path.suffix, _JSON)
        try:
            text = (content or b"").decode("utf-8-sig")
            self._newline = "\r\n" if 0 < text.count("\r\n") == text.count("\n") else "\n"
            self.text = self._first = text.replace(self._newline, "\n")
            value = self._read(self.text)
        except UnicodeDecodeError:
            raise ValueError(f"{path} cannot be read: it is not UTF-8 text") from None
        except (RecursionError, ValueError) as error:
            raise ValueError(f"{path} cannot be read: {error}") from None
        if not is_object(value):
            raise ValueError(f"{path} cannot be read: what it holds is not an object")
        self.value = value

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
        """Whether the text differs from the file's."""
        return self.text != self._first

    def update(self, value: Mapping[str, Any]) -> None:
        """Change the text, not yet the file. Of the text, only what stands for the change becomes another.

        Args:
            value: what of the file is to change; None takes something out.

        Raises:
            ValueError: it cannot be edited so exactly.
        """
        wanted = {**self.value, **value}
        try:
            for path, _, new in _differences(self.value, wanted):
                self.text = self._remove(self.text, path) if new is None else self._set(self.text, path, new)
            found = self._read(self.text)
        except ValueError as error:
            raise ValueError(f"{self.path} cannot be edited: {error}") from None
        # Where a comment is left, or a table of TOML is only named, an object without anything is the same as none.
        if any((old or None) != (new or None) for _, old, new in _differences(found, wanted)):
            raise ValueError(f"{self.path} cannot be edited: the entry is not in a place of its own")
        self.value = found

    def save(self, *, keep: bool = False, private: bool = False) -> None:
        """Write the file, at once and whole. Its owner and mode stay; a new one is for its owner alone.

        Args:
            keep: whether to keep the file as it was, as `backup`.
            private: whether only the owner may read what is written.

        Raises:
            FileChanged: the file is no longer what was read.
            OSError: it cannot be written. In both cases the file is what it was.
        """
        mode = 0o600 if private or self.content is None else stat.S_IMODE(self.path.stat().st_mode)
        if keep and self.content is not None:
            write_secret_file(self.backup, self.content, mode)
        write_secret_file(self.path, self.encoded(), mode, self._require_unchanged)

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

    def make_private(self) -> None:
        """Make file and backup readable by their owner alone."""
        for path in (self.path, self.backup):
            if path.exists():
                path.chmod(0o600)

    def encoded(self) -> bytes:
        """The bytes to write into the file."""
        mark = BOM_UTF8 if (self.content or b"").startswith(BOM_UTF8) else b""
        return mark + self.text.replace("\n", self._newline).encode()

    def _require_unchanged(self) -> None:
        if file_content(self.path) != self.content:
            raise FileChanged(f"{self.path} was written by another program at the same time")


def edit(path: Path | None, change: Callable[[ConfigFile], T]) -> T:
    """What `change` returns, which saves the file at the path; once more if another program writes to it meanwhile.

    Raises:
        OSError, ValueError: those of `ConfigFile.read` and of `change`; or there is no path.
    """
    if path is None:
        raise OSError(NO_HOME)
    for _ in range(_TRIES - 1):
        with suppress(FileChanged):
            return change(ConfigFile.read(path))
    return change(ConfigFile.read(path))


def file_content(path: Path) -> bytes | None:
    """What is in a file of a host; None if there is none.

    Raises:
        OSError: it cannot be opened, is no regular file, or is larger than `MAX_FILE`.
    """
    try:
        return read_file(path, MAX_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _differences(old: Any, new: Any, path: Sequence[str] = ()) -> Iterator[tuple[Sequence[str], Any, Any]]:
    """Where two values differ: the path, and what is there in each; None where nothing is."""
    if old == new:
        return
    if is_object(old) and is_object(new):
        for key in {**new, **old}:
            yield from _differences(old.get(key), new.get(key), [*path, key])
    elif old == old or new == new:  # NaN does not equal itself
        yield path, old, new


def _read_yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None


def _left_alone(*_: object) -> str:
    raise ValueError("it is YAML, which is left to you")  # editors for it change more than they are told


_JSON = (read_json, set_json, remove_json)
_FORMATS = {".toml": (read_toml, set_toml, remove_toml), ".yaml": (_read_yaml, _left_alone, _left_alone)}
