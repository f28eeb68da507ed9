"""From what an expression gives to what the target column holds, strictly: nothing is rounded or guessed. Pure.

DuckDB's own casts are generous ('12.7' is the integer 13, '1_000' and '0x1F' are numbers, a time of day is
dropped for a DATE); here a value that would change is a reject.
"""

from lume_local._flow.definition import INTEGERS, Column

_INTEGER = r"\s*[+-]?[0-9]+\s*"
_NUMBER = r"\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?\s*"
_DATE = r"\s*[0-9]{4}-[0-9]{2}-[0-9]{2}\s*"
_TIME = r"\s*[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?\s*"
_ZONE = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)?"
_TIMESTAMP = (
    r"\s*[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?" + _ZONE + r")?\s*"
)
_TRUE, _FALSE = "('true', 't', 'yes', 'y', '1')", "('false', 'f', 'no', 'n', '0')"


def cast(column: Column, given: str, value: str) -> str:
    """SQL that turns `value`, an expression of SQL type `given`, into the column's type; NULL where it can't."""
    wanted = column.sql_type
    if given in ("VARCHAR", "JSON"):
        return _from_text(wanted, value)
    if given == wanted or given == '"NULL"':
        return f"CAST({value} AS {wanted})"
    tried = f"TRY_CAST({value} AS {wanted})"
    if wanted == "VARCHAR":
        return f"CAST({value} AS VARCHAR)"
    if wanted == "DATE" and given.startswith("TIMESTAMP"):
        return _unless(f"CAST({tried} AS TIMESTAMP) = CAST({value} AS TIMESTAMP)", tried)
    if (wanted in INTEGERS and given not in INTEGERS) or wanted.startswith("DECIMAL"):
        return _unless(f"CAST({tried} AS {_wide(given)}) = {value}", tried)
    return tried


def _wide(given: str) -> str:
    return given if given.startswith("DECIMAL") or given in ("DOUBLE", "FLOAT") else "HUGEINT"


def _from_text(wanted: str, value: str) -> str:
    if wanted == "VARCHAR":
        return f"CAST({value} AS VARCHAR)"
    if wanted == "BOOLEAN":
        word = f"lower(trim({value}))"
        return f"CASE WHEN {_among(word, _TRUE)} THEN true WHEN {_among(word, _FALSE)} THEN false END"
    tried = f"TRY_CAST({value} AS {wanted})"
    shape = _shape(wanted)
    return tried if shape is None else _unless(f"regexp_full_match({value}, '{shape}')", tried)


def _shape(wanted: str) -> str | None:
    """The only texts that are taken for a value of this type, as a pattern."""
    if wanted in INTEGERS:
        return _INTEGER
    if wanted.startswith("DECIMAL"):
        scale = wanted.rstrip(")").split(",")[1]
        return rf"\s*[+-]?([0-9]+(\.[0-9]{{0,{scale}}}0*)?|\.[0-9]{{1,{max(int(scale), 1)}}}0*)\s*"
    shapes = {"FLOAT": _NUMBER, "DOUBLE": _NUMBER, "DATE": _DATE, "TIME": _TIME}
    return shapes.get(wanted, _TIMESTAMP if wanted.startswith("TIMESTAMP") else None)


def _unless(condition: str, value: str) -> str:
    return f"CASE WHEN {condition} THEN {value} END"


def _among(value: str, words: str) -> str:
    # Not IN (...): DuckDB plans that as a join, which loses the order of the rows (see _engine).
    return f"list_position([{words[1:-1]}], {value}) >= 1"
