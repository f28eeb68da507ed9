"""What `lume flow init` says of files that are no tables, or in a wrapping: what it is, and what to do."""

import bz2
import gzip
import io
import json
import lzma
import re
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from local.one_run import execute_files
from local.workbooks import KINDS, Sheet, written

from lume_cli._app import app
from lume_local._samples.member_tables import patterns_for, tables_of
from lume_local._samples.table_start import start_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CSV = b"id,name,amount\n" + b"".join(b"%d,Ann %d,%d.5\n" % (n, n, n) for n in range(1, 12))
NDJSON = b"".join(b'{"id": %d, "name": "Ann"}\n' % n for n in range(3))
BOOK = [["No", "Name"], *([n, f"Ann {n}"] for n in range(1, 6))]


def init(path: Path, content: bytes, *options: str) -> Result:
    path.write_bytes(content)
    return CliRunner().invoke(app, ["flow", "init", str(path), *options])


def made_of(path: Path, content: bytes, *options: str) -> tuple[dict[str, Any], str]:
    """The flow that is proposed, and what is said."""
    result = init(path, content, *options)
    assert result.exit_code == 0, result.stderr
    return tomllib.loads(result.stdout), " ".join(result.stderr.split())


def tar(content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo("a.csv")
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


MHT = b'MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary="x"\r\n\r\n<html><table>'
SHEET_XML = (
    b'<?xml version="1.0"?>\n<?mso-application progid="Excel.Sheet"?>\n'
    b'<Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet"><Worksheet><Table/></Worksheet></Workbook>'
)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "is empty: a sample needs a header that names the columns, and rows"),
        ("a.csv", b"\xef\xbb\xbf\n \n", "is empty: a sample needs a header"),
        ("a.json", b" \n", "is empty: a sample needs at least one object"),
        ("a.csv", bytes(range(256)) * 9, "is a binary file, not CSV, .*: export its table as CSV, or copy it again"),
        ("a.xls", b"\r\n<html xmlns:o='u'><table>", "is an HTML page, .*: if it has a table, open it in"),
        ("a.xls", b"<table><tr><td>id</td></tr></table>", "is an HTML page, .* save it as .xlsx or CSV"),
        ("a.xls", SHEET_XML, "is a workbook of Excel 2003 in XML, .* save it as .xlsx or CSV"),
        ("a.xls", MHT, r"is a web archive or mail \(such as .mht, .eml\), .* open it in a spreadsheet"),
        ("a.tar", tar(CSV), "is a tar archive, .*: unpack it, or pack its files into a ZIP archive instead"),
        ("a.tgz", gzip.compress(tar(CSV)), "is a tar archive, .*: unpack it"),
        ("a.tar.zst", zstd.compress(tar(CSV)), "is a tar archive, .*: unpack it"),
        ("a.arff", b"% by X\n\n@RELATION a\n@data\n1,2\n", "is an ARFF file, .*: convert it to Parquet or CSV"),
        ("a.csv.bz2", bz2.compress(CSV), "is a bzip2 file, .*: unpack it, or compress it with gzip or zstd"),
        ("a.csv.xz", lzma.compress(CSV), "is an xz file, .*: unpack it, or compress it with gzip or zstd"),
        ("a.csv.gz", gzip.compress(gzip.compress(CSV)), "is a gzip file, .*: unpack it once, as it is"),
        ("a.csv.gz", gzip.compress(CSV, mtime=0)[:-9], "is not a complete gzip file: .*. Copy it again"),
        ("a.csv.zst", zstd.compress(CSV * 99)[:-9], "is not a complete zstd file: .*. Copy it again"),
        ("a.zip.gz", gzip.compress(zipped({"a.csv": CSV})), "is a compressed ZIP archive: decompress it, and pass"),
        ("a", b"PAR1\x15...", "is not a Parquet file that can be read"),
        ("a", b"PK\x03\x04....", r"is a damaged ZIP archive, not a workbook \(.xlsx, .*\): copy it again"),
        ("a", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is a workbook that can't be read"),
        ("a.zip", zipped({"mimetype": b"application/vnd.oasis.opendocument.text"}),
         r"is an OpenDocument file, not a workbook \(.xlsx, .xls, .xlsb, .ods\): open it in a"),
        ("a.xml", b"<a><b></a>", "is not well-formed XML"),
        ("a", b"{}\n[1]\n", "is not a JSON object: correct it there"),
        ("a.json", b'[{"a": 1},\n{"a": ]', "a.json:2 is not valid JSON"),
        ("a.json", b'[\n{"a": "\xfc"}]', "a.json is not valid UTF-8, which JSON requires"),
        ("a.json", b"[]", "a.json has no object with a member"),
        ("a.json", b'[["id", "name"],\n ["1", "x"]]\n', "is JSON without an array of objects at its top"),
        ("a.json", b"42", "is JSON without an array of objects at its top: convert it to one, or to CSV"),
        ("a.ndjson", b'[1, "Ann"]\n[2, "Bob"]\n', "is JSON without an array of objects at its top"),
        ("a.json", '[{"id": 1}]'.encode("utf-16"), "is not valid UTF-8, which JSON requires: save it as UTF-8"),
        ("a.ndjson", b'{"id": 1},\n{"id": 2},\n', "a.ndjson:1 has a comma after an object: delete these commas, or"),
        ("a.json", b'[{"id": 1},\n{"id": 2},\n]', "a.json:2 has a comma before the end of the array: delete it"),
        ("a.json", b'[{"id": 1},\n{"id": 2}\n', "a.json:3 has an array without an end: copy it again"),
        ("a.json", b'[{"id": 1}\n{"id": 2}]', "a.json:2 has no comma after an object: add it"),
    ],
)  # fmt: skip
def test_what_is_no_sample_is_named_with_a_way_on(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    result = init(tmp_path / name, content)
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(words, " ".join(result.stderr.split())), result.stderr


@pytest.mark.parametrize(
    ("pack", "ending", "name", "content", "count"),
    [
        (gzip.compress, ".gz", "a.csv", CSV, 11),
        (zstd.compress, "", "a.csv", CSV, 11),
        (zstd.compress, ".zst", "a.ndjson", NDJSON, 3),
        (gzip.compress, "", "a.ndjson", NDJSON, 3),
        (gzip.compress, "", "a.json", b'[{"id": 1}, {"id": 2}]', 2),
        (zstd.compress, ".zst", "a.xlsx", None, 5),
    ],
)
def test_a_compressed_sample_is_read_as_by_a_run(
    tmp_path: Path, pack: Any, ending: str, name: str, content: bytes | None, count: int
) -> None:
    packed = pack(written("xlsx", BOOK) if content is None else content)
    name += ending
    made, said = made_of(tmp_path / name, packed)
    assert said == ""
    assert ("compression" in made["source"]) is (ending == "")
    result = execute_files(tmp_path / "run", (name, packed), source=made["source"], columns=made["columns"])
    assert (len(result.mapped), result.rejects) == (count, [])


def test_a_name_that_promises_a_compression_in_vain(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "a.zst", "a.zip"):
        made, _ = made_of(tmp_path / name, CSV)
        assert made["source"]["compression"] == "none"
        result = execute_files(
            tmp_path / f"run {name}", (name, CSV), source=made["source"], columns=made["columns"]
        )
        assert len(result.mapped) == 11


def test_one_object_is_one_record(tmp_path: Path) -> None:
    content = json.dumps({"id": [1, 2], "name": ["a", "b"]}).encode()
    made, said = made_of(tmp_path / "a.json", content)
    assert made["source"]["format"] == "json"
    assert "it is one object, and so one record: is that right?" in said


TABLE = [["No", "Name", "Amount"], *([n, f"Ann {n}", n + 0.5] for n in range(1, 8))]
TITLE = [["Report of 2024"], [], ["Created", "2024-01-01"], []]


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("xlsx", [[], [], *TABLE]),
        ("xlsx", [*TITLE, *TABLE]),
        ("xls", [*TITLE, *TABLE]),
        ("xlsb", [[], *TITLE, *TABLE]),
        ("xlsx", [[None, *row] for row in [["Report"], [], *TABLE]]),
        ("ods", [[None, *row] for row in [["Report"], [], *TABLE]]),
        ("xls", [[None, *row] for row in [[], *TABLE]]),
    ],
)
def test_a_table_below_blank_rows_and_beside_blank_columns(
    tmp_path: Path, kind: str, rows: list[list[Any]]
) -> None:
    content = written(kind, rows)
    made, _ = made_of(tmp_path / f"a.{kind}", content)
    assert made["source"]["header"] == {"contains": ["No", "Name", "Amount"]}
    assert [*made["columns"]] == ["no", "name", "amount"]
    result = execute_files(
        tmp_path / "run",
        ("in.dat", content),
        source=made["source"],
        columns=made["columns"],
        mapped=".parquet",
    )
    assert [row[:2] for row in result.mapped] == [(n, f"Ann {n}") for n in range(1, 8)]
    assert result.rejects == []


@pytest.mark.parametrize(
    ("sheets", "words"),
    [
        (
            {"A": Sheet([])},
            "is empty: no cell of its sheet has a value, and a sample needs a header that names the",
        ),
        ({"A": Sheet([]), "B": Sheet([])}, "is empty: no cell of its 2 sheets has a value"),
        (
            {"A": Sheet([]), "B": Sheet(TABLE, state="hidden")},
            "is empty: no cell of its sheet has a value, .*; hidden, and not read: 'B': unhide what should be read",
        ),
    ],
)
def test_an_empty_workbook_is_called_so(tmp_path: Path, sheets: dict[str, Sheet], words: str) -> None:
    result = init(tmp_path / "a.xlsx", written("xlsx", sheets))
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.search(words, " ".join(result.stderr.split())), result.stderr


def test_another_sheet_is_read_if_it_is_named(tmp_path: Path) -> None:
    sheets = {"Empty": Sheet([]), "Jan": Sheet(TABLE), "Feb": Sheet([["Day"], ["2024-01-01"]])}
    path = tmp_path / "a.xlsx"
    made, said = made_of(path, written("xlsx", sheets))
    assert (made["source"]["excel"], [*made["columns"]]) == ({"sheet": "Jan"}, ["no", "name", "amount"])
    assert f"for the sheet 'Feb': lume flow init {path} --sheet Feb" in said
    assert "--sheet Empty" not in said
    made, said = made_of(path, path.read_bytes(), "--sheet", "Feb")
    assert (made["source"]["excel"], [*made["columns"]], said) == ({"sheet": "Feb"}, ["day"], "")
    refused = init(path, path.read_bytes(), "--sheet", "Empty")
    assert "has no cell with a value in the sheet 'Empty': a sample needs a header" in " ".join(
        refused.stderr.split()
    )


def test_a_total_in_a_workbook_is_a_comment(tmp_path: Path) -> None:
    result = init(tmp_path / "a.xlsx", written("xlsx", [*TABLE, [], ["Total", None, 42]]))
    assert "the last lines begin with 'Total': if they are no records, they are its footer" in " ".join(
        result.stderr.split()
    )
    assert '# footer = { starts_with = ["Total"] }' in result.stdout


def test_advice_about_cells_names_no_delimiter(tmp_path: Path) -> None:
    rows = [["a", "b"], *([n, f"=A{n}*2"] for n in range(2, 5))]
    book = pytest.importorskip("openpyxl").Workbook()
    for row in rows:
        book.active.append(row)
    book.save(tmp_path / "f.xlsx")
    result = init(tmp_path / "a.xlsx", (tmp_path / "f.xlsx").read_bytes())
    said = " ".join(result.stderr.split())
    assert "B2 contains a formula without a saved value: open and save the file in Excel" in said
    assert "delim" not in said


@pytest.mark.parametrize(
    ("name", "content", "options", "words"),
    [
        ("a.xlsx", None, ("--delim", ";"), "--delim is for CSV, and a.xlsx is a workbook: leave it out"),
        (
            "a.xlsx",
            None,
            ("--encoding", "cp1252"),
            "--encoding is for CSV and fixed width, and a.xlsx is a workbook",
        ),
        ("a.ndjson", NDJSON, ("--delim", "tab"), "--delim is for CSV, and a.ndjson is NDJSON: leave it out"),
        ("a.csv", CSV, ("--sheet", "A"), "--sheet is for workbooks, and a.csv is CSV: leave it out"),
        ("a.csv", CSV, ("--members", "A"), "--members is for ZIP archives, and a.csv is none: leave it out"),
    ],
)
def test_an_option_without_a_meaning_is_refused(
    tmp_path: Path, name: str, content: bytes | None, options: tuple[str, ...], words: str
) -> None:
    result = init(tmp_path / name, content or written("xlsx", TABLE), *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in " ".join(result.stderr.split())


CUSTOMERS, ORDERS = b"id,name\n1,Ann\n2,Bob\n", b"no,customer\n1,1\n2,1\n"


def test_every_table_of_an_archive_has_a_way_on(tmp_path: Path) -> None:
    content = zipped(
        {
            "customers_2024-01.csv": CUSTOMERS,
            "orders_1.csv": ORDERS,
            "orders_2.csv": b"no,customer,clerk\n3,2,Cem\n",  # what is more is not read
            "prices.csv": b"sku;price\nx;1,50\n",
            "prices.json": b'[{"sku": "x", "price": 1}]',
            "readme.txt": b"Ask Ann.\n",
        }
    )
    path = tmp_path / "all.zip"
    made, said = made_of(path, content)
    assert (made["source"]["members"], [*made["columns"]]) == ("orders_*.csv", ["no", "customer"])
    assert "not read of the archive, as another table: 'customers_2024-01.csv' (id, name)" in said
    assert "not read of the archive: 'readme.txt'" in said
    for way in (
        "for 'customers_*.csv': lume flow init {} --name customers --members 'customers_*.csv'",
        "for 'prices.csv': lume flow init {} --name prices --members prices.csv",
        "for '*.json': lume flow init {} --members '*.json'",
    ):
        assert way.format(path) in said
    for options, columns, count in (
        ((), ["no", "customer"], 3),
        (("--members", "customers_*.csv"), ["id", "name"], 2),
        (("--members", "prices.csv"), ["sku", "price"], 1),
    ):
        made, _ = made_of(path, content, *options)
        assert [*made["columns"]] == columns
        result = execute_files(
            tmp_path / f"run {columns[0]} {len(options)} {count}",
            ("all.zip", content),
            source=made["source"],
            columns=made["columns"],
        )
        assert (len(result.mapped), result.rejects) == (count, [])


@pytest.mark.parametrize(
    ("wanted", "others", "patterns"),
    [
        (["a.csv", "b.csv"], [], "*.csv"),
        (["x/a.csv", "b.csv"], [], "**/*.csv"),
        (["a.csv"], ["b.csv"], "a.csv"),
        (["a_2024-01.csv"], ["b.csv"], "a_*.csv"),
        (["a_1.csv", "a_2.csv"], ["b_1.csv"], "a_*.csv"),
        (["orders.csv", "orders_old.csv"], ["b.csv"], "orders*.csv"),
        (["a[1].csv"], ["b.csv", "a[x].csv"], "a[[]1].csv"),
        (["a.csv", "c.csv"], ["ab.csv", "b.csv"], ["a.csv", "c.csv"]),
    ],
)
def test_patterns_of_members(wanted: list[str], others: list[str], patterns: str | list[str]) -> None:
    assert patterns_for(wanted, [*wanted, *others]) == patterns


def test_members_of_one_table() -> None:
    heads = {
        "a.csv": b"id,name\n1,x\n",
        "b.csv": b"NAME,Id\n1,x\n",
        "c.csv": b"id;name\n1;x\n",
        "d.csv": b"\xef\xbb\xbfid,name,day\n1,x,y\n",
        "e.ndjson": b'{"id": 1, "name": "x"}\n',
        "f.ndjson": b'{"name": "y", "id": 2}\n',
        "g_1.xlsx": b"PK\x03\x04",
        "g_2.xlsx": b"PK\x03\x04",
        "h.xlsx": b"PK\x03\x04",
        "i.xml": b"<?xml version='1.0'?><orders><order/></orders>",
        "j.xml": b"<orders/>",
        "k.md": b"# Read me\n",
    }
    tables = tables_of(heads, dict.fromkeys(heads, 1) | {"h.xlsx": 5})
    assert [table.members for table in tables] == [
        ["a.csv", "b.csv", "d.csv"],
        ["e.ndjson", "f.ndjson"],
        ["g_1.xlsx", "g_2.xlsx"],
        ["i.xml", "j.xml"],
        ["c.csv"],
        ["h.xlsx"],
        ["k.md"],
    ]


def test_programs_beside_the_data_are_not_the_table() -> None:
    data, program = b"US   2018   17\n" * 9, b"* reads the data" + b"!" * 900 + b"\nclear\nuse it\n"
    heads = {"a.do": program, "b.do": program, "a.dat": data}
    first, *others = tables_of(heads, dict.fromkeys(heads, 1))
    assert first.members == ["a.dat"]
    assert [one.members for one in others] == [["a.do", "b.do"]]
    assert len(others[0].shown) < 300


def test_a_header_too_far_down_a_sheet_is_refused_with_a_way_on(tmp_path: Path) -> None:
    content = written("xlsx", {"A": Sheet([*([[None]] * 200), *BOOK])})
    result = init(tmp_path / "a.xlsx", content)
    assert result.exit_code != 0
    said = " ".join(result.stderr.split())
    assert (
        "has no header: the first row of its sheet must name the columns: delete what is above them" in said
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_of_merged_cells_over_two_rows(tmp_path: Path, kind: str) -> None:
    rows = [
        *(["Report of 2024"], []),
        ["Id", "Person", None, "Amount"],
        [None, "First", "Last", None],
        *([n, f"A{n}", f"B{n}", n + 0.5] for n in range(1, 7)),
    ]
    merged = [(2, 0, 3, 0), (2, 1, 2, 2), (2, 3, 3, 3)]
    content = written(kind, {"A": Sheet(rows, merged=merged)})
    made, said = made_of(tmp_path / f"a.{kind}", content)
    assert made["source"]["header"] == {"contains": ["Id", "Person First", "Person Last"], "lines": 2}
    assert "'Person Last', 'Amount', joined from 2 lines" in said
    run, source, columns = tmp_path / "run", made["source"], made["columns"]
    result = execute_files(run, ("in.dat", content), source=source, columns=columns, mapped=".parquet")
    assert [row[:3] for row in result.mapped] == [(n, f"A{n}", f"B{n}") for n in range(1, 7)]


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        (["a,b,,d", ",x,y,", *["1,p,q,2"] * 3], 2),
        (["a,b,,d", ",x,y,", *["1,p,q,2"] * 2], 1),  # too few to tell
        (["a,b,,d", ",x,y,", *["1,p,q,2", ",p,q,2"] * 2], 1),  # others lack it, too
        (["a,b,c,d", ",x,y,", *["1,p,q,2"] * 3], 1),
        (["a,b,,d", ",x,y,", *["1,x,q,2"] * 3], 1),  # a value that recurs
        (["a,b,,d", ",7,y,", *["1,8,q,2"] * 3], 1),
    ],
)
def test_whether_a_header_has_a_second_line(rows: list[str], lines: int) -> None:
    assert start_of([row.split(",") for row in rows]).lines == lines
