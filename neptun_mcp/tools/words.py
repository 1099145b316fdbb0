"""How a failure is put into words: the one place that makes sentences of the facts in an error of `neptun`.

Two of them for the reader, an assistant or the person at a terminal: what happened, and what to do. In between stands
what it means for a deletion, where one was meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from mcp.server.mcpserver.exceptions import ToolError

from ..command_line import command_line
from ..neptun import errors
from ..neptun.cookies import how_to_get_cookie
from ..neptun.errors import NeptunError, quoted
from ..neptun.models import DEFAULT_BASE_URL, MAX_ID, Project

NOTHING_DELETED = "Nothing was deleted."


class NotDone(ToolError):
    """The tools do not carry out this call, in words for the assistant, who has to make another."""


class NotAllowed(NotDone):
    """The settings, or the person's host, do not allow it."""


class NotThere(NotDone):
    """What the call is about is not there, or no longer."""


class NoSession(NotDone):
    """The call came without the session that it needs."""


_LISTED_CHARACTERS = 6_000  # of projects in a message: 200 with names of 20 characters
_AGAIN = "try again in a minute"
_SET_PROJECT = "The call named none, so this is the project of NEPTUN_PROJECT_ID."
_OTHER_CONNECTION = "This connection is for that project alone: correct its address in your host."


@dataclass(frozen=True)
class Reader:
    """Who reads the words: who can change the settings, and where they stand.

    Attributes:
        who: how somebody is told to do something.
        where: follows what to do to a setting: where it stands, and what else that takes.
        names: the settings that can be changed there, and what they are called; empty for all, by their variables.
        serves: whether they come from a server, which goes on; else from a command, which has ended.
        renewal: what to do if the session is missing or has ended, a sentence; empty for what the settings allow.
    """

    who: str = "{}"
    where: str = ""
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    serves: bool = True
    renewal: str = ""

    def told(self, what: str) -> str:
        """What to do, a clause that begins with a verb, in words for this reader."""
        for variable, name in self.names.items():
            what = what.replace(variable, name)
        return self.who.format(what)

    def told_to_set(self, what: str) -> str:
        """The same for what to do to a setting."""
        stands_there = not self.names or any(name in what for name in self.names)
        return self.told(f"{what}{self.where}" if stands_there else what)

    @property
    def decides(self) -> bool:
        """Whether the settings are the reader's, and not somebody else's."""
        return self.who == "{}"

    def can_set(self, variable: str) -> bool:
        """Whether the reader can set a variable."""
        return self.decides and (variable in self.names or not self.names)


HOST = Reader(where=" in the host's entry for this server, and restart it")
EXTENSION = Reader(  # the titles in packaging/manifest.json; hosts start it again by themselves
    where=" in the settings of this extension in your host",
    names={
        "NEPTUN_EMAIL": '"E-mail address"',
        "NEPTUN_PASSWORD": '"Password"',
        "NEPTUN_SESSION_COOKIE": '"Session cookie"',
        "NEPTUN_BASE_URL": '"Address of Neptun"',
        "NEPTUN_READ_ONLY": '"Read only"',
    },
)
OPERATOR = Reader(where=" in the environment of this server, and restart it")
CALLER = Reader(who="ask whoever runs this server to {}")
TERMINAL = Reader(serves=False)


def host_reader() -> Reader:
    """Who reads what a server on stdin and stdout says. A bundle has no entry in a host's file, and no command."""
    return HOST if command_line() else EXTENSION


def explained(error: NeptunError, reader: Reader, *, deleting: bool = False, chosen_by: str = "") -> str:
    """What happened and what to do about it.

    Args:
        error: the failure.
        reader: whom it is told.
        deleting: a deletion was meant, so the reader has to know what became of it.
        chosen_by: what chose the project: `connection`, which is for that one alone, or `setting`; empty if the call
            did.
    """
    cause = error.cause if isinstance(error, errors.DeletionFailed) else error
    effect = _effect(error) if deleting else ""
    to_do, chosen = advice(cause, reader), ""
    if isinstance(cause, errors.ProjectNotFound):
        to_do = _OTHER_CONNECTION if chosen_by == "connection" else to_do
        chosen = _SET_PROJECT if chosen_by == "setting" else ""
    return " ".join(filter(None, (happened(cause), effect, to_do, chosen)))


def happened(error: NeptunError) -> str:
    """What happened, a sentence: the error's own, or another where a setting has to be named."""
    match error:
        case errors.CookieFileUnusable():
            return f"The file in NEPTUN_SESSION_COOKIE_FILE {error.problem}."
        case errors.StoreUnreadable():
            return f"The session that {login_command(error.address)} kept cannot be read: {error.problem}."
        case errors.CredentialsMissing():
            return "No Neptun credentials are set."
        case errors.WrongUser():
            return f"NEPTUN_USER_ID is {error.configured}, but the session belongs to user {error.actual}."
        case _:
            return str(error)


def _effect(error: NeptunError) -> str:
    """What a failure means for the import that was to be deleted."""
    if not isinstance(error, errors.DeletionFailed):
        return NOTHING_DELETED
    meaning = error.effect.value.format(error.import_id)
    return meaning if error.effect is errors.Effect.STILL_THERE else f"{meaning[:-1]}: look with list_imports first."


def advice(error: NeptunError, reader: Reader) -> str:
    """What the reader can do about a failure, a sentence."""
    if reader.renewal and isinstance(error, (errors.CredentialsMissing, errors.SessionRefused)):
        return reader.renewal
    what = _advice(error, reader)
    return f"{what[0].upper()}{what[1:]}."


def _advice(error: NeptunError, reader: Reader) -> str:
    """The same without the capital letter and the full stop."""
    match error:
        case errors.CredentialsMissing() | errors.SessionRefused():
            return _how_to_log_in(error, reader)
        case errors.LoginRefused():
            correct = reader.told_to_set("correct NEPTUN_EMAIL and NEPTUN_PASSWORD (both are case-sensitive)")
            wait = f"; unchanged, they are not tried again for {_in_seconds(error.seconds)}, to protect the account"
            return f"{correct}{wait if reader.serves else ''}"
        case errors.WrongUser():
            return reader.told_to_set("remove NEPTUN_USER_ID (it is found from the session) or correct it")
        case errors.BadRequest():
            return f"ids are positive whole numbers up to {MAX_ID}, as list results show them"
        case errors.ProjectNotFound(projects=None):
            return f"check project_id, or {_AGAIN}"
        case errors.ProjectNotFound():
            return known_projects(error.projects or ())[:-1]
        case errors.ImportNotFound():
            return (
                "call list_imports to see the imports with their ids; this one may be gone already, or be in another "
                "project"
            )
        case errors.ResourceNotFound(certain=True):
            return "call list_resources without resource_id to see them with their ids"
        case errors.ResourceNotFound():
            return f"check the ids, or {_AGAIN}"
        case errors.Denied():
            return "check the ids"
        case errors.UserNotSaid() if reader.can_set("NEPTUN_USER_ID"):
            return reader.told_to_set("check NEPTUN_BASE_URL; if it is right, set NEPTUN_USER_ID")
        case errors.NotNeptun():
            return reader.told("check NEPTUN_BASE_URL")
        case errors.Redirected():
            return reader.told_to_set("set NEPTUN_BASE_URL to the final address of the site")
        case errors.TooLarge() if reader.can_set("NEPTUN_MAX_RESPONSE_MB"):
            return f"if the project really is that large, {reader.told_to_set('raise NEPTUN_MAX_RESPONSE_MB')}"
        case errors.TooLarge() | errors.UnreadableItems():
            return "look for it on the Neptun website"
        case errors.NotLikeNeptun():
            return f"{reader.told('check NEPTUN_BASE_URL')}; if it is right, try again later"
        case errors.RateLimited(retry_after=seconds):
            return f"wait {'a minute' if seconds is None else _in_seconds(seconds)}, then try again"
        case errors.Unreachable():
            return _on_obstacle(error, reader)
        case errors.TimedOut():
            return _AGAIN + "; NEPTUN_TIMEOUT sets how long to wait" * reader.can_set("NEPTUN_TIMEOUT")
        case _:
            return f"nothing is wrong with the request: {_AGAIN}"


def _how_to_log_in(error: errors.CredentialsMissing | errors.SessionRefused, reader: Reader) -> str:
    """The way to a session, as the settings allow it."""
    how, more = how_to_get_cookie(error.address), ""
    if reader is EXTENSION:
        return reader.told_to_set(
            f"enter a fresh NEPTUN_SESSION_COOKIE (to get it, {how}) or both NEPTUN_EMAIL and NEPTUN_PASSWORD"
        )
    log_in = f"run {login_command(error.address)}"
    match error:
        case errors.CookieFileUnusable():
            what = f"save the cookie in the file that NEPTUN_SESSION_COOKIE_FILE names ({how})"
        case errors.StoreUnreadable() if error.file:
            what = f"repair that file, or rename it (it may hold other sessions, too) and {log_in}"
        case errors.StoreUnreadable():
            what = f"unlock the keyring, or {log_in} again"
        case errors.CredentialsMissing():
            what, cookie = f"{log_in} in a terminal", f"NEPTUN_SESSION_COOKIE (to get it, {how})"
            instead = reader.told_to_set(f"set {cookie} or both NEPTUN_EMAIL and NEPTUN_PASSWORD")
            more = f". Or {instead}" if reader.decides else ""
        case errors.SessionRefused(kept=True):
            what = f"{log_in} again"
        case errors.SessionRefused() if error.file:
            what = f"save a fresh cookie in {error.file} ({how})"
        case errors.SessionRefused():
            instead = reader.told_to_set(f"{log_in} and remove NEPTUN_SESSION_COOKIE")
            return f"{instead}; or put a fresh cookie there ({how})" if reader.decides else instead
    no_restart = "; there is no need to restart the server" if reader.serves else ""
    return f"{reader.told(what)}{no_restart}{more}"


def _on_obstacle(error: errors.Unreachable, reader: Reader) -> str:
    match error.obstacle:
        case errors.Obstacle.TLS:
            variable = " or name it in SSL_CERT_FILE" if reader.can_set("SSL_CERT_FILE") else ""
            return reader.told(
                "check NEPTUN_BASE_URL; if a company proxy or a private certificate authority is in use, add its "
                f"certificate to the system's trust store{variable}"
            )
        case errors.Obstacle.PROXY_REFUSED:
            return reader.told("check HTTPS_PROXY (with user name and password, if the proxy wants them) and NO_PROXY")
        case errors.Obstacle.SETTING if error.setting:
            return reader.told_to_set(f"correct {error.setting} or unset it")
        case errors.Obstacle.SETTING:
            return reader.told("check SSL_CERT_FILE, SSL_CERT_DIR, SSLKEYLOGFILE, HTTPS_PROXY, ALL_PROXY and NO_PROXY")
        case errors.Obstacle.ENDED:
            return _AGAIN
        case _ if error.proxy:
            return reader.told("check HTTPS_PROXY, ALL_PROXY and NO_PROXY, and whether the proxy runs")
        case _:
            return f"{reader.told('check NEPTUN_BASE_URL and the network')}, then try again"


def _in_seconds(seconds: float) -> str:
    whole = max(1, round(seconds))
    return f"{whole} second{'s' if whole > 1 else ''}"


def login_command(address: str, more: str = "") -> str:
    """The command that logs in to an address; `more` stands at its end."""
    where = "" if address == DEFAULT_BASE_URL else f" --base-url {address}"
    return f"`{command_line() or 'neptun-mcp'} login{where}{more}`"


def listed(words: Iterable[str], most: int, separator: str = ", ") -> str:
    """At most `most` of these words, and how many more there are."""
    each = [*words]
    named = separator.join(each[:most])
    return f"{named}{separator.strip(', ')} and {len(each) - most} more" if len(each) > most else named


def known_projects(projects: Iterable[Project], subject: str = "Your projects") -> str:
    """A sentence that lists the person's projects with their ids, for an assistant to choose from."""
    known = [f"{project.id} {quoted(project.name)}" for project in projects]
    if not known:
        return "You have no projects in Neptun yet."
    ends = accumulate(len(entry) + 2 for entry in known)
    most = sum(end <= _LISTED_CHARACTERS for end in ends)
    more = "; to find one of these, pass project with a part of its name" if most < len(known) else ""
    return f"{subject} are: {listed(known, most)}{more}."
