"""A person is forgotten in tables: only rows that runs have loaded, by one transaction a table."""

import os
import signal
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from attrs import evolve
from local import servers
from local.flows import PEOPLE
from local.loads.table_run import ENV, Database, duckdb, sqlite
from local.runs.test_forget import ADA, KILLER, mentions, upload
from local.wire import Wire

from lume_local._shared.person import Person
from lume_local._shared.protocol import Failed, Forget, Forgotten
from lume_local._worker.outputs import forgetting_tables
from lume_local._worker.outputs.forgetting_tables import forget_rows

SOURCE = f"id,Email,Age\n1,{ADA},36\n2,bob@example.org,40\nx,{ADA},7\n3,cy@example.org,x\nonly {ADA}\n"
PLACE, REFUSED = f"table people of {ENV}", f"table refused of {ENV}"


with_deletes = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
"""The kinds of databases from whose tables rows are deleted."""


async def loaded(wire: Wire, name: str = "tabled", **changes: Any) -> dict[str, Any]:
    """A run into both tables."""
    document = tomllib.loads(PEOPLE.replace('"people"', f'"{name}"'))
    mapped = {"url_env": ENV, "table": "people", "mode": "append", "create": True} | changes
    document["target"] = {"mapped": mapped, "rejects": {"url_env": ENV, "table": "refused", "create": True}}
    assert (await wire.ask("PUT", f"/v1/flows/{name}/versions/v1", json=document)).status == 201
    run = await wire.run(f"{name}:v1", await upload(wire, f"{name}.csv", SOURCE.encode()))
    assert run["status"] == "PARTIAL_FAILED", run
    return run


async def of_tables(wire: Wire, match: Mapping[str, str] = {"email": ADA}, **fields: Any) -> tuple[Any, Any]:
    body = {"match": match, "dry_run": False, "tables": True, **fields}
    answer = await wire.ask("POST", "/v1/forget", json=body)
    assert answer.status == 200, answer.document
    assert answer.document["next_cursor"] is None
    return answer.document["tables"], answer.document["left"]


@with_deletes
async def test_rows_that_runs_have_loaded_are_deleted(home: Path, wire: Wire, database: Database) -> None:
    await loaded(wire)
    await loaded(wire, "other")
    database.execute(f"INSERT INTO people (id, email) VALUES (9, '{ADA}')")  # not ours
    found = {PLACE: 2, REFUSED: 4}
    tables, left = await of_tables(wire, dry_run=True, tables=False)
    assert tables == found
    assert set(left) == {PLACE, REFUSED}
    assert left[PLACE].startswith(
        "has 2 rows of runs: repeat it with tables and 1 row that no run has loaded"
    )
    tables, left = await of_tables(wire, dry_run=True)
    assert (tables, set(left)) == (found, {PLACE})
    assert database.execute(f"SELECT count(*) FROM people WHERE email = '{ADA}'") == [(3,)]
    tables, left = await of_tables(wire)
    assert tables == found
    assert left.pop(PLACE).startswith(
        "has 1 row that no run has loaded: look there; or run there: DELETE FROM"
    )
    assert database.execute("SELECT id FROM people ORDER BY id") == [(2,), (2,), (9,)]
    values = [str(row) for (row,) in database.execute("SELECT _lume_values FROM refused")]
    assert ["cy@example.org" in one for one in values] == [True, True]
    acts = (await wire.ask("GET", "/v1/audit", params={"what": "forget"})).document["items"]
    assert {act["subject"]: act["detail"].get("rows") for act in acts} | found == {
        act["subject"]: act["detail"].get("rows") for act in acts
    }
    assert ADA not in str(acts)
    assert [act["detail"]["tables"] for act in acts if act["subject"] == "uploads and texts"] == [6]
    tables, left = await of_tables(wire)
    assert tables == {PLACE: 0, REFUSED: 0}, "it is idempotent"


async def test_a_table_of_duckdb_is_named_with_the_statement(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with duckdb(tmp_path, monkeypatch) as database:
        await loaded(wire)
        tables, left = await of_tables(wire)
        words = "was not searched, or is unchanged: tables of duckdb are left to you"
        assert (tables, left[REFUSED]) == ({}, words)
        assert left[PLACE].startswith(f"{words}; or run there: ")
        database.execute(left[PLACE].split("run there: ")[1])
        assert database.execute("SELECT id FROM people") == [(2,)]


@with_deletes
async def test_the_statement_for_other_rows_is_right(wire: Wire, database: Database) -> None:
    await loaded(wire)
    _, left = await of_tables(wire, tables=False)
    database.execute(left[PLACE].split("run there: ")[1])
    assert database.execute("SELECT id FROM people") == [(2,)]


@with_deletes
async def test_a_table_without_the_column_of_runs_is_only_counted(wire: Wire, database: Database) -> None:
    database.execute("CREATE TABLE people (id bigint, email text, age bigint, country text)")
    await loaded(wire)
    tables, left = await of_tables(wire)
    assert tables[PLACE] == 0
    assert left[PLACE].startswith("has 1 row that no run has loaded")
    assert len(database.execute("SELECT 1 FROM people")) == 2


@with_deletes
async def test_a_table_that_keeps_rows_is_named_and_the_rest_is_done(wire: Wire, database: Database) -> None:
    await loaded(wire)
    if database.kind == "sqlite":
        keeps = "CREATE TRIGGER keeps BEFORE DELETE ON people BEGIN SELECT raise(IGNORE); END"
    else:
        database.execute(
            "CREATE FUNCTION kept() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
        )
        keeps = "CREATE TRIGGER keeps BEFORE DELETE ON people FOR EACH ROW EXECUTE FUNCTION kept()"
    database.execute(keeps)
    tables, left = await of_tables(wire)
    assert tables == {REFUSED: 2}
    assert "keeps 1 of 1 row" in left[PLACE]


@with_deletes
async def test_a_database_that_refuses_quotes_no_value(wire: Wire, database: Database) -> None:
    """PostgreSQL's message has the key of the row."""
    if database.kind == "sqlite":
        pytest.skip("its messages have no values")
    await loaded(wire)
    database.execute("ALTER TABLE people ADD UNIQUE (email)")
    database.execute("CREATE TABLE mail (to_ text REFERENCES people (email))")
    database.execute(f"INSERT INTO mail VALUES ('{ADA}')")
    tables, left = await of_tables(wire)
    assert tables == {REFUSED: 2}
    assert "***" in left[PLACE]
    assert ADA not in left[PLACE].partition("; or run there: ")[0]


@with_deletes
async def test_a_database_that_is_away_is_named(
    wire: Wire, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await loaded(wire)
    monkeypatch.setenv(ENV, "postgresql://lume:s3cret@127.0.0.1:1/none")
    tables, left = await of_tables(wire)
    assert tables == {}
    assert all("can't be reached" in left[one] for one in (PLACE, REFUSED))
    assert "s3cret" not in str(left)


@pytest.mark.parametrize("mode", ["delete", "wal"])
async def test_no_byte_of_a_file_has_the_value(
    home: Path, wire: Wire, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite(home / ".lume", monkeypatch) as database:
        database.execute(f"PRAGMA journal_mode = {mode}")
        await loaded(wire)
        database.execute("CREATE INDEX by_email ON people (email)")
        assert any(one.startswith("warehouse.db") for one in mentions(home / ".lume", ADA))
        _, left = await of_tables(wire)
        assert left == {}
        assert mentions(home / ".lume", ADA) == []


async def test_what_stays_in_free_pages_is_named(
    home: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sqlite(home / ".lume", monkeypatch) as database:
        await loaded(wire)
        database.execute("PRAGMA secure_delete = OFF")
        with closing(sqlite3.connect(home / ".lume/warehouse.db")) as connection, connection:
            connection.execute("PRAGMA secure_delete = OFF")
            connection.execute("DELETE FROM people")
        _, left = await of_tables(wire)
        assert left == {
            str(home / ".lume/warehouse.db"): (
                "still has the values, in other rows or in free pages: look, then run VACUUM there"
            )
        }
        database.execute("DELETE FROM refused")
        with closing(sqlite3.connect(home / ".lume/warehouse.db")) as connection:
            connection.execute("VACUUM")
        assert mentions(home / ".lume", ADA) == []


MADE = """
CREATE TABLE _lume_loads (run_id text, flow text, source_path text, target text);
INSERT INTO _lume_loads VALUES ('r1', 'f', 'a', 't'), ('r2', 'g', 'b', 't');
CREATE TABLE t (_lume_run_id text, a text, n numeric, d date, "o%o" text);
INSERT INTO t VALUES
    ('r1', 'Éa''x', 4711, '2026-01-02', '50%'), ('r1', ' éA''X ', 4712, NULL, NULL),
    ('r2', 'Éa''x', 4711, NULL, NULL), (NULL, 'Éa''x', 4711, NULL, NULL), ('r3', 'b', 1, NULL, '50%');
"""


@pytest.mark.parametrize(
    ("match", "ignore_case", "count", "others"),
    [
        ({"a": "Éa'x"}, False, 1, 2),
        ({"a": "éa'X"}, False, 0, 0),
        ({"a": "éa'X"}, True, 2, 2),
        ({"n": "4711.00"}, False, 1, 2),
        ({"n": "ada"}, False, 0, 0),
        ({"d": "2026-01-02"}, False, 1, 0),
        ({"d": "2026-13-13"}, False, 0, 0),
        ({"o%o": "50%"}, False, 1, 1),
        ({"a": "Éa'x", "n": "4711"}, False, 1, 2),
        ({"a": "Éa'x", "none": "1"}, False, 0, 0),
        ({"a": "x' OR 'x' = 'x"}, False, 0, 0),
    ],
)
@with_deletes
def test_values_are_compared_as_the_column_has_them(
    database: Database, match: dict[str, str], ignore_case: bool, count: int, others: int
) -> None:
    for statement in MADE.split(";")[:-1]:
        database.execute(statement)
    names = [[name] for name in match]
    table = {"url_env": ENV, "table": "t", "part": "mapped", "flows": [["f", names]], "deletes": True}
    found = forget_rows(Forget([*match.values()], ignore_case, table=table))
    assert isinstance(found, Forgotten), found
    assert (found.count, found.others) == (count, others)
    assert database.execute("SELECT count(*) FROM t") == [(5 - count,)]


@with_deletes
def test_only_rows_that_were_counted_are_deleted(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run may load more at that moment. In SQLite it waits."""
    for statement in MADE.split(";")[:-1]:
        database.execute(statement)
    if database.kind == "sqlite":
        return
    kind = forgetting_tables.KINDS["postgresql"]

    @contextmanager
    def watched(*given: Any) -> Iterator[Any]:
        with kind(*given) as table:

            def execute(query: str, values: Any) -> Any:
                if query.startswith("DELETE"):
                    database.execute("INSERT INTO t VALUES ('r1', NULL, 4711, NULL, NULL)")
                return table.execute(query, values)

            yield evolve(table, execute=execute)

    monkeypatch.setitem(forgetting_tables.KINDS, "postgresql", watched)
    table = {"url_env": ENV, "table": "t", "part": "mapped", "flows": [["f", [["n"]]]], "deletes": True}
    assert forget_rows(Forget(["4711"], False, table=table)) == Forgotten(1, others=2)
    assert database.execute("SELECT count(*) FROM t") == [(5,)]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_role_that_reads_only_by_default_deletes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for statement in MADE.split(";")[:-1]:
        database.execute(statement)
    url = os.environ[ENV]
    options = "options=-c%20default_transaction_read_only%3Don"
    monkeypatch.setenv(ENV, f"{url}{'&' if '?' in url else '?'}{options}")
    table = {"url_env": ENV, "table": "t", "part": "mapped", "flows": [["f", [["n"]]]], "deletes": True}
    assert forget_rows(Forget(["4711"], False, table=table)) == Forgotten(1, others=2)
    assert database.execute("SELECT count(*) FROM t") == [(4,)]


@with_deletes
def test_each_flow_has_columns_of_its_own(database: Database) -> None:
    for statement in MADE.split(";")[:-1]:
        database.execute(statement)
    flows = [["f", [["a"]]], ["g", [["n"]]]]
    table = {"url_env": ENV, "table": "t", "part": "mapped", "flows": flows, "deletes": True}
    assert forget_rows(Forget(["4711"], False, table=table)) == Forgotten(1, others=2)


@with_deletes
def test_a_rejects_table_without_runs_is_named(database: Database) -> None:
    for statement in [*MADE.split(";")[:2], "CREATE TABLE refused (_lume_values text)"]:
        database.execute(statement)
    table = {
        "url_env": ENV,
        "table": "refused",
        "part": "rejects",
        "flows": [["f", [["a"]]]],
        "deletes": True,
    }
    found = forget_rows(Forget(["4711"], False, table=table))
    assert isinstance(found, Failed)
    assert "_lume_run_id" in found.message


@pytest.mark.parametrize("value", ["straße", "ǅx", "a.b+c@d", "İ", "x\\y"])
@with_deletes
def test_a_pattern_is_about_any_case(value: str, database: Database) -> None:
    database.execute("CREATE TABLE t (v text)")
    like = "SELECT count(*) FROM t WHERE v ~ %s"
    for one in (value, f" {value.upper()}", value.lower(), f"{value}y"):
        database.execute(f"INSERT INTO t VALUES ('{one}')")
    if database.kind == "postgresql":
        assert database.execute(like, [Person([value]).pattern(value)])[0][0] >= 2


@with_deletes
async def test_a_killed_server_does_the_rest_when_it_is_asked_again(
    home: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = servers.SCRIPT
    async with servers.process(home) as (_, wire):
        await loaded(wire)
    killer = f"from lume_local._runs.sql.sql_audit import SqlAudit\n{KILLER}"
    killer = killer.format(owner="SqlAudit", name="note", before=False)
    monkeypatch.setattr(servers, "SCRIPT", killer + script)
    async with servers.process(home) as (process, wire):
        with suppress(aiohttp.ClientError):
            await of_tables(wire)
            pytest.fail("it was not killed")
        assert await process.wait() == -signal.SIGKILL
    monkeypatch.setattr(servers, "SCRIPT", script)
    assert len(database.execute("SELECT 1 FROM people")) == 2
    async with servers.process(home) as (_, wire):
        await of_tables(wire)
        assert await of_tables(wire) == ({PLACE: 0, REFUSED: 0}, {})
    assert database.execute("SELECT email FROM people") == [("bob@example.org",)]
    assert ADA not in str(database.execute("SELECT * FROM refused"))


KILLED = """
import os, signal
from lume_local._shared.protocol import Forget
from lume_local._worker.outputs import forgetting_tables
{where} = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
forgetting_tables.forget_rows(Forget(["4711"], False, table={table}))
"""


@pytest.mark.parametrize(
    ("where", "left"),
    [("forgetting_tables._check", 5), ("forgetting_tables.Forgotten", 4)],
    ids=["after the DELETE", "after the commit"],
)
@with_deletes
def test_a_process_that_is_killed_leaves_all_rows_or_none(database: Database, where: str, left: int) -> None:
    for statement in MADE.split(";")[:-1]:
        database.execute(statement)
    table = {"url_env": ENV, "table": "t", "part": "mapped", "flows": [["f", [["n"]]]], "deletes": True}
    command = [sys.executable, "-c", KILLED.format(where=where, table=table)]
    assert subprocess.run(command).returncode == -signal.SIGKILL
    assert database.execute("SELECT count(*) FROM t") == [(left,)]
    again = forget_rows(Forget(["4711"], False, table=table))
    assert again == Forgotten(left - 4, others=2)
    assert database.execute("SELECT count(*) FROM t") == [(4,)]
