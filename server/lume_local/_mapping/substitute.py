"""Makes edits of rejected rows a rule of the next version: old values of a source column become new ones. Pure."""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from lume_local._flow.definition import Column, read_definition
from lume_local._flow.fields import FlowError
from lume_local._mapping.rewrite import is_alias, literal, reads_source, wrapped

_TEXT = r"'(?:[^']|'')*'"
_PAIR = re.compile(rf"WHEN ({_TEXT}) THEN ({_TEXT}|NULL) ")
_RULE = re.compile(rf'\(CASE ("(?:[^"]|"")+"|\w+) ((?:{_PAIR.pattern})+)ELSE \1 END\)')
"""A rule as this module writes it: one of an earlier version is extended, not nested."""


def with_rule(
    definition: dict[str, Any], version: str, source: str, changes: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return the next version, in which values of a source column are replaced wherever it is read.

    Raises:
        FlowError: no column reads it.
    """
    flow, found = read_definition(definition), dict[str, Any](deepcopy(definition), version=version)
    layouts = [(found["layouts"][one.name].get("columns", {}), one.columns) for one in flow.layouts]
    changed = 0
    for entries, columns in ((found["columns"], flow.columns), *layouts):
        for column in columns:
            if column.name not in entries or not reads_source(column, source):
                continue
            entry, sql = entries[column.name], _replaced(column, source, changes)
            entries[column.name] = sql if isinstance(entry, str) else entry | {"sql": sql}
            changed += 1
    if not changed:
        raise FlowError("columns", f"no column of {flow.ref} reads {source!r}")
    return found


def _replaced(column: Column, source: str, changes: Mapping[str, str | None]) -> str:
    """Return the expression of a column over the replaced values."""
    names = {source.lower()} | ({"value", column.name.lower()} if is_alias(column, source) else set())
    known = dict[str, str]()

    def unwrapped(rule: re.Match[str]) -> str:
        if rule[1].strip('"').replace('""', '"').lower() not in names:
            return rule[0]
        known.update(_PAIR.findall(rule[2]))
        return rule[1]

    sql = _RULE.sub(unwrapped, column.sql)
    known |= {literal(old): "NULL" if new is None else literal(new) for old, new in changes.items()}
    pairs = "".join(f"WHEN {old} THEN {new} " for old, new in known.items())
    return wrapped(sql, names, lambda name: f"(CASE {name} {pairs}ELSE {name} END)")
