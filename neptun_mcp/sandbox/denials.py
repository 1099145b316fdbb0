"""Everything that Neptun refuses, in the words of both contracts.

Refused
├── NoSession              the cookie is missing or bad
├── NotYourId              a good session, but of another person
├── NoProject, NoImport    there is none with this id, or it is someone else's
├── NoResource, NotLinked  there is no such resource of the person, or it is not in the project
├── NotShared              no collection is shared under this UUID
├── InvalidParameters      an id that is no positive integer, or an unknown filter
│   └── InvalidResourceType
├── IdTooLarge             crashes the server
├── PageNotFound           unknown path, or wrong method
├── Markup, InvalidJson    refused before the request comes to a handler
└── InvalidLogin, WrongPassword, AlreadyLoggedIn
"""

from collections.abc import Sequence
from typing import ClassVar

from .state import Record


class Refused(Exception):
    """A request that Neptun turns down, for the `issues` where they are known.

    documented: status and message. What the documented endpoints never refuse is worded like what they do.
    observed: the recorded status and statusMessage, and the message where the guard answers, not a handler.
    logs_out: whether the recorded answer sets the cookie of an anonymous session.
    """

    documented: ClassVar[tuple[int, str]]
    observed: ClassVar[tuple[int, str, str | None]]
    logs_out: ClassVar[bool] = False

    def __init__(self, issues: Sequence[Record] = ()) -> None:
        super().__init__()
        self.issues = list(issues)


class NoSession(Refused):
    documented = 401, "Unauthorized"
    observed = 401, "Server Error", "Unauthorized"
    logs_out = True


class NotYourId(Refused):
    documented = 403, "Forbidden"
    observed = 401, "Unauthorized.", None


class NoProject(Refused):
    documented = 404, "Project not found"
    observed = 401, "Unauthorized.", None


class NoImport(Refused):
    documented = 404, "Import not found"
    observed = 401, "Unauthorized.", None


class NoResource(Refused):
    documented = 404, "Resource not found"
    observed = 401, "Unauthorized.", None


class NotLinked(Refused):
    documented = 404, "Resource not found"
    observed = 404, "Not Found.", None


class NotShared(Refused):
    documented = 404, "Not found"
    observed = 404, "Not Found", None


class InvalidParameters(Refused):
    documented = 400, "Invalid parameters"
    observed = 400, "Bad Request.", None


class InvalidResourceType(InvalidParameters):
    documented = 400, "Invalid resource type"


class IdTooLarge(Refused):
    documented = 500, "Server error"
    observed = 500, "Server Error", "Server Error"


class PageNotFound(Refused):
    documented = 404, "Page not found"
    observed = 404, "Page not found: {path}", "Page not found: {path}"


class Markup(Refused):
    documented = 400, "Bad request"
    observed = 400, "Bad Request", "Bad Request"


class InvalidJson(Refused):
    documented = 400, "Invalid JSON body"
    observed = 400, "Bad Request", "Invalid JSON body"


class InvalidLogin(Refused):
    documented = 400, "Invalid parameters"
    observed = 400, "Bad Request", None
    logs_out = True


class WrongPassword(Refused):
    documented = 401, "Unauthorized"
    observed = 401, "Unauthorized", None
    logs_out = True


class AlreadyLoggedIn(Refused):
    documented = 403, "Forbidden"
    observed = 403, "Forbidden", None
