"""A page of the list holds what the filters ask for, whichever index finds it."""

import random
from functools import partial
from itertools import product

import pytest
from local.states import moved

from lume_local._runs.sql import sql_store
from lume_local._runs.sql.run_rows import _is_search
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import NewRun, RunFilter, StoredFlow, StoredRun

KEYS, FLOWS, STATUSES = ("ann", "bob", None), ("a:v1", "a:v2", "b:v1"), ("CREATED", "SUCCEEDED", "FAILED")


def is_wanted(run: StoredRun, wanted: RunFilter) -> bool:
    return (
        wanted.submitted_by in (None, run.submitted_by)
        and wanted.flow_version in (None, run.flow_version)
        and wanted.flow in (None, run.flow_version.partition(":")[0])
        and (not wanted.statuses or run.status in wanted.statuses)
        and (wanted.source or "") in run.source_path
        and (wanted.since or "") <= run.created_at
    )


async def test_pages_hold_each_run_that_is_wanted_once(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the clock is set back now and then: several runs have one time, and numbers another order."""
    dice, runs = random.Random(7), list[StoredRun]()
    monkeypatch.setattr(sql_store, "now_text", lambda: f"2026-01-{dice.randint(1, 28):02}T00:00:00.000000Z")
    for ref in FLOWS:
        await store.put_flow(StoredFlow(ref, "hash", {}, {}, "engine", "2026"))
    for n in range(60):
        ref, source = dice.choice(FLOWS), f"{n % 7}/{n}.csv"
        new = NewRun(ref, source, source, None, False, None, "", submitted_by=dice.choice(KEYS))
        run, _ = await store.create(new)
        status = dice.choice(STATUSES)
        runs.insert(0, run if status == "CREATED" else await moved(store, run.run_id, status))
    choices = product(
        ("ann", "eve", None),
        (None, "a:v1", "c:v1"),
        (None, "a"),
        ([], ["FAILED"], ["SUCCEEDED", "FAILED", "FAILED"], ["UNKNOWN"]),
        (None, "3/"),
        (None, "2026-01-09", "2027"),
    )
    for key, ref, flow, statuses, source, since in choices:
        wanted = RunFilter(ref, flow, None, source, statuses, since, submitted_by=key)
        found, before = list[StoredRun](), None
        while page := await store.runs(wanted, before, 5):
            assert len(page) <= 5
            found, before = found + page, page[-1].seq
        expected = [run for run in runs if is_wanted(run, wanted)]
        if _is_search(wanted):
            expected.sort(key=lambda run: (run.created_at, run.seq), reverse=True)
        assert found == expected, wanted


async def test_a_page_comes_after_a_run_that_was_removed(store: SqlStore) -> None:
    runs = [(await store.create(NewRun("a:v1", f"{n}", f"{n}", None, False, None, "")))[0] for n in range(4)]
    first = await store.runs(RunFilter(since="2020"), None, 2)
    assert first == [runs[3], runs[2]]
    for removed in (runs[2:3], runs[3:]):
        for run in removed:
            await store.sql.write(partial(store.sql.changed, "DELETE FROM runs WHERE seq = ?", [run.seq]))
        assert await store.runs(RunFilter(since="2020"), first[-1].seq, 2) == [runs[1], runs[0]]
