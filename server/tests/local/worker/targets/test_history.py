"""`history = "scd2"`: an upsert that keeps the earlier versions of rows, in each kind of database."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from local.loads import table_run
from local.loads.table_run import ENV, Database, execute, flow_of

from lume_local._flow.definition import Flow
from lume_local._worker.engine import RunFailed

Row = dict[str, Any]
ID = {"type": "integer", "required": True, "unique": True}
COLUMNS: dict[str, Any] = {
    "id": ID,
    "name": {},
    "amount": {"type": "number", "sql_type": "DECIMAL(10,2)"},
}
START = datetime(2026, 1, 1, 12)


def flow(rows: list[Row], columns: dict[str, Any] = COLUMNS, **mapped: Any) -> Flow:
    """A flow that reads these rows, and keeps the history of a table."""
    target = {"url_env": ENV, "table": "clean", "mode": "upsert", "key": ["id"], "history": "scd2", **mapped}
    items = [", ".join(f"{literal(row[name])} AS {name}" for name in columns) for row in rows]
    nothing = f"SELECT {', '.join(f'NULL AS {name}' for name in columns)} WHERE false"
    query = " UNION ALL ".join(f"SELECT {one}" for one in items) or nothing
    return flow_of(query=query, columns=columns, target={"mapped": target})


def literal(value: Any) -> str:
    return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"


def row(id: int, name: str | None = None, amount: str | None = None) -> Row:
    return {"id": id, "name": name, "amount": amount}


def load(folder: Path, rows: list[Row], run_id: str, at: datetime = START, **mapped: Any) -> dict[str, Any]:
    return execute(flow(rows, **mapped), folder, run_id, at=f"{at.isoformat()}Z")


def versions(database: Database) -> list[tuple[Any, ...]]:
    """All versions: the values, the instants, whether it is the current one, and the run."""
    names = 'id, name, amount, valid_from, valid_to, "current", _lume_run_id'
    found = database.execute(f"SELECT {names} FROM clean ORDER BY id, valid_from")
    return [
        (
            one[0],
            one[1],
            None if one[2] is None else float(one[2]),
            *map(_instant, one[3:5]),
            bool(one[5]),
            one[6],
        )
        for one in found
    ]


def _instant(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def hours(count: float) -> datetime:
    return START + timedelta(hours=count)


def test_versions(database: Database, tmp_path: Path) -> None:
    first = [row(1, "a", "1.50"), row(2), row(3, "c", "3")]
    load(tmp_path, first, "run_1", create=True)
    was = [(1, "a", 1.5, START, None, True, "run_1"), (2, None, None, START, None, True, "run_1")]
    third = (3, "c", 3.0, START, None, True, "run_1")
    assert versions(database) == [*was, third]
    load(tmp_path, [row(1, "a", "1.5"), row(2, None, None)], "run_2", hours(1))
    assert versions(database) == [*was, third], "NULL equals NULL, 1.5 equals 1.50, and 3 is still current"
    load(tmp_path, [row(1, "A", "1.5"), row(2, "", None), row(4, None, "7")], "run_3", hours(2))
    assert versions(database) == [
        (1, "a", 1.5, START, hours(2), False, "run_1"),
        (1, "A", 1.5, hours(2), None, True, "run_3"),
        (2, None, None, START, hours(2), False, "run_1"),
        (2, "", None, hours(2), None, True, "run_3"),
        third,
        (4, None, 7.0, hours(2), None, True, "run_3"),
    ]
    # A run that was submitted before the versions that it ends, and one that brings a value back.
    load(tmp_path, [row(4), row(1, "a", "1.50")], "run_4", hours(-1))
    later = hours(2) + timedelta(microseconds=1)
    assert [one for one in versions(database) if one[-1] == "run_4"] == [
        (1, "a", 1.5, later, None, True, "run_4"),
        (4, None, None, later, None, True, "run_4"),
    ]
    assert load(tmp_path, [], "run_5", hours(9))["metrics"]["rows_mapped"] == 0


VALUES = st.tuples(
    st.sampled_from([None, "", "a", "A", "ä", "a ", "7", "1e3"]),
    st.sampled_from([None, "0", "1.5", "1.50", "-2"]),
)
LOADS = st.lists(
    st.tuples(st.dictionaries(st.integers(0, 3), VALUES, max_size=4), st.integers(-3, 6)),
    min_size=1,
    max_size=5,
)


def model(loads: list[tuple[dict[int, tuple[str | None, str | None]], int]]) -> list[tuple[Any, ...]]:
    """The versions after these loads, in Python: of each key a list, whose last one is the current."""
    kept: dict[int, list[list[Any]]] = {}
    for number, (rows, hour) in enumerate(loads, 1):
        latest = [kept[key][-1][2] for key in rows if key in kept]
        at = max([hours(hour), *(one + timedelta(microseconds=1) for one in latest)])
        for key, (name, amount) in rows.items():
            value = name, None if amount is None else float(amount)
            of_key = kept.setdefault(key, [])
            if of_key and (of_key[-1][0], of_key[-1][1]) == value:
                continue
            if of_key:
                of_key[-1][3:5] = [at, False]
            of_key.append([*value, at, None, True, f"run_{number}"])
    return [(key, *one) for key in sorted(kept) for one in kept[key]]


@examples(12)
@given(loads=LOADS)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "duckdb"])
def test_any_sequence_of_loads_makes_the_versions_of_a_model(
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    kind: str,
    loads: list[tuple[dict[int, tuple[str | None, str | None]], int]],
) -> None:
    folder = tmp_path_factory.mktemp("loads")
    with pytest.MonkeyPatch.context() as patch:
        if kind == "postgresql":
            opened = table_run.postgresql(request.getfixturevalue("postgres"), patch)
        else:
            opened = getattr(table_run, kind)(folder, patch)
        with opened as database:
            for number, (rows, hour) in enumerate(loads, 1):
                given_rows = [row(key, *values) for key, values in rows.items()]
                load(folder, given_rows, f"run_{number}", hours(hour), create=True)
            assert versions(database) == model(loads)


def created(database: Database, tmp_path: Path) -> str:
    """Return the statements for the table from the message of a run that misses it."""
    with pytest.raises(RunFailed) as caught:
        load(tmp_path, [row(1)], "run_0")
    return str(caught.value).partition("for example ")[2]


def test_the_statements_in_the_message_create_the_table(database: Database, tmp_path: Path) -> None:
    for statement in created(database, tmp_path).split("; "):
        database.execute(statement)
    load(tmp_path, [row(1, "a")], "run_1")
    load(tmp_path, [row(1, "b")], "run_2", hours(1))
    assert [one[-2] for one in versions(database)] == [False, True]
    if database.kind != "duckdb":
        with pytest.raises(Exception, match=r"(?i)unique"):
            database.execute('INSERT INTO clean SELECT * FROM clean WHERE "current"')


GIVEN = "id bigint, name text, amount decimal(10,2)"
INSTANTS = 'valid_from {0} NOT NULL, valid_to {0}, "current" boolean NOT NULL'


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (
            "id bigint, name text, amount decimal(10,2)",
            "valid_from .* is missing; valid_to .*; current .* is missing",
        ),
        (
            f"id bigint PRIMARY KEY, name text, amount decimal(10,2), {INSTANTS}",
            "allows only one version of a row: drop",
        ),
        (
            f"{GIVEN}, {INSTANTS}",
            "no unique index on current rows by the key",
        ),
        (
            f"{GIVEN}, {INSTANTS.replace('valid_to {0}', 'valid_to {0} NOT NULL')}",
            "valid_to must have a value",
        ),
    ],
    ids=["columns", "unique", "index", "valid_to"],
)
def test_a_table_that_can_not_keep_versions(
    database: Database, tmp_path: Path, table: str, words: str
) -> None:
    database.execute(
        f"CREATE TABLE clean ({table.format('text' if database.kind == 'sqlite' else 'timestamp')})"
    )
    if (
        database.kind == "duckdb" and "no unique index" in words
    ):  # it has no partial ones, and one process writes
        assert load(tmp_path, [row(1)], "run_1")["metrics"]["rows_mapped"] == 1
        return
    with pytest.raises(RunFailed, match=words) as caught:
        load(tmp_path, [row(1)], "run_1")
    assert list((tmp_path / "run_1/run").iterdir()) == []
    if "no unique index" in words:
        database.execute(str(caught.value).partition("of the upsert: ")[2])
        assert load(tmp_path, [row(1)], "run_2")["metrics"]["rows_mapped"] == 1


@pytest.mark.parametrize("database", ["sqlite", "duckdb"], indirect=True)
def test_keys_that_a_collation_makes_equal(database: Database, tmp_path: Path) -> None:
    """A run with two of them fails; one of them is the row of the other."""
    columns = {"id": {"required": True, "unique": True}, "name": {}, "amount": COLUMNS["amount"]}
    kind = "text" if database.kind == "sqlite" else "timestamp"
    database.execute(
        f"CREATE TABLE clean (id text COLLATE NOCASE, name text COLLATE NOCASE, amount decimal(10,2), "
        f"{INSTANTS.format(kind)}, _lume_run_id text)"
    )
    if database.kind == "sqlite":
        database.execute('CREATE UNIQUE INDEX one ON clean (id) WHERE "current"')
    load(tmp_path, [{"id": "a", "name": "x", "amount": None}], "run_1", columns=columns)
    load(tmp_path, [{"id": "A", "name": "X", "amount": None}], "run_2", hours(1), columns=columns)
    assert [one[:2] for one in versions(database)] == [("a", "x"), ("A", "X")], (
        "a change of the case is a change"
    )
    both = [{"id": key, "name": "y", "amount": None} for key in ("b", "B")]
    with pytest.raises(RunFailed, match=r"in several rows|2, for the|4 current rows for 2 rows"):
        load(tmp_path, both, "run_3", hours(2), columns=columns)
    assert len(versions(database)) == 2


def test_two_current_rows_of_a_key(database: Database, tmp_path: Path) -> None:
    """Only a stranger makes them, where no index forbids it."""
    load(tmp_path, [row(1, "a")], "run_1", create=True)
    if database.kind != "duckdb":
        database.execute("DROP INDEX clean_one_current")
        with pytest.raises(RunFailed, match="no unique index on current rows"):
            load(tmp_path, [row(1, "a")], "run_2", hours(1))
        return
    database.execute("INSERT INTO clean FROM clean")
    with pytest.raises(RunFailed, match="2 current rows for 1 row of the run: a key has several,"):
        load(tmp_path, [row(1, "a")], "run_2", hours(1))
    assert len(versions(database)) == 2


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
def test_a_refused_version_leaves_the_current_one(database: Database, tmp_path: Path) -> None:
    for statement in (
        created(database, tmp_path)
        .replace('"name" text', "name text CHECK (name <> 'no')")
        .replace('"name" TEXT', "name text CHECK (name <> 'no')")
        .split("; ")
    ):
        database.execute(statement)
    load(tmp_path, [row(1, "a"), row(2, "b")], "run_1")
    rows = [row(1, "no"), row(2, "c"), row(3, "no"), row(4, "d")]
    with pytest.raises(RunFailed, match="refuses the rows"):
        load(tmp_path, rows, "run_2", hours(1))
    assert [one[:2] for one in versions(database)] == [(1, "a"), (2, "b")]
    record = load(tmp_path, rows, "run_3", hours(1), on_violation="reject")
    assert record["metrics"]["rows_rejected"] == 2
    assert [(*one[:2], one[-2]) for one in versions(database)] == [
        *((1, "a", True), (2, "b", False), (2, "c", True), (4, "d", True)),
    ]


def test_a_first_row_that_is_not_an_instant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with table_run.sqlite(tmp_path, monkeypatch) as database:
        load(tmp_path, [row(1, "a")], "run_1", create=True)
        database.execute("UPDATE clean SET valid_from = 'some day'")
        with pytest.raises(RunFailed, match="current row with valid_from = 'some day'"):
            load(tmp_path, [row(1, "b")], "run_2")


@pytest.mark.parametrize("database", ["sqlite", "duckdb"], indirect=True)
def test_the_case_of_the_columns(database: Database, tmp_path: Path) -> None:
    kind = "text" if database.kind == "sqlite" else "timestamp"
    named = INSTANTS.format(kind).replace("valid", "Valid").replace('"current"', '"Current"')
    database.execute(f"CREATE TABLE clean ({GIVEN}, {named}, _lume_run_id text)")
    if database.kind == "sqlite":
        database.execute("CREATE UNIQUE INDEX one ON clean (id) WHERE Current")
    load(tmp_path, [row(1, "a")], "run_1")
    load(tmp_path, [row(1, "b")], "run_2", hours(1))
    assert [one[-2] for one in versions(database)] == [False, True]


def test_without_history_the_names_are_the_flow_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with table_run.sqlite(tmp_path, monkeypatch) as database:
        target = {"url_env": ENV, "table": "clean", "mode": "append", "create": True}
        query = "SELECT NULL AS \"current\", 'x' AS valid_from"
        columns: dict[str, Any] = {"current": {}, "valid_from": {}}
        execute(flow_of(query=query, columns=columns, target={"mapped": target}), tmp_path)
        assert database.execute('SELECT "current", valid_from FROM clean') == [(None, "x")]
