"""Which settings a server over HTTP lacks: those without which it does not start, and those that people will miss."""

from __future__ import annotations

import logging
from contextlib import suppress

import anyio.to_thread

from ..account import credentials_of
from ..settings import HOW_TO_MAKE_KEY, Settings, is_loopback
from ..tools.words import login_command
from .refused_people import RefusedPeople

_NEEDED = {
    "NEPTUN_MCP_PUBLIC_URL": "the address by which people reach it (such as https://mcp.example.com)",
    "NEPTUN_MCP_STATE_KEY": f"a key (make one with: {HOW_TO_MAKE_KEY})",
    "NEPTUN_MCP_TOKEN": f"a token (make one with: {HOW_TO_MAKE_KEY})",
    "NEPTUN_MCP_ALLOWED_HOSTS": "the host names by which they do (such as mcp.example.com)",
}
"""What a server may not start without, in some set-ups."""

_log = logging.getLogger("neptun_mcp.serve")


def check_settings(settings: Settings, host: str) -> None:
    """Check that a server with these settings can start.

    Args:
        settings: which account is used, and who may call.
        host: the address that it would listen on, if known.

    Raises:
        ValueError: settings are missing on this host, or contradict each other; or a file that they name is no use.
    """
    RefusedPeople(settings.mcp_refused_file)
    address, tokens, hosts = settings.mcp_public_url, settings.tokens, settings.mcp_allowed_hosts
    needed: dict[str, object] = {}
    who = "With NEPTUN_MCP_CREDENTIALS=sign-in this server"
    if settings.mcp_credentials == "sign-in":
        if tokens:
            raise ValueError(
                "NEPTUN_MCP_TOKEN and NEPTUN_MCP_TOKEN_FILE do not go with NEPTUN_MCP_CREDENTIALS=sign-in: "
                "people get tokens by signing in"
            )
        needed = {"NEPTUN_MCP_PUBLIC_URL": address, "NEPTUN_MCP_STATE_KEY": settings.state_keys}
    elif address:
        raise ValueError("NEPTUN_MCP_PUBLIC_URL goes with NEPTUN_MCP_CREDENTIALS=sign-in: set both, or neither")
    elif hosts or not is_loopback(host):
        why = "NEPTUN_MCP_ALLOWED_HOSTS is set" if hosts else f"it listens on {host or 'an address unknown here'}"
        who = f"Others may reach this server, since {why}, so it"
        needed = {"NEPTUN_MCP_TOKEN": tokens, "NEPTUN_MCP_ALLOWED_HOSTS": hosts}
    if missing := [name for name, value in needed.items() if not value]:
        are = "are" if len(missing) > 1 else "is"
        what = " and ".join(_NEEDED[name] for name in missing)
        raise ValueError(f"{' and '.join(missing)} {are} not set. {who} needs {what}.")


async def warn_of_gaps(settings: Settings) -> None:
    """Log what is not set although people will miss it."""
    if settings.mcp_allowed_hosts and not settings.state_keys:
        _log.warning(
            "NEPTUN_MCP_STATE_KEY is not set: a person's answer is refused after a restart, and by another process. "
            "Set the same key for all processes; make one with: %s",
            HOW_TO_MAKE_KEY,
        )
    kept = credentials_of(settings).kept
    if settings.mcp_credentials != "environment" or settings.sandbox != "off" or kept is None:
        return
    with suppress(OSError):  # then calls, and /ready, say why it cannot be read
        if await anyio.to_thread.run_sync(kept.load, settings.base_url) is None:
            _log.warning(
                "No Neptun credentials are set, so calls will fail. "
                "Run %s (no restart is needed), or set NEPTUN_SESSION_COOKIE and restart.",
                login_command(settings.base_url),
            )
