"""A flow has recovered once nothing of it waits for a person: no run that the console lists, no refused file."""

import re
from pathlib import Path

import orjson
import pytest
from attrs import evolve
from local.arrivals.test_reruns import END, ended, new_run
from local.states import moved

import lume_local
from lume_local._messages.messenger import MOST_CAUSES, Decision
from lume_local._messages.rules import read_rules
from lume_local._messages.text import Texts
from lume_local._runs.deliveries.notices import REFUSED, Notice
from lume_local._runs.sql.sql_outbox import LISTED_ABOVE
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.arrived import RefusedFile
from lume_local._runs.store.ledger import Claim
from lume_local._runs.store.records import MessageState, RunFilter
from lume_local._shared.row_set import all_rows, as_text

AT = "2026-01-02T03:04:05Z"


async def test_a_failed_run_waits_for_another_of_its_source(store: SqlStore) -> None:
    """Of any version; another source, or another flow's run of it, settles nothing."""
    failed = [await ended(store, new_run(path=path), "FAILED") for path in ("in/a.csv", "in/b.csv")]
    await store.create(evolve(new_run(path="in/a.csv"), flow_version="orders-b:v1"))
    await ended(store, new_run(path="in/c.csv"), "SUCCEEDED")
    assert await store.messages.waits("orders", [])
    assert not await store.messages.waits("order", [])
    await ended(store, new_run("v2", path="in/a.csv"), "SUCCEEDED")
    assert await store.messages.waits("orders", [])
    await store.attention.dismiss(failed[1].run_id, "a test", "ann")
    assert not await store.messages.waits("orders", [])


@pytest.mark.parametrize(("rejected", "is_listed"), [(1000, True), (75, False)])
async def test_rejected_rows_wait_if_the_console_lists_their_run(
    store: SqlStore, rejected: int, is_listed: bool
) -> None:
    """Another file that succeeds settles nothing, nor does a replay that leaves rows open."""
    figures = {"rows_read": 1500, "rows_mapped": 1500 - rejected, "rows_rejected": rejected, "source": {}}
    run, _ = await store.create(new_run(path="in/bad1.csv"))
    ledger = {"reasons": {"why": None}}
    await moved(store, run.run_id, "PARTIAL_FAILED", finished_at=END, metrics=figures, ledger=ledger)
    await ended(store, new_run(path="in/good.csv"), "SUCCEEDED")
    assert await store.messages.waits("orders", []) == is_listed
    for at, again in ((0, True), (10, False)):
        claims = [Claim(run.seq, 0, all_rows(10) << at)]
        replay, _ = await store.create(new_run("v2", path=f"upload:{at}", key=str(at)), claims)
        last = all_rows(10) if again else 0
        figures = {"rows_read": 10, "rows_rejected": 10 * again, "rows_mapped": 10 * (not again)}
        ledger = {"reasons": {}, "rejected": as_text(last), "malformed": as_text(0)}
        status = "PARTIAL_FAILED" if again else "SUCCEEDED"
        await moved(store, replay.run_id, status, finished_at=END, metrics=figures, ledger=ledger)
        assert await store.messages.waits("orders", []) == is_listed
    listed = await store.runs(RunFilter(attention=LISTED_ABOVE), None, 9)
    assert [one.run_id for one in listed] == [run.run_id] * is_listed, "the replay's rejects are its"
    await ended(store, new_run("v3", path="in/bad1.csv"), "SUCCEEDED")
    assert not await store.messages.waits("orders", [])


def test_the_console_lists_the_same_runs() -> None:
    for page in ("page_overview.js", "page_runs.js"):
        script = (Path(lume_local.__file__).parent / "_console" / page).read_text()
        assert re.search(rf'^const ABOVE = "?{LISTED_ABOVE}"?;$', script, re.MULTILINE)


async def test_an_arrived_file_waits_until_it_is_taken_again(store: SqlStore) -> None:
    await ended(store, new_run(seen="s", content="x"), "CANCELLED")
    assert not await store.messages.waits("orders", [])
    await ended(store, new_run(seen="t", content="y", path="in/b.csv"), "CRASHED")
    assert await store.messages.waits("orders", [])
    assert not await store.messages.waits("people", [])
    await store.create(new_run("v2", path="in/b.csv"))
    assert not await store.messages.waits("orders", []), "it is taken again"


async def test_a_refused_file_waits(store: SqlStore) -> None:
    await store.arrivals.refuse(RefusedFile("acme", "in/a.csv", "s", "it has changed", AT))
    assert await store.messages.waits("orders", ["other", "acme"])
    assert not await store.messages.waits("orders", ["other"])
    await store.arrivals.forget_refusals("acme", ["in/a.csv"])
    assert not await store.messages.waits("orders", ["other", "acme"])


async def test_what_is_remembered_of_a_trouble_is_bounded() -> None:
    (rule,) = read_rules(
        "[[message]]\non = ['FAILED', 'arrival.refused', 'recovered']\nto_env = ['A']\nat_most = '1 in 1d'"
    )
    key = f"trouble:{rule.key}:orders"
    earlier = MessageState(key, '{"since": "2026"}')  # as an earlier release wrote it
    decision = Decision([rule], Texts("https://l"), 0.0, {key: earlier})
    for n in range(MOST_CAUSES + 5):
        decision.consider(Notice("FAILED", "orders", "orders:v1", AT, f"run_{n}"))
        decision.consider(Notice(REFUSED, "orders", "orders:v1", AT, arrival=f"acme{n}"))
    causes = orjson.loads(decision.states[key].state)["causes"]
    assert (len(causes), causes[-2:]) == (MOST_CAUSES, [f"acme{MOST_CAUSES + n}" for n in (3, 4)])
