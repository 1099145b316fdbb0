"""Requests' bodies: read whole before anything looks at them, bounded in size and time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

import anyio
from starlette.datastructures import Headers
from starlette.types import Message, Receive

from ..sign_in.refusals import Refused
from .turns import Disconnected

BODY_SECONDS = 10.0
"""How long a body may take to arrive."""


class Bodies:
    """Reads bodies, some at a time: of too many, the oldest of whoever sends most makes room.

    Args:
        longest: bytes of one.
        most: how many may be half read.
    """

    def __init__(self, longest: int, most: int) -> None:
        self._longest = longest
        self._most = most
        self._arriving = dict[anyio.CancelScope, Hashable]()  # and who sends them, the oldest first

    async def read(self, peer: Hashable, headers: Headers, receive: Receive) -> bytes:
        """The body of a request.

        Raises:
            Refused: it is too long, or does not arrive in time.
            Disconnected: the peer is gone.
        """
        announced = headers.get("content-length", "")
        too_long = announced.isdecimal() and (len(announced) > 9 or int(announced) > self._longest)
        body, more = bytearray(), True
        with anyio.move_on_after(BODY_SECONDS) as wait:
            self._arriving[wait] = peer
            try:
                self._make_room()
                while more and not too_long:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Disconnected
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    too_long = len(body) > self._longest
            finally:
                del self._arriving[wait]
            if too_long:
                raise Refused(f"The request is longer than {self._longest} bytes. Send less.", 413)
            return bytes(body)
        words = "The request did not arrive completely in time. Send it again."
        raise Refused(words, 408, headers={"Connection": "close"})

    def _make_room(self) -> None:
        if len(self._arriving) > self._most:
            [(busiest, _)] = Counter(self._arriving.values()).most_common(1)
            next(wait for wait, peer in self._arriving.items() if peer == busiest).cancel()


def replay(body: bytes, receive: Receive) -> Receive:
    """`receive` as it was before a body was read from it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
