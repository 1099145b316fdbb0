"""Sessions kept between runs, one for each address: in a file for its owner alone, or in the system's keyring.

With the package `keyring` (the extra of that name) and a keyring that works, the file holds no cookie, only the fact
that there is one.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from .cookies import cookie_value
from .secret_files import locked, make_directory, read_secret_file, write_secret_file
from .threads import in_time

KEYRING_SECONDS = 10.0
"""How long a keyring may take. One that is locked may be waiting for a person."""

_MAX_FILE = 2**20  # bytes
_KEYRING = "the system's keyring"

T = TypeVar("T")


@dataclass(frozen=True)
class SessionStore:
    """Where sessions are kept. Several processes may use it at the same time.

    Attributes:
        find_file: finds the file; called when it is needed. Raises FileNotFoundError where there is no place for one.
        service: the name under which the keyring has the sessions.
    """

    find_file: Callable[[], Path]
    service: str

    def save(self, address: str, cookie: str) -> str:
        """Keep the session of an address, in place of an earlier one; returns where it is kept, in words.

        Raises:
            OSError: the file cannot be read or written.
        """
        with self._kept() as kept:
            in_keyring = False
            with suppress(OSError):
                in_keyring = _ask_keyring(lambda keyring: self._save_in_keyring(keyring, address, cookie))
            entry = kept.get(address, {})
            # An earlier one may be in a keyring that does not answer now: a log-out has to look there, too.
            marks = {"keyring": True} if in_keyring or entry.get("keyring") else {}
            kept[address] = marks if in_keyring else {"cookie": cookie, **marks}
        return _KEYRING if in_keyring else str(self.find_file())

    def load(self, address: str) -> str | None:
        """The cookie kept for an address; None if there is none.

        Raises:
            OSError: the file, or the system's keyring where the file says that it has the cookie, cannot be read, or
                holds something else.
        """
        entry = self._read().get(address, {})
        in_keyring = "cookie" not in entry and bool(entry.get("keyring"))
        kept: Any = entry.get("cookie")
        if in_keyring:
            kept = _ask_keyring(lambda keyring: keyring.get_password(self.service, address))
        if kept is None or (isinstance(kept, str) and cookie_value(kept)):
            return kept
        raise OSError(errno.EINVAL, f"what {_KEYRING} has is no cookie") if in_keyring else self._damaged()

    def remove(self, address: str) -> bool:
        """Remove the session of an address from every place; whether there was one.

        Raises:
            OSError: one of the places cannot be read or written; the session is still there, and in no other.
        """
        if address not in self._read():  # nor are directories made
            return False
        with self._kept() as kept:
            entry = kept.get(address, {})
            if entry.get("keyring"):
                if entry.pop("cookie", None):
                    self._write(kept)  # whatever the keyring answers
                _ask_keyring(lambda keyring: self._remove_from_keyring(keyring, address))
            return kept.pop(address, None) is not None

    def addresses(self) -> list[str]:
        """The addresses whose sessions are kept; none if that cannot be read."""
        try:
            return [*self._read()]
        except OSError:
            return []

    def stamp(self) -> object:
        """Something that changes with each change of what is kept; costs no reading."""
        try:
            status = self.find_file().stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    @contextmanager
    def _kept(self) -> Generator[dict[str, dict[str, Any]]]:
        """What the file holds, written again if the block ends without an error, with no other process in between.

        A file with nothing in it is deleted.
        """
        file = self.find_file()
        make_directory(file.parent)
        with locked(file):
            kept = self._read()
            yield kept
            if kept:
                self._write(kept)
            else:  # also where the disk is full
                Path(os.path.realpath(file)).unlink(missing_ok=True)

    def _read(self) -> dict[str, dict[str, Any]]:
        """What the file holds, by address.

        Raises:
            OSError: it cannot be read, or holds something else, which is not to be lost.
        """
        try:
            text = read_secret_file(self.find_file(), _MAX_FILE)
            kept: Any = json.loads(text) if text.strip() else {}
        except (FileNotFoundError, NotADirectoryError):  # nothing can have been kept, as where HOME is /dev/null
            return {}
        except (ValueError, RecursionError):
            kept = None
        entries = cast("dict[str, Any]", kept) if isinstance(kept, dict) else None
        if entries is None or not all(isinstance(entry, dict) for entry in entries.values()):
            raise self._damaged()
        return entries

    def _write(self, kept: dict[str, dict[str, Any]]) -> None:
        write_secret_file(self.find_file(), json.dumps(kept).encode())

    def _damaged(self) -> OSError:
        return OSError(errno.EINVAL, "it is damaged", str(self.find_file()))

    def _save_in_keyring(self, keyring: Any, address: str, cookie: str) -> bool:
        keyring.set_password(self.service, address, cookie)
        return keyring.get_password(self.service, address) == cookie

    def _remove_from_keyring(self, keyring: Any, address: str) -> None:
        # A password that is not there cannot be deleted, in most backends.
        if keyring.get_password(self.service, address) is not None:
            keyring.delete_password(self.service, address)


def _ask_keyring(ask: Callable[[Any], T]) -> T:
    """What the system's keyring answers.

    Raises:
        OSError: it is not there, is locked, or does not answer in time. Each backend has errors of its own.
    """

    def work() -> T:
        import keyring

        # Backends that only fail, or keep nothing, say so by their priority.
        if keyring.get_keyring().priority <= 0:
            raise RuntimeError
        return ask(keyring)

    try:
        return in_time(work, KEYRING_SECONDS)
    except TimeoutError:
        raise OSError(errno.ETIMEDOUT, f"{_KEYRING} does not answer: it may be waiting for you") from None
    except Exception:
        raise OSError(errno.EACCES, f"{_KEYRING} is locked, or not there") from None
