"""The log of sign-ins: a line for each, and for each registration, exchange, renewal, revocation and refused token."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers

from ..log import digest, event_log, ids_of
from .provider import Grant

_log = event_log("sign_in")


def log_event(
    event: str, headers: Headers, outcome: str, status: int, *, grant: Grant | None = None, token: str = "", **more: Any
) -> None:
    """Log what happened, without secrets.

    Args:
        event: `sign-in`, `registration`, `exchange`, `renewal`, `revocation` or `token`.
        headers: those of the request.
        outcome: a word: what came of it.
        status: the HTTP status of the answer.
        grant: what was granted, if it is known.
        token: the code or token that was brought; its digest is logged.
        more: further fields.
    """
    fields: dict[str, Any] = {"outcome": outcome, "status": status}
    if grant:
        # All tokens of one sign-in have this id, however often they are renewed.
        fields |= {"user_id": grant.user_id, "may_delete": grant.may_delete, "sign_in": digest(grant.sign_in)[:16]}
    if token:
        fields["token"] = digest(token)[:16]
    _log(event, **fields, **more, **ids_of(headers))
