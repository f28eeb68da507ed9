"""Workbooks of four kinds with the same cells: by openpyxl, xlwt, odfpy, and of `.xlsb`, which no library writes."""

import datetime
import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from components import package

KINDS = ("xlsx", "xls", "ods", "xlsb")
ERRORS = {"#NULL!": 0x00, "#DIV/0!": 0x07, "#VALUE!": 0x0F, "#REF!": 0x17, "#NAME?": 0x1D, "#NUM!": 0x24}
ERRORS |= {"#N/A": 0x2A}
DATE, TIME, MOMENT, DURATION = "yyyy-mm-dd", "hh:mm:ss", "yyyy-mm-dd hh:mm:ss", "[h]:mm:ss"


class Error(str):
    """A cell that shows an error."""


@frozen
class Sheet:
    """A sheet: its rows, whether it is `visible`, `hidden` or `veryHidden`, and its merged areas.

    A merged area is its first row and column and its last ones, from 0 on.
    """

    rows: Sequence[Sequence[Any]]
    state: str = "visible"
    merged: Sequence[tuple[int, int, int, int]] = ()


def written(kind: str, sheets: Mapping[str, Sheet] | Sequence[Sequence[Any]]) -> bytes:
    """A workbook; of one sheet if only rows are given."""
    if not isinstance(sheets, Mapping):
        sheets = {"Sheet1": Sheet(sheets)}
    return {"xlsx": _xlsx, "xls": _xls, "ods": _ods, "xlsb": _xlsb}[kind](sheets)


def format_of(value: Any) -> str:
    """The number format of a cell with such a value."""
    if isinstance(value, datetime.datetime):
        return MOMENT
    shapes = {datetime.date: DATE, datetime.time: TIME, datetime.timedelta: DURATION}
    return next((shape for kind, shape in shapes.items() if isinstance(value, kind)), "General")


def serial(value: Any) -> float:
    """The number that a cell has for a date or a time."""
    if isinstance(value, datetime.timedelta):
        return value / datetime.timedelta(days=1)
    if isinstance(value, datetime.time):
        value = datetime.datetime.combine(datetime.date(1899, 12, 30), value)
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime.combine(value, datetime.time())
    days: float = (value - datetime.datetime(1899, 12, 30)) / datetime.timedelta(days=1)
    return days


def _xlsx(sheets: Mapping[str, Sheet]) -> bytes:
    book, out = package("openpyxl").Workbook(), io.BytesIO()
    book.remove(book.active)
    for name, sheet in sheets.items():
        page = book.create_sheet(name)
        page.sheet_state = sheet.state
        for number, row in enumerate(sheet.rows, 1):
            for column, value in enumerate(row, 1):
                if value is not None:
                    cell = page.cell(number, column, value)
                    cell.number_format = format_of(value)
                    if isinstance(value, str) and not isinstance(value, Error):
                        cell.data_type = "s"
        for top, left, bottom, right in sheet.merged:
            page.merge_cells(
                start_row=top + 1, start_column=left + 1, end_row=bottom + 1, end_column=right + 1
            )
    book.save(out)
    return out.getvalue()


def _xls(sheets: Mapping[str, Sheet]) -> bytes:
    xlwt = package("xlwt")
    book, out = xlwt.Workbook(), io.BytesIO()
    styles = {shape: xlwt.easyxf(num_format_str=shape) for shape in ("General", DATE, TIME, MOMENT, DURATION)}
    for name, sheet in sheets.items():
        page = book.add_sheet(name)
        page.visibility = ("visible", "hidden", "veryHidden").index(sheet.state)
        for number, row in enumerate(sheet.rows):
            for column, value in enumerate(row):
                if isinstance(value, Error):
                    page.row(number).set_cell_error(column, ERRORS[value])
                elif isinstance(value, datetime.timedelta | datetime.time | datetime.date):
                    page.write(number, column, serial(value), styles[format_of(value)])
                elif value is not None:
                    page.write(number, column, value, styles["General"])
        for top, left, bottom, right in sheet.merged:
            page.merge(top, bottom, left, right)
    book.save(out)
    return out.getvalue()


def _ods(sheets: Mapping[str, Sheet]) -> bytes:
    table, style = package("odf.table"), package("odf.style")
    document, out = package("odf.opendocument").OpenDocumentSpreadsheet(), io.BytesIO()
    hidden = style.Style(name="hidden", family="table")
    hidden.addElement(style.TableProperties(display=False))
    document.automaticstyles.addElement(hidden)
    for name, sheet in sheets.items():
        more = {} if sheet.state == "visible" else {"stylename": hidden}
        page = table.Table(name=name, **more)
        spans = {
            (top, left): (bottom - top + 1, right - left + 1) for top, left, bottom, right in sheet.merged
        }
        for number, row in enumerate(sheet.rows):
            line = table.TableRow()
            for column, value in enumerate(row):
                line.addElement(_ods_cell(value, spans.get((number, column), (1, 1))))
            page.addElement(line)
        document.spreadsheet.addElement(page)
    document.save(out)
    return out.getvalue()


def _ods_cell(value: Any, span: tuple[int, int]) -> Any:
    table, text = package("odf.table"), package("odf.text")
    more: dict[str, Any] = {}
    if span != (1, 1):
        more = {"numberrowsspanned": span[0], "numbercolumnsspanned": span[1]}
    if value is None:
        return table.TableCell(**more)
    shown = str(value)
    if isinstance(value, Error):
        more |= {"valuetype": "string", "formula": "of:=NA()", "stringvalue": ""}
    elif isinstance(value, str):
        more |= {"valuetype": "string"}
    elif isinstance(value, bool):
        more |= {"valuetype": "boolean", "booleanvalue": str(value).lower()}
    elif isinstance(value, datetime.timedelta):
        minutes, seconds = divmod(round(value.total_seconds()), 60)
        more |= {"valuetype": "time", "timevalue": f"PT{minutes // 60:02}H{minutes % 60:02}M{seconds:02}S"}
    elif isinstance(value, datetime.time):
        more |= {"valuetype": "time", "timevalue": f"PT{value.hour:02}H{value.minute:02}M{value.second:02}S"}
    elif isinstance(value, datetime.date):
        more |= {"valuetype": "date", "datevalue": value.isoformat()}
    else:
        more |= {"valuetype": "float", "value": str(value)}
    cell = table.TableCell(**more)
    for line in shown.split("\n"):
        cell.addElement(text.P(text=line))
    return cell


FORMATS = ["General", DATE, TIME, MOMENT, DURATION]
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES = """<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">
<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>
<Default Extension="bin" ContentType="application/vnd.ms-excel.sheet.binary.macroEnabled.main"/></Types>"""


def record(kind: int, data: bytes = b"") -> bytes:
    """One record of a part of a binary workbook."""
    head = bytes([kind]) if kind < 0x80 else bytes([kind & 0x7F | 0x80, kind >> 7])
    size, length = b"", len(data)
    while length >= 0x80:
        size, length = size + bytes([length & 0x7F | 0x80]), length >> 7
    return head + size + bytes([length]) + data


def wide(text: str) -> bytes:
    """A string with its length."""
    units = text.encode("utf-16-le", "surrogatepass")
    return struct.pack("<I", len(units) // 2) + units


def _xlsb(sheets: Mapping[str, Sheet]) -> bytes:
    strings = list[str]()
    relations = "".join(
        f'<Relationship Id="rId{n}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{n}.bin"/>'
        for n in range(1, len(sheets) + 1)
    )
    more = "".join(
        f'<Relationship Id="{part}" Type="{_OFFICE}/{part}" Target="{part}.bin"/>'
        for part in ("styles", "sharedStrings")
    )
    top = f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.bin"/>'
    bundle = b"".join(
        record(
            156,
            struct.pack("<II", ("visible", "hidden", "veryHidden").index(sheet.state), n)
            + wide(f"rId{n}")
            + wide(name),
        )
        for n, (name, sheet) in enumerate(sheets.items(), 1)
    )
    styles = b"".join(record(44, struct.pack("<H", 164 + n) + wide(one)) for n, one in enumerate(FORMATS))
    styles = record(615, struct.pack("<I", len(FORMATS))) + styles + record(616)
    cells = b"".join(record(47, struct.pack("<HH12x", 0, 164 + n)) for n in range(len(FORMATS)))
    styles += record(626, struct.pack("<I", 1)) + record(47, bytes(16)) + record(627)  # of named styles
    styles += record(617, struct.pack("<I", len(FORMATS))) + cells + record(618)
    pages = {
        f"xl/worksheets/sheet{n}.bin": _xlsb_sheet(sheet, strings)
        for n, sheet in enumerate(sheets.values(), 1)
    }
    items = b"".join(record(19, b"\0" + wide(one)) for one in strings)
    count = struct.pack("<II", len(strings), len(strings))
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": _TYPES,
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}">{top}</Relationships>',
        "xl/_rels/workbook.bin.rels": f'<Relationships xmlns="{_PACKAGE}">{relations}{more}</Relationships>',
        "xl/workbook.bin": record(131) + record(143) + bundle + record(144) + record(132),
        "xl/styles.bin": record(278) + styles + record(279),
        "xl/sharedStrings.bin": record(159, count) + items + record(160),
        **pages,
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def _xlsb_sheet(sheet: Sheet, strings: list[str]) -> bytes:
    width = max([1, *map(len, sheet.rows)])
    out = [
        record(129),
        record(148, struct.pack("<4I", 0, max(len(sheet.rows) - 1, 0), 0, width - 1)),
        record(145),
    ]
    for number, row in enumerate(sheet.rows):
        if not row:
            continue
        out.append(record(0, struct.pack("<II9x", number, 0)))
        out += [_xlsb_cell(column, value, strings) for column, value in enumerate(row) if value is not None]
    out.append(record(146))
    if sheet.merged:
        areas = (record(176, struct.pack("<4I", one[0], one[2], one[1], one[3])) for one in sheet.merged)
        out += [record(177, struct.pack("<I", len(sheet.merged))), *areas, record(178)]
    return b"".join([*out, record(130)])


def _xlsb_cell(column: int, value: Any, strings: list[str]) -> bytes:
    head = struct.pack("<II", column, FORMATS.index(format_of(value)))
    if isinstance(value, Error):
        return record(3, head + bytes([ERRORS[value]]))
    if isinstance(value, str):
        strings.append(value)
        return record(7, head + struct.pack("<I", len(strings) - 1))
    if isinstance(value, bool):
        return record(4, head + bytes([value]))
    if isinstance(value, int) and abs(value) < 2**28:
        return record(2, head + struct.pack("<i", value << 2 | 2))
    number = serial(value) if isinstance(value, datetime.date | datetime.time | datetime.timedelta) else value
    return record(5, head + struct.pack("<d", number))
