"""Finds all mistakes of a flow. Removing one from its definition reveals the next one."""

import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

from lume_local._flow.definition import Flow, read_definition
from lume_local._flow.fields import FlowError
from lume_local._flow.mistakes import with_line
from lume_local._shared.protocol import Json

Compile = Callable[[Json], Json]
"""Returns the compiled form of a definition. Raises `FlowError`."""
_MOST = 50
"""The maximum number of mistakes reported for one file."""
_ENTRY = re.compile(r"(rules|expect)\[(\d+)\]")
_PLACEHOLDERS = {"flow": "flow", "version": "v1"}


def checked(compile: Compile, definition: Any, text: str) -> tuple[Flow, Json]:
    """Return the flow and its compiled form; or raise its mistakes, each found after removing the ones before."""
    mistakes: list[FlowError] = []
    while True:
        try:
            flow = read_definition(definition)
            compiled = compile(flow.definition)
        except FlowError as error:
            # An error there, or of the whole that it is a part of, was caused by its removal.
            if not any(f"{known.place}.".startswith(f"{error.place}.") for known in mistakes):
                mistakes.append(with_line(error, text))
            definition = without(definition, error)
            if definition is not None and len(mistakes) < _MOST:
                continue
        else:
            if not mistakes:
                return flow, compiled
        mistakes[0].others = tuple(sorted(mistakes[1:], key=lambda mistake: mistake.line or 0))
        raise mistakes[0]


def text_of(path: Path) -> str:
    """Return the text of a flow file. Raises OSError, `FlowError`."""
    try:
        return path.read_text(encoding="utf-8-sig")  # an editor may have added a byte order mark
    except UnicodeError as error:
        raise FlowError("", f"is not UTF-8: {error}") from None


def without(definition: Any, error: FlowError) -> Any | None:
    """Return the definition without the mistake at the error's place; None if it can't be removed.

    Parts that others may refer to stay: a column keeps its name and type, and gets NULL for its value.
    """
    repaired = deepcopy(definition)
    if not isinstance(repaired, dict):
        return None
    if (entry := _ENTRY.match(error.place)) and isinstance(repaired.get(entry[1]), list):
        # One without effect in its place, so that the others keep their numbers. A bad name is replaced alone.
        key, number = entry[1], int(entry[2])
        entries, harmless = repaired[key], {"name": f"{key} {number}", "sql": "TRUE"}
        if number >= len(entries) or entries[number] == harmless:
            return None
        named = (
            entries[number] | {"name": harmless["name"]} if isinstance(entries[number], dict) else harmless
        )
        is_name = error.place.endswith("].name") and named != entries[number]
        entries[number] = named if is_name else harmless
        return repaired
    if error.place in _PLACEHOLDERS:
        repaired[error.place] = _PLACEHOLDERS[error.place]
        return repaired if repaired != definition else None
    table, key = _found(repaired, error.place)
    if table is None:
        return None
    if key == "sql" and "columns." in error.place and "from" not in table:
        table[key] = "NULL"
    else:
        del table[key]
    return repaired if repaired != definition else None


def _found(table: dict[str, Any], place: str) -> tuple[dict[str, Any] | None, str]:
    """Return the table that holds the last part of the place, and that part. Column names may contain dots."""
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
