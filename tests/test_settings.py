"""The NEPTUN_* variables: what is read, what counts as not set, and what is said of a malformed one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from neptun_mcp import Settings
from neptun_mcp.account import create_client, credentials_of
from neptun_mcp.sandbox import COOKIE
from neptun_mcp.settings import problems
from tests.support import ContractName

DEFAULTS: dict[str, Any] = {
    "session_cookie": None,
    "session_cookie_file": None,
    "email": None,
    "password": None,
    "user_id": None,
    "project_id": None,
    "base_url": "https://neptun-webui.vercel.app",
    "timeout": 30.0,
    "max_connections": 10,
    "max_response_mb": 64,
    "read_only": False,
    "confirm_delete": "ask",
    "log_level": "warning",
    "sandbox": "off",
}


def what_is_wrong(**given: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Settings(**given)
    return problems(caught.value)


def test_nothing_has_to_be_set() -> None:
    settings = Settings()
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("value", ["", " \n", "${NEPTUN_VALUE}", " ${input:value} ", "$VALUE_1", "%VALUE%"])
def test_empty_and_unexpanded_values_count_as_not_set(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"NEPTUN_{name.upper()}", value)
    settings = Settings()
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("EMAIL", "alice@example.com", None),
        ("USER_ID", "7", 7),
        ("PROJECT_ID", " 3 ", 3),
        ("BASE_URL", "https://neptun.example.com/", "https://neptun.example.com"),
        ("SANDBOX", "On", "observed"),
        ("TIMEOUT", "2.5", 2.5),
        ("MAX_CONNECTIONS", "1", 1),
        ("MAX_RESPONSE_MB", "128", 128),
        ("READ_ONLY", "1", True),
        ("READ_ONLY", "true", True),
        ("READ_ONLY", "0", False),
        ("CONFIRM_DELETE", "Require", "require"),
        ("CONFIRM_DELETE", "off", "off"),
        ("LOG_LEVEL", "DEBUG", "debug"),
        ("SANDBOX", "1", "observed"),
        ("SANDBOX", "True", "observed"),
        ("SANDBOX", "documented", "documented"),
        ("SANDBOX", "0", "off"),
        ("SANDBOX", "false", "off"),
    ],
)
def test_a_variable_is_read(monkeypatch: pytest.MonkeyPatch, name: str, text: str, value: Any) -> None:
    monkeypatch.setenv(f"NEPTUN_{name}", text)
    if name == "EMAIL":
        monkeypatch.setenv("NEPTUN_PASSWORD", "Passw0rd!alice")
        value = text
    assert getattr(Settings(), name.lower()) == value


VALUES: dict[str, tuple[str, Any]] = {
    "session_cookie": (COOKIE, SecretStr(COOKIE)),
    "session_cookie_file": ("/a/b c", Path("/a/b c")),
    "email": ("alice@example.com", "alice@example.com"),
    "password": ("Passw0rd!alice", SecretStr("Passw0rd!alice")),
    "user_id": ("7", 7),
    "project_id": ("3", 3),
    "base_url": ("https://neptun.example.com", "https://neptun.example.com"),
    "timeout": ("2.5", 2.5),
    "max_connections": ("1", 1),
    "max_response_mb": ("128", 128),
    "read_only": ("1", True),
    "confirm_delete": ("off", "off"),
    "log_level": ("debug", "debug"),
    "log_format": ("json", "json"),
    "mcp_token": ("bearer-token-" * 3, SecretStr("bearer-token-" * 3)),
    "mcp_token_file": ("tokens of this", Path("tokens of this")),
    "mcp_allowed_hosts": ("mcp.example.com", ("mcp.example.com",)),
    "mcp_credentials": ("caller", "caller"),
    "mcp_public_url": ("https://mcp.example.com/mcp", "https://mcp.example.com"),
    "mcp_state_key": ("state-key-01-" * 3, SecretStr("state-key-01-" * 3)),
    "mcp_sessions": ("1", True),
    "mcp_keep_alive": ("30", 30),
    "mcp_metrics": ("1", True),
    "mcp_refused_file": ("/etc/refused", Path("/etc/refused")),
    "sandbox": ("1", "observed"),
}


@pytest.mark.parametrize("name", VALUES)
def test_quotes_and_blanks_around_a_value_are_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """Docker's --env-file keeps quotes, and the carriage return of a file from Windows."""
    monkeypatch.chdir(tmp_path)
    Path("tokens of this").write_text("bearer-token-" * 3)
    given, value = VALUES[name]
    for other in {"email", "password"} - {name}:
        monkeypatch.setenv(f"NEPTUN_{other.upper()}", VALUES[other][0])
    for form in ("{}\r", "{}\n", '"{}"', "'{}'", '"{}"\r\n'):
        monkeypatch.setenv(f"NEPTUN_{name.upper()}", form.format(given))
        assert getattr(Settings(), name) == value, form


def test_every_setting_was_tried() -> None:
    assert VALUES.keys() == Settings.model_fields.keys()


@pytest.mark.parametrize(
    "password", ["$ecretPassw0rd", "%Passw0rd%", "a${B}1", " with blanks ", "a\"b'c", "'a\"", "tab\t", "it's"]
)
def test_a_password_is_used_verbatim(monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    monkeypatch.setenv("NEPTUN_EMAIL", "alice@example.com")
    monkeypatch.setenv("NEPTUN_PASSWORD", password)
    assert credentials_of(Settings()).password == password


def test_a_keyword_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPTUN_PROJECT_ID", "1")
    assert Settings(project_id=2).project_id == 2


def test_other_variables_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPTUN_NO_SUCH_THING", "1")
    assert Settings() == Settings()


def test_a_misspelt_keyword_is_refused() -> None:
    assert what_is_wrong(projectid=1) == ["NEPTUN_PROJECTID: extra inputs are not permitted"]


# Malformed values

SECRET = "hunter2-planted"


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("session_cookie", f"{SECRET} with blanks", "holds no session cookie: copy the value of neptun-session again"),
        ("session_cookie", "neptun-session=", "holds no session cookie: copy the value of neptun-session again"),
        ("user_id", SECRET, "must be a valid integer: correct it, or unset it"),
        ("user_id", "0", "must be greater than 0: correct it, or unset it"),
        ("project_id", SECRET, "must be a valid integer: correct it, or unset it"),
        ("project_id", "2147483648", "must be less than or equal to 2147483647: correct it, or unset it"),
        ("timeout", SECRET, "must be a valid number: correct it, or unset it"),
        ("timeout", "0", "must be greater than 0: correct it, or unset it"),
        ("timeout", "inf", "must be less than or equal to 600: correct it, or unset it"),
        ("timeout", "nan", "must be less than or equal to 600: correct it, or unset it"),
        ("max_connections", "0", "must be greater than 0: correct it, or unset it"),
        ("max_response_mb", "-1", "must be greater than 0: correct it, or unset it"),
        ("read_only", SECRET, "must be 1 or 0: correct it, or unset it"),
        ("confirm_delete", SECRET, "must be 'ask', 'require' or 'off': correct it, or unset it"),
        ("log_level", SECRET, "must be 'debug', 'info', 'warning' or 'error': correct it, or unset it"),
        ("sandbox", SECRET, "must be 'off', 'observed' or 'documented': correct it, or unset it"),
    ],
)
def test_a_malformed_value_is_reported_in_one_line_without_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str
) -> None:
    monkeypatch.setenv(f"NEPTUN_{name.upper()}", value)
    assert what_is_wrong() == [f"NEPTUN_{name.upper()}: {line}"]


def test_each_malformed_value_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER_ID", "TIMEOUT", "BASE_URL"):
        monkeypatch.setenv(f"NEPTUN_{name}", SECRET)
    lines = what_is_wrong()
    assert [line.partition(":")[0] for line in lines] == ["NEPTUN_USER_ID", "NEPTUN_BASE_URL", "NEPTUN_TIMEOUT"]
    assert SECRET not in "".join(lines)


NO_MORE = "without a user name, a query or a fragment"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://MCP.example.com/mcp", "https://mcp.example.com"),
        ("https://mcp.example.com:8443/", "https://mcp.example.com:8443"),
        ("http://localhost:8000/mcp/", "http://localhost:8000"),
        ("https://mcp.example.com:443", "https://mcp.example.com"),
        ("https://bücher.example/mcp", "https://xn--bcher-kva.example"),
    ],
)
def test_the_public_address_is_the_root(given: str, used: str) -> None:
    assert Settings(mcp_public_url=given).mcp_public_url == used


@pytest.mark.parametrize(
    ("url", "line"),
    [
        (
            "https://example.com/neptun",
            "NEPTUN_MCP_PUBLIC_URL: must be a whole host, without a path, such as https://mcp.example.com",
        ),
        ("mcp.example.com", f"NEPTUN_MCP_PUBLIC_URL: is not an address such as https://mcp.example.com, {NO_MORE}"),
        (
            "https://xn--example.com",
            f"NEPTUN_MCP_PUBLIC_URL: is not an address such as https://mcp.example.com, {NO_MORE}",
        ),
        (
            "http://mcp.example.com",
            "NEPTUN_MCP_PUBLIC_URL: must start with https://; http:// is for this machine only, as others could read "
            "what is sent",
        ),
    ],
)
def test_no_other_public_address_is_taken(url: str, line: str) -> None:
    assert what_is_wrong(mcp_public_url=url) == [line]


@pytest.mark.parametrize("given", [{"email": "a@example.com"}, {"password": SECRET}])
def test_email_and_password_go_together(given: dict[str, str]) -> None:
    assert what_is_wrong(**given) == ["NEPTUN_EMAIL and NEPTUN_PASSWORD go together: set both, or neither"]


@pytest.mark.skipif(os.name != "posix", reason="elsewhere variables are text")
@pytest.mark.parametrize("name", [name for name in VALUES if not name.endswith("_file")])
def test_bytes_that_are_not_text_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"NEPTUN_{name.upper()}", f"{SECRET}\udcff{SECRET}")
    assert what_is_wrong() == [f"NEPTUN_{name.upper()}: holds bytes that are not UTF-8 text"]


@pytest.mark.parametrize("name", ["session_cookie_file", "mcp_refused_file"])
def test_a_file_in_a_home_directory_that_does_not_exist_is_a_file_that_does_not(name: str) -> None:
    assert getattr(Settings(**{name: "~nobody-of-this-name/x"}), name) == Path("~nobody-of-this-name/x")  # pyright: ignore[reportArgumentType]


# Host names

NO_HOST = "must hold host names such as mcp.example.com, without https:// and without a path"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("MCP.Example.com", ["mcp.example.com"]),
        ("a.example, B.example:8443  c", ["a.example", "b.example:8443", "c"]),
        ("::1 [::1] [::1]:8000 127.0.0.1", ["[::1]", "[::1]", "[::1]:8000", "127.0.0.1"]),
    ],
)
def test_host_names_are_in_lower_case(given: str, used: list[str]) -> None:
    assert Settings(mcp_allowed_hosts=given).mcp_allowed_hosts == tuple(used)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    "given", ["https://mcp.example.com", "mcp.example.com/mcp", "*.example.com", "münchen.example", "a b@c", "a" * 254]
)
def test_what_is_no_host_name_is_refused(given: str) -> None:
    assert what_is_wrong(mcp_allowed_hosts=given) == [f"NEPTUN_MCP_ALLOWED_HOSTS: {NO_HOST}"]


# The address

NOT_AN_ADDRESS = f"is not an address such as https://neptun-webui.vercel.app, {NO_MORE}"
IN_THE_OPEN = "must start with https://; http:// is for this machine only, as others could read what is sent"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://neptun.example.com", "https://neptun.example.com"),
        ("HTTPS://neptun.example.com:8443/", "https://neptun.example.com:8443"),
        ("  https://example.com/neptun//  ", "https://example.com/neptun"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://localhost:3000/", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("HTTPS://Neptun.Example.COM:443/Path/", "https://neptun.example.com/Path"),
        ("http://LOCALHOST:80", "http://localhost"),
        ("https://example.com:80", "https://example.com:80"),
        ("https://example.com/?#", "https://example.com"),
    ],
)
def test_an_address_is_https_or_on_this_machine(given: str, used: str) -> None:
    assert Settings(base_url=given).base_url == used


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("neptun.example.com", NOT_AN_ADDRESS),
        ("https://", NOT_AN_ADDRESS),
        ("ftp://example.com", NOT_AN_ADDRESS),
        ("file:///etc/passwd", NOT_AN_ADDRESS),
        ("http://example.com", IN_THE_OPEN),
        ("http://10.0.0.1", IN_THE_OPEN),
        ("http://localhost.example.com", IN_THE_OPEN),
        ("http://127.0.0.1.example.com", IN_THE_OPEN),
        ("http://[::2]", IN_THE_OPEN),
        (f"https://alice:{SECRET}@example.com", NOT_AN_ADDRESS),
        ("https://example.com?next=elsewhere", NOT_AN_ADDRESS),
        ("https://example.com#fragment", NOT_AN_ADDRESS),
        ("https://example.com:99999", NOT_AN_ADDRESS),
        (f"https://alice:{SECRET}", NOT_AN_ADDRESS),
        (f"https://[{SECRET}", NOT_AN_ADDRESS),
        (f"http://[::1]{SECRET}", NOT_AN_ADDRESS),
        (f"http://[::1]{SECRET}:80", NOT_AN_ADDRESS),
        ("https://256.1.1.1", NOT_AN_ADDRESS),
        ("https://example.com:", NOT_AN_ADDRESS),
        ("https://a..example.com", NOT_AN_ADDRESS),
        (f"https://{'a' * 64}.example.com", NOT_AN_ADDRESS),
        (f"https://{'a.' * 130}", NOT_AN_ADDRESS),
        ("https://exa mple.com", NOT_AN_ADDRESS),
        ("https://exa\tmple.com", NOT_AN_ADDRESS),
        ("https://example.com\\evil", NOT_AN_ADDRESS),
        ("https://@example.com", NOT_AN_ADDRESS),
        ("https://example.com/\u2028", NOT_AN_ADDRESS),
        (f"https://{SECRET}\u2100.example.com", NOT_AN_ADDRESS),
    ],
)
def test_no_other_address_is_taken(url: str, line: str) -> None:
    assert what_is_wrong(base_url=url) == [f"NEPTUN_BASE_URL: {line}"]


# Secrets


def test_secrets_are_not_shown() -> None:
    settings = Settings(session_cookie=SecretStr(COOKIE), email="a@example.com", password=SecretStr(SECRET))
    shown = f"{settings!r} {settings} {credentials_of(settings)!r} {settings.model_dump_json()}"
    assert COOKIE not in shown
    assert SECRET not in shown


def test_the_credentials_are_those_that_are_set() -> None:
    settings = Settings(session_cookie=SecretStr(f"neptun-session={COOKIE}; Path=/"))
    assert (credentials_of(settings).cookie, credentials_of(settings).password) == (COOKIE, None)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().project_id = 3  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.anyio
async def test_the_sandbox_needs_nothing_else(contract: ContractName) -> None:
    async with create_client(Settings(sandbox=contract, user_id=99)) as neptun:
        assert [project.name for project in (await neptun.list_projects()).items] == [
            "orders-api",
            "scratch",
            "webshop",
        ]


@pytest.mark.parametrize("name", ["mcp_state_key", "mcp_token"])
@pytest.mark.parametrize("key", ["a" * 32, "abcdefg" * 9, f"{'0123456789abcdef' * 2} {'ab' * 16}"])
def test_a_key_that_repeats_a_few_characters_is_refused(name: str, key: str) -> None:
    given: dict[str, Any] = {name: key}
    with pytest.raises(ValidationError) as refused:
        Settings(**given)
    (problem,) = problems(refused.value)
    assert f"NEPTUN_{name.upper()}: holds a key of fewer than 8 different characters" in problem
    assert "make one with: python -c" in problem
    assert key not in problem
