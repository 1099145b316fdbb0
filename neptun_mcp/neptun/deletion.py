"""Deletes an import, and finds out what became of it if the answer does not say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from .errors import (
    DeletionFailed,
    Denied,
    Effect,
    ImportNotFound,
    NeptunError,
    NotLikeNeptun,
    ProjectNotFound,
    ServerFailed,
    WrongUser,
)
from .transport import Answer


@dataclass(frozen=True)
class Deletion:
    """An import that is gone.

    Attributes:
        confirmed: Neptun said so. False: its answer was lost or unclear, and the list of imports showed it.
        gone_before: it was there just now, and somebody else deleted it before this deletion arrived.
    """

    confirmed: bool
    gone_before: bool = False


def check_answer(answer: Answer, address: str) -> None:
    """Raise `NotLikeNeptun` if it is no success as Neptun sends it: 204, or (a running server) 200 with `[]`."""
    if answer.status not in (200, 204):
        raise NotLikeNeptun(address, f"it answers a deletion with status {answer.status}")
    if answer.body.strip() not in (b"", b"[]"):
        raise NotLikeNeptun(address, "it answers a deletion with something else than an empty list")


async def outcome_after(
    error: NeptunError,
    import_id: int,
    address: str,
    find: Callable[[], Awaitable[object]],
    *,
    known_to_exist: bool,
) -> Deletion:
    """What became of an import whose deletion may have arrived, and was not answered with success.

    Args:
        error: what came instead.
        import_id: the import's id.
        address: the base URL.
        find: looks the import up; raises `ImportNotFound` if it is not there.
        known_to_exist: it was there just now.
    """
    refused = isinstance(error, Denied)
    try:
        await find()
    except ImportNotFound as absent:
        if refused and not known_to_exist:
            raise absent from error
        return Deletion(confirmed=False, gone_before=refused)
    except NeptunError as blind:
        if refused and isinstance(blind, (ProjectNotFound, WrongUser)):
            raise blind from error
        # Recorded: a refusal may be how a database fails that is stopping. What came after it says more.
        raise DeletionFailed(blind if refused else error, Effect.UNKNOWN, import_id) from error
    if not refused:
        raise DeletionFailed(error, Effect.MAY_YET_GO, import_id) from error
    if error.status == 404:  # recorded: the database failed
        error = ServerFailed(address, error.status)
    raise DeletionFailed(error, Effect.STILL_THERE, import_id) from error
