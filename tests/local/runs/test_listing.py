"""A page of the list holds what the filters ask for, whichever index finds it."""

import random
from itertools import product

from local.states import moved

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
    )


async def test_pages_hold_each_run_that_is_wanted_once(store: SqlStore) -> None:
    dice, runs = random.Random(7), list[StoredRun]()
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
        ([], ["FAILED"], ["SUCCEEDED", "FAILED"]),
        (None, "3/"),
    )
    for key, ref, flow, statuses, source in choices:
        wanted = RunFilter(ref, flow, None, source, statuses, submitted_by=key)
        found, before = list[StoredRun](), None
        while page := await store.runs(wanted, before, 5):
            assert len(page) <= 5
            found, before = found + page, page[-1].seq
        assert found == [run for run in runs if is_wanted(run, wanted)], wanted
