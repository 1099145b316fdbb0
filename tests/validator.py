"""How Neptun checks what it is sent: JavaScript's numbers, and issues in the words of its validator (Zod)."""

import math
import re
from collections.abc import Sequence
from typing import Any

from neptun_mcp.sandbox.contracts import INVALID_PARAMETERS, Denial, TurnedDown
from neptun_mcp.sandbox.state import Record

MARKUP = re.compile(r"<(?!/?b>)")
DECIMAL = re.compile(r"[+-]?(Infinity|([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?)")
RADIX = re.compile(r"0([xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)")


HOLDS_MARKUP = Denial((400, "Bad request"), (400, "Bad Request", "Bad Request"))
INVALID_LOGIN = Denial((400, "Invalid parameters"), (400, "Bad Request", None))


class Explained(TurnedDown):
    """A request that Neptun turns down, with what it adds to explain it."""

    def __init__(self, denial: Denial, data: Record) -> None:
        super().__init__(denial)
        self.data = data


def refuse_markup(text: str) -> None:
    """Recorded: `<script>` and an unclosed `<a` are refused, `<b>` is not."""
    if MARKUP.search(text):
        raise TurnedDown(HOLDS_MARKUP)


def positive_integers(**words: str) -> list[int]:
    """The ids in a path, given by the names of their parameters."""
    numbers = {name: javascript_number(word) for name, word in words.items()}
    if issues := [issue for name, number in numbers.items() for issue in id_issues(name, number)]:
        raise Explained(INVALID_PARAMETERS, zod_error(issues))
    return [int(number) for number in numbers.values()]


def javascript_number(word: str) -> float:
    """`Number(word)`. Recorded: `1e0`, `0x1`, `01` and `+1` are 1, `1e400` is infinite, `null` is not a number."""
    if RADIX.fullmatch(word):
        return int(word, 0)
    return float(word) if DECIMAL.fullmatch(word) else math.nan


def id_issues(name: str, number: float) -> list[Record]:
    if math.isnan(number):
        return [type_issue("number", "nan", name)]
    issues: list[Record] = []
    if number % 1 != 0:
        issues.append(type_issue("integer", "float", name))
    if number <= 0:
        issues.append(size_issue(0, "number", name, "Number must be greater than 0"))
    return issues


def zod_error(issues: list[Record]) -> Record:
    """What is wrong with a request, as the validator tells it."""
    return {"issues": issues, "name": "ZodError"}


def type_issue(expected: str, received: str, name: str) -> Record:
    message = f"Expected {expected}, received {received}"
    return {
        "code": "invalid_type",
        "expected": expected,
        "received": received,
        "path": [name],
        "message": message,
    }


def size_issue(minimum: int, kind: str, name: str, message: str) -> Record:
    return {
        "code": "too_small",
        "minimum": minimum,
        "type": kind,
        "inclusive": minimum > 0,
        "exact": False,
        "message": message,
        "path": [name],
    }


def enum_issue(name: str, received: str, options: Sequence[str]) -> Record:
    expected = " | ".join(f"'{option}'" for option in options)
    return {
        "received": received,
        "code": "invalid_enum_value",
        "options": list(options),
        "path": [name],
        "message": f"Invalid enum value. Expected {expected}, received '{received}'",
    }


def check_filter(name: str, value: str, options: Sequence[str]) -> None:
    """Recorded: a filter is one of its words or null; any other value, also an empty one, fails both."""
    if value in options:
        return
    alternatives = [enum_issue(name, value, options), type_issue("null", "string", name)]
    union = [zod_error([issue]) for issue in alternatives]
    issue = {"code": "invalid_union", "unionErrors": union, "path": [name], "message": "Invalid input"}
    raise Explained(INVALID_PARAMETERS, zod_error([issue]))


PASSWORD_RULES = (
    ("special character", re.compile(r"[^A-Za-z0-9]")),
    ("uppercase letter", re.compile(r"[A-Z]")),
    ("number", re.compile(r"[0-9]")),
)


def credentials(form: Any) -> tuple[str, str]:
    """E-mail and password of a login's body (None: there was none).

    Recorded: no body, and a password that breaks the site's rules, are a 400, whether it is right or wrong.
    """
    match form:
        case {"email": str(email), "password": str(password)}:
            if issues := password_issues(password):
                raise Explained(INVALID_LOGIN, zod_error(issues))
            return email, password
        case {**fields}:
            missing = [name for name in ("email", "password") if not isinstance(fields.get(name), str)]
            raise Explained(INVALID_LOGIN, zod_error([missing_issue("string", name) for name in missing]))
        case _:
            raise Explained(INVALID_LOGIN, zod_error([missing_issue("object")]))


def missing_issue(expected: str, *path: str) -> Record:
    return {
        "code": "invalid_type",
        "expected": expected,
        "received": "undefined",
        "path": list(path),
        "message": "Required",
    }


def password_issues(password: str) -> list[Record]:
    issues: list[Record] = []
    if len(password) < 8:
        issues.append(size_issue(8, "string", "password", "Password must have 8 characters"))
    for thing, rule in PASSWORD_RULES:
        if not rule.search(password):
            message = f"Password must contain at least one {thing}"
            issues.append({"code": "custom", "message": message, "path": ["password"]})
    return issues
