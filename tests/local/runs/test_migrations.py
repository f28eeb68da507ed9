"""A state of each released form is opened, brought to the present one, and stays as it was beside it."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import lume_local
from lume_local._runs.sql.tables import VERSION
from lume_local._runs.sqlite import migrations
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.records import NewRun, RunFilter, StoreError

STATES = {int(path.stem.rpartition("-")[2]): path for path in (Path(__file__).parent / "states").iterdir()}
"""As servers of earlier releases have written them."""


def written(form: int, path: Path) -> Path:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(STATES[form].read_text())
    return path


def tables(path: Path) -> dict[str, object]:
    """Tables with their columns, indexes and triggers."""
    with closing(sqlite3.connect(path)) as db:
        names = db.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
        return {
            name: kind if kind != "table" else db.execute(f"PRAGMA table_info({name})").fetchall()
            for kind, name in names
        }


def test_there_is_a_state_of_each_earlier_form() -> None:
    assert sorted(STATES) == sorted(migrations.STEPS) == list(range(1, VERSION))


@pytest.mark.parametrize("form", STATES)
async def test_a_state_of_an_earlier_form(
    form: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, new = written(form, tmp_path / "runs.sqlite"), tmp_path / "new"
    store = SqliteStore(path)
    try:
        runs = await store.runs(RunFilter(), None, 10)
        assert [(run.source_path, run.status) for run in runs] == [
            *(("worse.csv", "FAILED"), ("bad.csv", "PARTIAL_FAILED"), ("good.csv", "SUCCEEDED"))
        ]
        assert (await store.attention.of(runs[0].run_id)).dismissed is not None
        assert [flow.ref for flow in await store.flows()] == ["people:v1"]
        run, _ = await store.create(NewRun("people:v1", "c", "/c", None, False, None, "", submitted_by="me"))
        assert (await store.next_waiting([])) == run
    finally:
        store.close()
    SqliteStore(new).close()
    assert tables(path) == tables(new)
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert (
        f"is now in form {VERSION} of the state, it was in form {form}: {path}.form-{form} is a copy" in said
    )
    with closing(sqlite3.connect(f"{path}.form-{form}")) as copy:
        assert copy.execute("PRAGMA user_version").fetchone() == (form,)
        assert copy.execute("SELECT count(*) FROM runs").fetchone() == (3,)


@pytest.mark.parametrize("form", STATES)
async def test_a_flow_version_of_an_earlier_release_reads_corrected_rejects(
    form: int, tmp_path: Path
) -> None:
    state = tmp_path / "data/state"
    state.mkdir(parents=True)
    written(form, state / "runs.sqlite")
    (tmp_path / "mended.csv").write_text("_lume_row,_lume_line,_lume_reasons,id,Name,_lume_raw\n2,,,7,b,\n")
    async with lume_local.serve(None, state.parent, [tmp_path]) as server, server.client() as client:
        run = await (await client.run("people:v1", "mended.csv")).wait()
        assert [row async for row in run.mapped()] == [{"id": 7, "name": "b"}]


def test_a_step_that_fails_changes_nothing_and_is_done_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(1, tmp_path / "runs.sqlite")
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", {1: f"{migrations.STEPS[1]} SELECT broken;"})
        with pytest.raises(StoreError, match="broken"):
            SqliteStore(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert "turn" not in {row[1] for row in db.execute("PRAGMA table_info(runs)")}
    SqliteStore(path).close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_who_goes_back_and_upgrades_again_has_a_copy_from_before_that(tmp_path: Path) -> None:
    path = written(1, tmp_path / "runs.sqlite")
    SqliteStore(path).close()
    copy = tmp_path / "runs.sqlite.form-1"
    path.write_bytes(copy.read_bytes())
    with closing(sqlite3.connect(path, isolation_level=None)) as db:  # by the earlier release
        db.execute("DELETE FROM runs WHERE source_path = 'worse.csv'")
    SqliteStore(path).close()
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (2,)
