"""Whatever the settings hold: the server starts, or ends with a sentence for each fault and code 2."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from contextlib import redirect_stderr
from io import StringIO
from unittest.mock import patch

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from neptun_mcp import Settings, create_server
from neptun_mcp.commands import settings_or_exit
from neptun_mcp.sandbox import COOKIE
from neptun_mcp.serving.http import build_asgi_app
from tests.processes import Command

KEY = "0123456789abcdef" * 2
PLANTED = "hunter2-planted"
NAMES = [f"NEPTUN_{name.upper()}" for name in Settings.model_fields]

# As the environment can hold them: no null character, and bytes that are no UTF-8 as half surrogate pairs.
CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
ODD_CHARACTERS = st.sampled_from("\udc80\udcff\"'\r\n ~/:@?#%${}")
TEXTS = st.text(CHARACTERS | ODD_CHARACTERS, max_size=12)
WELL_FORMED = st.sampled_from(
    [
        *("1", "0", "true", "off", "ask", "caller", "debug", "json", "documented", "2147483648", "1e400", "nan", "-0"),
        *("https://example.com", "http://[::1]", "http://localhost:", "https://a:b@c?d#e", "mcp.example.com", "::1"),
        *("~", "~/x", "~nobody_x/y", "/", ".", "/dev/zero", "/dev/stdin", "/proc/self/mem", "${NAME}", "$NAME", "%N%"),
        *(COOKIE, f"neptun-session={COOKIE}; Path=/", KEY, f"{KEY},{KEY[::-1]}", f"{KEY}\u0661"),
    ]
)
VALUES = st.one_of(
    TEXTS,
    WELL_FORMED,
    st.builds("{}{}{}".format, TEXTS, WELL_FORMED, TEXTS),
    st.builds("{}{}{}".format, TEXTS | WELL_FORMED, st.just(PLANTED), TEXTS),
    st.builds(str.__mul__, TEXTS, st.integers(0, 3_000)),
)


@given(environment=st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_server_starts_or_says_what_to_correct(command: Command, environment: dict[str, str]) -> None:
    """The fixture puts the log back."""
    with patch.dict(os.environ, environment), redirect_stderr(StringIO()) as stderr:
        code = started()
        said = stderr.getvalue()
    assert code in (None, 2)
    assert bool(said) is (code == 2)
    assert all(line.strip() for line in said.split("\n")[:-1])
    assert "Traceback" not in said
    assert PLANTED not in said


def started() -> int | str | None:
    """The exit code; None after a start."""
    try:
        settings = settings_or_exit(Namespace())
        create_server(settings)
        build_asgi_app(settings, "127.0.0.1")
    except SystemExit as end:
        return end.code
    except ValueError as missing:  # for others to reach it over HTTP, more has to be set
        sys.stderr.write(f"{missing}\n")
        return 2
    return None
