"""How long a call may take, however many requests it makes."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from time import monotonic

import anyio


class TimeLimit:
    """The seconds of one call. Only those inside `spend` count: a person who reads a question takes none of them."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.spent = 0.0

    @contextmanager
    def spend(self, share: float = 1.0) -> Generator[None]:
        """Let the block take what is left, or a share of it.

        Raises:
            TimeoutError: the block took longer, and was cancelled.
        """
        allowed = max(0.0, self.seconds - self.spent) * share
        started = monotonic()
        try:
            with anyio.fail_after(allowed):
                yield
        finally:
            self.spent += min(allowed, monotonic() - started)
