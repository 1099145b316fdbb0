"""The log: stderr only, and no secret in it at any level."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from secrets import token_hex
from typing import TYPE_CHECKING, Any, cast

from .neptun.models import COOKIE_NAME
from .settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context

# A cookie that this process has not held yet, as in a Set-Cookie header of a log-in.
_COOKIE = re.compile(rf"({COOKIE_NAME}=|Fe26\.2(?:\*|%2A))[^\s;,\"']+")

_REQUEST_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_WORD = re.compile(r"[\w.:/+-]+", re.ASCII)


def printable(text: str, kept: str = "") -> str:
    """Text without what controls a terminal or ends a line for some reader; such characters are escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else repr(c)[1:-1] for c in text)


class RedactingFormatter(logging.Formatter):
    """Leaves the secrets out of every line, those of a traceback too. What a record has as `fields` ends its line."""

    converter = time.gmtime
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, secrets: Iterable[str]) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._secrets = list(secrets)

    def format(self, record: logging.LogRecord) -> str:
        return printable(self.redacted(super().format(record)), kept="\n")

    def formatMessage(self, record: logging.LogRecord) -> str:
        shown = [f"{name}={_plain(value)}" for name, value in self.fields(record).items()]
        # Only a traceback has several lines.
        return " ".join([super().formatMessage(record), *shown]).replace("\n", "\\n")

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """What belongs to a record besides its message: its own fields, and the trace that it was made in."""
        fields: dict[str, Any] = {**getattr(record, "fields", {}), **_trace_id()}
        # Before anything escapes them: a password may hold a quote.
        return {name: self.redacted(value) for name, value in fields.items()}

    def redacted(self, value: Any) -> Any:
        """A value with `[secret]` in place of each secret in its texts."""
        if isinstance(value, list):
            return [self.redacted(item) for item in cast("list[Any]", value)]
        if not isinstance(value, str):
            return value
        for secret in self._secrets:
            value = value.replace(secret, "[secret]")
        return _COOKIE.sub(r"\1[secret]", value)


def _plain(value: Any) -> str:
    """A value as it is where it is one word, else in quotes, on one line."""
    return str(value) if _WORD.fullmatch(str(value)) else json.dumps(value)


class JsonFormatter(RedactingFormatter):
    """The same, one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.redacted(record.getMessage()),
            **self.fields(record),
        }
        if record.exc_info:
            line["exception"] = self.redacted(self.formatException(record.exc_info))
        return json.dumps(line)


def configure_logging(settings: Settings) -> None:
    """Log to stderr as the settings say. Other libraries are heard from `warning` on: HTTP libraries log headers."""
    handler = logging.StreamHandler(sys.stderr)
    formatter = JsonFormatter if settings.log_format == "json" else RedactingFormatter
    handler.setFormatter(formatter(settings.secrets))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    level = getattr(logging, settings.log_level.upper())
    logging.getLogger("neptun_mcp").setLevel(level)
    logging.getLogger("mcp").setLevel(max(level, logging.WARNING))


def event_log(name: str) -> Callable[..., None]:
    """What logs the events of one kind, whatever the level of the others: a word or two, and fields.

    Fields without a value are left out. Metrics are made of the same fields, see `serving/telemetry.py`.
    """
    logger = logging.getLogger(f"neptun_mcp.{name}")
    logger.setLevel(logging.INFO)

    def log(event: str, **fields: Any) -> None:
        logger.info(event, extra={"fields": {name: value for name, value in fields.items() if value is not None}})

    return log


def digest(secret: str) -> str:
    """SHA-256 in hexadecimal. Tokens and sessions are too long to be guessed from it."""
    return sha256(secret.encode()).hexdigest()


def ids_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The fields of a line about a request that no span belongs to: its id, and the caller's trace, if it has one."""
    from opentelemetry.propagate import extract

    return {"request_id": request_id_of(headers), **_trace_id(extract(headers))}


def _trace_id(context: Context | None = None) -> dict[str, str]:
    """The field with the trace of a context, or of what runs now; none if there is no trace."""
    from opentelemetry.trace import format_trace_id, get_current_span  # at hand in a server, and slow to import

    trace = get_current_span(context).get_span_context()
    return {"trace_id": format_trace_id(trace.trace_id)} if trace.is_valid else {}


def request_id_of(headers: Mapping[str, str]) -> str:
    """The gateway's id of a request with these headers, else a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else token_hex(16)
