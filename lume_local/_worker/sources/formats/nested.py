"""Lists, structs and maps as JSON. Pure.

DuckDB writes `NaN` and `Infinity` into it, which nothing can read, and a FLOAT with the digits of the nearest DOUBLE.
Here they are what they are in a column of their own: the texts `"nan"` and `"inf"`, and the digits that it has.
"""

from itertools import count
from typing import Any, Protocol

from lume_local._flow.definition import quoted
from lume_local._worker.compiler.checks import text

NESTED = ("list", "array", "struct", "map", "union", "variant")
_FLOATS = ("float", "double")


class DuckType(Protocol):
    """A type of DuckDB, as its module gives it."""

    @property
    def id(self) -> str:
        """Its name, without what is in it."""
        ...

    @property
    def children(self) -> list[tuple[str, Any]]:
        """What is in it, with names."""
        ...


def as_json(value: str, kind: DuckType) -> str:
    """SQL for the JSON of a nested value."""
    return f"to_json({_readable(value, kind, count())})"


def _readable(value: str, kind: DuckType, numbers: "count[int]") -> str:
    """SQL for the same value, with numbers that JSON can represent."""
    if not _has_floats(kind):
        return value
    if kind.id in _FLOATS:
        return f"CASE WHEN isfinite({value}) THEN {value}::VARCHAR::JSON ELSE to_json({value}::VARCHAR) END"
    item = f"_lume_i{next(numbers)}"
    if kind.id == "struct":
        fields = (
            f"{quoted(name)} := {_readable(f'struct_extract({value}, {text(name)})', child, numbers)}"
            for name, child in kind.children
        )
        return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({', '.join(fields)}) END"
    if kind.id == "map":
        inner = _readable(f"{item}.value", dict(kind.children)["value"], numbers)
        entries = f"[{{'key': {item}.key, 'value': {inner}}} for {item} in map_entries({value})]"
        return f"map_from_entries({entries})"
    return f"[{_readable(item, dict(kind.children)['child'], numbers)} for {item} in {value}]"


def _has_floats(kind: DuckType) -> bool:
    if kind.id == "map":  # its keys become texts anyway
        return _has_floats(dict(kind.children)["value"])
    if kind.id in ("list", "array", "struct"):
        # The size of an array is among its children but not a type.
        return any(_has_floats(child) for name, child in kind.children if not isinstance(child, int))
    return kind.id in _FLOATS
