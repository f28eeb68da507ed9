"""Delta tables under kills: three writers and a foreign one at once, and each load is there once or not at all."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import depth
import duckdb
import pytest
from attrs import asdict, define
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError
from local.loads.delta_log import commits_of, rows_of
from local.loads.lake_run import flow_of, job_of
from on_posix import posix_only

from lume_local._shared.commit import committed

ZYGOTE = """
import json, os, signal, sys
import arro3.core, deltalake
from local.one_run import carried_out
from lume_local._shared.protocol import Execute
from lume_local._worker.connection import connect
from lume_local._worker.targets.target_kinds import finish
from pathlib import Path
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    job = json.loads(line)
    if (pid := os.fork()) == 0:
        code = 1
        try:
            if "finish" in job:
                finish(Path(job["finish"]))
            else:
                with connect() as connection:
                    carried_out(connection, Execute(**job))
            code = 0
        finally:
            os._exit(code)
    print(pid, flush=True)
"""
"""Forks a process for each job, so that each has imported everything, and has opened nothing."""


class Processes:
    """Starts processes, from any thread."""

    def __init__(self, zygote: "subprocess.Popen[str]", seed: int) -> None:
        self._zygote, self._lock = zygote, threading.Lock()
        self.random, self.kills = random.Random(seed), 0
        self.takes = 1.0
        """The seconds of a run, by which its kills are spread over all of it."""

    def start(self, job: dict[str, Any]) -> int:
        with self._lock:
            assert self._zygote.stdin is not None
            assert self._zygote.stdout is not None
            self._zygote.stdin.write(json.dumps(job) + "\n")
            self._zygote.stdin.flush()
            return int(self._zygote.stdout.readline())

    def kill(self, pid: int, within: float) -> None:
        """Kill it at a random instant, if it has not ended by then."""
        time.sleep(self.random.random() * within)
        self.kills += self.send(pid, signal.SIGKILL)
        self.join(pid)

    @staticmethod
    def send(pid: int, number: int) -> bool:
        """Send a signal; return whether the process was still there."""
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    @staticmethod
    def join(pid: int) -> None:
        for _ in range(6000):
            if not Processes.send(pid, 0):
                return
            time.sleep(0.01)
        raise AssertionError("a process does not end")


@contextmanager
def processes(seed: int) -> Iterator[Processes]:
    paths = os.pathsep.join(one for one in sys.path if one)
    with subprocess.Popen(
        [sys.executable, "-c", ZYGOTE],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    ) as zygote:
        yield Processes(zygote, seed)
        assert zygote.stdin is not None
        zygote.stdin.close()


@define
class Writer:
    """Runs one flow again and again; `done` has the runs that have committed."""

    name: str
    mapped: dict[str, Any]
    csv: Callable[[int], str]
    done: list[str]

    def run(self, there: Processes, folder: Path, number: int) -> None:
        run_id = f"run_{self.name}_{number}"
        job = job_of(flow_of(self.mapped), folder, self.csv(number), run_id, self.name)
        Path(job.folder).mkdir()
        within = there.takes * there.random.choice([0.3, 0.6, 1.0])
        pid = there.start(asdict(job))
        if there.random.random() < 0.3:  # it stalls, and another process takes over
            time.sleep(there.random.random() * within)
            there.send(pid, signal.SIGSTOP)
            if committed(Path(job.folder)) is not None:
                other = there.start({"finish": job.folder})
                time.sleep(there.random.random() * within / 2)
                there.send(pid, signal.SIGCONT)
                there.join(other)
            else:
                there.send(pid, signal.SIGCONT)
        there.kill(pid, within)
        if committed(Path(job.folder)) is not None:
            there.kill(there.start({"finish": job.folder}), within / 2)
            there.join(there.start({"finish": job.folder}))
            self.done.append(run_id)


def repeated(writer: Writer, there: Processes, folder: Path, kills: int) -> None:
    """Run until that many processes of all writers have been killed."""
    for number in range(10 * kills):
        if there.kills >= kills:
            return
        writer.run(there, folder, number)


def foreign(table: str, is_over: threading.Event, seen: list[int]) -> None:
    """Write rows and compact the table, until it is over."""
    number = 0
    while not is_over.wait(0.15):
        number += 1
        row = duckdb.sql(
            f"SELECT {-number}::BIGINT AS id, 'foreign' AS name, NULL::VARCHAR AS _lume_flow, "
            "NULL::VARCHAR AS _lume_source, NULL::VARCHAR AS _lume_run_id"
        )
        try:
            write_deltalake(table, row, mode="append")
            seen.append(-number)
            if number % 5 == 0:
                DeltaTable(table).optimize.compact()
        except CommitFailedError:
            continue


@posix_only
@pytest.mark.timeout(1200)
def test_nothing_is_lost_or_twice(tmp_path: Path) -> None:
    kills, seed = depth.KILLS if depth.is_thorough else 9, 1
    table = str(tmp_path / "lake/people")
    common = {"delta": table, "create": True, "evolve": "add"}
    writers = [
        Writer(
            "a", common | {"mode": "append"}, lambda n: f"id,name\n{1000 + 2 * n},a\n{1001 + 2 * n},a\n", []
        ),
        Writer("b", common | {"mode": "upsert", "key": ["id"]}, lambda n: f"id,name\n1,{n}\n2,{n}\n", []),
        Writer("c", common | {"mode": "replace_batch"}, lambda n: f"id,name\n{500 + n},c\n{600 + n},c\n", []),
    ]
    # The table is there before its foreign writer.
    setup = job_of(flow_of(common | {"mode": "replace_batch"}), tmp_path, "id,name\n0,x\n", "run_0", "z")
    Path(setup.folder).mkdir()
    is_over, seen = threading.Event(), list[int]()
    with processes(seed) as there:
        began = time.monotonic()
        there.join(there.start(asdict(setup)))
        there.takes = time.monotonic() - began
        other = threading.Thread(target=foreign, args=(table, is_over, seen))
        threads = [threading.Thread(target=repeated, args=(one, there, tmp_path, kills)) for one in writers]
        for thread in (other, *threads):
            thread.start()
        for thread in threads:
            thread.join()
        is_over.set()
        other.join()
    append, upsert, replace = writers
    expected = [(n, "foreign", None) for n in seen] + [(0, "x", "run_0")]
    expected += [
        (1000 + 2 * int(run.rpartition("_")[2]) + k, "a", run) for run in append.done for k in (0, 1)
    ]
    expected += [(k, run.rpartition("_")[2], run) for run in upsert.done[-1:] for k in (1, 2)]
    expected += [(k + int(run.rpartition("_")[2]), "c", run) for run in replace.done[-1:] for k in (500, 600)]
    found = [(row["id"], row["name"], row["_lume_run_id"]) for row in rows_of(Path(table))]
    key = lambda row: tuple(map(str, row))  # noqa: E731
    assert sorted(found, key=key) == sorted(expected, key=key)
    named = [
        one["txn"]["appId"] for actions in commits_of(Path(table)).values() for one in actions if "txn" in one
    ]
    assert len(named) == len(set(named))
    assert there.kills >= kills
