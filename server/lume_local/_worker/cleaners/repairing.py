"""Suggests what values were meant to be: each repair uses a cleaner to turn a value into another one, or nothing."""

# ruff: noqa: S608 - the parts of its SQL are constants.
from duckdb import DuckDBPyConnection

from lume_local._flow.cleaners import CLEANERS
from lume_local._shared.protocol import Repair, Repaired
from lume_local._worker.cleaners.library import statements
from lume_local._worker.connection import confine_check, connect

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
        found = {name: _made(connection, f"TRY({sql})") for name, sql in _REPAIRS.items()}
        if job.choices:
            found = {_CLOSEST: _closest(connection, job.choices)} | found
    changed = {
        name: [one if one != value else None for one, value in zip(made, job.values, strict=True)]
        for name, made in found.items()
    }
    return Repaired({name: made for name, made in changed.items() if any(one is not None for one in made)})


def _made(connection: DuckDBPyConnection, sql: str) -> list[str | None]:
    return [row[0] for row in connection.execute(f"SELECT {sql} FROM given ORDER BY i").fetchall()]


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
