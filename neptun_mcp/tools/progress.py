"""Tells a host that asks for it how far a long call has come."""

from __future__ import annotations

from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any, TypeVar

import anyio
from mcp.server.mcpserver import Context

from ..neptun.transport import Transfer

REPORT_SECONDS = 1.0
"""How long a call may take before its progress is told, and between two notifications."""

_READING = {
    "/resources/imports": "imports",
    "/resources/user-files": "files",
    "/resources/template-collections": "template collections",
    "/resources/github-installations": "GitHub installations",
    "/resources/chat-conversations": "chats",
    "/projects": "projects",  # the end of every other path that is read
}

T = TypeVar("T")

current_transfer: ContextVar[Transfer | None] = ContextVar("current_transfer", default=None)
"""What the call in this context receives; None if nobody wants to know."""


async def with_progress(ctx: Context[Any, Any], work: Awaitable[T]) -> T:
    """What `work` returns. Meanwhile the client is told its progress, if it asked for that by a progress token."""
    if not (ctx.request_context.meta or {}).get("progress_token"):
        return await work
    failures: list[Exception] = []
    transfer = Transfer()
    token = current_transfer.set(transfer)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_report, ctx, transfer)
            try:
                return await work
            except Exception as error:
                failures.append(error)  # raised here, the group would wrap it
            finally:
                tasks.cancel_scope.cancel()
    finally:
        current_transfer.reset(token)
    raise failures[0]


async def _report(ctx: Context[Any, Any], transfer: Transfer) -> None:
    reported = -1
    while True:
        await anyio.sleep(REPORT_SECONDS)
        # The specification wants each value to be larger than the one before.
        if transfer.received > reported:
            reported = transfer.received
            expected = transfer.expected if transfer.expected >= reported else None
            await ctx.report_progress(reported, expected or None, described(transfer))


def described(transfer: Transfer) -> str:
    """What the latest request is for, and how much has come, if that is more than nothing, in words for a person."""
    words = next((words for part, words in _READING.items() if part in transfer.route), "")
    doing = f"Reading the {words}" if words else "Waiting for Neptun"
    received, expected = transfer.received, transfer.expected
    unit, name = (1e6, "MB") if max(received, expected) >= 1e6 else (1e3, "kB")
    of = f" of {expected / unit:.1f}" if expected >= received else ""
    return f"{doing}: {received / unit:.1f}{of} {name}" if received >= unit / 10 else doing
