"""DuckDB as a source and a target: what only it does, and what is believed of it."""

import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import depth
import duckdb
import pytest
from local.loads import table_run
from local.loads.table_run import ENV, Database, execute, flow_of

from lume_local._worker.databases import duckdb_file
from lume_local._worker.databases.columns import DuckdbTypes
from lume_local._worker.databases.database import DatabaseTrouble, DatabaseUrl
from lume_local._worker.databases.references import ReferenceLookup
from lume_local._worker.engine import RunFailed

OPEN = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only={}); print(1, flush=True); sys.stdin.read()"


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    with table_run.duckdb(tmp_path, monkeypatch) as database:
        yield database


def into(mode: str = "append", **more: Any) -> dict[str, Any]:
    return {"mapped": {"url_env": ENV, "table": "clean", "mode": mode, "create": True, **more}}


TYPES = {
    "TINYINT": ("integer", -128),
    "SMALLINT": ("integer", -(2**15)),
    "INTEGER": ("integer", -(2**31)),
    "BIGINT": ("integer", -(2**63)),
    "HUGEINT": ("integer", 10**38 - 1),
    "UTINYINT": ("integer", 255),
    "USMALLINT": ("integer", 2**16 - 1),
    "UINTEGER": ("integer", 2**32 - 1),
    "UBIGINT": ("integer", 2**64 - 1),
    "FLOAT": ("number", 0.1),
    "DOUBLE": ("number", 1e300),
    "BOOLEAN": ("boolean", True),
    "VARCHAR": ("string", "a'\n\"ü"),
    "UUID": ("string", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    "DATE": ("string", "2024-02-29"),
    "TIME": ("string", "10:00:00.5"),
    "TIMESTAMP": ("string", "2024-02-29 10:00:00.000001"),
    "TIMESTAMPTZ": ("string", "2024-02-29 10:00:00+00"),
    "DECIMAL(38,10)": ("number", "1234567890123456789012345678.0123456789"),
    "DECIMAL(4,4)": ("number", "0.1234"),
}


def test_every_type_of_a_flow_is_in_the_table_and_comes_back(database: Database, tmp_path: Path) -> None:
    """With history, so that the values are compared, too: the second run finds nothing changed."""
    columns = {f"c{n}": {"type": kind, "sql_type": name} for n, (name, (kind, _)) in enumerate(TYPES.items())}
    columns["c0"] |= {"required": True, "unique": True}
    text = duckdb_file.text
    items = ", ".join(f"{text(str(value))} AS c{n}" for n, (_, value) in enumerate(TYPES.values()))
    nothing = ", ".join(["1 AS c0", *(f"NULL AS c{n}" for n in range(1, len(TYPES)))])
    target = into("upsert", key=["c0"], history="scd2")
    flow = flow_of(query=f"SELECT {items} UNION ALL SELECT {nothing}", columns=columns, target=target)
    for run_id in ("run_1", "run_2"):
        assert execute(flow, tmp_path, run_id)["metrics"]["rows_mapped"] == 2
        described = database.execute("DESCRIBE clean")
        kinds = [kind.replace(" WITH TIME ZONE", "TZ") for _, kind, *_ in described]
        assert kinds == [*TYPES, "TIMESTAMP", "TIMESTAMP", "BOOLEAN", "VARCHAR"]
        casts = ", ".join(
            f"c{n} = CAST({text(str(one[1]))} AS {name})" for n, (name, one) in enumerate(TYPES.items())
        )
        assert database.execute(f"SELECT {casts} FROM clean WHERE c0 <> 1") == [(True,) * len(TYPES)]
        assert database.execute("SELECT count(*) FROM clean") == [(2,)]
    back = flow_of(query="SELECT * FROM clean WHERE c0 <> 1", columns=columns, target={"mapped": "x.ndjson"})
    assert execute(back, tmp_path, "run_3")["metrics"]["rows_mapped"] == 1


@pytest.mark.parametrize(
    ("given", "sql_type", "fits"),
    [
        *((name, name, True) for name in TYPES),
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ", True),
        ("TIMESTAMP WITH TIME ZONE", "TIMESTAMP", False),
        ("BIGINT", "INTEGER", True),
        ("BIGINT", "UINTEGER", True),
        ("BIGINT", "UBIGINT", False),
        ("UBIGINT", "TINYINT", False),
        ("UHUGEINT", "UBIGINT", True),
        ("DECIMAL(20,0)", "UBIGINT", True),
        ("DECIMAL(19,0)", "UBIGINT", False),
        ("DECIMAL(10,3)", "DECIMAL(9,2)", True),
        ("DECIMAL(10,3)", "DECIMAL(10,2)", False),
        ("DECIMAL(10,3)", "DOUBLE", False),
        ("DOUBLE", "FLOAT", True),
        ("FLOAT", "DOUBLE", False),
        ("DOUBLE", "INTEGER", False),
        ("VARCHAR", "UUID", True),
        ("VARCHAR", "JSON", True),
        ("JSON", "JSONB", True),
        ("JSON", "VARCHAR", False),
        ("VARCHAR", "DATE", False),
        ("ENUM('a')", "VARCHAR", False),
        ("VARCHAR[]", "VARCHAR", False),
    ],
)
def test_columns_that_hold_a_type(given: str, sql_type: str, fits: bool) -> None:
    assert DuckdbTypes().fits(given, sql_type) == fits


def test_values_come_as_texts(database: Database, tmp_path: Path) -> None:
    values = {
        "1e20::DOUBLE": "100000000000000000000",
        "0.1::FLOAT": "0.1",
        "1.5e-7::DOUBLE": "0.00000015",
        "'nan'::DOUBLE": "nan",
        "12.50::DECIMAL(10,2)": "12.50",
        "true": "true",
        "'a\\x00'::BLOB": "\\x6100",
        "[1, NULL]": "[1,null]",
        "{'a': 'b'}": '{"a":"b"}',
        "TIMESTAMPTZ '2024-01-01 00:00+02'": "2023-12-31 22:00:00+00",
        "NULL::INTEGER": None,
        "''": "",
        "$1": "b1",
    }
    url = DatabaseUrl.of(ENV)
    items = ", ".join(value.replace("$1", ":source_path") for value in values)
    with closing(duckdb_file.DuckdbQuery(url, f"SELECT {items} -- the end", "b1")) as query:
        assert list(query.batches()) == [[tuple(values.values())]]


def test_rows_keep_the_order_of_the_query(database: Database, tmp_path: Path) -> None:
    database.execute("CREATE TABLE t AS SELECT range AS i, 'x' || range AS v FROM range(100_000)")
    with closing(duckdb_file.DuckdbQuery(DatabaseUrl.of(ENV), "FROM t ORDER BY hash(i)", "")) as query:
        rows = [row for batch in query.batches() for row in batch]
    assert rows == database.execute("SELECT i::VARCHAR, v FROM t ORDER BY hash(i)")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("COPY clean TO '{folder}/stolen.csv'", "only a SELECT may be sent"),
        ("ATTACH '{folder}/stolen.db'", "only a SELECT"),
        ("PRAGMA version", "only a SELECT"),
        ("SET threads = 4", "only a SELECT"),
        ("INSTALL httpfs", "only a SELECT"),
        ("CREATE TEMP TABLE x AS SELECT 1 AS id, '' AS name", "only a SELECT"),
        ("EXPLAIN ANALYZE SELECT 1", "only a SELECT"),
        ("WITH x AS (INSERT INTO clean VALUES (9, '') RETURNING *) FROM x", "at the top level|read-only"),
        ("SELECT 1 AS id, content AS name FROM read_text('{folder}/secret')", "disabled by configuration"),
        ("SELECT 1 AS id, file AS name FROM glob('{folder}/*')", "disabled by configuration"),
        ("SELECT 1 AS id, a AS name FROM '{folder}/secret.csv'", "secret.csv"),
        ("SELECT 1 AS id, a AS name FROM read_csv('https://127.0.0.1:9/x')", "disabled|httpfs"),
        ("SELECT id, name FROM query('FROM read_csv(''{folder}/secret'')')", "disabled by configuration"),
        ("SELECT 1 AS id, 'x' AS name FROM sent", "sent does not exist"),
    ],
)
def test_a_query_reads_the_file_and_nothing_else(
    database: Database, tmp_path: Path, query: str, words: str
) -> None:
    (tmp_path / "secret").write_text("a\nsecret\n")
    (tmp_path / "secret.csv").write_text("a\nsecret\n")
    database.execute("CREATE TABLE clean (id bigint, name text)")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RunFailed, match=words):
        execute(flow_of(query=query.format(folder=tmp_path)), tmp_path)
    assert [path for path in sorted(tmp_path.iterdir()) if path not in before] == [tmp_path / "run_1"]
    assert database.execute("FROM clean") == []


def test_the_statements_of_a_load_reach_only_the_folder_of_its_rows(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    with closing(
        duckdb_file.connect(DatabaseUrl.of(ENV), "rw", tmp_path / "run/built.parquet")
    ) as connection:
        connection.execute(f"COPY (SELECT 1) TO '{tmp_path}/run/x.csv'")
        for statement in (
            f"COPY (SELECT 1) TO '{tmp_path}/x.csv'",
            f"ATTACH '{tmp_path}/x.duckdb'",
            "SET enable_external_access = true",
            "SET allowed_directories = ['/']",
        ):
            with pytest.raises(duckdb.Error, match=r"disabled|locked|[Cc]annot"):
                connection.execute(statement)


@pytest.mark.parametrize("read_only", [True, False])
def test_another_process_that_has_the_file_open(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_only: bool
) -> None:
    """The run waits for it, up to a deadline; the error names the file and the process."""
    database.execute("CREATE TABLE people AS SELECT 1 AS id, 'a' AS name")
    argv = [sys.executable, "-c", OPEN.format(read_only), str(tmp_path / "warehouse.duckdb")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with monkeypatch.context() as patch:
            patch.setattr(duckdb_file, "PATIENCE", 0.1)
            with pytest.raises(
                RunFailed, match=rf"warehouse\.duckdb .* open in .* \(PID {other.pid}\).*close it"
            ):
                execute(flow_of(target=into()), tmp_path)
        turns = list[float]()

        def turn(seconds: float) -> None:
            turns.append(seconds)
            if len(turns) == 3:
                other.communicate(b"")

        monkeypatch.setattr("lume_local._worker.databases.duckdb_file.time.sleep", turn)
        assert execute(flow_of(target=into()), tmp_path, "run_2")["metrics"]["rows_mapped"] == 1
        assert len(turns) == 3


def test_one_process_can_not_open_a_file_twice(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else closing one of the two would end the lock of the other, as locks belong to a process."""
    monkeypatch.setattr(duckdb_file, "PATIENCE", 0.0)
    url = DatabaseUrl.of(ENV)
    for first in ("ro", "rw"):
        with closing(duckdb_file.connect(url, first)):
            for second in ("ro", "rw"):
                with pytest.raises(DatabaseTrouble, match="is still open"):
                    duckdb_file.connect(url, second)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "there is no DuckDB file .*duckdb .* -c CHECKPOINT"), (b"x" * 9000, "not a valid DuckDB")],
)
def test_a_file_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, words: str
) -> None:
    monkeypatch.setenv(ENV, f"duckdb:///{tmp_path}/x.duckdb")
    if content:
        (tmp_path / "x.duckdb").write_bytes(content)
    with pytest.raises(RunFailed, match=words):
        execute(flow_of(target=into(create=False)), tmp_path)


def test_a_new_file_can_be_read_by_old_versions_and_an_old_one_stays_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ENV, f"sqlite:///{tmp_path}/source.db")
    sqlite3.connect(tmp_path / "source.db").close()
    version = "SELECT tags['storage_version'] FROM duckdb_databases() WHERE path IS NOT NULL"
    for name, given in (("new", None), ("mid", "v1.2.0"), ("last", "latest")):
        path, wanted = tmp_path / f"{name}.duckdb", [("v1.0.0+",)]
        monkeypatch.setenv("NEW_URL", f"duckdb:///{path}")
        if given:
            with closing(duckdb.connect(path, config={"storage_compatibility_version": given})) as connection:
                wanted = connection.execute(version).fetchall()
        target = {"mapped": into()["mapped"] | {"url_env": "NEW_URL"}}
        execute(flow_of(query="SELECT 1 AS id, 'a' AS name", target=target), tmp_path, f"run_{name}")
        with closing(table_run.opened(path)) as connection:
            assert connection.execute(version).fetchall() == wanted
            assert connection.execute("SELECT id, name FROM clean").fetchall() == [(1, "a")]
    assert not list(tmp_path.glob(".*")), "no draft is left"


def test_a_reference_that_the_column_can_not_have_is_missing(database: Database) -> None:
    database.execute("CREATE SCHEMA s; CREATE TABLE s.kinds (no DECIMAL(5,2), word VARCHAR COLLATE NOCASE)")
    database.execute("INSERT INTO s.kinds VALUES (1.50, 'a'), (NULL, NULL)")
    with closing(ReferenceLookup(ENV, "s.kinds", "No")) as lookup:
        assert sorted(lookup.missing(["1.5", "1.500", "2", "x"])) == ["2", "x"]
    with closing(ReferenceLookup(ENV, "s.kinds", "word")) as lookup:
        assert lookup.missing(["A", "b"]) == ["b"]
    with pytest.raises(DatabaseTrouble, match=r"there is no column s\.kinds\.nothing"):
        ReferenceLookup(ENV, "s.kinds", "nothing")


def test_a_unique_value_is_compared_as_the_column_has_it(database: Database, tmp_path: Path) -> None:
    database.execute("CREATE TABLE clean (id bigint, name VARCHAR COLLATE NOCASE)")
    database.execute("INSERT INTO clean VALUES (7, 'a')")
    rows = "SELECT * FROM (VALUES (1, 'A'), (2, 'b'), (3, 'B'), (4, NULL), (5, NULL)) AS x (id, name)"
    flow = flow_of(query=rows, columns={"id": {"type": "integer"}, "name": {"unique": "ever"}}, target=into())
    metrics = execute(flow, tmp_path)["metrics"]
    assert metrics["reject_reasons"] == {
        "name: is in clean already": 1,
        "name: repeats the value of an earlier row": 1,
    }
    assert database.execute("SELECT id FROM clean ORDER BY id") == [(2,), (4,), (5,), (7,)]


CHECKPOINTS = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
while True:
    batch = "(SELECT coalesce(max(batch), 0) + 1 FROM t)"
    connection.execute(f"INSERT INTO t SELECT {batch}, 'x' || range FROM range(50_000)")
    print(1, flush=True)
    connection.execute("UPDATE t SET v = v || 'y' WHERE batch = (SELECT max(batch) FROM t)")
    connection.execute("FORCE CHECKPOINT")
"""


def test_a_kill_in_a_checkpoint_loses_nothing(database: Database, tmp_path: Path) -> None:
    """As believed of DuckDB: a commit is durable, before, within and after a checkpoint."""
    dice, path = random.Random(1), tmp_path / "warehouse.duckdb"
    database.execute("CREATE TABLE t (batch int, v text)")
    committed = 0
    for _ in range(depth.KILLS if depth.is_thorough else 3):
        with subprocess.Popen(
            [sys.executable, "-c", CHECKPOINTS, str(path)], stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            for _ in range(dice.randint(1, 3)):
                other.stdout.readline()
                committed += 1
            try:
                other.wait(dice.uniform(0, 0.15))
            except subprocess.TimeoutExpired:
                other.kill()
            committed += other.stdout.read().count(b"\n")
        ((batches, least, most),) = database.execute(
            "SELECT count(*), min(n), max(n) FROM (SELECT count(*) AS n FROM t GROUP BY batch)"
        )
        assert (least, most) == (50_000, 50_000)
        assert batches in (committed, committed + 1), "one may be committed and not told"
        committed = batches


@pytest.mark.thorough
def test_an_upsert_of_millions_within_the_memory_limit(database: Database, tmp_path: Path) -> None:
    database.execute("CREATE TABLE clean (id bigint PRIMARY KEY, name text, _lume_run_id text)")
    database.execute("INSERT INTO clean SELECT range, 'an old name ' || range, 'run_0' FROM range(5_000_000)")
    query = "SELECT range AS id, 'a new name ' || range AS name FROM range(4_000_000, 6_000_000)"
    assert (
        execute(flow_of(query=query, target=into("upsert", key=["id"])), tmp_path)["metrics"]["rows_mapped"]
        == 2_000_000
    )
    counts = database.execute("SELECT _lume_run_id, count(*) FROM clean GROUP BY 1 ORDER BY 1")
    assert counts == [("run_0", 4_000_000), ("run_1", 2_000_000)]
