"""Rejects that depend on a database: `unique = "ever"`, `references`, `on_violation`."""

import csv
import random
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from attrs import evolve
from local.loads import table_run
from local.loads.table_run import ENV, Database, execute, flow_of
from local.one_run import carried_out

from lume_local._flow.definition import Flow
from lume_local._flow.fields import FlowError
from lume_local._shared.commit import committed
from lume_local._worker.connection import connect
from lume_local._worker.engine import RunFailed
from lume_local._worker.targets import database_target, target_kinds
from lume_local._worker.targets.target import TargetError

ID: dict[str, Any] = {"type": "integer", "required": True}
EVER = {"id": {**ID, "unique": "ever"}, "name": {}}


def fill(database: Database, *rows: tuple[Any, ...]) -> None:
    database.execute("DROP TABLE IF EXISTS people")
    database.execute("CREATE TABLE people (id integer, name text)")
    marks = "%s, %s" if database.kind == "postgresql" else "?, ?"
    for row in rows:
        database.execute(f"INSERT INTO people VALUES ({marks})", row)


def flow(columns: dict[str, Any], mode: str = "append", **mapped: Any) -> Flow:
    target = {"mapped": {"url_env": ENV, "table": "clean", "mode": mode, **mapped}}
    return flow_of(query="SELECT id, name FROM people", columns=columns, target=target)


def rejects(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "rejects.csv").open(newline="") as file:
        return [(row["_lume_row"], row["_lume_reasons"], row["id"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("index", ["", " PRIMARY KEY"])
def test_a_value_that_the_table_has_is_rejected(database: Database, tmp_path: Path, index: str) -> None:
    database.execute(f"CREATE TABLE clean (id bigint{index}, name text, _lume_run_id text)")
    database.execute("INSERT INTO clean (id, name) VALUES (2, 'old')")
    fill(database, (1, "a"), (2, "b"), (3, "c"), (3, "d"))
    record = execute(flow(EVER), tmp_path)
    assert record["status"] == "PARTIAL_FAILED"
    assert record["metrics"]["reject_reasons"] == {
        "id: is in clean already": 1,
        "id: repeats the value of an earlier row": 1,
    }
    assert rejects(tmp_path / "run_1") == [
        ("2", "id: is in clean already", "2"),
        ("4", "id: repeats the value of an earlier row", "3"),
    ]
    fill(database, (1, "again"), (4, "new"))
    execute(flow(EVER), tmp_path, "run_2", "b2")
    assert database.execute("SELECT id, name FROM clean ORDER BY id") == [
        (1, "a"),
        (2, "old"),
        (3, "c"),
        (4, "new"),
    ]
    assert rejects(tmp_path / "run_2") == [("1", "id: is in clean already", "1")]


@pytest.mark.parametrize("index", ["", " UNIQUE"])
def test_a_value_that_is_another_one_only_to_the_flow_is_rejected(
    index: str, tmp_path: Path, sqlite: Database
) -> None:
    sqlite.execute(f"CREATE TABLE clean (id bigint, name text COLLATE NOCASE{index})")
    fill(sqlite, (1, "a"), (2, "A"), (3, None), (4, None), (5, "b"))
    record = execute(flow({"id": ID, "name": {"unique": "ever"}}), tmp_path)
    assert record["metrics"]["reject_reasons"] == {"name: repeats the value of an earlier row": 1}
    assert sqlite.execute("SELECT id FROM clean ORDER BY id") == [(1,), (3,), (4,), (5,)]


def test_the_rows_of_the_same_batch_are_replaced(database: Database, tmp_path: Path) -> None:
    database.execute("CREATE TABLE clean (id bigint, name text, _lume_run_id text)")
    for run_id, name in (("run_1", "a"), ("run_2", "b")):
        fill(database, (1, name), (2, name))
        assert execute(flow(EVER, "replace_batch"), tmp_path, run_id)["status"] == "SUCCEEDED"
    fill(database, (2, "c"), (3, "c"))
    execute(flow(EVER, "replace_batch"), tmp_path, "run_3", "another batch")
    assert database.execute("SELECT id, name FROM clean ORDER BY id") == [(1, "b"), (2, "b"), (3, "c")]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_a_row_that_a_constraint_refuses_is_a_reject(database: Database, tmp_path: Path) -> None:
    database.execute(
        "CREATE TABLE clean (id bigint PRIMARY KEY CHECK (id <> 7), name varchar(5) NOT NULL, _lume_run_id text)"
    )
    database.execute("INSERT INTO clean VALUES (2, 'old', NULL)")
    rows = [(n, "x") for n in range(10, 60)]
    fill(database, (1, "a"), (2, "b"), *rows[:20], (7, "c"), (3, None), *rows[20:], (4, "d"))
    record = execute(flow({"id": ID, "name": {}}, on_violation="reject"), tmp_path)
    found = rejects(tmp_path / "run_1")
    assert [(row, key) for row, _, key in found] == [("2", "2"), ("23", "7"), ("24", "3")]
    words = ("unique", "check", "null")
    assert all(word in reason.lower() for (_, reason, _), word in zip(found, words, strict=True))
    assert all(reason.startswith("clean: ") for _, reason, _ in found)
    assert record["metrics"]["reject_reasons"] == {reason: 1 for _, reason, _ in found}
    assert record["metrics"]["rows_mapped"] == 52
    assert database.execute("SELECT count(*), sum(id) FROM clean") == [(53, 1 + 2 + 4 + sum(range(10, 60)))]


def test_values_that_must_be_in_another_table(database: Database, tmp_path: Path, monkeypatch: Any) -> None:
    """Of another database as well."""
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection, connection:
        connection.execute("CREATE TABLE names (name text)")
        connection.execute("INSERT INTO names VALUES ('a'), ('b')")
    monkeypatch.setenv("OTHER_URL", f"sqlite:///{other}")
    database.execute('CREATE TABLE "known ids" ("Id" integer)')
    database.execute('INSERT INTO "known ids" VALUES (1), (2), (NULL)')
    database.execute("CREATE TABLE clean (id bigint, name text)")
    fill(database, (1, "a"), (2, "x"), (3, "b"), (4, "x"), (1, None))
    columns = {
        "id": {**ID, "references": {"url_env": ENV, "table": "known ids", "column": "Id"}},
        "name": {"references": {"url_env": "OTHER_URL", "table": "names", "column": "name"}},
    }
    record = execute(flow(columns), tmp_path)
    assert database.execute("SELECT id, name FROM clean ORDER BY name") in (
        [(1, "a"), (1, None)],
        [(1, None), (1, "a")],
    )
    assert record["metrics"]["rows_rejected"] == 3
    assert [row for row, _, _ in rejects(tmp_path / "run_1")] == ["2", "3", "4"]
    columns["id"]["references"]["column"] = "nope"
    with pytest.raises(RunFailed, match=r"columns.id.references: there is no column known ids.nope"):
        execute(flow(columns), tmp_path, "run_2")


def test_a_target_that_is_a_file_has_references_too(database: Database, tmp_path: Path) -> None:
    """A column may have any name."""
    fill(database, (1, "a"), (2, "b"))
    database.execute("CREATE TABLE known (id integer)")
    database.execute("INSERT INTO known VALUES (1)")
    column = {"sql": "id", "references": {"url_env": ENV, "table": "known", "column": "id"}}
    record = execute(flow_of(columns={'a: "b"': {**ID, **column}, "name": {}}), tmp_path)
    assert (tmp_path / "run_1/mapped.ndjson").read_text() == '{"a: \\"b\\"":1,"name":"a"}\n'
    assert rejects(tmp_path / "run_1") == [("2", 'a: "b": is not in known.id', "2")]
    assert record["metrics"]["reject_reasons"] == {'a: "b": is not in known.id': 1}


def test_a_reference_that_refuses_nothing_is_no_reason(database: Database, tmp_path: Path) -> None:
    fill(database, (1, "a"))
    column = {**ID, "references": {"url_env": ENV, "table": "people", "column": "id"}}
    record = execute(flow_of(columns={"id": column}), tmp_path)
    assert (record["status"], record["metrics"]["reject_reasons"]) == ("SUCCEEDED", {})


@pytest.mark.parametrize("late", ["ratio", "dry"])
def test_nothing_is_left_of_a_run_that_is_not_carried_out(
    database: Database, tmp_path: Path, late: str
) -> None:
    database.execute("CREATE TABLE clean (id bigint, name text)")
    database.execute("INSERT INTO clean VALUES (1, 'old')")
    fill(database, (1, "a"), (2, "b"))
    made = flow(EVER)
    if late == "ratio":
        with pytest.raises(RunFailed, match="1 of 2 rows was rejected, more than"):
            execute(evolve(made, max_ratio=0.1), tmp_path)
    else:
        job = evolve(table_run.job_of(made, tmp_path / "dry"), dry_run=True)
        Path(job.folder).mkdir()
        with connect() as connection:
            record = carried_out(connection, job)
        assert record["metrics"]["reject_reasons"] == {"id: is in clean already": 1}
    assert not database_target._prepared
    assert database.execute("SELECT * FROM clean") == [(1, "old")]


@pytest.mark.parametrize(
    ("key", "made", "words"),
    [
        ("", flow(EVER), "1 row has values of id that other runs have loaded into clean meanwhile"),
        (
            "PRIMARY KEY",
            flow({"id": ID, "name": {}}, on_violation="reject"),
            "(?i)refuses the rows: .*unique",
        ),
    ],
    ids=["ever", "constraint"],
)
def test_another_process_that_loads_it_again_sees_what_was_loaded_meanwhile(
    key: str, made: Flow, words: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if key and database.kind == "duckdb":  # it has no `on_violation = "reject"`
        made = flow({"id": ID, "name": {}})
        words = "refuses the rows: .*Duplicate key"
    database.execute(f"CREATE TABLE clean (id bigint {key}, name text)")
    fill(database, (1, "a"), (2, "b"))
    with monkeypatch.context() as patch:
        patch.setattr(target_kinds, "publish", lambda *_: None)  # killed between the commit and the load
        execute(made, tmp_path)
    database_target._prepared.pop("run_1").close()
    folder = tmp_path / "run_1/run"
    assert committed(folder) is not None
    database.execute("INSERT INTO clean VALUES (2, 'another run')")
    with pytest.raises(TargetError, match=words):
        target_kinds.finish(folder)
    assert database.execute("SELECT * FROM clean") == [(2, "another run")]


@pytest.mark.parametrize(
    ("columns", "mapped", "words"),
    [
        (EVER, {"url_env": ENV, "table": "t", "mode": "upsert", "key": ["id"]}, "contradicts the upsert"),
        ({"id": {"unique": "always"}}, "out.csv", "must be true or false"),
        ({"id": {"references": {"url_env": ENV, "table": "t"}}}, "out.csv", "references.column: is missing"),
        (
            {"id": {}},
            {"url_env": ENV, "table": "t", "mode": "append", "on_violation": "skip"},
            "not one of fail, reject",
        ),
    ],
)
def test_flows_that_make_no_sense(columns: dict[str, Any], mapped: Any, words: str) -> None:
    with pytest.raises(FlowError, match=words):
        flow_of(columns=columns, target={"mapped": mapped})


RUNS, AT_ONCE = 8, 4


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("key", "columns", "mapped"),
    [
        ("", EVER, {}),
        (" PRIMARY KEY", {"id": {**ID, "unique": True}, "name": {}}, {"on_violation": "reject"}),
    ],
    ids=["ever", "constraints"],
)
def test_runs_at_the_same_time_accept_each_key_once(
    database: Database, tmp_path: Path, key: str, columns: dict[str, Any], mapped: dict[str, Any]
) -> None:
    """Their keys overlap; in whatever order they come, each key is in the table once, and each row somewhere."""
    if database.kind == "duckdb" and mapped:
        pytest.skip("refused, see below")
    database.execute(f"CREATE TABLE clean (id bigint{key}, name text, _lume_run_id text)")
    source = random.Random(5)
    keys = {f"run_{n}": source.sample(range(60), 25) for n in range(RUNS)}
    fill(database, (0, ""))
    made, together = flow(columns, **mapped), threading.Barrier(AT_ONCE)

    def run(run_id: str) -> None:
        rows = " UNION ALL ".join(f"SELECT {number} AS id, '{run_id}' AS name" for number in keys[run_id])
        job = table_run.job_of(made, tmp_path / run_id, run_id, run_id)
        job = evolve(job, source=job.source | {"query": rows})
        Path(job.folder).mkdir()
        with connect() as connection:
            together.wait(60)
            try:
                records[run_id] = carried_out(connection, job)
            except RunFailed as error:
                failures.append(str(error))

    records: dict[str, dict[str, Any]] = {}
    failures: list[str] = []
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(run, keys))

    others = [one for one in failures if "all 25 rows were rejected" not in one]
    assert others == [], "it came too late with every key"
    there = database.execute("SELECT id, name, _lume_run_id FROM clean ORDER BY id")
    assert [number for number, _, _ in there] == sorted(set().union(*keys.values())), "each of them, once"
    for run_id, own in keys.items():
        accepted = {number for number, name, by in there if by == run_id == name}
        if run_id not in records:
            assert not accepted
            continue
        refused = (
            {int(number) for _, _, number in rejects(tmp_path / run_id)} if accepted != set(own) else set()
        )
        assert accepted | refused == set(own)
        assert not accepted & refused
        metrics = records[run_id]["metrics"]
        assert (metrics["rows_mapped"], metrics["rows_rejected"]) == (len(accepted), len(refused))


def test_duckdb_can_not_leave_out_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One constraint undoes its whole transaction, and there are no savepoints."""
    with table_run.duckdb(tmp_path, monkeypatch) as database:
        database.execute("CREATE TABLE clean (id bigint, name text)")
        fill(database, (1, "a"))
        with pytest.raises(
            RunFailed, match=r"target.mapped: on_violation .* not for DuckDB.*unique = .ever."
        ):
            execute(flow({"id": ID, "name": {}}, on_violation="reject"), tmp_path)
        assert list((tmp_path / "run_1/run").iterdir()) == []
        with closing(duckdb.connect(tmp_path / "warehouse.duckdb")) as connection:
            connection.execute("BEGIN; CREATE TABLE t (i int CHECK (i < 2))")
            with pytest.raises(duckdb.ConstraintException):
                connection.execute("INSERT INTO t VALUES (2)")
            with pytest.raises(duckdb.TransactionException, match="aborted"):
                connection.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(duckdb.ParserException):
                connection.execute("SAVEPOINT one")
