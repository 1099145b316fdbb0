"""What can go wrong between here and Neptun.

    NeptunError
    ├── CredentialsMissing      nothing to log in with
    │   ├── CookieFileUnusable  the file that should hold the cookie cannot be read, or holds none
    │   └── StoreUnreadable     the session that a log-in kept cannot be read
    ├── SessionRefused          the cookie is expired or wrong
    ├── LoginRefused            the e-mail address or the password is wrong
    ├── WrongUser               the session is good, but it is another user's
    ├── BadRequest              Neptun did not accept an argument (400)
    ├── Denied                  refused or not found (401, 403, 404)
    │   ├── Unauthorized        401, and not yet known whether it means the session or the right
    │   ├── ProjectNotFound     no such project, or another person's
    │   ├── ImportNotFound      no such import in the project
    │   └── ResourceNotFound    no such resource in the project
    ├── NotLikeNeptun           the address answers, but not as Neptun does: HTML, broken JSON, …
    │   ├── NotNeptun           it has none of Neptun's pages
    │   │   └── UserNotSaid     it does not say whose session it is
    │   ├── Redirected          it redirects elsewhere
    │   ├── TooLarge            its answer is larger than allowed
    │   └── UnreadableItems     what was asked for may be among items that cannot be read
    ├── Unavailable             Neptun, or the way to it, is down or overloaded
    │   ├── RateLimited         429
    │   ├── ServerFailed        408 and 5xx
    │   ├── Unreachable         unknown name, TLS, proxy, no connection in time
    │   │   └── ConnectionLost  refused, or ended early: the next connection may hold
    │   └── TimedOut            no complete answer within the time limit
    └── DeletionFailed          a deletion was sent, and it is not certain that the import is gone

An error carries facts, for the program to act on and to explain in its own words: `address` is the base URL of Neptun,
`status` an HTTP status code, `retry_after` the seconds to wait as the server asked (or None), and ids are Neptun's.
`str(error)` is one sentence for the program's developer. No text that came from the server is ever part of it: a server
may echo the cookie, a page of HTML, or instructions. An error is complete when it is made, and never changed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from .models import Project


def quoted(text: str, limit: int = 80) -> str:
    r"""`text` in double quotes, on one line, at most `limit` characters of it.

    What cannot be printed (control characters, ANSI escapes, bidirectional overrides, lone surrogates) comes
    out as `\uXXXX`, so that a name chosen by someone else cannot disguise a message.
    """
    shown = json.dumps(text[:limit], ensure_ascii=False)
    shown = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in shown)
    return shown if len(text) <= limit else shown[:-1] + '…"'


class NeptunError(Exception):
    """An expected failure."""

    sentence: ClassVar[str] = ""
    """What `str()` of it says, with the names of attributes in braces."""

    def __str__(self) -> str:
        return self.sentence.format_map(vars(self))


@dataclass(eq=False)
class CredentialsMissing(NeptunError):
    """There is nothing to log in with. Nothing was sent."""

    address: str
    sentence = "There are no credentials for Neptun."


@dataclass(eq=False)
class CookieFileUnusable(CredentialsMissing):
    """The file that should hold the session cookie cannot be read, or holds none.

    Attributes:
        problem: what is wrong with it, to follow its name: "cannot be read: Permission denied (/run/cookie)". The path
            is left out if there is no such file: it may be the secret itself.
    """

    problem: str
    sentence = "The cookie file {problem}."


@dataclass(eq=False)
class StoreUnreadable(CredentialsMissing):
    """The session that a log-in kept cannot be read.

    Attributes:
        problem: why, in words, with the file's name.
        file: the file that cannot be read; empty if it is the system's keyring.
    """

    problem: str
    file: str = ""
    sentence = "The kept session cannot be read: {problem}."


@dataclass(eq=False)
class SessionRefused(NeptunError):
    """Neptun does not accept the session cookie, and there is no other way to a session.

    Attributes:
        file: the file that the cookie came from, if it is one.
        kept: whether it is the cookie that a log-in kept.
    """

    address: str
    file: Path | None = None
    kept: bool = False
    sentence = "Neptun refused the session: the cookie is expired or wrong."


@dataclass(eq=False)
class LoginRefused(NeptunError):
    """Neptun did not accept the e-mail address and password. To keep the account from being locked, they are not tried
    again for `seconds`."""

    seconds: float
    sentence = "Neptun refused the log-in: the e-mail address or the password is wrong."


@dataclass(eq=False)
class WrongUser(NeptunError):
    """The configured user id is not that of the session's user."""

    configured: int
    actual: int
    sentence = "The configured user id is {configured}, but the session belongs to user {actual}."


class BadRequest(NeptunError):
    """Neptun did not accept an argument (400)."""

    sentence = "Neptun refused the request (400): it does not accept the value of an argument."


@dataclass(eq=False)
class Denied(NeptunError):
    """Neptun answers 401, 403 or 404: not there, or not this person's.

    Attributes:
        by_handler: a running server's handler answered, so that there is such an endpoint. Only its refusals have no
            `message` (recorded).
    """

    status: int
    by_handler: bool = field(default=False, kw_only=True)
    sentence = "Neptun answered {status}: not found, or not yours."


@dataclass(eq=False)
class Unauthorized(Denied):
    """401: a bad session, or (a running server) a good one without the right. The session finds out which."""

    status: int = field(default=401, kw_only=True)


@dataclass(eq=False)
class ProjectNotFound(Denied):
    """There is no project with this id, or it is another person's. Without `projects` that is not certain: a running
    server also answers 404 when its database fails.

    Attributes:
        projects: the person's projects; None if they could not be listed.
    """

    project_id: int
    projects: Sequence[Project] | None

    def __str__(self) -> str:
        doubt = ", or Neptun failed: your projects could not be listed to tell" if self.projects is None else ""
        return f"There is no project {self.project_id}, or it is not yours{doubt}."


@dataclass(eq=False)
class ImportNotFound(Denied):
    """There is no import with this id in the project."""

    status: int = field(default=404, kw_only=True)
    import_id: int
    project_id: int
    sentence = "There is no import {import_id} in project {project_id}."


@dataclass(eq=False)
class ResourceNotFound(Denied):
    """There is no resource of the type with this id in the project.

    Attributes:
        certain: False if the list of resources was empty: a running server also sends that when its query fails.
    """

    status: int = field(default=404, kw_only=True)
    resource_type: str
    resource_id: int
    project_id: int
    certain: bool = True

    def __str__(self) -> str:
        doubt = "" if self.certain else ", or Neptun failed: it sent an empty list, as it also does then"
        place = f"among the {self.resource_type} of project {self.project_id}"
        return f"There is no resource {self.resource_id} {place}{doubt}."


@dataclass(eq=False)
class NotLikeNeptun(NeptunError):
    """The address answers, but not as Neptun does; `what` is a clause, such as "it sent broken JSON"."""

    address: str
    what: str
    sentence = "{address} does not answer like Neptun: {what}."


class NotNeptun(NotLikeNeptun):
    """What every Neptun has is missing, so this is hardly one."""


class UserNotSaid(NotNeptun):
    """It does not say whose session this is. A configured user id may replace that."""


class Redirected(NotLikeNeptun):
    """It redirects elsewhere, where the session cookie is not sent."""


class TooLarge(NotLikeNeptun):
    """Its answer is larger than was allowed."""


class UnreadableItems(NotLikeNeptun):
    """What was asked for may be among the items of a list that cannot be read."""


@dataclass(eq=False)
class Unavailable(NeptunError):
    """Neptun, or the way to it, is down or overloaded. Trying again later may help."""

    address: str


@dataclass(eq=False)
class RateLimited(Unavailable):
    """Too many requests (429)."""

    retry_after: float | None = None
    sentence = "{address} is receiving too many requests (429)."


@dataclass(eq=False)
class ServerFailed(Unavailable):
    """Neptun failed on its side (408, 5xx)."""

    status: int
    retry_after: float | None = None
    sentence = "Neptun at {address} failed on its side (status {status})."


class Obstacle(Enum):
    """What kept a request, or its answer, from getting through: a sentence with what is known of it."""

    TLS = "The TLS connection to {there} failed{why}."
    NAME = "The host name of {there} was not found."
    PROXY_REFUSED = "The {proxy} on the way to {address} refused the connection."
    TOO_SLOW = "Could not connect to {there} in time."
    REFUSED = "{There} refused the connection."
    PROXY_ENDED = "The {proxy} ended the connection before it led to {address}."
    ENDED = "The connection to {address} ended before the answer was complete."
    NOT_HTTP = "What {there} answered is not valid HTTP."
    SETTING = "{address} cannot be reached: {setting} cannot be used{why}."


@dataclass(eq=False)
class Unreachable(Unavailable):
    """The request, or its answer, did not get through.

    Attributes:
        proxy: name and port of the proxy that was connected to; empty if there is none, or if that is not known.
        setting: with `Obstacle.SETTING`, the environment variable that cannot be used, if it was found.
        why: more of the reason, in words.
    """

    obstacle: Obstacle
    proxy: str = ""
    setting: str = ""
    why: str = ""

    def __str__(self) -> str:
        there = f"the proxy {self.proxy}" if self.proxy else self.address
        setting = f"{self.setting}, a setting" if self.setting else "a TLS or proxy setting"
        return self.obstacle.value.format(
            address=self.address,
            proxy=f"proxy {self.proxy}" if self.proxy else "proxy",
            there=there,
            There=there[0].upper() + there[1:] if self.proxy else there,
            setting=f"{setting} of this machine{',' * bool(self.setting)}",
            why=f" ({self.why})" if self.why else "",
        )


class ConnectionLost(Unreachable):
    """The connection could not be made, or ended before the answer was complete: the next one may hold."""


@dataclass(eq=False)
class TimedOut(Unavailable):
    """There was no complete answer within the time limit; the call waited for `seconds`."""

    seconds: float

    def __str__(self) -> str:
        shown = f"{round(self.seconds, 1) or float(f'{self.seconds:.1g}'):g}"  # never 0
        return f"{self.address} did not answer completely within {shown} second{'' if shown == '1' else 's'}."


class Effect(Enum):
    """What a failed deletion means for the import, a sentence with its id."""

    UNKNOWN = "Whether import {} was deleted is unknown."
    STILL_THERE = "Import {} is still there."
    MAY_YET_GO = "Import {} is still there, but may yet go."


@dataclass(eq=False)
class DeletionFailed(NeptunError):
    """A deletion was sent, and it is not certain that the import is gone; `cause` is what happened."""

    cause: NeptunError
    effect: Effect
    import_id: int

    def __str__(self) -> str:
        return f"{self.cause} {self.effect.value.format(self.import_id)}"
