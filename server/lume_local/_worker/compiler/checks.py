"""The checks of a row, as SQL predicates that are true if the row breaks them. Pure.

As with SQL's own CHECK, a check that evaluates to NULL is not broken; `required` is the check against NULL.
"""

import json
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from lume_async._base.words import counted, listed
from lume_local._flow.definition import BOUNDS, Column, Rule, quoted
from lume_local._worker.compiler.casts import storage_type
from lume_local._worker.sql import text

_FORMATS = {
    "email": ("is not an email address", r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+"),
    "uuid": ("is not a UUID", r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    "uri": ("is not a URI", r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]+"),
    "ipv4": (
        "is not an IPv4 address",
        r"((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])",
    ),
}
_OPPOSITE = {"minimum": "<", "maximum": ">", "exclusiveMinimum": "<=", "exclusiveMaximum": ">="}
_LIMIT_WORDS = {
    "minimum": "is below",
    "maximum": "is above",
    "exclusiveMinimum": "is not above",
    "exclusiveMaximum": "is not below",
}


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
    if isinstance(value, str):
        return f"CAST({text(value)} AS {sql_type})"
    return f"CAST({text(repr(value))} AS {sql_type})"


def column_checks(column: Column, index: int, problem: str = "") -> Iterator[RowCheck]:
    """Yield the checks of a column, using the target's columns and their flags `_lume_bad<n>`, `_lume_threw<n>`.

    `problem` describes a value that the column's cleaner can't read.
    """
    name, label = quoted(column.name), column.name
    bad = f"_lume_bad{index}"
    if problem:
        yield RowCheck(f"_lume_threw{index}", f"{label}: {problem}")
        bad = f"{bad} AND NOT _lume_threw{index}"
    yield RowCheck(bad, f"{label}: is not a valid {_type_words(column)}")
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
    yield from _limits(column, name)


def _limits(column: Column, name: str) -> Iterator[RowCheck]:
    for key in BOUNDS:
        if key in column.bounds:
            bound = column.bounds[key]
            words = f"{column.name}: {_LIMIT_WORDS[key]} {bound}"
            # Numbers are not cast to the column's type, where a limit of 0.5 for an INTEGER would become 1.
            sql = literal(bound, column.sql_type) if isinstance(bound, str) else f"({json.dumps(bound)})"
            yield RowCheck(f"{name} {_OPPOSITE[key]} {sql}", words)
    if "minLength" in column.lengths:
        least = column.lengths["minLength"]
        yield RowCheck(
            f"length({name}) < {least}", f"{column.name}: is shorter than {counted(least, 'character')}"
        )
    if "maxLength" in column.lengths:
        most = column.lengths["maxLength"]
        yield RowCheck(
            f"length({name}) > {most}", f"{column.name}: is longer than {counted(most, 'character')}"
        )


def _type_words(column: Column) -> str:
    if column.format:
        return column.format
    plain = {"integer": "BIGINT", "number": "DOUBLE", "string": "VARCHAR", "boolean": "BOOLEAN"}[column.type]
    return column.type if column.sql_type == plain else column.sql_type


def rule_check(rule: Rule, index: int) -> RowCheck:
    """Convert a rule to a check that is broken if the rule is false or can't be evaluated."""
    value = f"_lume_rule{index}"
    return RowCheck(
        f"({value} IS NULL OR NOT coalesce(struct_extract({value}, 'v'), true))",
        f"{rule.name}: {rule.message or 'is broken'}",
        rule.on_fail,
    )
