"""Small runs share an instance of DuckDB: nothing of one is there for the next, and it reaches no other file."""

import gzip
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import duckdb
import pytest
from attrs import evolve
from duckdb import DuckDBPyConnection
from local import one_run
from local.one_run import compiled, fetch, job_of

from lume_local._shared.protocol import Execute
from lume_local._worker.connection import connect
from lume_local._worker.engine import Run, RunFailed
from lume_local._worker.late import later_ones
from lume_local._worker.one_process import (
    FEW,
    MOST_COPIED,
    MOST_PLANNED_SIMPLY,
    Instances,
    SmallFiles,
    place_of,
)
from lume_local._worker.profile import profile
from lume_local._worker.rejects import field_as_copied
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sql import copy_to, row_of, text
from lume_local._worker.steps import Context

COLUMNS = {"id": {"type": "integer", "unique": True}, "ok": {"sql": "parse_bool(ok)", "type": "boolean"}}
WITHOUT_CLEANERS = {"id": {"type": "integer", "unique": True}, "ok": {"type": "boolean"}}
LEFT = {
    "databases": "SELECT database_name FROM duckdb_databases() WHERE NOT internal",
    "tables": "SELECT table_name FROM duckdb_tables()",
    "views": "SELECT view_name FROM duckdb_views() WHERE NOT internal",
    "functions": "SELECT function_name FROM duckdb_functions() WHERE NOT internal",
    "types": "SELECT type_name FROM duckdb_types() WHERE NOT internal",
    "sequences": "SELECT sequence_name FROM duckdb_sequences()",
    "settings": "SELECT name, value FROM duckdb_settings() ORDER BY ALL",
    "spilled": "SELECT path FROM duckdb_temporary_files()",
    "memory": "SELECT sum(memory_usage_bytes) FROM duckdb_memory()",
}


@pytest.fixture(scope="module", params=[COLUMNS, WITHOUT_CLEANERS], ids=["cleaners", "none"])
def flow(request: pytest.FixtureRequest) -> dict[str, Any]:
    return compiled(columns=request.param)


def job(
    folder: Path,
    flow: dict[str, Any],
    name: str,
    *contents: str | bytes,
    suffixes: tuple[str, str, str] = (".csv", ".parquet", ".csv"),
) -> Execute:
    """A run of its own, as the server would ask for it. Suffixes: of its sources, mapped rows and rejects."""
    run = folder / "runs" / name
    run.mkdir(parents=True)
    of_source, of_mapped, of_rejects = suffixes
    sources = [folder / f"{name}{n or ''}{of_source}" for n in range(len(contents))]
    for source, content in zip(sources, contents, strict=True):
        source.write_bytes(content if isinstance(content, bytes) else content.encode())
    made = job_of(flow, run, sources, folder / f"{name}{of_mapped}", folder / f"{name}_rejects{of_rejects}")
    for n, file in enumerate(made.source["files"]):
        file["shown"] = f"in{n}"
    return evolve(made, run_id=name)


def small_run(connection: DuckDBPyConnection, job: Execute, place: Path) -> Run:
    context = Context(connection, job, lambda name, rows: None)
    return Run(context, SmallFiles(context, place))


@contextmanager
def begun(instances: Instances, job: Execute) -> Iterator[tuple[Run, DuckDBPyConnection]]:
    place = place_of(job)
    assert place is not None
    with instances.connection(job, place) as connection:
        yield small_run(connection, job, place), connection


def left(instances: Instances) -> dict[str, Any]:
    assert instances._shared is not None
    return {name: instances._shared.execute(query).fetchall() for name, query in LEFT.items()}


def test_nothing_is_left_for_the_next_run(tmp_path: Path, flow: dict[str, Any]) -> None:
    instances, seen = Instances(), []
    for n in range(3):
        one = job(tmp_path, flow, f"run{n}", f"id,ok\n{n},yes\n{n},no\nx,yes\n7,perhaps\n8,\n")
        with begun(instances, one) as (run, _):
            record = run.execute()
        assert record["metrics"]["rows_mapped"] == 2
        assert record["metrics"]["rows_rejected"] == 3
        assert fetch(f"{tmp_path}/run{n}.parquet") == [(n, True), (8, None)]
        assert not list((tmp_path / "scratch").iterdir())
        seen.append(left(instances))
    assert seen[0] == seen[1] == seen[2]
    assert [seen[0][name] for name in LEFT if name not in ("databases", "settings", "memory")] == [[]] * 6
    assert seen[0]["databases"] == [("memory",)]


def both_ways(
    folder: Path,
    columns: dict[str, Any],
    *contents: str | bytes,
    suffixes: tuple[str, str, str] = (".csv", ".parquet", ".csv"),
    **flow: Any,
) -> dict[str, Any]:
    """The metrics of a small run, which are those of any other run, as are the bytes of its files."""
    with connect() as connection:
        form = compiled(columns=columns, **flow)
        one, other = (job(folder, form, name, *contents, suffixes=suffixes) for name in ("one", "other"))
        record = one_run.carried_out(connection, one)
    with begun(Instances(), other) as (run, _):
        found = run.execute()
    for part in ("status", "metrics", "ledger"):
        assert found[part] == record[part]
    for written in (suffixes[1], f"_rejects{suffixes[2]}"):
        each = [folder / f"{name}{written}" for name in ("one", "other")]
        assert each[0].exists() == each[1].exists()
        assert not each[0].exists() or each[0].read_bytes() == each[1].read_bytes()
    metrics: dict[str, Any] = record["metrics"]
    return metrics


@pytest.mark.parametrize("content", ["id,n\n", "id,n\n1,a\n", "id,n\n1,\n", "id,n\n1,a\n2,\n1,c\nx,d\n,e\n"])
def test_the_columns_of_a_file_may_be_null_as_in_any_other_run(tmp_path: Path, content: str) -> None:
    """The schema of a Parquet file has it from optimizers, of which a very small run leaves out the others."""
    both_ways(tmp_path, {"id": {"type": "integer", "unique": True}, "n": {}}, content)


NASTY = (
    *("#", "a#b", " x", "x ", "a,b", "a;b", 'a"b', "it's", "a\nb", "a\r\nb", "\t", "NULL", "\\N", "a\\b"),
    "ä€",
)
V_AND_N: dict[str, Any] = {"v": {}, "n": {"type": "integer", "maximum": 3, "unique": True}}
NDJSON = b'{"v":"a","n":1}\n{"n":"x","v":{"b":[1]}}\n{}\nnot JSON\n{"v":"#","n":9}\n{"v":"c","n":1}\n'


def nasty(delim: str = ",", quote: str = '"', escape: str = '"', end: str = "\n") -> str:
    """Values in quotes, of which DuckDB needs some. The first three rows and some of the others are mapped."""
    dialect = Dialect(delim.encode(), quote.encode(), escape.encode())
    rows = [f"{dialect.as_field(value.encode()).decode()}{delim}{n}" for n, value in enumerate(NASTY, 1)]
    return end.join([f"v{delim}n", *rows, f"{delim}", f"{quote}{quote}{delim}x", f"twice{delim}2", ""])


RUNS: list[tuple[list[str | bytes], dict[str, Any]]] = [
    ([nasty()], {}),
    ([nasty(end="\r\n")], {}),
    ([nasty(";")], {"csv": {"delim": ";"}}),
    ([nasty(quote="'", escape="'")], {"csv": {"quote": "'"}}),
    ([nasty(escape="\\")], {"csv": {"escape": "\\"}}),
    (["v,n\na#,1\nb'\"c,5\n #,7\n"], {"csv": {"quote": ""}}),
    (["v,n\nä,1\n#ö,5\nü,x\n".encode("latin-1")], {"csv": {"encoding": "latin-1"}}),
    ([nasty(), "n,v\n1,a\nx,#\n"], {}),
    ([nasty() + "1\n2,3,4\n"], {}),
    ([b"v,n\na\xff,1\nb,2\n#,7\n"], {}),
    ([nasty(), nasty() + "1\n"], {"where": "v <> 'NULL'"}),
]


@pytest.mark.parametrize(
    ("contents", "flow", "is_unique"), [*((*one, True) for one in RUNS), (*RUNS[0], False), (*RUNS[7], False)]
)
def test_rejects_are_those_of_any_other_run(
    tmp_path: Path, contents: list[str | bytes], flow: dict[str, Any], is_unique: bool
) -> None:
    columns = {"v": V_AND_N["v"], "n": V_AND_N["n"] | {"unique": is_unique}}
    rules = [
        {"name": "short", "sql": "length(v) < 3", "on_fail": "warn"},
        {"name": "not 9; or #", "sql": "n <> 9"},
    ]
    metrics = both_ways(tmp_path, columns, *contents, source=flow, rules=rules)
    assert metrics["rows_mapped"]
    assert metrics["rows_rejected"]


def test_rejects_of_other_formats_are_those_of_any_other_run(tmp_path: Path) -> None:
    suffixes = (".ndjson", ".csv", ".parquet")
    metrics = both_ways(tmp_path, V_AND_N, NDJSON, suffixes=suffixes, source={"format": "ndjson"})
    assert metrics["rows_rejected"] == 4


def largest_planned_simply() -> tuple[str, list[int]]:
    """The shortest rows that are not optimized, as many as possible, and the numbers that are mapped, in order."""
    rows, mapped, size = [], list[int](), 3
    for n in itertools.count():
        repeats = n > 4000 and n % 1000 == 999
        number = n - 4321 if repeats else n
        row = "x\n" if n % 777 == 5 else f"{number}\n"
        size += len(row)
        if size > MOST_PLANNED_SIMPLY:
            return "id\n" + "".join(rows), mapped
        rows.append(row)
        if row != "x\n" and not repeats:
            mapped.append(n)
    raise AssertionError


def test_rows_keep_their_order_without_optimizers(tmp_path: Path) -> None:
    content, mapped = largest_planned_simply()
    assert len(mapped) > 10_000  # several vectors
    columns = {"id": {"type": "integer", "unique": True}}
    metrics = both_ways(tmp_path, columns, content)
    assert fetch(f"{tmp_path}/other.parquet") == [(n,) for n in mapped]
    assert metrics["rows_rejected"] == content.count("\n") - 1 - len(mapped)
    rejects = (tmp_path / "other_rejects.csv").read_text().splitlines()[1:]
    numbers = [int(line.split(",")[0]) for line in rejects]
    assert numbers == sorted(numbers)


@pytest.mark.skipif(duckdb.__version__.startswith("1."), reason="DuckDB 1 locks this setting, too")
def test_only_very_small_runs_are_planned_simply(tmp_path: Path, flow: dict[str, Any]) -> None:
    """By the bytes that are read, not those of a compressed file."""
    instances, query = Instances(), "SELECT current_setting('disabled_optimizers')"
    for n, rows in enumerate((1, 40_000, 1, 20_000)):
        content, suffix = ("id,ok\n" + "1,y\n" * rows).encode(), ".csv"
        if rows == 20_000:
            content, suffix = gzip.compress(content), ".csv.gz"
            assert len(content) < MOST_PLANNED_SIMPLY
        one = job(tmp_path, flow, f"run{n}", content, suffixes=(suffix, ".parquet", ".csv"))
        with begun(instances, one) as (run, connection):
            run.execute()
            ((disabled,),) = connection.execute(query).fetchall()
        assert ("common_subexpressions" in disabled) == (rows == 1)
        assert "in_clause" in disabled


UNEQUAL: dict[str, str] = {
    "DOUBLE": "0.0::DOUBLE, -0.0::DOUBLE, 'nan'::DOUBLE, '-nan'::DOUBLE, 1e-320::DOUBLE, 5e-324::DOUBLE",
    "VARCHAR": "'a', 'A', 'a ', 'ä', 'a' || chr(776), 'a' || chr(0), 'a' || chr(0) || 'b', '', ' '",
    "DECIMAL(12,2)": "1.00, 1.0, -0.0, 0",
    "TIMESTAMPTZ": "TIMESTAMPTZ '2024-01-01 00:00:00+00', TIMESTAMPTZ '2024-01-01 01:00:00+01'",
    "TIME": "TIME '00:00:00', TIME '00:00:00.000001'",
    "BOOLEAN": "true, false",
}


@pytest.mark.parametrize("kind", UNEQUAL)
def test_repeated_values_are_counted_as_they_are_found(kind: str) -> None:
    """A run looks for repeated values only if there are fewer distinct ones than values: both compare alike."""
    with connect() as connection:
        connection.execute(f"CREATE TEMP TABLE each AS SELECT unnest([{UNEQUAL[kind]}])::{kind} AS v")
        number = row_of(connection, "SELECT count(*) FROM each")[0]
        pairs = "SELECT a.v, b.v AS w FROM each AS a, each AS b LIMIT 1 OFFSET {}"
        for n in range(number * number):
            values = f"(SELECT unnest([v, w]) AS v, false AS _lume_reject FROM ({pairs.format(n)}))"
            staged = f"(SELECT *, row_number() OVER () AS file_row_number FROM {values})"
            repeated = connection.execute(later_ones(staged, "v")).fetchall()
            column = {"name": "v", "ordered": False}
            _, is_unique = profile(connection, {"columns": [column], "whole": []}, values, ["v"])
            assert is_unique == (not repeated)


@pytest.mark.parametrize("marks", [',"', "|'", '#"', ' "', "^]"])
def test_a_value_is_written_as_duckdb_copies_it(tmp_path: Path, marks: str) -> None:
    delim, quote = marks
    field_of = field_as_copied(Dialect(delim.encode(), quote.encode(), quote.encode()))
    assert field_of is not None
    one = [chr(n) for n in (*range(0x300), 0x2028, 0xFEFF, 0x65E5, 0x1F642)]
    values = [None, "", *one, *(form for v in one for form in (f"{v}a", f"a{v}", f"a{v}a", f"{v}{quote}"))]
    values += ["NULL", "\\N", quote * 2, f"a{quote}{delim}#", "a" * 5000]
    path = tmp_path / "v.csv"
    with connect() as connection:
        connection.execute("CREATE TABLE each AS SELECT unnest(?::VARCHAR[]) AS v", [values])
        options = ", ".join(
            f"{name} {text(mark)}" for name, mark in zip(("DELIM", "QUOTE"), marks, strict=True)
        )
        query = "SELECT v, 'x' AS w FROM each"
        copy_to(connection, query, path, f"FORMAT csv, HEADER false, {options}, ESCAPE {text(quote)}")
    written = "".join(f"{field_of(value)}{delim}{field_of('x')}\n" for value in values)
    assert path.read_bytes() == written.encode()


def test_no_value_is_written_in_a_dialect_that_is_not_known() -> None:
    for delim, quote, escape in ((",", "", ""), (",", '"', "\\"), ("é", '"', '"')):
        assert field_as_copied(Dialect(delim.encode(), quote.encode(), escape.encode())) is None


@pytest.mark.parametrize("rows", [FEW, FEW + 1])
def test_few_rows_are_judged_as_many_are(tmp_path: Path, rows: int) -> None:
    """One statement returns which checks each of them breaks."""
    values = ["a", "a#", '"a,b"', '"long\nvalue"', "longer", '""', "é€"]
    lines = [f"{n if n % 3 else 'x'},{values[n % 7]},{n % 11}" for n in range(rows - 2)]
    content = "\n".join(["id,v,#n", *lines, "1", "1,2,3,4", ""])
    columns = {
        "id": {"type": "integer"},
        "v": {"maxLength": 3},
        "n": {"sql": '"#n"', "type": "integer", "maximum": 8},
    }
    metrics = both_ways(tmp_path, columns, content)
    assert len(metrics["reject_reasons"]) == 5


class Counted:
    """A connection that notes the statements."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection
        self.statements: list[str] = []

    def execute(self, query: str, values: object = None) -> DuckDBPyConnection:
        self.statements.append(query)
        return self._connection.execute(query, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def test_rejects_of_a_binary_file_are_not_fetched(tmp_path: Path) -> None:
    """A text stands in it once, for any number of rows: together they may need more memory than the worker has."""
    content, long = tmp_path / "content.parquet", "x" * 1_000_000
    columns = {"id": {"type": "integer", "unique": True}, "v": {"maxLength": 3}}
    with connect() as connection:
        rows = f"SELECT i AS id, CASE WHEN i > 0 THEN {text(long)} ELSE 'x' END AS v FROM range(9) AS t(i)"
        copy_to(connection, rows, content)
    assert content.stat().st_size < MOST_PLANNED_SIMPLY
    binary, suffixes = content.read_bytes(), (".source.parquet", ".parquet", ".csv")
    metrics = both_ways(tmp_path, columns, binary, suffixes=suffixes, source={"format": "parquet"})
    assert metrics["reject_reasons"] == {"v: is longer than 3 characters": 8}
    form = compiled(columns=columns, source={"format": "parquet"})
    one = job(tmp_path, form, "third", binary, suffixes=suffixes)
    with begun(Instances(), one) as (_, connection):
        counted = Counted(connection)
        small_run(cast(DuckDBPyConnection, counted), one, place_of(one) or tmp_path).execute()
        ((disabled,),) = connection.execute("SELECT current_setting('disabled_optimizers')").fetchall()
    assert any("GROUP BY ALL" in query for query in counted.statements), "its rows are counted in DuckDB"
    assert not any("count(DISTINCT" in query for query in counted.statements), "which takes much memory"
    assert "common_subexpressions" not in disabled


def test_a_small_run_takes_few_statements(tmp_path: Path) -> None:
    """They are most of its CPU time, which goes into planning them."""
    flow = compiled(columns={"id": {"type": "integer", "unique": True}, "n": {"maxLength": 3}})
    counts = {}
    for name, content in (("good", "1,a\n2,b\n"), ("bad", "1,a\nx,b\n3,long\n"), ("twice", "1,a\n1,b\n")):
        one = job(tmp_path, flow, name, f"id,n\n{content}")
        with begun(Instances(), one) as (_, connection):
            counted = Counted(connection)
            small_run(cast(DuckDBPyConnection, counted), one, place_of(one) or tmp_path).execute()
        counts[name] = [query.split(None, 1)[0] for query in counted.statements]
    assert counts["good"] == ["SET", "CREATE", "SELECT", "SELECT", "COPY"]
    assert counts["bad"] == ["SET", "CREATE", "SELECT", "SELECT", "COPY"]
    assert len(counts["twice"]) == 10


def test_divisions_and_times_are_those_of_any_other_run(tmp_path: Path, flow: dict[str, Any]) -> None:
    """Settings of a connection would not be those of its cursors."""
    is_more = {"sql": "CAST(id AS DOUBLE) / CAST(n AS DOUBLE) > 1", "type": "boolean"}
    metrics = both_ways(tmp_path, {"is_more": is_more}, "id,n\n1,1\n1,0\n")
    assert metrics["reject_reasons"] == {"is_more: is not a valid boolean": 1}
    with begun(Instances(), job(tmp_path, flow, "third", "id,ok\n")) as (_, connection):
        assert connection.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]


def test_a_run_that_fails_leaves_nothing_either(tmp_path: Path, flow: dict[str, Any]) -> None:
    instances = Instances()
    with begun(instances, job(tmp_path, flow, "good", "id,ok\n1,yes\n")) as (run, _):
        run.execute()
    before = left(instances)
    with begun(instances, job(tmp_path, flow, "bad", "id,ok\nx,yes\n")) as (run, _), pytest.raises(RunFailed):
        run.execute()
    assert left(instances) == before
    assert not list((tmp_path / "scratch").iterdir())


def test_it_reaches_nothing_but_its_own_files(tmp_path: Path, flow: dict[str, Any]) -> None:
    instances = Instances()
    one, other = (job(tmp_path, flow, name, "id,ok\n1,yes\n") for name in ("one", "other"))
    place = place_of(one)
    assert place is not None
    with begun(instances, other) as (run, _):
        run.execute()
    with begun(instances, one) as (_, connection):
        (place / "mine.csv").write_text("a\n1\n")
        (place / "link.csv").symlink_to(tmp_path / "other.csv")
        assert connection.execute(f"FROM read_csv('{place}/mine.csv')").fetchall() == [(1,)]
        for attempt in (
            f"FROM read_csv('{tmp_path}/one.csv')",
            f"FROM read_csv('{place}/link.csv')",
            f"FROM read_csv('{place}/../../other.csv')",
            f"FROM read_parquet('{tmp_path}/other.parquet')",
            f"COPY (SELECT 1) TO '{tmp_path}/runs/one/commit.json'",
            f"ATTACH '{tmp_path}/db'",
            "INSTALL httpfs",
            "SET threads=2",
            "RESET memory_limit",
            "SET enable_external_access=true",
            "SET allowed_directories=['/']",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(attempt)


@pytest.mark.thorough
def test_what_went_to_the_disk_ends_its_instance(tmp_path: Path, flow: dict[str, Any]) -> None:
    instances = Instances()
    one = evolve(job(tmp_path, flow, "one", "id,ok\n1,yes\n"), memory_limit=40_000_000)
    with begun(instances, one) as (_, connection):
        connection.execute("CREATE TEMP TABLE big AS SELECT md5(range::VARCHAR) AS v FROM range(2000000)")
        assert connection.execute("SELECT count(*) FROM duckdb_temporary_files()").fetchall() != [(0,)]
    assert instances._shared is None
    with begun(instances, job(tmp_path, flow, "two", "id,ok\n1,yes\n")) as (run, _):
        assert run.execute()["status"] == "SUCCEEDED"
    assert not list((tmp_path / "scratch").iterdir())


def test_which_runs_are_small(tmp_path: Path, flow: dict[str, Any]) -> None:
    small = job(tmp_path, flow, "small", "id,ok\n1,yes\n")
    assert place_of(small) == tmp_path / "scratch" / str(os.getpid())
    source = tmp_path / "small.csv"
    with source.open("a") as file:
        file.write("2,no\n" * (MOST_COPIED // 5))
    assert place_of(small) is None
    source.unlink()
    assert place_of(small) is None
    source.write_text("id,ok\n")
    seeds = {"countries": {"key": "code", "table": "_lume_seed_0", "columns": []}}
    for other in (
        evolve(small, dry_run=True),
        evolve(small, engine={"url": "pool"}),
        evolve(small, flow=flow | {"seeds": seeds}),
        evolve(small, source={"kind": "query"}),
    ):
        assert place_of(other) is None
