"""Maps the types of a flow to columns of SQLite. Pure.

SQLite stores values as they are, except for a column's affinity, which turns anything that looks like a number into
one. So a string such as 007 needs a text column, and so does a number with more digits than a double has.
"""

from string import ascii_lowercase, ascii_uppercase

from lume_local._flow.definition import INTEGERS, quoted

_TOO_LARGE = ("UBIGINT", "HUGEINT")
_EXACT_DIGITS = 15
"""The digits of a double, in which a numeric column stores a fraction."""
_TEXTS = ("VARCHAR", "UUID", "JSON", "JSONB")
_TIMES = ("DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ")


def affinity(declared: str) -> str:
    """Return INTEGER, TEXT, NUMERIC, REAL, or BLOB (stored as is), by SQLite's own rules."""
    name = declared.upper()
    if "INT" in name:
        return "INTEGER"
    if "CHAR" in name or "CLOB" in name or "TEXT" in name:
        return "TEXT"
    if not name or "BLOB" in name or name == "ANY":
        return "BLOB"
    if "REAL" in name or "FLOA" in name or "DOUB" in name:
        return "REAL"
    return "NUMERIC"


def _digits(sql_type: str) -> int:
    return int(sql_type.removeprefix("DECIMAL(").partition(",")[0])


class SqliteTypes:
    """See `Types`."""

    def spelled(self, table: str) -> str:
        """Return the quoted name; there are no schemas, so a dot is part of the name."""
        return quoted(table)

    def best(self, sql_type: str) -> str:
        """Return the usual name of the type."""
        if sql_type in _TOO_LARGE or sql_type in (*_TEXTS, *_TIMES):
            return "TEXT"
        if sql_type.startswith("DECIMAL"):
            return "TEXT" if _digits(sql_type) > _EXACT_DIGITS else "NUMERIC"
        return "INTEGER" if sql_type in INTEGERS or sql_type == "BOOLEAN" else "REAL"

    def fits(self, given: str, sql_type: str) -> bool:
        """Return whether the column's affinity keeps values unchanged."""
        kind = affinity(given)
        if kind == "BLOB" or (kind == "TEXT" and sql_type in (*_TEXTS, *_TIMES, *_TOO_LARGE)):
            return True
        if sql_type.startswith("DECIMAL"):
            return kind == "TEXT" or (kind != "INTEGER" and _digits(sql_type) <= _EXACT_DIGITS)
        if sql_type in _TIMES:
            return kind == "NUMERIC"
        if sql_type in (*_TEXTS, *_TOO_LARGE):
            return False
        if sql_type in INTEGERS or sql_type == "BOOLEAN":
            return kind in ("INTEGER", "NUMERIC")
        return kind in ("REAL", "NUMERIC")


def item(sql_type: str, column: str) -> str:
    """Return SQL of DuckDB for the value that SQLite gets: a number, a Boolean as 1 or 0, or a string."""
    if sql_type in _TOO_LARGE or sql_type.startswith("DECIMAL") or sql_type in (*_TEXTS, *_TIMES):
        return f"CAST({column} AS VARCHAR)"
    return f"CAST({column} AS TINYINT)" if sql_type == "BOOLEAN" else column


def as_compared(sql_type: str, column: str, collation: str) -> str:
    """Return SQL of DuckDB that is equal for values which a collation of SQLite considers equal."""
    if sql_type != "VARCHAR":
        return column
    if collation == "NOCASE":
        return f"translate({column}, '{ascii_uppercase}', '{ascii_lowercase}')"
    return f"rtrim({column}, ' ')" if collation == "RTRIM" else column
