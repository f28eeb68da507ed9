"""A flow definition with one mistake taken out, so that a check can find the next one. Pure."""

import re
from copy import deepcopy
from typing import Any

from lume_local._flow.fields import FlowError

_ENTRY = re.compile(r"(rules|expect)\[(\d+)\]")
_PLACEHOLDERS = {"flow": "flow", "version": "v1"}


def without(definition: Any, error: FlowError) -> Any | None:
    """The definition without what is wrong at the error's place; None if that can't be removed.

    What other parts may refer to stays: a column keeps its name and type, and gets NULL for its value.
    """
    repaired = deepcopy(definition)
    if not isinstance(repaired, dict):
        return None
    if (entry := _ENTRY.match(error.place)) and isinstance(repaired.get(entry[1]), list):
        return _without_entry(repaired, entry[1], int(entry[2]), error.place)
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


def _without_entry(definition: dict[str, Any], key: str, number: int, place: str) -> dict[str, Any] | None:
    """Replace an entry by one without effect, so that the others keep their numbers. A bad name is replaced alone."""
    entries, harmless = definition[key], {"name": f"{key} {number}", "sql": "TRUE"}
    if number >= len(entries) or entries[number] == harmless:
        return None
    named = entries[number] | {"name": harmless["name"]} if isinstance(entries[number], dict) else harmless
    is_name = place.endswith("].name") and named != entries[number]
    entries[number] = named if is_name else harmless
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
            return table, key  # a missing member can't be invented: remove the whole table
        table = rest
