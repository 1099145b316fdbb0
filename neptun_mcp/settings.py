"""Every `NEPTUN_*` environment variable, with its type, its default and its meaning."""

from __future__ import annotations

import os
import re
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_origin
from urllib.parse import urlsplit

import httpx2 as httpx
from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from .neptun.cookies import cookie_value
from .neptun.models import COOKIE_NAME, DEFAULT_BASE_URL, MAX_ID
from .neptun.secret_files import read_secret_file

# Without braces only in capitals, as variables are named: `$ecretPassw0rd` is a password.
_UNEXPANDED = re.compile(r"\$\{[^}]*\}|\$[A-Z_][A-Z0-9_]*|%[A-Z_][A-Z0-9_]*%")

# How Python reads bytes that are not UTF-8. They could neither be sent nor printed.
_HALF_PAIR = re.compile(r"[\ud800-\udfff]")

_HOST = r"(?=.{1,253}$)(?:\[[\da-fA-F:.]+\]|[\w-]{1,63}(?:\.[\w-]{1,63})*\.?)(?::\d{1,5})?"
"""A host name or address, with a port or without."""


def _cookie(pasted: SecretStr) -> SecretStr:
    value = cookie_value(pasted.get_secret_value())
    if value is None:
        raise ValueError(f"holds no session cookie: copy the value of {COOKIE_NAME} again")
    return SecretStr(value)


def _address(url: str, example: str = DEFAULT_BASE_URL) -> str:
    """An address of https, or of http on this machine. Sessions are kept by it, so it is spelled in one way."""
    no_address = ValueError(f"is not an address such as {example}, without a user name, a query or a fragment")
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname or "", parts.port
        server = parts.netloc.lower().removesuffix({"https": ":443", "http": ":80"}.get(parts.scheme, " "))
        address = f"{parts.scheme}://{server}{parts.path}".rstrip("/")
        httpx.URL(address)
        AnyHttpUrl(address)
    except (ValueError, httpx.InvalidURL):
        # Not the library's words: they repeat what was given.
        raise no_address from None
    # A user name does not match _HOST.
    good = re.fullmatch(_HOST, parts.netloc) and url.isprintable() and not (parts.query or parts.fragment)
    if not good or parts.scheme not in ("http", "https"):
        raise no_address
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(
            "must start with https://; http:// is for this machine only, as others could read what is sent"
        )
    return address


def _public_url(url: str) -> str:
    """The root of an address that may end in `/mcp`, spelled as applications do, which compare it as text."""
    example = "https://mcp.example.com"
    parts = urlsplit(_address(url, example))
    if parts.path not in ("", "/mcp"):
        raise ValueError(f"must be a whole host, without a path, such as {example}")
    return str(AnyHttpUrl(f"{parts.scheme}://{parts.netloc}")).rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def bracketed(host: str) -> str:
    """A host as it stands in an address: one of IPv6 in brackets."""
    return f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host


def _hosts(text: Any) -> Any:
    """Host names in lower case, as they are compared. A bare IPv6 address gets its brackets."""
    words = text.lower().replace(",", " ").split() if isinstance(text, str) else text
    hosts = tuple(map(bracketed, words))
    if not all(re.fullmatch(_HOST, host, re.ASCII) for host in hosts):
        raise ValueError("must hold host names such as mcp.example.com, without https:// and without a path")
    return hosts


_File: TypeAlias = Annotated[Path, AfterValidator(lambda path: Path(os.path.expanduser(path)))]

HOW_TO_MAKE_KEY = 'python -c "import secrets; print(secrets.token_hex(32))"'


def _keys(text: SecretStr) -> SecretStr:
    """The keys in a text, with blanks between them. One that repeats a few characters is no secret."""
    keys = text.get_secret_value().replace(",", " ").split()
    if not keys or not "".join(keys).isascii() or len(set(keys)) < len(keys) or min(map(len, keys)) < 32:
        raise ValueError(f"must hold keys of 32 or more ASCII characters, each once; make one with: {HOW_TO_MAKE_KEY}")
    if any(len(set(key)) < 8 for key in keys):  # a random one has more, in hexadecimal too
        few = "holds a key of fewer than 8 different characters, which can be guessed"
        raise ValueError(f"{few}; make one with: {HOW_TO_MAKE_KEY}")
    return SecretStr(" ".join(keys))


def _split(keys: SecretStr | None) -> list[str]:
    return keys.get_secret_value().split() if keys else []


_Keys: TypeAlias = Annotated[SecretStr, AfterValidator(_keys)]


def _contract(word: Any) -> Any:
    spelled = dict.fromkeys(("1", "true", "yes", "on"), "observed") | dict.fromkeys(("0", "false", "no"), "off")
    return spelled.get(word, word)


class Settings(BaseModel, frozen=True, hide_input_in_errors=True, extra="forbid"):
    """What can be set, in the environment (`NEPTUN_` and the name in capitals) or by keyword, which goes first.

    An empty value and an unexpanded `${NAME}`, which some hosts pass on, count as not set. (The library
    pydantic-settings would do the reading, but takes 40 ms and 1 MB more at every start.)

    Raises:
        ValidationError: a value is malformed. `problems` makes a line a setting of it, without the values.
    """

    session_cookie: Annotated[SecretStr, AfterValidator(_cookie)] | None = Field(
        default=None, description=f"The session cookie `{COOKIE_NAME}`, however your browser copies it."
    )
    session_cookie_file: _File | None = Field(
        default=None, description="A file that holds the cookie; read again when the session is refused."
    )
    email: str | None = Field(default=None, description="E-mail address to log in with, together with the password.")
    password: SecretStr | None = Field(
        default=None, description="Password to log in with; again when the session ends."
    )
    user_id: int | None = Field(
        default=None, gt=0, le=MAX_ID, description="Your user id; found from the session if it is not set."
    )
    project_id: int | None = Field(
        default=None, gt=0, le=MAX_ID, description="The project to use when a tool is called without one."
    )
    base_url: Annotated[str, AfterValidator(_address)] = Field(
        default=DEFAULT_BASE_URL, description="Where Neptun is: `https://…`, or `http://` on this machine."
    )
    timeout: float = Field(default=30.0, gt=0, le=600, description="Seconds that a call may take, retries included.")
    max_connections: int = Field(
        default=10, gt=0, le=1000, description="The most connections to Neptun at the same time."
    )
    max_response_mb: int = Field(default=64, gt=0, le=2048, description="A longer answer from Neptun is refused (MB).")
    read_only: bool = Field(default=False, description="`1`: there is no tool that deletes.")
    confirm_delete: Literal["ask", "require", "off"] = Field(
        default="ask", description="`ask` first, if the host can; `require`: refuse if it cannot; `off`: never ask."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="warning", description="How much is written to stderr: `debug`, `info`, `warning` or `error`."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="The format of a line on stderr: `text`, or a `json` object."
    )
    mcp_token: _Keys | None = Field(
        default=None,
        description="Over HTTP: the token that callers send (`Authorization: Bearer …`); several, separated by commas "
        "or blanks, during a rotation.",
    )
    mcp_token_file: _File | None = Field(
        default=None, description="Over HTTP: a file that holds the tokens; read when the server starts."
    )
    mcp_allowed_hosts: Annotated[tuple[str, ...], BeforeValidator(_hosts)] | None = Field(
        default=None,
        description="Over HTTP: the host names by which callers reach this server, separated by commas or blanks.",
    )
    mcp_credentials: Literal["environment", "caller", "sign-in"] = Field(
        default="environment",
        description="Over HTTP: which account is used. `environment`: the one that stdio would use, for everyone; "
        "`caller`: that of the session cookie in the request header `Neptun-Session`, and no other; `sign-in`: that of "
        "the person who signed in with a browser (OAuth).",
    )
    mcp_public_url: Annotated[str, AfterValidator(_public_url)] | None = Field(
        default=None,
        description="Over HTTP, with `sign-in`: the address by which people and hosts reach this server, such as "
        "`https://mcp.example.com`.",
    )
    mcp_state_key: _Keys | None = Field(
        default=None,
        description="Over HTTP: the key that all processes share, so that one can ask a question and another take the "
        "answer, and for `sign-in`; several as with the tokens, the first one seals.",
    )
    mcp_sessions: bool | None = Field(
        default=None,
        description="Over HTTP: `1` keeps sessions for hosts of MCP 2025-11-25 and before, so that they can ask the "
        "person; only with a single process. Without it, `serve --http` does if nothing but this machine can call.",
    )
    mcp_keep_alive: int = Field(
        default=75, gt=0, le=3600, description="Over HTTP: seconds a connection may idle; more than at the gateway."
    )
    mcp_metrics: bool = Field(
        default=False,
        description="Over HTTP: `1` serves `/metrics` in Prometheus' format to those who call the process by its "
        "address; needs the extra `otel`.",
    )
    mcp_refused_file: _File | None = Field(
        default=None,
        description="Over HTTP: a file of people who are refused, with a `caller` of the log on each line; read again "
        "when it changes.",
    )
    sandbox: Annotated[Literal["off", "observed", "documented"], BeforeValidator(_contract)] = Field(
        default="off",
        description="`1`: sample data, no account needed; `documented`: as Neptun's documentation has it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_environment(cls, given: dict[str, Any]) -> dict[str, Any]:
        values = {**{name: variable(name) for name in cls.model_fields}, **given}
        return {name: value for name, value in values.items() if not (isinstance(value, str) and is_unset(value))}

    @field_validator("*", mode="before")
    @classmethod
    def _text(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            return value
        name = str(info.field_name)
        # A file's name may be any bytes.
        if not name.endswith("_file") and _HALF_PAIR.search(value):
            raise ValueError("holds bytes that are not UTF-8 text")
        is_word = get_origin(cls.model_fields[name].annotation) is Literal
        return value.strip().lower() if is_word else value

    @model_validator(mode="after")
    def _complete(self) -> Settings:
        if (self.email is None) != (self.password is None):
            raise ValueError("NEPTUN_EMAIL and NEPTUN_PASSWORD go together: set both, or neither")
        _ = self.tokens  # so that a wrong file is found at once
        return self

    @property
    def max_response_bytes(self) -> int:
        """The longest body, and what is remembered of lists together."""
        return self.max_response_mb * 2**20

    @property
    def has_credentials(self) -> bool:
        """Whether credentials are set; if not, the session that `neptun-mcp login` keeps is used."""
        return any((self.session_cookie, self.session_cookie_file, self.email))

    @cached_property
    def tokens(self) -> list[str]:
        """The tokens that callers over HTTP may send, those of the file too; empty if none is set.

        Raises:
            ValueError: the file cannot be read, or holds something else.
        """
        tokens = _split(self.mcp_token)
        if self.mcp_token_file:
            try:
                tokens += _split(_keys(SecretStr(read_secret_file(self.mcp_token_file))))
            except (OSError, ValueError) as error:
                why = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else error
                raise ValueError(f"NEPTUN_MCP_TOKEN_FILE: {why}") from None
        return tokens

    @property
    def state_keys(self) -> list[str]:
        """The keys that seal the state of a question; empty if none is set."""
        return _split(self.mcp_state_key)

    @property
    def secrets(self) -> list[str]:
        """What must never be shown: cookie, password, tokens, keys."""
        known = [secret.get_secret_value() for secret in (self.session_cookie, self.password) if secret]
        return [*known, *self.tokens, *self.state_keys]


PRIVATE = {"email"} | {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
"""The settings whose values are shown to nobody."""


def variable_name(setting: str) -> str:
    """The environment variable of a setting."""
    return f"NEPTUN_{setting.upper()}"


def variable(setting: str) -> str:
    """The value of a setting's variable, without what files of variables leave around it: line ends, blanks, a pair of
    quotes. Around a password blanks stay."""
    text = os.environ.get(variable_name(setting), "").strip("\r\n")
    blanks = "" if setting == "password" else None
    text = text.strip(blanks)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    return text.strip(blanks)


def is_unset(value: str) -> bool:
    return not value.strip() or _UNEXPANDED.fullmatch(value.strip()) is not None


def problems(error: ValidationError) -> list[str]:
    """What is wrong with the settings, a line each, without the values: they may be secrets."""
    lines: list[str] = []
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        message = detail["msg"].removeprefix("Value error, ")
        if message.startswith("Input should be "):  # in pydantic's words, which say why as well
            allowed = message.removeprefix("Input should be ").partition(", unable ")[0]
            message = f"must be {allowed.replace('a valid boolean', '1 or 0')}: correct it, or unset it"
        name = f"{variable_name(str(detail['loc'][0]))}: " if detail["loc"] else ""
        lines.append(f"{name}{message[0].lower() if name else message[0]}{message[1:]}")
    return lines
