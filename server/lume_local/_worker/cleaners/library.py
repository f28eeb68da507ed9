"""The SQL that creates the cleaners: the macros of `sql/`, with the tables of `tables/` inserted; and repairs.

A repair suggests what a value was meant to be: it uses a cleaner to turn the value into another one, or nothing.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

# ruff: noqa: S608 - the parts of its SQL are constants.
from duckdb import DuckDBPyConnection

from lume_local._flow.cleaners import CLEANERS
from lume_local._shared.protocol import Repair, Repaired
from lume_local._worker.connection import confine_check, connect
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
            return _map({name: key for key, names in _table(found[1])["names"].items() for name in names})
        case "weekdays":
            days: dict[str, str] = {}  # the numbers of the days that each may mean
            for number, names in _table("weekdays")["names"].items():
                for name in names:
                    days[name] = days.get(name, "") + number
            return _map(days)
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


def _map(entries: Mapping[str, str]) -> str:
    """Return a MAP that DuckDB folds into a constant. Two strings parse much faster than thousands of literals."""
    keys, values = text("\t".join(entries)), text("\t".join(entries.values()))
    return f"MAP(string_split({keys}, '\t'), string_split({values}, '\t'))"


_REPAIRS = {
    "spaces": "clean_text(v)",
    "lower": "lower(trim(v))",
    "upper": "upper(trim(v))",
    "capital": "upper(trim(v)[1]) || lower(trim(v)[2:])",
    "country": "country_code(v)",
    "email": "parse_email(v)",
    "swapped": (
        r"CASE WHEN regexp_matches(v, '^\d{1,2}([./-])\d{1,2}[./-]\d{4}$') "
        r"THEN regexp_replace(v, '^(\d{1,2})([./-])(\d{1,2})([./-])(\d{4})$', '\3\2\1\4\5') "
        r"WHEN regexp_matches(v, '^\d{4}-\d\d-\d\d$') "
        r"THEN regexp_replace(v, '^(\d{4})-(\d\d)-(\d\d)$', '\1-\3-\2') END"
    ),
    "day_first": "CAST(CAST(parse_date_any(v, 'dmy') AS DATE) AS VARCHAR)",
    "month_first": "CAST(CAST(parse_date_any(v, 'mdy') AS DATE) AS VARCHAR)",
    "comma": "CAST(parse_money(v, ',') AS VARCHAR)",
    "point": "CAST(parse_money(v, '.') AS VARCHAR)",
    "percent": "CAST(parse_percent(v, '.') AS VARCHAR)",
    "yes_or_no": "CAST(parse_bool(v) AS VARCHAR)",
    "missing": "CASE WHEN nullif_missing(v) IS NULL THEN '' END",
}
"""The result of each repair, NULL for none; the most cautious repairs come first."""
_CLOSEST = "closest"
_FAR = 4
"""Letters of a value for each one that may be wrong."""


def repaired(job: Repair) -> Repaired:
    """Return the values after each repair that changes any; None where a value stays the same."""
    with connect() as connection:
        confine_check(connection)
        for statement in statements(CLEANERS):
            connection.execute(statement)
        connection.execute(
            "CREATE TABLE given AS SELECT unnest(range(len($1))) AS i, unnest($1::VARCHAR[]) AS v",
            [job.values],
        )
        query = "SELECT TRY({}) FROM given ORDER BY i"
        found = {
            name: [made for (made,) in connection.execute(query.format(sql)).fetchall()]
            for name, sql in _REPAIRS.items()
        }
        if job.choices:
            found = {_CLOSEST: _closest(connection, job.choices)} | found
    changed = {
        name: [one if one != value else None for one, value in zip(made, job.values, strict=True)]
        for name, made in found.items()
    }
    return Repaired({name: made for name, made in changed.items() if any(one is not None for one in made)})


def _closest(connection: DuckDBPyConnection, choices: list[str]) -> list[str | None]:
    """Return the choice closest to a value, if no other is equally close."""
    query = f"""
        SELECT c FROM given LEFT JOIN (
            SELECT i, c, d, lead(d) OVER near AS other, row_number() OVER near AS place
            FROM (
                SELECT i, c, damerau_levenshtein(lower(trim(v)), lower(c)) AS d
                FROM given, unnest($1::VARCHAR[]) AS t(c)
            )
            WINDOW near AS (PARTITION BY i ORDER BY d)
        ) AS nearest ON nearest.i = given.i AND place = 1
            AND d <= length(c) // {_FAR} AND (other IS NULL OR other > d)
        ORDER BY given.i
    """
    return [row[0] for row in connection.execute(query, [choices]).fetchall()]
