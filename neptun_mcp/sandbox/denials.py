"""What the sandbox refuses, in the words of both contracts."""

from dataclasses import dataclass

from .state import Record


@dataclass(frozen=True)
class Denial:
    """A reason to turn a request down.

    documented: status and message. What the documented endpoints never refuse is worded like what they do.
    observed: the recorded status and statusMessage, and the message where the guard answers, not a handler.
    """

    documented: tuple[int, str]
    observed: tuple[int, str, str | None]


class TurnedDown(Exception):
    """A request that Neptun turns down.

    data: what Neptun adds to explain it, if anything.
    """

    def __init__(self, denial: Denial, data: Record | None = None) -> None:
        super().__init__(denial)
        self.denial = denial
        self.data = data


_NOT_YOURS = 401, "Unauthorized.", None

NO_SESSION = Denial((401, "Unauthorized"), (401, "Server Error", "Unauthorized"))  # missing or bad
NOT_YOUR_ID = Denial((403, "Forbidden"), _NOT_YOURS)
NO_PROJECT = Denial((404, "Project not found"), _NOT_YOURS)  # or it is someone else's
NO_IMPORT = Denial((404, "Import not found"), _NOT_YOURS)
NO_RESOURCE = Denial((404, "Resource not found"), _NOT_YOURS)  # of this person
NOT_LINKED = Denial((404, "Resource not found"), (404, "Not Found.", None))  # it is not in the project
INVALID_PARAMETERS = Denial((400, "Invalid parameters"), (400, "Bad Request.", None))  # an id, an unknown filter
INVALID_RESOURCE_TYPE = Denial((400, "Invalid resource type"), (400, "Bad Request.", None))
PAGE_NOT_FOUND = Denial(  # unknown path, or wrong method
    (404, "Page not found"), (404, "Page not found: {path}", "Page not found: {path}")
)
WRONG_PASSWORD = Denial((401, "Unauthorized"), (401, "Unauthorized", None))
