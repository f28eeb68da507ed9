"""Workbooks that no Excel writes, large once unpacked or with rows out of place: refused, or cancelled at once."""

import asyncio
import io
import struct
import zipfile
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from components import package
from local.one_run import execute_files as execute
from local.servers import serve

from lume_local._runs import execution
from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.formats.sheets import parts
from lume_local._worker.sources.formats.sheets.xlsx import XlsxBook

SPACE = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
HEAD = f"<worksheet {SPACE}><sheetData>".encode()
ROW = b'<row><c t="inlineStr"><is><t>id</t></is></c></row>'
SHEET, STYLES, STRINGS = "xl/worksheets/sheet1.xml", "xl/styles.xml", "xl/sharedStrings.xml"
OF_STRINGS = (
    f'<Override PartName="/{STRINGS}" '
    'ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"/></Types>'
)
FLOW: dict[str, Any] = {"columns": {"id": {}}, "source": {"format": "excel"}}


def packed(head: bytes, block: bytes, count: int, end: bytes) -> tuple[bytes, int, int]:
    """The stream of `head + count * block + end`, its size and its checksum; the block is packed only once."""
    pieces = []
    for piece, last in ((head, False), (block, False), (end, True)):
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        pieces.append(packer.compress(piece) + packer.flush(zlib.Z_FINISH if last else zlib.Z_FULL_FLUSH))
    size, crc = len(head) + count * len(block) + len(end), 0
    for piece in (
        (head, *(block for _ in range(count)), end) if size < 10_000_000 else ()
    ):  # else it is not read whole
        crc = zlib.crc32(piece, crc)
    return pieces[0] + count * pieces[1] + pieces[2], size, crc


def bomb(part: str, head: bytes, block: bytes, count: int, end: bytes = b"") -> bytes:
    """A workbook of which one part is that."""
    openpyxl = package("openpyxl")
    whole, changed = io.BytesIO(), io.BytesIO()
    book = openpyxl.Workbook()
    book.active.append(["id"])
    book.save(whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            if name != part:
                content = old.read(name)
                new.writestr(
                    name, content.replace(b"</Types>", OF_STRINGS.encode()) if part == STRINGS else content
                )
        stream, size, crc = packed(head, block, count, end)
        new.writestr(part, stream)
        info = new.getinfo(part)  # the archive's directory, written last, says what the bytes are
        info.compress_type, info.file_size, info.CRC = zipfile.ZIP_DEFLATED, size, crc
    return changed.getvalue()


@pytest.mark.parametrize("part", [SHEET, STYLES, STRINGS, "[Content_Types].xml", "xl/workbook.xml"])
def test_three_gigabytes_in_three_megabytes(tmp_path: Path, part: str) -> None:
    content = bomb(part, HEAD, bytes(1024 * 1024), 3000)
    assert len(content) < 4_000_000
    with pytest.raises(RunFailed, match=r"in\.xlsx is not read: .* in it unpacks to 3,14\d,\d+,\d+ bytes"):
        execute(tmp_path, ("in.xlsx", content), **FLOW)


@pytest.mark.parametrize(
    ("block", "begin", "end"),
    [
        (b"<c><v>1</v></c>" * 70_000, b"<row>", b"</row>"),
        (b"<junk/>" * 150_000, b"", b""),
        (b"x" * 1024 * 1024, b"", b""),
        (b"<" + b"x" * 1024 * 1024, b"", b""),
    ],
    ids=["cells", "no rows", "text", "names"],
)
def test_a_sheet_with_an_endless_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: bytes, begin: bytes, end: bytes
) -> None:
    assert parts._MOST_BETWEEN_ROWS == 67_108_864
    monkeypatch.setattr(parts, "_MOST_BETWEEN_ROWS", 2_000_000)
    content = bomb(SHEET, HEAD + ROW + begin, block, 100, end)
    with pytest.raises(RunFailed, match=r"sheet1\.xml in it has a row of more than 2,000,000 bytes"):
        execute(tmp_path, ("in.xlsx", content), **FLOW)


def test_a_directory_that_states_a_smaller_size(tmp_path: Path) -> None:
    """No more is unpacked than it states."""
    content = bomb(STRINGS, f"<sst {SPACE}>".encode(), b"<si><t>a</t></si>" * 1000, 100, b"</sst>")
    at = content.rindex(STRINGS.encode()) - 46
    lying = bytearray(content)
    lying[at + 24 : at + 28] = struct.pack("<I", 500)
    with pytest.raises(RunFailed, match=r"in\.xlsx is a workbook that can.t be read"):
        execute(tmp_path, ("in.xlsx", bytes(lying)), **FLOW)


def test_large_sheets_whose_rows_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_MOST_BETWEEN_ROWS", 100_000)
    content = bomb(SHEET, HEAD + ROW, b"<row><c><v>7</v></c></row>" * 1000, 20, b"</sheetData></worksheet>")
    assert execute(tmp_path, ("in.xlsx", content), **FLOW).mapped == [(7,)] * 20_000


def test_memory_that_is_not_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(package("openpyxl.reader.strings"), "read_string_table", exhausted)
    content = bomb(STRINGS, f"<sst {SPACE}>".encode(), b"<si><t>a</t></si>", 1, b"</sst>")
    with pytest.raises(RunFailed, match=r"in\.xlsx needs more memory than a run has"):
        execute(tmp_path, ("in.xlsx", content), **FLOW)


class Stopped(Exception):
    """The run was cancelled."""


@pytest.mark.parametrize("part", [SHEET, STRINGS])
def test_reading_stops_between_any_two_blocks(tmp_path: Path, part: str) -> None:
    head, block = HEAD + ROW, b"<row><c><v>7</v></c></row>" * 1000
    if part == STRINGS:
        head, block = f"<sst {SPACE}>".encode(), b"<si><t>a</t></si>" * 1000
    (tmp_path / "in.xlsx").write_bytes(bomb(part, head, block, 1000))
    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 50:
            raise Stopped

    with pytest.raises(Stopped), closing(XlsxBook(tmp_path / "in.xlsx", "in.xlsx", pause, 0)) as book:
        for _ in book.rows(book.sheets[0].name):
            pass


async def test_a_run_that_reads_a_bomb_is_cancelled_without_being_killed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "KILL_AFTER", 600.0)
    head, block = f"<sst {SPACE}>".encode(), b"<si><t>a</t></si>" * 60_000
    (home / "bomb.xlsx").write_bytes(await asyncio.to_thread(bomb, STRINGS, head, block, 400, b"</sst>"))
    (home / "flows/sheet.toml").write_text(
        'flow = "sheet"\nversion = "v1"\n[source]\nformat = "excel"\n[columns]\nid = {}\n'
    )
    async with serve(home) as wire:
        run_id = (await wire.submit("sheet:v1", "bomb.xlsx")).document["id"]
        await wire.until(run_id, "SYNCING_SOURCE")
        await wire.ask("POST", f"/v1/runs/{run_id}/cancel")
        assert (await wire.until(run_id))["status"] == "CANCELLED"


BOOK = "xl/workbook.xml"
HEADER = '<row r="1"><c r="A1" t="inlineStr"><is><t>id</t></is></c></row>'


def workbook(rows: str = "", part: str = "xl/worksheets/sheet1.xml", text: str = "") -> bytes:
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
    return execute(folder, ("in.xlsx", content), **FLOW).mapped


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
