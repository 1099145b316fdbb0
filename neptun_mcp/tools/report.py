"""What a call of a tool was about, and what came of it: the one way in which those who serve the tools learn of it.

Over HTTP each request has a report. The tools find it by `Shared.report_for` and fill it in. When the call ends, its
log line and its audit line are made of it, and the answer is another one if the Neptun session has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from pydantic import BaseModel

from ..neptun.models import ProjectImport

Answered: TypeAlias = Literal["yes", "no", "declined", "cancelled"]


@dataclass
class Report:
    """One call of a tool.

    Attributes:
        outcome: what the tool returned, or the error that it raised; None before, and while the person is asked.
        found: the import that was to be deleted; None before it was found.
        project_id: the project that it is in.
        project_name: the project's name, if it was looked up.
        asked: whether a question was put to the person before a deletion; None if the call did not come to that.
        answered: what came back: the form with yes or no, or without it `declined` or `cancelled`, which some hosts
            also do by themselves; None if nobody was asked.
    """

    outcome: BaseModel | BaseException | None = None
    found: ProjectImport | None = None
    project_id: int | None = None
    project_name: str | None = None
    asked: bool | None = None
    answered: Answered | None = None
