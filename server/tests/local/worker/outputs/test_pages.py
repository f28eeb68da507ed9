"""Pages of outputs: every row once and with its values, whatever the format, dialect, encoding and page size."""

import json
import random
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from attrs import evolve
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from local.one_run import execute
from local.oracles.outputs import NOT_OURS, job, of_mapped, of_rejects
from local.oracles.plain_csv import Dialect as PlainDialect
from local.oracles.random_files import Case, csv_case, ndjson_case
from moto_server import Bucket

from lume_local._shared.protocol import Read, RowsPage, Unreadable
from lume_local._worker.engine import RunFailed
from lume_local._worker.outputs import pages
from lume_local._worker.outputs.pages import read_page
from lume_local._worker.outputs.row_json import Reasons


def test_an_object_that_is_too_large_or_out_of_reach(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("out/a.csv", b"id\n1\n")
    wanted = evolve(job(tmp_path, 1, 10), path="s3://warehouse/out/a.csv")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert isinstance(read_page(wanted), RowsPage)
    assert list(tmp_path.iterdir()) == [], "no copy is left"
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    assert isinstance(read_page(evolve(wanted, folder=str(tmp_path / "rows/1"))), RowsPage)
    assert list((tmp_path / "rows/1").iterdir()) == []
    with monkeypatch.context() as patch:
        patch.setattr(pages, "LARGEST_COPY", 4)
        refused = read_page(wanted)
        assert isinstance(refused, Unreadable)
        assert (refused.kind, refused.problem) == (
            "not-supported",
            "the object has 5 bytes, and rows of up to 4 are read through the server",
        )
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    away = read_page(wanted)
    assert isinstance(away, Unreadable)
    assert (away.kind, "it can't be reached" in away.problem) == ("output-unreadable", True)


def read(first: Read) -> list[dict[str, Any]]:
    """All rows, page by page."""
    found: list[dict[str, Any]] = []
    step = first
    while True:
        page = read_page(step)
        assert isinstance(page, RowsPage), page
        items = json.loads(page.items, parse_float=Decimal)
        assert len(items) <= first.limit
        found += items
        if page.position is None:
            return found
        step = evolve(first, position=page.position, row=page.row, identity=page.identity)


def check(folder: Path, case: Case, limit: int) -> None:
    """The same rows from every format that they may be written in, as many as the run has counted."""
    seen: dict[str, Any] = {}
    for suffix in (".parquet", ".csv", ".ndjson"):
        home = folder / suffix[1:]
        try:
            result = execute(home, case.content, suffix, suffix, **case.flow)
        except RunFailed:
            return
        rows = read(job(**of_mapped(home, suffix, result, case.columns), limit=limit))
        seen[f"mapped{suffix}"] = rows
        assert len(rows) == result.metrics["rows_mapped"]
        if not result.metrics["rows_rejected"]:
            continue
        rejected = read(job(**of_rejects(home, suffix, result, case.flow["source"]), limit=limit))
        assert len(rejected) == result.metrics["rows_rejected"]
        counted: dict[str, int] = {}
        for row in rejected:
            for reason in row["_lume_reasons"]:
                counted[reason] = counted.get(reason, 0) + 1
        assert counted == result.metrics["reject_reasons"]
        heads = [[row[name] for name in ("_lume_row", "_lume_line", "_lume_reasons")] for row in rejected]
        assert seen.setdefault("heads", heads) == heads
        if case.flow["source"].get("format") != "ndjson" or suffix != ".ndjson":
            bodies = [list(row.values())[3:] for row in rejected]
            assert seen.setdefault("bodies", bodies) == bodies
    assert seen["mapped.parquet"] == seen["mapped.csv"] == seen["mapped.ndjson"]


@examples(15)
@given(st.integers(0, 2**32), st.integers(1, 25), st.integers(1, 12))
def test_csv(tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int, limit: int) -> None:
    check(tmp_path_factory.mktemp("csv"), csv_case(random.Random(seed), rows), limit)


@examples(15)
@given(st.integers(0, 2**32), st.integers(1, 25), st.integers(1, 12))
def test_ndjson(tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int, limit: int) -> None:
    check(tmp_path_factory.mktemp("ndjson"), ndjson_case(random.Random(seed), rows), limit)


def quoted(text: str, dialect: PlainDialect) -> str:
    escape = dialect.escape or dialect.quote
    doubled = text if escape == dialect.quote else text.replace(escape, escape * 2)
    return dialect.quote + doubled.replace(dialect.quote, escape + dialect.quote) + dialect.quote


TEXTS = [
    *("plain", 'a "quote"', "semi;colon, comma", "two\nlines", "tab\there", "back\\slash", "ümläut é", "'"),
    "",
]


@pytest.mark.parametrize(
    ("encoding", "dialect"),
    [
        ("utf-8", PlainDialect()),
        ("latin-1", PlainDialect(";", "'")),
        ("utf-16", PlainDialect("|", '"', "\\")),
        ("shift_jis", PlainDialect("|", '"', "\\")),
    ],
)
def test_rejects_in_the_dialect_and_encoding_of_their_source(
    tmp_path: Path, dialect: PlainDialect, encoding: str
) -> None:
    texts = [text for text in TEXTS if text.encode(encoding, "ignore").decode(encoding) == text]
    lines = [f"{n}x{dialect.delim}{quoted(text, dialect)}" for n, text in enumerate(texts)]
    content = f"id{dialect.delim}text\n" + "\n".join([*lines, "1" + dialect.delim + "good", "too few"]) + "\n"
    source = {
        "csv": {
            "delim": dialect.delim,
            "quote": dialect.quote,
            "escape": dialect.escape,
            "encoding": encoding,
        }
    }
    columns = {"id": {"type": "integer", "required": True}}
    result = execute(tmp_path, content.encode(encoding), source=source, columns=columns)
    for limit in (1, 2, 100):
        found = read(job(**of_rejects(tmp_path, ".csv", result, source), limit=limit))
        assert [row["text"] for row in found[:-1]] == [text or None for text in texts]
        assert found[-1]["_lume_raw"] == "too few"


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("NaN", '"nan"'),
        ("-Infinity", '"-inf"'),
        ("2e400", "2e400"),
        ('["NaN", Infinity, 12345678901234567890.12]', '["NaN", "inf", 12345678901234567890.12]'),
    ],
)
def test_numbers_that_a_reader_of_json_may_not_know(tmp_path: Path, written: str, sent: str) -> None:
    line = '{{"id":1,"v":{}}}'
    (path := tmp_path / "mapped.ndjson").write_text(line.format(written) + "\n")
    page = read_page(job(path, 1, 10))
    assert isinstance(page, RowsPage)
    assert page.items == f"[{line.format(sent)}]"


def test_a_page_ends_where_it_is_large_or_has_cost_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "".join(f"x{n},{'long ' * 20}\n" for n in range(40))
    result = execute(tmp_path, f"id,text\n{lines}1,a\n", columns={"id": {"type": "integer"}})
    first = job(
        tmp_path / "rejects.csv", 40, 1000, is_rejects=True, reasons=[*result.metrics["reject_reasons"]]
    )
    monkeypatch.setattr(pages, "MOST_BYTES", 1000)
    page = read_page(first)
    assert isinstance(page, RowsPage)
    assert len(page.items) < 1300
    assert page.position is not None
    assert [row["_lume_row"] for row in read(first)] == list(range(1, 41))
    monkeypatch.setattr(pages, "MOST_SCANNED", 500)
    other = job(tmp_path / "rejects.csv", 40, 1000, is_rejects=True, reason="another")
    page = read_page(other)
    assert isinstance(page, RowsPage)
    assert (page.items, page.row < 10) == ("[]", True)
    assert read(other) == []


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        *NOT_OURS,
        (b"_lume_row,_lume_line,_lume_reasons\n1,\n", ".csv"),
        (b"not json\n", ".ndjson"),
        (b"[1]\n", ".ndjson"),
        (b'{"id":1}\n', ".ndjson"),
    ],
)
def test_a_file_that_no_run_has_written_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"rejects{suffix}"
    path.write_bytes(content)
    answer = read_page(job(path, 1, 10, is_rejects=True))
    assert isinstance(answer, Unreadable)
    assert answer.kind == "output-unreadable"


def test_reasons_that_hold_the_separator_are_told_apart() -> None:
    reasons = Reasons(["a", "a; b", "b; c", "c"])
    assert reasons.split("a; b; c") in (["a", "b; c"], ["a; b", "c"])
    assert reasons.split("a; b") == ["a; b"]
    assert reasons.split("c; a") == ["c", "a"]
    assert reasons.split("unknown; c") == ["unknown", "c"]


def test_an_output_whose_name_is_a_pattern_to_duckdb(tmp_path: Path) -> None:
    for number, name in ((1, "a[1].parquet"), (2, "a1.parquet")):
        duckdb.sql(f"COPY (SELECT {number} AS id) TO '{tmp_path / name}' (FORMAT parquet)")
    assert read(job(tmp_path / "a[1].parquet", 1, 10)) == [{"id": 1}]


def test_a_column_that_is_called_as_duckdb_calls_the_number_of_a_row(tmp_path: Path) -> None:
    rows = "SELECT 7 - n AS FILE_row_number, n FROM range(5) t(n)"
    duckdb.sql(f"COPY ({rows}) TO '{tmp_path / 'rejects.parquet'}' (FORMAT parquet)")
    expected = [{"FILE_row_number": 7 - n, "n": n} for n in range(5)]
    for limit in (2, 10):
        assert read(job(tmp_path / "rejects.parquet", 5, limit)) == expected
