"""Kills at random instants of processes that write to one Iceberg table at once, with a foreign writer in between."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import depth
import pytest
from attrs import define, field
from local.loads import iceberg
from local.loads.lake_run import flow_of, job_of
from local.one_run import carried_out
from pyiceberg.exceptions import CommitFailedException

from lume_local._shared.commit import committed
from lume_local._worker.connection import connect
from lume_local._worker.targets import target_kinds

MODES: dict[str, dict[str, Any]] = {
    "append": {"mode": "append"},
    "upsert": {"mode": "upsert", "key": ["id"]},
    "batch": {"mode": "replace_batch", "evolve": "add"},
}
HISTORY: dict[str, dict[str, Any]] = {name: MODES["upsert"] | {"history": "scd2"} for name in "abc"}
KINDS = {"modes": MODES, "history": HISTORY}
FOREIGN = "foreign"
ROWS = 40


@define
class Writers:
    """Writes runs in processes of their own, forked from this one, and kills some of them."""

    folder: Path
    modes: dict[str, dict[str, Any]]
    chance: random.Random
    took: float = 0.5
    """Seconds that a run takes, by those that nobody has killed."""
    kills: int = 0
    running: dict[int, tuple[str, str, float]] = field(factory=dict)
    numbers: dict[str, int] = field(factory=dict)
    unfinished: dict[str, str] = field(factory=dict)

    def until(self, kills: int) -> None:
        deadline = time.monotonic() + 1700
        while self.kills < kills or self.running or self.unfinished:
            assert time.monotonic() < deadline
            for name in (*self.modes, FOREIGN):
                if self.kills < kills or name in self.unfinished:
                    self.start(name)
            self.reap()
            time.sleep(0.002)

    def start(self, name: str) -> None:
        if name in (one for one, *_ in self.running.values()):
            return
        run_id = self.unfinished.pop(name, "")
        if name == FOREIGN:
            program: Callable[[], object] = self.foreign
        elif run_id:
            program = self.finisher(run_id)
        else:
            number = self.numbers[name] = self.numbers.get(name, 0) + 1
            run_id = f"{name}_{number}"
            program = self.runner(name, run_id, number)
        is_killed = name != FOREIGN and self.chance.random() < 0.7
        limit = self.chance.uniform(0, 1.2 * self.took) if is_killed else 60.0
        if pid := os.fork():
            self.running[pid] = name, run_id, time.monotonic() + limit
            return
        code = 1
        try:
            program()
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)

    def reap(self) -> None:
        for pid, (name, run_id, end) in list(self.running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done:
                if time.monotonic() > end:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                    self.kills += 1
                    self.unfinished[name] = run_id
                    del self.running[pid]
                continue
            assert status == 0, (name, run_id, status)
            del self.running[pid]

    def runner(self, name: str, run_id: str, number: int) -> Callable[[], None]:
        def run() -> None:
            began = time.monotonic()
            flow = flow_of({"iceberg": "s.t", "catalog": "prod"} | self.modes[name])
            # Half of an upsert's keys are those of the run before; a batch has the rows of the run before.
            first = number * ROWS // 2 if name == "upsert" else 10_000 + number * ROWS
            ids = range(ROWS) if self.modes[name].get("history") else range(first, first + ROWS)
            rows = "".join(f"{one},{run_id}\n" for one in ids)
            at = f"2026-01-01T00:{number // 60:02}:{number % 60:02}+00:00"
            job = job_of(flow, self.folder / "runs", f"id,name\n{rows}", run_id, name, at)
            Path(job.folder).mkdir()
            with connect() as connection:
                carried_out(connection, job)
            (self.folder / "took").write_text(str(time.monotonic() - began))

        with suppress(FileNotFoundError):
            self.took = float((self.folder / "took").read_text() or self.took)
        return run

    def finisher(self, run_id: str) -> Callable[[], object]:
        return lambda: target_kinds.finish(self.folder / "runs" / run_id / "run")

    def foreign(self) -> None:
        import pyarrow

        with iceberg.opened(self.folder) as catalog:
            table = catalog.load_table("s.t")
            rows = [{"id": -1, "name": FOREIGN}]
            with suppress(CommitFailedException):  # pyiceberg gives up after four conflicts
                table.append(
                    pyarrow.Table.from_pylist(rows, schema=table.schema().select("id", "name").as_arrow())
                )


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kind", "kills"),
    [
        ("modes", depth.KILLS if depth.is_thorough else 8),
        ("history", depth.KILLS if depth.is_thorough else 4),
    ],
)
def test_nothing_is_lost_or_written_twice(tmp_path: Path, kind: str, kills: int) -> None:
    folder, modes = tmp_path, KINDS[kind]
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    settings = {
        f"{iceberg.VARIABLE}{name.upper()}": value for name, value in iceberg.settings_of(folder).items()
    }
    # A fresh process: a fork of one that has used Arrow or DuckDB lacks their threads.
    program = [sys.executable, __file__, str(folder), kind, str(kills)]
    ended = subprocess.run(
        program, env=os.environ | paths | settings, capture_output=True, check=False, text=True
    )
    assert ended.returncode == 0, ended.stderr
    numbers = json.loads(ended.stdout)
    loads = iceberg.loads(folder, "s.t")
    ours = [one for one in loads if one and one != "first"]
    runs = {f"{name}_{n + 1}" for name, count in numbers.items() for n in range(count)}
    finished = {one for one in runs if (folder / "runs" / one / "run").exists() and
                committed(folder / "runs" / one / "run") is not None}  # fmt: skip
    assert sorted(ours) == sorted(finished), "each committed run once, and no other"
    if modes is HISTORY:
        return check_history(folder, ours)
    assert found(folder) == expected(loads)


def prepare(writers: Writers) -> None:
    """Create the table in another process."""
    if pid := os.fork():
        assert os.waitpid(pid, 0)[1] == 0
        return
    code = 1
    try:
        with iceberg.opened(writers.folder) as catalog:
            catalog.create_namespace("s")
        history = {"history": "scd2"} if writers.modes is HISTORY else {}
        flow = flow_of(
            {"iceberg": "s.t", "catalog": "prod", "mode": "upsert", "key": ["id"], "create": True} | history
        )
        job = job_of(flow, writers.folder / "runs", "id,name\n", "first")
        Path(job.folder).mkdir()
        with connect() as connection:
            carried_out(connection, job)
        code = 0
    finally:
        os._exit(code)


def found(folder: Path) -> list[tuple[Any, ...]]:
    return iceberg.rows(folder, "s.t", "id, name, _lume_run_id")


def expected(loads: list[str]) -> list[tuple[Any, ...]]:
    """The rows by carrying out the loads one after the other, in the order of the snapshots."""
    rows: list[tuple[Any, ...]] = []
    for load in loads:
        name, _, text = load.partition("_")
        if not load:
            rows.append((-1, FOREIGN, None))
        if not text:
            continue
        first = int(text) * ROWS // 2 if name == "upsert" else 10_000 + int(text) * ROWS
        ids = range(first, first + ROWS)
        if name == "upsert":
            rows = [row for row in rows if row[0] not in ids]
        elif name == "batch":
            rows = [row for row in rows if not row[1].startswith("batch")]
        rows += [(one, load, load) for one in ids]
    return sorted(rows, key=lambda row: (row[0], row[1]))


def check_history(folder: Path, ours: list[str]) -> None:
    """Each run's version of each row follows on the one before, without a gap, and the last one is current."""
    query = "id, name, epoch_us(valid_from), epoch_us(valid_to), current"
    versions: dict[int, list[tuple[Any, ...]]] = {}
    for one, *rest in iceberg.rows(folder, "s.t", query, "id, valid_from"):
        versions.setdefault(one, []).append(tuple(rest))
    kept = {one: found for one, found in versions.items() if one >= 0}
    assert sorted(kept) == (list(range(ROWS)) if ours else [])
    for found in kept.values():
        assert [name for name, *_ in found] == ours
        assert [to for _, _, to, _ in found] == [*(since for _, since, _, _ in found[1:]), None]
        assert [current for *_, current in found] == [*(False for _ in found[1:]), True]


def main(folder: Path, kind: str, kills: int) -> None:
    for module in (
        "duckdb",
        "pyarrow.compute",
        "pyarrow.dataset",
        "pyiceberg.catalog.sql",
        "pyiceberg.io.pyarrow",
    ):
        import_module(module)  # once, instead of in each fork
    writers = Writers(folder, KINDS[kind], random.Random(kills))
    prepare(writers)
    writers.until(kills)
    print(json.dumps(writers.numbers))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
