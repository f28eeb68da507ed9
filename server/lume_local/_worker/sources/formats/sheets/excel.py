"""Reads a spreadsheet as a source: one sheet of a workbook, its values as strings. Needs the extra `excel`."""

from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any

from attrs import frozen

from lume_async._base.elided import elided
from lume_async._base.words import counted, listed
from lume_local._flow.patterns import Part
from lume_local._flow.table_bounds import LOOKED_AT, joined
from lume_local._worker.sources.formats.names import readable, relation_of_table, visible_columns
from lume_local._worker.sources.formats.sheets.book import (
    Area,
    ErrorText,
    Row,
    SheetName,
    Unsaved,
    column_letters,
    filled,
    without_gaps,
)
from lume_local._worker.sources.formats.sheets.workbook import Workbook, opened_workbook
from lume_local._worker.sources.formats.table_edges import footer_start, header_not_found, is_header
from lume_local._worker.sources.intake import Account, Reading
from lume_local._worker.sources.source import SourceError, check_number
from lume_local._worker.sql import RowsFile
from lume_local._worker.statements import Relation


@frozen
class OpenSheet:
    """One of several sheets of an open workbook."""

    book: Workbook
    name: str


def read_sheet(reading: Reading, sheet: OpenSheet, most: int | None = None) -> Relation:
    """Read `most` rows of a sheet, or all; one names the columns, blank ones are skipped. Raises `SourceError`."""
    flow = reading.flow
    with closing(table_of(reading, sheet)) as table:
        header = list(flow["header"]["names"]) or header_in(table, flow, reading.shown, reading.account)
        records, names = _records(table, flow, reading.account), readable(header)
        visible = visible_columns(flow, names, reading.shown)
        with closing(RowsFile(reading.folder / "rows", len(names))) as file:
            for number, values in islice(records, most):
                reading.account.records += 1
                if why := _why_malformed(number, values, len(names), flow):
                    text = ",".join(value or "" for value in values)
                    reading.malformed.add(number, why, text.encode("utf-8", "replace"))
                else:
                    reading.malformed.places.add(number)
                    file.write([*values[: len(names)], *[None] * (len(names) - len(values))])
    return relation_of_table(file.reader, flow, names, visible)


def table_of(reading: Reading, sheet: OpenSheet) -> Generator[Row, None, None]:
    """Yield the rows of a sheet within the flow's range, without gaps: the header's row is counted from the first."""
    flow = reading.flow
    with closing(sheet.book.rows(sheet.name)) as found:
        rows: Iterator[Row] = found
        if flow["excel"]["merged"] == "fill":
            rows = filled(rows, sheet.book.merged(sheet.name), reading.shown)
        yield from _within(without_gaps(rows), flow["excel"]["range"], reading.account)


@contextmanager
def opened(reading: Reading) -> Iterator[Workbook]:
    """Open the workbook of this reading. Raises `SourceError`."""
    most: int = reading.flow["max_unpacked_bytes"]
    with opened_workbook(reading.path, reading.shown, most, reading.pause) as book:
        yield book


def _within(rows: Iterator[Row], range: list[int] | None, account: Account) -> Iterator[Row]:
    """Yield the rows of the range, with its columns; rows above and below it are counted as skipped."""
    if range is None:
        yield from rows
        return
    area = Area(*range)
    for number, values in rows:
        if area.top <= number <= area.bottom:
            yield number, values[area.left - 1 : area.right]
        else:
            account.skip({"outside": 1})


def first_sheet(book: Workbook) -> Generator[Row, None, None]:
    """Yield the rows of the first visible sheet, if there is one."""
    for sheet in _seen(book)[:1]:
        yield from book.rows(sheet.name)


def _seen(book: Workbook) -> list[SheetName]:
    """Return the visible sheets; all if a program has hidden all."""
    return [sheet for sheet in book.sheets if not sheet.is_hidden] or book.sheets


def _one_of(book: Workbook, wanted: str | int, shown: str, account: Account) -> str:
    """Return the sheet with that name, or the visible one with that number, from 1; by default the first."""
    if not book.sheets:
        message = "has no sheet with cells: if it is a Strict Open XML workbook, save it as Excel Workbook"
        raise SourceError(f"{shown} {message}")
    names = [sheet.name for sheet in book.sheets]
    if isinstance(wanted, str) and wanted:
        if wanted not in names:
            without = "is a chart" if wanted in book.charts else "is not there"
            raise SourceError(f"{shown} has no sheet {wanted!r} with cells ({without}), but {_listed(book)}")
        return wanted
    seen, number = _seen(book), wanted or 1
    assert isinstance(number, int)
    if number > len(seen):
        raise SourceError(f"{shown} has no visible sheet with the number {number}, but {_listed(book)}")
    found = seen[number - 1]
    _warn_of_hidden(book.sheets[: book.sheets.index(found)], account)
    return found.name


def _listed(book: Workbook) -> str:
    each = [f"{elided(one.name, 100)!r}{' (hidden)' if one.is_hidden else ''}" for one in book.sheets]
    return listed(each, 30, str)


def _warn_of_hidden(sheets: Sequence[SheetName], account: Account) -> None:
    for sheet in sheets:
        if sheet.is_hidden:
            account.warn(f"the hidden sheet {elided(sheet.name, 100)!r} is not read")


def sheets_of(reading: Reading, book: Workbook) -> list[OpenSheet]:
    """Return the sheets that the flow reads, in the order of the workbook: one, or all visible ones that match.

    Raises `SourceError` if there is none.
    """
    wanted, shown = reading.flow["excel"]["sheet"], reading.shown
    if not reading.flow["excel"]["of_all"]:
        return [OpenSheet(book, _one_of(book, wanted, shown, reading.account))]
    matches = Part(wanted).matches
    found = [sheet for sheet in book.sheets if matches(sheet.name)]
    seen = [sheet.name for sheet in found if sheet in _seen(book)]
    if not seen:
        raise SourceError(f"{shown} has no visible sheet that matches {wanted!r}, but {_listed(book)}")
    check_number(len(seen), f"sheets in {shown}")
    _warn_of_hidden([sheet for sheet in found if sheet.name not in seen], reading.account)
    return [OpenSheet(book, name) for name in seen]


def _why_malformed(number: int, values: list[str | None], width: int, flow: dict[str, Any]) -> str:
    if any(value is not None for value in values[width:]):
        return "too many columns"
    for n, value in enumerate(values, flow["excel"]["range"][2] if flow["excel"]["range"] else 1):
        if isinstance(value, ErrorText) and value not in flow["null"]:
            return f"{column_letters(n)}{number} contains the error {value}"
        if isinstance(value, Unsaved):
            place = f"{column_letters(n)}{number}"
            return f"{place} contains a formula without a saved value: open and save the file in Excel"
    return ""


def header_in(rows: Iterator[Row], flow: dict[str, Any], shown: str, account: Account) -> list[str]:
    """Return the names in the header, and skip the rows up to it. Raises `SourceError`."""
    wanted, above, found = flow["header"], list[str](), list[tuple[int, list[str]]]()
    window = deque(islice(rows, wanted["lines"]))
    while window and (wanted["row"] == 1 or len(above) < LOOKED_AT):
        kind, rows_of_names = (
            _kind(window[0][1], flow),
            [[_text(value) for value in values] for _, values in window],
        )
        names = joined(rows_of_names) if any(rows_of_names[0]) else []
        while names and not names[-1]:
            names.pop()
        if wanted["row"] == 1:
            is_found = not (kind and flow["comment"])
        elif wanted["row"]:
            is_found = len(above) + 1 == wanted["row"]
        else:
            found.append((len(above) + 1, names))
            is_found = not kind and is_header(flow, names)
        if is_found:
            account.skip(Counter(above))
            if not names:
                raise SourceError(_no_header(shown, window[0][0]))
            return names
        above.append("comments" if kind == "comments" else "preamble" if wanted["row"] != 1 else "blank")
        window.popleft()
        window.extend(islice(rows, 1))
    if wanted["row"] > 1:
        raise SourceError(
            f"the sheet of {shown} has {counted(len(above), 'row')}: its header should be row {wanted['row']:,}"
        )
    raise SourceError(_no_header(shown, 1) if wanted["row"] else header_not_found(flow, shown, found))


def _no_header(shown: str, row: int) -> str:
    which = "the first row" if row == 1 else f"row {row}"
    return f"{shown} has no header: {which} of its sheet must name the columns: delete what is above them"


def _records(rows: Iterator[Row], flow: dict[str, Any], account: Account) -> Iterator[Row]:
    footer: dict[str, Any] | None = flow["footer"]
    held = deque[Row]()
    """The last rows, if some of them may be a footer."""
    for row in rows:
        held.append(row)
        if footer is None or len(held) > LOOKED_AT:
            yield from _record(held.popleft(), flow, account)
    if not held or footer is None:
        return
    kinds = [_kind(values, flow) for _, values in held]
    texts = [None if kind else _text(values[0]) for kind, (_, values) in zip(kinds, held, strict=True)]
    first = footer_start(footer, texts)
    for row in islice(held, first):
        yield from _record(row, flow, account)
    account.skip(Counter(kind or "footer" for kind in kinds[first:]))
    account.footer = [[*map(_text, held[n][1])] for n in range(first, len(held)) if not kinds[n]]


def _record(row: Row, flow: dict[str, Any], account: Account) -> Iterator[Row]:
    if kind := _kind(row[1], flow):
        account.skip({kind: 1})
    else:
        yield row


def _kind(values: list[str | None], flow: dict[str, Any]) -> str:
    """Return the kind of a row that is no record; empty for all others."""
    if all(value is None for value in values):
        return "blank"
    return "comments" if flow["comment"] and _text(values[0]).startswith(flow["comment"]) else ""


def _text(value: str | None) -> str:
    return (value or "").strip()
