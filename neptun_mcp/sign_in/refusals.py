"""The one exception for requests that go no further, whoever refuses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any


@dataclass(eq=False)
class Refused(Exception):
    """A request is refused.

    Attributes:
        words: what happened, and what to do; nothing secret of what was sent. Where people and applications sign in, in
            ASCII without double quotes (RFC 6749, 5.2).
        status: the HTTP status of the answer.
        error: OAuth's word for it (RFC 6749, 5.2).
        headers: further ones of the answer.
        body: what `/mcp` answers in JSON; None for a JSON-RPC error with the words, which hosts read aloud, without the
            request's id, since that is not known yet.
        note: what the log says besides; None if it has a line already that says more.
    """

    words: str
    status: int = 400
    error: str = "invalid_request"
    _: KW_ONLY
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: Mapping[str, Any] | None = None
    note: str | None = ""


def unauthorized(description: str, *, no_token: bool = False, note: str | None = "", **more: str) -> Refused:
    """A refusal as in RFC 6750, section 3; clients that know OAuth read the body as in RFC 6749, section 5.2.

    Args:
        description: sentences without quotes.
        no_token: the request has none, and so its challenge names no error (section 3.1).
        note: see `Refused`.
        more: further parameters of the challenge.
    """
    error = {"error": "invalid_token", "error_description": description}
    named = {"realm": "neptun-mcp"} if no_token else error
    challenge = ", ".join(f'{name}="{value}"' for name, value in {**named, **more}.items())
    headers = {"WWW-Authenticate": f"Bearer {challenge}"}
    return Refused(description, 401, headers=headers, body=error, note=note)
