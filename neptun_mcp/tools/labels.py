"""What people call the kinds, the states and the moments that Neptun has other words for."""

from __future__ import annotations

from ..neptun.models import GITHUB_KINDS, LOCAL_FOLDER, PUBLIC_GITHUB

KINDS = {
    LOCAL_FOLDER: "folder",
    PUBLIC_GITHUB: "public repository",
    **dict.fromkeys(("github", *(kind for kind in GITHUB_KINDS if kind != PUBLIC_GITHUB)), "GitHub repository"),
}
"""The words for each known `source_type`."""


def kind_label(source_type: str) -> str:
    """What an import is, such as "folder". A kind that only the server knows keeps its own word, made readable."""
    return KINDS.get(source_type) or source_type.replace("_", " ").strip() or "import"


def day(moment: str | None) -> str:
    """The day of a moment as Neptun sends it, such as "2026-09-02"; "" if there is none.

    A year above 9999 has a sign and six digits (`+012026-01-01T…`).
    """
    return (moment or "").replace(" ", "T").partition("T")[0]
