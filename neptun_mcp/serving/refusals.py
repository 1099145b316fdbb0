"""Requests that are answered before they reach the MCP server."""

from __future__ import annotations

from collections.abc import Mapping
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


class Refused(Exception):
    """A request that is answered with this response and goes no further.

    Attributes:
        words: the same for people and applications that sign in; empty if the response is for them already.
        note: what the log says besides; None if it has a line already that says more.
        reason: a word for the log, of those in docs/remote.md.
        known: further fields of the line: who sent the request, once that is known.
    """

    def __init__(self, response: Response, note: str | None = "", *, words: str = "") -> None:
        self.response = response
        self.words = words
        self.note = note
        self.reason = _REASONS.get(response.status_code, "caller_mistake")
        self.known: dict[str, Any] = {}

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, and log it in a line."""
        status, headers = self.response.status_code, Headers(scope=scope)
        fields = {"status": status, "reason": self.reason}
        if token := headers.get("authorization", "").partition(" ")[2].strip():
            fields["token"] = digest(token)[:16]
            fields["reason"] = "wrong_token" if status == 401 else self.reason
        if self.note is not None:
            said = f"refused: {self.note}" if self.note else "refused"
            _log_refusal(said, **fields, **(self.known or ids_of(headers)))
        response = self.response
        if self.words and scope["path"] in PATHS:
            response = refusal_at(scope["path"], Refusal(self.words, status), response.headers)
        await response(scope, receive, send)


def refused(status: int, message: str, headers: Mapping[str, str] | None = None, *, note: str = "") -> Refused:
    """A refusal as whoever is served at the path reads it.

    Hosts read a JSON-RPC error aloud; it has no id, since the request's is not known yet.
    """
    error = {"code": INVALID_REQUEST, "message": message}
    return Refused(JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, status, headers), note, words=message)


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
    return Refused(JSONResponse(error, 401, {"WWW-Authenticate": f"Bearer {challenge}"}), note)
