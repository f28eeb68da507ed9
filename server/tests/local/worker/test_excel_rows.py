"""Workbooks that no Excel writes: what could lose a row or a cell is refused, with words."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from components import package
from local.one_run import execute_files as execute

from lume_local._worker.engine import RunFailed

SHEET, BOOK = "xl/worksheets/sheet1.xml", "xl/workbook.xml"
SPACE = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
HEADER = '<row r="1"><c r="A1" t="inlineStr"><is><t>id</t></is></c></row>'


def workbook(rows: str = "", part: str = SHEET, text: str = "") -> bytes:
    """A workbook of which one part is written by hand: the rows of its sheet below the header, or another."""
    openpyxl = package("openpyxl")
    whole, changed = io.BytesIO(), io.BytesIO()
    openpyxl.Workbook().save(whole)
    content = text or f"<worksheet {SPACE}><sheetData>{HEADER}{rows}</sheetData></worksheet>"
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name == part else old.read(name))
    return changed.getvalue()


def run(folder: Path, content: bytes) -> Any:
    return execute(
        folder, ("in.xlsx", content), columns={"id": {"type": "integer"}}, source={"format": "excel"}
    ).mapped


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ('<row r="2"><c r="A2" t="s"><v>99999</v></c></row>', "shared string 99999, and there are 0"),
        ('<row r="2"><c r="A2" t="s"><v>-1</v></c></row>', "shared string -1, and there are 0"),
        (
            '<row r="2"><c r="A2" t="d" s="500"><v>2024-01-01</v></c></row>',
            "a workbook that can.t be read",
        ),
        (
            '<row r="2"><c r="C2"><v>3</v></c><c r="A2"><v>1</v></c></row>',
            "column 1 of row 2 .* after column 3",
        ),
        (
            '<row r="2"><c r="A2"><v>5</v></c><c r="A2"><v>6</v></c></row>',
            "column 1 of row 2 .* after column 1",
        ),
        ('<row r="2"><c r="A7"><v>5</v></c></row>', "column 1 of row 7 comes in row 2"),
        ('<row r="5"><c r="A5"><v>5</v></c></row><row r="3"/>', "row 3 comes after row 5"),
        ('<row r="3"/><row r="3"/>', "row 3 comes after row 3"),
        ('<row r="1048577"/>', "row 1048577 comes after row 1"),
        ('<row r="2"><c r="XFE2"><v>1</v></c></row>', "column 16385 of row 2"),
    ],
)
def test_what_would_lose_something_is_refused(tmp_path: Path, rows: str, words: str) -> None:
    with pytest.raises(RunFailed, match=words):
        run(tmp_path, workbook(rows))


def test_a_workbook_without_sheets(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"in\.xlsx has no sheet with cells: .* save it as Excel Workbook"):
        run(tmp_path, workbook(part=BOOK, text=f"<workbook {SPACE}><sheets/></workbook>"))


def test_a_sheet_that_begins_below_its_first_row_has_no_header(tmp_path: Path) -> None:
    text = f'<worksheet {SPACE}><sheetData><row r="2"><c r="A2"><v>1</v></c></row></sheetData></worksheet>'
    with pytest.raises(RunFailed, match="has no header"):
        run(tmp_path, workbook(text=text))
