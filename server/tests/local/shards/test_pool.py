"""The executor of one machine."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from local import processes
from local.shards import tasks

from lume_local._shards.engines import pool
from lume_local._shards.engines.pool import Pool
from lume_local._shards.executor import MOST_ATTEMPTS, ExecutorLost
from lume_local._worker.shards.tasks import Made

TESTS = str(Path(__file__).parents[2])


@pytest.fixture(autouse=True)
def processes_find_the_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", TESTS)


def nothing() -> None:
    pass


class Stopped(Exception):
    pass


def test_results_in_the_order_of_the_arguments_from_no_more_processes_than_slots() -> None:
    with Pool(2) as executor:
        results = list(executor.map(tasks.double, [{"value": n} for n in range(20)], nothing))
        pids = executor.pids
        again = list(executor.map(tasks.double, [{"value": 7}], nothing))
    assert [result["value"] for result in results] == [2 * n for n in range(20)]
    assert {result["pid"] for result in [*results, *again]} == set(pids)
    assert len(pids) == 2
    assert all(processes.is_gone(pid) for pid in pids)


def test_no_argument_no_process() -> None:
    with Pool(2) as executor:
        assert list(executor.map(tasks.double, [], nothing)) == []
        assert executor.pids == []


def test_a_task_that_is_lost_every_time_ends_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        Pool(1) as executor,
        pytest.raises(
            ExecutorLost, match=r"lost 3 times: its process in the pool was killed by signal SIGKILL"
        ),
    ):
        list(executor.map(tasks.die, [{"log": str(log)}], nothing))
    assert log.read_text() == "x" * MOST_ATTEMPTS


def stopping_after(mark: Path) -> Callable[[], None]:
    def pause() -> None:
        if mark.exists() and mark.read_text():
            raise Stopped

    return pause


def test_a_pause_that_raises_stops_all_tasks(tmp_path: Path) -> None:
    marks = [tmp_path / str(n) for n in range(2)]
    with Pool(2) as executor:
        with pytest.raises(Stopped):
            list(executor.map(tasks.work_on, [{"mark": str(m)} for m in marks], stopping_after(marks[0])))
        assert executor.pids == []
        assert all(processes.is_gone(int(mark.read_text())) for mark in marks if mark.exists())


def test_whoever_asks_for_no_more_stops_all_tasks(tmp_path: Path) -> None:
    with Pool(2) as executor:
        results = executor.map(
            tasks.double_or_work_on, [{"value": 1}, {"mark": str(tmp_path / "mark")}], nothing
        )
        assert next(results)["value"] == 2
        results.close()  # type: ignore[attr-defined]
        assert all(processes.is_gone(pid) for pid in _written(tmp_path / "mark"))
        assert [one["value"] for one in executor.map(tasks.double, [{"value": 4}], nothing)] == [8]


def _written(mark: Path) -> list[int]:
    return [int(mark.read_text())] if mark.exists() and mark.read_text() else []


class Clock:
    """The time of the pool, in which a minute passes at each pause for as long as one of its processes is stopped.

    So only that one is silent for too long, however slow the machine is.
    """

    def __init__(self) -> None:
        self.now, self.pauses, self.pool = 0.0, 0, Pool(1)

    def monotonic(self) -> float:
        return self.now

    def pause(self) -> None:
        self.pauses += 1
        if any(processes.is_stopped(pid) for pid in self.pool.pids):
            self.now += pool.SILENCE + 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pool, "time", clock)
    return clock


@pytest.mark.thorough
def test_a_silent_process_is_replaced(clock: Clock) -> None:
    with clock.pool as executor, pytest.raises(ExecutorLost, match="lost 3 times"):
        list(executor.map(tasks.stop_itself, [{}], clock.pause))


@pytest.mark.parametrize("bytes_of_a_task", [1_000, 3_000_000])
def test_a_process_that_takes_no_task_is_replaced(clock: Clock, bytes_of_a_task: int) -> None:
    """Stopped, it takes no more than fits into a pipe: whoever waits for it is asked for a pause all the same."""
    with clock.pool as executor:
        assert len(list(executor.map(tasks.double, [{"value": 1}], clock.pause))) == 1
        (stopped,) = executor.pids
        os.kill(stopped, signal.SIGSTOP)
        argument = {"value": 2, "more": "x" * bytes_of_a_task}
        before = clock.pauses
        assert [one["value"] for one in executor.map(tasks.double, [argument], clock.pause)] == [4]
        assert executor.pids != [stopped]
    assert clock.pauses > before + 1


def test_what_a_process_is_told_is_made_when_it_is() -> None:
    """All of it at a time may be more than the memory holds."""
    made: list[int] = []

    def make(number: int) -> dict[str, int]:
        made.append(number)
        return {"value": number}

    with Pool(1) as executor:
        results = executor.map(tasks.double, Made(10, make), nothing)
        assert next(results)["value"] == 0
        assert made == [0]
        assert [one["value"] for one in results] == [2 * n for n in range(1, 10)]


def test_a_function_that_raises_is_not_called_again() -> None:
    with Pool(1) as executor, pytest.raises(ExecutorLost, match="RuntimeError: no such thing"):
        list(executor.map(tasks.fail, [{}], nothing))
