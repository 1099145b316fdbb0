"""What peers send to the pages and endpoints, read so that nothing they name selects code.

Starlette would decode a form by any codec that its sender names, and reads cookies by `http.cookies`, which takes
quadratic time in some versions of Python.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote_plus, urlencode

from starlette.datastructures import Headers
from starlette.requests import Request

FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 50


class Unreadable(Exception):
    """A request that cannot be read.

    Attributes:
        status: the HTTP status of the answer.
        words: what is wrong, a sentence without quotes.
    """

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


def check_type(headers: Headers, needed: str) -> None:
    """Raises Unreadable unless the body is of a media type. Its parameters, such as a charset, are not looked at."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != needed:
        raise Unreadable(415, f"The Content-Type of this request has to be {needed}.")


async def read_fields(request: Request) -> dict[str, str]:
    """The fields of a form: of the address for GET and HEAD, else of the body. An empty one counts as absent (RFC 6749,
    3.1).

    Raises:
        Unreadable: it is no form in UTF-8, or a field is there twice.
    """
    if request.method in ("GET", "HEAD"):
        text = request.scope["query_string"]
    else:
        check_type(request.headers, FORM)
        text = await request.body()
    try:
        pairs = parse_qsl(text.decode(), errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Unreadable(400, f"The form has to be UTF-8 text, with {MAX_FIELDS} fields at most.") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise Unreadable(400, "A field of the form is there more than once. Send each field once.")
    return fields


def with_fields(request: Request, fields: Mapping[str, str]) -> Request:
    """The request with other fields, and no header of the peer's: the SDK's handlers read them by Starlette."""
    form = urlencode(fields).encode()
    if request.method in ("GET", "HEAD"):
        return Request({**request.scope, "method": "GET", "query_string": form, "headers": []})

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": form, "more_body": False}

    return Request({**request.scope, "headers": [(b"content-type", FORM.encode())]}, receive)


def read_cookie(headers: Headers, name: str) -> str:
    """The value of a cookie; empty if there is none."""
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                return value
    return ""


def read_basic(headers: Headers) -> tuple[str, str] | None:
    """The id and the secret of an application in the header `Authorization` (RFC 6749, 2.3.1); None without it.

    Raises:
        Unreadable: the header cannot be read.
    """
    given = headers.getlist("authorization")
    if not given:
        return None
    scheme, _, encoded = given[0].strip().partition(" ")
    try:
        if len(given) > 1 or scheme.lower() != "basic":
            raise ValueError
        client_id, colon, secret = b64decode(encoded.strip(), validate=True).decode().partition(":")
        if not colon:
            raise ValueError
        return unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except (ValueError, binascii.Error):
        raise Unreadable(401, "The header Authorization has to hold the id and the secret by Basic, once.") from None
