"""The person's answer to a question, when it comes back: it counts once, and the SDK's refusal of it is explained."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS

MAX_ANSWERS = 10_000
ANSWER_SECONDS = 660.0
"""How long a used answer is remembered: a little longer than the SDK takes it."""

REFUSED = {"reason": "invalid_request_state"}
"""How the SDK marks its refusal of an answer: a literal in `mcp/server/request_state.py`, as read in mcp 2.3. It has no
error class for it. Without this mark nobody would learn from its words that the call has to be made again."""


class AnswersOnce:
    """Middleware of the MCP server, outside of what the SDK refuses answers by; for MCP 2026-07-28 and later.

    A deletion is sent once, however often the same yes arrives. An answer comes with the sealed state of its question,
    which no other question has. Another process knows nothing of it: there, the second one looks for the import, and
    does not find it if the first one is through.

    Args:
        tools: the names of those whose answers count once.
    """

    def __init__(self, tools: Collection[str]) -> None:
        self._tools = tools
        self._used = OrderedDict[str, float]()  # when, the oldest first

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        given = ctx.params or {}
        counts = ctx.method == "tools/call" and given.get("name") in self._tools
        state = given.get("requestState") if counts else None
        if isinstance(state, str):
            self._use(state)
        try:
            return await call_next(ctx)
        except MCPError as error:  # nothing ran: somebody else's state, or a malformed call
            if isinstance(state, str):
                self._used.pop(state, None)
            if error.error.data != REFUSED:
                raise
            raise MCPError(
                error.error.code,
                "This answer belongs to a question that was asked too long ago, in another call, or by a server that "
                "has restarted since or has another NEPTUN_MCP_STATE_KEY. "
                "Nothing was done; make the call again, and the person is asked again.",
                REFUSED,
            ) from None

    def _use(self, state: str) -> None:
        if state in self._used:
            raise MCPError(
                INVALID_PARAMS,
                "This answer was used already, and counts once. Call list_imports to see what became of the import; "
                "if it is still there, call delete_import without the answer, and the person is asked again.",
            )
        now = time.monotonic()
        self._used[state] = now
        while len(self._used) > MAX_ANSWERS or next(iter(self._used.values())) < now - ANSWER_SECONDS:
            self._used.popitem(last=False)
