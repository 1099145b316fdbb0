"""What every call of a tool has at hand: the caller's client, the time, what all tools share, and its report."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from mcp.server.mcpserver import Context
from mcp.types import ClientCapabilities
from pydantic import BaseModel, ConfigDict

from ..neptun.client import NeptunClient
from ..neptun.models import ProjectImport
from ..neptun.time_limit import TimeLimit
from .pages import EVERY_PROJECT, Key, Pages
from .progress import current_transfer
from .words import HOST, Reader

Answered: TypeAlias = Literal["yes", "no", "declined", "cancelled"]


@dataclass
class Report:
    """What a call of a tool was about, and what came of it: how those who serve the tools learn of it.

    Over HTTP each request has one. When the call ends, its log line and its audit line are made of it, and if the
    Neptun session has ended, a person who signed in gets a 401 that makes the host sign them in again.

    Attributes:
        outcome: what the tool returned, or the error that it raised; None before, and while the person is asked.
        found: the import that was to be deleted; None before it was found.
        gone_before: it was found, and somebody else deleted it before this call did.
        project_id: the project that it is in.
        project_name: the project's name, if it was looked up.
        asked: whether a question was put to the person before a deletion; None if the call did not come to that.
        answered: what came back: the form with yes or no, or without it `declined` or `cancelled`, which some hosts
            also do by themselves; None if nobody was asked.
        queued: the seconds that the call has waited for its turns. They count against its time limit.
    """

    outcome: Mapping[str, Any] | BaseException | None = None
    found: ProjectImport | None = None
    gone_before: bool = False
    project_id: int | None = None
    project_name: str | None = None
    asked: bool | None = None
    answered: Answered | None = None
    queued: float = 0.0


@dataclass(frozen=True)
class Scope:
    """What a connection may do: never more than the settings of the server allow.

    Over HTTP a connection may narrow itself by its address, and a person narrows it when signing in.

    Attributes:
        project_id: the only project; None for all of the person's.
        no_deletion: why nothing is deleted, and what the person can do, two sentences; empty if imports can be deleted.
        always_ask: nothing is deleted unless the person was asked.
    """

    project_id: int | None = None
    no_deletion: str = ""
    always_ask: bool = False


EVERYTHING = Scope()


@dataclass(frozen=True)
class Shared:
    """What the tools of one server share.

    Attributes:
        client_for: the client for a call, given the HTTP request that it came with (None on stdio).
        project_id: the project to use if a call names none.
        confirm_delete: when the person is asked before a deletion.
        report_for: the report of a call, given its HTTP request (None on stdio, where nobody reads it).
        scope_for: what the connection of an HTTP request (None on stdio) may do.
        keeps_sessions: whether hosts of MCP 2025-11-25 and before have sessions, without which they cannot ask.
        reader: who reads the error messages.
    """

    client_for: Callable[[Any], NeptunClient]
    pages: Pages
    project_id: int | None = None
    confirm_delete: Literal["ask", "require", "off"] = "ask"
    report_for: Callable[[Any], Report] = lambda _: Report()
    keeps_sessions: bool = False
    scope_for: Callable[[Any], Scope] = lambda _: EVERYTHING
    reader: Reader = HOST
    read_only: bool = False

    def scope_of(self, request: Any) -> Scope:
        """What the connection of a request may do, within the settings."""
        scope = self.scope_for(request)
        if not self.read_only or scope.no_deletion:
            return scope
        unset = self.reader.told_to_set("unset NEPTUN_READ_ONLY")
        why = f"Deletion is switched off. The person can delete on the Neptun website, or {unset}."
        return replace(scope, no_deletion=why)


def _as_hosts_accept_it(schema: dict[str, Any]) -> None:
    # Codex cancels a form whose schema has a title, and the person never sees it.
    schema.pop("title", None)
    schema["required"] = [*schema["properties"]]


class Form(BaseModel):
    """What a person is asked to fill in."""

    model_config = ConfigDict(json_schema_extra=_as_hosts_accept_it)


@dataclass(frozen=True)
class Call:
    """One call of a tool: the caller's client, which keeps to the call's time limit, and the project.

    `project_id` is `EVERY_PROJECT` for all of them, and until the project is found.
    """

    neptun: NeptunClient
    limit: TimeLimit
    shared: Shared
    report: Report
    scope: Scope
    project_id: int = EVERY_PROJECT

    async def key(self, *what: Hashable) -> Key:
        """The key of a list of the project, as the person's session is now."""
        await self.neptun.session.notice_log_in()
        return Key(self.neptun.session, self.neptun.session.changes, self.project_id, what)

    def within(self, seconds: float, project_id: int) -> Call:
        """A part of the call, in a project, with a time limit of its own."""
        limit = TimeLimit(seconds)
        return replace(self, neptun=self.neptun.with_options(time_limit=limit), limit=limit, project_id=project_id)


def call_of(ctx: Context[Shared, Any]) -> Call:
    """The call, which has one time limit for all that it does."""
    shared, request = ctx.request_context.lifespan_context, ctx.request_context.request
    client, report = shared.client_for(request), shared.report_for(request)
    limit = TimeLimit(client.timeout - report.queued)
    neptun = client.with_options(time_limit=limit, transfer=current_transfer.get())
    return Call(neptun, limit, shared, report, shared.scope_of(request))


def can_ask(capabilities: ClientCapabilities | None) -> bool:
    """Whether a client can show the person a form. An empty capability, the older style, means that it can."""
    elicitation = capabilities.elicitation if capabilities else None
    return elicitation is not None and (elicitation.form is not None or elicitation.url is None)
