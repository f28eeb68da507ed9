"""The counts that the state file keeps, and the list of runs over 100,000 of them."""

import random
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from local.many_runs import ENDS, add_runs

from lume_local._runs.listing import Wanted
from lume_local._runs.statistics import Count
from lume_local._runs.store import NewRun, Run, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "runs.sqlite")
    yield store
    store.close()


def created(store: Store, source: str, flow: str = "people:v1", *, force: bool = False) -> Run:
    run, is_new = store.create(NewRun(flow, source, f"/{source}", None, force, None, "x"))
    assert is_new
    return run


def ended(store: Store, run: Run, status: str, read: int = 0, rejected: int = 0) -> None:
    for step in ("SYNCING_SOURCE", "TRANSFORMING"):
        store.update(run.run_id, step)
    store.update(run.run_id, status, metrics={"rows_read": read, "rows_rejected": rejected})


def counts(store: Store, *by: str, **options: Any) -> list[Count]:
    wanted = {"since": None, "flow": None, "worst_first": False, "limit": 1000} | options
    return store.statistics.counts(by, **wanted)


def waiting(store: Store, above: float = 0.05, **filters: Any) -> list[str]:
    return [run.source_path for run in store.runs(Wanted(attention=above, **filters), None, 100)]


def test_runs_are_counted_by_where_they_are_now(store: Store) -> None:
    first, second = created(store, "a"), created(store, "b")
    assert counts(store, "status") == [Count({"status": "CREATED"}, 2, 0, 0)]
    ended(store, first, "PARTIAL_FAILED", 10, 3)
    assert counts(store, "status") == [
        Count({"status": "CREATED"}, 1, 0, 0),
        Count({"status": "PARTIAL_FAILED"}, 1, 10, 3),
    ]
    ended(store, second, "SUCCEEDED", 5)
    assert counts(store, "flow_version") == [Count({"flow_version": "people:v1"}, 2, 15, 3)]


def test_the_worst_come_first_and_a_flow_is_all_its_versions(store: Store) -> None:
    for number, (flow, rejected) in enumerate([("a:v1", 1), ("a:v2", 5), ("ab:v1", 9), ("a-b:v1", 0)]):
        ended(store, created(store, f"s{number}", flow), "PARTIAL_FAILED", 10, rejected)
    worst = [count.of["flow_version"] for count in counts(store, "flow_version", worst_first=True, limit=3)]
    assert worst == ["ab:v1", "a:v2", "a:v1"]
    assert [one.of["flow_version"] for one in counts(store, "flow_version", flow="a")] == ["a:v1", "a:v2"]
    assert {run.flow_version for run in store.runs(Wanted(flow="a"), None, 9)} == {"a:v1", "a:v2"}


def test_what_waits_for_a_person(store: Store) -> None:
    for source, status, rejected in [
        ("failed", "FAILED", 0),
        ("crashed", "CRASHED", 0),
        ("bad", "PARTIAL_FAILED", 6),
        ("good enough", "PARTIAL_FAILED", 5),
        ("good", "SUCCEEDED", 0),
        ("given up", "CANCELLED", 0),
    ]:
        ended(store, created(store, source), status, 100, rejected)
    assert waiting(store) == ["bad", "crashed", "failed"]
    assert waiting(store, 1.0) == ["crashed", "failed"]
    assert waiting(store, statuses=["CRASHED"]) == ["crashed"]
    assert waiting(store, source="a") == ["bad", "crashed", "failed"]
    again = created(store, "failed")
    assert waiting(store) == ["bad", "crashed"]
    ended(store, again, "FAILED")
    assert waiting(store) == ["failed", "bad", "crashed"]
    ended(store, created(store, "bad", force=True), "SUCCEEDED", 100)
    assert waiting(store) == ["failed", "crashed"]


def test_an_older_file_is_counted_once_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    Store(path).close()
    add_runs(path, 500)  # without the triggers
    counted = [read(path) for _ in range(2)]
    assert counted[0] == counted[1]
    with closing(sqlite3.connect(path)) as db:
        query = "SELECT flow_version, status, count(*) FROM runs GROUP BY 1, 2 ORDER BY 1, 2"
        expected = [tuple(row) for row in db.execute(query)]
        serious = "SELECT count(*) FROM runs WHERE status IN ('FAILED', 'CRASHED')"
        broken = db.execute(serious).fetchone()[0]
    counts, waits = counted[0]
    assert [(*one.of.values(), one.runs) for one in counts] == expected
    assert waits == broken > 0


def read(path: Path) -> tuple[list[Count], int]:
    with closing(Store(path)) as store:
        wait = store.runs(Wanted(attention=1.0), None, 1000)
        return counts(store, "flow_version", "status"), len(wait)


def test_triggers_count_what_a_query_would(store: Store) -> None:
    source = random.Random(7)
    active = [created(store, f"s{number}", f"f{number % 3}:v1") for number in range(40)]
    for run in source.sample(active, 30):
        ended(store, run, source.choice(ENDS), 10, source.randrange(10))
    now = [store.require(run.run_id) for run in active]
    expected = Counter((run.flow_version, run.status) for run in now)
    rejected = sum(run.metrics.get("rows_rejected", 0) for run in now)
    found = counts(store, "flow_version", "status")
    assert {(one.of["flow_version"], one.of["status"]): one.runs for one in found} == expected
    assert sum(one.rows_rejected for one in found) == rejected


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    path = tmp_path_factory.mktemp("many") / "runs.sqlite"
    Store(path).close()
    add_runs(path, 100_000)
    store = Store(path)
    yield store
    store.close()


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(flow="flow3"),
        Wanted(flow="none"),
        Wanted(source="no such source"),
        Wanted(source="batch-77."),
        Wanted(since="2020", statuses=["CREATED"]),
        Wanted(attention=0.05),
        Wanted(attention=1, source="no such source"),
    ],
    ids=str,
)
def test_a_page_of_100_000_runs_takes_milliseconds(many: Store, wanted: Wanted) -> None:
    assert best(lambda: many.runs(wanted, None, 51)) < 0.15


def test_counts_of_100_000_runs_take_milliseconds(many: Store) -> None:
    assert sum(one.runs for one in counts(many, "status")) == 100_000
    assert best(lambda: counts(many, "hour", "status", limit=10_000)) < 0.15
    assert best(lambda: counts(many, "flow_version", worst_first=True)) < 0.15


def best(ask: Any) -> float:
    """Seconds of the quickest of several attempts: what else the machine does is not the question."""
    taken = []
    for _ in range(5):
        begun = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - begun)
    return min(taken)
