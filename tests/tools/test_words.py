"""What becomes of the facts in an error: what happened, what to do, and what it means for a deletion."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from neptun_mcp.neptun.errors import (
    CookieFileUnusable,
    CredentialsMissing,
    DeletionFailed,
    Effect,
    ImportNotFound,
    LoginRefused,
    NeptunError,
    NotNeptun,
    ServerFailed,
    SessionRefused,
    Source,
    TimedOut,
    WrongUser,
)
from neptun_mcp.tools.words import NOTHING_DELETED, explained

ADDRESS = "https://neptun.example.com"
FAILED = ServerFailed(ADDRESS, 500)
ERRORS = [
    CredentialsMissing(ADDRESS),
    CookieFileUnusable(ADDRESS, "holds no session cookie"),
    SessionRefused(ADDRESS, Source.GIVEN),
    SessionRefused(ADDRESS, Source.FILE, Path("cookie")),
    SessionRefused(ADDRESS, Source.KEPT),
    LoginRefused(300),
    WrongUser(1, 2),
    NotNeptun(ADDRESS),
    FAILED,
    ImportNotFound(5, 1),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_what_nobody_wanted_to_delete_was_not_deleted_is_not_said(error: NeptunError) -> None:
    assert "delet" not in explained(error)
    happened, meant, _ = explained(error, deleting=True).partition(f" {NOTHING_DELETED} ")
    assert meant
    assert explained(error).startswith(happened)


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
    assert explained(DeletionFailed(FAILED, effect, 5), deleting=True) == f"{happened} {words} {advice}"


@pytest.mark.parametrize("error", [CredentialsMissing(ADDRESS), SessionRefused(ADDRESS, Source.GIVEN)])
def test_whoever_serves_others_says_how_their_session_is_renewed(error: NeptunError) -> None:
    assert explained(error, renewal="Sign in again.").endswith(". Sign in again.")


@pytest.mark.parametrize(("seconds", "words"), [(0.001, "0.001 seconds"), (0.04, "0.04"), (2 / 3, "0.7"), (30.0, "30")])
def test_the_time_that_was_waited_is_never_zero(seconds: float, words: str) -> None:
    assert f"within {words}" in str(TimedOut(ADDRESS, seconds))


def test_the_address_is_named_before_the_user_id_that_it_may_lack() -> None:
    assert explained(NotNeptun(ADDRESS, lacks_user=True)).endswith(
        "Check NEPTUN_BASE_URL; if it is right, set NEPTUN_USER_ID."
    )


def test_advice_names_the_command_as_it_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [".venv/bin/neptun-mcp"])
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    assert f"Run `.venv/bin/neptun-mcp login --base-url {ADDRESS}` " in explained(CredentialsMissing(ADDRESS))


def test_advice_in_a_bundle_names_no_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    for error in (CredentialsMissing(ADDRESS), SessionRefused(ADDRESS, Source.GIVEN)):
        assert "neptun-mcp" not in explained(error)
        assert "in the settings of this extension" in explained(error)
