"""Where rejected rows are in their files: as an editor, a spreadsheet or a path shows it."""

import gzip
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from local.one_run import compiled, execute, execute_files
from local.shards.twice import compared
from local.workbooks import KINDS, Sheet, written

from lume_local._worker.connection import connect
from lume_local._worker.sources import row_places
from lume_local._worker.sources.formats.text import scan
from lume_local._worker.sources.mending.lost_letters import as_counted, identity_of
from lume_local._worker.sources.read import read_source
from lume_local._worker.sources.source import File, no_pause

COLUMNS: dict[str, Any] = {"id": {}, "n": {"type": "integer"}}
LINE_END = re.compile(r"\r\n|\r|\n")

TEXTS = {
    "plain": ({}, "id,n\n1,1\nBAD,x\n3,3\nBAD,y\n"),
    "title": ({"header": "find"}, "Orders of May\n\nid,n\n1,1\nBAD,x\n"),
    "header of two lines": ({"header": {"row": 2, "lines": 2}}, "T\nid,n\n,\n1,1\nBAD,x\n"),
    "no header": ({"header": "none", "names": ["id", "n"]}, "BAD,x\n\n2,2\nBAD,y"),
    "blank lines": ({}, "id,n\n\n\n1,1\n\nBAD,x\n\n\nBAD,y\n"),
    "line ends in quotes": ({}, 'id,n\n"1\n\n\n",1\n"BAD\n,x",x\nBAD,"\n"\n4,4\nBAD,x\n'),
    "quotes in quotes": ({}, 'id,n\n"1""\n""",1\nBAD,"x"""\n"""\n",2\nBAD,x\n'),
    "malformed lines": ({}, 'id,n\n1\n"1,1\nBAD,x\n1,1,1\n3,3\nBAD,y\n'),
    "comments": ({"comment": "#"}, 'id,n\n# "a\n1,1\n#\nBAD,x\n"#\n",2\nBAD,x\n'),
    "footer": ({"footer": {"rows": 1}}, 'id,n\n"1\n",1\nBAD,x\nSum,\n'),
    "CRLF": ({}, 'id,n\r\n"1\r\n",1\r\n\r\nBAD,x\r\nBAD,y\r\n'),
    "CR": ({}, 'id,n\r"1\r",1\r\rBAD,x\rBAD,y\r'),
    "several line ends": ({}, "id,n\n1,1\r\n\r2,2\rBAD,x\r\nBAD,y\n"),
    "other dialect": (
        {"csv": {"delim": ";", "quote": "'", "escape": "\\"}},
        "id;n\n'a\\'\n';1\nBAD;x\n'b\\\\';2\nBAD;x\n",
    ),
    "cp1252": ({"csv": {"encoding": "cp1252"}}, 'id,n\n"ä\n",1\nBAD,€\n'),
    "utf-16": ({"csv": {"encoding": "utf-16"}}, 'id,n\n"ä\u2028\n",1\nBAD,€\n'),
    "fixed": (
        {"format": "fixed", "fixed": {"columns": {"id": [1, 4], "n": [5, 6]}}},
        "1   1 \n\nBAD x \nshort\n3   3 \nBAD y \n",
    ),
    "ndjson": (
        {"format": "ndjson"},
        '{"id": 1, "n": 1}\n\n  \n{"id": "BAD", "n": "x"}\n{\n{"id": 3, "n": 3}\r\n{"id": "BAD", "n": "y"}',
    ),
}


def encoding(source: dict[str, Any]) -> str:
    return str(source.get("csv", {}).get("encoding", "utf-8"))


def begins(text: str, line: int) -> str:
    return LINE_END.split(text)[line - 1]


@pytest.mark.parametrize("rejects", [".csv", ".ndjson", ".parquet"])
@pytest.mark.parametrize("name", TEXTS)
def test_the_line_begins_with_the_record(tmp_path: Path, name: str, rejects: str) -> None:
    source, text = TEXTS[name]
    result = execute(
        tmp_path, text.encode(encoding(source)), rejects_suffix=rejects, columns=COLUMNS, source=source
    )
    lines = [line for _, line, is_row in found(tmp_path / f"rejects{rejects}", source) if is_row]
    assert len(lines) == text.count("BAD") > 0
    assert all("BAD" in begins(text, line) for line in lines), lines
    assert lines == sorted(set(lines))
    assert result.metrics["rows_rejected"] >= len(lines)


def found(path: Path, source: dict[str, Any]) -> list[tuple[int | None, int, bool]]:
    """The row, the line and whether it is well-formed, of each reject."""
    if path.suffix == ".parquet":
        rows = duckdb.sql(f"SELECT _lume_row, _lume_line FROM '{path}'").fetchall()
    elif path.suffix == ".ndjson":
        objects = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        rows = [(one.get("_lume_row"), one["_lume_line"]) for one in objects]
    else:
        text, delim = path.read_text(encoding=encoding(source)), source.get("csv", {}).get("delim", ",")
        matches = re.finditer(rf"(?m)^'?(\d*)'?{delim}'?(\d+)'?{delim}", text)
        rows = [(int(one[1]) if one[1] else None, int(one[2])) for one in matches]
    return [(row, line, row is not None) for row, line in rows]


# -- any CSV


@st.composite
def tables(draw: st.DrawFn) -> tuple[dict[str, Any], bytes, list[int]]:
    """The settings of a source, its bytes, and the line of each of its rows."""
    quote, escape = draw(st.sampled_from([('"', ""), ("'", "\\")]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    comment = draw(st.sampled_from(["", "#"]))
    texts, lines, line = ["id,n" + end], list[int](), 2
    for kind in draw(st.lists(st.sampled_from("rrrrqqbcmu"), max_size=40)):
        other = draw(st.sampled_from(["\n", "\r\n", "\r", end, end, end]))
        text = f"r{line},1"
        if kind == "q":
            parts = draw(
                st.lists(st.sampled_from(["\n", "\r\n", "\r", "a", ",", "#", escape or quote]), max_size=5)
            )
            inner = "".join((escape or quote) + one if one in (quote, escape) else one for one in parts)
            text = draw(
                st.sampled_from([f"{quote}r{line}{inner}{quote},1", f"r{line},{quote}{inner}{quote}"])
            )
        elif kind == "b":
            text = ""
        elif kind == "c":
            text = f"#{quote},1,2" if comment else f"r{line},"
        elif kind == "m":
            text = draw(st.sampled_from([f"x{quote}y,1", "1", "1,2,3"]))
        elif kind == "u":
            text = f"{quote}\udcff\n{quote},1"
        if kind in "rq" or (kind == "c" and not comment):
            lines.append(line)
        whole = text + (end if kind == "b" else other)
        texts.append(whole)
        line += len(LINE_END.findall(whole))
        if whole.endswith("\r") and end != "\r":  # the next line end must not become a part of it
            texts.append(f"r{line},2\n")
            lines.append(line)
            line += 1
    data = "".join(texts).encode("utf-8", "surrogateescape")
    return (
        ({"comment": comment} if comment else {})
        | {"csv": {"quote": quote, **({"escape": escape} if escape else {})}},
        data,
        lines,
    )


@examples(120)
@given(tables(), st.sampled_from([1, 30, 10**6]))
def test_the_places_of_any_table(
    tmp_path_factory: pytest.TempPathFactory, table: tuple[dict[str, Any], bytes, list[int]], apart: int
) -> None:
    source, data, lines = table
    folder = tmp_path_factory.mktemp("table")
    path = folder / "t.csv"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch, connect() as connection:
        patch.setattr(row_places, "_APART", apart)
        patch.setattr(scan, "_BLOCK", min(apart, 64))
        flow = compiled(columns=COLUMNS, source=source)
        files = [File(path, "t.csv", "csv", len(data))]
        malformed = read_source(connection, files, flow, folder, no_pause).malformed
        assert [line for line, _ in malformed.places(range(len(lines)))] == lines
        some = range(1, len(lines), 3)
        assert [line for line, _ in malformed.places(some)] == [lines[n] for n in some]


# -- other files


@pytest.mark.parametrize("kind", KINDS)
def test_the_row_of_a_sheet(tmp_path: Path, kind: str) -> None:
    rows: list[list[Any]] = [["Title"], [], ["id", "n"], [1, 1], ["BAD", "x"], [], [], ["BAD", "y"]]
    source = {"format": "excel", "header": {"row": 3}}
    result = execute(tmp_path, written(kind, rows), columns=COLUMNS, source=source)
    assert [row["_lume_line"] for row in result.rejects] == ["5", "8"]
    sheets = {"A": Sheet(rows[2:]), "B": Sheet(rows[2:])}
    source = {"format": "excel", "excel": {"sheet": "*"}}
    result = execute(tmp_path / "all", written(kind, sheets), columns=COLUMNS, source=source)
    places = [(row["_lume_file"].rpartition("/")[2], row["_lume_line"]) for row in result.rejects]
    assert places == [("A", "3"), ("A", "6"), ("B", "3"), ("B", "6")]


def test_each_of_several_files(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("one.csv", 'id,n\n"1\n",1\nBAD,x\n')
        file.writestr("two.csv", "id,n\n\nBAD,y\n")
    files = [
        ("a.csv", b"id,n\n1,1\n\nBAD,x\n"),
        ("b.csv.gz", gzip.compress(b'id,n\n"BAD\n",x\nBAD,y\n')),
        ("c.zip", archive.getvalue()),
    ]
    result = execute_files(tmp_path, *files, columns=COLUMNS, source={"members": "*.csv"})
    places = [(row["_lume_file"], row["_lume_line"]) for row in result.rejects]
    assert places == [
        ("a.csv", "4"),
        ("b.csv.gz", "2"),
        ("b.csv.gz", "4"),
        ("c.zip/one.csv", "4"),
        ("c.zip/two.csv", "3"),
    ]


GOOD, BAD = '{"id": "1", "n": 1}', '{"id": "BAD", "n": "x"}'
JSON = [
    ("", f"[{GOOD}, {BAD},\n7, {BAD}]", ["$[1]", "$[3]", "$[2]"]),
    ("", f"{GOOD} {BAD}\n{BAD}", ["$[1]", "$[2]"]),
    ("orders", f'{{"n": [{BAD}], "orders": [{GOOD}, {BAD}, 7]}}', ["$.orders[1]", "$.orders[2]"]),
    ("orders", f'{{"orders": [{GOOD}]}} {{"orders": {BAD}}}', ["$[1].orders"]),
    (
        ["a b", "o"],
        f'{{"a b": [{{"o": []}}, {{"o": [{GOOD}, {BAD}]}}, {{"o": {BAD}}}, {{"o": null}}, {{"o": [[], {BAD}]}}]}}',
        ['$["a b"][1].o[1]', '$["a b"][2].o', '$["a b"][4].o[1]', '$["a b"][4].o[0]'],
    ),
]


@pytest.mark.parametrize("rejects", [".ndjson", ".csv", ".parquet"])
@pytest.mark.parametrize(("records", "text", "paths"), JSON)
def test_the_path_of_an_object(
    tmp_path: Path, records: Any, text: str, paths: list[str], rejects: str
) -> None:
    source = {"format": "json"} | ({"json": {"records": records}} if records else {})
    execute(tmp_path, text, rejects_suffix=rejects, columns=COLUMNS, source=source)
    assert paths_in(tmp_path / f"rejects{rejects}") == paths


def paths_in(path: Path) -> list[str]:
    if path.suffix == ".ndjson":
        return [json.loads(line)["_lume_path"] for line in path.read_text(encoding="utf-8").splitlines()]
    return [one for (one,) in duckdb.sql(f"SELECT _lume_path FROM '{path}'").fetchall()]


XML = "<a><x/><b><c><id>1</id><n>1</n></c></b><b><y/><c><id>BAD</id></c><c><id>2</id><n>2</n></c><c/></b></a>"


@pytest.mark.parametrize(
    ("records", "paths"),
    [("a/b/c", ["/a/b[2]/c[1]", "/a/b[2]/c[3]"]), ("a/b", ["/a/b[2]"])],
)
def test_the_path_of_an_element(tmp_path: Path, records: str, paths: list[str]) -> None:
    columns = {"n": {"required": True, "from": ["c/n" if records == "a/b" else "n"]}}
    text = XML if records == "a/b/c" else XML.replace("<id>2</id><n>2</n>", "")
    source = {"format": "xml", "xml": {"records": records}}
    execute(tmp_path, text, rejects_suffix=".ndjson", columns=columns, source=source)
    assert paths_in(tmp_path / "rejects.ndjson") == paths
    tree = ElementTree.fromstring(text)
    for path in paths:
        assert tree.find("." + path.removeprefix("/a")) is not None


def test_a_source_without_lines_has_none(tmp_path: Path) -> None:
    duckdb.sql("SELECT 'BAD' AS id, 'x' AS n UNION ALL SELECT '1', '1'").write_parquet(
        str(tmp_path / "s.parquet")
    )
    content = (tmp_path / "s.parquet").read_bytes()
    result = execute(tmp_path / "run", content, columns=COLUMNS, source={"format": "parquet"})
    assert [row["_lume_line"] for row in result.rejects] == [""]


# -- many rows, several threads, shards


def test_many_rows_keep_their_places(tmp_path: Path) -> None:
    """The rejects are joined with their places by position, which the engine has to keep for many threads."""
    rows = [f'"{n}\n",{"BAD" if n % 7 == 0 else n}' for n in range(300_000)]
    text = "id,n\n" + "\n".join(rows)
    execute(tmp_path, text, rejects_suffix=".parquet", columns=COLUMNS)
    wrong = duckdb.sql(
        f"SELECT count(*), count(*) FILTER (_lume_line = 2 * _lume_row), count(*) FILTER (n = 'BAD') "
        f"FROM '{tmp_path}/rejects.parquet'"
    ).fetchall()
    assert wrong == [(42_858, 42_858, 42_858)]


@pytest.mark.parametrize(
    "name", ["line ends in quotes", "malformed lines", "blank lines", "ndjson", "footer"]
)
def test_shards_count_the_lines_of_the_whole_file(tmp_path: Path, name: str) -> None:
    source, text = TEXTS[name]
    files = [("a", text.encode()), ("b", text.encode())]
    engine = {"url": "here", "shards": 4, "shard_bytes": 1}
    outcome = compared(tmp_path, files, engine, columns=COLUMNS, source=source)
    assert b"BAD" in outcome.files["rejects.csv"]
    assert outcome.shards["count"] >= 2


@pytest.mark.parametrize(
    ("own", "identity"),
    [
        ({"_lume_row": 58, "_lume_line": 61}, ("", "58", "")),
        ({"_lume_row": 58}, ("", "58", "")),
        ({"_lume_row": None, "_lume_line": 61}, ("", "", "61")),
        ({"_lume_row": "58.0", "_lume_line": "61.0", "_lume_file": "a"}, ("a", "58", "")),
        ({"_lume_line": "61.0"}, ("", "", "61")),
    ],
)
def test_a_row_is_matched_by_its_number(own: dict[str, Any], identity: tuple[str, str, str]) -> None:
    """So files of rejects from before rows had lines still match, and a spreadsheet may change the column."""
    assert identity_of(own) == as_counted(identity) == identity
