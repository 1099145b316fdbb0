"""What one sandbox remembers while it runs: the records of its people, and who is logged in."""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeAlias
from uuid import uuid4

Record: TypeAlias = dict[str, Any]


def now() -> str:
    """The time as Neptun writes it: `2026-11-21T23:12:39.102Z`, always UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seal(seed: str, length: int = 441) -> str:
    """A cookie value with the look of Neptun's sealed sessions; the same seed gives the same one.

    Recorded: 441 characters for a person's session, 334 for an anonymous one.
    """
    noise = base64.urlsafe_b64encode(hashlib.shake_256(seed.encode()).digest(441)).decode()
    return f"Fe26.2**{noise[:64]}*{noise[64:86]}*{noise[86 : length - 100]}**{noise[-88:]}"


ANONYMOUS_COOKIE = seal("nobody", 334)


@dataclass
class User:
    id: int
    email: str
    password: str


@dataclass
class Login:
    user: User
    id: str = field(default_factory=lambda: str(uuid4()))
    logged_in_at: str = field(default_factory=now)

    def as_json(self) -> Record:
        user = {"id": self.user.id, "primary_email": self.user.email}
        return {"user": user, "loggedInAt": self.logged_in_at}


@dataclass
class Store:
    """Records are in storage order, which is no order at all. Resources go by project id and type."""

    users: list[User]
    projects: list[Record]
    imports: list[Record]
    resources: dict[tuple[int, str], list[Record]]
    sessions: dict[str, Login] = field(default_factory=dict[str, Login])

    def new_cookie(self, session: Login) -> str:
        """One more good cookie for the session; those it already has stay good."""
        cookie = seal(secrets.token_hex())
        self.sessions[cookie] = session
        return cookie
