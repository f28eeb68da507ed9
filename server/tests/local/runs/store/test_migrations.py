"""A state of each released form is opened, brought to the present one, and stays as it was beside it."""

import logging
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import lume_local
from lume_local._runs.postgres.postgres_tables import TABLES
from lume_local._runs.sql.schemas import FINGERPRINTS, fingerprint, part
from lume_local._runs.sql.tables import VERSION
from lume_local._runs.sqlite import migrations
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.audit import ActFilter
from lume_local._runs.store.records import Duplicate, NewRun, RunFilter, StoreError

STATES = {path.stem: path for path in (Path(__file__).parent / "states").glob("form-*.sql")}
"""As servers of earlier releases have written them. Form 2 was given twice: the first time until 90e5a3b."""
RUNS = {
    "form-1": ["worse.csv FAILED", "bad.csv PARTIAL_FAILED", "good.csv SUCCEEDED"],
    "form-2-of-90e5a3b": [
        *("waits.csv CREATED", "slow.csv TRANSFORMING", "worse.csv FAILED", "bad.csv PARTIAL_FAILED"),
        "good.csv SUCCEEDED",
    ],
    "form-2": [
        *("waits.csv CREATED", "slow.csv TRANSFORMING", "replay PARTIAL_FAILED"),
        *("b.csv PARTIAL_FAILED", "a.csv SUCCEEDED", "worse.csv FAILED", "bad.csv PARTIAL_FAILED"),
        "good.csv SUCCEEDED",
    ],
}
RUNS["form-3"] = RUNS["form-2"]
FROZEN = {
    ("sqlite", 3): "88aeef63f604d026",
    ("sqlite", 4): "fc883c12e7d81f8d",
    ("postgresql", 3): "bbeaf4f674f7bb10",
    ("postgresql", 4): "a7d5bebbf27108a4",
}
"""The schema of each form. An entry never changes: another schema is another form, with a step to it."""
FROZEN_TEXT = {3: "8fffb2ab46", 4: "25fe40cefb"}
"""The same for all that PostgreSQL is told, since it shows conditions of indexes in words of its own."""


def number(name: str) -> int:
    return int(name.split("-")[1])


def written(name: str, path: Path) -> Path:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(STATES[name].read_text())
    return path


def content(path: Path) -> dict[str, list[dict[str, object]]]:
    """The rows of all tables, without what each start of a server changes."""
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: [dict(row) for row in db.execute(f"SELECT * FROM {name}")] for name in names}
    del found["sqlite_sequence"]
    found["facts"] = [one for one in found["facts"] if one["name"] == "store_id"]
    for run in found["runs"]:
        del run["rev"]
    return found


def tables(path: Path) -> dict[str, object]:
    """Tables with their columns, indexes and triggers."""
    with closing(sqlite3.connect(path)) as db:
        names = db.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'"
        ).fetchall()
        return {
            name: part(sql) if kind != "table" else db.execute(f"PRAGMA table_info({name})").fetchall()
            for kind, name, sql in names
        }


def test_there_is_a_state_of_each_earlier_form() -> None:
    assert sorted({*map(number, STATES)}) == sorted(migrations.STEPS) == list(range(1, VERSION))


@pytest.mark.parametrize("name", STATES)
def test_nothing_of_an_earlier_form_is_lost(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, new = written(name, tmp_path / "runs.sqlite"), tmp_path / "new"
    before = content(path)
    for state in (path, new):
        SqliteStore(state).close()
    after = content(path)
    for table, rows in before.items():
        assert len(after[table]) == len(rows)
        for row, now in zip(rows, after[table], strict=True):
            assert row.items() <= now.items(), table
    assert tables(path) == tables(new)
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    copy = f"{path}.form-{number(name)}"
    assert f"in form {VERSION} of the state, it was in form {number(name)}: {copy} is a copy" in said
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (number(name),)
    assert content(Path(copy)) == before


@pytest.mark.parametrize("name", STATES)
async def test_a_state_of_an_earlier_form_is_used(name: str, tmp_path: Path) -> None:
    with closing(SqliteStore(written(name, tmp_path / "runs.sqlite"))) as store:
        runs = await store.runs(RunFilter(), None, 10)
        found = [
            f"{re.sub('lume-replay-.*', 'replay', Path(run.source_path).name)} {run.status}" for run in runs
        ]
        assert found == RUNS[name]
        assert "people:v1" in [flow.ref for flow in await store.flows()]
        run, _ = await store.create(NewRun("people:v1", "c", "/c", None, False, None, "", submitted_by="me"))
        assert await store.next_waiting([one.run_id for one in runs]) == run
        if name == "form-1":
            assert (await store.attention.of(runs[0].run_id)).dismissed is not None
            return
        good, bad, slow, waits = runs[-1], runs[-2], runs[1], runs[0]
        keys = [await store.run_of_key(f"order-{n}") for n in range(1, 5)]
        assert keys == [one.run_id for one in (good, bad, slow, waits)]
        assert await store.deliveries.pending() == 2
        with pytest.raises(Duplicate):
            await store.create(NewRun("people:v1", "good.csv", good.source_key, None, False, None, ""))
        if name in ("form-2", "form-3"):
            inbox = await store.ledger.inbox("people", "2026-01-01")
            assert {one.reason: one.open for one in inbox} == {None: 3, "id: is not a valid integer": 3}
            fate = await store.ledger.fate(bad.run_id)
            assert fate is not None
            assert [ending.state for ending in fate.endings] == ["discarded"]
            acts = [noted.act.what for noted in await store.audit.acts(ActFilter(), None, 10)]
            assert acts == ["replay", "discard", "register_flow", "register_flow"]
            assert await store.arrivals.counts("acme") == (2, 0)
            (row,) = await store.drafts.rows("people", "server", None, 10)
            assert row.cells == {"id": "7"}


def test_a_trigger_that_an_earlier_step_has_left_is_replaced(tmp_path: Path) -> None:
    """Releases in form 2 have brought a state of form 1 to it with the trigger that it had."""
    with closing(sqlite3.connect(written("form-1", tmp_path / "first"))) as db:
        (old,) = db.execute("SELECT sql FROM sqlite_master WHERE name = 'mend_created'").fetchone()
    path = state_with(tmp_path / "runs.sqlite", f"DROP TRIGGER mend_created; {old}", "form-2")
    for state in (path, tmp_path / "new"):
        SqliteStore(state).close()
    assert tables(path) == tables(tmp_path / "new")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_form_is_one_schema(kind: str) -> None:
    """If the schema changes, raise VERSION, add a step to it, a state of the present form and the fingerprints."""
    frozen = {one: print_ for one, print_ in FROZEN.items() if one[0] == kind}
    assert frozen == {one: print_ for one, print_ in FINGERPRINTS.items() if one[0] == kind}
    assert max(form for _, form in frozen) == VERSION


def test_the_schema_of_a_new_state_is_that_of_its_form(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "new").close()
    with closing(sqlite3.connect(tmp_path / "new")) as db:
        assert fingerprint(migrations.parts(db)) == FROZEN["sqlite", VERSION]
    assert part(TABLES) == FROZEN_TEXT[VERSION]


def state_with(path: Path, statement: str, name: str | None = None) -> Path:
    """A state that somebody has changed: of an earlier form, or a new one."""
    if name is None:
        SqliteStore(path).close()
    else:
        written(name, path)
    with closing(sqlite3.connect(path)) as db:
        db.executescript(statement)
    return path


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE runs ADD COLUMN tenant TEXT",
        "DROP TRIGGER run_ended",
        "DROP INDEX by_source; CREATE INDEX by_source ON runs (source_path)",
        "CREATE TABLE arrived (place TEXT)",
        "ALTER TABLE runs ADD COLUMN submitted_by TEXT",
    ],
)
def test_the_tables_of_a_build_between_two_releases_are_refused_and_stay(
    name: str, statement: str, tmp_path: Path
) -> None:
    if name in ("form-2", "form-3"):
        statement = statement.replace("arrived", "arriving").replace("submitted_by", "submitted_with")
    path = state_with(tmp_path / "runs.sqlite", statement, name)
    before = content(path)
    words = f"is in form {number(name)} of the state, with other tables than .* Start that build, or restore"
    with pytest.raises(StoreError, match=words):
        SqliteStore(path)
    assert content(path) == before
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (number(name),)
    assert not list(tmp_path.glob("*.form-*"))


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DROP INDEX by_source", "index by_source was removed. Undo that"),
        ("CREATE INDEX mine ON runs (rev)", "index mine was added. Undo that"),
        (
            "ALTER TABLE runs ADD COLUMN x TEXT; DROP TABLE seeds",
            "table runs was changed, table seeds was removed",
        ),
        (
            "CREATE TABLE a(x); CREATE TABLE b(x); CREATE TABLE c(x); CREATE TABLE d(x)",
            "table c was added, …. Undo",
        ),
        (
            "DROP INDEX by_source; DELETE FROM facts WHERE name = 'schema'",
            "a build from between two releases",
        ),
    ],
)
def test_a_state_of_this_form_with_another_schema_is_refused(
    statement: str, words: str, tmp_path: Path
) -> None:
    path = state_with(tmp_path / "runs.sqlite", statement)
    with pytest.raises(StoreError, match=words):
        SqliteStore(path)


def test_another_build_that_gave_the_same_number_to_its_tables_is_named(tmp_path: Path) -> None:
    path = state_with(tmp_path / "runs.sqlite", "ALTER TABLE runs ADD COLUMN x TEXT")
    with closing(sqlite3.connect(path)) as db, db:
        migrations.note_parts(db)
        db.execute("UPDATE facts SET value = '7.8.9' WHERE name = 'written_by'")
    with pytest.raises(
        StoreError, match=rf"in form {VERSION} .* with other tables .*\(lume-client 7\.8\.9\)"
    ):
        SqliteStore(path)


@pytest.mark.parametrize("name", ["form-1", "form-3"])
async def test_a_flow_version_of_an_earlier_release_reads_corrected_rejects(
    name: str, tmp_path: Path
) -> None:
    state = tmp_path / "data/state"
    state.mkdir(parents=True)
    written(name, state / "runs.sqlite")
    (tmp_path / "mended.csv").write_text("_lume_row,_lume_line,_lume_reasons,id,Name,_lume_raw\n2,,,7,b,\n")
    async with lume_local.serve(None, state.parent, [tmp_path]) as server, server.client() as client:
        run = await (await client.run("people:v1", "mended.csv")).wait()
        assert [row async for row in run.mapped()] == [{"id": 7, "name": "b"}]


def test_a_step_that_fails_changes_nothing_and_is_done_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written("form-1", tmp_path / "runs.sqlite")
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", {**migrations.STEPS, 2: "SELECT broken;"})
        with pytest.raises(StoreError, match="with other tables"):
            SqliteStore(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert "turn" not in {row[1] for row in db.execute("PRAGMA table_info(runs)")}
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_who_goes_back_and_upgrades_again_has_a_copy_from_before_that(tmp_path: Path) -> None:
    path = written("form-1", tmp_path / "runs.sqlite")
    SqliteStore(path).close()
    copy = tmp_path / "runs.sqlite.form-1"
    path.write_bytes(copy.read_bytes())
    with closing(sqlite3.connect(path, isolation_level=None)) as db:  # by the earlier release
        db.execute("DELETE FROM runs WHERE source_path = 'worse.csv'")
    SqliteStore(path).close()
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (2,)
