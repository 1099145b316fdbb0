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
(`replacements`). What is none of these is a word, and the only error is an invalid date.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, TypeAlias

from ..neptun.errors import quoted
from ..neptun.models import LOCAL_FOLDER, Dated, Item, ProjectImport, UserFile, sortable, text_fields
from ..neptun.threads import Pace
from .folding import contained, fold
from .words import NotDone

_PLAIN = str.maketrans("“”„‟＂：－", '""""":-')
# The quote that ends a phrase ends its term, too: `"name": "x"` is one phrase.
_TERM = re.compile(
    r'(?P<without>-(?=[^-\s]))?(?:(?P<prefix>\w+):)?(?:"(?P<phrase>.*?)"(?=\s|$)|(?P<word>\S+))', re.DOTALL
)

_OPERATORS = {"OR", "AND", "NOT"}
_ELSEWHERE = re.compile(r"[<>*%]|\w+!?=|.*(\.\.|[*%]$)")  # comparisons, ranges and wildcards of other languages
_GITHUB = re.compile(r"((https?|ssh|git)://)?([^@/\s]+@)?(www\.)?github\.com(:\d+)?[/:]+", re.IGNORECASE)

_Fits: TypeAlias = Callable[[Any, Pace], bool]


@dataclass(frozen=True, eq=False)
class Query:
    """A query, parsed for the items of one model. Texts are as they are compared.

    Attributes:
        words: have to be in fields that hold text, each in any of them.
        without: must not be in any of them.
        limits: conditions, each with what it has to say of an item.
        needles: what excerpts of files show.
        duplicates: True for imports that another one replaces, False for the others, None for all.
        asks_status: whether it can be answered only if Neptun sends the status of imports.
        plain: terms that were taken as they stand, and may have been meant otherwise.
    """

    query: str
    model: type[Item]
    words: Sequence[str]
    without: Sequence[str]
    limits: Sequence[tuple[_Fits, bool]]
    needles: Sequence[str]
    duplicates: bool | None
    asks_status: bool
    plain: Sequence[str]

    def hint(self, total: int) -> str:
        """What to know of a query that found `total` items: terms of other search languages are words here.

        Where something was found, only an operator misleads, or a `-term` that leaves nothing out, as nothing has it.
        """
        misleading = [term for term in self.plain if not total or term in _OPERATORS or term[0] == "-"]
        if not misleading:
            return ""
        terms = ", ".join(quoted(term) for term in misleading[:5])
        return (
            f"Searched for as plain words: {terms}. Fields are {', '.join(self.model.model_fields)}. There is no OR, "
            "wildcard or range: field:word matches parts, -word leaves out, and before: and after: take days."
        )

    def __bool__(self) -> bool:
        return bool(self.words or self.without or self.limits)

    def fits(self, item: Dated, pace: Pace) -> bool:
        """Whether an item is wanted, apart from `duplicates`. The text of a file is looked at last."""
        if any(fits(item, pace) is not wanted for fits, wanted in self.limits):
            return False
        if not (texts := (*self.words, *self.without)):
            return True
        fields = item.__dict__
        short = "\0".join([fields[name] for name in _short_fields(type(item)) if fields[name]])
        if isinstance(item, UserFile) and item.title and item.extension:
            short = f"{item.title}.{item.extension}\0{short}"  # as people call it
        found = contained(short, texts, pace)
        missing = [text for text in texts if text not in found]
        if missing and isinstance(item, UserFile) and item.text and found.isdisjoint(self.without):
            found |= contained(item.text, missing, pace)
        return found.issuperset(self.words) and found.isdisjoint(self.without)


def _in_fields(text: str, fields: Sequence[str]) -> _Fits:
    """Whether a text is in one of some fields; the first goes alone where it has a value."""

    def is_in(name: str, value: Any, pace: Pace) -> bool:
        if isinstance(value, str) and not name.endswith("_id"):
            return text in contained(value, [text], pace)
        return value is not None and fold(str(value)) == text

    def fits(item: Any, pace: Pace) -> bool:
        values = [(name, item.__dict__[name]) for name in fields]
        return any(is_in(name, value, pace) for name, value in (values if values[0][1] is None else values[:1]))

    return fits


def _by_day(prefix: str, value: str) -> _Fits:
    """Whether an item was made before a day, or from that day on."""
    try:
        day = datetime.strptime(value, "%Y-%m-%d").date().isoformat()
    except ValueError:
        raise NotDone(
            f"{prefix}: takes a day in the form YYYY-MM-DD, which {quoted(value)} is not. "
            f'To search for these characters as a text, put them in quotes: "{prefix}:…".'
        ) from None
    before = prefix == "before"
    return lambda item, _: bool(item.created_at) and (sortable(item.created_at) < day) == before


@lru_cache(maxsize=100)  # it is parsed when the arguments are checked, and again when the list is there
def parse_query(query: str, model: type[Item]) -> Query:
    """What a query means for the items of a model.

    Raises:
        NotDone: `before:` or `after:` is followed by something that is no date.
    """
    words, excluded, needles, plain = list[str](), list[str](), list[str](), list[str]()
    limits: list[tuple[_Fits, bool]] = []
    duplicates: bool | None = None
    asks_status = False
    for term in _TERM.finditer(query.translate(_PLAIN)):
        wanted, value = not term["without"], term["word"] or term["phrase"].replace('\\"', '"')
        prefix, text = fold(term["prefix"] or ""), fold(value)
        if prefix in ("before", "after"):
            limits.append((_by_day(prefix, value), wanted))
        elif prefix == "is" and text == "duplicate" and model is ProjectImport:
            duplicates, asks_status = wanted, True
        elif prefix and (fields := _fields(prefix, model)):
            limits += [(_in_fields(text, fields), wanted)] if text.strip() else []
            needles += [text] if text.strip() and wanted and fields[0] == "text" else []
            asks_status = asks_status or "import_status" in fields
            plain += [term[0]] if _ELSEWHERE.match(value) and term["word"] else []
        else:
            other = term[0] in _OPERATORS or (_ELSEWHERE.match(value) and term["word"])
            plain += [term[0]] if other or (prefix and not value.startswith("/")) else []
            is_phrase = term["phrase"] is not None and not term["prefix"]
            texts = [text] if is_phrase else fold(term[0].removeprefix("-" * (not wanted))).split()
            (words if wanted else excluded).extend(text for text in texts if text.strip())
    shown = [*dict.fromkeys([*words, *needles])]
    return Query(query, model, words, excluded, limits, shown, duplicates, asks_status, plain)


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


def replacements(newest_first: Iterable[ProjectImport]) -> dict[int, int]:
    """The ids of the imports that a newer, completed one of the same source replaces, each with the id of that one.

    The newest completed one replaces all older ones, whatever their kind and state. One without a date neither
    replaces another nor is replaced: nobody knows which is newer.
    """
    newest: dict[tuple[str, ...], int] = {}
    replaced: dict[int, int] = {}
    for item in newest_first:
        if not item.created_at:
            continue
        source = _source(item)
        if source in newest:
            replaced[item.id] = newest[source]
        elif item.import_status == "completed":
            newest[source] = item.id
    return replaced


def _source(item: ProjectImport) -> tuple[str, ...]:
    """What was imported. A missing branch is the same as another missing one alone."""
    path = item.source_path.strip()
    if item.source_type == LOCAL_FOLDER:
        return ("folder", path.rstrip("/\\") or path, item.source_ref or "")
    branch = item.source_ref or ""
    if "github" not in item.source_type and not _GITHUB.match(path):
        return (item.source_type, path, branch)
    name = _GITHUB.sub("", path, count=1).rstrip("/").casefold().removesuffix(".git")
    return ("repository", name, branch)
