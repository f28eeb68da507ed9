"""What every executor must do, as functions that take one: each engine has a test that calls them."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from local.shards import tasks

from lume_local._shards.executor import Executor, ExecutorLost


class Stopped(Exception):
    """What a pause raises here."""


def nothing() -> None:
    pass


def keeps_the_order(executor: Executor) -> None:
    results = executor.map(tasks.double, [{"value": n} for n in range(20)], nothing)
    assert [result["value"] for result in results] == [2 * n for n in range(20)]
    assert list(executor.map(tasks.double, [], nothing)) == []
    assert executor.slots == 2


def begins_a_killed_task_again(executor: Executor, tmp_path: Path) -> None:
    arguments = [{"value": n, "mark": str(tmp_path / str(n))} for n in range(2)]
    assert [one["value"] for one in executor.map(tasks.die_once, arguments, nothing)] == [0, 1]


def gives_up_a_task_that_is_killed_every_time(executor: Executor, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(ExecutorLost):
        list(executor.map(tasks.die, [{"log": str(log)}], nothing))
    assert 1 < len(log.read_text()) <= 4


def stops_its_tasks(executor: Executor, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def pause() -> None:
        if mark.exists() and mark.read_text():
            raise Stopped

    with pytest.raises(Stopped):
        list(executor.map(tasks.beat, [{"mark": str(mark)}], pause))
    limit, last = time.monotonic() + 30, ""
    while (now := mark.read_text()) != last:  # its process may stay for other tasks
        assert time.monotonic() < limit, "the task is still at work"
        last = now
        time.sleep(0.5)
    assert next(iter(executor.map(tasks.double, [{"value": 2}], nothing)))["value"] == 4


def says_what_raised(executor: Executor) -> None:
    with pytest.raises(
        ExecutorLost, match=r"the worker \S+ .*can't do its task: RuntimeError: no such thing"
    ):
        list(executor.map(tasks.fail, [{}], nothing))


def killing(mark: Path, pid_of: Callable[[int], int]) -> Callable[[], None]:
    """A pause that kills, once, the process that goes with the task that has written the mark."""
    killed: list[int] = []

    def pause() -> None:
        if not killed and mark.exists() and (text := mark.read_text()):
            killed.append(pid_of(int(text)))
            os.kill(killed[0], signal.SIGKILL)

    return pause
