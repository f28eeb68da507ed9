"""`lume flow init` on files that aren't quite, or not at all, what they should be."""

import codecs
import datetime
import gzip
import io
import json
import re
import tomllib
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from local.workbooks import KINDS, Sheet, written

from lume_cli._app import app
from lume_local._flow.definition import read_definition
from lume_local._samples import raw as sample_text
from lume_local._samples.infer import delimiter
from lume_local._samples.raw import RawFile

PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"


def init(sample: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["flow", "init", str(sample), *options])


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("at", [0, 10])
def test_a_ragged_row_changes_no_delimiter(mark: str, at: int) -> None:
    for ragged in (["1", "2"], ["1", "2", "3", "4"], ["1"], ["1", "x, y; z", "3"]):
        rows = [["1", "2", "3"]] * 15
        rows.insert(at, ragged)
        assert delimiter([mark.join(row) + "\n" for row in [["a", "b", "c"], *rows]]) == mark


def test_commas_in_values_and_in_a_name_are_no_delimiter() -> None:
    lines = ["Name, first;Price;City\n", "Ann;1,50;Bonn\n", "Bob, jr;2,00;Ulm\n", "Cem;3;Köln;x\n"]
    assert delimiter(lines) == ";"


@pytest.mark.thorough
def test_what_could_be_a_delimiter_is_asked_about_and_may_be_given(tmp_path: Path) -> None:
    sample = tmp_path / "people.csv"
    sample.write_text("a;b;c\n" + "1;2;3\n" * 3)
    wrong = init(sample, "--delim", ",")
    assert wrong.exit_code == 0, wrong.stderr
    assert (
        """warning: with the delimiter "," the header is one column, 'a;b;c': if it is ";", pass --delim"""
        in wrong.stderr
    )
    right = init(sample, "--delim", ";")
    assert right.stderr == ""
    assert list(tomllib.loads(right.stdout)["columns"]) == ["a", "b", "c"]
    sample.write_text("a\tb\n1\t2\n")
    assert tomllib.loads(init(sample, "--delim", "tab").stdout)["source"]["csv"]["delim"] == "\t"
    refused = init(sample, "--delim", "||")
    assert (refused.exit_code, "one ASCII character" in refused.stderr) == (2, True)


def test_a_stray_quote_is_not_taken_for_spaces(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text('a,b\n1,x\n2,"y\n3,z\n"\n')
    assert "trim" not in init(sample).stdout
    sample.write_text("a,b\n1, x\n2,y\n")
    assert "# some are padded with spaces" in init(sample).stdout


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (PDF, "a PDF document"),
        (gzip.compress(PDF, mtime=0), "a PDF document"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "a PNG image"),
        (b"<!DOCTYPE html>\n<p>sign in</p>\n", "an HTML page"),
        (b"SQLite format 3\x00" + bytes(20), "an SQLite database"),
    ],
)
def test_no_flow_is_made_of_a_file_that_is_no_table(tmp_path: Path, content: bytes, what: str) -> None:
    sample = tmp_path / "bill.pdf"
    sample.write_bytes(content)
    for options in ((), ("--encoding", "latin-1")):
        result = init(sample, *options)
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"bill.pdf is {what}, not CSV" in " ".join(result.stderr.split())


ROWS = [{"id": n, "name": f"n{n}", "price": 1.5, "tags": ["a", {"b": n}]} for n in range(20)]


@pytest.mark.parametrize(
    ("indent", "shape", "mark", "packed"),
    [
        (None, "array", b"", False),
        (1, "array", codecs.BOM_UTF8, True),
        (None, "objects", codecs.BOM_UTF8, False),
        (None, "objects", b"", True),
        (1, "objects", b"", False),
    ],
)
def test_json_is_known_in_all_its_shapes(
    tmp_path: Path, indent: int | None, shape: str, mark: bytes, packed: bool
) -> None:
    texts = (
        [json.dumps(ROWS, indent=indent)]
        if shape == "array"
        else [json.dumps(row, indent=indent) for row in ROWS]
    )
    content = mark + ("\n".join(texts) + "\n").encode()
    sample = tmp_path / "orders.json"
    sample.write_bytes(gzip.compress(content) if packed else content)
    result = init(sample)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("# Generated from 20 rows of orders.json")
    made = tomllib.loads(result.stdout)
    kind = {"format": "ndjson" if (shape, indent) == ("objects", None) else "json"}
    assert made["source"] == kind | ({"compression": "gzip"} if packed else {})
    columns = made["columns"]
    assert [(name, column["type"]) for name, column in columns.items()] == [
        *(("id", "integer"), ("name", "string"), ("price", "number"), ("tags", "string")),
    ]
    read_definition(made)


def test_of_a_large_json_file_the_beginning_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_text, "_CHARACTERS", 100)
    sample = tmp_path / "a.json"
    sample.write_text(
        "[" + ",\n".join(f'{{"id": {n}, "ü": "ä"}}' for n in range(1000)) + "]", encoding="utf-8"
    )
    assert init(sample).stdout.startswith("# Generated from 4 rows")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
def test_a_byte_order_mark_names_the_encoding(tmp_path: Path, encoding: str) -> None:
    sample = tmp_path / "a.csv"
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    sample.write_bytes(mark + "id,nämé\n1,x\n".encode(encoding))
    made = tomllib.loads(init(sample).stdout)
    assert list(made["columns"]) == ["id", "nämé"]
    assert made["source"]["csv"]["encoding"] == encoding.removesuffix("-be").removesuffix("-sig")


@pytest.mark.parametrize("names", [["rowid", "file_row_number", "_lume", "__lume_x"], ["RowID"]])
def test_every_name_of_a_column_gives_a_flow_that_may_be_registered(tmp_path: Path, names: list[str]) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text(f"id,{','.join(names)}\n1{',x' * len(names)}\n")
    made = tomllib.loads(init(sample).stdout)
    assert len(read_definition(made).columns) == 1 + len(names)
    for name, column in zip(["id", *names], made["columns"].values(), strict=True):
        assert name in column.get("sql", name)


def test_a_file_of_rejects_has_the_columns_of_its_source(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text("_lume_row,_lume_reasons,id,v,_lume_raw\n1,id: is required,,x,\n")
    assert list(tomllib.loads(init(sample).stdout)["columns"]) == ["id", "v"]
    sample.write_text("_LUME_ROW,_lume_raw\n1,x\n")
    assert "has no columns except those of rejects" in " ".join(init(sample).stderr.split())


def test_of_names_that_differ_in_spaces_and_case_one_is_read(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text("A B,a b \n1,2\n")
    result = init(sample)
    assert "left out, as another name differs in case only: 'a b'" in result.stderr
    assert [column["sql"] for column in tomllib.loads(result.stdout)["columns"].values()] == ['"A B"']
    sample.write_text(" A B ,c\n1,2\n")
    assert tomllib.loads(init(sample).stdout)["columns"]["a_b"]["sql"] == '"A B"'


PEOPLE = ["Nr;Name;Price", *(f"{n};Ann;{n},50 €" for n in range(1, 11))]


def columns_of(result: Result) -> dict[str, str]:
    assert result.exit_code == 0, result.stderr
    return {name: column["type"] for name, column in tomllib.loads(result.stdout)["columns"].items()}


@pytest.mark.parametrize(("row", "value"), [(2, "checked"), (5, None), (40, "checked")])
def test_a_cell_to_the_right_of_the_columns_changes_no_type(
    tmp_path: Path, row: int, value: str | None
) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for line in PEOPLE:
        book.active.append(line.split(";"))
    cell = book.active.cell(row, 6, value)
    cell.fill = openpyxl.styles.PatternFill("solid", fgColor="FFFF00")
    book.save(tmp_path / "a.xlsx")
    result = init(tmp_path / "a.xlsx")
    assert columns_of(result) == {"nr": "integer", "name": "string", "price": "number"}
    said = (
        ""
        if value is None
        else f"warning: a run rejects 1 line of the sample (too many columns: 1): see line {row}\n"
    )
    assert result.stderr == said


@pytest.mark.parametrize("in_header", [True, False])
def test_a_delimiter_at_the_end_of_each_line_changes_no_type(tmp_path: Path, in_header: bool) -> None:
    sample = tmp_path / "a.csv"
    header, *rows = PEOPLE
    sample.write_text("\n".join([header + ";" * in_header, *(row + ";" for row in rows)]), encoding="utf-8")
    result = init(sample)
    assert columns_of(result) == {"nr": "integer", "name": "string", "price": "number"}
    if in_header:
        assert result.stderr == ""
    else:
        assert "the header has 3 columns, but most rows have 4, and a run rejects" in result.stderr
        assert "end the header with one" in result.stderr


@pytest.mark.thorough
def test_a_title_above_the_header_is_asked_about(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text("\n".join(["People of 2023", "", *PEOPLE]), encoding="utf-8")
    for title in (["People of 2023", ""], ["People of 2023;;", ";;"], ["", 'The "best", of 5"']):
        sample.write_text("\n".join([*title, *PEOPLE]), encoding="utf-8")
        result = init(sample)
        assert (
            "the header is taken to be 'Nr', 'Name', 'Price', and what is above it is skipped"
            in result.stderr
        )
        assert columns_of(result) == {"nr": "integer", "name": "string", "price": "number"}
        assert tomllib.loads(result.stdout)["source"]["header"] == {"contains": ["Nr", "Name", "Price"]}
    sample.write_text("Title\na;b\nx;y\nz;w\n", encoding="utf-8")  # or a header that lacks a name
    assert (
        """the first line is one column, 'Title', but most lines are 2 with the delimiter ";": """
        "if it is a title, set the line of the header, or delete what is above it"
    ) in init(sample).stderr


def test_a_column_called_as_a_clock_of_sql_is_left_out(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text("id,current_date\n1,2024-01-31\n")
    made = init(sample)
    assert list(columns_of(made)) == ["id"]
    assert "left out, as SQL has a clock of that name: 'current_date': read it with from =" in made.stderr


def test_a_document_type_declaration_is_xml_and_refused(tmp_path: Path) -> None:
    sample = tmp_path / "a.xml"
    sample.write_text('<!DOCTYPE a SYSTEM "a.dtd">\n<a><b x="1, 2"/><b x="2"/></a>\n')
    assert "has a document type declaration" in init(sample).stderr
    sample.write_text("<a><b>" + "<c>" * 5000)
    assert "has more than 256 elements within each other" in init(sample).stderr


def test_a_wrong_delimiter_is_named_as_that(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text("id,name,price\n" + "1,Ann,2.5\n2,Bob,3\n" * 3)
    found = init(sample, "--delim", ";").stderr
    assert """the header is one column, 'id,name,price': if it is ",", pass --delim""" in found
    found = init(sample, "--delim", "n").stderr
    assert """with "," they have 3 columns: pass --delim""" in found
    sample.write_text("id~name\n" + "1~Ann\n2~Bob\n" * 3)
    made = init(sample)
    assert tomllib.loads(made.stdout)["source"]["csv"]["delim"] == "~"
    assert 'the delimiter is taken to be "~": is that right?' in made.stderr
    sample.write_text("note\n~5 pieces\nmore\n")
    assert tomllib.loads(init(sample).stdout)["source"]["csv"]["delim"] == ","


def test_a_column_of_sentences_is_no_title(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text("note\n" + '"one, two"\nthree\nfour\n')
    assert init(sample).stderr == ""


def test_cp1252_is_read_and_not_taken_for_latin_1(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_bytes("\n".join(PEOPLE).encode("cp1252"))
    guessed = init(sample)
    assert "it is not UTF-8, and read as cp1252" in guessed.stderr
    assert "# it is not UTF-8, and read as cp1252" in guessed.stdout
    assert tomllib.loads(guessed.stdout)["source"]["csv"]["encoding"] == "cp1252"
    assert columns_of(guessed)["price"] == "number"
    wrong = init(sample, "--encoding", "latin-1")
    assert (
        r"in latin-1 a value is '1,50 \x80', in cp1252 it is '1,50 €': pass --encoding, such as cp1252"
        in wrong.stderr
    )
    right = init(sample, "--encoding", "cp1252")
    assert (right.stderr, columns_of(right)["price"]) == ("", "number")
    sample.write_bytes("a,b\nJörg,1\n".encode("latin-1"))
    assert init(sample, "--encoding", "latin-1").stderr == ""
    assert "(not valid UTF-8: 1): see line 2" in init(sample, "--encoding", "utf-8").stderr
    sample.write_bytes("a,b\nJürg,1\n".encode("cp850"))
    assert tomllib.loads(init(sample).stdout)["source"]["csv"]["encoding"] == "cp850"


def test_an_encoding_that_is_not_clear_is_not_guessed(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_bytes("a,b\nPeña,1\n".encode("cp1252"))
    refused = init(sample)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert (
        "it is not clear which encoding it has: pass --encoding, such as cp1252 for 'Peña', "
        in refused.stderr
    )
    assert "cp1250 for 'Peńa'" in refused.stderr
    assert init(sample, "--encoding", "cp1250").exit_code == 0


def test_a_few_bytes_that_are_not_utf8_change_no_encoding(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_bytes(b"a,b\n" + "Jörg,1\n".encode() * 20 + b"J\xf6rg,2\n")
    result = init(sample)
    assert tomllib.loads(result.stdout)["source"]["csv"]["encoding"] == "utf-8"
    assert "most of it is UTF-8, but 1 byte is not" in result.stderr
    assert "a run rejects 1 line of the sample (not valid UTF-8: 1): see line 22" in result.stderr


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    sample = tmp_path / "a.csv"
    sample.write_bytes("id,name\n1,Jörg\n".encode(encoding))
    assert tomllib.loads(init(sample).stdout)["source"]["csv"]["encoding"] == encoding


def test_no_enumeration_of_what_a_cleaner_reads(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text("id,land,size\n" + "1,Germany,S\n2,France,M\n" * 4)
    result = init(sample)
    made = result.stdout
    assert "rewritten, by the sql of the column: land (countries become their codes);" in result.stderr
    assert """sql = 'country_code("land")'""" in made
    assert [line for line in made.splitlines() if "enum" in line] == ['# enum = ["M", "S"]']


def test_what_keeps_a_column_from_being_required_or_unique_is_told(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    numbers = [str(n) for n in range(1000, 1040)]
    numbers[7], numbers[20] = "", "1016"
    sample.write_text("nr,note\n" + "".join(f"{n},{'x' * (k % 2)}\n" for k, n in enumerate(numbers)))
    made = init(sample).stdout
    assert "# required = true                    # 1 value in the sample is empty\n" in made
    assert '# unique = true                      # "1016" occurs more than once in the sample\n' in made
    assert made.count("required = true") - made.count("is empty") == 1  # of the notes half are: no mistake
    sample.write_text("nr\n" + "".join(f"{n}\n" for n in range(40)) + '""\n')
    assert (
        "# unique = true                      # all values in the sample are distinct\n"
        in init(sample).stdout
    )


@pytest.mark.parametrize(
    ("start", "packed"),
    [
        (b"", False),
        (b"id,name\n1,a\n", True),
        (b'{"id": 1}\n', False),
        (b'{"id": 1', True),
        (b"id\xe4,name\n1,a\n", False),
    ],
)
def test_a_file_without_line_ends_is_refused_without_reading_it(
    tmp_path: Path, start: bytes, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = tmp_path / "sparse.csv"
    if packed:
        sample.write_bytes(gzip.compress(start + bytes(30_000_000)))
    else:
        with sample.open("wb") as file:
            file.write(start)
            file.truncate(3 * 1024**3)
    read = 0
    opened = RawFile.open

    class Counted(io.RawIOBase):
        def __init__(self, raw: RawFile) -> None:
            self.file = opened(raw)

        def readable(self) -> bool:
            return True

        def readinto(self, into: memoryview) -> int:  # type: ignore[override]
            nonlocal read
            block = self.file.read(len(into))
            into[: len(block)] = block
            read += len(block)
            return len(block)

        def close(self) -> None:
            self.file.close()
            super().close()

    monkeypatch.setattr(RawFile, "open", lambda raw: io.BufferedReader(Counted(raw)))
    refused = init(sample)
    assert refused.exit_code == 2
    assert read < 128 * 1024**2
    assert re.search(
        r"longer than 2,000,000|is a binary file.* copy it again", " ".join(refused.stderr.split())
    )
    assert len(refused.stderr) < 1000


@pytest.mark.parametrize(
    "text",
    [
        f"{'x' * 1_000_000},{'x' * 1_000_000}\n1,2\n",
        f"_lume_{'x' * 100_000}\n1\n",
        f"{'x' * 50_000};{'y' * 50_000}\n1;2\n",
        f'{{"{"x" * 100_000}": 1}}\n1\n',
        "\a" * 100_000 + "\n1\n",
    ],
)
def test_what_is_said_of_a_sample_is_short(tmp_path: Path, text: str) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text(text)
    assert len(init(sample, "--delim", ",", "-o", str(tmp_path), "--name", "a").stderr) < 2000


def zip_of(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_a_flow_of_every_kind_of_workbook(tmp_path: Path, kind: str) -> None:
    sample = tmp_path / f"sample.{kind}"
    sheets = {
        "Config": Sheet([["x"]], "hidden"),
        "Orders": Sheet([["No", "Day"], [1, datetime.date(2024, 5, 1)], [2, datetime.date(2024, 5, 2)]]),
        "Notes": Sheet([["y"]]),
    }
    sample.write_bytes(written(kind, sheets))
    text = init(sample).stdout
    flow = tomllib.loads(text)
    assert flow["source"] == {"format": "excel"}
    kinds = {name: one.get("type", one.get("format")) for name, one in flow["columns"].items()}
    assert kinds == {"no": "integer", "day": "date"}
    assert "# of 2 sheets the first is read, 'Orders': others are 'Notes'" in text
    assert "# hidden, and not read: 'Config'" in text


@pytest.mark.parametrize(
    ("name", "files", "source", "doubts"),
    [
        ("in.zip", {"a.csv": b"id;name\n1;A\n"}, {}, []),
        ("in.zip", {"a.csv": b"id;name\n1;A\n", "__MACOSX/._a.csv": b"?"}, {}, []),
        (
            "in.dat",
            {"x/b.csv": b"id;name\n1;A\n", "x/a.csv": b"id;name\n1;A\n", "readme.txt": b"?"},
            {"members": "**/*.csv", "compression": "zip"},
            ["the columns are those of 'x/a.csv'", "not read of the archive: 'readme.txt'"],
        ),
        (
            "in.zip",
            {"a.csv.gz": gzip.compress(b"id;name\n1;A\n"), "b.csv.gz": gzip.compress(b"id;name\n1;A\n")},
            {"members": "*.gz"},
            ["the columns are those of 'a.csv.gz'"],
        ),
    ],
)
def test_a_flow_of_an_archive(
    tmp_path: Path, name: str, files: dict[str, bytes], source: dict[str, str], doubts: list[str]
) -> None:
    sample = tmp_path / name
    sample.write_bytes(zip_of(**files))
    text = init(sample).stdout
    flow = tomllib.loads(text)
    assert flow["source"] == {"format": "csv", "csv": {"delim": ";", "encoding": "utf-8"}} | source
    assert list(flow["columns"]) == ["id", "name"]
    assert [f"# {doubt}" for doubt in doubts if f"# {doubt}" not in text] == []


def test_an_archive_whose_member_can_not_be_read(tmp_path: Path) -> None:
    sample = tmp_path / "in.zip"
    sample.write_bytes(zip_of(**{"a.pdf": PDF}))
    refused = init(sample)
    assert "in.zip/a.pdf is a PDF document" in " ".join(refused.stderr.split())
    sample.write_bytes(zip_of(**{"../a.csv": b"id\n1\n"}))
    assert "is not read: its name leads out of the archive" in " ".join(init(sample).stderr.split())


def test_a_bad_line_of_ndjson_is_a_line(tmp_path: Path) -> None:
    sample = tmp_path / "a.ndjson"
    bad = ['{"id": ', "[1]", "7", '{"id": 1, "id": 2}', '{"id": NaN}']
    sample.write_text("\n".join(['{"id": 1, "v": "x"}', *bad, *['{"id": 2}'] * 9]))
    result = init(sample)
    assert columns_of(result) == {"id": "integer", "v": "string"}
    assert "a run rejects 5 lines of the sample (" in result.stderr
    assert "see line 2" in result.stderr


def test_members_that_differ_in_case_are_one_column(tmp_path: Path) -> None:
    sample = tmp_path / "a.ndjson"
    sample.write_text('{"id": 1, "ID": "x"}\n')
    result = init(sample)
    assert columns_of(result) == {"id": "integer"}
    assert "left out, as another name differs in case only: 'ID'" in result.stderr


def test_a_header_without_rows(tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_text("id,name\n")
    result = init(sample)
    assert columns_of(result) == {"id": "string", "name": "string"}
    assert "a.csv has no rows: every column is read as text" in result.stderr


@pytest.mark.thorough
def test_rows_from_all_over_a_file_are_in_its_sample(tmp_path: Path) -> None:
    """What only later rows have: a word for nothing is found, and a single value changes the type."""
    levels = [f"{'nil' if 39_000 < n < 40_000 else n / 8}" for n in range(60_000)]
    ages = [f"{'' if n == 59_998 else 'old' if n == 59_999 else n % 90}" for n in range(60_000)]
    rows = [*zip(levels, ages, strict=True)]
    (tmp_path / "a.csv").write_text("level,age\n" + "".join(f"{one},{other}\n" for one, other in rows))
    lines = [json.dumps({"level": one, "age": other}) for one, other in rows]
    (tmp_path / "a.ndjson").write_text("\n".join(lines) + "\n")
    for name in ("a.csv", "a.ndjson"):
        made = init(tmp_path / name).stdout
        assert "# Generated from 60,000 rows" in made
        columns = tomllib.loads(made)["columns"]
        assert columns["level"] == {"sql": "nullif(trim(\"level\"), 'nil')", "type": "number"}
        assert columns["age"].get("type", "string") == "string"
        assert columns["age"].get("required", False) is (name == "a.ndjson"), "an empty text is one there"
        assert "of the sample would be rejected, such as" in made
