"""The door for corrected rejects, whatever their source was, and whatever program has saved them.

Rejects of or in a table are recognized here by the columns that rejects begin with: in CSV, in the first sheet of a
workbook, or as objects. Each record becomes a row or an object of its source, or a malformed line once more.
Rejects of a source of objects, as objects, are read by `ndjson`, which takes Lume's own members away.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from attrs import asdict, evolve

from lume_async._base.words import counted
from lume_local._flow.definition import REJECTED_ROWS, RESERVED
from lume_local._flow.source_settings import OBJECTS
from lume_local._flow.table_bounds import HeaderSettings
from lume_local._shared import magic
from lume_local._worker.outputs.row_json import FILE, FORM, LINE, OBJECT, RAW, REASONS, ROW, TABLE, text_of
from lume_local._worker.sources.files import (
    BOM,
    blocks_of_lines,
    is_utf8,
    is_utf8_beyond_ascii,
    is_utf8_name,
    physical_lines,
)
from lume_local._worker.sources.formats.json import read_json
from lume_local._worker.sources.formats.names import (
    OTHERWISE,
    column_trouble,
    lacking,
    readable,
    relation_of_table,
    spellings,
    visible_columns,
)
from lume_local._worker.sources.formats.ndjson import FILLED_IN, read_ndjson, without_repeats
from lume_local._worker.sources.formats.text.csv import names_of, read_csv, split_records
from lume_local._worker.sources.formats.text.dialect import Dialect, FixedWidth
from lume_local._worker.sources.formats.text.encoding import MARKS, in_utf8
from lume_local._worker.sources.intake import NOT_JSON, Account, CorrectedRows, Reading, RefusedLine
from lume_local._worker.sources.mending.by_layout import PUT_BACK, check_known, layout_by_columns
from lume_local._worker.sources.mending.line_forms import LineForm, entry_of, form_in_cell
from lume_local._worker.sources.mending.line_forms import form_of as form_of_entry
from lume_local._worker.sources.mending.lost_letters import INVALID, KEPT, NOTED, STILL_LOST, as_counted
from lume_local._worker.sources.mending.mended_rows import is_noted, refuse_as_source
from lume_local._worker.sources.source import SourceError
from lume_local._worker.sql import RowsFile
from lume_local._worker.statements import LAYOUT, Relation, form_of

if TYPE_CHECKING:
    from lume_local._worker.sources.formats.sheets.workbook import Workbook

_BY_COLUMNS = "fill in its columns and clear _lume_raw"
_OF_A_SHEET = f"is a row of a sheet as text: {_BY_COLUMNS}"
_UNKNOWN = f"the header of its file is not known: submit it for its run, or {_BY_COLUMNS}"
_LACKS = f"its file has a column that these rejects lack: put that back, or {_BY_COLUMNS}"
_MOST_KEPT = 10_000

Cells = Sequence[str | None]
"""The values of a record; bytes that aren't UTF-8 are surrogates."""


class TakesRecords(Protocol):
    """Takes the records of a file of rejects.

    Attributes:
        form: how a line of the file that is no record is read once it is corrected, if known.
    """

    form: LineForm | None

    def take(self, line: int, cells: Cells, *, is_text: bool = True) -> None:
        """Take the record that begins at a line of the file; `is_text` is whether it is valid UTF-8."""


class CsvRecords:
    """Takes the records of a CSV file for another. See `scan.TakesLines`."""

    def __init__(self, dialect: Dialect, names: Sequence[str], into: TakesRecords) -> None:
        self._dialect, self._width, self._into = dialect, len(names), into
        self.form, self._delim = into.form, dialect.delim.decode()
        # Without quotes a malformed line must come last, and extends to the end of its line.
        self._open_end = not dialect.quote and len(names) > 1 and names[-1].lower() == RAW
        self.record = dialect.record(len(names))
        if self._open_end:
            self.record = dialect.record(len(names) - 1) + re.escape(dialect.delim) + rb"[^\r\n]*+"

    def take(self, line: int, record: bytes) -> None:
        dialect, is_text = self._dialect, is_utf8(record)
        if self._open_end or not dialect.quote or dialect.quote not in record:
            most = self._width - 1 if self._open_end else -1
            texts = record.decode("utf-8", KEPT).split(self._delim, most)
            cells = [text or None for text in texts]
        else:
            fields = dialect.split(record)
            cells = [dialect.value(field).decode("utf-8", KEPT) if field else None for field in fields]
        self._into.take(line, cells, is_text=is_text)


class OwnColumns:
    """Lume's own columns in a file of rejects; notes the identities of its rows."""

    def __init__(self, names: Sequence[str], corrected: CorrectedRows | None) -> None:
        lower = [name.lower() for name in names]
        self._at = {name: lower.index(name) for name in (LAYOUT, REASONS, RAW, FORM, *NOTED) if name in lower}
        self._identity = [self._at.get(name) for name in NOTED]
        self._noted = corrected
        if corrected is None:
            refuse_as_source(names)
        self.others = [n for n, name in enumerate(lower) if not name.startswith(RESERVED)]
        self.texts = [
            n for n in range(len(names)) if n not in map(self._at.get, (FILE, LAYOUT, ROW, LINE, REASONS))
        ]
        """The columns whose texts may lack letters."""

    def of(self, cells: Cells, name: str) -> str:
        at = self._at.get(name)
        return "" if at is None else cells[at] or ""

    def at(self, name: str) -> int | None:
        return self._at.get(name)

    def note(self, cells: Cells) -> tuple[str, str, str]:
        file, row, line, *more = ["" if at is None else (cells[at] or "").strip() for at in self._identity]
        if self._noted is not None:
            self._noted.note(file, row, line, *more)
        return file, row, line


class RejectRows:
    """See `TakesRecords`: writes rows for DuckDB; a record that holds a malformed line is that line, read again.

    Args:
        source: the flow as it reads its source; the reading's may be for the file of rejects.
    """

    def __init__(self, reading: Reading, names: list[str], source: dict[str, Any]) -> None:
        self.names, self._source, self._shown = names, source, reading.shown
        self._origin, self._malformed = reading.origin, reading.malformed
        self._own = OwnColumns(names, reading.corrected)
        self._layout_of_others = layout_by_columns(source, reading.shown, names) if source["layouts"] else ""
        self._others = self._own.others
        csv = source["csv"] if source["format"] == "csv" else reading.flow["csv"]
        self._usual = LineForm.of(self._others, reading.flow | {"csv": csv})
        self.form: LineForm | None = self._usual
        # Several files may have several headers, unless the flow names their columns.
        is_of_flow = source["header"]["names"] or (source["fixed"] or {}).get("names")
        self._is_known = reading.origin.lines is None and bool(self._own.at(FILE) is None or is_of_flow)
        self._forms: dict[tuple[str, str], LineForm | str] = {}
        self._grammars: dict[tuple[LineForm, str], list[tuple[re.Pattern[bytes], Dialect | FixedWidth]]] = {}
        self._of_layouts: dict[str, dict[str, Any]] = {}
        self._file = RowsFile(reading.folder / "rows", len(names))

    @property
    def reader(self) -> str:
        return self._file.reader

    def close(self) -> None:
        self._file.close()

    def take(self, line: int, cells: Cells, *, is_text: bool = True) -> None:
        own, identity = self._own, self._own.note(cells)
        texts = (cells[n] or "" for n in own.texts)
        if not is_text:
            found: Cells | RefusedLine = self._refused(cells, INVALID)
        elif self._origin.lost.are_left(as_counted(identity), own.of(cells, REASONS), texts):
            found = self._refused(cells, STILL_LOST)
        elif raw := own.of(cells, RAW):
            found = self._read_again(cells, raw.encode())
        elif self._source["format"] == "csv" and "" in cells:
            found = [value or None for value in cells]  # CSV knows no empty value
        else:
            found = cells
        if isinstance(found, RefusedLine):
            layout = self._layout(cells)
            if self._source["layouts"]:
                check_known(self._shown, self._source, [layout or own.of(cells, LAYOUT).strip() or None])
            self._malformed.refuse(line, evolve(found, layout=layout))
        else:
            self._malformed.places.add(line)
            self._file.write(found)

    def _layout(self, cells: Cells) -> str:
        """Return the layout of a record's file; empty if it has none, or if that is not known."""
        layouts = self._source["layouts"]
        found = self._own.of(cells, LAYOUT).strip() or self._origin.layouts.get(self._own.of(cells, FILE), "")
        return found if found in layouts else self._layout_of_others

    def _form_of_source(self, layout: str) -> dict[str, Any]:
        """Return the compiled form that has read a file."""
        if layout not in self._of_layouts:
            self._of_layouts[layout] = form_of(self._source, layout)
        return self._of_layouts[layout]

    def _read_again(self, cells: Cells, raw: bytes) -> Cells | RefusedLine:
        file, layout = self._own.of(cells, FILE), self._layout(cells)
        source = self._form_of_source(layout)
        row: list[str | None] = [None] * len(cells)
        for own in map(self._own.at, (FILE, LAYOUT)):
            if own is not None:
                row[own] = cells[own]
        if source["format"] == "excel":
            return RefusedLine(_OF_A_SHEET, raw, file)
        if source["format"] in OBJECTS:  # in a table, as there are layouts
            if (members := _members(raw)) is None:
                return RefusedLine(NOT_JSON, raw, file)
            for n in self._others:
                row[n] = text_of(_member_of(members, self.names[n]))
            return row
        form = self._form_of(cells)
        if isinstance(form, str):
            return RefusedLine(form, raw, file)
        grammars = self._grammars_of(form, layout)
        grammar = next((one for pattern, one in grammars if pattern.match(raw)), None)
        if grammar is None:
            why = grammars[0][1].why_malformed(raw, len(form.at))
            is_filled_in = any(cells[n] for n in self._others)
            return RefusedLine(why + (FILLED_IN if is_filled_in else ""), raw, file, form)
        for at, field in zip(form.at, grammar.split(raw), strict=True):
            if at is not None:
                row[at] = grammar.value(field).decode() or None
        return row

    def _refused(self, cells: Cells, why: str) -> RefusedLine:
        """Return the malformed line of a record, or a line of its columns."""
        file = self._own.of(cells, FILE).encode("utf-8", KEPT).decode("utf-8", "replace")
        found = self._form_of(cells)
        form = found if isinstance(found, LineForm) else None
        if raw := self._own.of(cells, RAW):
            return RefusedLine(why, raw.encode("utf-8", KEPT), file, form)
        if form is None or not {n for n in self._others if cells[n]}.issubset(form.at):
            form = self._usual
        (_, grammar), *_ = self._grammars_of(form, "" if form is self._usual else self._layout(cells))
        values = [("" if n is None else cells[n] or "").encode("utf-8", KEPT) for n in form.at]
        if isinstance(grammar, Dialect):
            return RefusedLine(why, grammar.delim.join(map(grammar.as_field, values)), file, form)
        return RefusedLine(why, b" ".join(values), file, form)

    def _form_of(self, cells: Cells) -> LineForm | str:
        """Return how the malformed line of a record is read, or why that is unknown."""
        cell = self._own.of(cells, FORM)
        if self._is_known and not cell:
            return self._usual
        file, layout = self._own.of(cells, FILE), self._layout(cells)
        key = cell or file, layout
        if key not in self._forms:
            if len(self._forms) == _MOST_KEPT:
                self._forms.clear()
            why = _UNKNOWN
            if cell:
                form = form_in_cell(cell, self.names)
            else:
                entry = entry_of(self._origin.lines or [], file)
                form = None if entry is None else form_of_entry(entry, self.names)
                if entry is not None and form is None:
                    why = _LACKS
            is_lost = form is None or (form.csv is None and not self._form_of_source(layout)["fixed"])
            self._forms[key] = why if form is None or is_lost else form
        return self._forms[key]

    def _grammars_of(
        self, form: LineForm, layout: str
    ) -> list[tuple[re.Pattern[bytes], Dialect | FixedWidth]]:
        """Return how a line may be written: like its file, or with the flow's quotes, which may be more accurate."""
        key = form, layout
        if key not in self._grammars:
            found: list[Dialect | FixedWidth]
            source = self._form_of_source(layout)
            if form.csv is None:
                found = [FixedWidth.of(source["fixed"])]
            else:
                own: dict[str, str] = dict(zip(("delim", "quote", "escape"), form.csv, strict=True))
                csv = (source["csv"] if source["format"] == "csv" else own) | {"delim": own["delim"]}
                found = [*dict.fromkeys(map(Dialect.of, (own, csv)))]
            self._grammars[key] = [(re.compile(one.record(len(form.at)) + rb"\Z"), one) for one in found]
        return self._grammars[key]


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
        self._is_table = TABLE in names
        read = {name: spellings(flow, name) for name in flow["sources"]}
        absent = {  # no column has them, nor the object that they are a member of
            name: several
            for name, several in read.items()
            if {there for one in several for there in (one, one.partition(".")[0])}.isdisjoint(names)
        }
        for name in absent:
            if self._is_table:
                raise SourceError(lacking(flow, names, name, f"{REJECTED_ROWS} have", OTHERWISE))
            if OBJECT in names:  # a run writes them with all columns that the flow reads
                raise SourceError(lacking(flow, names, name, "the corrected rejects have", PUT_BACK))
        if reading.corrected is not None:
            reading.corrected.lacking.update(absent)
        # Columns of a table are read as they are, even if they have dots.
        plain = names if self._is_table else []
        nested = (one for each in read.values() if set(each).isdisjoint(plain) for one in each if "." in one)
        # By member (before the first dot of a name), a name within it that the flow reads.
        self._nested = {one.partition(".")[0]: one for one in nested}
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
            if self._is_table:  # it would come from a column of another table
                raise SourceError(
                    f"{REJECTED_ROWS} have text in {name!r}, where the flow reads {within!r}. {OTHERWISE}"
                ) from None
            return cell
        # Unchanged, so that numbers keep their digits. Line ends can only be between its parts.
        return orjson.Fragment(cell.replace("\r", " ").replace("\n", " ").encode())


OF_REJECTS: dict[str, Any] = {"header": asdict(HeaderSettings()), "comment": "", "footer": None}
"""The place of the table in a file of rejects, in terms of a compiled flow; the source's may differ."""
_WHOLE_SHEET: dict[str, Any] = {"sheet": "", "range": None, "merged": "first", "of_all": False}
_PLAIN = {"quote": '"', "escape": ""}
"""The quoting of spreadsheets, and of rejects whose source was no CSV."""

_BEGINNING = re.compile(rb'(?:\xef\xbb\xbf)?"?_lume_row"?([,;\t|])')
"""The beginning of rejects in CSV, as written by Lume or by a spreadsheet."""
_BEGINNING_OF_OBJECTS = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"_lume_')

_START = 64 * 1024
_DELIMS = (",", ";", "\t", "|")
_MOST_COLUMNS = 20_000


def reader_of_rejects(reading: Reading, format: str) -> Callable[[], Relation] | None:
    """Return what reads the file if it holds corrected rejects, other than as its source is read; else None.

    Both this and the reading raise `SourceError`.
    """
    with reading.path.open("rb") as file:
        start = file.read(_START)
    is_zip = magic.kind_of(start[: magic.LENGTH]) == magic.ZIP
    if format != "excel" and is_zip:
        from lume_local._worker.sources.formats.sheets.excel import opened

        # If it can't be opened, it is refused later, as any ZIP archive is.
        with suppress(ModuleNotFoundError, SourceError), opened(reading) as book:
            if holds_rejects(book):
                return partial(_read_book, reading)
    if _BEGINNING_OF_OBJECTS.match(start):
        if is_table_of_objects(start, format):
            return partial(_read_members, reading)
        # These are consecutive objects, whatever the form of their source was.
        own = evolve(reading, flow=reading.flow | {"records": []})
        return partial(read_json if format == "json" else read_ndjson, own)
    if format == "csv":
        return _reader_of_saved_csv(reading, start)
    if match := _BEGINNING.match(start):
        # A quoted empty field is an empty string and an unquoted one NULL, as the source knows both.
        csv = {"delim": match[1].decode(), **_PLAIN, "keeps_empty": True}
        form = {"format": "csv", "encoding": "utf-8", "csv": csv}
        return partial(_read_csv, evolve(reading, flow=reading.flow | OF_REJECTS | form), reading.flow)
    return None


def in_book_of_rejects(flow: dict[str, Any], book: "Workbook") -> dict[str, Any]:
    """Return the flow; if the workbook holds corrected rejects, for a table from the first row of its first sheet."""
    is_plain = all(flow[key] == value for key, value in OF_REJECTS.items()) and flow["excel"] == _WHOLE_SHEET
    return flow if is_plain or not holds_rejects(book) else flow | OF_REJECTS | {"excel": _WHOLE_SHEET}


def is_table_of_objects(start: bytes, format: str) -> bool:
    """Return whether a file begins with rejects of a table as objects."""
    is_table = format not in OBJECTS or f'"{TABLE}"'.encode() in start.partition(b"\n")[0]
    return is_table and _BEGINNING_OF_OBJECTS.match(start) is not None


def delim_of_rejects(header: bytes, flow: dict[str, Any]) -> str:
    """Return the delimiter of rejects in CSV that begin with these bytes, in UTF-8; empty for another file."""
    if flow["format"] != "csv":
        match = _BEGINNING.match(header)
        return match[1].decode() if match else ""
    text = header.decode(errors="replace").lower()
    return _delim_of(text, flow["csv"]["delim"]) if RESERVED in text else ""


# -- CSV


def _reader_of_saved_csv(reading: Reading, start: bytes) -> Callable[[], Relation] | None:
    """Return the reader for rejects of CSV as a person has saved them: with another delimiter, or in UTF-8."""
    flow = reading.flow
    mark = next((name for mark, name in MARKS.items() if start.startswith(mark)), None)
    encoding = mark or flow["encoding"]
    header = _header(start, encoding)
    if RESERVED not in header and RESERVED.encode() in re.split(rb"[\r\n]", start, maxsplit=1)[0]:
        encoding = "utf-8"  # the flow's encoding has other bytes for ASCII
        header = _header(start, encoding)
    if RESERVED not in header:
        return None
    if mark is None and not is_utf8_name(encoding) and is_utf8_beyond_ascii(reading.path, reading.pause):
        encoding = "utf-8"
    csv = flow["csv"]
    if (delim := _delim_of(header, csv["delim"])) != csv["delim"]:
        csv = {"delim": delim, **_PLAIN}
    saved = evolve(reading, flow=flow | OF_REJECTS | {"csv": csv, "encoding": encoding})
    return lambda: _read_csv(in_utf8(saved), flow)


def _header(start: bytes, encoding: str) -> str:
    try:
        text = codecs.getincrementaldecoder(encoding)("replace").decode(start)
    except UnicodeError:  # a byte order mark is missing
        return ""
    return re.split(r"[\r\n]", text, maxsplit=1)[0].lower()


def _delim_of(header: str, own: str) -> str:
    """Return the delimiter of a lower-case header: the one beside a column of Lume's; `own` is the flow's."""
    column = rf"\"?{RESERVED}\w+\"?"
    marks = ((delim, re.escape(delim)) for delim in (own, *_DELIMS))
    return next((delim for delim, mark in marks if re.search(f"{column}{mark}|{mark}{column}", header)), own)


def _read_csv(reading: Reading, source: dict[str, Any]) -> Relation:
    dialect = Dialect.of(reading.flow["csv"])
    names = names_of(reading, dialect)
    if source["format"] not in OBJECTS and RAW not in map(str.lower, names) and not is_noted(reading, names):
        return _with_files(read_csv(reading))  # examining each record takes ten times as long
    return _read(
        reading, source, names, lambda into: split_records(reading, dialect, CsvRecords(dialect, names, into))
    )


# -- workbooks


def holds_rejects(book: "Workbook") -> bool:
    """Return whether the first sheet begins with a column of Lume's own."""
    from lume_local._worker.sources.formats.sheets.excel import first_sheet

    with closing(first_sheet(book)) as rows:
        return any(value and value.startswith(RESERVED) for value in next(rows, (0, []))[1])


def _read_book(reading: Reading) -> Relation:
    """Read rejects in the first sheet of a workbook, although their source had another format."""
    from lume_local._worker.sources.formats.sheets.excel import first_sheet, opened

    with opened(reading) as book, closing(first_sheet(book)) as found:
        names = [(name or "").strip() for name in next(found)[1]]

        def fill(into: TakesRecords) -> None:
            for number, values in found:
                if all(value is None for value in values):
                    continue
                reading.account.records += 1
                if any(value is not None for value in values[len(names) :]):
                    text = ",".join(value or "" for value in values).encode("utf-8", "replace")
                    reading.malformed.refuse(number, RefusedLine("too many columns", text, form=into.form))
                else:
                    into.take(number, [*values, *[None] * len(names)][: len(names)])

        return _read(reading, reading.flow, names, fill)


# -- objects


def _read_members(reading: Reading) -> Relation:
    """Read rejects of a table as objects: in a replay, or as a program has sent them."""
    names = dict[str, None]()
    for _, line in _lines(reading):
        names |= dict.fromkeys(_members(line) or ())
        if len(names) > _MOST_COLUMNS:
            raise SourceError(
                f"the objects of {reading.shown} have more than {_MOST_COLUMNS:,} different members"
            )

    def fill(into: TakesRecords) -> None:
        for number, line in _lines(reading):
            reading.account.records += 1
            if (values := _members(line)) is None:
                reading.malformed.refuse(number, RefusedLine(NOT_JSON, line.rstrip(b"\r")))
            else:
                into.take(number, [text_of(values.get(name)) for name in names], is_text=is_utf8(line))
        reading.account.lines = physical_lines(reading.path, reading.pause)

    return _read(reading, reading.flow, list(names), fill)


def _lines(reading: Reading) -> Iterator[tuple[int, bytes]]:
    """Yield each line that is not blank, with its number."""
    number = 0
    for block in blocks_of_lines(reading.path, reading.pause):
        for line in block.removeprefix(b"" if number else BOM).removesuffix(b"\n").split(b"\n"):
            number += 1
            if line.strip():
                yield number, line


def _member_of(members: dict[str, Any], name: str) -> Any:
    """Return the value that a flow reads by a name: the member with that name, or one in nested objects."""
    if name in members:
        return members[name]
    inner: Any = members
    for step in name.split("."):
        inner = inner.get(step) if isinstance(inner, dict) else None
    return inner


def _members(line: bytes) -> dict[str, Any] | None:
    """Return the object of a line, numbers as they are written; None if the line isn't one."""
    try:
        errors = "strict" if is_utf8(line) else KEPT
        value = _DECODER.decode(text := line.decode("utf-8", errors))
        if "\\u" in text:  # half of a surrogate pair is no text
            json.dumps(value, ensure_ascii=False).encode("utf-8", errors)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


_DECODER = json.JSONDecoder(
    object_pairs_hook=without_repeats, parse_float=str, parse_int=str, parse_constant=str
)


# -- all of them


def _read(
    reading: Reading, source: dict[str, Any], names: list[str], fill: Callable[[TakesRecords], object]
) -> Relation:
    """Read records as rows or as objects, as their source has them. Raises `SourceError`."""
    if source["format"] in OBJECTS:
        folder, account = reading.folder / "objects", Account(0)
        folder.mkdir()
        with closing(RejectObjects(reading, names, folder / "lines")) as objects:
            fill(objects)
        rows = reading.account.records - reading.malformed.total
        flow = reading.flow | {"max_line_bytes": max(reading.flow["max_line_bytes"], objects.longest)}
        relation = read_ndjson(evolve(reading, path=objects.path, account=account, flow=flow, folder=folder))
        if account.records != rows:
            raise SourceError(
                f"{reading.shown} has {counted(rows, 'row')}, but {account.records:,} became objects"
            )
        return relation
    names = readable(names)
    visible = visible_columns(reading.flow, names, reading.shown)
    with closing(RejectRows(reading, names, source)) as table:
        fill(table)
    return _with_files(relation_of_table(table.reader, reading.flow, names, visible))


def _with_files(relation: Relation) -> Relation:
    """Return the relation with the file of each row, if rejects have it: those rejected again still belong to it."""
    lower = [name.lower() for name in relation.raw]
    if FILE not in lower:
        return relation
    reader = f"SELECT *, coalesce(_lume_s{lower.index(FILE)}, '') AS {FILE} FROM ({relation.reader})"  # noqa: S608
    return evolve(relation, reader=reader, of_files=True)
