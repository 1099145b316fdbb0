"""Bytes that no Neptun sends, over a socket: each call ends with what it could read or with a truth, and the next one
is answered as if nothing had been."""

from __future__ import annotations

import gzip
import re
import traceback
import zlib
from collections.abc import AsyncGenerator

import anyio
import pytest

from neptun_mcp import Credentials, NeptunClient, NeptunError
from neptun_mcp.neptun.errors import DeletionFailed, Effect
from neptun_mcp.sandbox import COOKIE
from tests.support import PATIENCE, import_item

from .neptun import SERVER_TEXT
from .server import Exchange, chunk, http, serve, to_json

pytestmark = pytest.mark.anyio

LIST = to_json([import_item(1, SERVER_TEXT), import_item(2, COOKIE)])
EMPTY = chunk(b"")
HEALTHY = 1_000
"""The project whose imports are listed as they should be."""


def head(*lines: bytes, status: bytes = b"200 OK", version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([b"HTTP/" + version + b" " + status, *lines, b"", b""])


def whole(body: bytes = LIST, *lines: bytes, status: bytes = b"200 OK", version: bytes = b"1.1") -> bytes:
    return head(b"Content-Length: %d" % len(body), *lines, status=status, version=version) + body


def chunked(content: bytes) -> bytes:
    return head(b"Transfer-Encoding: chunked") + content


def length(value: bytes) -> bytes:
    return head(b"Content-Length: " + value) + LIST


def packed(encoding: bytes, body: bytes = LIST) -> bytes:
    return whole(body, b"Content-Encoding: " + encoding)


READ: dict[str, bytes] = {
    "a second answer behind it": whole() * 2,
    "more behind it": whole() + b"\0\0more",
    "no length": head() + LIST,
    "chunks of a byte": chunked(b"".join(chunk(LIST[i : i + 1]) for i in range(len(LIST))) + EMPTY),
    "an extension of a chunk": chunked(b"%x;a=b\r\n" % len(LIST) + LIST + b"\r\n0;c\r\n\r\n"),
    "trailers": chunked(chunk(LIST) + b"0\r\nSet-Cookie: neptun-session=x\r\nX: " + COOKIE.encode() + b"\r\n\r\n"),
    "a length and chunks": head(b"Content-Length: 3", b"Transfer-Encoding: chunked") + chunk(LIST) + EMPTY,
    "the same length twice": length(b"%d, %d" % (len(LIST), len(LIST))),
    "HTTP/1.0": whole(version=b"1.0"),
    "HTTP/1.0 that stays": whole(LIST, b"Connection: keep-alive", version=b"1.0"),
    "HTTP/1.2": whole(version=b"1.2"),
    "no reason": whole(status=b"200"),
    "line feeds alone": whole().replace(b"\r\n", b"\n"),
    "a folded header": whole(LIST, b"X: a\r\n b"),
    "a header beyond ASCII": whole(LIST, "X: \u2603".encode()),
    "an echo in a header": whole(LIST, b"X: " + COOKIE.encode()),
    "500 cookies": whole(LIST, *[b"Set-Cookie: neptun-session=x; Path=/"] * 500),
    "a cookie of backslashes": whole(LIST, b"Set-Cookie: " + b'\\"' * 5_000),
    "a cookie of control characters": whole(LIST, b"Set-Cookie: neptun-session=\x01\x02"),
    "100 first": head(status=b"100 Continue") * 20 + whole(),
    "103 first": head(b"Link: </a>", status=b"103 Early Hints") + whole(),
    "it closes": whole(LIST, b"Connection: close"),
    "it keeps alive and closes": whole(LIST, b"Connection: keep-alive, close"),
    "it would upgrade": whole(LIST, b"Connection: Upgrade", b"Upgrade: h2c"),
    "gzip without its end": packed(b"gzip", gzip.compress(LIST)[:-6]),
    "gzip and more": packed(b"gzip", gzip.compress(LIST) + b"more"),
    "gzip twice": packed(b"gzip, gzip", gzip.compress(gzip.compress(LIST))),
    "raw deflate": packed(b"deflate", zlib.compress(LIST)[2:-4]),
    "an unknown encoding": packed(b"klingon"),
    "an empty encoding": packed(b""),
    "an encoding without it": packed(b"identity"),
    "no type": whole(LIST, b"Content-Type:"),
    "another type": whole(LIST, b"Content-Type: text/html"),
    "a slow codec": whole(LIST, b"Content-Type: application/json; charset=punycode"),
    "a long charset": whole(LIST, b"Content-Type: application/json; charset=" + b"x" * 50_000),
    "an open charset": whole(LIST, b'Content-Type: application/json; charset="'),
    "a byte order mark": whole(b"\xef\xbb\xbf" + LIST),
    "ids that are text": whole(to_json([import_item("1"), import_item("2")])),
    "ids with a fraction of 0": whole(b'[{"id":1.0,"source_type":"a","source_path":"b"},' + LIST[1:]),
    "keys twice": whole(b'[{"id":7,"id":1,"source_type":"a","source_path":"b"},' + LIST[1:]),
    "half of a surrogate pair": whole(to_json([import_item(1, "\ud800"), import_item(2)])),
    "a null character": whole(to_json([import_item(1, "\0"), import_item(2)])),
    "odd dates": whole(
        to_json(
            [import_item(1, created_at="+012026-01-01T00:00:00.000Z"), import_item(2, created_at="2026-13-45T99:99Z")]
        )
    ),
}
"""Answers of which the list is read."""

ENDED, NOT_HTTP = "ended before the answer was complete", "answered is not valid HTTP"
LOST: dict[str, bytes] = {
    "nothing": b"",
    "half of a head": b"HTTP/1.1 200 O",
    "no end of a head": head()[:-2],
    "half of a body": whole()[:-5],
    "a length beyond the body": length(b"99999"),
    "a length of 20 digits": length(b"9" * 20),
    "100 and nothing": head(status=b"100 Continue"),
    "no chunk": chunked(b"zz\r\n"),
    "a chunk below zero": chunked(b"-1\r\n"),
    "a huge chunk": chunked(b"f" * 16 + b"\r\n" + LIST),
    "a chunk beyond numbers": chunked(b"f" * 5_000 + b"\r\n"),
    "no last chunk": chunked(chunk(LIST)),
    "a broken trailer": chunked(chunk(LIST) + b"0\r\nno trailer\r\n\r\n"),
    "an endless extension": chunked(b"1;" + b"a" * 200_000),
    "a body without HTTP": LIST,
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
}
BROKEN: dict[str, bytes] = {
    **{f"status {status}": whole(status=status.encode()) for status in ("099 X", "20 X", "2000 X", "-1 X", "a X", "")},
    **{f"length {value!r}": length(value) for value in (b"-5", b"+5", b"0x5", b"", b"\xd9\xa3", b"9" * 5_000, b"5, 6")},
    "two lengths": head(b"Content-Length: 5", b"Content-Length: 6") + LIST,
    "an unknown transfer": head(b"Transfer-Encoding: gzip") + LIST,
    "chunked twice": head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + chunk(LIST) + EMPTY,
    "HTTP/2": whole(version=b"2"),
    "frames of HTTP/2": b"\0\0\0\4\0\0\0\0\0\r\n\r\n",
    "RTSP": b"RTSP/1.0 200 OK\r\n\r\n",
    "mail": b"220 mail ESMTP\r\n\r\n",
    "an alert of TLS": b"\x15\x03\x01\0\2\2\x50",
    "blank lines first": b"\r\n\r\n" + whole(),
    "a blank before the colon": whole(LIST, b"X : a"),
    "no colon": whole(LIST, b"X"),
    "a null in a header": whole(LIST, b"X: a\0b"),
    "an echo as a header": whole(LIST, COOKIE.encode() + b" \0"),
    "a bracket in a name": whole(LIST, b"X(: a"),
    "a header of 300 kB": whole(LIST, b"X: " + b"a" * 300_000),
    "20,000 headers": whole(LIST, *(b"X%d: a" % i for i in range(20_000))),
}

PLACES = (
    b"http://[::1",
    b"//",
    b"\xff\xfe",
    b"http://a:99999999/",
    b"javascript:x",
    COOKIE.encode(),
    b"",
    b"/" * 70_000,
)
NO_REASONS = (b"{", b"[]", b"1", b"<html>", b"[" * 100_000)
NOT_PACKED = ((b"gzip", b"no"), (b"GZIP", LIST), (b"gzip, gzip", LIST), (b"gzip, " * 3_000 + b"gzip", LIST))
ALMOST_JSON = (
    b'["\0"]',
    b"[] []",
    b"[1,]",
    b"[]//",
    b"['a']",
    b'["\xff"]',
    LIST[:-4],
    b'[{"id":' + b"9" * 5_000 + b"}]",
)
NO_JSON = (*ALMOST_JSON, b"[" * 100_000, b'{"a":' * 5_000)
NO_LISTS = (b"null", b"true", b"1", b'"x"', b"{}", b'{"imports":null}', b'{"imports":{}}', to_json({COOKIE: 1}))
NO_IDS = (b"NaN", b"1e400", b"-1", b"1.5", b"0", b"{}", b'"' + b"7" * 5_000 + b'"')
STRANGE: dict[str, list[bytes]] = {
    "it answered with status": [
        whole(status=b"%d X" % it) for it in (201, 202, 203, 205, 206, 299, 300, 304, 305, 399)
    ],
    "it redirects elsewhere": [whole(b"", b"Location: " + place, status=b"302 X") for place in PLACES],
    "and a body that is not JSON": [
        whole(body, status=b"%d X" % status) for body in NO_REASONS for status in (400, 401, 403, 404, 409)
    ],
    "could not be decompressed": [packed(encoding, body) for encoding, body in NOT_PACKED],
    "it sent broken JSON": [length(b"5"), *map(whole, NO_JSON)],
    "it sent JSON, but not the list": [*map(whole, NO_LISTS)],
    "no item can be read": [
        *map(whole, (b"[null]", b"[[[]]]")),
        *(whole(b'[{"id":' + id + b',"source_type":"a","source_path":"b"}]') for id in NO_IDS),
    ],
    "it sent nothing": [whole(b""), whole(b"  \r\n")],
    "it sent a page of HTML": [whole(b" <html>" + SERVER_TEXT.encode())],
}
TIMES = (b"-5", b"nan", b"inf", b"1e999", b"9" * 400, b"Wed, 21 Oct 99999 07:28:00 GMT", b"\xb2", b"0x1")
NO_DATE = b"Date: Fri, 31 Feb 9999999999"
PATHS = (
    b'[{"path":[{}]}]',
    b'[{"path":{"0":1}}]',
    b'[{"path":[[]]}]',
    b'[{"path":["user_id"]}]',
    b"1",
    b"[1]",
    b'{"a":1}',
)
FAILED: dict[str, list[bytes]] = {
    "failed on its side": [
        whole(body, b"Retry-After: 0", status=b"%d X" % status)
        for body in (b"", b"{", b'{"message":1}')
        for status in (500, 599, 999)
    ],
    "too many requests (429)": [whole(b"{}", b"Retry-After: " + it, NO_DATE, status=b"429 X") for it in TIMES],
    "does not accept the value of": [whole(b'{"data":{"issues":' + it + b"}}", status=b"400 X") for it in PATHS],
}

SAID = {"": [*READ.values()], ENDED: [*LOST.values()], NOT_HTTP: [*BROKEN.values()], **STRANGE, **FAILED}
ANSWERS = [(content, says) for says, contents in SAID.items() for content in contents]


async def say_it(exchange: Exchange) -> None:
    """The answer of the project's number to the first request for it that may, and then the end of the connection."""
    method, target = exchange.request.method, exchange.request.target
    if target == "/api/auth/check":
        await exchange.send(http(204, content_length=None))
        return
    found = re.search(r"/projects/(\d+)/", target)
    number = int(found[1]) if found else HEALTHY
    is_asked = method == "DELETE" or number < HEALTHY
    if not is_asked:
        await exchange.send(http(200, LIST if found else b'[{"id":3}]'))
        return
    await exchange.send(ANSWERS[number % HEALTHY][0])
    await exchange.close()


@pytest.fixture(scope="module")
async def client(anyio_backend: str) -> AsyncGenerator[NeptunClient]:
    async with (
        serve(say_it) as server,
        NeptunClient(Credentials(COOKIE), user_id=1, base_url=server.url, timeout=PATIENCE) as client,
    ):
        yield client


def checked(error: NeptunError) -> str:
    """What it says: one line, in which, as in its traceback, is nothing that the server sent."""
    assert str(error).isprintable()
    written = "".join(traceback.format_exception(error))
    assert COOKIE not in written
    assert SERVER_TEXT not in written
    return str(error)


FIRST = {says: number for number, (_, says) in reversed([*enumerate(ANSWERS)])}
"""The number of the first answer of each kind."""


@pytest.mark.parametrize("number", range(len(ANSWERS)), ids=lambda number: f"{number} {ANSWERS[number][1]}")
async def test_what_no_neptun_sends_is_read_or_told(client: NeptunClient, number: int) -> None:
    says = ANSWERS[number][1]
    with anyio.fail_after(PATIENCE):
        if says:
            with pytest.raises(NeptunError) as caught:
                await client.list_imports(number)
            assert says in checked(caught.value)
        else:
            assert {item.id for item in (await client.list_imports(number)).items} == {1, 2}
        assert len((await client.list_imports(HEALTHY)).items) == 2


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=() if number in FIRST.values() else pytest.mark.slow, id=f"{number} {says}")
        for number, (_, says) in enumerate(ANSWERS)
    ],
)
async def test_a_deletion_that_is_so_answered_is_not_believed(client: NeptunClient, number: int) -> None:
    """The list still has the import."""
    says = ANSWERS[number][1]
    with anyio.fail_after(PATIENCE), pytest.raises(NeptunError) as caught:
        await client.delete_import(HEALTHY + number, 1)
    said = checked(caught.value)
    if not says.startswith("does not accept"):
        assert isinstance(caught.value, DeletionFailed)
        assert caught.value.effect is Effect.MAY_YET_GO
    assert says in said or "answers a deletion with" in said
