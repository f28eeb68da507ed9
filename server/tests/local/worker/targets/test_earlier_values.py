"""`unique = "ever"` where the target is a file: no row repeats a value that an earlier run has accepted."""

import random
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, field, frozen
from local.one_run import carried_out, compiled, fetch, job_of, read_rejects

from lume_local._shared.commit import committed
from lume_local._shared.protocol import Execute
from lume_local._worker.connection import connect
from lume_local._worker.engine import RunFailed
from lume_local._worker.targets import earlier_values, target_kinds
from lume_local._worker.targets.earlier_values import EarlierValues
from lume_local._worker.targets.target import TargetError

ID: dict[str, Any] = {"type": "integer", "required": True, "unique": "ever"}
REPEATS = "id: repeats the value of an earlier run"
Ended = tuple[list[Any], list[tuple[str, str]]]
"""The mapped ids, and number and reasons of each reject."""


@frozen
class Runs:
    """Runs of one flow, each over a file of its own unless told otherwise."""

    folder: Path
    changes: dict[str, Any] = field(factory=lambda: {"columns": {"id": ID, "name": {}}})
    ended: list[str] = field(factory=list)

    def job(self, run_id: str, content: str, source: str = "", **more: Any) -> Execute:
        folder = self.folder / run_id
        (folder / "run").mkdir(parents=True)
        (folder / "source").write_text(content)
        targets = folder / "mapped.parquet", folder / "rejects.csv"
        job = job_of(compiled(**self.changes), folder / "run", [folder / "source"], *targets)
        columns = {name: [len(self.ended), 0] for name in self.changes["columns"] if self._is_ever(name)}
        place = {"path": str(self.path), "source": source or run_id, "columns": columns}
        return evolve(job, **{"run_id": run_id, "earlier": place} | more)

    def _is_ever(self, name: str) -> bool:
        return bool(self.changes["columns"][name].get("unique") == "ever")

    @property
    def path(self) -> Path:
        return self.folder / "values/people.sqlite"

    def execute(self, job: Execute) -> dict[str, Any]:
        with connect() as connection:
            record = carried_out(connection, job)
        if not job.dry_run:
            self.ended.append(job.run_id)
        return record

    def __call__(self, run_id: str, content: str, source: str = "", **more: Any) -> Ended:
        job = self.job(run_id, content, source, **more)
        self.execute(job)
        return self.found(job)

    def found(self, job: Execute) -> Ended:
        folder = self.folder / job.run_id
        mapped = [row[0] for row in fetch(f"{folder}/mapped.parquet")]
        path = folder / "rejects.csv"
        rejects = read_rejects(path.read_bytes(), job.flow) if path.exists() else []
        return mapped, [(row["_lume_row"], row["_lume_reasons"]) for row in rejects]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def test_a_value_of_an_earlier_run_is_rejected(runs: Runs) -> None:
    twin = "id: repeats the value of an earlier row"
    assert runs("run_1", "id,name\n1,a\n2,b\n2,c\n") == ([1, 2], [("3", twin)])
    assert runs("run_2", "id,name\n4,d\n2,e\n3,f\n3,g\n1,h\n") == (
        [4, 3],
        [("2", REPEATS), ("4", twin), ("5", REPEATS)],
    )
    with pytest.raises(RunFailed, match="all 2 rows were rejected"):
        runs("run_3", "id,name\n4,x\n3,y\n")
    assert runs("run_4", "id,name\n4,x\n5,y\n") == ([5], [("1", REPEATS)])


def test_the_newest_run_of_a_source_counts(runs: Runs) -> None:
    """As rows of a table that a batch replaces: forced, a source can be processed again, and with other content."""
    runs("run_1", "id,name\n1,a\n2,b\n", "a.csv")
    runs("run_2", "id,name\n3,c\n", "b.csv")
    assert runs("run_3", "id,name\n2,b\n4,d\n3,x\n", "a.csv") == ([2, 4], [("3", REPEATS)])
    assert runs("run_4", "id,name\n1,z\n2,z\n", "c.csv") == ([1], [("2", REPEATS)])


def test_values_of_any_type_and_no_value(tmp_path: Path) -> None:
    """Those of two columns are apart; a row that is refused for one of them notes none of the other."""
    kinds: dict[str, dict[str, Any]] = {
        "text": {},
        "sum": {"type": "number", "sql_type": "DECIMAL(12,2)"},
        "at": {"format": "date-time"},
    }
    changes = {"columns": {name: {**kind, "unique": "ever"} for name, kind in kinds.items()}}
    runs = Runs(tmp_path, changes)
    header = "text,sum,at\n"
    runs("run_1", header + "é,1.50,2026-01-01T10:00:00Z\n,,\n")
    mapped, rejects = runs(
        "run_2",
        header
        + "É,1.51,\n,2,2026-01-01T11:00:00+01:00\n,1.5,\né,1.5,2026-01-01T10:00:00Z\n1.50,,\nnew,1.50,\n,,\n",
    )
    reasons = {name: f"{name}: repeats the value of an earlier run" for name in kinds}
    assert mapped == ["É", "1.50", None]
    assert rejects == [
        ("2", reasons["at"]),
        ("3", reasons["sum"]),
        (
            "4",
            "; ".join(
                ["sum: repeats the value of an earlier row", "at: repeats the value of an earlier row"]
            ),
        ),
        ("6", "sum: repeats the value of an earlier row"),
    ]
    mapped, rejects = runs("run_3", header + "new,2,\n")
    assert (mapped, rejects) == (["new"], []), "row 6 and row 2 were refused: their other values are free"


@pytest.mark.thorough
def test_of_a_run_that_fails_nothing_is_noted(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunFailed, match="more than rejects"):
        limited = Runs(runs.folder, runs.changes | {"rejects": {"max_ratio": 0.1}})
        limited("run_1", "id,name\n1,a\nx,b\n")
    job = runs.job("dry", "id,name\n1,a\n", dry_run=True)
    assert runs.execute(job)["metrics"]["rows_mapped"] == 1
    assert not earlier_values._open
    assert runs("run_2", "id,name\n1,a\n") == ([1], [])
    record = runs.execute(runs.job("dry_2", "id,name\n1,a\n2,b\n", dry_run=True))
    assert record["metrics"]["reject_reasons"] == {REPEATS: 1}
    assert runs("run_3", "id,name\n2,a\n") == ([2], [])


@pytest.mark.parametrize("lost", ["all", "some", "damaged"])
def test_values_that_are_missing_are_an_error(runs: Runs, lost: str) -> None:
    runs("run_1", "id,name\n1,a\n")
    kept = runs.path.read_bytes()
    runs("run_2", "id,name\n2,a\n")
    runs.path.unlink() if lost == "all" else runs.path.write_bytes(kept if lost == "some" else b"x" * 5000)
    words = {
        "all": "has the values of 0 of 2 runs: restore it",
        "some": "has the values of 1 of 2 runs: restore it",
        "damaged": "file is not a database",
    }
    with pytest.raises(RunFailed, match=words[lost]):
        runs("run_3", "id,name\n1,a\n")
    assert not (runs.folder / "run_3/mapped.parquet").exists()


def test_runs_whose_versions_note_nothing_are_said(runs: Runs) -> None:
    job = runs.job("run_1", "id,name\n1,a\n")
    assert job.earlier is not None
    job = evolve(job, earlier=job.earlier | {"columns": {"id": [0, 3]}})
    warnings = runs.execute(job)["metrics"]["warnings"]
    assert warnings == {
        'id: earlier runs that are not compared, as their versions have no unique = "ever": 3': 1
    }


@pytest.mark.parametrize("meanwhile", [False, True])
def test_a_process_that_takes_over_notes_them_once(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, meanwhile: bool
) -> None:
    """The first one was killed right after its commit: nothing that another run has accepted since is published."""
    runs("run_0", "id,name\n1,a\n", "a.csv")
    job = runs.job("run_1", "id,name\n1,a\n2,b\n3,c\n", "a.csv")
    monkeypatch.setattr(target_kinds, "publish", lambda *_: None)
    runs.execute(job)
    earlier_values._open.pop("run_1").close()
    monkeypatch.undo()
    folder = Path(job.folder)
    assert committed(folder) is not None
    runs.ended.remove("run_1")
    mapped, _ = runs("run_2", "id,name\n2,b\n9,c\n" if meanwhile else "id,name\n9,c\n")
    if meanwhile:
        assert mapped == [2, 9]
        with pytest.raises(TargetError, match="another run has accepted some of its values meanwhile"):
            target_kinds.finish(folder)
        assert not (runs.folder / "run_1/mapped.parquet").exists()
        assert runs("run_3", "id,name\n3,x\n1,y\n") == ([3], [("2", REPEATS)]), "as they were before"
        return
    for _ in range(2):
        target_kinds.finish(folder)
    assert runs.found(job) == ([1, 2, 3], [])
    assert runs("run_3", "id,name\n3,x\n4,y\n1,z\n") == ([4], [("1", REPEATS), ("3", REPEATS)])


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many steps SQLite has taken, as the only item."""
    connect_to, count = earlier_values._connect, [0]

    def step() -> int:
        count[0] += 1
        return 0

    def counted(path: Path) -> sqlite3.Connection:
        connection = connect_to(path)
        connection.set_progress_handler(step, 1)
        return connection

    monkeypatch.setattr(earlier_values, "_connect", counted)
    return count


@pytest.mark.thorough
def test_what_a_run_costs_does_not_depend_on_how_many_there_were(tmp_path: Path, steps: list[int]) -> None:
    taken, chance = [], random.Random(1)
    for earlier in (100, 10_000):
        runs = Runs(tmp_path / str(earlier))
        runs("run_1", "id,name\n1,a\n")
        with closing(sqlite3.connect(runs.path)) as db, db:
            numbers = range(2, earlier)
            db.executemany("INSERT INTO runs VALUES (?, ?, ?)", [(n, f"x{n}", f"s{n}") for n in numbers])
            digests = [(chance.randbytes(16), n) for n in numbers for _ in range(9)]
            db.executemany("INSERT INTO digests VALUES (?, ?)", digests)
        steps[0] = 0
        content = "id,name\n" + "".join(f"{n},x\n" for n in range(50))
        assert runs("run_2", content, "s5")[1] == [("2", REPEATS)]
        taken.append(steps[0])
    few, many = taken
    assert 50 < few <= many <= 1.2 * few


def test_another_run_is_waited_for_but_not_for_ever_and_not_after_a_cancel(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs("run_1", "id,name\n1,a\n")
    place = {"path": str(runs.path), "source": "x", "columns": {"id": [0, 0]}}
    pauses = [0]

    def pause() -> None:
        pauses[0] += 1
        if pauses[0] == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(earlier_values, "_TURN", 0.01)
    with closing(sqlite3.connect(runs.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for name, wait in (("cancelled", pause), ("late", lambda: None)):
            monkeypatch.setattr(earlier_values, "PATIENCE", 0.1 if name == "late" else 60)
            values = EarlierValues(place, runs.folder, name, wait)
            with pytest.raises((KeyboardInterrupt, TargetError)):
                values.judge(runs.folder / "none", lambda step: None)
            EarlierValues.abandon({"run_id": name})
    assert runs("run_2", "id,name\n2,a\n") == ([2], [])


RUNS, AT_ONCE = 12, 4


@pytest.mark.thorough
def test_runs_at_the_same_time_accept_each_value_once(runs: Runs) -> None:
    """Their values overlap; in whatever order they come, each value is mapped once, and each row somewhere."""
    source = random.Random(5)
    values = {f"run_{n}": source.sample(range(60), 25) for n in range(RUNS)}
    jobs = [
        runs.job(run_id, "id,name\n" + "".join(f"{value},x\n" for value in some))
        for run_id, some in values.items()
    ]
    together, failures = threading.Barrier(AT_ONCE), dict[str, str]()

    def run(job: Execute) -> None:
        together.wait(60)
        try:
            with connect() as connection:
                carried_out(connection, job)
        except RunFailed as error:
            failures[job.run_id] = str(error)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(run, jobs))
    assert all("all 25 rows were rejected" in one for one in failures.values()), failures
    found = {job.run_id: runs.found(job) for job in jobs if job.run_id not in failures}
    mapped = sorted(value for accepted, _ in found.values() for value in accepted)
    assert mapped == sorted(set().union(*values.values())), "each of them, once"
    for run_id, (accepted, rejects) in found.items():
        refused = {values[run_id][int(row) - 1] for row, reason in rejects if reason == REPEATS}
        assert len(accepted) + len(rejects) == 25
        assert refused | set(accepted) == set(values[run_id])
    assert not earlier_values._open
