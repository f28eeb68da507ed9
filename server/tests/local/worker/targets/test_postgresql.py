"""PostgreSQL's own types, rights and ways to be away."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import postgres_server
import pytest
from components import package
from local.loads import table_run
from local.loads.table_run import ENV, Database, execute, flow_of

from lume_local._flow.definition import Flow
from lume_local._flow.fields import FlowError
from lume_local._worker.databases import postgres as connections
from lume_local._worker.databases.columns import PostgresTypes
from lume_local._worker.databases.database import DatabaseUrl, Load, without_secrets
from lume_local._worker.databases.postgres import PostgresLoader
from lume_local._worker.engine import RunFailed
from lume_local._worker.targets import database_target

TYPES = """
CREATE TABLE kinds (
    n numeric, f double precision, r real, b boolean, d date, t time, ts timestamp, tz timestamptz, j jsonb,
    raw bytea, a integer[], u uuid, i interval, c char(3)
)
"""
VALUES = """
INSERT INTO kinds VALUES (
    123456789012345678901234567890.1234567890, 0.1, 0.1, true, '2024-02-29', '10:00:00.5', '2024-02-29 10:00',
    '2024-02-29 10:00+02', '{"k": [1, "x"]}', '\\x00ff', '{1,NULL,3}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
    '1 day 2 hours', 'x'
), (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
"""
NAMES = ["n", "f", "r", "b", "d", "t", "ts", "tz", "j", "raw", "a", "u", "i", "c"]


@pytest.fixture
def database(postgres: postgres_server.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    with table_run.postgresql(postgres, monkeypatch) as database:
        yield database


def test_every_type_comes_as_one_text(database: Database, tmp_path: Path) -> None:
    database.execute(TYPES)
    database.execute(VALUES)
    database.execute("ALTER ROLE lume SET datestyle = 'German'")
    database.execute("ALTER ROLE lume SET timezone = 'Asia/Tokyo'")
    try:
        flow = flow_of(query="SELECT * FROM kinds", columns={name: {} for name in NAMES})
        execute(flow, tmp_path)
    finally:
        database.execute("ALTER ROLE lume RESET ALL")
    rows = duckdb.sql(
        f"FROM read_ndjson('{tmp_path}/run_1/mapped.ndjson', columns={dict.fromkeys(NAMES, 'VARCHAR')})"
    )
    first, second = rows.fetchall()
    assert first == (
        *("123456789012345678901234567890.1234567890", "0.1", "0.1", "t", "2024-02-29", "10:00:00.5"),
        *("2024-02-29 10:00:00", "2024-02-29 08:00:00+00", '{"k": [1, "x"]}', "\\x00ff", "{1,NULL,3}"),
        *("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "P1DT2H", "x  "),
    )
    assert second == (None,) * len(NAMES)


def test_values_come_back_as_they_were(database: Database, tmp_path: Path) -> None:
    types = {
        "n": ("numeric(38,10)", "number", "DECIMAL(38,10)"),
        "f": ("double precision", "number", "DOUBLE"),
        "r": ("real", "number", "FLOAT"),
        "b": ("boolean", "boolean", "BOOLEAN"),
        "d": ("date", "string", "DATE"),
        "t": ("time", "string", "TIME"),
        "ts": ("timestamp", "string", "TIMESTAMP"),
        "tz": ("timestamptz", "string", "TIMESTAMPTZ"),
        "u": ("uuid", "string", "UUID"),
    }
    database.execute(TYPES)
    database.execute(VALUES)
    database.execute(f"CREATE TABLE clean ({', '.join(f'{name} {one[0]}' for name, one in types.items())})")
    columns = {name: {"type": kind, "sql_type": sql_type} for name, (_, kind, sql_type) in types.items()}
    target = {"mapped": {"url_env": ENV, "table": "public.clean", "mode": "append"}}
    metrics = execute(
        flow_of(
            query="SELECT * FROM kinds WHERE n < 1e28 OR n IS NULL OR n > 0", columns=columns, target=target
        ),
        tmp_path,
    )["metrics"]
    assert metrics["rows_mapped"] == 1, "the other number has too many digits"
    database.execute("UPDATE kinds SET n = 12345678901234567890.0123456789 WHERE n IS NOT NULL")
    execute(
        flow_of(query="SELECT * FROM kinds WHERE n > 0", columns=columns, target=target), tmp_path, "run_2"
    )
    query = f"SELECT {', '.join(types)} FROM {{}} WHERE n IS NOT NULL"
    assert database.execute(query.format("clean")) == database.execute(query.format("kinds"))
    assert database.execute("SELECT count(*) FROM clean") == [(2,)]


def test_a_text_at_which_copy_would_end(database: Database, tmp_path: Path) -> None:
    database.execute("CREATE TABLE clean (v text)")
    target = {"mapped": {"url_env": ENV, "table": "clean", "mode": "append"}}
    values = ["\\.", "", None, "a\n\\.\nb", '"', "\\N", "\r"]
    query = r"""SELECT v FROM (VALUES (1, '\.'), (2, ''), (3, NULL), (4, E'a\n\\.\nb'), (5, '"'),
        (6, '\N'), (7, E'\r')) AS x (n, v) ORDER BY n"""
    execute(flow_of(query=query, columns={"v": {}}, target=target), tmp_path)
    assert [v for (v,) in database.execute("SELECT v FROM clean")] == values


def test_a_role_without_the_right(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute("CREATE TABLE clean (v text)")
    database.execute("CREATE ROLE reader LOGIN PASSWORD 'p'")
    database.execute("GRANT USAGE ON SCHEMA public TO reader")
    database.execute("GRANT SELECT ON clean TO reader")
    monkeypatch.setenv(ENV, re.sub("//.*@", "//reader:p@", postgres_url()))
    target = {"mapped": {"url_env": ENV, "table": "clean", "mode": "append"}}
    try:
        with pytest.raises(RunFailed, match=f"the user of {ENV} has no right to INSERT on clean"):
            execute(flow_of(query="SELECT 'a' AS v", columns={"v": {}}, target=target), tmp_path)
    finally:
        database.execute("DROP OWNED BY reader")
        database.execute("DROP ROLE reader")


def postgres_url() -> str:
    return os.environ[ENV]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("s3cret", "s4cret"), "password authentication failed"),
        (("/postgres", "/nothing"), 'database "nothing" does not exist'),
        (("127.0.0.1:", "127.0.0.1:1"), "does not hold a valid URL|can't be reached"),
        (("%20", "@"), "percent-encoded"),
        (("%20", "%2"), "does not hold a valid|can't be reached"),
        (("%20", "/"), "percent-encoded"),
        (("%20", "#"), "percent-encoded"),
    ],
)
def test_a_wrong_url_says_what_is_wrong_and_no_secret(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], words: str
) -> None:
    monkeypatch.setenv(ENV, postgres_url().replace(*change))
    with pytest.raises(RunFailed, match=words) as caught:
        execute(flow_of(), tmp_path)
    assert not re.search("s3cret|s4cret|ä|C3|p%|%2[^0F3]", str(caught.value))
    assert list((tmp_path / "run_1/run").iterdir()) == []


@pytest.mark.parametrize("password", ["a", "es"])
def test_a_short_password_leaves_the_words_of_a_message(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    database.execute(f"CREATE ROLE short LOGIN PASSWORD '{password}'")
    try:
        monkeypatch.setenv(ENV, re.sub("//.*@", f"//short:{password}@", postgres_url()))
        with pytest.raises(RunFailed, match='relation "nowhere" does not exist'):
            execute(flow_of(query="SELECT * FROM nowhere"), tmp_path)
    finally:
        database.execute("DROP ROLE short")


@pytest.mark.parametrize(
    ("secrets", "message", "left"),
    [
        (("a",), "a table: password=a, token=a", "a table: password=***, token=***"),
        (
            ("a",),
            "no such host: postgresql://a:a@alpha/a?password=a&b=a2",
            "no such host: postgresql://a:***@alpha/a?password=***&b=a2",
        ),
        (("a",), """{"password": "a"} 'a' "aa" a=b""", """{"password": "***"} '***' "aa" a=b"""),
        (("1", "1%"), "line 1\n of 11: :1%@h or x=1%", "line 1 of 11: :***@h or x=***"),
        ((".",), "an end. And :.@", "an end. And :***@"),
        (("p ss", "p%20ss"), "xp ssx p%20ss", "x***x ***"),
        (("abcd", "ab"), "abcdef :ab@", "***ef :***@"),
        ((), " two\n\tlines ", "two lines"),
    ],
)
def test_secrets_in_a_message(secrets: tuple[str, ...], message: str, left: str) -> None:
    assert without_secrets(message, secrets) == left


def test_a_dead_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV, f"postgresql://u:pass@127.0.0.1:{postgres_server.free_port()}/db")
    with pytest.raises(
        RunFailed, match=r"postgresql://127.0.0.1:\d+/db \(WAREHOUSE_URL\) can't be reached: .*refused"
    ):
        execute(flow_of(), tmp_path)


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: str) -> None:
        raise ModuleNotFoundError("a PostgreSQL database needs psycopg: pip install 'lume-local[postgres]'")

    monkeypatch.setattr(connections, "require", missing)
    monkeypatch.setenv(ENV, "postgresql://u:pass@127.0.0.1/db")
    with pytest.raises(RunFailed, match=r"needs psycopg: pip install"):
        execute(flow_of(), tmp_path)


@pytest.mark.parametrize(
    ("given", "sql_type", "fits"),
    [
        ("bigint", "INTEGER", True),
        ("integer", "BIGINT", False),
        ("numeric", "HUGEINT", True),
        ("numeric(20,0)", "UBIGINT", True),
        ("numeric(19,0)", "UBIGINT", False),
        ("numeric(12,2)", "DECIMAL(12,2)", True),
        ("numeric(12,3)", "DECIMAL(12,2)", False),
        ("numeric(13,3)", "DECIMAL(12,2)", True),
        ("real", "DOUBLE", False),
        ("character varying(5)", "VARCHAR", True),
        ("integer", "VARCHAR", False),
        ("timestamp with time zone", "TIMESTAMP", False),
        ("boolean", "DECIMAL(2,1)", False),
    ],
)
def test_which_column_holds_which_type(given: str, sql_type: str, fits: bool) -> None:
    types = PostgresTypes()
    assert types.fits(given, sql_type) is fits
    assert types.fits(types.best(sql_type), sql_type)


def test_a_server_that_ends_while_it_gives_rows(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    psycopg = package("psycopg")
    ended: list[object] = []

    class Cursor(psycopg.RawCursor):  # type: ignore[name-defined,misc]
        def execute(self, query: str, *args: object, **more: object) -> object:
            if "FETCH FORWARD 1000 " in str(query) and not ended:
                ended.append(
                    database.execute("SELECT pg_terminate_backend(%s)", [self.connection.info.backend_pid])
                )
            return super().execute(query, *args, **more)

    monkeypatch.setattr(psycopg, "RawCursor", Cursor)
    with pytest.raises(RunFailed, match="the query was interrupted by postgresql://127"):
        execute(flow_of(query="SELECT id, '' AS name FROM generate_series(1, 5000) AS id"), tmp_path)
    assert ended


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("abcd", 'too long.*(line 2 of the mapped rows, column name: "abcd")'),
        ("ab   ", "too long.*(line 2 of the mapped rows, column name: "),
        ("1", "unique constraint.*(Key (name)=(1) already exists)"),
        (None, "not-null constraint.*(Failing row contains (2, null))"),
    ],
)
def test_the_row_that_is_refused_is_named(
    database: Database, tmp_path: Path, value: str | None, words: str
) -> None:
    database.execute("CREATE TABLE people (id integer, name text)")
    database.execute("INSERT INTO people VALUES (1, 'ok'), (2, %s)", (value,))
    database.execute("CREATE TABLE clean (id bigint, name varchar(3) NOT NULL UNIQUE)")
    database.execute("INSERT INTO clean VALUES (0, '1')")
    target = {"mapped": {"url_env": ENV, "table": "clean", "mode": "append"}}
    with pytest.raises(RunFailed, match=re.escape(words).replace(r"\.\*", ".*")):
        execute(flow_of(target=target), tmp_path)


def test_spaces_that_postgresql_would_cut_off_are_a_reject(database: Database, tmp_path: Path) -> None:
    database.execute("CREATE TABLE people (id integer, name text)")
    database.execute("INSERT INTO people VALUES (1, 'é  '), (2, 'ab  '), (3, '    '), (4, NULL)")
    database.execute("CREATE TABLE clean (id bigint, name varchar(3))")
    target = {"mapped": {"url_env": ENV, "table": "clean", "mode": "append", "on_violation": "reject"}}
    metrics = execute(flow_of(target=target), tmp_path)["metrics"]
    assert metrics["reject_reasons"] == {"clean: value too long for type character varying(3)": 2}
    assert database.execute("SELECT * FROM clean ORDER BY id") == [(1, "é  "), (4, None)]


def test_a_column_whose_name_postgresql_would_cut_is_refused(database: Database, tmp_path: Path) -> None:
    database.execute("CREATE TABLE people (id integer, name text)")
    target = {"mapped": {"url_env": ENV, "table": "clean", "mode": "append", "create": True}}
    columns = {"é" * 32: {"sql": "name"}, "n" * 63: {"sql": "name"}}
    with pytest.raises(RunFailed, match=f"PostgreSQL cuts names off after 63 bytes: {'é' * 32}. Give"):
        execute(flow_of(columns=columns, target=target), tmp_path)
    assert database.execute("SELECT to_regclass('clean')") == [(None,)]


def waiting(database: Database) -> int:
    """How many sessions wait for an advisory lock."""
    ((count,),) = database.execute(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    )
    return int(count)


def test_of_versions_that_load_one_source_at_once_the_last_one_replaces_the_others(
    database: Database, tmp_path: Path
) -> None:
    database.execute("CREATE TABLE clean (id bigint, _lume_run_id text)")
    database.execute("ALTER ROLE lume SET default_transaction_isolation = 'repeatable read'")
    duckdb.sql("SELECT unnest([1, 2]) AS id").write_parquet(str(tmp_path / "rows"))
    url = DatabaseUrl.of(ENV)

    def loader(run_id: str, source_path: str = "b1") -> PostgresLoader:
        columns = [["id", "BIGINT"]]
        one = PostgresLoader(
            url, Load(ENV, "clean", "replace_batch", [], columns, run_id, "people", source_path)
        )
        one.check()
        return one

    def loads(one: PostgresLoader) -> None:
        assert one.fill(shutil.copy(tmp_path / "rows", tmp_path / one._load.run_id))
        one.commit()

    try:
        first, other = loader("run_1"), loader("run_3", "b2")
        assert first.fill(tmp_path / "rows")
        loads(other)  # another source waits for nobody
        with ThreadPoolExecutor() as threads:
            second = threads.submit(loads, loader("run_2"))
            while not (waiting(database) or second.done()):
                time.sleep(0.01)
            first.commit()
            second.result(30)
    finally:
        database.execute("ALTER ROLE lume RESET ALL")
    assert database.execute("SELECT _lume_run_id, count(*) FROM clean GROUP BY 1 ORDER BY 1") == [
        ("run_2", 2),
        ("run_3", 2),
    ]


TROUBLED = """
CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('attempts') <= {times} THEN {what}; END IF;
    RETURN NEW;
END $$
"""
RAISED = "RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '{}'"
ENDED = "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10)"


def troubled(database: Database, times: int, what: str) -> Flow:
    """Its table ends the transactions of the first loads: a sequence keeps counting when they are undone."""
    database.execute("CREATE TABLE people (id integer, name text)")
    database.execute("INSERT INTO people VALUES (2, 'Bo'), (1, 'Al')")
    database.execute("CREATE TABLE clean (id bigint PRIMARY KEY, name text)")
    database.execute("CREATE SEQUENCE attempts")
    database.execute(TROUBLED.format(times=times, what=what))
    database.execute("CREATE TRIGGER t BEFORE INSERT ON clean FOR EACH STATEMENT EXECUTE FUNCTION trouble()")
    return flow_of(target={"mapped": {"url_env": ENV, "table": "clean", "mode": "upsert", "key": ["id"]}})


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_target, "_PAUSES", (0.0, 0.0, 0.0))


@pytest.mark.parametrize("what", [*map(RAISED.format, ("40P01", "57P03")), ENDED])
def test_a_load_that_was_undone_for_others_is_repeated(
    database: Database, tmp_path: Path, no_pauses: None, what: str
) -> None:
    record = execute(troubled(database, 2, what), tmp_path)
    assert record["status"] == "SUCCEEDED"
    assert database.execute("SELECT * FROM clean") == [(1, "Al"), (2, "Bo")]
    assert database.execute("SELECT last_value FROM attempts") == [(3,)]
    assert database.execute("SELECT count(*) FROM _lume_loads") == [(1,)]


def test_a_load_that_is_undone_again_and_again_does_not_blame_the_rows(
    database: Database, tmp_path: Path, no_pauses: None
) -> None:
    flow = troubled(database, 100, RAISED.format("40P01"))
    with pytest.raises(RunFailed) as caught:
        execute(flow, tmp_path)
    assert "refuses" not in str(caught.value)
    assert str(caught.value).startswith(
        f"target.mapped: {database.shown} ended the transaction, which says nothing about the rows (SQLSTATE 40P01): "
        "deadlock detected"
    )
    assert str(caught.value).endswith("(the load was tried 4 times)")
    assert database.execute("SELECT count(*) FROM clean") == [(0,)]


def test_what_the_rows_caused_is_not_repeated(database: Database, tmp_path: Path, no_pauses: None) -> None:
    flow = troubled(database, 100, RAISED.format("23514"))
    with pytest.raises(RunFailed, match=r"clean in .* refuses the rows: deadlock detected"):
        execute(flow, tmp_path)
    assert database.execute("SELECT last_value FROM attempts") == [(1,)]


def test_json_and_arrays(database: Database, tmp_path: Path) -> None:
    """An array comes as PostgreSQL or as JSON writes it."""
    database.execute("CREATE TABLE people (id integer, doc text, n text, t text)")
    rows = [
        ('{"a": [1, null]}', "{1,NULL,3}", '{a,"b c"}'),
        ("[1]", "[1, null, 3]", '["a", "b c"]'),
        ('"x"', "[7]", '["{\\"x\\"}", null, "NULL", ""]'),
        (None, None, None),
        ("null", "[]", "{}"),
        ("1", "[2:3]={4,5}", "[]"),
    ]
    for number, row in enumerate(rows):
        database.execute("INSERT INTO people VALUES (%s, %s, %s, %s)", (number, *row))
    database.execute("CREATE TABLE clean (id bigint PRIMARY KEY, doc jsonb, n integer[], t text[])")
    target = {"mapped": {"url_env": ENV, "table": "clean", "mode": "upsert", "key": ["id"]}}
    columns = {"id": {"type": "integer", "required": True, "unique": True}, "doc": {}, "n": {}, "t": {}}
    execute(flow_of(query="SELECT * FROM people", columns=columns, target=target), tmp_path)
    assert database.execute("SELECT doc, n, t FROM clean ORDER BY id") == [
        ({"a": [1, None]}, [1, None, 3], ["a", "b c"]),
        ([1], [1, None, 3], ["a", "b c"]),
        ("x", [7], ['{"x"}', None, "NULL", ""]),
        (None, None, None),
        (None, [], []),
        (1, [4, 5], []),
    ]
    assert database.execute("SELECT doc IS NULL, array_lower(n, 1) FROM clean WHERE id > 2 ORDER BY id") == [
        (True, None),
        (False, None),
        (False, 2),
    ]


@pytest.mark.parametrize(("kind", "value"), [("jsonb", "{"), ("integer[]", '["x"]'), ("integer[]", "[[1]]")])
def test_a_text_that_is_no_json_or_array(database: Database, tmp_path: Path, kind: str, value: str) -> None:
    database.execute("CREATE TABLE people (id integer, name text)")
    database.execute("INSERT INTO people VALUES (1, %s)", (value,))
    database.execute(f"CREATE TABLE clean (id bigint, name {kind})")
    target = {"mapped": {"url_env": ENV, "table": "clean", "mode": "append"}}
    with pytest.raises(RunFailed, match="refuses the rows: invalid input syntax"):
        execute(flow_of(target=target), tmp_path)


def test_a_name_that_postgresql_would_cut_is_refused() -> None:
    with pytest.raises(FlowError, match="more than 63 bytes"):
        flow_of(target={"mapped": {"url_env": ENV, "table": "ü" * 40, "mode": "append"}})
