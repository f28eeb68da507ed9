"""Rejects go back in: mended they are rows, as they are they are rejected for the same reasons, never made up."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from components import package
from local.one_run import execute

from lume_local._worker.engine import RunFailed

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


def test_bytes_are_kept_for_good(tmp_path: Path) -> None:
    content = b"id,t\n1,a\n2,\xff\x81\n"
    columns = {"id": {}, "t": {}}
    for n, encoding in enumerate(["utf-8", "cp1252"]):
        changes = {"columns": columns, "source": {"csv": {"encoding": encoding}}}
        first = execute(tmp_path / f"{n}a", content, **changes)
        again = execute(tmp_path / f"{n}b", first.rejects_file + b",,,3,c,\n", **changes)
        assert b"2,\xff\x81" in again.rejects_file
        assert again.mapped == [("3", "c")]


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
        b'{"_lume_row":2,"_lume_reasons":"v: is not a valid integer",'
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


def test_json_lines_without_members(tmp_path: Path) -> None:
    changes = {**NDJSON, "columns": {"v": {"required": True}}}
    first = execute(tmp_path / "a", '{}\n{ }\n{"v": 1}', rejects_suffix=".ndjson", **changes)
    assert [list(json.loads(line)) for line in first.rejects_file.splitlines()] == [
        ["_lume_row", "_lume_reasons"]
    ] * 2
    again = execute(tmp_path / "b", first.rejects_file + b'{"v": 1}', rejects_suffix=".ndjson", **changes)
    assert again.metrics["rows_rejected"] == 2


@pytest.mark.parametrize(
    ("format", "kind"),
    [
        ("ndjson", "NDJSON files"),
        ("json", "JSON files"),
        ("parquet", "Parquet files"),
    ],
)
def test_rejects_in_csv_of_another_format_are_refused(tmp_path: Path, format: str, kind: str) -> None:
    """Their source was no CSV file: what an object was can't be told from its text."""
    source = {"format": format}
    made = {"ndjson": json_rows, "json": json_rows, "parquet": parquet_rows}[format](tmp_path)
    columns = {"id": {"type": "integer"}, "name": {}}
    first = execute(tmp_path / "a", made, source=source, columns=columns)
    assert first.mapped == [(1, "A")]
    mended = first.rejects_file.replace(b"x,B", b"2,B")
    words = re.escape(f"is a CSV file of rejects, but people:v1 reads {kind}: put the mended rows into one")
    for n, sent in enumerate((mended, b"\xef\xbb\xbf" + mended.replace(b",", b";"))):  # a spreadsheet's
        with pytest.raises(RunFailed, match=words):
            execute(tmp_path / f"b{n}", sent, source=source, columns=columns)


def json_rows(folder: Path) -> bytes:
    return b'{"id": 1, "name": "A"}\n{"id": "x", "name": "B"}\n'


def parquet_rows(folder: Path) -> bytes:
    path = folder / "made.parquet"
    duckdb.sql(f"COPY (FROM (VALUES ('1', 'A'), ('x', 'B')) AS t(id, name)) TO '{path}'")
    return path.read_bytes()


@pytest.mark.parametrize("delim", [",", ";", "\t"])
def test_rejects_of_a_workbook(tmp_path: Path, delim: str) -> None:
    """As they were written, or as a spreadsheet has saved them."""
    changes: dict[str, Any] = {
        "columns": {"id": {"type": "integer"}, "name": {}},
        "source": {"format": "excel"},
    }
    made = excel_rows(tmp_path, [1, "A"], ["x", 'B, "b"'], ["y", "#N/A"], [4, "C", "beyond"], ["z", None])
    first = execute(tmp_path / "a", made, **changes)
    assert (first.mapped, first.metrics["rows_rejected"]) == ([(1, "A")], 4)
    again = execute(tmp_path / "b", first.rejects_file + b",,,9,E,\n", **changes)
    assert again.mapped == [(9, "E")]
    assert [row["name"] for row in again.rejects] == ['B, "b"', "", "", ""]
    assert set(again.metrics["reject_reasons"].items()) == {
        ("id: is not a valid integer", 2),
        ("malformed line: is a row of a sheet as text: fill in its columns and clear _lume_raw", 2),
    }
    assert again.raws == first.raws
    rows = list(csv.reader(io.StringIO(again.rejects_file.decode(), newline="")))
    for row in rows[1:]:
        row[3:] = ["7", "M", ""]
    mended = b"\xef\xbb\xbf" + written(rows, {"delim": delim})
    assert execute(tmp_path / "c", mended, **changes).mapped == [(7, "M")] * 4


def excel_rows(folder: Path, *rows: list[Any]) -> bytes:
    book = package("openpyxl").Workbook()
    for row in (["id", "name"], *rows):
        book.active.append(row)
    book.save(folder / "made.xlsx")
    return (folder / "made.xlsx").read_bytes()
