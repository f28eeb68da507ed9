"""The SQL that creates the cleaners: the macros of `sql/`, with the tables of `tables/` inserted."""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from lume_local._worker.sql import text

_FOLDER = files("lume_local._worker.cleaners")
_CURRENCY_WORDS = "kr", "zł", "kč", "ft", "fr", "rs", "rp", "rm", "lei", "dkk", "lv", "din"
"""Words beside an amount that are neither symbols nor three-letter codes."""


def statements(names: Iterable[str]) -> list[str]:
    """Return the statements that create these cleaners in a connection, in order."""
    wanted = sorted(names)
    return [each for name in ("shared", *wanted) for each in _statements_of(name)] if wanted else []


@cache
def regions() -> frozenset[str]:
    return frozenset(_table("phones")["plans"])


@cache
def _statements_of(name: str) -> tuple[str, ...]:
    """Return the statements of one file, without comments."""
    sql = (_FOLDER / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    bare = re.sub(r"^\s*--.*\n", "", sql, flags=re.MULTILINE)
    filled = re.sub(r"\{(\w+)\}", _part, bare)
    return tuple(each.strip() for each in re.split(r";\n", filled) if each.strip())


def _part(found: re.Match[str]) -> str:
    """Return the replacement for a name in braces; braces of a regular expression stay."""
    match found[1]:
        case "countries" | "months":
            return _map(_named(found[1]))
        case "weekdays":
            return _map(_weekdays())
        case "currency":
            codes, words = "|".join(_table("currencies")["codes"]), "|".join(_CURRENCY_WORDS)
            return rf"[A-Z]{{0,3}}\p{{Sc}}|{codes}|(?i:{words})\.?"
        case "phone":
            return str(_table("phones")["pattern"])
        case "plans":
            return _map(_table("phones")["plans"])
    return found[0]


def _table(name: str) -> dict[str, Any]:
    table: dict[str, Any] = json.loads((_FOLDER / "tables" / f"{name}.json").read_text(encoding="utf-8"))
    return table


def _named(table: str) -> dict[str, str]:
    """Convert a table of key -> names to name -> key."""
    names: dict[str, list[str]] = _table(table)["names"]
    return {name: key for key, all_of_it in names.items() for name in all_of_it}


def _weekdays() -> dict[str, str]:
    """Return name -> the numbers of the days that it may mean."""
    names: dict[str, str] = {}
    for number, all_of_it in _table("weekdays")["names"].items():
        for name in all_of_it:
            names[name] = names.get(name, "") + number
    return names


def _map(entries: Mapping[str, str]) -> str:
    """Return a MAP that DuckDB folds into a constant. Two strings parse much faster than thousands of literals."""
    keys, values = text("\t".join(entries)), text("\t".join(entries.values()))
    return f"MAP(string_split({keys}, '\t'), string_split({values}, '\t'))"
