"""Requests that are answered before they reach the MCP server."""

from __future__ import annotations

from collections.abc import Mapping

from mcp.types import INVALID_REQUEST
from starlette.responses import JSONResponse, Response


class Refused(Exception):
    """A request that is answered with this response and goes no further."""

    def __init__(self, response: Response) -> None:
        self.response = response


def refused(status: int, message: str, headers: Mapping[str, str] | None = None) -> Refused:
    """A refusal in the form that hosts read aloud: a JSON-RPC error, since the request's id is not known yet."""
    error = {"code": INVALID_REQUEST, "message": message}
    return Refused(JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, status, headers))


def unauthorized(description: str, *, no_token: bool = False, **more: str) -> Refused:
    """A refusal as in RFC 6750, section 3; clients that know OAuth read the body as in RFC 6749, section 5.2.

    Args:
        description: sentences without quotes.
        no_token: the request has none, and so its challenge names no error (section 3.1).
        more: further parameters of the challenge.
    """
    error = {"error": "invalid_token", "error_description": description}
    named = {"realm": "neptun-mcp"} if no_token else error
    challenge = ", ".join(f'{name}="{value}"' for name, value in {**named, **more}.items())
    return Refused(JSONResponse(error, 401, {"WWW-Authenticate": f"Bearer {challenge}"}))
