"""The layouts of a version together: their checks, and that each file can only have one of them. Pure."""

from collections.abc import Iterable
from itertools import combinations
from typing import Any, NamedTuple

from attrs import frozen

from lume_async._base.words import listed
from lume_local._flow.fields import FlowError
from lume_local._flow.source_settings import OBJECTS
from lume_local._flow.table_bounds import folded
from lume_local._worker.sources.files import apart_from_encoding, is_utf8_name
from lume_local._worker.sources.formats.names import spellings
from lume_local._worker.sql import text

Checks = list[dict[str, Any]]


def checks_of_all(of_layouts: dict[str, Checks]) -> Checks:
    """Return the checks for the rows of all layouts, in order; one that only some layouts have asks for their rows.

    The reason of a value that a cleaner can't read differs between layouts, and so does whether rows are filtered.
    """
    lists: dict[tuple[tuple[tuple[str, Any], ...], ...], list[str]] = {}
    for name, checks in of_layouts.items():
        lists.setdefault(tuple(tuple(check.items()) for check in checks), []).append(name)
    merged = list[tuple[tuple[str, Any], ...]]()
    having: dict[tuple[tuple[str, Any], ...], list[str]] = {}
    for each, names in lists.items():
        at = 0
        for check in each:
            if check in having:
                at = merged.index(check) + 1
            else:
                merged.insert(at, check)
                at += 1
            having.setdefault(check, []).extend(names)
    return [_of_some(dict(check), having[check], len(of_layouts)) for check in merged]


def _of_some(check: dict[str, Any], names: list[str], layouts: int) -> dict[str, Any]:
    if len(names) == layouts:
        return check
    # No IN: see `columns`.
    is_theirs = f"list_contains([{', '.join(map(text, names))}], _lume_layout)"
    return check | {"sql": f"({is_theirs} AND ({check['sql']}))"}


def check_ties(layouts: dict[str, dict[str, Any]]) -> None:
    """Refuse layouts that fit each other's files, which nothing in a file could tell apart. Raises `FlowError`."""
    rivals = [_Rival.of(name, form) for name, form in layouts.items() if not form["match"]]
    for one in rivals if len(layouts) > 1 else ():
        if not one.names:
            raise FlowError(
                f"layouts.{one.name}",
                'reads no column, so that every file fits it: write match = "…", a pattern of the paths of its files',
            )
    for one, other in combinations(rivals, 2):
        if one.fits_files_of(other) and not one.differs_in_utf8(other):
            what = "objects with" if one.form["format"] in OBJECTS else "the header"
            names = [spellings(one.form, name)[0] for name in one.form["sources"]]
            raise FlowError(
                f"layouts.{other.name}",
                f"fits the same files as layout {one.name!r}: both read {what} {listed(names, 10)}. "
                'Write match = "…", a pattern of the paths of its files, in one of them, or let one read a column '
                "that only its own files have",
            )


class _Name(NamedTuple):
    """A name that a file must have, in one of these spellings; only some are compared loosely, as `folded` does."""

    spelled: frozenset[str]
    is_loose: bool

    def found_in(self, headers: Iterable[str]) -> set[str]:
        """Return the names of a header that are meant."""
        lower, folds = {one.lower() for one in self.spelled}, set(map(folded, self.spelled))
        return {one for one in headers if one.lower() in lower or (self.is_loose and folded(one) in folds)}


@frozen
class _Rival:
    """A layout that is recognised by the names in a file, which are by their folded spellings in `by_fold`."""

    name: str
    form: dict[str, Any]
    names: tuple[_Name, ...]
    by_fold: dict[str, list[int]]

    @classmethod
    def of(cls, name: str, form: dict[str, Any]) -> "_Rival":
        header = form["header"]
        has_names = (form["fixed"] or {}).get("names")  # those in its header mean nothing then
        names = [
            _Name(frozenset(spellings(form, one)), one.lower() in form["aliases"])
            for one in (() if has_names else form["sources"])
        ]
        wanted = (one for one in header["contains"] if not any(each.found_in([one]) for each in names))
        names += [_Name(frozenset([one]), is_loose=True) for one in [*wanted]]
        by_fold: dict[str, list[int]] = {}
        for n, each in enumerate(names):
            for fold in set(map(folded, each.spelled)):
                by_fold.setdefault(fold, []).append(n)
        return cls(name, form, tuple(names), by_fold)

    def fits_files_of(self, other: "_Rival") -> bool:
        """Return whether a file with just the names of one has just those of the other, in the same place."""
        if len(self.names) != len(other.names) or not self._reads_like(other):
            return False
        owners: dict[int, int] = {}

        def finds(n: int, asked: set[int]) -> bool:
            for m in self._alike(n, other):
                if m not in asked:
                    asked.add(m)
                    if m not in owners or finds(owners[m], asked):
                        owners[m] = n
                        return True
            return False

        return all(finds(n, set()) for n in range(len(self.names)))

    def _alike(self, n: int, other: "_Rival") -> list[int]:
        """Return the other's names for which a column can be one that this one's `n`-th name means as well."""
        mine = self.names[n]
        near = {m for one in mine.spelled for m in other.by_fold.get(folded(one), ())}
        encodings = self.form["encoding"], other.form["encoding"]
        return [
            m
            for m in sorted(near)
            for both in [mine.spelled | other.names[m].spelled]
            if any(_is_same(one, *encodings) for one in mine.found_in(both) & other.names[m].found_in(both))
        ]

    def _reads_like(self, other: "_Rival") -> bool:
        """Return whether both look for names in the same place of the same kind of file."""
        one, two = self.form, other.form
        if one["format"] in OBJECTS:  # an object in a line is NDJSON and JSON
            is_xml = one["format"] == "xml", two["format"] == "xml"
            return two["format"] in OBJECTS and is_xml[0] == is_xml[1] and one["records"] == two["records"]
        headers = [(form["header"]["row"], form["header"]["lines"]) for form in (one, two)]
        if one["format"] != two["format"] or headers[0][1] != headers[1][1]:
            return False
        rows, sheets = [row for row, _ in headers], [form["excel"]["sheet"] for form in (one, two)]
        if (all(rows) and rows[0] != rows[1]) or (all(sheets) and sheets[0] != sheets[1]):
            return False
        spans = [(form["fixed"] or {}).get("spans") for form in (one, two)]
        return (
            one["csv"]["delim"] == two["csv"]["delim"]
            and spans[0] == spans[1]
            and one["excel"]["range"] == two["excel"]["range"]
        )

    def differs_in_utf8(self, other: "_Rival") -> bool:
        """Return whether only the encoding differs, and the whole file tells which it has."""
        is_utf8 = [is_utf8_name(one.form["encoding"]) for one in (self, other)]
        return is_utf8[0] != is_utf8[1] and apart_from_encoding(self.form) == apart_from_encoding(other.form)


def _is_same(name: str, encoding: str, other: str) -> bool:
    """Return whether a name is written alike in both encodings; if not, its file is read in only one of them."""
    try:
        return encoding == other or name.encode(encoding) == name.encode(other)
    except UnicodeError:
        return False
