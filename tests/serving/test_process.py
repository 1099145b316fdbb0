"""What is set for the whole process, and rests on a part of a library that is not public."""

from __future__ import annotations

import pytest
from httpcore2 import AsyncHTTP11Connection

from neptun_mcp.serving import process

FOUND = getattr(AsyncHTTP11Connection, "READ_NUM_BYTES", None)


def test_httpcore_still_reads_as_much_at_a_time_as_its_constant_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AsyncHTTP11Connection, "READ_NUM_BYTES", FOUND)  # set back at the end
    process.read_long_bodies()
    assert AsyncHTTP11Connection.READ_NUM_BYTES == process.READ_BYTES  # pyright: ignore[reportAttributeAccessIssue]
    functions = [value for value in vars(AsyncHTTP11Connection).values() if hasattr(value, "__code__")]
    uses = [function.__name__ for function in functions if "READ_NUM_BYTES" in function.__code__.co_names]
    assert uses, "the library has moved: measure whether it still reads long bodies in small pieces"
