"""Forms, cookies and credentials as they are sent to the sign-in, read so that no sender chooses the decoder.

Starlette would decode a form by any codec that its sender names, and reads cookies by `http.cookies`, which takes
quadratic time in some versions of Python.
"""

from __future__ import annotations

from base64 import b64decode
from urllib.parse import parse_qsl, unquote_plus

from starlette.datastructures import Headers
from starlette.requests import Request

from .refusals import Refused

MAX_FIELDS = 64
"""Fields of a form, or of the query of an address."""


def check_type(headers: Headers, needed: str) -> None:
    """Raises Refused unless the body is of a media type. Its parameters, such as a charset, are not looked at."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != needed:
        raise Refused(f"The Content-Type of this request has to be {needed}.", 415)


async def read_fields(request: Request) -> dict[str, str]:
    """The fields of a form: of the address for GET and HEAD, else of the body. An empty one counts as absent (RFC 6749,
    3.1).

    Raises:
        Refused: it is no form in UTF-8, or a field is there twice.
    """
    if request.method in ("GET", "HEAD"):
        text = request.scope["query_string"]
    else:
        check_type(request.headers, "application/x-www-form-urlencoded")
        text = await request.body()
    try:
        pairs = parse_qsl(text.decode(), errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Refused(f"The form has to be UTF-8 text, with {MAX_FIELDS} fields at most.") from None
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise Refused("A field of the form is there more than once. Send each field once.")
    return fields


async def read_application_fields(request: Request) -> dict[str, str]:
    """The same, with the application's id and secret also if they are in the header alone (RFC 6749, 2.3.1).

    Raises:
        Refused: form or header cannot be read, or contradict each other.
    """
    fields = await read_fields(request)
    given = request.headers.getlist("authorization")
    if not given:
        return fields
    try:
        scheme, encoded = ", ".join(given).split()  # several headers make no sense (RFC 9110, 5.2)
        client_id, secret = b64decode(encoded, validate=True).decode().split(":", 1)
        for name, value in (("client_id", client_id), ("client_secret", secret)):
            value = unquote_plus(value, errors="strict")
            if scheme.lower() != "basic" or fields.setdefault(name, value) != value:
                raise ValueError
    except ValueError:
        words = "The header Authorization has to hold the id and the secret by Basic, once, and the same as the form."
        raise Refused(words, 401, "invalid_client") from None
    return fields


def read_cookie(headers: Headers, name: str) -> str:
    """The value of a cookie; empty if there is none."""
    for header in headers.getlist("cookie"):
        for pair in header.split(";"):
            key, _, value = pair.strip().partition("=")
            if key == name:
                return value
    return ""
