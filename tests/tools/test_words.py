"""What becomes of the facts in an error: what happened, what to do, and what it means for a deletion."""

from __future__ import annotations

import json
import re
import sys
from copy import copy
from dataclasses import replace
from pathlib import Path

import pytest

from neptun_mcp.neptun import errors
from neptun_mcp.neptun.errors import (
    BadRequest,
    CookieFileUnusable,
    CredentialsMissing,
    DeletionFailed,
    Denied,
    Effect,
    ImportNotFound,
    LoginRefused,
    NeptunError,
    NotLikeNeptun,
    NotNeptun,
    Obstacle,
    ProjectNotFound,
    RateLimited,
    Redirected,
    ResourceNotFound,
    ServerFailed,
    SessionRefused,
    StoreUnreadable,
    TimedOut,
    TooLarge,
    Unauthorized,
    Unreachable,
    UnreadableItems,
    UserNotSaid,
    WrongUser,
)
from neptun_mcp.neptun.models import Project
from neptun_mcp.sandbox import COOKIE
from neptun_mcp.tools.words import (
    CALLER,
    EXTENSION,
    HOST,
    NOTHING_DELETED,
    OPERATOR,
    TERMINAL,
    Reader,
    advice,
    explained,
    host_reader,
)
from tests.processes import Command, Completed
from tests.serving.support import LIST_IMPORTS, error_in, start_in_process
from tests.support import Site

ADDRESS = "https://neptun.example.com"
FAILED = ServerFailed(ADDRESS, 500)
ERRORS = [
    CredentialsMissing(ADDRESS),
    CookieFileUnusable(ADDRESS, "holds no session cookie"),
    SessionRefused(ADDRESS),
    SessionRefused(ADDRESS, Path("cookie")),
    SessionRefused(ADDRESS, kept=True),
    LoginRefused(300),
    WrongUser(1, 2),
    NotNeptun(ADDRESS, "it has none of the pages"),
    FAILED,
    ImportNotFound(5, 1),
]


def test_the_tree_in_the_docstring_is_that_of_the_classes() -> None:
    above, drawn = [errors.NeptunError.__name__], dict[str, str]()
    for line in re.findall(r"^    ([│├└─ ]+\w+)", errors.__doc__ or "", re.MULTILINE):
        name = line.lstrip("│├└─ ")
        above[(len(line) - len(name)) // 4 :] = [name]
        drawn[name] = above[-2]
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, NeptunError)]
    assert drawn == {error.__name__: error.__base__.__name__ for error in classes[1:] if error.__base__}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_what_nobody_wanted_to_delete_was_not_deleted_is_not_said(error: NeptunError) -> None:
    assert "delet" not in explained(error, HOST)
    happened, meant, _ = explained(error, HOST, deleting=True).partition(f" {NOTHING_DELETED} ")
    assert meant
    assert explained(error, HOST).startswith(happened)


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        (Effect.UNKNOWN, "Whether import 5 was deleted is unknown: look with list_imports first."),
        (Effect.STILL_THERE, "Import 5 is still there."),
        (Effect.MAY_YET_GO, "Import 5 is still there, but may yet go: look with list_imports first."),
    ],
)
def test_the_effect_of_a_failed_deletion_stands_in_between(effect: Effect, words: str) -> None:
    happened, advice = str(FAILED), "Nothing is wrong with the request: try again in a minute."
    assert explained(DeletionFailed(FAILED, effect, 5), HOST, deleting=True) == f"{happened} {words} {advice}"


@pytest.mark.parametrize("sent", [False, True])
def test_a_connection_for_one_project_hears_of_no_other(sent: bool) -> None:
    error: NeptunError = ProjectNotFound(404, 1, [Project(id=2, name="another")])
    words = explained(DeletionFailed(error, Effect.UNKNOWN, 5) if sent else error, HOST, chosen_by="connection")
    assert words.endswith("This connection is for that project alone: correct its address in your host.")
    assert "another" not in words


@pytest.mark.parametrize("error", [CredentialsMissing(ADDRESS), SessionRefused(ADDRESS)])
def test_whoever_serves_others_says_how_their_session_is_renewed(error: NeptunError) -> None:
    assert explained(error, replace(CALLER, renewal="Sign in again.")).endswith(". Sign in again.")


@pytest.mark.parametrize(("seconds", "words"), [(0.001, "0.001 seconds"), (0.04, "0.04"), (2 / 3, "0.7"), (30.0, "30")])
def test_the_time_that_was_waited_is_never_zero(seconds: float, words: str) -> None:
    assert f"within {words}" in str(TimedOut(ADDRESS, seconds))


def test_the_address_is_named_before_the_user_id_that_it_may_lack() -> None:
    assert explained(UserNotSaid(ADDRESS, "it does not say"), TERMINAL).endswith(
        "Check NEPTUN_BASE_URL; if it is right, set NEPTUN_USER_ID."
    )


def test_a_damaged_file_of_sessions_is_not_to_be_deleted() -> None:
    words = advice(StoreUnreadable(ADDRESS, "it is damaged (/s.json)", "/s.json"), TERMINAL)
    assert words.startswith("Repair that file, or rename it (it may hold other sessions, too) and run `")


def test_advice_names_the_command_as_it_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [".venv/bin/neptun-mcp"])
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    assert f"Run `.venv/bin/neptun-mcp login --base-url {ADDRESS}` " in explained(CredentialsMissing(ADDRESS), HOST)


def test_a_bundle_has_no_command_and_settings_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert host_reader() is HOST
    (tmp_path / "manifest.json").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert host_reader() is EXTENSION
    manifest = json.loads((Path(__file__).parents[2] / "packaging" / "manifest.json").read_text("utf-8"))
    titles = {f"${{user_config.{name}}}": field["title"] for name, field in manifest["user_config"].items()}
    environment = manifest["server"]["mcp_config"]["env"]
    assert {name: f'"{titles[value]}"' for name, value in environment.items()} == EXTENSION.names


EVERY_ERROR = [
    *ERRORS,
    StoreUnreadable(ADDRESS, "it is damaged (/home/alice/sessions.json)", "/home/alice/sessions.json"),
    StoreUnreadable(ADDRESS, "the system's keyring is locked, or not there"),
    BadRequest(),
    Denied(403),
    Unauthorized(),
    ProjectNotFound(404, 9, [Project(id=1, name="webshop")]),
    ProjectNotFound(404, 9, None),
    ResourceNotFound("user-files", 5, 1),
    ResourceNotFound("user-files", 5, 1, certain=False),
    NotLikeNeptun(ADDRESS, "it sent broken JSON"),
    UserNotSaid(ADDRESS, "it does not say"),
    Redirected(ADDRESS, "it redirects"),
    TooLarge(ADDRESS, "it is larger than 64 MB"),
    UnreadableItems(ADDRESS, "it may be one of them"),
    RateLimited(ADDRESS, 7),
    RateLimited(ADDRESS, None),
    TimedOut(ADDRESS, 30),
    *(Unreachable(ADDRESS, obstacle, proxy) for obstacle in Obstacle for proxy in ("", "proxy:3128")),
    Unreachable(ADDRESS, Obstacle.SETTING, setting="HTTPS_PROXY"),
    *(DeletionFailed(FAILED, effect, 5) for effect in Effect),
]


@pytest.mark.parametrize("reader", [HOST, EXTENSION, OPERATOR, CALLER, TERMINAL])
@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
def test_advice_is_what_its_reader_can_do(error: NeptunError, reader: Reader) -> None:
    """Nobody is sent to settings, a command or a server that are not theirs."""
    words = advice(error, reader)
    assert re.fullmatch(r"[A-Z].*[^ ,;:.]\.", words)
    assert not re.search(r"[,;:.] ?[,;:.]", words)
    settings = set(re.findall(r"(?:[Cc]orrect|[Ss]et|[Rr]emove|raise) (NEPTUN_\w+)", words))
    if reader is TERMINAL:
        assert "restart" not in words
        assert "not tried again" not in words  # each command tries
    elif reader is CALLER:
        assert not settings or "sk whoever runs this server to " in words
        assert not words.startswith("Run ")
    elif reader is EXTENSION:
        assert "neptun-mcp" not in words
        if not isinstance(error, WrongUser):  # a bundle cannot set it
            assert "NEPTUN_" not in words
    elif settings:
        assert "entry for this server, and restart it" in words or reader is OPERATOR
        assert "environment of this server, and restart it" in words or reader is HOST


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
def test_a_failure_that_several_wait_for_is_the_same_for_all(error: NeptunError) -> None:
    assert (str(copy(error)), vars(copy(error))) == (str(error), vars(error))


OTHER_USER = "NEPTUN_USER_ID is 2, but the session belongs to user 1. "


@pytest.mark.anyio
async def test_a_caller_over_http_is_not_told_to_change_settings(site: Site) -> None:
    async with start_in_process(site, session_cookie=COOKIE, user_id=2) as caller:
        said = error_in(await caller.call("list_imports", LIST_IMPORTS))
    assert said == (
        f"{OTHER_USER}Ask whoever runs this server to remove NEPTUN_USER_ID (it is found from the session) or correct "
        "it."
    )


def test_at_a_terminal_there_is_no_server_to_restart(
    command: Command, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"BASE_URL": site.url, "SESSION_COOKIE": COOKIE, "USER_ID": "2"}.items():
        monkeypatch.setenv(f"NEPTUN_{name}", value)
    said = f"{OTHER_USER}Remove NEPTUN_USER_ID (it is found from the session) or correct it.\n"
    assert command("call", "list_imports", "project_id=1") == Completed(1, "", said)


def test_an_address_that_was_typed_is_the_one_to_check(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPTUN_SESSION_COOKIE", COOKIE)
    said = command("whoami", "--base-url", "http://127.0.0.1:9").stderr
    assert said.endswith("Check --base-url and the network, then try again.\n")
