"""The session cookie, as people copy it out of a browser."""

from __future__ import annotations

import re

from .models import COOKIE_NAME
from .secret_files import INVISIBLE

_COOKIE_OCTETS = r"[!#-&(-+\--:<-\[\]-~]+"  # RFC 6265, 4.1.1, less the single quote that people paste around it
# No two neighbours match the same text: a search takes linear time.
_NAMED = re.compile(rf"{COOKIE_NAME}[\"']?(?:\s*[=:]\s*|\s+)[\"']?((?:{COOKIE_NAME}=)*)({_COOKIE_OCTETS})")
_EXPORTED = re.compile(rf'\{{[^{{}}]*"name"\s*:\s*"{COOKIE_NAME}"[^{{}}]*\}}')
_VALUE = re.compile(rf'"value"\s*:\s*"({_COOKIE_OCTETS})"')
_CURLY = dict.fromkeys(map(ord, "“”„‟‘’‚‛"), '"')  # as chats and word processors make them
_BARE = re.compile(_COOKIE_OCTETS)

MAX_PASTED = 8 * 2**10
"""Characters. A session cookie has about 440, and HTTP servers take some 8,000 for all headers together."""


def how_to_get_cookie(address: str) -> str:
    """The steps to a session cookie, to follow a verb or to stand in parentheses."""
    return (
        f"log in at {address} in a browser, open the developer tools (F12), Application or Storage, Cookies, "
        f"and copy the value of {COOKIE_NAME}"
    )


def cookie_value(pasted: str, limit: int = MAX_PASTED) -> str | None:
    """The value of the session cookie, however people paste it; None if there is none.

    Understood: the bare value, `neptun-session=…` (also doubled), a whole `Cookie:` or `Set-Cookie:` line, a row of
    the browser's cookie table, a line of a cookies.txt, an entry of a JSON export; with quotes and blanks around.

    Args:
        limit: a longer text, in characters, is not looked at.
    """
    if len(pasted) > limit:
        return None
    pasted = pasted.translate(INVISIBLE).translate(_CURLY)
    if named := _NAMED.search(pasted):
        # A doubled name is the one form that a running server does not take (recorded).
        return named[2] if named[2] != f"{COOKIE_NAME}=" else None
    if exported := _EXPORTED.search(pasted):
        value = _VALUE.search(exported[0])
        return value and value[1]
    bare = pasted.strip().strip("\"'").partition(";")[0].strip()
    return bare if _BARE.fullmatch(bare) and not bare.startswith(COOKIE_NAME) else None
