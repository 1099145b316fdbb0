"""What one sandbox remembers while it runs: the records of its people, and who is logged in."""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Record: TypeAlias = dict[str, Any]


def seal(seed: str) -> str:
    """A cookie value with the look of Neptun's sealed sessions (recorded); the same seed gives the same one."""
    noise = base64.urlsafe_b64encode(hashlib.shake_256(seed.encode()).digest(441)).decode()
    return f"Fe26.2**{noise[:64]}*{noise[64:86]}*{noise[86:341]}**{noise[-88:]}"


@dataclass
class User:
    id: int
    email: str
    password: str


@dataclass
class Store:
    """Records are in storage order: none. Resources go by project id and type, sessions by cookie."""

    users: list[User]
    projects: list[Record]
    imports: list[Record]
    resources: dict[tuple[int, str], list[Record]]
    sessions: dict[str, User] = field(default_factory=dict[str, User])

    def new_cookie(self, user: User) -> str:
        """One more good cookie; those that there are stay good."""
        cookie = seal(secrets.token_hex())
        self.sessions[cookie] = user
        return cookie
