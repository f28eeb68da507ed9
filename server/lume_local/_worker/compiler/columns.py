"""Converts the result of an expression to the target column's type, and checks it there: all as SQL. Pure.

The conversion is strict, without rounding or guessing. DuckDB's own casts are generous ('12.7' is the integer 13,
'1_000' and '0x1F' are numbers, a time of day is dropped for a DATE); here a value that would change is a reject.
`DOUBLE` and `FLOAT` hold the nearest value that they can, never infinity.

A check is a predicate that is true if a row breaks it. As with SQL's own CHECK, a check that evaluates to NULL is not
broken; `required` is the check against NULL.
"""

import json
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from lume_async._base.words import counted, listed
from lume_local._flow.definition import BOUNDS, INTEGERS, Column, Rule, quoted
from lume_local._worker.sql import text

_INTEGER = r"\s*[+-]?[0-9]+\s*"
_NUMBER = r"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*"
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6}0*)?)?"
"""Up to microseconds, the precision of the types."""
_ZONE = r"(Z|[+-]([01][0-9]|2[0-3])(:?[0-5][0-9])?)?"
_SHAPES = {
    "FLOAT": _NUMBER,
    "DOUBLE": _NUMBER,
    "DATE": rf"\s*{_DAY}\s*",
    "TIME": rf"\s*{_CLOCK}\s*",
    "TIMESTAMP": rf"\s*{_DAY}([T ]{_CLOCK})?\s*",
    "TIMESTAMPTZ": rf"\s*{_DAY}([T ]{_CLOCK}{_ZONE})?\s*",
}
_TRUE, _FALSE = "('true', 't', 'yes', 'y', '1')", "('false', 'f', 'no', 'n', '0')"
_WITHIN = {
    "FLOAT": "isfinite({value})",
    "DOUBLE": "isfinite({value})",
    "TIME": "{value} < TIME '24:00:00'",
    "DATE": "{value} BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'",
    "TIMESTAMP": "{value} BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999'",
    "TIMESTAMPTZ": "{value} BETWEEN TIMESTAMPTZ '0001-01-01 00:00:00+00' "
    "AND TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'",
}
"""The range that ISO 8601, JSON and all readers of the targets accept for the type."""
_WITHOUT_DATE = "DATE '1900-01-01'"
"""The date that `strptime` adds to a time of day."""


def storage_type(sql_type: str) -> str:
    """Return the engine's type for a column: Parquet has no HUGEINT and would store it as a DOUBLE."""
    return "DECIMAL(38,0)" if sql_type == "HUGEINT" else sql_type


def cast(column: Column, given: str, value: str, made: str) -> tuple[str, str]:
    """Return SQL that converts `value`, an expression of SQL type `given`, to the column's type in two steps.

    The first converts as DuckDB does. The second is the result, or NULL if the first changed the value; it refers to
    the first step as the column `made`, so that nothing is converted twice.
    """
    wanted = column.sql_type
    first, kept = _cast(wanted, "TIMESTAMPTZ" if given == "TIMESTAMP WITH TIME ZONE" else given, value, made)
    if within := _WITHIN.get(wanted):
        kept = _unless(within.format(value=made), kept)
    return first, kept


def _cast(wanted: str, given: str, value: str, made: str) -> tuple[str, str]:
    tried = f"TRY_CAST({value} AS {storage_type(wanted)})"
    if given in ("VARCHAR", "JSON"):
        return _from_text(wanted, value, tried, made)
    if given == '"NULL"' or wanted == "VARCHAR":
        return f"CAST({value} AS {storage_type(wanted)})", made
    if given == storage_type(wanted):
        return value, made
    if wanted == "TIME" and given.startswith("TIMESTAMP"):
        exact = _comes_back(f"TRY_CAST({value} AS TIMESTAMP)", given, value)
        return tried, _unless(f"TRY_CAST({value} AS DATE) = {_WITHOUT_DATE} AND {exact}", made)
    if wanted in ("BOOLEAN", "DATE", "TIME", "TIMESTAMP", "TIMESTAMPTZ"):
        return tried, _unless(_comes_back(made, given, value), made)
    if (wanted in INTEGERS and given not in INTEGERS) or wanted.startswith("DECIMAL"):
        wide = given if given.startswith("DECIMAL") or given in ("DOUBLE", "FLOAT") else "HUGEINT"
        return tried, _unless(_comes_back(made, wide, value), made)
    return tried, made


def _comes_back(made: str, given: str, value: str) -> str:
    return f"TRY_CAST({made} AS {given}) = {value}"


def _from_text(wanted: str, value: str, tried: str, made: str) -> tuple[str, str]:
    if wanted == "VARCHAR":
        return f"CAST({value} AS VARCHAR)", made
    if wanted == "BOOLEAN":
        word = f"lower(trim({value}))"
        return f"CASE WHEN {_among(word, _TRUE)} THEN true WHEN {_among(word, _FALSE)} THEN false END", made
    if wanted in ("TIME", "TIMESTAMP", "TIMESTAMPTZ"):  # the other types accept spaces around the value
        tried = f"TRY_CAST(trim({value}, e' \\t\\n\\r\\f') AS {wanted})"
    shape = _shape(wanted)
    if shape is None:
        return tried, made
    has_shape = f"WHEN regexp_full_match({value}, '{shape}') THEN {made}"
    if wanted in ("FLOAT", "DOUBLE", "TIMESTAMPTZ"):  # writing these costs more than matching the pattern
        return tried, f"CASE {has_shape} END"
    # Nearly all values are spelled as DuckDB spells them, which proves the shape at a third of the pattern's cost.
    plain = f"replace({value}, 'T', ' ')" if wanted == "TIMESTAMP" else value
    return tried, f"CASE WHEN {made}::VARCHAR = {plain} THEN {made} {has_shape} END"


def _shape(wanted: str) -> str | None:
    """Return the pattern of the only strings accepted as a value of this type."""
    if wanted in INTEGERS:
        return _INTEGER
    if wanted.startswith("DECIMAL"):
        scale = int(wanted.rstrip(")").split(",")[1])
        fraction = rf"[0-9]{{1,{scale}}}0*" if scale else "0+"
        return rf"\s*[+-]?([0-9]+(\.({fraction})?)?|\.{fraction})\s*"
    return _SHAPES.get(wanted)


def _unless(condition: str, value: str) -> str:
    return f"CASE WHEN {condition} THEN {value} END"


def _among(value: str, words: str) -> str:
    # Not IN (...): DuckDB plans that as a join, which loses the order of the rows (see `connection`).
    return f"list_position([{words[1:-1]}], {value}) >= 1"


_FORMATS = {
    "email": ("is not an email address", r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+"),
    "uuid": ("is not a UUID", r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    "uri": ("is not a URI", r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]+"),
    "ipv4": (
        "is not an IPv4 address",
        r"((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])",
    ),
}
_PLAIN = {"integer": "BIGINT", "number": "DOUBLE", "string": "VARCHAR", "boolean": "BOOLEAN"}
_BROKEN = {
    "minimum": ("<", "is below"),
    "maximum": (">", "is above"),
    "exclusiveMinimum": ("<=", "is not above"),
    "exclusiveMaximum": (">=", "is not below"),
}
"""The comparison that shows that a limit is broken, and its words."""


@frozen
class RowCheck:
    """A predicate that is true if a row breaks it, its reason, and the consequence."""

    sql: str
    reason: str
    on_fail: str = "reject"


def literal(value: Any, sql_type: str) -> str:
    """Return a value of a flow file as an SQL literal of a column's type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"CAST({text(value if isinstance(value, str) else repr(value))} AS {sql_type})"


def column_checks(column: Column, index: int, problem: str = "") -> Iterator[RowCheck]:
    """Yield the checks of a column, using the target's columns and their flags `_lume_bad<n>`, `_lume_threw<n>`.

    `problem` describes a value that the column's cleaner can't read.
    """
    name, label = quoted(column.name), column.name
    bad = f"_lume_bad{index}"
    if problem:
        yield RowCheck(f"_lume_threw{index}", f"{label}: {problem}")
        bad = f"{bad} AND NOT _lume_threw{index}"
    kind = column.format or (column.type if column.sql_type == _PLAIN[column.type] else column.sql_type)
    yield RowCheck(bad, f"{label}: is not a valid {kind}")
    if column.required:
        # An invalid value already has its own reason.
        yield RowCheck(f"{name} IS NULL AND NOT _lume_bad{index}", f"{label}: is required")
    if column.enum:
        values = ", ".join(literal(value, storage_type(column.sql_type)) for value in column.enum)
        yield RowCheck(
            f"{name} IS NOT NULL AND coalesce(list_position([{values}], {name}), 0) = 0",
            f"{label}: is not one of {listed(column.enum, 8, str)}",
        )
    if column.format in _FORMATS and column.sql_type == "VARCHAR":
        words, shape = _FORMATS[column.format]
        yield RowCheck(f"NOT regexp_full_match({name}, {text(shape)})", f"{label}: {words}")
    if column.pattern:
        yield RowCheck(
            f"NOT regexp_matches({name}, {text(column.pattern)})", f"{label}: doesn't match {column.pattern}"
        )
    for key in BOUNDS:
        if key in column.bounds:
            bound, (sign, words) = column.bounds[key], _BROKEN[key]
            # Numbers are not cast to the column's type, where a limit of 0.5 for an INTEGER would become 1.
            sql = literal(bound, column.sql_type) if isinstance(bound, str) else f"({json.dumps(bound)})"
            yield RowCheck(f"{name} {sign} {sql}", f"{label}: {words} {bound}")
    for key, sign, words in (("minLength", "<", "shorter"), ("maxLength", ">", "longer")):
        if key in column.lengths:
            length = column.lengths[key]
            reason = f"{label}: is {words} than {counted(length, 'character')}"
            yield RowCheck(f"length({name}) {sign} {length}", reason)


def rule_check(rule: Rule, index: int) -> RowCheck:
    """Convert a rule to a check that is broken if the rule is false or can't be evaluated."""
    value = f"_lume_rule{index}"
    return RowCheck(
        f"({value} IS NULL OR NOT coalesce(struct_extract({value}, 'v'), true))",
        f"{rule.name}: {rule.message or 'is broken'}",
        rule.on_fail,
    )
