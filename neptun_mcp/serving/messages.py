"""JSON-RPC messages as they arrive on stdio and over HTTP, read more strictly than by the SDK."""

from __future__ import annotations

import json
from contextlib import suppress
from types import NoneType
from typing import Any, cast

from mcp.types import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCRequest,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError
from pydantic_core import from_json


class NoMessage(Exception):
    """What arrived is no message.

    Attributes:
        members: those of the JSON object that arrived, if it is one.
        answer: what is wrong with it, for whoever sent it.
    """

    def __init__(self, code: int, reason: str, members: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.members = members or {}
        id = self.members.get("id")
        known = id if isinstance(id, (int, str)) and not isinstance(id, bool) else None
        self.answer = JSONRPCError(jsonrpc="2.0", id=known, error=ErrorData(code=code, message=reason))


def read_message(data: bytes, unit: str) -> tuple[JSONRPCMessage, bytes] | None:
    """The message in some bytes, and the bytes as the SDK reads them; None if they are blank.

    A byte order mark and half surrogate pairs are tolerated.

    Args:
        data: what arrived.
        unit: what it is called, such as "line".

    Raises:
        NoMessage: there is none.
    """
    with suppress(ValidationError):
        message = jsonrpc_message_adapter.validate_json(data, by_name=False)
        if isinstance(message, JSONRPCRequest) or b'"id"' not in data:
            return message, data
    text = data.decode(errors="replace").removeprefix("\ufeff").strip()
    if not text:
        return None
    members: dict[str, Any] = {}
    code, wrong = PARSE_ERROR, f"The {unit} is not JSON, or is nested too deeply."
    try:
        value = json.loads(text)
        members = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        whole = json.dumps(value, ensure_ascii=False).encode(errors="replace")  # half surrogate pairs are not
        message = jsonrpc_message_adapter.validate_python(from_json(whole), by_name=False)
        # The SDK takes a request with an id of a wrong type for a notification, or for an error without an id.
        if isinstance(message, JSONRPCRequest) or not {"id", "method"} <= members.keys():
            return message, whole
        code, wrong = INVALID_REQUEST, "The id is neither a whole number nor a string."
    except ValidationError:
        code, wrong = INVALID_REQUEST, f"The {unit} is not a JSON-RPC message."
        if "id" in members and not isinstance(members.get("params"), (dict, NoneType)):
            code, wrong = INVALID_PARAMS, "The params are not an object."
    except (ValueError, RecursionError):
        pass
    raise NoMessage(code, f"{wrong} Send one JSON-RPC 2.0 message per {unit}.", members)
