"""Rows of corrected rejects whose source has objects: they become NDJSON with Lume's own members again.

A flow sees every value as a string or NULL. So the members are strings, which to the flow equal numbers, Booleans and
objects.
"""

import json
from pathlib import Path
from typing import Any

import orjson

from lume_local._flow.definition import REJECTED_ROWS
from lume_local._worker.outputs.row_json import FILE, LINE, OBJECT, RAW, REASONS, ROW, TABLE
from lume_local._worker.sources.formats.names import OTHERWISE, column_trouble, lacking, spellings
from lume_local._worker.sources.intake import Reading
from lume_local._worker.sources.mending.line_forms import LineForm
from lume_local._worker.sources.mending.lost_letters import KEPT
from lume_local._worker.sources.mending.reject_rows import Cells, OwnColumns
from lume_local._worker.sources.source import SourceError

_PUT_BACK = "Put the column back (an empty one, if the rows have no value there), then submit them again"


class RejectObjects:
    """See `TakesRecords`: writes each record as a line of the same number. Raises `SourceError`.

    Attributes:
        longest: bytes of the longest line.
    """

    form: LineForm | None = None

    def __init__(self, reading: Reading, names: list[str], path: Path) -> None:
        flow = reading.flow
        for name, place in flow["sources"].items():
            if names.count(name) > 1:
                found = [n for n, one in enumerate(names) if one == name]
                raise SourceError(column_trouble(flow, reading.shown, name, place, names, found))
        self._is_table, absent = TABLE in names, _lacking(flow, names)
        for name in absent:
            if self._is_table:
                raise SourceError(lacking(flow, names, name, f"{REJECTED_ROWS} have", OTHERWISE))
            if OBJECT in names:  # a run writes them with all columns that the flow reads
                raise SourceError(lacking(flow, names, name, "the corrected rejects have", _PUT_BACK))
        if reading.corrected is not None:
            reading.corrected.lacking.update(absent)
        self._nested = _nested(flow, names if self._is_table else [])
        self._own = OwnColumns(names, reading.corrected)
        self._members = [(n, names[n]) for n in self._own.others]
        self.path, self._file, self._line, self.longest = path, path.open("wb"), 0, 0

    def close(self) -> None:
        self._file.close()

    def take(self, line: int, cells: Cells, *, is_text: bool = True) -> None:
        own = dict(zip((FILE, ROW, LINE), self._own.note(cells), strict=True))
        own |= {name: self._own.of(cells, name) for name in (REASONS, RAW)}
        if is_text:
            data = orjson.dumps(own | {name: self._member(name, cells[n]) for n, name in self._members})
        else:
            text = json.dumps(own | {name: cells[n] for n, name in self._members}, ensure_ascii=False)
            data = text.encode("utf-8", KEPT)
        self.longest = max(self.longest, len(data))
        self._file.write(b"\n" * (line - 1 - self._line) + data + b"\n")
        self._line = line

    def _member(self, name: str, cell: str | None) -> str | orjson.Fragment | None:
        """Return a value; the text of an object or array within which the flow reads becomes that again."""
        within = self._nested.get(name)
        if within is None or cell is None:
            return cell
        try:
            if not isinstance(orjson.loads(cell), dict | list):
                raise ValueError
        except ValueError:
            if self._is_table:  # it would come from a column of another layout
                raise SourceError(
                    f"{REJECTED_ROWS} have text in {name!r}, where the flow reads {within!r}. {OTHERWISE}"
                ) from None
            return cell
        # Unchanged, so that numbers keep their digits. Line ends can only be between its parts.
        return orjson.Fragment(cell.replace("\r", " ").replace("\n", " ").encode())


def _nested(flow: dict[str, Any], plain: list[str]) -> dict[str, str]:
    """Return the members (before the first dot of a name) within which the flow reads something, each with that name.

    Args:
        plain: the columns that are read as they are, even if they have dots.
    """
    spelled = (spellings(flow, name) for name in flow["sources"])
    read = (one for each in spelled if set(each).isdisjoint(plain) for one in each)
    return {one.partition(".")[0]: one for one in read if "." in one}


def _lacking(flow: dict[str, Any], names: list[str]) -> dict[str, list[str]]:
    """Return names that the flow reads but no column has (a member may be absent), each with its spellings."""
    read = {name: spellings(flow, name) for name in flow["sources"]}
    return {
        name: several
        for name, several in read.items()
        if {there for one in several for there in (one, one.partition(".")[0])}.isdisjoint(names)
    }
