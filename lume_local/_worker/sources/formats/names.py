"""The columns of a source by the names that a flow uses. Pure."""

import difflib
import json
from typing import Any

from lume_local._flow.definition import RESERVED
from lume_local._worker.sources.source import SourceError

NEW = " (in a new flow version if this one is registered)"
"""How to correct a flow, in messages."""


def visible_columns(flow: dict[str, Any], names: list[str], shown: str) -> dict[str, int]:
    """Which columns the flow's expressions see, by the names they use."""
    positions: dict[str, list[int]] = {}
    for n, name in enumerate(names):
        positions.setdefault(name.lower(), []).append(n)
    visible: dict[str, int] = {}
    for name, place in flow["sources"].items():
        found = positions.get(name.lower(), [])
        if len(found) != 1:
            raise SourceError(column_trouble(flow, shown, name, place, names, len(found)))
        visible[name] = found[0]
    return visible


def unknown_columns(names: list[str], visible: dict[str, int]) -> tuple[str, ...]:
    """The columns that the flow does not read; without our own in a file of rejects."""
    read = set(visible.values())
    return tuple(
        name for n, name in enumerate(names) if n not in read and not name.lower().startswith(RESERVED)
    )


def column_trouble(
    flow: dict[str, Any], shown: str, name: str, place: str, names: list[str], found: int
) -> str:
    """The message for a column that is missing or not unique."""
    listed = ", ".join(repr(one) for one in names[:30]) + (", …" if len(names) > 30 else "")
    of_query = flow["format"] == "sql"
    if found:
        header = shown if of_query else f"the header of {shown}"
        return f"{header} names {name!r} {found} times; {flow['ref']} reads it ({place}): rename one"
    spelled = {one.lower(): one for one in names}
    if delim := other_delimiter(flow, names):
        if names[0].lower().lstrip(flow["csv"]["quote"] + "'\"").startswith(RESERVED):
            own = flow["csv"]["delim"]
            advice = (
                f"save these corrected rejects with {own!r}, which the flow reads, then submit them again"
            )
        else:
            advice = f"set csv.delim = {json.dumps(delim)} in [source]{NEW}, then run it again"
        return (
            f"{shown} has no column {name!r}, which {flow['ref']} reads ({place}): its header is one column, "
            f"{listed}. It looks like the delimiter is {delim!r}: {advice}"
        )
    near = difflib.get_close_matches(name.lower(), spelled, 1, 0.7)
    hint = f" Did you mean {spelled[near[0]]!r}?" if near else ""
    return (
        f"{shown} has no column {name!r}, which {flow['ref']} reads ({place}). Found: {listed}.{hint} "
        f"{'Change the query' if of_query else 'Fix the header'} or the flow{NEW}, then run it again"
    )


def other_delimiter(flow: dict[str, Any], names: list[str]) -> str | None:
    """The delimiter that would give columns that the flow reads, if its own gives a single one."""
    if len(names) != 1 or flow["format"] != "csv":
        return None
    wanted = {name.lower() for name in flow["sources"]}
    quote = flow["csv"]["quote"]
    hits: dict[str, int] = {}
    for delim in ";,\t|":
        pieces = {piece.strip().strip(quote or None).strip().lower() for piece in names[0].split(delim)}
        hits[delim] = len(wanted & pieces) if len(pieces) > 1 else 0
    best = max(hits, key=lambda delim: hits[delim])
    return best if hits[best] else None
