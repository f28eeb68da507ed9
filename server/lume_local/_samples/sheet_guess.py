"""Chooses the first sheet of a workbook that has a table."""

from typing import Any

from attrs import frozen

from lume_async._base.words import counted, listed
from lume_async.errors import ConfigurationError
from lume_local._samples.opening import OpenSample, SampleParts
from lume_local._samples.table_start import Start, start_of

_MOST_CELLS = 200
_FIRST_ROWS = 100
_MOST_SHEETS = 20


@frozen
class SheetChoice:
    """A sheet as the flow's `[source]`, and what to check."""

    source: dict[str, Any]
    doubts: list[str]


def sheet_of(parts: SampleParts, file: OpenSample) -> SheetChoice:
    """Return the sheet to read, and where its table starts."""
    names = parts.sheets
    first, doubts = Start(0, []), list[str]()
    for n, name in enumerate(names[:_MOST_SHEETS] or [""]):
        more: dict[str, Any] = {"excel": {"sheet": name}} if n else {}
        start, has_table = _begins(file, more)
        first = first if n else start
        if has_table:
            break
    else:
        name, start, more = "", first, {}
    if more:
        doubts.append(f"the sheet {name!r} is read, as those before it have no table: is that right?")
    elif len(names) > 1:
        doubts.append(
            f"of {counted(len(names), 'sheet')} the first is read, {names[0]!r}: others are {listed(names[1:])}"
        )
    if parts.hidden:
        doubts.append(f"hidden, and not read: {listed(parts.hidden)}")
    return SheetChoice({"format": "excel"} | more | start.settings, [*doubts, *start.doubts])


def _begins(file: OpenSample, more: dict[str, Any]) -> tuple[Start, bool]:
    """Return where the table of a sheet starts, by its first raw rows, and whether there is one."""
    names = [f"c{n}" for n in range(_MOST_CELLS)]
    try:
        found = file.rows({"format": "excel", "header": "none", "names": names} | more, most=_FIRST_ROWS)
    except ConfigurationError:  # reading it normally reports why
        return Start(0, []), False
    rows = [[value or "" for value in row] for row in found.rows]
    width = max((n for row in rows for n, value in enumerate(row, 1) if value), default=0)
    start = start_of([row[:width] for row in rows])
    return start, width > 1 and len(rows) > start.row + 1
