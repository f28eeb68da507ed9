"""`lume flow init` on files whose table has to be found: below a title, in a document, by positions."""

import gzip
import io
import json
import random
import tomllib
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from click.testing import CliRunner, Result
from depth import seeds

from lume_cli._app import app
from lume_local._flow.definition import read_definition
from lume_local._samples.record_paths import names_in, path_in_json, path_in_xml
from lume_local._samples.table_start import Start, footer_of, split, start_of
from lume_local._worker.samples import read as flow_sample

HEADER = ["No", "Name", "Postcode", "Amount", "Day"]
ROWS = [[str(n), f"Ann {n}", f"0{1000 + n}", f"{n}.50", f"2024-03-{n % 28 + 1:02}"] for n in range(1, 30)]
TYPES = {"no": "integer", "name": "string", "postcode": "string", "amount": "number", "day": "string"}


def init(sample: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["flow", "init", str(sample), *options])


def made_of(sample: Path, content: str | bytes) -> tuple[dict[str, Any], Result]:
    """The flow that is proposed, which the engine takes."""
    sample.write_bytes(content.encode() if isinstance(content, str) else content)
    result = init(sample)
    assert result.exit_code == 0, result.stderr
    made = tomllib.loads(result.stdout)
    read_definition(made)
    return made, result


def types_of(made: dict[str, Any]) -> dict[str, str]:
    return {name: column.get("type", "string") for name, column in made["columns"].items()}


def lines_of(rows: list[list[str]], delim: str = ";") -> list[str]:
    return [delim.join(row) for row in rows]


@seeds(8)
def test_a_table_is_found_below_what_people_write(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    delim = rng.choice(",;\t|")
    titles = ["Customers of 2023", 'The "best" of 5" pipes', "", delim * 4, "As of: 2024-01-02", "Seite 1/3"]
    above = [rng.choice(titles) for _ in range(rng.randrange(4))]
    has_comments = rng.random() < 0.3
    if has_comments:
        above.insert(rng.randrange(len(above) + 1), "# exported by a program")
    rows = lines_of([HEADER, *ROWS], delim)
    if has_comments:
        rows.insert(5, "# checked")
    made, result = made_of(tmp_path / "a.csv", "\n".join([*above, *rows]) + "\n")
    assert types_of(made) == TYPES
    assert made["source"]["csv"]["delim"] == delim
    is_title = any(line.strip(delim + " ") and not line.startswith("#") for line in above)
    if is_title or any(line == delim * 4 for line in above):
        assert made["source"]["header"] == {"contains": HEADER[:3]}
        assert "what is above it is skipped: is that right?" in result.stderr
    assert made["source"].get("comment", "") == ("#" if has_comments else "")
    assert "digits with leading zeros: kept as text" in result.stdout


ANN = ["1,Ann,a@example.org,2024-01-02", "2,Bob,b@example.org,2024-02-03", "3,Cy,c@example.org,2024-03-04"]


@pytest.mark.parametrize(
    ("rows", "is_headerless"),
    [
        ([*ANN, "4,Di,d@example.org,2024-03-05"], True),
        (["id,name,mail,day", *ANN], False),
        (["# by hand", *ANN, "4,Di,d@example.org,2024-03-05"], True),
        (["5.1;3.5;setosa", "4.9;3.0;setosa", "4.7;3.2;setosa", "6.3;3.3;virginica"], True),
        (["country,1952,1957", "Peru,7,8", "Chad,5,6", "Cuba,9,9"], False),
        (["who,0,1,2", "a,7,8,9", "b,5,6,7", "c,9,9,9"], False),
        (["2024-01-01,x", "2024-01-02,y", "2024-01-03,z", "2024-01-04,x"], True),
        (["red,yes", "blue,no", "red,no", "blue,yes", "red,no"], True),
        (["12", "15", "12", "20"], True),
        (["colour,yes", "red,yes", "blue,no", "red,yes"], True),
        (["colour,good", "red,yes", "blue,no", "colour,good", "red,yes"], False),  # the header, once more
        (["1,a", "2,b"], False),  # too few to tell
        (["12", "15", "17", "20"], True),
        (["a,,1", "b,2,2", "c,3,3", "d,4,4"], False),
    ],
)
def test_a_table_without_a_header(tmp_path: Path, rows: list[str], is_headerless: bool) -> None:
    """The first line is a row to the flow, which has names for the columns to be replaced."""
    made, result = made_of(tmp_path / "a.csv", "\n".join(rows) + "\n")
    assert (made["source"].get("header") == "none") == is_headerless
    assert ("so it is taken for a row" in result.stderr) == is_headerless
    if is_headerless:
        names = [f"column_{n}" for n in range(1, len(made["columns"]) + 1)]
        assert (made["source"]["names"], [*made["columns"]]) == (names, names)
        count = sum(not row.startswith("#") for row in rows)
        assert f"# Generated from {count} rows" in result.stdout


def test_a_sheet_without_a_header(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for number in range(1, 6):
        book.worksheets[0].append([number, f"Ann {number}", number / 4])
    book.save(tmp_path / "a.xlsx")
    result = init(tmp_path / "a.xlsx")
    made = tomllib.loads(result.stdout)
    assert made["source"] == {
        "format": "excel",
        "header": "none",
        "names": ["column_1", "column_2", "column_3"],
    }
    assert [column["type"] for column in made["columns"].values()] == ["integer", "string", "number"]


def test_a_guess_that_the_engine_refuses_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Start(1, ["not", "there"])
    monkeypatch.setattr(flow_sample, "start_of_lines", lambda lines, delim: wrong)
    made, result = made_of(tmp_path / "a.csv", "\n".join(lines_of([HEADER, *ROWS])))
    assert ("header" in made["source"], result.stderr) == (False, "")
    assert types_of(made) == TYPES


def test_names_without_letters_are_not_looked_for(tmp_path: Path) -> None:
    made, _ = made_of(tmp_path / "a.csv", "Title\n_;no;--;b\n1;2;3;4\n2;3;4;5\n")
    assert made["source"]["header"] == {"contains": ["no", "b"]}


def test_a_document_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lxml")
    monkeypatch.setattr(flow_sample, "_MOST_UNPACKED", 1000)
    monkeypatch.setattr(flow_sample, "_BLOCK", 500)
    (tmp_path / "a.xml.gz").write_bytes(gzip.compress(b"<a>" + b"<b x='1'/>" * 1000 + b"</a>"))
    refused = init(tmp_path / "a.xml.gz")
    assert (refused.exit_code, "unpacks to more than 1,000 bytes" in refused.stderr) == (2, True), (
        refused.stderr
    )


@pytest.mark.parametrize(
    ("rows", "row", "comment"),
    [
        (["a;b", "1;2"], 0, ""),
        (["T", "a;b;c", "1;2;3", "4;5;6"], 1, ""),
        (["T;U", "a;b;c;d", "x;y;z;w", "x;y;z;w"], 0, ""),  # rather a header that lacks names
        (["T", "2019;2020;Sum", "a;1;2", "1;2;3", "4;5;6"], 1, ""),
        (["#no;b;c", "1;2;3", "4;5;6"], 0, ""),
        (["# by me", "a;b;c", "1;2;3", "#4;5;6"], 1, ""),  # a record may begin so, too
        (["// by me", "a;b;c", "1;2;3"], 1, "//"),
        (["-- x", "T", "", "a;b;c", "1;2;3", "2;2;2", "2;2;3"], 3, "--"),
        ([";;;", "a;b;c", "1;2;3"], 1, ""),
        ([], 0, ""),
    ],
)
def test_where_it_begins(rows: list[str], row: int, comment: str) -> None:
    start = start_of(split(rows, ";"), rows)
    assert (start.row, start.comment) == (row, comment)


@pytest.mark.parametrize(
    ("rows", "starts"),
    [
        (["1;2;3", "Total;;5"], ["Total"]),
        (["1;2;3", "Summe;;5", "", "Total incl. VAT;;6"], ["Summe", "Total incl. VAT"]),
        (["1;2;3", ";Grand total:;5"], ["Grand total:"]),
        (["1;2;3", "Source: the office"], ["Source: the office"]),
        (["1;2;3", "Total;4;5"], []),  # as filled as every record
        (["Total;;5", "1;2;3"], []),
        (["1;2;3", "Totalitarian;;1"], []),
        ([], []),
    ],
)
def test_what_may_be_a_footer(rows: list[str], starts: list[str]) -> None:
    assert footer_of(split(rows, ";"), 3) == starts


def test_a_footer_is_a_comment(tmp_path: Path) -> None:
    content = "\n".join([*lines_of([HEADER, *ROWS]), "Total;;;435.00;"])
    made, result = made_of(tmp_path / "a.csv", content)
    assert "footer" not in made["source"]
    assert '# footer = { starts_with = ["Total"] }' in result.stdout
    assert "the last lines begin with 'Total': if they are no records" in result.stderr
    made = tomllib.loads(
        result.stdout.replace(
            '# footer = { starts_with = ["Total"] }', 'footer = { starts_with = ["Total"] }'
        )
    )
    assert read_definition(made).source.footer is not None


def test_the_first_sheet_with_a_table(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book, file = openpyxl.Workbook(), io.BytesIO()
    book.active.title = "About"
    book.active.append(["Written by the office"])
    for title in ("Töne & <more>", "Other"):
        sheet = book.create_sheet(title)
        for row in (["Report"], HEADER, *ROWS):
            sheet.append(row)
    book.save(file)
    made, result = made_of(tmp_path / "a.xlsx", file.getvalue())
    assert made["source"]["excel"] == {"sheet": "Töne & <more>"}
    assert made["source"]["header"] == {"contains": HEADER[:3]}
    assert "the sheet 'Töne & <more>' is read, as those before it have no table" in result.stderr
    del book["About"]
    file = io.BytesIO()
    book.save(file)
    made, result = made_of(tmp_path / "a.xlsx", file.getvalue())
    assert "excel" not in made["source"]
    assert "of 2 sheets the first is read, 'Töne & <more>': others are 'Other'" in result.stderr


def test_records_of_json_and_nested_fields(tmp_path: Path) -> None:
    items = [
        {"id": n, "address": {"city": "Bonn", "zip": f"0{n}"} if n % 2 else None, "tags": ["x"]}
        for n in range(9)
    ]
    document = {"meta": {"count": 9, "page": {"of": 1}}, "data": {"items": items, "errors": [{"a": 1}]}}
    for indent in (None, 1):
        made, result = made_of(tmp_path / "a.json", json.dumps(document, indent=indent))
        assert made["source"] == {"format": "json", "json": {"records": "data.items"}}
        assert [column.get("sql", name) for name, column in made["columns"].items()] == [
            *("id", '"address.city"', '"address.zip"', "tags")
        ]
        assert "taken to be the 9 objects in 'data.items'" in result.stderr
        assert "there are others in 'data.errors' (1)" in result.stderr
    made, _ = made_of(tmp_path / "a.json", json.dumps({"a.b": items}))
    assert made["source"]["json"] == {"records": ["a.b"]}
    made, _ = made_of(tmp_path / "a.ndjson", json.dumps({"id": 1, "items": items}))
    assert made["source"] == {"format": "ndjson"}


def test_names_of_nested_fields() -> None:
    assert names_in([{"a": {"b": {"c": 1}, "d": {}}}, {"a": None, "e": [{"f": 1}]}, 7]) == [
        "a.b.c",
        "a.d",
        "e",
    ]
    assert names_in([{"a": {"b": 1}}, {"a": "text"}]) == ["a.b", "a"]
    assert path_in_json({"a": 1}) is None
    assert path_in_json([{"a": 1}]) is None


XML = '<?xml version="1.0"?>\n<s:shop xmlns:s="urn:s"><head><n>7</n></head>{}</s:shop>'
ORDER = '<order no="{n}"><by><name>A{n}</name></by>{items}<day>2024-03-0{n}</day></order>'


def test_records_of_xml(tmp_path: Path) -> None:
    pytest.importorskip("lxml")
    items = "<item><sku>x</sku></item><item><sku>y</sku></item>"
    orders = "".join(ORDER.format(n=n, items=items) for n in range(1, 6))
    for encoding in ("utf-8", "utf-16"):
        content = XML.format(orders).replace("?>", f' encoding="{encoding}"?>').encode(encoding)
        made, result = made_of(tmp_path / "a.xml", content)
        assert made["source"] == {"format": "xml", "xml": {"records": "shop/order"}}
        assert {
            column.get("sql", name): column.get("format") or column["type"]
            for name, column in made["columns"].items()
        } == {
            '"@no"': "integer",
            '"by/name"': "string",
            '"item/sku"': "string",
            '"item[2]/sku"': "string",
            "day": "date",
        }
        assert "taken to be the elements 'shop/order' (5 seen)" in result.stderr


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("<a><b x='1'/><b x='2'/></a>", "a/b"),
        ("<a><b><c>1</c></b></a>", "a/b"),
        ("<a><h><x>1</x></h><l><b><c>1</c></b><b><c>1</c></b></l></a>", "a/l/b"),
        ("<a><b>1</b><b>2</b></a>", "a/b"),
        ("<a/>", "a"),
    ],
)
def test_the_path_of_records(text: str, path: str) -> None:
    pytest.importorskip("lxml")
    assert "/".join(path_in_xml(io.BytesIO(text.encode()), "a.xml").steps) == path
