"""The log: stderr only, and no secret in it at any level."""

from __future__ import annotations

import logging
import re
import sys

from .neptun.session import Credentials
from .settings import Settings

# A cookie that this process has not held yet, as in a Set-Cookie header of a log-in.
_COOKIE = re.compile(r"(neptun-session=|Fe26\.2\*)[^\s;,\"']+")


class RedactingFormatter(logging.Formatter):
    """Leaves the secrets out of every line, those of a traceback too."""

    def __init__(self, credentials: Credentials) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._secrets = [secret for secret in (credentials.cookie, credentials.password) if secret]

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return _COOKIE.sub(r"\1[secret]", text)


def configure_logging(settings: Settings) -> None:
    """Log to stderr as the settings say. Other libraries are heard from `warning` on: HTTP libraries log headers."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(settings.credentials))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    level = getattr(logging, settings.log_level.upper())
    logging.getLogger("neptun_mcp").setLevel(level)
    logging.getLogger("mcp").setLevel(max(level, logging.INFO))
