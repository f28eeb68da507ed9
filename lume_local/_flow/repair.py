"""A flow definition with one mistake taken out, so that a check can find the next one. Pure."""

import re
from copy import deepcopy
from typing import Any

from lume_local._flow.fields import FlowError

_RULE = re.compile(r"rules\[(\d+)\]")
_PLACEHOLDERS = {"flow": "flow", "version": "v1"}


def without(definition: Any, error: FlowError) -> Any | None:
    """The definition less what is wrong at the error's place; None where that can't be taken out.

    What other parts may refer to stays: a column keeps its name and type, and gets NULL for its value.
    """
    repaired = deepcopy(definition)
    if not isinstance(repaired, dict):
        return None
    if (rule := _RULE.match(error.place)) and isinstance(repaired.get("rules"), list):
        return _with_a_rule(repaired, int(rule[1]))
    if error.place in _PLACEHOLDERS:
        repaired[error.place] = _PLACEHOLDERS[error.place]
        return repaired if repaired != definition else None
    table, key = _found(repaired, error.place)
    if table is None:
        return None
    if key == "sql" and error.place.startswith("columns."):
        table[key] = "NULL"
    else:
        del table[key]
    return repaired if repaired != definition else None


def _with_a_rule(definition: dict[str, Any], number: int) -> dict[str, Any] | None:
    """With a rule that says nothing in place of this one: the numbers of the others stay."""
    rules, harmless = definition["rules"], {"name": f"rule {number}", "sql": "TRUE"}
    if number >= len(rules) or rules[number] == harmless:
        return None
    rules[number] = harmless
    return definition


def _found(table: dict[str, Any], place: str) -> tuple[dict[str, Any] | None, str]:
    """The table that holds the last part of the place, and that part. Names of columns may have dots in them."""
    while True:
        inner = [key for key in table if place == key or place.startswith(f"{key}.")]
        if not inner:
            return None, ""
        key = max(inner, key=len)
        if place == key:
            return table, key
        rest, place = table[key], place[len(key) + 1 :]
        if not isinstance(rest, dict) or not any(place == one or place.startswith(f"{one}.") for one in rest):
            return table, key  # what is missing in it can't be made up: it goes as a whole
        table = rest
