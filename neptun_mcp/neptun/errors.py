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
    │   │   └── UnknownUser     the server does not say whose session it is
    │   ├── ProjectNotFound     no such project, or another person's
    │   ├── ImportNotFound      no such import in the project
    │   └── ResourceNotFound    no such resource in the project
    ├── NotLikeNeptun           the address answers, but not as Neptun does: HTML, broken JSON, …
    │   ├── NotNeptun           it has none of Neptun's pages, or does not say whose session it is
    │   ├── Redirected          it redirects elsewhere
    │   ├── TooLarge            its answer is larger than allowed
    │   └── Unreadable          what was asked for may be among items that cannot be read
    ├── Unavailable             Neptun, or the way to it, is down or overloaded
    │   ├── RateLimited         429
    │   ├── ServerFailed        408 and 5xx
    │   ├── Unreachable         unknown name, TLS, proxy, no connection in time
    │   │   └── ConnectionLost  refused, or ended early: the next connection may hold
    │   └── TimedOut            no complete answer within the time limit
    └── DeletionFailed          a deletion was sent, and it is not certain that the import is gone

An error carries facts, for the program to act on and to explain in its own words. `str(error)` is one sentence for the
program's developer. No text that came from the server is ever part of it: a server may echo the cookie, a page of HTML,
or instructions. An error is complete when it is made, and never changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

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
    """An expected failure. `str()` of it is one sentence."""

    def __copy__(self) -> NeptunError:
        """The same failure for another caller: raised again, this one would collect the tracebacks of all of them."""
        other = type(self).__new__(type(self), *self.args)
        other.__dict__.update(self.__dict__)
        return other


class CredentialsMissing(NeptunError):
    """There is nothing to log in with. Nothing was sent.

    Attributes:
        address: the base URL of Neptun.
    """

    def __init__(self, address: str, sentence: str = "There are no credentials for Neptun.") -> None:
        super().__init__(sentence)
        self.address = address


class CookieFileUnusable(CredentialsMissing):
    """The file that should hold the session cookie cannot be read, or holds none.

    Attributes:
        problem: what is wrong with it, to follow its name: "cannot be read: Permission denied (/run/cookie)". The path
            is left out if there is no such file: it may be the secret itself.
    """

    def __init__(self, address: str, problem: str) -> None:
        super().__init__(address, f"The cookie file {problem}.")
        self.problem = problem


class StoreUnreadable(CredentialsMissing):
    """The session that a log-in kept cannot be read.

    Attributes:
        problem: why, in words.
        file: the file that cannot be read; empty if it is the system's keyring.
    """

    def __init__(self, address: str, problem: str, file: str = "") -> None:
        shown = f" ({file})" if file else ""
        super().__init__(address, f"The kept session cannot be read: {problem}{shown}.")
        self.problem = f"{problem}{shown}"
        self.file = file


class Source(Enum):
    """Where a session cookie came from."""

    GIVEN = "given as such"
    FILE = "read from a file"
    KEPT = "kept by a log-in"


class SessionRefused(NeptunError):
    """Neptun does not accept the session cookie, and there is no other way to a session.

    Attributes:
        address: the base URL of Neptun.
        source: where the cookie came from.
        file: the file that it came from, if it is one.
    """

    def __init__(self, address: str, source: Source, file: Path | None = None) -> None:
        super().__init__("Neptun refused the session: the cookie is expired or wrong.")
        self.address = address
        self.source = source
        self.file = file


class LoginRefused(NeptunError):
    """Neptun did not accept the e-mail address and password.

    Attributes:
        seconds: for how long they are not tried again, so that the account is not locked.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__("Neptun refused the log-in: the e-mail address or the password is wrong.")
        self.seconds = seconds


class WrongUser(NeptunError):
    """The configured user id is not that of the session's user.

    Attributes:
        configured: the id that was configured.
        actual: the id of the session's user.
    """

    def __init__(self, configured: int, actual: int) -> None:
        super().__init__(f"The configured user id is {configured}, but the session belongs to user {actual}.")
        self.configured = configured
        self.actual = actual


class BadRequest(NeptunError):
    """Neptun did not accept an argument (400).

    Attributes:
        fields: the names of the refused parameters, if Neptun named them and they are known.
    """

    def __init__(self, fields: Iterable[str] = ()) -> None:
        self.fields = tuple(fields)
        named = f" {', '.join(self.fields)}" if self.fields else ""
        super().__init__(f"Neptun refused the request (400): it does not accept the value of{named or ' an argument'}.")


class Denied(NeptunError):
    """Neptun answers 401, 403 or 404: not there, or not this person's.

    Attributes:
        status: the HTTP status code.
        by_handler: a running server's handler answered, so that there is such an endpoint. Only its refusals have no
            `message` (recorded).
    """

    def __init__(self, status: int, sentence: str = "", *, by_handler: bool = False) -> None:
        super().__init__(sentence or f"Neptun answered {status}: not found, or not yours.")
        self.status = status
        self.by_handler = by_handler


class Unauthorized(Denied):
    """401: a bad session, or (a running server) a good one without the right. The session finds out which."""

    def __init__(self) -> None:
        super().__init__(401)


class UnknownUser(Unauthorized):
    """The session has no user: it is a bad one, or it is good and the server does not say whose it is."""


class ProjectNotFound(Denied):
    """There is no project with this id, or it is another person's. Without `projects` that is not certain: a running
    server also answers 404 when its database fails.

    Attributes:
        project_id: the id.
        projects: the person's projects; None if they could not be listed.
    """

    def __init__(self, status: int, project_id: int, projects: Iterable[Project] | None) -> None:
        self.project_id = project_id
        self.projects = None if projects is None else tuple(projects)
        doubt = ", or Neptun failed: your projects could not be listed to tell" if self.projects is None else ""
        super().__init__(status, f"There is no project {project_id}, or it is not yours{doubt}.")


class ImportNotFound(Denied):
    """There is no import with this id in the project.

    Attributes:
        import_id: the id.
        project_id: the project's id.
    """

    def __init__(self, import_id: int, project_id: int) -> None:
        super().__init__(404, f"There is no import {import_id} in project {project_id}.")
        self.import_id = import_id
        self.project_id = project_id


class ResourceNotFound(Denied):
    """There is no resource of the type with this id in the project.

    Attributes:
        resource_type: the type.
        resource_id: the id.
        project_id: the project's id.
        certain: False if the list of resources was empty: a running server also sends that when its query fails.
    """

    def __init__(self, resource_type: str, resource_id: int, project_id: int, *, certain: bool = True) -> None:
        doubt = "" if certain else ", or Neptun failed: it sent an empty list, as it also does then"
        super().__init__(
            404, f"There is no resource {resource_id} among the {resource_type} of project {project_id}{doubt}."
        )
        self.resource_type = resource_type
        self.resource_id = resource_id
        self.project_id = project_id
        self.certain = certain


class NotLikeNeptun(NeptunError):
    """The address answers, but not as Neptun does.

    Attributes:
        address: the base URL.
        what: what it does instead, a clause: "it sent broken JSON where JSON was expected".
    """

    def __init__(self, address: str, what: str) -> None:
        super().__init__(f"{address} does not answer like Neptun: {what}.")
        self.address = address
        self.what = what


class NotNeptun(NotLikeNeptun):
    """What every Neptun has is missing, so this is hardly one.

    Attributes:
        lacks_user: it does not say whose session this is; a configured user id may replace that.
    """

    def __init__(self, address: str, *, lacks_user: bool = False) -> None:
        super().__init__(
            address,
            "it does not say whose session this is" if lacks_user else "it has none of the pages that every Neptun has",
        )
        self.lacks_user = lacks_user


class Redirected(NotLikeNeptun):
    """It redirects elsewhere, where the session cookie is not sent.

    Attributes:
        status: the HTTP status code.
    """

    def __init__(self, address: str, status: int) -> None:
        super().__init__(
            address, f"it redirects elsewhere (status {status}), and the session cookie is sent to no other address"
        )
        self.status = status


class TooLarge(NotLikeNeptun):
    """Its answer is larger than was allowed.

    Attributes:
        limit: bytes.
    """

    def __init__(self, address: str, limit: int) -> None:
        super().__init__(address, f"its answer is larger than {limit / 2**20:g} MB")
        self.limit = limit


class Unreadable(NotLikeNeptun):
    """What was asked for may be among the items of a list that cannot be read.

    Args:
        address: the base URL.
        wanted: what was asked for, in words: "import 7".
        kind: what the list holds, in words.
    """

    def __init__(self, address: str, wanted: str, kind: str) -> None:
        super().__init__(address, f"{wanted} may be one of the {kind} that it sent in a form that cannot be read")


class Unavailable(NeptunError):
    """Neptun, or the way to it, is down or overloaded. Trying again later may help.

    Attributes:
        address: the base URL.
    """

    def __init__(self, address: str, sentence: str) -> None:
        super().__init__(sentence)
        self.address = address


class RateLimited(Unavailable):
    """Too many requests (429).

    Attributes:
        retry_after: seconds to wait as the server asked, or None.
    """

    def __init__(self, address: str, retry_after: float | None) -> None:
        super().__init__(address, f"{address} is receiving too many requests (429).")
        self.retry_after = retry_after


class ServerFailed(Unavailable):
    """Neptun failed on its side (408, 5xx).

    Attributes:
        status: the HTTP status code.
        retry_after: seconds to wait as the server asked, or None.
    """

    def __init__(self, address: str, status: int, retry_after: float | None = None) -> None:
        super().__init__(address, f"Neptun at {address} failed on its side (status {status}).")
        self.status = status
        self.retry_after = retry_after


class Obstacle(Enum):
    """What kept a request, or its answer, from getting through: a sentence with what is known of it."""

    TLS = "The TLS connection to {there} failed{why}."
    NAME = "The host name of {there} was not found."
    PROXY_REFUSED = "The {proxy} on the way to {address} refused the connection."
    TOO_SLOW = "Could not connect to {there} in time."
    REFUSED = "{There} refused the connection."
    PROXY_ENDED = "The {proxy} ended the connection before it led to {address}."
    ENDED = "The connection to {address} ended before the answer was complete."
    SETTING = "{address} cannot be reached: {setting} cannot be used{why}."


class Unreachable(Unavailable):
    """The request, or its answer, did not get through.

    Attributes:
        obstacle: what kept it.
        proxy: name and port of the proxy that was connected to; empty if there is none, or if that is not known.
        setting: with `Obstacle.SETTING`, the environment variable that cannot be used, if it was found.

    Args:
        address: the base URL.
        why: more of the reason, in words.
    """

    def __init__(self, obstacle: Obstacle, address: str, *, proxy: str = "", setting: str = "", why: str = "") -> None:
        self.obstacle = obstacle
        self.proxy = proxy
        self.setting = setting
        sentence = obstacle.value.format(
            address=address,
            proxy=f"proxy {proxy}" if proxy else "proxy",
            there=f"the proxy {proxy}" if proxy else address,
            There=f"The proxy {proxy}" if proxy else address,
            setting=f"{setting}, a setting of this machine," if setting else "a TLS or proxy setting of this machine",
            why=f" ({why})" if why else "",
        )
        super().__init__(address, sentence)


class ConnectionLost(Unreachable):
    """The connection could not be made, or ended before the answer was complete: the next one may hold."""


class TimedOut(Unavailable):
    """There was no complete answer within the time limit.

    Attributes:
        seconds: how long the call really waited.
    """

    def __init__(self, address: str, seconds: float) -> None:
        shown = f"{_rounded(seconds):g}"
        super().__init__(
            address, f"{address} did not answer completely within {shown} second{'' if shown == '1' else 's'}."
        )
        self.seconds = seconds


def _rounded(seconds: float) -> float:
    """Seconds with one decimal, or one significant digit if that would be zero."""
    return round(seconds, 1) or float(f"{seconds:.1g}")


class Effect(Enum):
    """What a failed deletion means for the import, a sentence with its id."""

    UNKNOWN = "Whether import {} was deleted is unknown."
    STILL_THERE = "Import {} is still there."
    MAY_YET_GO = "Import {} is still there, but may yet go."


class DeletionFailed(NeptunError):
    """A deletion was sent, and it is not certain that the import is gone.

    Attributes:
        cause: what happened.
        effect: what that means for the import.
        import_id: the import's id.
    """

    def __init__(self, cause: NeptunError, effect: Effect, import_id: int) -> None:
        super().__init__(f"{cause} {effect.value.format(import_id)}")
        self.cause = cause
        self.effect = effect
        self.import_id = import_id
