"""Keys and generations, as tables."""

from types import SimpleNamespace

import pytest

from lume_airflow._identity import TaskTry, in_triggerer, on_worker

PLACE = ("dag", "manual__1", "clean")


def ti(try_number: int, max_tries: int = 0) -> SimpleNamespace:
    return SimpleNamespace(
        dag_id="dag",
        run_id="manual__1",
        task_id="clean",
        map_index=-1,
        try_number=try_number,
        max_tries=max_tries,
    )


def run(*, key: str | None = None, status: str = "FAILED", reused: bool = True) -> SimpleNamespace:
    return SimpleNamespace(
        run_metadata={"airflow": {"key": key}},
        is_terminal=status != "TRANSFORMING",
        has_output=status == "SUCCEEDED",
        reused=reused,
    )


def test_the_same_place_has_the_same_key() -> None:
    assert TaskTry(*PLACE).key(0) == TaskTry(*PLACE, tries=3).key(0)
    assert len(TaskTry(*PLACE).key(0)) < 256


@pytest.mark.parametrize(
    "other",
    [
        TaskTry("dag2", "manual__1", "clean"),
        TaskTry("dag", "manual__2", "clean"),
        TaskTry("dag", "manual__1", "clean2"),
        TaskTry(*PLACE, map_index=0),
        TaskTry(*PLACE, epoch=1),
        TaskTry("dag\x00manual__1", "", "clean"),
    ],
)
def test_another_place_has_another_key(other: TaskTry) -> None:
    assert other.key(0) != TaskTry(*PLACE).key(0)


def test_each_generation_and_each_item_has_its_key() -> None:
    task = TaskTry(*PLACE, tries=3)
    assert len({*task.all_keys(), task.key(0, "a#0"), task.key(0, "a#1"), task.key(1, "a#0")}) == 6


@pytest.mark.parametrize(
    ("try_number", "max_tries", "retries", "tries", "cleared"),
    [
        (1, 0, 0, 1, False),
        (1, 2, 2, 1, False),
        (3, 2, 2, 3, False),  # the second retry
        (2, 1, 0, 1, True),  # cleared after one try
        (4, 5, 2, 1, True),  # cleared after three tries: 3 + 2
        (5, 5, 2, 2, True),  # its first retry
        (1, 3, 0, 1, False),  # the DAG had three retries when the task was made, and never ran
    ],
)
def test_clearing_begins_an_epoch(try_number, max_tries, retries, tries, cleared) -> None:
    task = on_worker(ti(try_number, max_tries), retries, "rerun")

    assert (task.tries, task.cleared, task.epoch) == (tries, cleared, max_tries)


def test_retries_stay_in_their_epoch() -> None:
    first, second = on_worker(ti(4, 5), 2, "rerun"), on_worker(ti(5, 5), 2, "rerun")

    assert first.key(0) == second.key(0)


def test_a_batch_stays_in_its_epoch_over_a_clear() -> None:
    before, after = on_worker(ti(1, 0), 0, "failed"), on_worker(ti(2, 1), 0, "failed")

    assert before.key(0) == after.key(0)
    assert (after.tries, after.cleared) == (2, False)


@pytest.mark.parametrize(
    ("try_number", "delivered", "tries", "cleared"),
    [
        (1, [], 1, False),
        (3, [], 3, False),
        (2, [1], 1, True),
        (5, [1, 3], 2, True),
        (2, [2], 2, False),  # killed between its XComs and its event
        (3, [1, 3], 2, True),
    ],
)
def test_the_triggerer_goes_by_what_was_delivered(try_number, delivered, tries, cleared) -> None:
    task = in_triggerer(ti(try_number), delivered, "rerun")

    assert (task.tries, task.cleared) == (tries, cleared)


def test_a_failure_of_an_earlier_try_is_followed_by_the_next_generation() -> None:
    task = TaskTry(*PLACE, tries=2)

    assert task.needs_next(run(key=task.key(0)), task.key(0), 0)


@pytest.mark.parametrize(
    "seen",
    [
        {"status": "SUCCEEDED"},
        {"status": "TRANSFORMING"},
        {"reused": False},  # it has failed in this very try
        {"key": "airflow-another"},
    ],
)
def test_nothing_else_is(seen) -> None:
    task = TaskTry(*PLACE, tries=2)

    assert not task.needs_next(run(**{"key": task.key(0), **seen}), task.key(0), 0)


def test_there_are_never_more_generations_than_tries() -> None:
    task = TaskTry(*PLACE, tries=2)

    assert not task.needs_next(run(key=task.key(1)), task.key(1), 1)
