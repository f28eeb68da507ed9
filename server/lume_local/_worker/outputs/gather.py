"""Gathers rejects of several runs, unchanged or edited, into files for rereading: one for all with the same columns.

They are NDJSON with Lume's own members (see `mending.door`). Unchanged rows for a reader of CSV are in its dialect
instead, without malformed lines: most are copied as they are, and read like any CSV, in a tenth of the time.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import compress
from pathlib import Path
from typing import Any

import duckdb
import orjson
from attrs import evolve, field, frozen

from lume_async._base.words import counted
from lume_local._flow.definition import RESERVED
from lume_local._shared.commit import explain
from lume_local._shared.protocol import Gather, Gathered, Json, Read, read_job
from lume_local._shared.row_set import as_text, flags_of, of_flags, of_text
from lume_local._worker.object_stores import StoreTrouble
from lume_local._worker.outputs.pages import TooLarge, open_output, opened
from lume_local._worker.outputs.row_json import (
    FILE,
    FORM,
    LINE,
    RAW,
    REASONS,
    ROW,
    TABLE,
    Broken,
    OutputRow,
    output_row,
    text_of,
)
from lume_local._worker.sources.files import is_utf8_name
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.mending.line_forms import entry_of, form_cell
from lume_local._worker.sources.mending.lost_letters import (
    KEPT,
    NOT_UTF8,
    Identity,
    LostLetters,
    genuine_words,
)
from lume_local._worker.sources.places.held import named
from lume_local._worker.statements import LAYOUT

_THIS: Identity = ("", "1", "")
"""The identity of the one row that is processed."""
_BLOCK = 512 * 1024
"""Bytes of lines to copy at a time: few enough to stay in the CPU cache while they are counted, changed and written,
which takes 0.4 of the time needed with 4 MB.
"""


def gather(job: Gather) -> Gathered:
    """Add the rows of each part; an unreadable part leaves nothing behind."""
    return Gathered(
        [
            _gathered(job, read_job(part["read"]), of_text(part["rows"]), part["lines"], part.get("edits"))
            for part in job.parts
        ]
    )


def _gathered(job: Gather, read: Read, rows: int, lines: list[Json] | None, edits: Json | None) -> list[Json]:
    files = _Files(job, read.rows, lines)
    try:
        with open_output(read.path, read.folder) as place:
            if read.identity and read.identity != place.identity():
                raise Broken("the file has been changed since the run wrote it")
            if edits is not None or not _by_lines(files, read, place.path, rows):
                files.undo()
                _row_by_row(files, read, place.path, rows, edits)
        return files.described()
    except BaseException as error:
        files.undo()
        match error:
            case StoreTrouble():
                kind, problem = "output-gone" if error.is_missing else "output-unreadable", str(error)
            case FileNotFoundError():
                kind, problem = "output-gone", "the file no longer exists"
            case TooLarge():
                kind, problem = "not-supported", str(error)
            case Broken() | duckdb.Error():
                kind, problem = "output-changed", named(str(error)).partition("\n")[0]
            case OSError():
                kind, problem = "output-unreadable", named(explain(error))
            case _:
                raise
        return [{"kind": kind, "problem": problem}]


@frozen
class _File:
    """A file that gets rows of one part.

    Attributes:
        size: its length before, to which `undo` cuts it back.
        rows: a flag for each row of the part, set if the file has it.
        data: unwritten bytes.
    """

    path: Path
    size: int
    rows: bytearray
    data: bytearray = field(factory=bytearray)

    def write(self) -> None:
        with self.path.open("ab") as file:
            file.write(self.data)
        self.data.clear()

    def undo(self) -> None:
        with suppress(FileNotFoundError):
            if self.size:
                os.truncate(self.path, self.size)
            else:
                self.path.unlink()


@frozen
class _Files:
    """The files that get the rows of one part, by their columns.

    Attributes:
        lines: how malformed lines among the rows are read (see `Gather`).
    """

    job: Gather
    count: int
    lines: list[Json] | None
    begun: dict[tuple[str, ...], _File] = field(factory=dict)

    def add(
        self, names: tuple[str, ...], data: bytes, first: int, flags: bytes, dialect: Dialect | None = None
    ) -> None:
        """Add records with these columns, in the dialect; `flags` mark which rows they are, from row `first` on."""
        if not data:
            return
        suffix = ".ndjson" if dialect is None else ".csv"
        file = self.begun.get((*names, suffix))
        if file is None:
            path = Path(f"{self.job.target}-{hashlib.sha256(orjson.dumps(names)).hexdigest()[:12]}{suffix}")
            size = path.stat().st_size if path.exists() else 0
            file = self.begun[*names, suffix] = _File(path, size, bytearray(self.count))
            if not size and dialect is not None:
                file.data.extend(_csv_line(names, dialect))
        file.rows[first : first + len(flags)] = flags
        file.data.extend(data)
        if len(file.data) >= _BLOCK:
            file.write()

    def undo(self) -> None:
        for file in self.begun.values():
            file.undo()
        self.begun.clear()

    def described(self) -> list[Json]:
        for file in self.begun.values():
            file.write()
        return [
            {"path": str(file.path), "rows": as_text(of_flags(bytes(file.rows)))}
            for file in self.begun.values()
        ]


def _by_lines(files: _Files, read: Read, path: Path, rows: int) -> bool:
    """Copy lines unchanged if each is a record in the wanted form; else return False."""
    suffix = Path(read.path).suffix.lower()  # the file itself may have another name
    if not is_utf8_name(read.encoding):
        return False
    flags, found = flags_of(rows, read.rows), 0
    if suffix == ".ndjson" and not files.job.of_tables:
        for first, lines, count, part in _parts(path, False, flags):
            files.add((), lines if 0 not in part else _joined(lines.split(b"\n")[:-1], part), first, part)
            found += count
        return found == len(flags)
    if suffix != ".csv" or not files.job.csv or files.job.csv != read.csv:
        return False
    dialect = Dialect.of(read.csv)
    with path.open("rb") as file:
        header = file.readline()
    own = dialect.delim.join([ROW.encode(), LINE.encode(), REASONS.encode(), b""])
    is_ours = header.startswith(own) and header.endswith(dialect.delim + RAW.encode() + b"\n")
    return is_ours and _copy_records(files, path, header, dialect, flags)


def _parts(path: Path, has_header: bool, flags: bytes) -> Iterator[tuple[int, bytes, int, bytes]]:
    """Yield batches of lines: the first line's number, the lines, their number, and a flag for each.

    If there are too many lines, there are fewer flags. Lines are counted once, as counting is the most expensive part
    of copying a file unchanged.
    """
    at = 0
    with path.open("rb") as file:
        if has_header:
            file.readline()
        while lines := file.read(_BLOCK) + file.readline():
            count = lines.count(b"\n")
            yield at, lines, count, flags[at : at + count]
            at += count


def _joined(lines: list[bytes], flags: bytes) -> bytes:
    """Return the lines whose flag is set, with their line ends."""
    return b"".join(line + b"\n" for line in compress(lines, flags))


def _copy_records(files: _Files, path: Path, header: bytes, dialect: Dialect, flags: bytes) -> bool:
    """Copy rows without their last column, which only malformed lines fill; return False if a line is no record."""
    delim = dialect.delim
    names = [dialect.value(name).decode() for name in dialect.split(header.removesuffix(b"\n"))]
    end, found = delim + b"\n", 0
    for first, lines, count, part in _parts(path, True, flags):
        # Malformed lines have no number, and come last.
        if lines.startswith(delim, lines.rfind(b"\n", 0, -1) + 1):
            each = lines.split(b"\n")[:-1]
            last = next(n for n, line in enumerate(each) if line.startswith(delim))
        else:
            each, last = lines.split(b"\n")[:-1] if 0 in part else [], len(part)
        chosen = _joined(each[:last], part[:last]) if each else lines
        data = chosen.replace(end, b"\n")
        found += count
        if len(chosen) - len(data) != part[:last].count(1) * len(delim) or len(part) != count:
            return False
        files.add(tuple(names[:-1]), data, first, part[:last], dialect)
        for number, line in enumerate(each[last:], first + last):
            if flags[number]:
                # Without quotes the text of a malformed line, which is the last value, may contain delimiters.
                fields = dialect.split(line) if dialect.quote else line.split(delim, len(names) - 1)
                values = [dialect.value(one).decode("utf-8", KEPT) if one else None for one in fields]
                _add(output_row(names, values, [None] * len(names)), number, files, dialect)
    return found == len(flags)


def _row_by_row(files: _Files, read: Read, path: Path, rows: int, edits: Json | None) -> None:
    """Convert the rows to the wanted form."""
    flags, found = flags_of(rows, read.rows), 0
    dialect = Dialect.of(files.job.csv) if files.job.csv and edits is None else None
    with opened(read, path) as all_rows:
        for number, row in enumerate(all_rows):
            found += 1
            if number < len(flags) and flags[number]:
                if edits is not None:
                    row = edited(row, edits.get(str(number), {}), may_add=not files.job.of_tables)
                _add(row, number, files, dialect)
                if edits is not None and number + 1 == rows.bit_length():
                    return
    if found != read.rows:
        raise Broken(f"the run wrote {counted(read.rows, 'row')}, and the file has {found:,}")


def _add(row: OutputRow, number: int, files: _Files, dialect: Dialect | None) -> None:
    """Add a row: in the dialect, if there is one and the row is no malformed line, else as an object."""
    own: dict[str, Any] = {ROW: row.row, LINE: row.line, REASONS: row.reasons}
    names, body = list[str](), row.kept or row.body
    if files.job.of_tables:
        values: dict[str, Any] = json.loads(row.body, parse_float=str, parse_int=str)
        names = [name for name in values if name in (FILE, LAYOUT) or not name.lower().startswith(RESERVED)]
        is_malformed = values.get(RAW) is not None
        if dialect is not None and not is_malformed:
            cells = [*own.values(), *(values[name] for name in names)]
            files.add((*own, *names), _csv_line(cells, dialect), number, b"\1", dialect)
            return
        own[TABLE] = True
        if is_malformed and files.lines is not None:
            own[FORM] = form_cell(entry_of(files.lines, values.get(FILE) or ""))
    data = orjson.dumps(own)[:-1] + (b"}" if body == b"{}" else b"," + body[1:]) + b"\n"
    files.add(tuple(names), data, number, b"\1")


def _csv_line(values: Sequence[Any], dialect: Dialect) -> bytes:
    """Return the line of these values: an empty field for NULL; no delimiter in a value if there are no quotes."""
    fields = (None if text is None else text.encode() for text in map(text_of, values))
    if dialect.quote:
        written = (b"" if field is None else dialect.as_field(field) for field in fields)
    else:
        written = (b" ".join((field or b"").replace(dialect.delim, b" ").splitlines()) for field in fields)
    return dialect.delim.join(written) + b"\n"


def edited(row: OutputRow, cells: Json, *, may_add: bool) -> OutputRow:
    """Return the row with other values in some columns; the others keep their spelling. Raises `Broken`.

    Args:
        may_add: whether it may get more columns, as an object may.
    """
    values: Json = json.loads(row.body, parse_float=orjson.Fragment, parse_int=orjson.Fragment)
    if not may_add and (unknown := cells.keys() - values.keys() - {RAW}):
        raise Broken(f"an edited row has {min(unknown)[:100]!r}, which is not one of its columns")
    original = str(json.loads(row.kept.decode("utf-8", KEPT)).get(RAW)) if row.kept else ""
    lost = LostLetters({_THIS: genuine_words(original)} if NOT_UTF8 in (row.reasons or "") else {})
    values |= cells
    is_left = lost.are_left(_THIS, "", (one for one in values.values() if isinstance(one, str)))
    return evolve(row, body=orjson.dumps(values), kept=b"", reasons=row.reasons if is_left else "")
