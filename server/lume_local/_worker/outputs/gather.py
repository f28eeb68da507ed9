"""Gathers rejects of several runs, unchanged or edited, into files for rereading: one for all with the same columns.

They begin with Lume's own columns, as every file of rejects does, so that they are recognized (see `mending`).
Malformed lines get a file of their own, since rereading them takes much longer than rereading rows; edited rows
don't, since they are few.
"""

import hashlib
import json
from collections.abc import Iterator
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
from lume_local._shared.protocol import Gather, Gathered, Json, Read, Unreadable, read_job
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
)
from lume_local._worker.sources.files import BOM, is_utf8_name
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.mending.line_forms import entry_of, form_cell, form_of
from lume_local._worker.sources.mending.lost_letters import (
    KEPT,
    KEPT_IF_POSSIBLE,
    NOT_UTF8,
    Identity,
    LostLetters,
    genuine_words,
)
from lume_local._worker.sources.places.held import named

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
            # Copied lines would lack the column that marks a table.
            if edits is not None or job.is_table or not _by_lines(files, read, place.path, rows):
                files.undo()
                _row_by_row(files, read, place.path, rows, edits)
    except BaseException as error:
        files.undo()
        trouble = _trouble(error)
        if trouble is None:
            raise
        return [{"kind": trouble.kind, "problem": trouble.problem}]
    return files.described()


def _trouble(error: BaseException) -> Unreadable | None:
    """Return why rejects can't be read; None for an error that has another cause."""
    match error:
        case StoreTrouble():
            return Unreadable("output-gone" if error.is_missing else "output-unreadable", str(error))
        case FileNotFoundError():
            return Unreadable("output-gone", "the file no longer exists")
        case TooLarge():
            return Unreadable("not-supported", str(error))
        case Broken() | duckdb.Error():
            return Unreadable("output-changed", named(str(error)).partition("\n")[0])
        case OSError():
            return Unreadable("output-unreadable", named(explain(error)))
    return None


@frozen
class _Header:
    """The columns of a file and its header line, which has several spellings; empty for NDJSON."""

    names: tuple[str, ...] = ()
    line: bytes = b""

    @property
    def digest(self) -> str:
        return hashlib.sha256(orjson.dumps(self.names)).hexdigest()[:12]


@frozen
class _Files:
    """The files that get the rows of one part: by the digest of their columns, their previous length and their rows.

    Attributes:
        lines: how malformed lines among the rows are read (see `Gather`).
    """

    job: Gather
    count: int
    lines: list[Json] | None
    begun: dict[Path, tuple[int, bytearray]] = field(factory=dict)

    def add(self, header: _Header, data: bytes, first: int, flags: bytes) -> None:
        """Add records: the rows from `first` on whose flag is set."""
        if not data:
            return
        suffix = ".csv" if self.job.csv else ".ndjson"
        path = Path(f"{self.job.target}-{header.digest}{suffix}")
        size = path.stat().st_size if path.exists() else 0
        with path.open("ab") as file:
            _, rows = self.begun.setdefault(path, (size, bytearray(self.count)))
            rows[first : first + len(flags)] = flags
            if not size and header.line:
                file.write((BOM if self.job.is_marked else b"") + header.line)
            file.write(data)

    def undo(self) -> None:
        for path, (size, _) in self.begun.items():
            with suppress(FileNotFoundError):
                if size:
                    with path.open("r+b") as file:
                        file.truncate(size)
                else:
                    path.unlink()
        self.begun.clear()

    def described(self) -> list[Json]:
        return [
            {"path": str(path), "rows": as_text(of_flags(bytes(rows)))}
            for path, (_, rows) in self.begun.items()
        ]


def _by_lines(files: _Files, read: Read, path: Path, rows: int) -> bool:
    """Copy lines unchanged if each is a record in the wanted form; else return False."""
    suffix = Path(read.path).suffix.lower()  # the file itself may have another name
    if not is_utf8_name(read.encoding):
        return False
    if suffix == ".ndjson" and not files.job.csv:
        return _copy_objects(files, path, flags_of(rows, read.rows))
    if suffix != ".csv" or not files.job.csv or files.job.csv != read.csv:
        return False
    dialect = Dialect.of(read.csv)
    with path.open("rb") as file:
        line = file.readline()
    names = tuple(dialect.value(name).decode() for name in dialect.split(line.removesuffix(b"\n")))
    own = dialect.delim.join([ROW.encode(), LINE.encode(), REASONS.encode(), b""])
    end = dialect.delim + RAW.encode() + b"\n"
    is_ours = line.startswith(own) and line.endswith(end)
    flags = flags_of(rows, read.rows)
    return is_ours and _copy_records(files, path, _Header(names, line), dialect, flags)


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


def _copy_objects(files: _Files, path: Path, flags: bytes) -> bool:
    """Copy objects; return False if a line is not a record."""
    found = 0
    for first, lines, count, part in _parts(path, False, flags):
        files.add(_Header(), lines if 0 not in part else _joined(lines.split(b"\n")[:-1], part), first, part)
        found += count
    return found == len(flags)


def _copy_records(files: _Files, path: Path, header: _Header, dialect: Dialect, flags: bytes) -> bool:
    """Copy rows without their last column, which only malformed lines fill; return False if a line is no record."""
    delim = dialect.delim
    of_rows = _Header(header.names[:-1], header.line.removesuffix(delim + RAW.encode() + b"\n") + b"\n")
    end, found = delim + b"\n", 0
    is_plain = _are_read_by_the_header(files, header.names)
    for first, lines, count, part in _parts(path, True, flags):
        # Malformed lines have no number, and come last.
        is_plain = not lines.startswith(delim, lines.rfind(b"\n", 0, -1) + 1)
        if 0 not in part and is_plain:
            chosen, others, last = lines, list[bytes](), len(part)
        else:
            each = lines.split(b"\n")[:-1]
            last = len(part) if is_plain else next(n for n, line in enumerate(each) if line.startswith(delim))
            chosen, others = _joined(each[:last], part[:last]), each[last:]
        data = chosen.replace(end, b"\n")
        found += count
        if len(chosen) - len(data) != part[:last].count(1) * len(delim) or len(part) != count:
            return False
        files.add(of_rows, data, first, part[:last])
        if is_plain:
            files.add(header, _joined(others, part[last:]), first + last, part[last:])
            continue
        for number, line in enumerate(others, first + last):
            if flags[number]:
                row = output_row(
                    header.names, _values(line, dialect, len(header.names)), [None] * len(header.names)
                )
                files.add(*_as_csv(row, dialect, files), number, b"\1")
    return found == len(flags)


def _are_read_by_the_header(files: _Files, names: tuple[str, ...]) -> bool:
    """Return whether malformed lines have the header's columns, in its order and the file's dialect."""
    if files.lines is None:
        return True
    entry = entry_of(files.lines, "")
    form = None if entry is None or FILE in names else form_of(entry, names)
    others = tuple(n for n, name in enumerate(names) if not name.lower().startswith(RESERVED))
    csv = files.job.csv
    return form is not None and (form.at, form.csv) == (others, (csv["delim"], csv["quote"], csv["escape"]))


def _values(line: bytes, dialect: Dialect, columns: int) -> list[str | None]:
    """Return the values of a malformed line; without quotes the last one may contain delimiters."""
    fields = dialect.split(line) if dialect.quote else line.split(dialect.delim, columns - 1)
    return [dialect.value(field).decode("utf-8", KEPT) if field else None for field in fields]


def _row_by_row(files: _Files, read: Read, path: Path, rows: int, edits: Json | None) -> None:
    """Convert the rows to the wanted form."""
    flags, found = flags_of(rows, read.rows), 0
    dialect = Dialect.of(files.job.csv) if files.job.csv else None
    with opened(read, path) as all_rows:
        for number, row in enumerate(all_rows):
            found += 1
            if number < len(flags) and flags[number]:
                if edits is not None:
                    row = edited(row, edits.get(str(number), {}), may_add=dialect is None)
                header, record = (
                    _as_json(row)
                    if dialect is None
                    else _as_csv(row, dialect, files, is_edited=edits is not None)
                )
                files.add(header, record, number, b"\1")
                if edits is not None and number + 1 == rows.bit_length():
                    return
    if found != read.rows:
        raise Broken(f"the run wrote {counted(read.rows, 'row')}, and the file has {found:,}")


def _as_json(row: OutputRow) -> tuple[_Header, bytes]:
    own = orjson.dumps({ROW: row.row, LINE: row.line, REASONS: row.reasons})
    body = row.kept or row.body
    return _Header(), own[:-1] + (b"}" if body == b"{}" else b"," + body[1:]) + b"\n"


def edited(row: OutputRow, cells: Json, *, may_add: bool) -> OutputRow:
    """Return the row with other values in some columns; the others keep their spelling. Raises `Broken`.

    Args:
        may_add: whether it may get more columns, as an object may.
    """
    values: Json = json.loads(row.body, parse_float=_as_written, parse_int=_as_written)
    if not may_add and (unknown := cells.keys() - values.keys() - {RAW}):
        raise Broken(f"an edited row has {min(unknown)[:100]!r}, which is not one of its columns")
    original = str(json.loads(row.kept.decode("utf-8", KEPT)).get(RAW)) if row.kept else ""
    lost = LostLetters({_THIS: genuine_words(original)} if NOT_UTF8 in (row.reasons or "") else {})
    values |= cells
    is_left = lost.are_left(_THIS, "", (one for one in values.values() if isinstance(one, str)))
    return evolve(row, body=orjson.dumps(values), kept=b"", reasons=row.reasons if is_left else "")


def _as_written(number: str) -> orjson.Fragment:
    return orjson.Fragment(number)


def _as_csv(
    row: OutputRow, dialect: Dialect, files: _Files, *, is_edited: bool = False
) -> tuple[_Header, bytes]:
    whole = (row.kept or row.body).decode("utf-8", KEPT)
    values: dict[str, Any] = json.loads(whole, parse_float=str, parse_int=str)
    raw, file = values.pop(RAW, None), values.get(FILE)
    columns = {
        name: value for name, value in values.items() if name == FILE or not name.lower().startswith(RESERVED)
    }
    is_known = raw is None or files.lines is None
    form = None if is_known else form_cell(entry_of(files.lines or [], file or ""))
    more: dict[str, Any] = {TABLE: None} if files.job.is_table else {}
    if is_edited or form is not None:
        more[FORM] = form
    if is_edited or raw is not None:
        more[RAW] = raw
    names = [ROW, LINE, REASONS, *columns, *more]
    values = dict(
        zip(names, (row.row, row.line, row.reasons, *columns.values(), *more.values()), strict=True)
    )
    fields = (_field(text_of(value), dialect, is_raw=name == RAW) for name, value in values.items())
    line = dialect.delim.join(_field(name, dialect) if name in columns else name.encode() for name in names)
    return _Header(tuple(names), line + b"\n"), dialect.delim.join(fields) + b"\n"


def _field(value: str | None, dialect: Dialect, *, is_raw: bool = False) -> bytes:
    """Return a value as written; without quotes, only the last one (a malformed line) can contain delimiters."""
    if value is None:
        return b""
    written = value.encode("utf-8", KEPT_IF_POSSIBLE)
    if dialect.quote:
        return dialect.as_field(written)
    return b" ".join((written if is_raw else written.replace(dialect.delim, b" ")).splitlines())


def text_of(value: Any) -> str | None:
    """Return a value as a flow sees it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else json.dumps(value, ensure_ascii=False)
