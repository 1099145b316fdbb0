"""What can go wrong between here and Neptun.

    NeptunError
    ├── CredentialsMissing      nothing to log in with
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
    ├── NotLikeNeptun           the address answers, but not as Neptun does: HTML, broken JSON, a redirect, …
    ├── Unavailable             Neptun, or the way to it, is down or overloaded
    │   ├── RateLimited         429
    │   ├── ServerFailed        408 and 5xx
    │   ├── Unreachable         unknown name, TLS, proxy, no connection in time
    │   │   └── ConnectionLost  refused, or ended early: the next connection may hold
    │   └── TimedOut            no complete answer within the time limit
    └── DeletionFailed          one of the above, and what it means for the import

`str(error)` is made for the reader of a tool's result: what happened, then what to do about it. No text that
came from the server is ever part of it, apart from names that went through `quoted`: a server may echo the
cookie, a page of HTML, or instructions to the assistant. An error is complete when it is made, and never changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING

from .models import COOKIE_NAME, DEFAULT_BASE_URL, MAX_ID

if TYPE_CHECKING:
    from .models import Project

_LISTED_CHARACTERS = 6_000  # of projects in a message: 200 with names of 20 characters


def how_to_get_cookie(address: str) -> str:
    """The steps to a session cookie, to follow a verb or to stand in parentheses."""
    return (
        f"log in at {address} in a browser, open the developer tools (F12), Application or Storage, Cookies, "
        f"and copy the value of {COOKIE_NAME}"
    )


def login_command(address: str) -> str:
    """The command that logs in to an address."""
    return "`neptun-mcp login`" if address == DEFAULT_BASE_URL else f"`neptun-mcp login --base-url {address}`"


def quoted(text: str, limit: int = 80) -> str:
    r"""`text` in double quotes, on one line, at most `limit` characters of it.

    What cannot be printed (control characters, ANSI escapes, bidirectional overrides, lone surrogates) comes
    out as `\uXXXX`, so that a name chosen by someone else cannot disguise a message.
    """
    shown = json.dumps(text[:limit], ensure_ascii=False)
    shown = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in shown)
    return shown if len(text) <= limit else shown[:-1] + '…"'


class NeptunError(Exception):
    """An expected failure. `str()` of it is two sentences: what happened, and what to do.

    Attributes:
        happened: what happened, a sentence.
        advice: what the reader can do about it, a sentence.
    """

    def __init__(self, happened: str, advice: str) -> None:
        super().__init__(happened, advice)
        self.happened = happened
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.happened} {self.advice}"

    def __copy__(self) -> NeptunError:
        """The same failure for another caller: raised again, this one would collect the tracebacks of all of them."""
        other = type(self).__new__(type(self), *self.args)
        other.__dict__.update(self.__dict__)
        return other


class CredentialsMissing(NeptunError):
    """There is nothing to log in with. Nothing was sent."""

    def __init__(self, address: str, reason: str = "No Neptun credentials are set.", advice: str = "") -> None:
        super().__init__(
            reason,
            advice
            or f"Run {login_command(address)} in a terminal; there is no need to restart the server. Or set "
            f"NEPTUN_SESSION_COOKIE (to get it, {how_to_get_cookie(address)}), or NEPTUN_EMAIL and NEPTUN_PASSWORD, in "
            "the host's entry for this server, and restart it.",
        )


class SessionRefused(NeptunError):
    """Neptun does not accept the session cookie, and there is no other way to a session."""

    def __init__(self, advice: str) -> None:
        super().__init__("Neptun refused the session: the cookie is expired or wrong.", advice)


class LoginRefused(NeptunError):
    """Neptun did not accept the e-mail address and password. They are not tried again for some minutes."""

    def __init__(self) -> None:
        super().__init__(
            "Neptun refused the log-in: the e-mail address or the password is wrong.",
            "Correct NEPTUN_EMAIL and NEPTUN_PASSWORD (both are case-sensitive) and restart the server; as they are, "
            "they are not tried again for 5 minutes, to keep the account from being locked.",
        )


class WrongUser(NeptunError):
    """The configured user id is not that of the session's user."""

    def __init__(self, configured: int, actual: int) -> None:
        super().__init__(
            f"NEPTUN_USER_ID is {configured}, but the session belongs to user {actual}.",
            "Remove NEPTUN_USER_ID (it is found from the session) or correct it, and restart the server.",
        )


class BadRequest(NeptunError):
    """Neptun did not accept an argument (400).

    Attributes:
        fields: the names of the refused parameters, if Neptun named them and they are known.
    """

    def __init__(self, fields: Iterable[str] = ()) -> None:
        self.fields = tuple(fields)
        named = f" {', '.join(self.fields)}" if self.fields else ""
        super().__init__(
            f"Neptun refused the request (400): it does not accept the value of{named or ' an argument'}.",
            f"Ids are positive whole numbers up to {MAX_ID}, as list results show them.",
        )


class Denied(NeptunError):
    """Neptun answers 401, 403 or 404: not there, or not this person's.

    Attributes:
        status: the HTTP status code.
    """

    def __init__(self, status: int, happened: str = "", advice: str = "") -> None:
        super().__init__(
            happened or f"Neptun answered {status}: not found, or not yours.",
            advice or "Check the ids.",
        )
        self.status = status


class Unauthorized(Denied):
    """401: a bad session, or (a running server) a good one without the right. The session finds out which."""

    def __init__(self) -> None:
        super().__init__(401)


class UnknownUser(Unauthorized):
    """The session has no user: it is a bad one, or it is good and the server does not say whose it is."""


class ProjectNotFound(Denied):
    """There is no project with this id, or it is another person's. Without `projects` that is not certain: a running
    server also answers 404 when its database fails."""

    def __init__(self, status: int, project_id: int, projects: Iterable[Project] | None) -> None:
        super().__init__(
            status,
            f"There is no project {project_id}, or it is not yours"
            + (", or Neptun failed: your projects could not be listed to tell." if projects is None else "."),
            "Check project_id, or try again in a minute." if projects is None else known_projects(projects),
        )


class ImportNotFound(Denied):
    """There is no import with this id in the project."""

    def __init__(self, status: int, import_id: int, project_id: int) -> None:
        super().__init__(
            status,
            f"There is no import {import_id} in project {project_id}; nothing was deleted.",
            "Call list_imports to see the imports with their ids; this one may be gone already, or be "
            "in another project.",
        )


class ResourceNotFound(Denied):
    """There is no resource of the type with this id in the project. With an empty list that is not certain: a running
    server also sends one when its query fails."""

    def __init__(self, resource_type: str, resource_id: int, project_id: int, *, certain: bool = True) -> None:
        super().__init__(
            404,
            f"There is no resource {resource_id} among the {resource_type} of project {project_id}"
            + ("." if certain else ", or Neptun failed: it sent an empty list, as it also does then."),
            "Call list_resources without resource_id to see them with their ids."
            if certain
            else "Check the ids, or try again in a minute.",
        )


class NotLikeNeptun(NeptunError):
    """The address answers, but not as Neptun does."""

    def __init__(self, address: str, what: str, advice: str = "") -> None:
        super().__init__(
            f"{address} does not answer like Neptun: {what}.",
            advice or "Check NEPTUN_BASE_URL; if it is right, try again later.",
        )


class Unavailable(NeptunError):
    """Neptun, or the way to it, is down or overloaded. Trying again later may help."""


class RateLimited(Unavailable):
    """Too many requests (429).

    Attributes:
        retry_after: seconds to wait as the server asked, or None.
    """

    def __init__(self, address: str, retry_after: float | None) -> None:
        wait = "a minute" if retry_after is None else f"{max(1, round(retry_after))} seconds"
        super().__init__(f"{address} is receiving too many requests (429).", f"Wait {wait}, then try again.")
        self.retry_after = retry_after


class ServerFailed(Unavailable):
    """Neptun failed on its side (408, 5xx).

    Attributes:
        status: the HTTP status code.
        retry_after: seconds to wait as the server asked, or None.
    """

    def __init__(self, address: str, status: int, retry_after: float | None = None) -> None:
        super().__init__(
            f"Neptun at {address} failed on its side (status {status}).",
            "Nothing is wrong with the request: try again in a minute.",
        )
        self.status = status
        self.retry_after = retry_after


class Unreachable(Unavailable):
    """The request, or its answer, did not get through."""


class ConnectionLost(Unreachable):
    """The connection could not be made, or ended before the answer was complete: the next one may hold."""


class TimedOut(Unavailable):
    """There was no complete answer within the time limit.

    Attributes:
        seconds: how long the call really waited.
    """

    def __init__(self, address: str, seconds: float) -> None:
        super().__init__(
            f"{address} did not answer completely within {round(seconds, 1):g} seconds.",
            "Try again in a minute; NEPTUN_TIMEOUT sets how long to wait.",
        )
        self.seconds = seconds


class DeletionFailed(NeptunError):
    """A deletion failed.

    Attributes:
        effect: what that means for the import, a sentence.
    """

    def __init__(self, cause: NeptunError, effect: str) -> None:
        super().__init__(cause.happened, cause.advice)
        self.effect = effect

    def __str__(self) -> str:
        return f"{self.happened} {self.effect} {self.advice}"


def known_projects(projects: Iterable[Project]) -> str:
    """A sentence that lists the person's projects with their ids, for an assistant to choose from."""
    known = [f"{project.id} {quoted(project.name)}" for project in projects]
    if not known:
        return "You have no projects in Neptun yet."
    ends = accumulate(len(entry) + 2 for entry in known)
    listed = known[: sum(end <= _LISTED_CHARACTERS for end in ends)]
    more = (
        f" and {len(known) - len(listed)} more; to find one of these, call list_imports without project_id, with a "
        "word of the project's name as query"
    )
    return f"Your projects are: {', '.join(listed)}{more if len(listed) < len(known) else ''}."
