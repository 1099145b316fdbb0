"""What a failure is called: the one place that makes sentences of the facts in an error of `neptun`.

Two of them for the reader, an assistant or the person at a terminal: what happened, and what to do. In between stands
what it means for a deletion, where one was meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from ..command_line import command_line
from ..neptun.cookies import how_to_get_cookie
from ..neptun.errors import (
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
    SessionRefused,
    Source,
    StoreUnreadable,
    TimedOut,
    TooLarge,
    Unreachable,
    Unreadable,
    WrongUser,
    quoted,
)
from ..neptun.models import DEFAULT_BASE_URL, MAX_ID, Project

NOTHING_DELETED = "Nothing was deleted."

_LISTED_CHARACTERS = 6_000  # of projects in a message: 200 with names of 20 characters
_NO_RESTART = "there is no need to restart the server"
_OTHER_CONNECTION = "This connection is for that project alone: correct its address in your host."
_CHECK_ADDRESS = "Check NEPTUN_BASE_URL and the network, then try again."
_CHECK_PROXY = "Check HTTPS_PROXY, ALL_PROXY and NO_PROXY, and whether the proxy runs."


def explained(error: NeptunError, *, deleting: bool = False, renewal: str = "", only_project: bool = False) -> str:
    """What happened and what to do about it.

    Args:
        error: the failure.
        deleting: a deletion was meant, so the reader has to know what became of it.
        renewal: what to do if the session is missing or has ended, a sentence; empty for what the settings allow.
        only_project: the connection is for one project, so no other may be named.
    """
    narrowed = only_project and isinstance(error, ProjectNotFound)
    sentences = [happened(error), _OTHER_CONNECTION if narrowed else advice(error, renewal)]
    if effect := _effect(error) if deleting else "":
        sentences.insert(1, effect)
    return " ".join(sentences)


def happened(error: NeptunError) -> str:
    """What happened, a sentence: the error's own, or another where a setting has to be named."""
    match error:
        case DeletionFailed():
            return happened(error.cause)
        case CookieFileUnusable():
            return f"The file in NEPTUN_SESSION_COOKIE_FILE {error.problem}."
        case StoreUnreadable():
            return f"The session that {login_command(error.address)} kept cannot be read: {error.problem}."
        case CredentialsMissing():
            return "No Neptun credentials are set."
        case WrongUser():
            return f"NEPTUN_USER_ID is {error.configured}, but the session belongs to user {error.actual}."
        case _:
            return str(error)


def _effect(error: NeptunError) -> str:
    """What a failure means for the import that was to be deleted."""
    if not isinstance(error, DeletionFailed):
        return NOTHING_DELETED
    return {
        Effect.UNKNOWN: f"Whether import {error.import_id} was deleted is unknown: look with list_imports first.",
        Effect.STILL_THERE: f"Import {error.import_id} is still there.",
        Effect.MAY_YET_GO: f"Import {error.import_id} is still there, but may yet go: look with list_imports first.",
    }[error.effect]


def advice(error: NeptunError, renewal: str = "") -> str:
    """What the reader can do about a failure, a sentence. `renewal` is that of `explained`."""
    match error:
        case DeletionFailed():
            return advice(error.cause, renewal)
        case CredentialsMissing() | SessionRefused():
            return renewal or _how_to_log_in(error)
        case LoginRefused():
            return (
                "Correct NEPTUN_EMAIL and NEPTUN_PASSWORD (both are case-sensitive) and restart the server; as they "
                f"are, they are not tried again for {_duration(error.seconds)}, to keep the account from being locked."
            )
        case WrongUser():
            return "Remove NEPTUN_USER_ID (it is found from the session) or correct it, and restart the server."
        case BadRequest():
            return f"Ids are positive whole numbers up to {MAX_ID}, as list results show them."
        case Denied():
            return _on_ids(error)
        case NotLikeNeptun():
            return _on_address(error)
        case RateLimited(retry_after=seconds):
            return f"Wait {'a minute' if seconds is None else _in_seconds(seconds)}, then try again."
        case Unreachable():
            return _on_obstacle(error)
        case TimedOut():
            return "Try again in a minute; NEPTUN_TIMEOUT sets how long to wait."
        case _:
            return "Nothing is wrong with the request: try again in a minute."


def _how_to_log_in(error: CredentialsMissing | SessionRefused) -> str:
    """The way to a session, as the settings allow it."""
    command, how = login_command(error.address), how_to_get_cookie(error.address)
    match error:
        case CookieFileUnusable():
            return f"Save the cookie there ({how}); {_NO_RESTART}."
        case _ if not command_line():
            return (
                f"Enter a fresh session cookie (to get it, {how}), or e-mail address and password, in the settings of "
                "this extension in your host."
            )
        case StoreUnreadable() if error.file:
            return f"Make that file readable for you, or delete it and run {command}; {_NO_RESTART}."
        case StoreUnreadable():
            return f"Unlock the keyring, or run {command} again; {_NO_RESTART}."
        case CredentialsMissing():
            return (
                f"Run {command} in a terminal; {_NO_RESTART}. Or set NEPTUN_SESSION_COOKIE (to get it, {how}), or "
                "NEPTUN_EMAIL and NEPTUN_PASSWORD, in the host's entry for this server, and restart it."
            )
        case SessionRefused(source=Source.KEPT):
            return f"Run {command} again; {_NO_RESTART}."
        case SessionRefused(source=Source.FILE):
            return f"Save a fresh cookie in {error.file} ({how}); {_NO_RESTART}."
        case SessionRefused():
            return (
                f"Run {command}, remove NEPTUN_SESSION_COOKIE from the host's entry for this server and restart it; "
                f"or put a fresh cookie there ({how})."
            )


def _on_ids(error: Denied) -> str:
    match error:
        case ProjectNotFound(projects=None):
            return "Check project_id, or try again in a minute."
        case ProjectNotFound():
            return known_projects(error.projects or ())
        case ImportNotFound():
            return (
                "Call list_imports to see the imports with their ids; this one may be gone already, or be in another "
                "project."
            )
        case ResourceNotFound(certain=True):
            return "Call list_resources without resource_id to see them with their ids."
        case ResourceNotFound():
            return "Check the ids, or try again in a minute."
        case _:
            return "Check the ids."


def _on_address(error: NotLikeNeptun) -> str:
    match error:
        case NotNeptun(lacks_user=True):
            return "Check NEPTUN_BASE_URL; if it is right, set NEPTUN_USER_ID."
        case NotNeptun():
            return "Check NEPTUN_BASE_URL."
        case Redirected():
            return "Set NEPTUN_BASE_URL to the final address of the site."
        case TooLarge():
            return "If the project really is that large, raise NEPTUN_MAX_RESPONSE_MB."
        case Unreadable():
            return "Look for it on the Neptun website."
        case _:
            return "Check NEPTUN_BASE_URL; if it is right, try again later."


def _on_obstacle(error: Unreachable) -> str:
    match error.obstacle:
        case Obstacle.TLS:
            return (
                "Check NEPTUN_BASE_URL; if a company proxy or a private certificate authority is in use, add its "
                "certificate to the system's trust store or name it in SSL_CERT_FILE."
            )
        case Obstacle.PROXY_REFUSED:
            return "Check HTTPS_PROXY (with user name and password, if the proxy wants them) and NO_PROXY."
        case Obstacle.SETTING if error.setting:
            return f"Correct {error.setting}, or unset it for this server, and restart it."
        case Obstacle.SETTING:
            return "Check SSL_CERT_FILE, SSL_CERT_DIR, SSLKEYLOGFILE, HTTPS_PROXY, ALL_PROXY and NO_PROXY."
        case Obstacle.ENDED:
            return "Try again in a minute."
        case _:
            return _CHECK_PROXY if error.proxy else _CHECK_ADDRESS


def _duration(seconds: float) -> str:
    return f"{round(seconds / 60)} minutes" if seconds >= 90 else _in_seconds(seconds)


def _in_seconds(seconds: float) -> str:
    whole = max(1, round(seconds))
    return f"{whole} second{'s' if whole > 1 else ''}"


def why(error: OSError) -> str:
    """Why a file cannot be used, and which, to follow a colon."""
    return f"{error.strerror or 'it cannot be used'}{f' ({error.filename})' if error.filename else ''}"


def login_command(address: str) -> str:
    """The command that logs in to an address."""
    where = "" if address == DEFAULT_BASE_URL else f" --base-url {address}"
    return f"`{command_line() or 'neptun-mcp'} login{where}`"


def known_projects(projects: Iterable[Project]) -> str:
    """A sentence that lists the person's projects with their ids, for an assistant to choose from."""
    known = [f"{project.id} {quoted(project.name)}" for project in projects]
    if not known:
        return "You have no projects in Neptun yet."
    ends = accumulate(len(entry) + 2 for entry in known)
    listed = known[: sum(end <= _LISTED_CHARACTERS for end in ends)]
    more = f" and {len(known) - len(listed)} more; to find one of these, pass project with a part of its name"
    return f"Your projects are: {', '.join(listed)}{more if len(listed) < len(known) else ''}."
