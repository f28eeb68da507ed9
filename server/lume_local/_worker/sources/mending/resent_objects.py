"""Reads resubmitted CSV rejects of objects: each row becomes an object, and all are read as their source was."""

import json
from typing import Any

import orjson
from attrs import evolve

from lume_async._base.words import counted
from lume_local._flow.definition import REJECTED_ROWS, RESERVED
from lume_local._worker.sources.formats.names import OTHERWISE, column_trouble, lacking, spellings
from lume_local._worker.sources.formats.ndjson import read_ndjson
from lume_local._worker.sources.formats.strict_json import NotARow, strict_line
from lume_local._worker.sources.formats.text.csv import names_of, split_records
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.intake import Account, Reading, RefusedLine
from lume_local._worker.sources.mending.lost_letters import KEPT
from lume_local._worker.sources.mending.mended_rows import Noting, is_noted
from lume_local._worker.sources.mending.resent import FILLED_IN, OBJECT, RAW, TABLE
from lume_local._worker.sources.source import SourceError
from lume_local._worker.statements import Layout

_PUT_BACK = "Put the column back (an empty one, if the rows have no value there), then submit them again"


def read_resent_objects(reading: Reading) -> Layout:
    """Convert the rows to objects, then judge these. Raises `SourceError`."""
    flow, dialect = reading.flow, Dialect.of(reading.flow["csv"])
    names = names_of(reading, dialect)
    for name, place in flow["sources"].items():
        if names.count(name) > 1:
            found = [n for n, one in enumerate(names) if one == name]
            raise SourceError(column_trouble(flow, reading.shown, name, place, names, found))
    is_table, absent = TABLE in names, _lacking(flow, names)
    for name in absent:
        if is_table:
            raise SourceError(lacking(flow, names, name, f"{REJECTED_ROWS} have", OTHERWISE))
        if OBJECT in names:  # a run writes them with all columns that the flow reads
            raise SourceError(lacking(flow, names, name, "the corrected rejects have", _PUT_BACK))
    if reading.corrected is not None:
        reading.corrected.lacking.update(absent)
    objects = ResentObjects(names, dialect, _nested(flow, names if is_table else []), is_table=is_table)
    rewriter = Noting(names, dialect, reading, objects) if is_noted(reading, names) else objects
    lines = split_records(reading, dialect, rewriter, copied=True).copy.path
    account, folder = Account(0), reading.folder / "objects"
    folder.mkdir()
    rows = reading.account.records - reading.malformed.total
    layout = read_ndjson(
        evolve(
            reading,
            path=lines,
            account=account,
            flow=flow | {"max_line_bytes": max(flow["max_line_bytes"], objects.longest)},
            folder=folder,
        )
    )
    if account.records != rows:
        raise SourceError(
            f"{reading.shown} has {counted(rows, 'row')}, but {account.records:,} became objects"
        )
    return layout


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


class ResentObjects:
    """Converts a record to a line of NDJSON. See `Rewriter`.

    A flow sees every value as a string or NULL. So the object's members are strings, which to the flow equal numbers,
    Booleans and objects. An empty unquoted value is NULL.

    Args:
        nested: the columns whose text becomes objects and arrays again, since the flow reads within them; each with
            the name that it reads there.
        is_table: whether these must not hold plain text, which would come from a column of another layout.
    """

    def __init__(
        self, names: list[str], dialect: Dialect, nested: dict[str, str], *, is_table: bool = False
    ) -> None:
        self._dialect, self._nested, self._is_table = dialect, nested, is_table
        self._raw_at = next((n for n, name in enumerate(names) if name.lower() == RAW), None)
        self._members = [(n, name) for n, name in enumerate(names) if not name.lower().startswith(RESERVED)]
        self.record = dialect.record(len(names))
        self.longest = 0
        """Bytes of the longest line."""

    def rewrite(self, record: bytes) -> bytes | RefusedLine:
        """Return the line, or why it is still not an object."""
        fields = self._dialect.split(record)
        raw = self._raw(fields)
        values = {
            name: self._member(name, self._dialect.value(fields[n])) if fields[n] else None
            for n, name in self._members
        }
        if not raw:
            return self._line(orjson.dumps(values))
        # In a corrected object, line ends can only be between its parts.
        line = raw.replace(b"\r", b" ").replace(b"\n", b" ")
        try:
            strict_line(line.decode())
        except NotARow as error:
            return RefusedLine(error.why + (FILLED_IN if any(values.values()) else ""), raw)
        return self._line(line)

    def refused(self, record: bytes, why: str) -> RefusedLine:
        fields = self._dialect.split(record)
        values = {name: self._dialect.value(fields[n]).decode("utf-8", KEPT) for n, name in self._members}
        filled_in = json.dumps(values, ensure_ascii=False).encode("utf-8", KEPT)
        return RefusedLine(why, self._raw(fields) or filled_in)

    def _raw(self, fields: list[bytes]) -> bytes:
        return b"" if self._raw_at is None else self._dialect.value(fields[self._raw_at])

    def _member(self, name: str, cell: bytes) -> str | orjson.Fragment:
        within = self._nested.get(name)
        if within is None:
            return cell.decode()
        try:
            if not isinstance(orjson.loads(cell), dict | list):
                raise ValueError
        except ValueError:
            if self._is_table:
                raise SourceError(
                    f"{REJECTED_ROWS} have text in {name!r}, where the flow reads {within!r}. {OTHERWISE}"
                ) from None
            return cell.decode()
        # Unchanged, so that numbers keep their digits. Line ends can only be between its parts.
        return orjson.Fragment(cell.replace(b"\r", b" ").replace(b"\n", b" "))

    def _line(self, line: bytes) -> bytes:
        self.longest = max(self.longest, len(line))
        return line
