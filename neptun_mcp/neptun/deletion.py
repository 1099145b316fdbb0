"""Deletes an import, and finds out what became of it if the answer does not say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from copy import copy
from dataclasses import dataclass, field

import anyio
from pydantic_core import from_json

from .errors import (
    DeletionFailed,
    Denied,
    Effect,
    ImportNotFound,
    NeptunError,
    NotLikeNeptun,
    ProjectNotFound,
    ServerFailed,
    TimedOut,
    Unauthorized,
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


class UnderWay:
    """The deletions that are under way: what is asked for once more meanwhile is not sent again."""

    def __init__(self) -> None:
        self._attempts: dict[tuple[object, int, int], _Attempt] = {}

    async def once(
        self,
        key: tuple[object, int, int],
        delete: Callable[[], Awaitable[Deletion]],
        in_time: Callable[[], AbstractAsyncContextManager[None]],
    ) -> Deletion:
        """What `delete` returns or raises; if the same deletion is under way, what comes of that.

        If the other one is cancelled, this one takes its place.

        Args:
            key: the session, the project's id and the import's id.
            delete: deletes it.
            in_time: limits how long is waited for the other one; raises `TimedOut`.
        """
        while other := self._attempts.get(key):
            try:
                async with in_time():
                    await other.ended.wait()
            except TimedOut as error:
                raise DeletionFailed(error, Effect.UNKNOWN, key[2]) from error
            if other.error:
                raise copy(other.error)
            if other.succeeded:
                return Deletion(confirmed=False, gone_before=True)
        self._attempts[key] = attempt = _Attempt()
        try:
            deletion = await delete()
            attempt.succeeded = True
            return deletion
        except NeptunError as error:
            attempt.error = copy(error)
            raise
        finally:
            del self._attempts[key]
            attempt.ended.set()


@dataclass
class _Attempt:
    ended: anyio.Event = field(default_factory=anyio.Event)
    succeeded: bool = False
    error: NeptunError | None = None


class Request:
    """One DELETE, which is sent at most once, unless it certainly had no effect.

    Args:
        send: sends it with a session cookie, and calls the function that it is given before the first byte is written.
    """

    def __init__(self, send: Callable[[str, Callable[[], None]], Awaitable[Answer]]) -> None:
        self._send = send
        self.may_have_arrived = False

    async def attempt(self, cookie: str) -> Answer:
        try:
            return await self._send(cookie, self._note_sending)
        except Unauthorized:
            self.may_have_arrived = False  # it had no effect, whatever becomes of the next one
            raise

    def _note_sending(self) -> None:
        self.may_have_arrived = True


def check_answer(answer: Answer, address: str) -> None:
    """Raise `NotLikeNeptun` if it is no success as Neptun sends it: 204, or (a running server) 200 with `[]`."""
    if answer.status not in (200, 204):
        raise NotLikeNeptun(address, f"it answers a deletion with status {answer.status}")
    if answer.body.strip() and not _is_json(answer.body):
        raise NotLikeNeptun(address, "it answers a deletion with something that is not JSON")


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


def _is_json(body: bytes) -> bool:
    with suppress(ValueError):
        from_json(body)
        return True
    return False
