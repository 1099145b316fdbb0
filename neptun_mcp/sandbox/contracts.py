"""The two contracts of Neptun's API, side by side: how the same records and refusals become answers.

`Observed` is what a running server was recorded to do, `Documented` what the public documentation of its
endpoints says.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from starlette.responses import JSONResponse, Response

from ..neptun.models import GITHUB_KINDS, LOCAL_FOLDER
from .state import Record, Store

SOURCE_TYPES = (LOCAL_FOLDER, *GITHUB_KINDS)


@dataclass(frozen=True)
class Denial:
    """A reason to turn a request down.

    documented: status and message. What the documented endpoints never refuse is worded like what they do.
    observed: the recorded status and statusMessage, and the message where the guard answers, not a handler.
    """

    documented: tuple[int, str]
    observed: tuple[int, str, str | None]


class TurnedDown(Exception):
    """A request that Neptun turns down."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(denial)
        self.denial = denial


_NOT_YOURS = 401, "Unauthorized.", None

NO_SESSION = Denial((401, "Unauthorized"), (401, "Server Error", "Unauthorized"))  # missing or bad
NOT_YOUR_ID = Denial((403, "Forbidden"), _NOT_YOURS)
NO_PROJECT = Denial((404, "Project not found"), _NOT_YOURS)  # or it is someone else's
NO_IMPORT = Denial((404, "Import not found"), _NOT_YOURS)
NO_RESOURCE = Denial((404, "Resource not found"), _NOT_YOURS)  # of this person
NOT_LINKED = Denial((404, "Resource not found"), (404, "Not Found.", None))  # it is not in the project
INVALID_PARAMETERS = Denial((400, "Invalid parameters"), (400, "Bad Request.", None))  # an id, an unknown filter
INVALID_RESOURCE_TYPE = Denial((400, "Invalid resource type"), (400, "Bad Request.", None))
PAGE_NOT_FOUND = Denial((404, "Page not found"), (404, "Page not found", "Page not found"))  # or a wrong method
WRONG_PASSWORD = Denial((401, "Unauthorized"), (401, "Unauthorized", None))


class Observed:
    """Recorded: lists are bare arrays in storage order."""

    auth_check_status = 204
    single_resources = True

    def refused(self, refusal: TurnedDown) -> Response:
        """Recorded: a handler says nothing in `message`, the guard and a crash do."""
        status, status_message, message = refusal.denial.observed
        body = {"statusCode": status, "statusMessage": status_message}
        return JSONResponse({**body, "message": message} if message else body, status)

    def projects(self, projects: list[Record]) -> Response:
        return JSONResponse(projects)

    def imports(self, query: Mapping[str, str], imports: list[Record]) -> Response:
        """Recorded: without a filter only local folders; `source_type` is ignored."""
        source_type = query.get("import_source_type", LOCAL_FOLDER)
        if source_type not in SOURCE_TYPES:
            raise TurnedDown(INVALID_PARAMETERS)
        found = [record for record in imports if record["source_type"] == source_type]
        return JSONResponse([observed_import(record) for record in found])

    def import_deleted(self, record: Record, store: Store) -> Response:
        """Recorded: 200 with an empty list; the installation stays linked to the project."""
        return JSONResponse([])

    def resources(self, resources: list[Record]) -> Response:
        return JSONResponse(resources)


class Documented:
    """Documented: newest first (for resources; here for all lists), every timestamp is there."""

    auth_check_status = 200
    single_resources = False

    def refused(self, refusal: TurnedDown) -> Response:
        status, message = refusal.denial.documented
        return JSONResponse({"statusCode": status, "message": message}, status)

    def projects(self, projects: list[Record]) -> Response:
        return JSONResponse({"projects": newest_first(projects)})

    def imports(self, query: Mapping[str, str], imports: list[Record]) -> Response:
        """Documented: `source_type` filters, and `github` is the word for what comes from GitHub."""
        shown = [documented_import(record) for record in newest_first(imports)]
        if wanted := query.get("source_type"):
            shown = [record for record in shown if record["source_type"] == wanted]
        return JSONResponse({"imports": shown})

    def import_deleted(self, record: Record, store: Store) -> Response:
        """Documented: 204; for GitHub imports the installation connection is removed too."""
        key = record["project_id"], "github-installations"
        linked = store.resources.get(key, [])
        store.resources[key] = [one for one in linked if one["id"] != record["installation_id"]]
        return Response(status_code=204)

    def resources(self, resources: list[Record]) -> Response:
        return JSONResponse(newest_first(documented_resource(record) for record in resources))


Contract: TypeAlias = Observed | Documented


def observed_import(record: Record) -> Record:
    """Recorded: no title, no description."""
    return without(record, "title", "description", "installation_id")


def documented_import(record: Record) -> Record:
    """Documented: title and description are optional; the words for source_type are fewer than recorded."""
    internal = ("source_ref", "import_status", "error_message", "file_tree", "installation_id")
    shown = {key: value for key, value in without(record, *internal).items() if value is not None}
    shown["source_type"] = LOCAL_FOLDER if record["source_type"] == LOCAL_FOLDER else "github"
    return shown


def documented_resource(record: Record) -> Record:
    """Documented: no field is null, github_account_id is a string, and there is no github_installation_id."""
    shown = without(record, "github_installation_id")
    for key, value in shown.items():
        if value is None:
            shown[key] = "1970-01-01T00:00:00.000Z" if key.endswith("_at") else ""
    if "github_account_id" in shown:
        shown["github_account_id"] = str(shown["github_account_id"])
    return shown


def newest_first(records: Iterable[Record]) -> list[Record]:
    return sorted(records, key=lambda record: (record["created_at"], record["id"]), reverse=True)


def without(record: Record, *keys: str) -> Record:
    return {key: value for key, value in record.items() if key not in keys}
