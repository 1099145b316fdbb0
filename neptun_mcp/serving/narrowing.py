"""Less than the server allows: what a connection asks for by its address.

`/mcp?read_only=1` takes deletion away, `/mcp?project_id=3` all projects but one. They can be combined.
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import parse_qsl

from ..neptun.models import MAX_ID
from ..sign_in.refusals import Refused
from ..tools.context import Scope

_ID = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)


def narrowed(scope: Scope, query: bytes) -> Scope:
    """A scope, less what the query of the address takes away.

    Raises:
        Refused: 400 for what is not understood: `?readonly=1` must not mean everything.
    """
    names = set[str]()
    for name, value in parse_qsl(query.decode("ascii", "replace"), keep_blank_values=True):
        if name == "read_only" and value == "1" and name not in names:
            why = (
                "This connection is for looking up only: its address says read_only=1. The person can delete on the "
                "Neptun website, or add this server to the host without read_only=1."
            )
            scope = replace(scope, no_deletion=scope.no_deletion or why)
        elif name == "project_id" and _ID.fullmatch(value) and int(value) <= MAX_ID and name not in names:
            scope = replace(scope, project_id=int(value))
        else:
            raise Refused(
                "The address of this server takes read_only=1 and project_id=NUMBER, each once, and nothing else. "
                "Correct it in the host's entry for this server.",
            )
        names.add(name)
    return scope
