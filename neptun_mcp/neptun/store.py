"""Sessions kept between runs, one for each address: in a file for its owner alone, or in the system's keyring.

With the package `keyring` (the extra of that name) and a keyring that works, the file holds no cookie, only the fact
that there is one.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

_IN_KEYRING = {"keyring": True}


@dataclass(frozen=True)
class SessionStore:
    """Where sessions are kept.

    Attributes:
        find_file: finds the file; called when it is needed.
        service: the name under which the keyring has the sessions.
    """

    find_file: Callable[[], Path]
    service: str

    def save(self, address: str, cookie: str) -> str:
        """Keep the session of an address, in place of an earlier one.

        Returns:
            Where it is kept, in words.

        Raises:
            OSError: the file cannot be written.
        """
        in_keyring = _save_in_keyring(self.service, address, cookie)
        self._write(self._read() | {address: _IN_KEYRING if in_keyring else {"cookie": cookie}})
        return "the system's keyring" if in_keyring else str(self.find_file())

    def load(self, address: str) -> str | None:
        """The cookie kept for an address; None if there is none.

        Raises:
            OSError: it is in the system's keyring, which cannot be read now.
        """
        kept = self._read().get(address)
        if kept == _IN_KEYRING:
            return _load_from_keyring(self.service, address)
        cookie: Any = cast("dict[str, Any]", kept).get("cookie") if isinstance(kept, dict) else None
        return cookie if isinstance(cookie, str) else None

    def remove(self, address: str) -> bool:
        """Remove the session of an address; whether there was one.

        Raises:
            OSError: the file cannot be written.
        """
        kept = self._read()
        if address not in kept:
            return False
        if kept.pop(address) == _IN_KEYRING:
            _remove_from_keyring(self.service, address)
        self._write(kept)
        return True

    def stamp(self) -> object:
        """Something that changes with each change of what is kept; costs no reading."""
        try:
            status = self.find_file().stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self) -> dict[str, Any]:
        try:
            kept: Any = json.loads(self.find_file().read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return cast("dict[str, Any]", kept) if isinstance(kept, dict) else {}

    def _write(self, kept: dict[str, Any]) -> None:
        file = self.find_file()
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Nobody ever sees half of it, or may read it: the new file is made for its owner alone.
        descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
        try:
            with open(descriptor, "w", encoding="utf-8") as new:
                json.dump(kept, new)
            os.replace(name, file)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise


@dataclass(frozen=True)
class KeptSession:
    """The session that a store keeps for one address.

    Attributes:
        store: the store.
        address: the address, and the only one that the cookie is sent to.
    """

    store: SessionStore
    address: str

    def cookie(self) -> str | None:
        """The cookie; None if there is none."""
        return self.store.load(self.address)

    def stamp(self) -> object:
        """Something that changes when the person logs in or out."""
        return self.store.stamp()


def _keyring() -> Any:
    """The keyring, if the package is there and has a backend that works; else None."""
    try:
        import keyring

        # Backends that only fail, or keep nothing, say so by their priority.
        return keyring if keyring.get_keyring().priority > 0 else None
    except Exception:  # each backend has errors of its own, and the file is there for all of them
        return None


def _save_in_keyring(service: str, address: str, cookie: str) -> bool:
    keyring = _keyring()
    if keyring is None:
        return False
    try:
        keyring.set_password(service, address, cookie)
        return keyring.get_password(service, address) == cookie
    except Exception:
        return False


def _load_from_keyring(service: str, address: str) -> str | None:
    keyring = _keyring()
    try:
        return keyring.get_password(service, address)
    except Exception:
        raise OSError(errno.EACCES, "the system's keyring is locked, or not there") from None


def _remove_from_keyring(service: str, address: str) -> None:
    with suppress(Exception):
        _keyring().delete_password(service, address)
