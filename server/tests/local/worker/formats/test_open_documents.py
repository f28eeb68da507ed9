"""Sheets of OpenDocument files, as LibreOffice writes them and as nobody does."""

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from local.one_run import execute

from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.formats.sheets.book import ErrorText, Unsaved
from lume_local._worker.sources.formats.sheets.workbook import opened_workbook


def read(tmp_path: Path, content: bytes, sheet: str = "Sheet1") -> dict[int, list[str | None]]:
    path = tmp_path / "book"
    path.write_bytes(content)
    with opened_workbook(path, "book", 10**9, lambda: None) as book:
        return dict(book.rows(sheet))


def odf(body: str, more: dict[str, str] | None = None) -> bytes:
    """A document as LibreOffice writes it, in the parts that matter."""
    spaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for name in ("office", "table", "text", "style")
    )
    spaces += ' xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0"'
    spaces += ' xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"'
    content = (
        f"<office:document-content {spaces}><office:body><office:spreadsheet>"
        f'<table:table table:name="Sheet1">{body}</table:table></office:spreadsheet></office:body>'
        "</office:document-content>"
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", content)
        for name, text in ({"META-INF/manifest.xml": "<m/>"} | (more or {})).items():
            archive.writestr(name, text)
    return out.getvalue()


def cell(content: str = "", **attributes: str) -> str:
    written = "".join(f' {name.replace("__", ":")}="{value}"' for name, value in attributes.items())
    return f"<table:table-cell{written}>{content}</table:table-cell>".replace("_", "-")


ODF: list[tuple[str, list[Any]]] = [
    (
        cell(
            "<text:p>#DIV/0!</text:p>",
            table__formula="of:=1/0",
            office__value_type="string",
            office__string_value="",
            calcext__value_type="error",
        ),
        [ErrorText("#DIV/0!")],
    ),
    (
        cell(
            "<text:p>Err:502</text:p>", table__formula="of:=x", office__value_type="float", office__value="0"
        ),
        [ErrorText("Err:502")],
    ),
    (cell(table__formula="of:=1+1"), [Unsaved("of:=1+1")]),
    (cell("<text:p>a<text:s text:c='3'/>b<text:tab/>c<text:line-break/>d</text:p>"), ["a   b\tc\nd"]),
    (cell("<text:p>a<text:span>b</text:span></text:p><text:p/><text:p>c</text:p>"), ["ab\n\nc"]),
    (cell("<office:annotation><text:p>note</text:p></office:annotation><text:p>x</text:p>"), ["x"]),
    (cell("<draw:frame><draw:text-box><text:p>y</text:p></draw:text-box></draw:frame>"), []),
    (cell("<text:p>x</text:p>", table__number_columns_repeated="3"), ["x", "x", "x"]),
    (cell(office__value_type="percentage", office__value="0.125"), ["0.125"]),
    (cell(office__value_type="float", office__value="12345678901234567890"), ["12345678901234567890"]),
    (cell(office__value_type="float", office__value="1E3"), ["1000"]),
    (
        cell(office__value_type="date", office__date_value="2024-02-29T13:01:02.500000000"),
        ["2024-02-29 13:01:02.500000"],
    ),
    (cell(office__value_type="time", office__time_value="PT30H01M02.25S"), ["30:01:02.250000"]),
    (cell(office__value_type="time", office__time_value="-P1DT2H"), ["-26:00:00"]),
    (cell(office__value_type="string", office__string_value="long"), ["long"]),
    ("<table:covered-table-cell><text:p>hidden</text:p></table:covered-table-cell>", []),
]


@pytest.mark.parametrize(("content", "values"), ODF)
def test_cells_of_an_open_document(tmp_path: Path, content: str, values: list[Any]) -> None:
    rows = read(tmp_path, odf(f"<table:table-row>{content}{cell()}</table:table-row>"))
    found = rows.get(1, [])
    assert found == values
    assert list(map(type, found)) == list(map(type, values))


def row(content: str, times: int = 1) -> str:
    return f'<table:table-row table:number-rows-repeated="{times}">{content}</table:table-row>'


def test_what_an_open_document_repeats(tmp_path: Path) -> None:
    """To the end of the sheet, too, as every program writes it."""
    end = row('<table:table-cell table:number-columns-repeated="16384"/>', 1_048_571)
    rows = read(
        tmp_path,
        odf(row(cell("<text:p>x</text:p>"), 2) + row(cell(), 3) + row(cell("<text:p>y</text:p>")) + end),
    )
    assert rows == {1: ["x"], 2: ["x"], 6: ["y"]}


def test_a_table_in_a_cell_is_no_sheet(tmp_path: Path) -> None:
    """Also if it has the name of a sheet that comes later."""
    inner = f'<table:table table:name="B">{row(cell("<text:p>inner</text:p>"))}</table:table>'
    body = (
        f'{row(cell(inner))}</table:table><table:table table:name="B">{row(cell("<text:p>outer</text:p>"))}'
    )
    assert read(tmp_path, odf(body), "B") == {1: ["outer"]}
    assert read(tmp_path, odf(body)) == {}


def test_many_paragraphs_take_no_longer_than_their_number(tmp_path: Path) -> None:
    rows = read(tmp_path, odf(row(cell("<text:p/>" * 200_000))))
    assert rows == {1: ["\n" * 199_999]}


X = "<text:p>x</text:p>"
BOMBS = [
    (
        row(cell("<text:p>id</text:p>")) + row(cell(X, table__number_columns_repeated="16385")),
        "more than 16,384 columns",
    ),
    (row(cell("<text:p>id</text:p>")) + row(cell(X), 1_048_576), "more than 1,048,576 rows"),
    (
        row(cell("<text:p>id</text:p>")) + row(cell(X, table__number_columns_repeated="16384"), 1_048_575),
        "repeats cells to more than",
    ),
    (row(cell("<text:p><text:s text:c='67108865'/></text:p>")), "more than 67,108,864 characters"),
    (
        row(cell("<text:p>" + "<text:s text:c='9999999'/>" * 7 + "</text:p>")),
        "more than 67,108,864 characters",
    ),
    (row(cell(X, table__number_columns_repeated="-1")), "can't be read"),
    (row(cell(X, table__number_columns_repeated="x")), "can't be read"),
    ("<table:table-row>", "can't be read"),
    (row(cell(office__value_type="float", office__value="x")), "can't be read"),
    (row(cell(office__value_type="time", office__time_value="x")), "can't be read"),
    (row(cell(office__value_type="date")), "can't be read"),
]


@pytest.mark.parametrize(("body", "message"), BOMBS)
def test_documents_that_no_program_writes(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(RunFailed, match=message):
        execute(tmp_path, odf(body), source={"format": "excel", "max_unpacked_bytes": 10_000_000})


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    """Python's expat refuses what grows out of proportion."""
    names = "".join(f'<!ENTITY a{n} "{"&a" + str(n - 1) + ";" if n else "x" * 10}">' for n in range(2))
    lines = "".join(
        f'<!ENTITY b{n} "{("&b" + str(n - 1) + ";") * 10 if n else "x" * 1000}">' for n in range(9)
    )
    content = odf(row(cell("<text:p>&b8;</text:p>")))
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            text = old.read(name).decode()
            new.writestr(name, f"<!DOCTYPE x [{names}{lines}]>{text}" if name == "content.xml" else text)
    with pytest.raises(RunFailed, match="can't be read"):
        execute(tmp_path, out.getvalue(), source={"format": "excel"})


def test_encrypted_documents(tmp_path: Path) -> None:
    locked = odf("", {"META-INF/manifest.xml": "<manifest:encryption-data/>"})
    with pytest.raises(RunFailed, match="is encrypted: save it without a password"):
        execute(tmp_path / "ods", locked, source={"format": "excel"})
    ole = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
        + bytes(3000)
        + "EncryptedPackage".encode("utf-16-le")
        + bytes(3000)
    )
    with pytest.raises(RunFailed, match="is encrypted: save it without a password"):
        execute(tmp_path / "xlsx", ole, source={"format": "excel"})
