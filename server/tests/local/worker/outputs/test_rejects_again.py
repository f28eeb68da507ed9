"""Rejects go back in: mended they are rows, as they are they are rejected for the same reasons, never made up."""

import csv
import gzip
import io
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from local.corrected import as_csv
from local.one_run import execute
from local.workbooks import Error
from local.workbooks import written as workbook

from lume_async._run.row_text import CsvDialect
from lume_local._worker.engine import RunFailed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TWO: dict[str, Any] = {"id": {"type": "integer", "required": True}, "t": {"sql": '"T, t"'}}

DIALECTS: list[dict[str, str]] = [
    {},
    {"delim": ";", "encoding": "latin-1"},
    {"delim": "\t", "quote": ""},
    {"quote": "'", "escape": "\\"},
    {"encoding": "utf-16"},
    {"encoding": "cp1252", "delim": "|"},
]


def written(rows: list[list[str]], options: dict[str, str]) -> bytes:
    quote, escape = options.get("quote", '"'), options.get("escape")
    out = io.StringIO()
    writer = csv.writer(
        out,
        delimiter=options.get("delim", ","),
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        doublequote=not escape,
        escapechar=escape,
        lineterminator="\n",
    )
    writer.writerows(rows)
    return out.getvalue().encode(options.get("encoding", "utf-8"))


@pytest.mark.parametrize("options", DIALECTS, ids=str)
def test_in_the_dialect_of_the_source(tmp_path: Path, options: dict[str, str]) -> None:
    name = "t" if options.get("quote") == "" else "T, t"
    columns = {**TWO, "t": {"sql": f'"{name}"'}}
    texts = ["é;|", "'q' \"r\"", "a\\b"] if name == "t" else ["é;|\t,\n", "'q' \"r\"", 'a\\b,"']
    rows = [["id", name], ["1", "fine"], *(["x", text] for text in texts), ["2"], ["3", "b", "c"]]
    changes = {"columns": columns, "source": {"csv": options}}
    first = execute(tmp_path / "a", written(rows, options), **changes)
    assert first.metrics["rows_rejected"] == 5
    again = execute(
        tmp_path / "b", first.rejects_file + written([["", "", "", "7", "ok", ""]], options), **changes
    )
    assert again.mapped == [(7, "ok")]
    assert again.metrics["reject_reasons"] == first.metrics["reject_reasons"]
    assert [row[name] for row in again.rejects] == [row[name] for row in first.rejects]
    assert again.raws == first.raws
    mended = first.rejects_file.decode(options.get("encoding", "utf-8"))
    for number, text in enumerate(texts):
        assert text.split("'")[0].split("\\")[0].split('"')[0] in mended, number


@pytest.mark.parametrize(
    ("compression", "format", "encoding"),
    [("gzip", "csv", "utf-16"), ("zstd", "csv", "utf-8"), ("gzip", "ndjson", "utf-8")],
)
def test_of_a_source_that_is_compressed(tmp_path: Path, compression: str, format: str, encoding: str) -> None:
    """Nobody compresses what was mended in an editor."""
    packed = gzip.compress if compression == "gzip" else zstd.compress
    rows = "id,t\n1,a\nx,b\n" if format == "csv" else '{"id": "1", "t": "a"}\n{"id": "x", "t": "b"}\n'
    source: dict[str, Any] = {"format": format, "compression": compression}
    if format == "csv":
        source["csv"] = {"encoding": encoding}
    changes = {"columns": {"id": {"type": "integer"}, "t": {}}, "source": source}
    first = execute(tmp_path / "a", packed(rows.encode(encoding)), rejects_suffix=f".{format}", **changes)
    assert first.metrics["rows_rejected"] == 1
    mended = first.rejects_file.decode(encoding).replace('"x"', "2").replace(",x,b", ",2,b").encode(encoding)
    assert execute(tmp_path / "b", mended, **changes).mapped == [(2, "b")]
    with pytest.raises(RunFailed, match=f"is not a complete {compression} file"):
        execute(tmp_path / "c", rows.encode(encoding), **changes)


@pytest.mark.parametrize("quote", ['"', ""])
def test_a_malformed_line_that_was_mended(tmp_path: Path, quote: str) -> None:
    changes = {"columns": {"id": {"type": "integer"}, "t": {}}, "source": {"csv": {"quote": quote}}}
    first = execute(tmp_path / "a", "id,t\n1,a\n2\n3,b,c\n", **changes)
    text = first.rejects_file.decode()
    mended = text.replace(f"{quote}2{quote}\n", f"{quote}2,x{quote}\n").replace(
        f"{quote}3,b,c{quote}\n", "\n"
    )
    mended = mended.replace("columns,,,\n", "columns,3,b c,\n").replace('columns",,,\n', 'columns",3,b c,\n')
    assert execute(tmp_path / "b", mended, **changes).mapped == [(2, "x"), (3, "b c")]


@pytest.mark.parametrize("quote", ['"', ""])
def test_columns_filled_in_beside_the_malformed_line(tmp_path: Path, quote: str) -> None:
    changes = {"columns": {"id": {}, "t": {}}, "source": {"csv": {"quote": quote}}}
    first = execute(tmp_path / "a", "id,t\n1,a\n2\n", **changes)
    text = first.rejects_file.decode().replace(f"columns{quote},,,", f"columns{quote},2,x,")
    again = execute(tmp_path / "b", f"{text},,,3,c,\n", **changes)
    assert (again.mapped, again.raws) == ([("3", "c")], ["2"])
    advice = "malformed line: too few columns (clear _lume_raw to use the columns that are filled in)"
    assert again.metrics["reject_reasons"] == {advice: 1}


def test_two_halves_of_a_quoted_field_do_not_become_one(tmp_path: Path) -> None:
    first = execute(tmp_path / "a", 'id,t\n1,a\n2,"open\n3,b"x\n4,c"\n', columns={"id": {}, "t": {}})
    assert first.raws == ['2,"open', '3,b"x', '4,c"']
    with_one = first.rejects_file + b",,,5,d,\n"
    again = execute(tmp_path / "b", with_one, columns={"id": {}, "t": {}})
    assert again.mapped == [("5", "d")]
    assert again.raws == first.raws
    assert [row["_lume_line"] for row in again.rejects] == ["2", "3", "4"]


NDJSON: dict[str, Any] = {"source": {"format": "ndjson"}, "columns": {"v": {"type": "integer"}}}


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        b'{"v": 1}',
        b'{"v": "x", "w": 12345678901234567.890, "o": {"_lume_k": [1.50]}}',
        b' {"v":"y"} ',
        b'{"v": NaN}',
        b'{"v": "\xff"}',
        b"\x01",
        b'{"v": 1.5}',
    ]
    first = execute(tmp_path / "a", b"\n".join(lines), rejects_suffix=".ndjson", **NDJSON)
    assert first.mapped == [(1,)]
    assert first.rejects_file.splitlines()[0] == (
        b'{"_lume_row":2,"_lume_line":2,"_lume_reasons":"v: is not a valid integer",'
        b'"v": "x", "w": 12345678901234567.890, "o": {"_lume_k": [1.50]}}'
    )
    again = execute(tmp_path / "b", first.rejects_file + b'{"v": 2}\n', rejects_suffix=".ndjson", **NDJSON)
    assert again.mapped == [(2,)]
    assert again.metrics["reject_reasons"] == first.metrics["reject_reasons"]
    for line in (
        b'"w": 12345678901234567.890, "o": {"_lume_k": [1.50]}',
        b'{\\"v\\": NaN}',
        b'{\\"v\\": \\"\xff\\"}',
    ):
        assert line in again.rejects_file
    third = execute(tmp_path / "c", again.rejects_file + b'{"v": 2}\n', rejects_suffix=".ndjson", **NDJSON)
    assert len(third.rejects_file) == len(again.rejects_file)


def test_json_lines_that_were_mended(tmp_path: Path) -> None:
    first = execute(tmp_path / "a", '{"v": 1}\n{"v": "x"}\n{"v": 3,}\n', rejects_suffix=".ndjson", **NDJSON)
    mended = first.rejects_file.decode().replace('"x"', "2").replace("3,}", "3}")
    assert execute(tmp_path / "b", mended, **NDJSON).mapped == [(2,), (3,)]


SEEN: dict[str, Any] = {
    "id": {"type": "integer"},
    "n": {"type": "string"},
    "b": {"type": "boolean"},
    "e": {"required": True},
    "o": {"sql": """json_extract_string("o", '$.k[1]')"""},
    "whole": {"sql": '"o"'},
}
"""What a flow sees of numbers, booleans, an empty text and objects."""
OBJECTS = [
    '{"id": "x", "n": 12345678901234567.890, "b": true, "e": "", "o": {"k": [1.50, "a, \\"b\\""]}, "more": 1}',
    '{"id": "x", "n": "1.10", "b": "false", "e": " ", "o": null}',
    '{"id": "x", "n": 1e2, "b": null, "e": "null", "o": {}}',
    '{"id": "x", "n": 0, "e": "é\\n;\\t", "o": []}',
]
ROW = """{'id': 'x', 'n': 12345678901234567.890::DECIMAL(20,3), 'b': true, 'e': '', 'o': {'k': ['1.50', 'a, "b"']}}"""


def json_rows(folder: Path, *values: str) -> bytes:
    return "".join(f"{value}\n" for value in values).encode()


def parquet_rows(folder: Path, *values: str) -> bytes:
    path = folder / "made.parquet"
    rows = " UNION ALL ".join(f"SELECT unnest({value})" for value in values)
    duckdb.sql(f"COPY ({rows}) TO '{path}'")
    return path.read_bytes()


def mended(first: bytes) -> bytes:
    """Every `id` becomes a number; nothing else is touched."""
    assert b",x," in first
    return first.replace(b",x,", b",7,")


@pytest.mark.parametrize("format", ["ndjson", "json"])
def test_the_lines_of_rejects_of_objects_in_csv(tmp_path: Path, format: str) -> None:
    """They become objects, whose quotes are other ones."""
    rows = '2,,"a ""b"\n3,,1\n\n4,,"""c\nd"\n5,,e\n'
    changes = {**NDJSON, "source": {"format": format}}
    again = execute(tmp_path, f"_lume_row,_lume_reasons,v\n{rows}", **changes)
    assert again.mapped == [(1,)]
    assert [row["_lume_line"] for row in again.rejects] == ["2", "5", "7"]


@pytest.mark.parametrize("format", ["ndjson", "json"])
def test_rejects_of_objects_in_csv(tmp_path: Path, format: str) -> None:
    """Every value is to the flow what it was in the object."""
    source = {"format": format}
    good = [line.replace('"x"', "7") for line in OBJECTS]
    want = execute(tmp_path / "want", json_rows(tmp_path, *good), source=source, columns=SEEN).mapped
    assert len(want) == 4
    fine = json_rows(tmp_path, '{"id": 1, "e": "."}', *OBJECTS)
    first = execute(tmp_path / "a", fine, source=source, columns=SEEN)
    assert [json.loads(row["_lume_object"]) for row in first.rejects] == [json.loads(one) for one in OBJECTS]
    assert first.raws == []
    again = execute(tmp_path / "b", mended(first.rejects_file), source=source, columns=SEEN)
    assert (again.mapped, again.metrics["rows_rejected"]) == (want, 0)
    assert again.metrics["source"]["records"] == 4
    # A member may be absent, but the rejects of a run have each column that the flow reads.
    rows = list(csv.DictReader(io.StringIO(mended(first.rejects_file).decode(), newline="")))
    lacking = "".join(CsvDialect().lines([{k: v for k, v in row.items() if k != "n"} for row in rows]))
    with pytest.raises(RunFailed, match="the corrected rejects have no column 'n', which people:v1 reads"):
        execute(tmp_path / "c", lacking, source=source, columns=SEEN)


WITHIN: dict[str, Any] = {
    "id": {"type": "integer"},
    "city": {"from": ["address.city"]},
    "zip": {"sql": '"address.zip"'},
    "tag": {"sql": '"tags.0"'},
    "note": {},
}


@pytest.mark.parametrize("format", ["ndjson", "json"])
def test_what_is_within_objects_in_csv(tmp_path: Path, format: str) -> None:
    """A cell with an object is that object, if the flow reads within it, and a text if it is none."""
    changes: dict[str, Any] = {"source": {"format": format}, "columns": WITHIN}
    rows = [
        '{"id": "x", "address": {"city": "Kiel", "zip": 12345678901234567.890}, "tags": ["b"], "note": {"k": 1}}',
        '{"id": "x", "address": {\n"city": "{Ulm}"}, "tags": [], "note": "[2]"}',
        '{"id": "x", "address": "{Hof}", "tags": "a"}',
    ]
    rows = [row.replace("\n", " ") for row in rows] if format == "ndjson" else rows
    good = json_rows(tmp_path, *(row.replace('"x"', "7") for row in rows))
    want = execute(tmp_path / "want", good, **changes).mapped
    assert want[0][:4] == (7, "Kiel", "12345678901234567.890", "b")
    lines = json_rows(tmp_path, '{"id": 1, "note": "."}', *rows)
    first = execute(tmp_path / "a", lines, rejects_suffix=".ndjson", **changes)
    found = [json.loads(line, parse_float=Decimal) for line in first.rejects_file.splitlines()]
    # As `lume rejects -o csv` writes them, and `Run.resubmit` the rows that it is given.
    corrected = "".join(CsvDialect().lines([{**row, "id": 7} for row in found]))
    assert execute(tmp_path / "b", corrected, **changes).mapped == want
    sent = "".join(CsvDialect().lines([{"_lume_row": None, "id": 1}, *found]))
    again = execute(tmp_path / "c", sent, rejects_suffix=".ndjson", **changes)
    left = [json.loads(line) for line in again.rejects_file.splitlines()]
    assert [one["address"] for one in left] == [json.loads(row)["address"] for row in rows]
    assert [one["tags"] for one in left] == [["b"], [], "a"]


def test_what_is_within_an_object_that_was_edited(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"source": {"format": "ndjson"}, "columns": WITHIN}
    cell = '"{\r\n""city"":\n""Hof"", ""city"": 1}"'
    again = execute(
        tmp_path,
        '_lume_row,id,address,tags\n1,1,"{\n""city"": ""Ulm""\n}",\n2,2,{city: Ulm},\n3,3,' + cell + ",\n",
        **changes,
    )
    assert [row[:2] for row in again.mapped] == [(1, "Ulm"), (2, None)]
    assert again.metrics["reject_reasons"] == {"malformed line: repeats a key": 1}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_is_not_mended_is_rejected_again(tmp_path: Path, suffix: str) -> None:
    source = {"format": "ndjson"}
    lines = ['{"id": 1, "e": "."}', OBJECTS[1], '{"id": 3,}', '{"id": 4, "id": 5}', "[1]", '{"e": NaN}']
    first = execute(tmp_path / "a", json_rows(tmp_path, *lines), source=source, columns=SEEN)
    assert first.raws == lines[2:]
    text = first.rejects_file.decode()
    # One is mended in the text that it was, in several lines, one by its columns.
    text = text.replace('"{""id"": 3,}"', '"{""id"": 3,\n""e"": 3.0}"')
    text = text.replace('"{""id"": 4, ""id"": 5}"', "").replace("repeats a key,,", "repeats a key,4,")
    text = text.replace("object,,,,,,,[1]", "object,9,,,,,,[1]") + 'broken "quotes\n,,,too few\n'
    again = execute(tmp_path / "b", text, rejects_suffix=suffix, source=source, columns=SEEN)
    assert again.mapped == [(3, None, None, "3.0", None, None)]
    assert again.metrics["reject_reasons"] == {
        "id: is not a valid integer": 1,
        "e: is required": 1,
        "malformed line: not a JSON object (clear _lume_raw to use the columns that are filled in)": 1,
        "malformed line: not a JSON object": 1,
        "malformed line: broken quotes": 1,
        "malformed line: too few columns": 1,
    }
    assert again.metrics["source"]["records"] == 7


def test_rejects_of_parquet_in_csv(tmp_path: Path) -> None:
    source = {"format": "parquet"}
    good = ROW.replace("'x'", "'7'")
    want = execute(tmp_path / "want", parquet_rows(tmp_path, good), source=source, columns=SEEN).mapped
    other = ROW.replace("''", "NULL").replace("'x'", "'y'")
    made = parquet_rows(tmp_path, good, ROW, other)
    first = execute(tmp_path / "a", made, source=source, columns=SEEN)
    again = execute(tmp_path / "b", mended(first.rejects_file), source=source, columns=SEEN)
    assert again.mapped == want
    assert want[0][3] == "", "an empty text is none that is missing"
    assert again.metrics["reject_reasons"] == {"id: is not a valid integer": 1, "e: is required": 1}
    with pytest.raises(RunFailed, match=r"has no column 'id', which people:v1 reads"):
        execute(tmp_path / "c", first.rejects_file.replace(b"id", b"no", 1), source=source, columns=SEEN)


@pytest.mark.parametrize("options", DIALECTS[1:4], ids=str)
def test_rejects_of_csv_as_objects(tmp_path: Path, options: dict[str, str]) -> None:
    """As `lume rejects -o ndjson` writes them: a row is one of cells, a malformed line is read as in its file."""
    delim = options.get("delim", ",")
    rows = [["id", "t"], ["1", "fine"], ["x", "a b"], ["y", ""], ["2"], ["3", "b", "c"], ["4"]]
    changes = {"columns": {"id": {"type": "integer"}, "t": {}}, "source": {"csv": options}}
    first = execute(tmp_path / "a", written(rows, options), **changes)
    assert first.metrics["rows_rejected"] == 5
    found = [{name: value or None for name, value in row.items()} for row in first.rejects]
    found[0] |= {"id": 10, "t": 1.50}
    found[1] |= {"id": "11", "t": "ö"}
    found[2]["_lume_raw"] = f"12{delim}é"
    found[4] |= {"_lume_raw": "", "id": 14}
    bad = [
        r'{"_lume_row": 7, "id": "\udc80"}',
        '{"_lume_row": 7, "id": 1, "id": 2}',
        "[1]",
        '{"_lume_row": 7,',
    ]
    content = "\n".join(["\ufeff" + json.dumps(found[0]), "", *map(json.dumps, found[1:]), *bad])
    again = execute(tmp_path / "b", content, **changes)
    assert again.mapped == [(10, "1.5"), (11, "ö"), (12, "é"), (14, None)]
    assert again.metrics["rows_read"] == again.metrics["source"]["records"] == 9
    assert again.metrics["reject_reasons"] == {
        "malformed line: too many columns": 1,
        "malformed line: not a JSON object": 4,
    }
    assert [row["_lume_line"] for row in again.rejects] == ["5", "7", "8", "9", "10"]
    lost = json.dumps(found[0] | {"_lume_reasons": LOST, "t": "M\ufffdller"}) + "\n" + json.dumps(found[1])
    assert execute(tmp_path / "c", lost, **changes).reasons == [LOST]


@pytest.mark.parametrize(("format", "delim"), [("ndjson", ";"), ("json", ","), ("parquet", "\t")])
def test_rejects_that_a_spreadsheet_has_saved(tmp_path: Path, format: str, delim: str) -> None:
    columns = SEEN | {"e": {}}
    rows = [ROW] if format == "parquet" else OBJECTS
    fine = rows[0].replace("'x'", "'1'").replace('"x"', "1")
    made = (parquet_rows if format == "parquet" else json_rows)(tmp_path, fine, *rows)
    first = execute(tmp_path / "a", made, source={"format": format}, columns=columns)
    saved = as_csv([{**row, "id": "7"} for row in first.rejects], delim, "utf-8-sig")
    again = execute(tmp_path / "b", saved, source={"format": format}, columns=columns)
    assert [row[0] for row in again.mapped] == [7] * len(rows)
    assert again.mapped[0][1:3] == ("12345678901234567.890", True)
    assert again.mapped[0][3] is None
    assert again.mapped[0][4] == first.mapped[0][4]


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    content = "_lume_row,id,id\n1,2,3\n"
    with pytest.raises(RunFailed, match=r"names 'id' 2 times"):
        execute(tmp_path, content, source={"format": "json"}, columns={"id": {}})


def test_rejects_of_a_workbook(tmp_path: Path) -> None:
    """As they were written, or as a spreadsheet has saved them."""
    changes: dict[str, Any] = {
        "columns": {"id": {"type": "integer"}, "name": {}},
        "source": {"format": "excel"},
    }
    rows = [[1, "A"], ["x", 'B, "b"'], ["y", Error("#N/A")], [4, "C", "beyond"], ["z", None]]
    first = execute(tmp_path / "a", workbook("xlsx", [["id", "name"], *rows]), **changes)
    assert (first.mapped, first.metrics["rows_rejected"]) == ([(1, "A")], 4)
    again = execute(tmp_path / "b", first.rejects_file + b",,,9,E,\n", **changes)
    assert again.mapped == [(9, "E")]
    assert [row["name"] for row in again.rejects] == ['B, "b"', "", "", ""]
    assert set(again.metrics["reject_reasons"].items()) == {
        ("id: is not a valid integer", 2),
        ("malformed line: is a row of a sheet as text: fill in its columns and clear _lume_raw", 2),
    }
    assert again.raws == first.raws
    mended = [{**row, "id": "7", "name": "M", "_lume_raw": ""} for row in again.rejects]
    assert execute(tmp_path / "c", as_csv(mended, ";", "utf-8-sig"), **changes).mapped == [(7, "M")] * 4


SAVED = [
    *(
        (";", "utf-8"),
        (";", "utf-8-sig"),
        ("\t", "utf-16"),
        (",", "utf-8-sig"),
        ("\t", "utf-8"),
        ("|", "utf-8"),
    )
]


def whole(row: dict[Any, Any], delim: str) -> dict[str, str]:
    """A row with its malformed text, which goes as far as the line does if there are no quotes."""
    rest = row.pop(None, [])
    return {**row, "_lume_raw": delim.join([row["_lume_raw"] or "", *rest])}


@pytest.mark.parametrize(
    ("options", "delim", "encoding"),
    [*((DIALECTS[0], *saved_as) for saved_as in SAVED), *((one, *SAVED[0]) for one in DIALECTS[2:])],
)
def test_mended_in_a_spreadsheet(tmp_path: Path, options: dict[str, str], delim: str, encoding: str) -> None:
    """Whatever the dialect of the source: the server knows that these are rejects, and how they were saved."""
    rows = [["id", "t"], ["1", "fine"], ["x", "Jörg & Ä"], ["x", "a b"], ["x", ""], ["2"], ["3", "b", "c"]]
    changes = {"columns": {"id": {"type": "integer"}, "t": {}}, "source": {"csv": options}}
    first = execute(tmp_path / "a", written(rows, options), **changes)
    assert first.metrics["rows_rejected"] == 5
    own = options.get("delim", ",")
    rejects = [whole(row, own) for row in first.rejects]
    mended = [
        {**row, "id": row["id"] and str(n), "_lume_raw": row["_lume_raw"] and f"{n}{own}ö{n}"}
        for n, row in enumerate(rejects, 10)
    ]
    again = execute(tmp_path / "b", as_csv(mended, delim, encoding), **changes)
    assert again.mapped == [(10, "Jörg & Ä"), (11, "a b"), (12, None), (13, "ö13"), (14, "ö14")]
    still = [{**row, "id": row["id"] and "y"} for row in rejects]
    again = execute(tmp_path / "c", as_csv([*still, {**mended[0]}], delim, encoding), **changes)
    assert again.mapped == [(10, "Jörg & Ä")]
    assert again.metrics["reject_reasons"] == first.metrics["reject_reasons"]
    assert [whole(row, own)["_lume_raw"] for row in again.rejects] == [row["_lume_raw"] for row in rejects]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "shift_jis"])
def test_mended_in_utf_8_or_as_it_was(tmp_path: Path, encoding: str) -> None:
    changes = {
        "columns": {"id": {"type": "integer"}, "t": {}},
        "source": {"csv": {"encoding": encoding, "delim": ";"}},
    }
    text = "ソ" if encoding == "shift_jis" else "é"
    first = execute(tmp_path / "a", f"id;t\n1;a\nx;{text}\n".encode(encoding), **changes)
    as_text = first.rejects_file.decode(encoding).replace("x", "2")
    for n, form in enumerate((encoding, "utf-8", "utf-8-sig")):
        assert execute(tmp_path / f"b{n}", as_text.encode(form), **changes).mapped == [(2, text)]


@pytest.mark.parametrize("format", ["csv", "ndjson", "json", "parquet"])
def test_mended_as_a_workbook(tmp_path: Path, format: str) -> None:
    changes: dict[str, Any] = {"columns": {"id": {"type": "integer"}, "t": {}}, "source": {"format": format}}
    why = "id: is not a valid integer"
    rows = [
        ["_lume_row", "_lume_line", "_lume_reasons", "id", "t", "_lume_raw"],
        *([1, None, why, 7, 'ü "x", y'], [2, None, why, "008", "a\nb"], [], [3, None, why, "x"]),
    ]
    if format == "csv":
        changes["source"]["csv"] = {"delim": ";", "encoding": "cp1252", "quote": "'"}
        rows.append([None, 9, "malformed line: too few columns", None, None, "9;mended"])
    result = execute(tmp_path / "run", workbook("xlsx", rows), **changes)
    assert result.mapped == [(7, 'ü "x", y'), (8, "a\nb"), *([(9, "mended")] if format == "csv" else [])]
    assert result.metrics["reject_reasons"] == {"id: is not a valid integer": 1}


def test_a_workbook_that_is_no_rejects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="is a ZIP archive"):
        execute(tmp_path, workbook("xlsx", [["id", "t"]]), columns={"id": {}})


LOST = "malformed line: not valid UTF-8: the letters that could not be read are still missing"
HEADER = "_lume_row,_lume_line,_lume_reasons,id,t,_lume_raw\n"
TEXTS: dict[str, Any] = {"columns": {"id": {}, "t": {"required": True}}}


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_bytes_that_are_no_letters_are_kept_beside_what_is_edited(tmp_path: Path, encoding: str) -> None:
    """A line in the rejects of rejects is that of the source, so that it can be corrected there, too."""
    changes = {**TEXTS, "source": {"csv": {"encoding": encoding}}}
    first = execute(tmp_path / "a", b"id,t\n1,a\n2,\x81x\n", **changes)
    sent = b"\xef\xbb\xbf" + first.rejects_file.replace(b"x", b"y") + b"3,,,3,\xff,\n,,,4,d,\n"
    again = execute(tmp_path / "b", sent, **changes)
    assert (again.mapped, again.reasons) == ([("4", "d")], ["malformed line: not valid UTF-8"] * 2)
    assert b'"2,\x81y"' in again.rejects_file
    # In cp1252 that byte would be a letter.
    assert (b'"3"",""\xff' if encoding == "utf-8" else b"\\xff") in again.rejects_file
    text = again.rejects_file.decode(encoding, "replace")
    unread = text.replace("\ufffd", "\ufffd!") + ",,,5,e,\n"
    third = execute(tmp_path / "c", unread, **changes)
    assert (third.mapped, third.reasons) == ([("5", "e")], [LOST] * 2)
    mended_text = text.replace("\ufffd", "ü").replace("\\xff", "ÿ").encode()
    assert [row[0] for row in execute(tmp_path / "d", mended_text, **changes).mapped] == ["2", "3"]
    once_more = execute(tmp_path / "e", third.rejects_file + b",,,6,f,\n", **changes)
    assert (once_more.mapped, once_more.reasons) == ([("6", "f")], [LOST] * 2)


@pytest.mark.parametrize("suffix", [".parquet", ".ndjson"])
def test_a_byte_as_its_number_is_no_letter(tmp_path: Path, suffix: str) -> None:
    first = execute(tmp_path / "a", b"id,t\n1,a\n2,M\xfcller\n", rejects_suffix=suffix, **TEXTS)
    assert first.metrics["rows_rejected"] == 1
    (path,) = (tmp_path / "a").glob("rejects*")
    with duckdb.connect() as connection:
        ((raw,),) = connection.execute(f"SELECT _lume_raw FROM '{path}'").fetchall()
    assert raw == r"2,M\xfcller"
    line = f',3,malformed line: not valid UTF-8,,,"{raw}"\n'
    fine = r",4,malformed line: too few columns,,,3,C:\xe9" + "\n"
    again = execute(tmp_path / "b", HEADER + line + fine.replace("3,C", '"3,C').replace("e9", 'e9"'), **TEXTS)
    assert (again.mapped, again.reasons) == ([("3", r"C:\xe9")], [LOST])
    assert execute(tmp_path / "c", HEADER + line.replace(r"\xfc", "ü"), **TEXTS).mapped == [("2", "Müller")]


def test_lines_of_fixed_widths_lack_letters(tmp_path: Path) -> None:
    source = {"format": "fixed", "fixed": {"columns": {"id": [1, 2], "t": [3, 10]}, "trimmed": True}}
    first = execute(tmp_path / "a", b"1 a\n2 M\xfcller\n", **TEXTS, source=source)
    again = execute(tmp_path / "b", first.rejects_file + b",,,3,c,\n", **TEXTS, source=source)
    assert (again.mapped, again.reasons) == ([("3", "c")], [LOST])
    filled_in = f"{HEADER},2,malformed line: not valid UTF-8,2,M\ufffdller,\n,,,3,c,\n"
    again = execute(tmp_path / "c", filled_in, **TEXTS, source=source)
    assert (again.mapped, again.raws) == ([("3", "c")], ["2 M\ufffdller"])
    fixed = first.rejects_file.replace(rb"\xfc", "ü".encode())
    assert execute(tmp_path / "d", fixed, **TEXTS, source=source).mapped == [("2", "Müller")]
