"""The members of records in JSON lines: the names a flow may use, and the members that no column reads."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from duckdb import DuckDBPyConnection

from lume_async._base.elided import elided
from lume_async._base.words import counted
from lume_local._flow.definition import quoted
from lume_local._flow.source_settings import pointer_of, why_unreadable
from lume_local._samples.record_paths import leaves, names_in
from lume_local._worker.sources.formats.names import spellings
from lume_local._worker.sql import scan_or_retry, text
from lume_local._worker.statements import Relation

_MOST = 100_000
"""Records that are searched for unread members."""
_AT_ONCE, _SHOWN = 1000, 20


def member_names(connection: DuckDBPyConnection, relation: Relation, most: int) -> list[str]:
    """Return the names of all members of the first records that a flow can read."""
    return scan_or_retry(
        relation.reader, lambda reader: names_in(one for one, _ in _records(connection, reader, 0, most))
    )


def unread_members(
    connection: DuckDBPyConnection, flow: dict[str, Any], relation: Relation, *, of_columns: bool
) -> list[str]:
    """Return a problem for each member with a value that no column reads.

    Args:
        of_columns: whether to consider only members whose path is a column's name, and that no column reads as part
            of an object.
    """
    columns = {one: n for n, name in enumerate(relation.raw) for one in spellings(flow, name)}
    if not relation.json_lines or (of_columns and not any("." in name for name in columns)):
        return []

    def scan(reader: str) -> Counter[tuple[tuple[str, ...], str]]:
        found = Counter[tuple[tuple[str, ...], str]]()
        for record, nulls in _records(connection, reader, len(relation.raw), _MOST):
            for steps, value in leaves(record):
                name = ".".join(steps)
                n = columns.get(name)
                if value is None or (of_columns and n is None):
                    continue
                if of_columns and any(".".join(steps[:k]) in columns for k in range(1, len(steps))):
                    continue  # a column reads an object that has the member
                if n is None:
                    found[steps, why_unreadable(steps) or "no column reads it"] += 1
                elif why := why_unreadable(steps):
                    found[steps, why] += 1
                elif nulls[n]:
                    found[steps, f"the column {name!r} is NULL there"] += 1
                elif len(steps) > 1 and record.get(name) is not None:
                    found[steps, f"{name!r} reads the member with that very name"] += 1
        return found

    found = scan_or_retry(relation.reader, scan)
    problems = list[str]()
    for (steps, why), records in list(found.items())[:_SHOWN]:
        shown = " in ".join(map(repr, reversed(steps)))
        if len(steps) > 1 and not why_unreadable(steps[:1]):
            place = f"{quoted(steps[0])}, {text(pointer_of(steps[1:]))}"
            why = f"{why}. To read it, use json_extract_string({place})"
        many = counted(records, "record")
        problems.append(elided(f"the member {shown} has a value in {many} and is not read: {why}"))
    if len(found) > _SHOWN:
        problems.append(f"{len(found) - _SHOWN:,} more members are not read")
    return problems


def _records(
    connection: DuckDBPyConnection, reader: str, columns: int, most: int
) -> Iterator[tuple[dict[str, Any], list[bool]]]:
    """Yield the first records, with whether each column is NULL there."""
    nulls = ", ".join(f"_lume_s{n} IS NULL" for n in range(columns))
    rows = connection.execute(f"SELECT _lume_line_text, [{nulls}] FROM ({reader}) LIMIT {most}")
    while some := rows.fetchmany(_AT_ONCE):
        for line, is_null in some:
            with suppress(ValueError, RecursionError):  # DuckDB reads deeper nesting
                record = json.loads(line, parse_int=str)  # takes any number of digits
                if isinstance(record, dict):
                    yield record, is_null
