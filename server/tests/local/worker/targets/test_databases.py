"""What holds for every kind of database, as a source and as a target."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from local.loads import table_run
from local.loads.table_run import ENV, NUMBERS, Database, execute, flow_of
from local.one_run import carried_out

from lume_local._shared.commit import committed
from lume_local._worker.connection import connect
from lume_local._worker.databases.references import ReferenceLookup
from lume_local._worker.engine import RunFailed
from lume_local._worker.targets import target_kinds

TABLE = "CREATE TABLE people (id integer PRIMARY KEY, name text)"
CLEAN = "CREATE TABLE clean (id bigint PRIMARY KEY, name text, _lume_run_id text)"


def into(mode: str, table: str = "clean", **more: Any) -> dict[str, Any]:
    return {"target": {"mapped": {"url_env": ENV, "table": table, "mode": mode, **more}}}


def fill(database: Database, *rows: tuple[Any, ...]) -> None:
    database.execute(TABLE)
    marks = "%s, %s" if database.kind == "postgresql" else "?, ?"
    for row in rows:
        database.execute(f"INSERT INTO people VALUES ({marks})", row)


def mapped(folder: Path) -> str:
    return (folder / "mapped.ndjson").read_text()


def test_a_query_is_mapped_and_rejected_with_all_its_rows(database: Database, tmp_path: Path) -> None:
    fill(database, (1, "a"), (2, None), (3, ""), (4, 'x,"y"\n\rz'), (5, "  ü "))
    columns = {**NUMBERS, "name": {"sql": "name", "required": True, "enum": ["a", "", "  ü "]}}
    record = execute(flow_of(columns=columns), tmp_path)
    assert record["status"] == "PARTIAL_FAILED"
    metrics = record["metrics"]
    assert (metrics["rows_read"], metrics["rows_mapped"], metrics["rows_rejected"]) == (5, 3, 2)
    assert metrics["source"]["records"] == 5
    lines = ['{"id":1,"name":"a"}', '{"id":3,"name":""}', '{"id":5,"name":"  ü "}']
    assert mapped(tmp_path / "run_1").splitlines() == lines
    rejects = (tmp_path / "run_1/rejects.csv").read_bytes().decode()
    assert rejects.splitlines()[1] == "2,,name: is required,2,,", "NULL"
    assert '4,"x,""y""\n\rz",' in rejects


def test_the_source_path_is_a_parameter(database: Database, tmp_path: Path) -> None:
    fill(database, (1, "a"), (2, "x' OR '1'='1"))
    query = "SELECT id, name /* :nothing */ FROM people WHERE name = :source_path AND ':source_path' <> ':b'"
    flow = flow_of(query=query)
    assert execute(flow, tmp_path, "run_1", "x' OR '1'='1")["metrics"]["rows_read"] == 1
    assert mapped(tmp_path / "run_1") == '{"id":2,"name":"x\' OR \'1\'=\'1"}\n'
    assert execute(flow, tmp_path, "run_2", "nobody")["metrics"]["rows_read"] == 0


def test_many_rows_come_in_batches_and_in_order(database: Database, tmp_path: Path) -> None:
    query = (
        "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 12000) "
        "SELECT id, CAST(id AS text) AS name FROM n"
    )
    record = execute(flow_of(query=query, target={"mapped": "m.csv"}), tmp_path)
    assert record["metrics"]["rows_mapped"] == 12_000
    lines = mapped(tmp_path / "run_1").splitlines()
    assert lines[::10_000] == [f'{{"id":{n},"name":"{n}"}}' for n in (1, 10_001)]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (
            "SELECT id FROM people",
            "has no column 'name'.* reads .* Found: 'id'. Change the query or",
        ),
        ("SELECT id, name, name FROM people", "^the query on .* names 'name' 2 times"),
        ("SELECT nothing FROM people", "the query can't be run on"),
        ("SELECT id, name FROM nowhere", "nowhere"),
        ("DELETE FROM people", "the query can't be run on|gives no columns|attempt to write"),
    ],
)
def test_a_query_that_does_not_do_fails_before_anything_is_read(
    database: Database, tmp_path: Path, query: str, words: str
) -> None:
    fill(database, (1, "a"))
    with pytest.raises(RunFailed, match=words):
        execute(flow_of(query=query), tmp_path)
    assert database.execute("SELECT count(*) FROM people") == [(1,)]
    assert list((tmp_path / "run_1/run").iterdir()) == []


@pytest.mark.parametrize(
    "query",
    [
        "VACUUM INTO '{folder}/stolen.db'",
        "ATTACH '{folder}/stolen.db' AS stolen",
        "CREATE TEMP TABLE t AS SELECT id, name FROM people",
        "PRAGMA table_info(people)",
        "PRAGMA journal_mode = DELETE",
        "SAVEPOINT s",
        "/* SELECT */ ANALYZE",
    ],
)
def test_a_query_of_sqlite_is_a_select(tmp_path: Path, sqlite: Database, query: str) -> None:
    fill(sqlite, (1, "a"))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(RunFailed, match="only a SELECT may be sent"):
        execute(flow_of(query=query.format(folder=tmp_path)), tmp_path)
    assert [path for path in sorted(tmp_path.iterdir()) if path not in before] == [tmp_path / "run_1"]


@pytest.mark.parametrize("kind", ["fts5(id, name)", "rtree(id, low, high, +name text)"])
def test_virtual_tables_of_sqlite_are_read(tmp_path: Path, sqlite: Database, kind: str) -> None:
    sqlite.execute(f"CREATE VIRTUAL TABLE people USING {kind}")
    sqlite.execute("INSERT INTO people (id, name) VALUES (1, 'a')")
    record = execute(flow_of(query="SELECT id, name FROM people"), tmp_path)
    assert record["metrics"]["rows_mapped"] == 1


def test_rows_are_appended_once(database: Database, tmp_path: Path) -> None:
    fill(database, (1, "a"), (2, None), (3, ""))
    database.execute(CLEAN)
    database.execute("INSERT INTO clean VALUES (0, 'old', 'run_0')")
    record = execute(flow_of(**into("append")), tmp_path)
    there = [(0, "old", "run_0"), (1, "a", "run_1"), (2, None, "run_1"), (3, "", "run_1")]
    assert database.execute("SELECT * FROM clean ORDER BY id") == there
    assert record["target_locations"]["mapped"] == f"{database.shown}?table=clean"
    assert committed(tmp_path / "run_1/run") == record
    assert target_kinds.finish(tmp_path / "run_1/run") == record, "by another process, after a kill"
    assert database.execute("SELECT * FROM clean ORDER BY id") == there
    assert database.execute("SELECT run_id, flow, source_path, target FROM _lume_loads") == [
        ("run_1", "people", "b1", "clean")
    ]


def test_a_batch_takes_the_place_of_the_one_before(database: Database, tmp_path: Path) -> None:
    fill(database, (1, "a"), (2, "b"))
    database.execute(CLEAN)
    database.execute("INSERT INTO clean VALUES (0, 'other', NULL)")
    query = "SELECT id + CASE :source_path WHEN 'b2' THEN 10 ELSE 0 END AS id, name FROM people"
    flow = flow_of(query=query, **into("replace_batch"))
    for number, batch in enumerate(["b1", "b2", "b1"]):
        execute(flow, tmp_path, f"run_{number}", batch)
    assert database.execute("SELECT id, _lume_run_id FROM clean ORDER BY id") == [
        *((0, None), (1, "run_2"), (2, "run_2"), (11, "run_1"), (12, "run_1")),
    ]


def test_a_name_that_needs_quotes(database: Database, tmp_path: Path) -> None:
    database.execute('CREATE TABLE clean (id bigint PRIMARY KEY, "a ""b"" 100%" text, _lume_run_id text)')
    columns = {"id": NUMBERS["id"], 'a "b" 100%': {"sql": "name"}}
    flow = flow_of(query="SELECT 1 AS id, '5%s' AS name", columns=columns, **into("upsert", key=["id"]))
    execute(flow, tmp_path)
    assert database.execute("SELECT * FROM clean") == [(1, "5%s", "run_1")]


def test_an_upsert_changes_what_is_there(database: Database, tmp_path: Path) -> None:
    fill(database, (1, "new"), (2, "b"))
    database.execute("CREATE TABLE clean (id bigint PRIMARY KEY, name text, more text)")
    database.execute("INSERT INTO clean VALUES (1, 'old', 'kept'), (3, 'c', NULL)")
    execute(flow_of(**into("upsert", key=["id"])), tmp_path)
    assert database.execute("SELECT * FROM clean ORDER BY id") == [
        *((1, "new", "kept"), (2, "b", None), (3, "c", None)),
    ]


@pytest.mark.parametrize(
    ("columns", "mode", "found"),
    [
        ("id bigint PRIMARY KEY ON CONFLICT REPLACE, name text", {"mode": "append"}, "clean.id"),
        (
            "id bigint, name text, UNIQUE (name) on /* x */ conflict\n--\nreplace",
            {"mode": "append"},
            "clean.name",
        ),
        (
            "id bigint PRIMARY KEY, name text UNIQUE ON CONFLICT REPLACE",
            {"mode": "upsert", "key": ["id"]},
            "clean.name",
        ),
    ],
)
def test_a_table_of_sqlite_that_replaces_rows_loses_none(
    tmp_path: Path, sqlite: Database, columns: str, mode: dict[str, Any], found: str
) -> None:
    fill(sqlite, (2, "b"), (1, "a"))
    sqlite.execute(f"CREATE TABLE clean ({columns})")
    old = (1, "b") if found == "clean.id" else (7, "a")
    sqlite.execute("INSERT INTO clean VALUES (?, ?)", old)
    with pytest.raises(RunFailed, match=f"clean in .* refuses the rows: UNIQUE constraint failed: {found}"):
        execute(flow_of(**into(**mode)), tmp_path)
    assert sqlite.execute("SELECT * FROM clean") == [old]


@pytest.mark.parametrize("how", ["fail", "reject"])
def test_a_table_of_sqlite_that_undoes_the_load_gets_no_row(
    tmp_path: Path, sqlite: Database, how: str
) -> None:
    fill(sqlite, (1, "a"), (2, "b"), (3, "c"))
    sqlite.execute("CREATE TABLE clean (id bigint, name text UNIQUE ON CONFLICT ROLLBACK)")
    sqlite.execute("INSERT INTO clean VALUES (9, 'b')")
    with pytest.raises(
        RunFailed, match=r"clean in .* refuses the rows: UNIQUE constraint failed: clean\.name"
    ):
        execute(flow_of(**into("append", on_violation=how)), tmp_path)
    assert sqlite.execute("SELECT * FROM clean") == [(9, "b")]
    assert sqlite.execute("SELECT * FROM _lume_loads") == []


def test_an_upsert_and_defaults_go_with_on_conflict_replace(tmp_path: Path, sqlite: Database) -> None:
    fill(sqlite, (1, None), (2, "b"))
    key = "PRIMARY KEY ON CONFLICT REPLACE"
    sqlite.execute(f"CREATE TABLE clean (id bigint {key}, name text, more text)")
    sqlite.execute("INSERT INTO clean VALUES (2, 'old', 'kept')")
    execute(flow_of(**into("upsert", key=["id"])), tmp_path)
    assert sqlite.execute("SELECT * FROM clean ORDER BY id") == [(1, None, None), (2, "b", "kept")]
    sqlite.execute("CREATE TABLE lenient (id bigint, name text NOT NULL ON CONFLICT REPLACE DEFAULT 'x')")
    execute(flow_of(**into("append", "lenient")), tmp_path, "run_2")
    assert sqlite.execute("SELECT * FROM lenient ORDER BY id") == [(1, "x"), (2, "b")]


def test_the_triggers_of_sqlite_keep_their_own_on_conflict(tmp_path: Path, sqlite: Database) -> None:
    fill(sqlite, (1, "a"), (2, "a"))
    sqlite.execute("CREATE TABLE clean (id bigint, name text)")
    sqlite.execute("CREATE TABLE names (name text PRIMARY KEY)")
    sqlite.execute(
        "CREATE TRIGGER keep AFTER INSERT ON clean BEGIN INSERT OR IGNORE INTO names VALUES (NEW.name); END"
    )
    assert execute(flow_of(**into("append")), tmp_path)["status"] == "SUCCEEDED"
    assert sqlite.execute("SELECT * FROM names") == [("a",)]


def test_a_key_that_is_there_twice_fails_the_run(database: Database, tmp_path: Path) -> None:
    fill(database, (1, "a"), (2, "a"))
    database.execute("CREATE TABLE clean (id bigint, name text UNIQUE)")
    columns = {"id": {"type": "integer"}, "name": {"sql": "name", "required": True}}
    columns["kind"] = {"sql": "'k'", "required": True}
    database.execute("ALTER TABLE clean ADD COLUMN kind text")
    database.execute("CREATE UNIQUE INDEX both_ ON clean (name, kind)")
    flow = flow_of(columns=columns, **into("upsert", key=["kind", "name"]))
    with pytest.raises(RunFailed, match=r"1 value of the key .* \(kind = k, name = a\)") as caught:
        execute(flow, tmp_path)
    assert caught.value.metrics is not None
    assert caught.value.metrics["rows_read"] == 2
    assert database.execute("SELECT count(*) FROM clean") == [(0,)]
    assert database.execute("SELECT count(*) FROM _lume_loads") == [(0,)]


@pytest.mark.parametrize(("collation", "other"), [("NOCASE", "ADA"), ("NOCASE", None), ("RTRIM", "ada  ")])
def test_a_key_that_is_there_twice_by_the_collation_of_its_index_fails_the_run(
    collation: str, other: str | None, tmp_path: Path, sqlite: Database
) -> None:
    fill(sqlite, (1, "ada"), (2, other or "bo"))
    sqlite.execute(f"CREATE TABLE clean (id bigint, name text COLLATE {collation} PRIMARY KEY)")
    columns = {"id": {"type": "integer"}, "name": {"required": True, "unique": True}}
    flow = flow_of(columns=columns, **into("upsert", key=["name"]))
    if other is None:
        assert execute(flow, tmp_path)["status"] == "SUCCEEDED"
    else:
        with pytest.raises(RunFailed, match=rf"1 value of the key \(name\) .* \(name = {min('ada', other)}"):
            execute(flow, tmp_path)
    assert sqlite.execute("SELECT count(*) FROM clean") == [(0 if other else 2,)]


@pytest.mark.parametrize(
    ("key", "is_made_up"),
    [
        ("ID integer PRIMARY KEY", True),
        ("id INTEGER, PRIMARY KEY (id)", True),
        ("id bigint PRIMARY KEY", False),
    ],
)
def test_no_value_is_made_up_for_a_null(key: str, is_made_up: bool, tmp_path: Path, sqlite: Database) -> None:
    fill(sqlite, (1, "a"), (2, "b"))
    sqlite.execute(f"CREATE TABLE clean (name text, {key})")
    query = "SELECT nullif(id, 2) AS id, name FROM people"
    columns: dict[str, Any] = {"id": {"type": "integer"}, "name": {}}
    flow = flow_of(query=query, columns=columns, **into("append"))
    if is_made_up:
        with pytest.raises(RunFailed, match=r"clean numbers rows without a value for .* set required"):
            execute(flow, tmp_path)
    else:
        assert execute(flow, tmp_path)["metrics"]["rows_mapped"] == 2
        sqlite.execute("DELETE FROM clean")
    columns["id"]["required"] = True
    execute(flow_of(query=query, columns=columns, **into("append")), tmp_path / "again", "run_2")
    assert sqlite.execute("SELECT id FROM clean ORDER BY rowid")[-1] == (1,)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One for each thousand steps of SQLite's machine, which stops after five million."""
    made, taken = sqlite3.connect, list[None]()

    def step() -> bool:
        taken.append(None)
        return len(taken) > 5000

    def connect(*args: Any, **more: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = made(*args, **more)
        connection.set_progress_handler(step, 1000)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)
    return taken


def test_values_are_looked_up_quickly_in_a_table_without_an_index(
    tmp_path: Path, sqlite: Database, steps: list[None]
) -> None:
    number = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < {}) "
    sqlite.execute("CREATE TABLE clean (id bigint, name text COLLATE NOCASE, n, v)")
    sqlite.execute(
        "INSERT INTO clean (id, name) " + number.format(10_000) + "SELECT -id, 'n' || (id + 4000) FROM n"
    )
    steps.clear()
    columns = {"id": {"type": "integer"}, "name": {"unique": "ever"}}
    query = number.format(5000) + "SELECT id, 'N' || id AS name FROM n"
    metrics = execute(flow_of(query=query, columns=columns, **into("append")), tmp_path)["metrics"]
    assert (metrics["rows_mapped"], metrics["rows_rejected"]) == (4000, 1000)
    lookup = ReferenceLookup(ENV, "clean", "name")
    with closing(lookup):
        missing = lookup.missing([f"N{n}" for n in range(10_000, 16_000)])
    assert missing == [f"N{n}" for n in range(14_001, 16_000)]
    assert steps


def test_rows_that_the_table_refuses_fail_the_run_and_leave_nothing(
    database: Database, tmp_path: Path
) -> None:
    fill(database, (1, "a"), (2, "b"), (3, None))
    database.execute("CREATE TABLE clean (id bigint CHECK (id < 2), name text)")
    columns = {**NUMBERS, "name": {"sql": "name", "required": True}}
    with pytest.raises(RunFailed, match=r"target.mapped: clean in .* refuses the rows: .*") as caught:
        execute(flow_of(columns=columns, **into("append")), tmp_path)
    row = {
        "sqlite": "mapped row 2: id = 2, name = b",
        "postgresql": "Failing row contains (2, b)",
        "duckdb": 'CHECK constraint failed on table "clean" with expression CHECK((id < 2))',
    }[database.kind]
    assert row in str(caught.value)
    assert caught.value.metrics is not None
    assert (caught.value.metrics["rows_read"], caught.value.metrics["rows_rejected"]) == (3, 1)
    assert database.execute("SELECT count(*) FROM clean") == [(0,)]
    assert database.execute("SELECT count(*) FROM _lume_loads") == [(0,)]
    assert not (tmp_path / "run_1/rejects.csv").exists()


def test_an_error_of_the_database_is_cut(tmp_path: Path, sqlite: Database) -> None:
    fill(sqlite, (1, "a"))
    name = "x" * 900_000
    sqlite.execute(f"CREATE TABLE clean (id bigint CONSTRAINT {name} CHECK (id < 1), name text)")
    with pytest.raises(RunFailed, match=r"refuses the rows: .*xxx") as caught:
        execute(flow_of(**into("append")), tmp_path, "run_1")
    assert len(str(caught.value)) <= 500
    assert "(900," in str(caught.value)


def test_what_is_said_of_a_table_can_be_done(database: Database, tmp_path: Path) -> None:
    """Its name is quoted, as the load quotes it: PostgreSQL takes "People" for another table than people."""
    fill(database, (1, "a"))
    flow = flow_of(**into("upsert", table="People" if database.kind == "postgresql" else "order", key=["id"]))
    with pytest.raises(RunFailed) as caught:
        execute(flow, tmp_path, "run_1")
    assert ("(there is people)" in str(caught.value)) == (database.kind == "postgresql")
    database.execute(str(caught.value).partition("for example ")[2].replace(', PRIMARY KEY ("id")', ""))
    with pytest.raises(RunFailed, match="no unique index") as caught:
        execute(flow, tmp_path, "run_2")
    database.execute(str(caught.value).partition("of the upsert: ")[2])
    assert execute(flow, tmp_path, "run_3")["metrics"]["rows_mapped"] == 1


def test_a_view_is_no_table(database: Database, tmp_path: Path) -> None:
    fill(database, (1, "a"))
    database.execute("CREATE VIEW clean AS SELECT * FROM people")
    with pytest.raises(RunFailed, match=r"clean in .* is not a table: name one"):
        execute(flow_of(**into("append")), tmp_path)


@pytest.mark.parametrize(
    ("table", "mode", "words"),
    [
        (
            "other (id integer)",
            "append",
            'there is no table clean in .* create it, for example CREATE TABLE "clean"',
        ),
        ("clean (id integer)", "append", "name TEXT is missing"),
        ("clean (id integer, nane text)", "append", r"name TEXT is missing \(there is nane\)"),
        ("clean (id text, name text)", "append", "id is TEXT, not (bigint|integer)"),
        ("clean (id integer, name integer)", "append", "name is integer, not TEXT"),
        ("clean (id integer, name text, must integer NOT NULL)", "append", "must must have a value"),
        ("clean (id integer, name text)", "replace_batch", "_lume_run_id text is missing"),
        (
            "clean (id integer, name text)",
            "upsert",
            'no unique index on the key .*CREATE UNIQUE INDEX "clean_upsert" ON',
        ),
    ],
)
def test_a_table_that_does_not_fit_fails_the_run_before_anything_is_read(
    database: Database, tmp_path: Path, table: str, mode: str, words: str
) -> None:
    fill(database, (1, "a"))
    database.execute(f"CREATE TABLE {table}")
    key = {"key": ["id"]} if mode == "upsert" else {}
    columns = {**NUMBERS, "id": {**NUMBERS["id"], "sql_type": "INTEGER"}}
    words = words.replace("TEXT", "varchar") if database.kind == "duckdb" else words
    with pytest.raises(RunFailed, match=f"target.mapped: .*(?i:{words})"):
        execute(flow_of(columns=columns, **into(mode, **key)), tmp_path)
    assert list((tmp_path / "run_1/run").iterdir()) == []


@pytest.mark.parametrize("url", ["sqlite:a.db", "sqlite:/a.db", "sqlite:///"])
def test_a_url_of_sqlite_without_its_slashes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Its path would be cut: `sqlite:a.db` named the file `.db`, and `sqlite:/a.db` one in the current folder."""
    monkeypatch.setenv(ENV, url)
    with pytest.raises(
        RunFailed, match=f"{ENV} must name a file: sqlite:////absolute/path or sqlite:///rela"
    ):
        execute(flow_of(), tmp_path)


@pytest.mark.parametrize("url", ["", "secret", "mysql://u:secret@h/db", "sqlite:////nowhere/secret-not.db"])
def test_a_wrong_url_is_an_error_that_does_not_repeat_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv(ENV, url)
    with pytest.raises(RunFailed, match=ENV) as caught:
        execute(flow_of(), tmp_path)
    assert "secret" not in str(caught.value).replace("/nowhere/secret-not.db", "")
    assert list((tmp_path / "run_1/run").iterdir()) == []


@pytest.mark.parametrize(
    ("table", "mode"),
    [
        *(("clean", mode) for mode in ("append", "upsert", "replace_batch")),
        *((table, "upsert") for table in ("my Καλημέρα-2", "público.Straße", "order")),
    ],
)
def test_a_run_creates_its_table(database: Database, tmp_path: Path, table: str, mode: str) -> None:
    fill(database, (1, "a"), (2, None))
    schema, dot, name = table.rpartition(".")
    spelled = f'"{table}"'
    if dot and database.kind != "sqlite":
        spelled = f'"{schema}"."{name}"'
        database.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
        database.execute(f'CREATE SCHEMA "{schema}"')
    flow = flow_of(**into(mode, table, create=True, **({"key": ["id"]} if mode == "upsert" else {})))
    for number in (1, 2):
        record = execute(flow, tmp_path, f"run_{number}")
        assert record["metrics"]["rows_mapped"] == 2
    there = database.execute(f"SELECT id, name, _lume_run_id FROM {spelled} ORDER BY 1, 3")
    if mode == "append":
        assert there == [(1, "a", "run_1"), (1, "a", "run_2"), (2, None, "run_1"), (2, None, "run_2")]
    else:
        assert there == [(1, "a", "run_2"), (2, None, "run_2")]
    if (database.kind, mode) != (
        "sqlite",
        "upsert",
    ):  # there an integer key that is NULL gets the next number
        with pytest.raises(Exception, match=r"(?i)null"):
            database.execute(f"INSERT INTO {spelled} (id) VALUES (NULL)")


def test_a_dry_run_and_a_failed_one_create_no_table(database: Database, tmp_path: Path) -> None:
    fill(database, (1, "a"))
    target = into("append", create=True)
    job = evolve(table_run.job_of(flow_of(**target), tmp_path / "dry"), dry_run=True)
    Path(job.folder).mkdir()
    with connect() as connection:
        assert carried_out(connection, job)["status"] == "SUCCEEDED"
    columns = {**NUMBERS, "name": {"enum": ["b"]}}
    with pytest.raises(RunFailed, match="the only row was rejected"):
        execute(flow_of(columns=columns, **target), tmp_path)
    with pytest.raises(Exception, match="clean"):
        database.execute("SELECT * FROM clean")


def test_a_missing_sqlite_file(tmp_path: Path, sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new.db"
    fill(sqlite, (1, "a"))
    monkeypatch.setenv("NEW_URL", f"sqlite:///{path}")
    target = {"mapped": {"url_env": "NEW_URL", "table": "clean", "mode": "append"}}
    with pytest.raises(RunFailed, match=r"create = true a run creates file and table"):
        execute(flow_of(target=target), tmp_path)
    assert not path.exists()
    execute(flow_of(target={"mapped": target["mapped"] | {"create": True}}), tmp_path, "run_2")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id, name FROM clean").fetchall() == [(1, "a")]


@pytest.mark.parametrize("on_violation", ["fail", "tell"])
def test_a_violated_check_leaves_the_table_as_it_was(
    database: Database, tmp_path: Path, on_violation: str
) -> None:
    fill(database, (1, "a"), (2, "b"))
    database.execute(CLEAN)
    database.execute("INSERT INTO clean VALUES (7, 'before', 'run_0')")
    checks = {"on_violation": on_violation, "rows": {"min": 3}}
    flow = flow_of(**into("append"), checks=checks)
    if on_violation == "tell":
        assert execute(flow, tmp_path)["metrics"]["warnings"] == {
            "the check of rows failed, 2 found, at least 3 expected": 1
        }
    else:
        with pytest.raises(RunFailed, match="2 found, at least 3 expected"):
            execute(flow, tmp_path)
    ids = [row[0] for row in database.execute("SELECT id FROM clean ORDER BY id")]
    assert ids == ([1, 2, 7] if on_violation == "tell" else [7])
