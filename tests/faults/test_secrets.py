"""The session cookie and the password come out nowhere but at Neptun, whatever it echoes back."""

from __future__ import annotations

import io
import json
import logging
import re
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from mcp.types import CallToolResult
from pydantic import ValidationError

from neptun_mcp import Credentials, NeptunClient, Settings
from neptun_mcp.account import create_client, credentials_of
from neptun_mcp.log import JsonFormatter, configure_logging
from neptun_mcp.sandbox import COOKIE, EMAIL
from neptun_mcp.settings import problems
from neptun_mcp.tools import create_tools
from tests.support import ERAS, WEBSHOP, Agreeable, Json, content_of, settings_for

from .neptun import (
    GUARD_401,
    HTML,
    IMPORT,
    LOG_IN,
    PLACES,
    FaultyNeptun,
    Place,
    Rig,
    open_tools,
    plain_error_of,
    start_neptun,
    start_server,
)
from .server import Action, Exchange, answer, open_tunnel, serve, to_json
from .test_addresses import certificate, trusted

pytestmark = pytest.mark.anyio

PASSWORD = 'Pä"s\\s/w+o&r=d 1>é!'
"""What different writers of JSON escape in different ways."""

WINDOW = 12
"""So many characters of a secret are too many."""


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value, names included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, field in cast("dict[str, Any]", value).items():
            yield name
            yield from strings(field)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from strings(item)


def leaks(texts: Iterator[str] | list[str], secrets: list[str]) -> list[str]:
    """What of the secrets is in the texts, as it is or percent-encoded."""
    known = [form for secret in secrets for form in (secret, quote(secret, safe=""))]
    parts = {form[i : i + WINDOW] for form in known for i in range(len(form) - WINDOW + 1)}
    # All the texts as one: searching takes one pass per part.
    everything = "\n".join(texts)
    return [part for part in parts if part in everything]


def texts_of(result: CallToolResult) -> list[str]:
    dumped = result.model_dump(mode="json")
    written = [block.text for block in result.content if block.type == "text"]
    parsed = [json.loads(text) for text in written if not result.is_error]
    return [*strings(dumped), *strings(parsed)]


@pytest.fixture
def log() -> Generator[io.StringIO]:
    """All that is logged, by every library and at every level, in the form in which it goes to stderr."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, logging.getLogger("neptun_mcp").level, logging.getLogger("mcp").level
    configure_logging(settings_for("http://127.0.0.1:1", log_level="debug", email=EMAIL, password=PASSWORD))
    (handler,) = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    stream = io.StringIO()
    cast("logging.StreamHandler[io.StringIO]", handler).setStream(stream)
    root.setLevel(logging.DEBUG)
    logging.getLogger("mcp").setLevel(logging.DEBUG)
    yield stream
    root.handlers[:], root.level = before[:2]
    logging.getLogger("neptun_mcp").setLevel(before[2])
    logging.getLogger("mcp").setLevel(before[3])


@pytest.fixture
def neptun(neptun: FaultyNeptun) -> FaultyNeptun:
    """A Neptun whose Alice has a difficult password."""
    neptun.store.users[0].password = PASSWORD
    return neptun


# What is shown of objects that hold a secret


def test_no_object_shows_the_secrets_that_it_holds() -> None:
    settings = settings_for("http://127.0.0.1:1", email=EMAIL, password=PASSWORD)
    client = create_client(settings)
    shown = [
        *(
            form(thing)
            for thing in (settings, credentials_of(settings), client, client.session)
            for form in (repr, str)
        ),
        settings.model_dump_json(),
        repr(settings.model_dump()),
        repr(Credentials(cookie=COOKIE, password=PASSWORD)),
        repr(NeptunClient(Credentials(cookie=COOKIE, password=PASSWORD))),
    ]
    assert not leaks(shown, [COOKIE, PASSWORD])


@pytest.mark.parametrize(
    "wrong", [{"session_cookie": f"{COOKIE} {COOKIE}"}, {"email": None}, {"timeout": "x"}, {"unknown": COOKIE}]
)
def test_a_malformed_setting_is_reported_without_its_value(wrong: Json) -> None:
    good: Json = {"session_cookie": COOKIE, "email": EMAIL, "password": PASSWORD}
    with pytest.raises(ValidationError) as raised:
        Settings(**{name: value for name, value in {**good, **wrong}.items() if value is not None})
    shown = [str(raised.value), repr(raised.value), *problems(raised.value), *traceback.format_exception(raised.value)]
    assert not leaks(shown[:-1], [COOKIE, PASSWORD])


# The way to Neptun


@pytest.mark.parametrize(
    "url",
    [
        "http://neptun.example",
        "http://192.168.0.1:3000",
        "http://[::2]",
        "http://0.0.0.0",
        "http://127.0.0.1.neptun.example",
        "http://localhost.neptun.example",
        "http://127.0.0.1@neptun.example",
        "http://neptun.example#@localhost",
        "http://neptun.example\\@localhost",
        "http://ⓛocalhost",
        "HTTP://NEPTUN.EXAMPLE",
    ],
)
def test_plain_http_to_another_machine_is_refused(url: str) -> None:
    with pytest.raises(ValidationError) as raised:
        settings_for(url)
    (problem,) = problems(raised.value)
    reasons = ("must start with https://", "is not an address")
    assert problem.startswith(tuple(f"NEPTUN_BASE_URL: {reason}" for reason in reasons))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(neptun: FaultyNeptun, status: int) -> None:
    async with serve(answer(200, b"[]")) as elsewhere:
        for place in PLACES:
            neptun.heal()
            neptun.break_at(place, answer(status, location=f"{elsewhere.url}/api/auth/login"))
            settings = {**LOG_IN, "password": PASSWORD} if place is Place.LOGIN else {}
            async with open_tools(neptun.settings(**settings)) as tools:
                assert "redirects elsewhere" in plain_error_of(await tools.ask_for(place))
        assert elsewhere.connections == 0


async def test_a_proxy_sees_only_the_host_name(neptun: FaultyNeptun) -> None:
    async with trusted(), start_neptun(tls=certificate()) as far, serve(open_tunnel) as gate:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HTTPS_PROXY", gate.url)
            async with open_tools(far.settings(**LOG_IN)) as tools:
                content_of(await tools.list_files())
        seen = [json.dumps([request.target, dict(request.headers)]) for request in gate.requests]
    assert seen
    assert not leaks(seen, [COOKIE, *far.store.sessions, PASSWORD])
    assert all(request.method == "CONNECT" for request in gate.requests)


async def test_plain_http_on_this_machine_bypasses_every_proxy(neptun: FaultyNeptun) -> None:
    async with serve(answer(200, b"[]")) as gate:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
                patch.setenv(name, gate.url)
            async with open_tools(neptun.settings()) as tools:
                content_of(await tools.list_files())
        assert gate.connections == 0


async def test_the_cookie_is_sent_with_every_request_but_the_log_in(neptun: FaultyNeptun) -> None:
    """Recorded: sent along with a good one, the log-in is refused."""
    async with open_tools(
        neptun.settings(**{**LOG_IN, "password": PASSWORD, "session_cookie": "stale-cookie"})
    ) as tools:
        content_of(await tools.list_files())
    for request in neptun.server.requests:
        assert ("cookie" in request.headers) == (Place.of(request) is not Place.LOGIN)
        assert (PASSWORD in json.loads(request.body).values()) if request.body else True


# What Neptun echoes


def literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def escaped(text: str) -> str:
    units = text.encode("utf-16-be").hex()
    return '"' + "".join(f"\\u{units[i : i + 4].upper()}" for i in range(0, len(units), 4)) + '"'


def small(found: re.Match[str]) -> str:
    return found[0].lower()


ECHOES: dict[str, Callable[[str], str]] = {
    "as it is": literal,
    "in ASCII": json.dumps,
    "all escaped": escaped,
    "slashes escaped": lambda secret: literal(secret).replace("/", "\\/"),
    "HTML characters escaped": lambda secret: literal(secret).replace("<", "\\u003c").replace("&", "\\u0026"),
    "percent-encoded": lambda secret: literal(quote(secret, safe="")),
    "percent-encoded in small letters": lambda secret: literal(re.sub("%..", small, quote(secret, safe=""))),
    "in a header": lambda secret: literal(f"Set-Cookie: neptun-session={secret}; Path=/"),
    "where a preview ends": lambda secret: literal("x" * 480 + secret + "y" * 1000),
    "where a long field is cut": lambda secret: literal("x" * 1990 + secret + "y" * 40_000),
    "beside a lone surrogate": lambda secret: literal(secret)[:-1] + '\\ud800"',
    "twice": lambda secret: literal(secret + secret),
}
IMPORT_ITEM = '{"id": 105, "source_type": %s, "source_path": %s, "title": %s, "error_message": %s}'
SAID: dict[Place, str] = {
    Place.IMPORTS: f'{{"imports": [{IMPORT_ITEM}, %s]}}',
    Place.FILES: '[{"id": 1, "title": %s, "text": %s, "language": %s}, {"id": %s}, {%s: %s}]',
    Place.PROJECTS: '{"projects": [{"id": 1, "name": %s}, {"id": 2, "name": %s}, {"id": 3, "name": %s}]}',
    Place.DELETE: "[%s]",
}


async def everything_said(neptun: FaultyNeptun, log: io.StringIO, eras: Iterable[str] = ERAS) -> list[str]:
    """What the assistant, the person and the log get of each tool, and of one that is refused."""
    texts: list[str] = []
    person = Agreeable()
    settings = neptun.settings(**{**LOG_IN, "password": PASSWORD}, user_id=1)
    for era in eras:
        async with open_tools(settings, era=era, person=person) as tools:
            for place in (Place.IMPORTS, Place.FILES, Place.PROJECTS, Place.DELETE):
                texts += texts_of(await tools.ask_for(place))
            file = await tools.call("list_resources", project_id=WEBSHOP, resource_type="user-files", resource_id=1)
            nowhere = await tools.call("list_imports", project_id=99)
            texts += [*texts_of(file), *texts_of(nowhere)]
        async with open_tools(settings, era=era) as tools:
            texts += texts_of(await tools.ask_for(Place.PROJECTS))
    return [*texts, *strings([person.questions, *person.forms]), log.getvalue()]


def echoing(said: str, echo: Callable[[str], str], status: int) -> Action:
    """An answer that repeats cookie and password, in its body and in headers."""

    async def action(exchange: Exchange) -> None:
        cookie = exchange.request.headers["cookie"].partition("=")[2]
        body = said % tuple([echo(cookie), echo(PASSWORD), *[echo(cookie), echo(PASSWORD)] * 2][: said.count("%s")])
        headers = {
            "location": f"https://elsewhere.example/?{quote(cookie)}",
            "x_session": cookie,
            "set_cookie": f"neptun-session={cookie}; Path=/",
        }
        await answer(status, body.encode(), retry_after=0, **headers)(exchange)

    return action


@pytest.mark.parametrize(
    ("form", "status"), [*((form, 200) for form in ECHOES), ("as it is", 401), ("as it is", 404), ("as it is", 500)]
)
async def test_an_echoed_secret_is_redacted(neptun: FaultyNeptun, log: io.StringIO, form: str, status: int) -> None:
    for place, said in SAID.items():
        neptun.break_at(place, echoing(said, ECHOES[form], status))
    eras = ERAS if form == "as it is" and status == 200 else ["2026-07-28"]  # the others are the same in each
    *shown, logged = await everything_said(neptun, log, eras)
    assert not leaks([*shown, logged], [PASSWORD, *neptun.store.sessions])
    assert "[secret]" in logged
    assert any("[secret]" in text for text in shown) == (status == 200)


@pytest.mark.parametrize("charset", ["iso-8859-1", "utf-16"])
async def test_an_echoed_secret_in_another_charset_is_redacted(
    neptun: FaultyNeptun, log: io.StringIO, charset: str
) -> None:
    said = SAID[Place.FILES] % tuple([literal(PASSWORD)] * 6)
    neptun.break_at(Place.FILES, answer(200, said.encode(charset), content_type=f"text/json; charset={charset}"))
    assert not leaks(await everything_said(neptun, log), [PASSWORD, *neptun.store.sessions])


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_a_traceback_in_the_log_shows_no_secret(log: io.StringIO, log_format: str) -> None:
    if log_format == "json":
        logging.getLogger().handlers[0].setFormatter(JsonFormatter([COOKIE, PASSWORD]))
    try:
        raise RuntimeError(f"planted: Cookie: neptun-session={COOKIE}, and {PASSWORD}, and Fe26.2**{COOKIE[-99:]}")
    except RuntimeError:
        for name in ("neptun_mcp", "mcp.server", "httpx2", "anything"):
            logging.getLogger(name).exception("failed with %r", {"cookie": COOKIE})
    assert "planted" in log.getvalue()
    assert not leaks([log.getvalue()], [COOKIE, PASSWORD])


@pytest.mark.parametrize("log_format", ["text", pytest.param("json", marks=pytest.mark.slow)])
async def test_a_process_shows_no_secret_on_stdout_or_stderr(
    neptun: FaultyNeptun, tmp_path: Path, log_format: str
) -> None:
    for place in (Place.IMPORTS, Place.FILES):
        neptun.break_at(place, GUARD_401)
    settings = {"email": EMAIL, "password": PASSWORD, "log_level": "debug", "log_format": log_format}
    async with start_server(neptun, tmp_path / "stderr", **settings) as server:
        await server.initialize()
        await server.call_files()
        await server.message()
        title = server.title()
        await server.hang_up()
        assert await server.exit_code() == 0
    assert "/api/users/{user_id}/" in server.stderr()
    shown = [line.decode() for line in server.lines]
    assert not leaks([*shown, title, server.stderr()], [COOKIE, PASSWORD, *neptun.store.sessions])


# Whatever is asked, and whatever Neptun answers


def wrapped(items: Any) -> Any:
    return {"imports": items, "projects": items, "user": {"id": 1}}


def built_answer(status: int, body: bytes, header: str | None) -> Action:
    return answer(status, body, retry_after=0, location=header, set_cookie=header)


PLANTED = st.sampled_from([COOKIE, PASSWORD, quote(COOKIE), f"neptun-session={COOKIE}", HTML.decode()])
TEXTS = st.text(max_size=30) | PLANTED | st.builds("{}{}".format, st.text(max_size=5), PLANTED)
IDS = st.integers(0, 3) | st.integers(-(2**70), 2**70) | st.just(IMPORT)
SCALARS = st.none() | st.booleans() | IDS | st.floats() | TEXTS
NAMES = st.sampled_from(["id", "title", "name", "text", "source_type", "source_path", "created_at", "user", "imports"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | TEXTS, inner, max_size=6),
    max_leaves=20,
)
ITEM = st.fixed_dictionaries({"id": IDS, "source_type": TEXTS, "source_path": TEXTS, "name": TEXTS})
ITEMS: st.SearchStrategy[Any] = st.lists(ITEM, max_size=4)
JSON_VALUES: st.SearchStrategy[Any] = st.one_of(ITEMS, VALUES, st.builds(wrapped, st.one_of(ITEMS, VALUES)))
ANSWERS = st.builds(
    built_answer,
    st.sampled_from([200, 200, 200, 200, 202, 204, 302, 400, 401, 403, 404, 418, 429, 500]),
    st.one_of(st.builds(to_json, JSON_VALUES), st.binary(max_size=50), st.just(HTML)),
    st.sampled_from([None, f"neptun-session={COOKIE}"]),
)
ARGUMENTS = st.dictionaries(
    st.sampled_from(
        ["project_id", "import_id", "resource_id", "source_type", "query", "limit", "offset", "text_offset", "other"]
    ),
    st.none() | st.booleans() | IDS | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    max_size=5,
)


@given(
    tool=st.sampled_from([tool.name for tool in create_tools()]),
    arguments=ARGUMENTS,
    answers=st.fixed_dictionaries({place: ANSWERS for place in PLACES} | {Place.CHECK: ANSWERS}),
    asked=st.booleans(),
)
@examples(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_call_is_answered_and_shows_no_secret(
    rigs: dict[str, Rig], log: io.StringIO, tool: str, arguments: Json, answers: dict[Place, Any], asked: bool
) -> None:
    neptun = rigs["observed"].neptun
    neptun.heal()
    for place, action in answers.items():
        neptun.break_at(place, action)
    if tool == "list_resources":
        arguments = {"resource_type": "user-files", **arguments}
    person = Agreeable()
    log.truncate(0)
    settings = neptun.settings(email=EMAIL, password=PASSWORD)
    async with open_tools(settings, person=person if asked else None) as tools:
        result = await tools.call(tool, **arguments)
    assert "not foreseen" not in "".join(texts_of(result))
    assert not leaks(
        [*texts_of(result), *strings([person.questions, *person.forms]), log.getvalue()], [COOKIE, PASSWORD]
    )
