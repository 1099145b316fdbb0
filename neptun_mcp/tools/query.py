"""The search language of the lists, in the form that people know from GitHub.

    query                        | finds                                        | but not
    shop NGINX                   | source_path=/srv/shop/nginx                  | source_path=/srv/shop
    "old shop"                   | source_path=C:\\old shop                      | source_path=/shop/old
    “old shop”                   | source_path=C:\\old shop                      | source_path=/shop/old
    "" shop                      | source_path=/srv/shop                        | source_path=/srv
    shop -nginx                  | source_path=/srv/shop                        | source_path=/srv/shop/nginx
    -"old shop"                  | source_path=/shop/old                        | source_path=/srv/old shop
    import_status:failed         | import_status=failed                         | title=failed
    status:fail                  | import_status=failed                         | import_status=completed
    Status:FAILED path:shop      | import_status=failed, source_path=/shop      | import_status=failed
    -status:completed            | import_status=pending                        | import_status=completed
    ref：main －ok                  | source_ref=main                              | source_ref=main, title=ok
    ref:develop                  | source_ref=develop                           | title=develop
    title:"old shop"             | title=The old shop                           | title=old, source_path=shop
    created:2026-09              | created_at=2026-09-02T10:15:00.000Z          | created_at=2026-10-02T10:15:00.000Z
    id:10                        | id=10                                        | id=101
    user_id:1                    | neptun_user_id=1                             | neptun_user_id=12
    before:2026-09-02            | created_at=2026-09-01T23:59:59.999Z          | created_at=2026-09-02T00:00:00.000Z
    after:2026-09-02             | created_at=2026-09-02T00:00:00.000Z          | created_at=2026-09-01T23:59:59.999Z
    after:2026-09-02             | created_at=2026-09-01T23:30:00-01:00         | created_at=2026-09-02T00:30:00+01:00
    before:2999-01-01            | created_at=2026-09-01T23:59:59.999Z          | title=without a date
    -after:2026-09-02            | created_at=2026-09-01T10:15:00.000Z          | created_at=2026-09-02T10:15:00.000Z
    https://github.com           | source_path=https://github.com/a/b           | source_path=github.com
    a:b                          | title=a:b                                    | title=a b
    "say \\"hi\\""                 | title=say "hi"                               | title=say hi
    "name": "x"                  | title={"name": "x"}                          | title=name x
    "unclosed phrase             | title=an "unclosed                 phrase    | title=unclosed phrase
    --force                      | title=push --force                           | title=force
    status:                      | title=status: ok                             | import_status=failed

A field goes by its name or the last part of it, without `_at` too. Values match parts, ids and booleans whole. Days are
in UTC: `before` up to the day before, `after` from that day on. `is:duplicate` finds imports that another replaces
(`duplicates`). What is none of these is a word, and the only error is an invalid date.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, lru_cache
from typing import Any

from ..neptun.errors import quoted
from ..neptun.models import RESOURCE_MODELS, Dated, Item, ProjectImport, UserFile, sortable, text_fields
from ..neptun.threads import Pace
from .folding import contained, fold
from .words import NotDone

_PLAIN = str.maketrans("“”„‟＂：－", '""""":-')
# The quote that ends a phrase ends its term, too: `"name": "x"` is one phrase.
_TERM = re.compile(
    r'(?P<without>-(?=[^-\s]))?(?:(?P<prefix>\w+):)?(?:"(?P<phrase>.*?)"(?=\s|$)|(?P<word>\S+))', re.DOTALL
)

_OPERATORS = {"OR", "AND", "NOT"}
_NAMES = {"branch", "repo", "repository", "folder", "file", "kind", "state", "date", "project"}  # of what fields hold
_RANGE = re.compile(r"[<>]|.*\.\.")
_ELSEWHERE = re.compile(r"\w+!?=|[*%]|.*[*%]$")  # how other languages compare, and leave something open


@dataclass(frozen=True)
class _Anywhere:
    """A text, as it is compared, that has to be in a field that holds text, or must not be in any."""

    text: str
    without: bool


@dataclass(frozen=True)
class _InFields:
    """A text, as it is compared, that has to be in one of some fields; the first goes alone where it has a value."""

    text: str
    fields: tuple[str, ...]
    without: bool

    def fits(self, item: Dated, pace: Pace) -> bool:
        values = [(name, item.__dict__[name]) for name in self.fields]
        return any(self._is_in(name, value, pace) for name, value in (values if values[0][1] is None else values[:1]))

    def _is_in(self, name: str, value: Any, pace: Pace) -> bool:
        if isinstance(value, str) and not name.endswith("_id"):
            return self.text in contained(value, [self.text], pace)
        return value is not None and fold(str(value)) == self.text


@dataclass(frozen=True)
class _Day:
    """A day which an item has to be made before, or from which on."""

    day: str
    before: bool
    without: bool

    def fits(self, item: Dated, pace: Pace) -> bool:
        return bool(item.created_at) and (sortable(item.created_at) < self.day) == self.before


@dataclass(frozen=True)
class Query:
    """A query, parsed for the items of one model.

    Attributes:
        duplicates: whether only imports that another one replaces, or only others, are wanted; None: all.
        plain: terms that were taken as they stand, and may have been meant otherwise.
        fields: what there is to search by name.
        needles: what is to be found in the texts of files, as it is compared.
    """

    anywhere: tuple[_Anywhere, ...] = ()
    limits: tuple[_InFields | _Day, ...] = ()
    duplicates: bool | None = None
    plain: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def asks_status(self) -> bool:
        """Whether it can be answered only if Neptun sends the status of imports."""
        by_name = any(isinstance(term, _InFields) and "import_status" in term.fields for term in self.limits)
        return by_name or self.duplicates is not None

    def hint(self, total: int) -> str:
        """What to know of a query that has found so many: terms of other search languages are words here."""
        if not self.plain or (total and not any(map(_was_meant_otherwise, self.plain))):
            return ""
        terms = ", ".join(quoted(term) for term in self.plain[:5])
        return (
            f"Searched for as plain words: {terms}. Fields are {', '.join(self.fields)}. There is no OR, wildcard or "
            "range: field:word matches parts, -word leaves out, and before: and after: take days."
        )

    @property
    def needles(self) -> tuple[str, ...]:
        of_texts = [term for term in self.limits if isinstance(term, _InFields) and term.fields[0] == "text"]
        return tuple(dict.fromkeys(term.text for term in (*self.anywhere, *of_texts) if not term.without))

    def __bool__(self) -> bool:
        return bool(self.anywhere or self.limits)

    def fits(self, item: Dated, pace: Pace) -> bool:
        """Whether an item is wanted, apart from `duplicates`."""
        if any(term.fits(item, pace) is term.without for term in self.limits):
            return False
        return not self.anywhere or self._fits_anywhere(item, pace)

    def _fits_anywhere(self, item: Dated, pace: Pace) -> bool:
        """Whether the words that may be in any field are there, or not. The text of a file is looked at last."""
        fields = item.__dict__
        short = "\0".join([fields[name] for name in _short_fields(type(item)) if fields[name]])
        if isinstance(item, UserFile) and item.title and item.extension:
            short = f"{item.title}.{item.extension}\0{short}"  # as people call it
        known = contained(short, [word.text for word in self.anywhere], pace)
        missing = [word for word in self.anywhere if word.text not in known]
        if any(word.without for word in self.anywhere if word not in missing):
            return False
        text = item.text if isinstance(item, UserFile) and missing else None
        if not text:
            return all(word.without for word in missing)
        found = contained(text, [word.text for word in missing], pace)
        return all((word.text in found) is not word.without for word in missing)


def _was_meant_otherwise(term: str) -> bool:
    """Whether a term means something else than its words even if these are found.

    It is an operator, leaves out what nothing has, or names a field of another list, or what people call a field.
    """
    prefix = fold(term.partition(":")[0])
    models = (ProjectImport, *RESOURCE_MODELS.values())
    return term in _OPERATORS or term[0] == "-" or prefix in _NAMES or any(_fields(prefix, model) for model in models)


@lru_cache(maxsize=100)  # it is parsed when the arguments are checked, and again when the list is there
def parse_query(query: str, model: type[Item]) -> Query:
    """What a query means for the items of a model.

    Raises:
        NotDone: `before:` or `after:` is followed by something that is no date.
    """
    anywhere: list[_Anywhere] = []
    limits: list[_InFields | _Day] = []
    duplicates: bool | None = None
    plain: list[str] = []
    for term in _TERM.finditer(query.translate(_PLAIN)):
        without, value = bool(term["without"]), term["word"] or term["phrase"].replace('\\"', '"')
        prefix = fold(term["prefix"] or "")
        if prefix in ("before", "after"):
            limits.append(_Day(_date(prefix, value), prefix == "before", without))
        elif prefix == "is" and fold(value) == "duplicate" and model is ProjectImport:
            duplicates = not without
        elif prefix and (fields := _fields(prefix, model)):
            limits += [_InFields(fold(value), fields, without)] if fold(value).strip() else []
            plain += [term[0]] if _RANGE.match(value) else []
        else:
            other = term[0] in _OPERATORS or (_ELSEWHERE.match(value) and term["word"])
            plain += [term[0]] if other or (prefix and not value.startswith("/")) else []
            is_phrase = term["phrase"] is not None and not term["prefix"]
            texts = [fold(value)] if is_phrase else fold(term[0].removeprefix("-" * without)).split()
            anywhere += [_Anywhere(text, without) for text in texts if text.strip()]
    return Query(tuple(anywhere), tuple(limits), duplicates, tuple(plain), tuple(model.model_fields) if plain else ())


def search(items: Sequence[Any], query: Query, pace: Pace) -> Sequence[Any]:
    """The items that a query finds, in their order."""
    if not query:
        return items
    found: list[Any] = []
    for item in items:
        pace.step(1)
        if query.fits(item, pace):
            found.append(item)
    return found


def _date(prefix: str, value: str) -> str:
    day = fold(value)
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", day, re.ASCII):
            return date.fromisoformat(day).isoformat()
    except ValueError:
        pass
    raise NotDone(
        f"{prefix}: takes a day in the form YYYY-MM-DD, which {quoted(value)} is not. "
        f'To search for these characters as a text, put them in quotes: "{prefix}:…".'
    )


@lru_cache(maxsize=1_000)  # anything can be a prefix
def _fields(prefix: str, model: type[Item]) -> tuple[str, ...]:
    """The fields that a prefix stands for. The one of that very name comes first."""
    names = [*model.model_fields]
    if prefix == "id":
        return ("id",)
    ends = [name for name in names if name.endswith((f"_{prefix}", f"_{prefix}_at")) or name == f"{prefix}_at"]
    starts = [name for name in names if prefix in names and name.startswith(f"{prefix}_")]
    return tuple(name for name in dict.fromkeys([prefix, *ends, *starts]) if name in names)


@cache
def _short_fields(model: type[Item]) -> list[str]:
    return [name for name in text_fields(model) if name != "text"]
