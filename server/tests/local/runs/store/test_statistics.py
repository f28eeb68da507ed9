"""The counts that the state keeps, and the list of runs over many of them."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from local.many_runs import ENDS, add_runs
from local.states import moved

from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.records import Count, NewRun, RunFilter, StoredFlow, StoredRun


async def created(store: SqlStore, source: str, flow: str = "people:v1", *, force: bool = False) -> StoredRun:
    run, is_new = await store.create(NewRun(flow, source, f"/{source}", None, force, None, "x"))
    assert is_new
    return run


async def ended(store: SqlStore, run: StoredRun, status: str, read: int = 0, rejected: int = 0) -> None:
    for step in ("SYNCING_SOURCE", "TRANSFORMING"):
        await moved(store, run.run_id, step)
    await moved(store, run.run_id, status, metrics={"rows_read": read, "rows_rejected": rejected})


async def counts(store: SqlStore, *by: str, **options: Any) -> list[Count]:
    wanted = {"since": None, "flow": None, "worst_first": False, "limit": 1000} | options
    return await store.statistics.counts(by, **wanted)


async def waiting(store: SqlStore, above: float = 0.05, **filters: Any) -> list[str]:
    return [run.source_path for run in await store.runs(RunFilter(attention=above, **filters), None, 100)]


async def test_the_worst_come_first_and_a_flow_is_all_its_versions(store: SqlStore) -> None:
    for number, (flow, rejected) in enumerate([("a:v1", 1), ("a:v2", 5), ("ab:v1", 9), ("a-b:v1", 0)]):
        await store.put_flow(StoredFlow(flow, "", {}, {}, "", ""))
        await ended(store, await created(store, f"s{number}", flow), "PARTIAL_FAILED", 10, rejected)
    worst = [
        count.of["flow_version"] for count in await counts(store, "flow_version", worst_first=True, limit=3)
    ]
    assert worst == ["ab:v1", "a:v2", "a:v1"]
    assert [one.of["flow_version"] for one in await counts(store, "flow_version", flow="a")] == [
        "a:v1",
        "a:v2",
    ]
    assert {run.flow_version for run in await store.runs(RunFilter(flow="a"), None, 9)} == {"a:v1", "a:v2"}


async def test_runs_are_counted_by_the_layouts_of_their_files(store: SqlStore) -> None:
    shop, bank = ({"files": files, "rows_read": rows, "rows_rejected": 1} for files, rows in ((1, 5), (2, 8)))
    for flow, layouts in [
        ("a:v1", {"shop": shop, "bank": bank}),
        ("a:v2", {"shop": shop}),
        ("a:v2", {}),
        ("b:v1", {"shop": shop}),
    ]:
        run = await created(store, f"s{flow}{len(layouts)}", flow)
        await moved(store, run.run_id, "SYNCING_SOURCE")
        metrics = {"rows_read": 13, "rows_rejected": 2, "source": {"layouts": layouts}}
        await moved(store, run.run_id, "PARTIAL_FAILED", metrics=metrics)
    await ended(store, await created(store, "no metrics of its source", "a:v1"), "SUCCEEDED", 3)
    assert await counts(store, "layout", flow="a") == [
        Count({"layout": "bank"}, 1, 8, 1, 2),
        Count({"layout": "shop"}, 2, 10, 2, 2),
    ]
    found = await counts(store, "flow_version", "layout", worst_first=True, limit=2)
    assert [tuple(one.of.values()) for one in found] == [("a:v1", "shop"), ("a:v2", "shop")]
    (day,) = await counts(store, "day", "status", "layout", flow="b", since="2020-01-01T00")
    assert (day.of["status"], day.of["layout"], day.files) == ("PARTIAL_FAILED", "shop", 1)
    assert await counts(store, "layout", flow="b", since="9") == []
    assert {one.files for one in await counts(store, "flow_version")} == {None}


async def test_what_waits_for_a_person(store: SqlStore) -> None:
    for source, status, rejected in [
        ("failed", "FAILED", 0),
        ("crashed", "CRASHED", 0),
        ("bad", "PARTIAL_FAILED", 6),
        ("good enough", "PARTIAL_FAILED", 5),
        ("good", "SUCCEEDED", 0),
        ("given up", "CANCELLED", 0),
    ]:
        await ended(store, await created(store, source), status, 100, rejected)
    assert await waiting(store) == ["bad", "crashed", "failed"]
    assert await waiting(store, 1.0) == ["crashed", "failed"]
    assert await waiting(store, statuses=["CRASHED"]) == ["crashed"]
    assert await waiting(store, source="a") == ["bad", "crashed", "failed"]
    again = await created(store, "failed")
    assert await waiting(store) == ["bad", "crashed"]
    await ended(store, again, "FAILED")
    assert await waiting(store) == ["failed", "bad", "crashed"]
    await ended(store, await created(store, "bad", force=True), "SUCCEEDED", 100)
    assert await waiting(store) == ["failed", "crashed"]


async def test_a_newer_run_of_any_version_removes_the_source(store: SqlStore) -> None:
    """Whatever seeds or layout it brings; not a run of another flow, or of another content of the file."""
    for source in ("a", "b", "c"):
        await ended(store, await created(store, source), "FAILED")
    late = await created(store, "d")
    newer = [await created(store, source, "people:v2") for source in ("a", "d")]
    await ended(store, late, "FAILED")
    assert await waiting(store) == ["c", "b"], "a newer run is under way"
    await created(store, "b", "people-b:v2")
    await store.create(NewRun("people:v2", "c", f"/c#{64 * '0'}", None, False, None, "x"))
    assert await waiting(store) == ["c", "b"]
    await ended(store, newer[0], "FAILED")
    await ended(store, newer[1], "SUCCEEDED")
    assert await waiting(store) == ["a", "c", "b"], "the last run of a has failed again"
    await store.create(NewRun("people:v3", "a", f"/a#seeds:{64 * '0'}", None, False, None, "x"))
    assert await waiting(store) == ["c", "b"]


async def test_triggers_count_what_a_query_would(store: SqlStore) -> None:
    source = random.Random(7)
    active = [await created(store, f"s{number}", f"f{number % 3}:v1") for number in range(40)]
    for run in source.sample(active, 30):
        await ended(store, run, source.choice(ENDS), 10, source.randrange(10))
    now = [await store.require(run.run_id) for run in active]
    expected = Counter((run.flow_version, run.status) for run in now)
    rejected = sum(run.metrics.get("rows_rejected", 0) for run in now)
    found = await counts(store, "flow_version", "status")
    assert {(one.of["flow_version"], one.of["status"]): one.runs for one in found} == expected
    assert sum(one.rows_rejected for one in found) == rejected


MANY = 20_000
"""Runs."""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteStore]:
    path = tmp_path_factory.mktemp("many") / "runs.sqlite"
    SqliteStore(path).close()
    add_runs(path, MANY)
    store = SqliteStore(path)
    yield store
    store.close()


@pytest.mark.parametrize(
    "wanted",
    [
        RunFilter(),
        RunFilter(flow="flow3"),
        RunFilter(flow="none"),
        RunFilter(source="no such source"),
        RunFilter(source="batch-77."),
        RunFilter(since="2020", statuses=["CREATED"]),
        RunFilter(attention=0.05),
        RunFilter(attention=1, source="no such source"),
    ],
    ids=str,
)
async def test_a_page_of_many_runs_takes_milliseconds(many: SqliteStore, wanted: RunFilter) -> None:
    assert await steps(many, lambda: many.runs(wanted, None, 51)) < MOST_STEPS


async def test_counts_of_many_runs_take_milliseconds(many: SqliteStore) -> None:
    assert sum(one.runs for one in await counts(many, "status")) == MANY
    assert await steps(many, lambda: counts(many, "hour", "status", limit=10_000)) < MOST_STEPS
    assert await steps(many, lambda: counts(many, "flow_version", worst_first=True)) < MOST_STEPS


MOST_STEPS = 6 * MANY
"""Of SQLite's own machine, which does tens of millions in a second: a few for each run, in an index."""


async def steps(store: SqliteStore, ask: Callable[[], Awaitable[object]]) -> int:
    """How many steps a question takes, to the nearest thousand; unlike seconds, the same on a busy machine."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1000
        return 0

    store._db.set_progress_handler(count, 1000)
    await ask()
    store._db.set_progress_handler(None, 0)
    return taken


async def mend(
    store: SqlStore, of: StoredRun, name: str, status: str, read: int = 0, rejected: int = 0
) -> StoredRun:
    new = NewRun("people:v1", name, f"/{name}", {"resubmit_of": of.run_id}, False, None, name)
    run, _ = await store.create(new)
    await ended(store, run, status, read, rejected)
    return run


async def test_a_run_waits_until_all_its_rejects_were_processed_again(store: SqlStore) -> None:
    bad = await created(store, "bad")
    await ended(store, bad, "PARTIAL_FAILED", 10, 4)
    first = await mend(store, bad, "one", "SUCCEEDED", 1)
    assert await waiting(store) == ["bad"], "three are left"
    failed = await mend(store, bad, "broken", "FAILED")
    assert await waiting(store) == ["broken", "bad"]
    rest = await mend(store, bad, "rest", "PARTIAL_FAILED", 3, 1)
    assert await waiting(store) == ["rest"], (
        "what it rejected again is its own; the failed attempt is settled"
    )
    last = await mend(store, rest, "last", "SUCCEEDED", 1)
    assert await waiting(store) == []
    links = await store.attention.of(bad.run_id)
    assert (links.mends, links.mended_by) == (None, (rest.run_id, failed.run_id, first.run_id))
    links = await store.attention.of(rest.run_id)
    assert (links.mends, links.mended_by) == (bad.run_id, (last.run_id,))
    assert (await store.require(bad.run_id)).rev > bad.rev + 3, "its ETag is another one"


async def test_a_run_that_is_dismissed_waits_no_more(store: SqlStore) -> None:
    bad, other = await created(store, "bad"), await created(store, "other")
    for run in (bad, other):
        await ended(store, run, "FAILED")
    await store.attention.dismiss(bad.run_id, "known", "ann")
    assert await waiting(store) == ["other"]
    links = await store.attention.of(bad.run_id)
    assert links.dismissed is not None
    assert links.dismissed["why"] == "known"
    await ended(store, await created(store, "bad"), "FAILED")
    assert await waiting(store) == ["bad", "other"], "another run of the source"


async def test_metadata_that_only_looks_like_a_link(store: SqlStore) -> None:
    bad = await created(store, "bad")
    await ended(store, bad, "PARTIAL_FAILED", 10, 4)
    for number, metadata in enumerate(
        [{"resubmit_of": 7}, {"resubmit_of": None}, {"resubmit_of": "no such run"}, {}]
    ):
        run, _ = await store.create(NewRun("f:v1", "x", f"/x{number}", metadata, False, None, "x"))
        await ended(store, run, "SUCCEEDED", 100)
    assert await waiting(store) == ["bad"]
    assert (await store.attention.of(bad.run_id)).mended_by == ()
