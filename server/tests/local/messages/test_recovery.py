"""A flow has recovered once nothing of it waits for a person: no failed run, no failed or refused file."""

from typing import Any

import orjson
from local.arrivals.test_reruns import ended, new_run

from lume_local._messages.messenger import MOST_CAUSES, Decision
from lume_local._messages.rules import read_rules
from lume_local._messages.text import Texts
from lume_local._runs.deliveries.notices import REFUSED, Notice
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.arrived import RefusedFile
from lume_local._runs.store.records import MessageState

AT = "2026-01-02T03:04:05Z"


async def test_a_failed_run_waits_for_another_of_its_source(store: SqlStore) -> None:
    """Of any version; another source, or another flow's run of it, settles nothing."""
    failed = [await ended(store, new_run(path=path), "FAILED") for path in ("in/a.csv", "in/b.csv")]
    ids = [run.run_id for run in failed]
    other = new_run("v1", path="in/a.csv")
    await store.create(type(other)(**{**_fields(other), "flow_version": "people:v1"}))
    assert await store.messages.waits("orders", ids)
    assert not await store.messages.waits("orders", []), "those of other rules, or before the flow's trouble"
    await ended(store, new_run("v2", path="in/a.csv"), "SUCCEEDED")
    assert await store.messages.waits("orders", ids)
    await store.attention.dismiss(ids[1], "a test", "ann")
    assert not await store.messages.waits("orders", ids)


def _fields(new: Any) -> dict[str, Any]:
    return {name: getattr(new, name) for name in type(new).__annotations__}


async def test_an_arrived_file_waits_even_if_nobody_remembers_its_run(store: SqlStore) -> None:
    await ended(store, new_run(seen="s", content="x"), "CANCELLED")
    assert not await store.messages.waits("orders", [])
    failed = await ended(store, new_run(seen="t", content="y", path="in/b.csv"), "CRASHED")
    assert await store.messages.waits("orders", [])
    assert not await store.messages.waits("people", [])
    await store.create(new_run("v2", path="in/b.csv"))
    assert not await store.messages.waits("orders", [failed.run_id]), "it is taken again"


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
        decision.consider(Notice(REFUSED, "orders", "orders:v1", AT, arrival="acme"))
    causes = orjson.loads(decision.states[key].state)["causes"]
    assert (len(causes), causes[-2:]) == (MOST_CAUSES, [f"run_{MOST_CAUSES + 4}", "acme"])
