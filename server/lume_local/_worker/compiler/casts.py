"""Converts the result of an expression to the target column's type, strictly: no rounding or guessing. Pure.

DuckDB's own casts are generous ('12.7' is the integer 13, '1_000' and '0x1F' are numbers, a time of day is dropped
for a DATE); here a value that would change is a reject. `DOUBLE` and `FLOAT` hold the nearest value that they can,
never infinity.
"""

from lume_local._flow.definition import INTEGERS, Column

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
        return tried, _unless(_comes_back(made, _wide(given), value), made)
    return tried, made


def _comes_back(made: str, given: str, value: str) -> str:
    return f"TRY_CAST({made} AS {given}) = {value}"


def _wide(given: str) -> str:
    return given if given.startswith("DECIMAL") or given in ("DOUBLE", "FLOAT") else "HUGEINT"


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
    # Not IN (...): DuckDB plans that as a join, which loses the order of the rows (see `engine`).
    return f"list_position([{words[1:-1]}], {value}) >= 1"
