"""Maps the types of a flow to columns of PostgreSQL. Pure."""

import re

from lume_local._flow.definition import quoted

_DIGITS = {
    "TINYINT": 3,
    "UTINYINT": 3,
    "SMALLINT": 5,
    "USMALLINT": 5,
    "INTEGER": 10,
    "UINTEGER": 10,
    "BIGINT": 19,
    "UBIGINT": 20,
    "HUGEINT": 38,
}
_INTEGERS = ("smallint", "integer", "bigint")
_LEAST = {
    "TINYINT": "smallint",
    "UTINYINT": "smallint",
    "SMALLINT": "smallint",
    "USMALLINT": "integer",
    "INTEGER": "integer",
    "UINTEGER": "bigint",
    "BIGINT": "bigint",
}
"""The smallest integer type that holds all values; other types need a numeric."""
_SAME = {
    "FLOAT": ("real", "double precision"),
    "DOUBLE": ("double precision",),
    "BOOLEAN": ("boolean",),
    "VARCHAR": ("text", "character varying", "citext"),
    "JSON": ("json", "jsonb", "text", "character varying"),
    "JSONB": ("jsonb", "json", "text", "character varying"),
    "UUID": ("uuid", "text", "character varying"),
    "DATE": ("date",),
    "TIME": ("time without time zone",),
    "TIMESTAMP": ("timestamp without time zone",),
    "TIMESTAMPTZ": ("timestamp with time zone",),
}


_JSON = ("json", "jsonb")
_LIMITED = re.compile(r"character varying\((\d+)\)")


def base_of(kind: str) -> str:
    """Return a type without its length or precision."""
    base = re.sub(r"\(.*?\)", "", kind)
    return f"bpchar{base.removeprefix('character')}" if base in ("character", "character[]") else base


def array_of(text: str, kind: str) -> str:
    """Return SQL that converts a string to an array of type `kind`, from PostgreSQL's form ({1,2}) or JSON."""
    each = f"jsonb_array_elements_text({text}::jsonb) WITH ORDINALITY AS i (item, n)"
    items = f"ARRAY(SELECT item FROM {each} ORDER BY n)"  # noqa: S608 - `text` is a quoted name
    is_json = f"{text} ~ '^\\s*\\[' AND {text} !~ '^\\s*\\[-?\\d+:'"  # excludes array bounds: [2:3]={{1,2}}
    return f"CASE WHEN {is_json} THEN {items}::{kind} ELSE {text}::{kind} END"


def whole_text(column: str, kind: str) -> str:
    """Return SQL of DuckDB for a string that the type `kind` keeps unchanged or refuses.

    PostgreSQL would silently cut trailing spaces off a string that is too long, so a point is added to it.
    """
    if not (length := _LIMITED.fullmatch(kind)):
        return column
    return f"CASE WHEN length({column}) > {length[1]} AND {column} LIKE '% ' THEN {column} || '.' ELSE {column} END"


class PostgresTypes:
    """See `Types`. Types are spelled as by `format_type`."""

    def spelled(self, table: str) -> str:
        """Return the quoted name, with or without a schema."""
        return ".".join(map(quoted, table.split(".")))

    def best(self, sql_type: str) -> str:
        """Return the type under PostgreSQL's own name."""
        if sql_type in _LEAST:
            return _LEAST[sql_type]
        return _SAME[sql_type][0] if sql_type in _SAME else _numeric(sql_type)

    def fits(self, given: str, sql_type: str) -> bool:
        """Return whether it fits; a text of limited length does, as the load refuses longer values."""
        if given == "numeric":
            return sql_type not in _SAME
        if given.startswith("numeric("):
            return sql_type not in _SAME and _holds(given, _numeric(sql_type))
        if given in _INTEGERS:
            return sql_type in _LEAST and _INTEGERS.index(given) >= _INTEGERS.index(_LEAST[sql_type])
        if (given in _JSON and sql_type not in ("JSON", "JSONB")) or given.endswith("[]"):
            return sql_type == "VARCHAR"
        plain = "character varying" if given.startswith("character varying(") else given
        return plain in _SAME.get(sql_type, ())


def _numeric(sql_type: str) -> str:
    return (
        f"numeric({_DIGITS[sql_type]},0)" if sql_type in _DIGITS else sql_type.replace("DECIMAL", "numeric")
    )


def _holds(given: str, wanted: str) -> bool:
    """Return whether one numeric has room for all digits of another, before and after the point."""
    (digits, scale), (least, fraction) = _size(given), _size(wanted)
    return scale >= fraction and digits - scale >= least - fraction


def _size(numeric: str) -> tuple[int, int]:
    digits, _, scale = numeric.removeprefix("numeric(").rstrip(")").partition(",")
    return int(digits), int(scale or 0)
