"""Pages of outputs as Arrow: the rows of the JSON pages, with the types of the flow, in batches of bounded size."""

import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow
import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from local.flows import people
from local.one_run import execute
from local.oracles.outputs import NOT_OURS, job, of_mapped, of_rejects
from local.oracles.random_files import Case, csv_case, ndjson_case

from lume_local._flow.definition import quoted, read_definition
from lume_local._shared.protocol import RowsPage, Unreadable
from lume_local._worker.engine import RunFailed
from lume_local._worker.outputs import arrow_rows
from lume_local._worker.outputs.pages import read_page

END = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def pages_of(first: dict[str, Any], folder: Path) -> list[Any]:
    """All pages: lists of rows, or tables."""
    found: list[Any] = []
    step = dict(first)
    while True:
        page = read_page(job(folder=str(folder), **step))
        assert isinstance(page, RowsPage), page
        if first.get("arrow"):
            content = Path(page.items).read_bytes()
            found.append(pyarrow.ipc.open_stream(content + END).read_all())
            Path(page.items).unlink()
        else:
            found.append(json.loads(page.items, parse_float=Decimal, parse_int=Decimal))
        if page.position is None:
            assert page.row == first["rows"]
            return found
        step |= {"position": page.position, "row": page.row, "identity": page.identity}


def as_json(table: pyarrow.Table) -> list[dict[str, Any]]:
    """The rows with the values as DuckDB writes those of the table; only reasons stay lists."""
    columns = [
        quoted(name) if name == "_lume_reasons" else f"CAST({quoted(name)} AS VARCHAR)"
        for name in table.column_names
    ]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone='UTC'")
        connection.register("given", table)
        rows = connection.execute(f"SELECT {', '.join(columns)} FROM given").fetchall()
    return [dict(zip(table.column_names, row, strict=True)) for row in rows]


def plain(value: Any) -> Any:
    """A value of a JSON page as `as_json` has it, but for how a number is written."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def assert_same(arrow: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    assert len(arrow) == len(rows)
    for found, wanted in zip(arrow, rows, strict=True):
        assert set(wanted) <= set(found)
        for name, value in found.items():
            given = plain(wanted.get(name))
            if isinstance(given, Decimal):
                assert value is not None, (name, wanted)
                assert Decimal(value) == given, name
            else:
                assert value == given, name


def check_part(
    folder: Path, first: dict[str, Any], types: dict[str, str], limit: int
) -> pyarrow.Table | None:
    rows = [row for page in pages_of(first, folder) for row in page]
    wanted = {**first, "arrow": True, "types": types, "limit": limit}
    if first.get("is_rejects") and str(first["path"]).endswith(".ndjson"):
        answer = read_page(job(folder=str(folder), **wanted))
        assert isinstance(answer, Unreadable)
        assert answer.kind == "not-acceptable"
        return None
    tables = pages_of(wanted, folder)
    assert all(table.schema == tables[0].schema for table in tables)
    assert all(len(table) <= limit for table in tables)
    table = pyarrow.concat_tables(tables)
    assert_same(as_json(table), rows)
    for reason in first.get("reasons", []):
        chosen = pyarrow.concat_tables(pages_of({**wanted, "reason": reason}, folder))
        assert_same(as_json(chosen), [row for row in rows if reason in row["_lume_reasons"]])
        assert chosen.schema == table.schema
    return table


def check(folder: Path, case: Case, limit: int) -> None:
    """The same rows as in JSON, and the same types from every format."""
    schemas = []
    types = {one.name: one.sql_type for one in read_definition(people(columns=case.columns)).columns}
    for suffix in (".parquet", ".csv", ".ndjson"):
        home = folder / suffix[1:]
        try:
            result = execute(home, case.content, suffix, suffix, **case.flow)
        except RunFailed:
            return
        table = check_part(home, of_mapped(home, suffix, result, case.columns), types, limit)
        assert table is not None
        schemas.append(table.schema)
        if result.metrics["rows_rejected"]:
            check_part(home, of_rejects(home, suffix, result, case.flow["source"]), {}, limit)
    assert schemas[0] == schemas[1] == schemas[2]


@pytest.mark.thorough
@examples(8)
@given(st.integers(0, 2**32), st.integers(1, 25), st.integers(1, 40))
def test_csv(tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int, limit: int) -> None:
    check(tmp_path_factory.mktemp("csv"), csv_case(random.Random(seed), rows), limit)


@examples(8)
@given(st.integers(0, 2**32), st.integers(1, 25), st.integers(1, 40))
def test_ndjson(tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int, limit: int) -> None:
    check(tmp_path_factory.mktemp("ndjson"), ndjson_case(random.Random(seed), rows), limit)


# Types


SCALARS = {
    "true": "bool",
    "1::TINYINT": "int8",
    "-5::BIGINT": "int64",
    "18446744073709551615::UBIGINT": "uint64",
    "1.50::DECIMAL(12,2)": "decimal128(12, 2)",
    "99999999999999999999999999999999999.999::DECIMAL(38,3)": "decimal128(38, 3)",
    "0.1::FLOAT": "float",
    "0.1::DOUBLE": "double",
    "'nan'::DOUBLE": "double",
    "'it''s \u00fc'::VARCHAR": "string",
    "''::VARCHAR": "string",
    "NULL::VARCHAR": "string",
    "NULL::BIGINT": "int64",
    "DATE '2020-02-29'": "date32[day]",
    "DATE '0044-03-15 (BC)'": "date32[day]",
    "TIME '12:34:56.789'": "time64[us]",
    "TIMESTAMP '2020-01-01 00:00:00.000001'": "timestamp[us]",
    "TIMESTAMPTZ '2020-01-01 00:00:00+02'": "timestamp[us, tz=UTC]",
    "TIMESTAMP_NS '2020-01-01 00:00:00.123456789'": "timestamp[ns]",
    "INTERVAL '3 days 4 seconds'": "month_day_nano_interval",
    "'\\xAA\\x00'::BLOB": "binary",
    "UUID '4ac7a9e9-607c-4c8a-84f3-843f0191e3fd'": "string",
    "TIMETZ '12:34:56+02'": "string",
    "'[1, {\"a\": 2}]'::JSON": "string",
}
"""Values as SQL, and what they are in Arrow."""
VALUES = st.recursive(
    st.sampled_from(sorted(SCALARS)),
    lambda inner: st.one_of(
        inner.map(lambda value: f"[{value}, NULL]"),
        inner.map(lambda value: f"MAP {{'k': {value}}}"),
        st.tuples(inner, inner).map(lambda both: f"{{'a': {both[0]}, 'b c': {both[1]}}}"),
    ),
    max_leaves=4,
)


def parquet(path: Path, rows: str) -> Path:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone='UTC'")
        connection.execute(f"COPY ({rows}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
    return path


def rejected(path: Path, columns: str, rows: int, reason: str = "'a; b'") -> dict[str, Any]:
    """The job for a file of rejects, all with these columns."""
    own = f"i + 1 AS _lume_row, NULL::BIGINT AS _lume_line, {reason} AS _lume_reasons"
    parquet(path, f"SELECT {own}, {columns} FROM range({rows}) t(i)")
    return {"path": path, "rows": rows, "is_rejects": True, "reasons": ["a", "b"]}


@pytest.mark.thorough
@examples(10)
@given(values=st.lists(VALUES, min_size=1, max_size=5), limit=st.integers(1, 5))
def test_whatever_a_parquet_file_holds(
    tmp_path_factory: pytest.TempPathFactory, values: list[str], limit: int
) -> None:
    folder = tmp_path_factory.mktemp("types")
    columns = ", ".join(f'{value} AS "c{n}"' for n, value in enumerate(values))
    table = check_part(folder, rejected(folder / "rejects.parquet", columns, 3), {}, limit)
    assert table is not None
    for n, value in enumerate(values):
        if value in SCALARS:
            assert str(table.schema.field(f"c{n}").type) == SCALARS[value]


@pytest.mark.parametrize(
    "value",
    [
        "'infinity'::DATE",
        "'-infinity'::TIMESTAMP",
        "'infinity'::TIMESTAMPTZ",
        "['infinity'::DATE]",
        "{'a': MAP {'k': '-infinity'::TIMESTAMP}}",
    ],
)
def test_an_infinite_time_is_refused_and_not_changed(tmp_path: Path, value: str) -> None:
    given = rejected(tmp_path / "rejects.parquet", f"{value} AS at", 3)
    assert len(pages_of(given, tmp_path)[0]) == 3
    answer = read_page(job(folder=str(tmp_path), arrow=True, **given))
    assert isinstance(answer, Unreadable)
    assert answer.kind == "not-acceptable"
    assert "column 'at' has an infinite time, which Arrow does not have" in answer.problem


# Sizes


@pytest.mark.thorough
def test_a_page_of_a_text_file_ends_where_it_is_large_or_has_cost_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "".join(f"x{n},{'long ' * 20}\n" for n in range(400))
    result = execute(tmp_path, f"id,text\n{lines}1,a\n", columns={"id": {"type": "integer"}})
    reasons = list(result.metrics["reject_reasons"])
    given = {
        "path": tmp_path / "rejects.csv",
        "rows": 400,
        "is_rejects": True,
        "reasons": reasons,
        "arrow": True,
    }
    monkeypatch.setattr(arrow_rows, "MOST_BYTES", 3000)
    monkeypatch.setattr(arrow_rows, "_AT_ONCE", 10)
    found = pages_of({**given, "limit": 1000}, tmp_path)
    assert [row for page in found for row in page["_lume_row"].to_pylist()] == list(range(1, 401))
    assert max(len(page) for page in found) < 50
    monkeypatch.setattr(arrow_rows, "MOST_SCANNED", (500, 1))
    none = pages_of({**given, "limit": 1000, "reason": "another"}, tmp_path)
    assert (sum(map(len, none)), len(none) > 20) == (0, True)


@pytest.mark.parametrize(("content", "suffix"), NOT_OURS)
def test_a_file_that_no_run_has_written_is_refused(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"rejects{suffix}"
    path.write_bytes(content)
    answer = read_page(job(path, 1, is_rejects=True, arrow=True, folder=str(tmp_path)))
    assert isinstance(answer, Unreadable)
    assert answer.kind == "output-unreadable"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"id":"x"}', "Could not convert"),
        ('{"id":[1]}', "nested"),
        ('{"id":1,"more":2}', "a column that others"),
    ],
)
def test_rows_that_are_not_of_their_types(tmp_path: Path, line: str, problem: str) -> None:
    (path := tmp_path / "mapped.ndjson").write_text(line + "\n")
    answer = read_page(job(path, 1, types={"id": "BIGINT"}, arrow=True, folder=str(tmp_path)))
    assert isinstance(answer, Unreadable)
    assert answer.kind == "output-unreadable"
    assert problem in answer.problem


@pytest.mark.thorough
def test_pages_of_long_rows_stay_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are short at first and then long: what is far too large is built again, from fewer rows."""
    monkeypatch.setattr(arrow_rows, "MOST_BYTES", 100_000)
    given = rejected(
        tmp_path / "rejects.parquet",
        "i AS n, repeat('x', CASE WHEN i < 5000 THEN 1 ELSE 3000 END) AS t",
        6000,
        "CASE WHEN i % 1000 = 7 THEN 'b' ELSE 'a' END",
    )
    found = pages_of({**given, "arrow": True, "limit": 1_000_000}, tmp_path)
    assert [row for page in found for row in page["n"].to_pylist()] == list(range(6000))
    assert max(page.nbytes for page in found) < 5 * 100_000 + 10_000
    chosen = pages_of({**given, "arrow": True, "limit": 1_000_000, "reason": "b"}, tmp_path)
    assert sum(len(page) for page in chosen) == 6
