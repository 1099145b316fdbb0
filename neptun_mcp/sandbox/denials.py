"""What the sandbox refuses, in the words of both contracts.

Refused
├── NoSession              the cookie is missing or bad
├── NotYourId              a good session, but of another person
├── NoProject, NoImport    there is none with this id, or it is someone else's
├── NoResource, NotLinked  there is no such resource of the person, or it is not in the project
├── InvalidParameters      an id that is no positive integer, or an unknown filter
│   └── InvalidResourceType
├── PageNotFound           unknown path, or wrong method
└── WrongPassword
"""

from typing import ClassVar

from .state import Record


class Refused(Exception):
    """A request that Neptun turns down.

    documented: status and message. What the documented endpoints never refuse is worded like what they do.
    observed: the recorded status and statusMessage, and the message where the guard answers, not a handler.
    data: what Neptun adds to explain it, if anything.
    """

    documented: ClassVar[tuple[int, str]]
    observed: ClassVar[tuple[int, str, str | None]]

    def __init__(self, data: Record | None = None) -> None:
        super().__init__()
        self.data = data


class NoSession(Refused):
    documented = 401, "Unauthorized"
    observed = 401, "Server Error", "Unauthorized"


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


class InvalidParameters(Refused):
    documented = 400, "Invalid parameters"
    observed = 400, "Bad Request.", None


class InvalidResourceType(InvalidParameters):
    documented = 400, "Invalid resource type"


class PageNotFound(Refused):
    documented = 404, "Page not found"
    observed = 404, "Page not found: {path}", "Page not found: {path}"


class WrongPassword(Refused):
    documented = 401, "Unauthorized"
    observed = 401, "Unauthorized", None
