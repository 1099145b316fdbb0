"""Requests that are answered before they reach the MCP server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mcp.types import INVALID_REQUEST
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ..log import digest, event_log, ids_of
from ..sign_in.forms import Refusal
from ..sign_in.routes import PATHS, refusal_at

_REASONS = {401: "no_token", 403: "refused", 429: "too_much_waiting", 503: "neptun_failed"}
"""The reason of a refusal, by its status; all others are the caller's mistake."""

_log_refusal = event_log("requests")


@dataclass(eq=False)
class Refused(Exception):
    """A refusal: the answer to a request that goes no further.

    Attributes:
        status: the HTTP status.
        words: what happened, and what to do.
        headers: further ones of the answer.
        note: what the log says besides; None if it has a line already that says more.
        body: what is sent as JSON; None for a JSON-RPC error, which hosts read aloud, without the request's id, since
            that is not known yet. Where people and applications sign in, they get the words as they can read them.
        known: further fields of the log's line: who sent the request, once that is known.
    """

    status: int
    words: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    note: str | None = ""
    body: Mapping[str, Any] | None = None
    known: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def reason(self) -> str:
        """A word for the log, of those in docs/remote.md."""
        return _REASONS.get(self.status, "caller_mistake")

    def response_at(self, path: str) -> Response:
        """The answer to a request for a path."""
        if path in PATHS:
            return refusal_at(path, Refusal(self.words, self.status), self.headers)
        error = {"code": INVALID_REQUEST, "message": self.words}
        return JSONResponse(self.body or {"jsonrpc": "2.0", "id": None, "error": error}, self.status, self.headers)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, and log it in a line."""
        headers = Headers(scope=scope)
        fields = {"status": self.status, "reason": self.reason}
        if token := headers.get("authorization", "").partition(" ")[2].strip():
            fields["token"] = digest(token)[:16]
            fields["reason"] = "wrong_token" if self.status == 401 else fields["reason"]
        if self.note is not None:
            said = f"refused: {self.note}" if self.note else "refused"
            _log_refusal(said, **fields, **(self.known or ids_of(headers)))
        await self.response_at(scope["path"])(scope, receive, send)


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
    return Refused(401, description, {"WWW-Authenticate": f"Bearer {challenge}"}, note, error)
