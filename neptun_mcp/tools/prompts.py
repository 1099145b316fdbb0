"""What a person can start with a command of the host, such as `/tidy_imports`."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver.prompts import Prompt
from pydantic import Field

from ..neptun.errors import quoted


def tidy_imports(project_id: Annotated[str, Field(description="Leave out to be asked which project")] = "") -> str:
    chosen = project_id.strip()
    which = f"project {chosen if chosen.isdecimal() else quoted(chosen)}" if chosen else "one of my projects"
    return f"""Help me tidy the imports of {which} in Neptun.

1. Call list_imports, and again with next_offset until you have all of them.
2. Look for imports that failed, for duplicates (the same kind, path and branch: keep the newest that was completed), \
and for stale ones (still pending after a day, or not changed for half a year).
3. Show me these in a table: id, kind, path, status, date, and why each could go. If there are none, say so and stop.
4. Propose the deletions one by one, the surest first. Call delete_import only for an import that I have just agreed \
to delete; if I say no, it stays. Do not delete anything else."""


def create_prompts() -> list[Prompt]:
    """The prompts to publish where imports can be deleted."""
    return [
        Prompt.from_function(
            tidy_imports,
            title="Tidy imports",
            description="Find failed, duplicate and stale imports of a Neptun project, and delete them one by one",
        )
    ]
