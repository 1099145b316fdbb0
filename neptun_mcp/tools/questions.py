"""What is asked of the person before an import is deleted, and what their answer means.

The SDK calls the functions here ("resolvers") for the parameters of a tool that name them. How a question reaches the
person depends on the protocol: until 2025-11-25 it is asked while the call waits; from 2026-07-28 on the call ends with
the question, and a new call brings the answer, in which everything here runs again.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from mcp.server.mcpserver import Context, Elicit, Resolve
from mcp.server.mcpserver.resolve import AcceptedElicitation, ElicitationResult
from mcp.types import ElicitResult
from pydantic import Field

from ..neptun.client import is_kind
from ..neptun.errors import ImportNotFound, NeptunError, quoted
from ..neptun.models import GITHUB_KINDS, LOCAL_FOLDER, PUBLIC_GITHUB, ProjectImport
from .context import Answered, Form, Shared, can_ask
from .projects import InProject, known_name, project_name
from .words import NOTHING_DELETED, NotAllowed, NotDone, NotThere, happened

# The SDK wraps each value that it hands on in this model. pydantic forgets a model that nobody keeps, and then makes it
# anew, several times a second under load.
_ACCEPTED = AcceptedElicitation[Any]

_DELETION = f"{__name__}:ask_deletion"  # the name by which the SDK, as read in mcp 2.3, puts the question


class Confirmation(Form):
    # Only JSON `true` is a yes, and an untouched form a no: some hosts select Yes where there is no default.
    delete: bool = Field(default=False, strict=True, title="Delete it for good", description="This cannot be undone")


async def find_import(ctx: Context[Shared, Any], call: InProject, import_id: int) -> ProjectImport:
    """The import to delete.

    Raises:
        NeptunError: it could not be looked up.
        NotThere: it is not in the project, or no longer.
    """
    call.report.project_id, call.report.project_name = call.project_id, known_name(call)
    try:
        call.report.found = await call.neptun.find_import(call.project_id, import_id)
    except NeptunError as error:
        if brought := _brought(ctx):
            call.report.asked, call.report.answered = True, brought
        if isinstance(error, ImportNotFound):
            call.shared.pages.forget(call.neptun.session, call.project_id)  # they may still show it
            if brought:
                raise _no_longer_there(import_id, call.project_id) from None
            if call.scope.project_id is None:
                raise NotThere(
                    f"{happened(error)} {NOTHING_DELETED} It may be gone already, or be in another project; none was "
                    f"looked at. To find it, call list_imports with project * and query id:{import_id}."
                ) from None
        raise
    return call.report.found


Found: TypeAlias = Annotated[ProjectImport, Resolve(find_import)]


async def ask_deletion(ctx: Context[Shared, Any], call: InProject, found: Found) -> bool | Elicit[Confirmation]:
    """Whether the import may be deleted: asked of the person, who sees what would go, unless set otherwise."""
    policy, always_ask = call.shared.confirm_delete, call.scope.always_ask
    if policy == "off" and not always_ask:
        return True
    if can_ask(ctx.client_capabilities):
        call.report.project_name = await project_name(call)
        call.report.asked = True  # also if no answer comes
        return Elicit(_question(found, call.project_id, call.report.project_name), Confirmation)
    why, how = "the person has to agree, and this host cannot ask", "from a host that asks"
    if ctx.client_capabilities is None:
        why = "the person has to agree, and cannot be asked here"
        if not call.shared.keeps_sessions:
            how += (
                ": with MCP 2026-07-28 or later, or with an earlier version if the operator of this server sets "
                "NEPTUN_MCP_SESSIONS=1"
            )
    elif always_ask:
        why = "whoever signed in here allowed deletions only after being asked, and this host cannot ask"
    elif policy == "require":
        how = "NEPTUN_CONFIRM_DELETE=ask allows it here"
    else:
        return True
    raise NotAllowed(f"Import {found.id} was not deleted: {why}. It can be deleted on the Neptun website, or {how}.")


UNTOUCHED = (
    f'The form came back with "Delete it for good" at No, which means no. {NOTHING_DELETED} To agree, the person sets '
    "it to Yes before accepting the form: call delete_import again only if they say that they want that."
)
_NOT_AGREED: dict[Answered, str] = {
    "no": UNTOUCHED,
    "declined": f"The answer was no, or the host declined without asking. {NOTHING_DELETED}",
    "cancelled": f"The question came back without an answer; the host may not have shown it. {NOTHING_DELETED}",
}


async def decide(
    ctx: Context[Shared, Any],
    call: InProject,
    found: Found,
    answer: Annotated[ElicitationResult[Any], Resolve(ask_deletion)],
) -> str:
    """Why the import stays, in words for the assistant; empty if the person wants what they were shown to go."""
    content = answer.data if isinstance(answer, AcceptedElicitation) else None
    call.report.asked = asked = content is not True  # that is what `ask_deletion` says unasked
    call.report.answered = answered = _answered(answer.action, content) if asked else None
    if answered == "declined" and not call.shared.reader.serves:
        return f"You did not agree to it. {NOTHING_DELETED}"  # this program has asked, and knows what was typed
    if answered != "yes":
        return _NOT_AGREED[answered] if answered else ""
    if not _brought(ctx):
        # The import was looked up before the person was asked, and they took their time.
        try:
            now = await call.neptun.find_import(call.project_id, found.id)
        except ImportNotFound:
            raise _no_longer_there(found.id, call.project_id) from None
        if _question(now, call.project_id, None) != _question(found, call.project_id, None):
            raise NotDone(
                f"Import {found.id} has changed since the person was asked. Nothing was deleted. "
                "Call delete_import again, and the person is asked again."
            )
    return ""


def _answered(action: str, content: Any) -> Answered:
    """What came back to the question."""
    if action == "accept":
        return "yes" if content and dict(content).get("delete") is True else "no"
    return "cancelled" if action == "cancel" else "declined"


def _brought(ctx: Context[Shared, Any]) -> Answered | None:
    """What the person has answered before this call, so that what it looks up is newer than the answer."""
    answer = (ctx.input_responses or {}).get(_DELETION) if ctx.request_state else None
    return _answered(answer.action, answer.content) if isinstance(answer, ElicitResult) else None


def _no_longer_there(import_id: int, project_id: int) -> NotThere:
    return NotThere(
        f"Import {import_id} is no longer in project {project_id}; nothing was deleted here. "
        "Call list_imports to see what the project has now."
    )


KINDS = {
    LOCAL_FOLDER: "folder",
    PUBLIC_GITHUB: "public repository",
    **dict.fromkeys(("github", *(kind for kind in GITHUB_KINDS if kind != PUBLIC_GITHUB)), "GitHub repository"),
}
"""What people call each known `source_type`."""


def day(moment: str | None) -> str:
    """The day of a moment as Neptun sends it, such as "2026-09-02" or "+012026-01-01"; "" if there is none."""
    return (moment or "").replace(" ", "T").partition("T")[0]


def _question(found: ProjectImport, project_id: int, project_name: str | None) -> str:
    """The question in a person's words, who need not know any id."""
    branch = f", branch {quoted(found.source_ref)}," if found.source_ref else ""
    project = f"the project {quoted(project_name)}" if project_name else f"project {project_id}"
    imported = f"It was imported on {quoted(day(found.created_at))[1:-1]}. " if found.created_at else ""
    state = f"Its state is {quoted(found.import_status)}. " if found.import_status else ""
    # Documented, though a running server leaves it. A public repository has no connection.
    connected = is_kind(found.source_type, "github") and found.source_type != PUBLIC_GITHUB
    # A word that only the server knows is in quotes: somebody may have chosen it.
    kind = KINDS.get(found.source_type) or f"import of the kind {quoted(found.source_type)}"
    github = ", and its connection to GitHub may go too" if connected else ""
    return (
        f"Delete the {kind} {quoted(found.source_path, 200)}{branch} from "
        f"{project}? {imported}{state}The import and the files that came with it are deleted for good{github}. "
        f"(Import {found.id}, project {project_id}.)"
    )
