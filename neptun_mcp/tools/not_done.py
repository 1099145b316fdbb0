"""The errors that the tools themselves raise."""

from __future__ import annotations

from mcp.server.mcpserver.exceptions import ToolError


class NotDone(ToolError):
    """A call that the tools themselves do not carry out, in words for the assistant: it has to be another one."""


class NotAllowed(NotDone):
    """The settings, or the person's host, do not allow it."""


class NotThere(NotDone):
    """What it was about is not there, or not any more."""


class NoSession(NotDone):
    """It came without the session that it needs."""
