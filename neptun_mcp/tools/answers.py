"""An answer of the person counts once: a deletion is sent once, however often the same yes arrives."""

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


class AnswersOnce:
    """Middleware of the MCP server, outside of what the SDK refuses answers by; for MCP 2026-07-28 and later.

    An answer comes with the sealed state of its question, which no other question has. Another process knows nothing of
    it: there, the second one looks for the import, and does not find it if the first one is through.

    Args:
        tools: the names of those whose answers count once.
    """

    def __init__(self, tools: Collection[str]) -> None:
        self._tools = tools
        self._used = OrderedDict[str, float]()  # when, the oldest first

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        given = ctx.params or {}
        state = given.get("requestState")
        if ctx.method != "tools/call" or given.get("name") not in self._tools or not isinstance(state, str):
            return await call_next(ctx)
        if state in self._used:
            raise MCPError(
                INVALID_PARAMS,
                "This answer was used already, and counts once. Call list_imports to see what became of the import; "
                "if it is still there, call delete_import without the answer, and the person is asked again.",
            )
        self._remember(state)
        try:
            return await call_next(ctx)
        except MCPError:  # nothing ran: somebody else's state, or a malformed call
            self._used.pop(state, None)
            raise

    def _remember(self, state: str) -> None:
        now = time.monotonic()
        self._used[state] = now
        while len(self._used) > MAX_ANSWERS or next(iter(self._used.values())) < now - ANSWER_SECONDS:
            self._used.popitem(last=False)
