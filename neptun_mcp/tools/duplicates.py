"""Which imports another one replaces: the same folder, or the same repository and branch, imported again later."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..neptun.models import LOCAL_FOLDER, ProjectImport

_GITHUB = re.compile(r"((https?|ssh|git)://)?([^@/\s]+@)?(www\.)?github\.com(:\d+)?[/:]+", re.IGNORECASE)


def replacements(newest_first: Iterable[ProjectImport]) -> dict[int, int]:
    """The ids of the imports that a newer, completed one of the same source replaces, each with the id of that one.

    The newest completed one replaces all older ones, whatever their kind and state. One without a date neither
    replaces another nor is replaced: nobody knows which is newer.
    """
    newest: dict[tuple[str, ...], int] = {}
    replaced: dict[int, int] = {}
    for item in newest_first:
        if not item.created_at:
            continue
        source = _source(item)
        if source in newest:
            replaced[item.id] = newest[source]
        elif item.import_status == "completed":
            newest[source] = item.id
    return replaced


def _source(item: ProjectImport) -> tuple[str, ...]:
    """What was imported. A missing branch is the same as another missing one alone."""
    path = item.source_path.strip()
    if item.source_type == LOCAL_FOLDER:
        return ("folder", path.rstrip("/\\") or path, item.source_ref or "")
    branch = item.source_ref or ""
    if "github" not in item.source_type and not _GITHUB.match(path):
        return (item.source_type, path, branch)
    name = _GITHUB.sub("", path, count=1).rstrip("/").casefold().removesuffix(".git")
    return ("repository", name, branch)
