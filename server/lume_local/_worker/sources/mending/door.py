"""The door for corrected rejects, whatever their source was, and whatever program has saved them.

Rejects of or in a table are recognized here by the columns that rejects begin with: in CSV, in the first sheet of a
workbook, or as objects. Each record becomes a row or an object of its source, or a malformed line once more.
Rejects of a source of objects, as objects, are read by `ndjson`, which takes Lume's own members away.
"""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from typing import Any

from attrs import asdict, evolve

from lume_async._base.words import counted
from lume_local._flow.definition import RESERVED
from lume_local._flow.table_bounds import HeaderSettings
from lume_local._shared import magic
from lume_local._worker.outputs.row_json import FILE, RAW, TABLE, text_of
from lume_local._worker.sources.files import BOM, is_utf8, is_utf8_beyond_ascii, is_utf8_name, physical_lines
from lume_local._worker.sources.formats.json import read_json
from lume_local._worker.sources.formats.names import layout_of_table, readable, visible_columns
from lume_local._worker.sources.formats.ndjson import blocks_of_lines, read_ndjson
from lume_local._worker.sources.formats.sheets.excel import first_sheet, opened
from lume_local._worker.sources.formats.sheets.workbook import Workbook
from lume_local._worker.sources.formats.strict_json import without_repeats
from lume_local._worker.sources.formats.text.csv import names_of, read_csv, split_records
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.formats.text.encoding import in_utf8
from lume_local._worker.sources.intake import NOT_JSON, Account, Reading, RefusedLine
from lume_local._worker.sources.mending.lost_letters import KEPT
from lume_local._worker.sources.mending.mended_rows import is_noted
from lume_local._worker.sources.mending.reject_records import (
    CsvRecords,
    RejectObjects,
    RejectRows,
    TakesRecords,
)
from lume_local._worker.sources.source import SourceError
from lume_local._worker.statements import Layout

OF_REJECTS: dict[str, Any] = {"header": asdict(HeaderSettings()), "comment": "", "footer": None}
"""The place of the table in a file of rejects, in terms of a compiled flow; the source's may differ."""
_WHOLE_SHEET: dict[str, Any] = {"sheet": "", "range": None, "merged": "first", "of_all": False}
_OF_OBJECTS = ("ndjson", "json", "xml")
_PLAIN = {"quote": '"', "escape": ""}
"""The quoting of spreadsheets, and of rejects whose source was no CSV."""

_BEGINNING = re.compile(rb'(?:\xef\xbb\xbf)?"?_lume_row"?([,;\t|])')
"""The beginning of rejects in CSV, as written by Lume or by a spreadsheet."""
_BEGINNING_OF_OBJECTS = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*"_lume_')
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_START = 64 * 1024
_DELIMS = (",", ";", "\t", "|")
_MOST_COLUMNS = 20_000


def reader_of_rejects(reading: Reading, format: str) -> Callable[[], Layout] | None:
    """Return what reads the file if it holds corrected rejects, other than as its source is read; else None.

    Both this and the reading raise `SourceError`.
    """
    with reading.path.open("rb") as file:
        start = file.read(_START)
    is_zip = magic.kind_of(start[: magic.LENGTH]) == magic.ZIP
    if format != "excel" and is_zip:
        # If it can't be opened, it is refused later, as any ZIP archive is.
        with suppress(ModuleNotFoundError, SourceError), opened(reading) as book:
            if _holds_rejects(book):
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


def in_book_of_rejects(flow: dict[str, Any], book: Workbook) -> dict[str, Any]:
    """Return the flow; if the workbook holds corrected rejects, for a table from the first row of its first sheet."""
    is_plain = all(flow[key] == value for key, value in OF_REJECTS.items()) and flow["excel"] == _WHOLE_SHEET
    return flow if is_plain or not _holds_rejects(book) else flow | OF_REJECTS | {"excel": _WHOLE_SHEET}


def is_table_of_objects(start: bytes, format: str) -> bool:
    """Return whether a file begins with rejects of a table as objects."""
    is_table = format not in _OF_OBJECTS or f'"{TABLE}"'.encode() in start.partition(b"\n")[0]
    return is_table and _BEGINNING_OF_OBJECTS.match(start) is not None


def delim_of_rejects(header: bytes, flow: dict[str, Any]) -> str:
    """Return the delimiter of rejects in CSV that begin with these bytes, in UTF-8; empty for another file."""
    if flow["format"] != "csv":
        match = _BEGINNING.match(header)
        return match[1].decode() if match else ""
    text = header.decode(errors="replace").lower()
    return _delim_of(text, flow["csv"]["delim"]) if RESERVED in text else ""


# -- CSV


def _reader_of_saved_csv(reading: Reading, start: bytes) -> Callable[[], Layout] | None:
    """Return the reader for rejects of CSV as a person has saved them: with another delimiter, or in UTF-8."""
    flow = reading.flow
    mark = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
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


def _read_csv(reading: Reading, source: dict[str, Any]) -> Layout:
    dialect = Dialect.of(reading.flow["csv"])
    names = names_of(reading, dialect)
    if (
        source["format"] not in _OF_OBJECTS
        and RAW not in map(str.lower, names)
        and not is_noted(reading, names)
    ):
        return _with_files(read_csv(reading))  # examining each record takes ten times as long
    return _read(
        reading, source, names, lambda into: split_records(reading, dialect, CsvRecords(dialect, names, into))
    )


# -- workbooks


def _holds_rejects(book: Workbook) -> bool:
    with closing(first_sheet(book)) as rows:
        return any(value and value.startswith(RESERVED) for value in next(rows, (0, []))[1])


def _read_book(reading: Reading) -> Layout:
    """Read rejects in the first sheet of a workbook, although their source had another format."""
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


def _read_members(reading: Reading) -> Layout:
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
) -> Layout:
    """Read records as rows or as objects, as their source has them. Raises `SourceError`."""
    if source["format"] in _OF_OBJECTS:
        folder, account = reading.folder / "objects", Account(0)
        folder.mkdir()
        with closing(RejectObjects(reading, names, folder / "lines")) as objects:
            fill(objects)
        rows = reading.account.records - reading.malformed.total
        flow = reading.flow | {"max_line_bytes": max(reading.flow["max_line_bytes"], objects.longest)}
        layout = read_ndjson(evolve(reading, path=objects.path, account=account, flow=flow, folder=folder))
        if account.records != rows:
            raise SourceError(
                f"{reading.shown} has {counted(rows, 'row')}, but {account.records:,} became objects"
            )
        return layout
    names = readable(names)
    visible = visible_columns(reading.flow, names, reading.shown)
    with closing(RejectRows(reading, names, source)) as table:
        fill(table)
    return _with_files(layout_of_table(table.reader, reading.flow, names, visible))


def _with_files(layout: Layout) -> Layout:
    """Return the layout with the file of each row, if rejects have it: those rejected again still belong to it."""
    lower = [name.lower() for name in layout.raw]
    if FILE not in lower:
        return layout
    reader = f"SELECT *, coalesce(_lume_s{lower.index(FILE)}, '') AS {FILE} FROM ({layout.reader})"  # noqa: S608
    return evolve(layout, reader=reader, of_files=True)
