"""Values that one database takes and another might refuse: names, requests and files are full of them."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve
from local.states import moved
from local.wire import Wire

from lume_async._base.elided import elided
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sql.tables import LONGEST_ID
from lume_local._runs.store.arrived import Arrived, KnownPath, RefusedFile
from lume_local._runs.store.audit import Act, ActFilter
from lume_local._runs.store.drafts import Reject, Room, RowChange
from lume_local._runs.store.ledger import RowFilter
from lume_local._runs.store.records import (
    Cursor,
    Duplicate,
    MessageState,
    NewRun,
    RunFilter,
    StoredFlow,
    TooLong,
)

NEW = NewRun("f:v1", "a.csv", "/a.csv", {"n": 1}, False, None, "print")
END = "2026-01-01T00:00:00.000Z"


def long(length: int) -> str:
    """A text that can't be compressed, of characters with four bytes each."""
    dice = random.Random(length)
    return "".join(chr(dice.randrange(0x10000, 0x110000)) for _ in range(length))


NAMES = {
    "as usual": "people/2026.csv",
    "with what is special in SQL": "a'b\"c?$1%s\\--;/*_",
    "with letters that a language sorts otherwise": "Öl_ö-ZzZ aÄ ~\U0001f600",
    "with the last of all characters": "\U0010ffff\ufffe\uffff",
    "of 2,400 bytes": long(600),
}
each_name = pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)


@each_name
async def test_a_source_of_any_name(store: SqlStore, name: str) -> None:
    new = evolve(NEW, source_path=name, source_key=f"/{name}", submitted_by=name[:100], note=name)
    run, _ = await store.create(new)
    with pytest.raises(Duplicate):
        await store.create(new)
    assert await store.active_sources() == [f"/{name}"]
    figures = {"rows_read": 2, "rows_mapped": 1, "rows_rejected": 1, "source": {"header": [name]}}
    reasons = {elided(name): None, elided(long(500)): None}
    await moved(
        store, run.run_id, "PARTIAL_FAILED", metrics=figures, finished_at=END, ledger={"reasons": reasons}
    )
    with pytest.raises(Duplicate):
        await store.create(new)
    for wanted in (
        RunFilter(source_path=name),
        RunFilter(source=name[1:]),
        RunFilter(submitted_by=name[:100]),
    ):
        assert [one.run_id for one in await store.runs(wanted, None, 10)] == [run.run_id]
    assert (await store.attention.of(run.run_id)).notes == (name,)
    assert await store.sources.last_headers("f:v1") == {"": [name]}
    (found,) = await store.ledger.rows(RowFilter("f"), 0, 10)
    assert set(await store.ledger.reasons(found.seq)) == set(reasons)
    assert (await store.ledger.account("f", f"/{name}")).closes
    await store.create(evolve(new, force_rerun=True))


async def test_a_name_that_is_too_long_for_an_index(store: SqlStore) -> None:
    """SQLite has no such limit. Nothing is left of a run that is refused, and it is not tried again and again."""
    new = evolve(NEW, source_path=long(4096), source_key=long(4097), idempotency_key="k")
    if store.kind == "postgresql":
        with pytest.raises(TooLong, match="its path is too long for the state in PostgreSQL"):
            await store.create(new)
        assert (await store.unfinished(), await store.run_of_key("k")) == ([], None)
    else:
        await store.create(new)
    await store.create(evolve(NEW, source_path="a" * 4096, source_key="b" * 9000))


@pytest.mark.parametrize("parent", [*NAMES.values(), long(9000), "run_\0"], ids=[*NAMES, "long", "NUL"])
async def test_metadata_that_name_any_run(store: SqlStore, parent: str) -> None:
    metadata = {
        "resubmit_of": parent,
        "deep": {parent: [parent]},
        "big": 2**64 - 1,
        "small": -(2**63),
        "e": 1e300,
    }
    run, _ = await store.create(evolve(NEW, run_metadata=metadata))
    assert (await store.require(run.run_id)).run_metadata == metadata
    follow_up = await store.attention.of(run.run_id)
    known = parent.replace("\0", "\ufffd") if store.kind == "postgresql" else parent
    assert follow_up.mends == (known if len(parent) <= LONGEST_ID else None)


@pytest.mark.parametrize("path", [*NAMES.values(), long(4096)], ids=[*NAMES, "too long for an index"])
async def test_a_file_of_any_name_arrives(store: SqlStore, path: str) -> None:
    """Whatever becomes of it, it stops no other."""
    one = Arrived("a", path, "seen", b"content", move=True)
    assert await store.arrivals.refuse(RefusedFile("a", path, "seen", path, END))
    assert not await store.arrivals.refuse(RefusedFile("a", path, "seen", path, END))
    assert await store.arrivals.settled_of("a", [(path, "seen"), (path, "other"), ("b", "seen")]) == [
        *(True, False, False)
    ]
    assert [one.path for one in await store.arrivals.refused("a", 10)] == [path]
    run, _ = await store.create(evolve(NEW, arrived=one))
    assert await store.arrivals.counts("a") == (1, 0)
    assert await store.arrivals.known(one) == KnownPath(True, run.run_id, "CREATED")
    await moved(store, run.run_id, "SUCCEEDED", finished_at=END, metrics={"source": {}})
    (move,) = await store.arrivals.moves("a")
    assert move.path == path
    await store.arrivals.refuse(RefusedFile("a", path, "later", path, END))
    await store.arrivals.forget_refusals("a", [path])
    assert await store.arrivals.refused("a", 10) == []


@each_name
async def test_what_people_write(store: SqlStore, name: str) -> None:
    run, _ = await store.create(NEW)
    who = name[:100]
    await store.attention.dismiss(run.run_id, name, who)
    await store.audit.note(Act(who, "cancel", name, {who: who}))
    act, _ = await store.audit.acts(ActFilter(by=who), None, 10)
    assert (act.act.subject, act.act.detail) == (name, {who: who})
    room, cells = Room(10**9, 10**9), {name: name, "empty": None}
    saved = await store.drafts.save("f", who, [RowChange(Reject("run_1", 2**31), cells, 0)], room)
    assert saved.draft.rows == 1
    assert [one.cells for one in await store.drafts.rows("f", who, None, 10)] == [cells]
    state = MessageState(f"trouble:{who}", name, 1.5e9)
    assert await store.messages.decided([], {state.key: 0}, [state], [])
    assert (await store.messages.states([state.key]))[state.key].state == name


async def test_numbers_at_the_end_of_their_range(store: SqlStore) -> None:
    most = 2**63 - 1
    run, _ = await store.create(NEW)
    figures = {"rows_read": 2**40, "rows_mapped": 2**40, "rows_rejected": 0, "source": {"bytes": most}}
    await moved(store, run.run_id, "SUCCEEDED", metrics=figures, finished_at=END)
    await store.put_flow(StoredFlow("f:v1", "x", {}, {}, "x", "x"))
    assert [one.run_id for one in await store.runs(RunFilter(), most, 10)] == [run.run_id]
    assert await store.runs(RunFilter(flow="f"), 0, 10) == []
    assert [one.run_id for one in await store.runs(RunFilter(flow="f"), most, 10)] == [run.run_id]
    (count,) = await store.statistics.counts(["status"], None, None, worst_first=True, limit=10)
    assert (count.rows_read, count.rows_rejected) == (2**40, 0)
    assert await store.changes(Cursor(most, most), 10) == ([], Cursor(most, most))
    assert await store.audit.acts(ActFilter(), most, 10) == []


async def test_half_of_a_surrogate_pair_changes_nothing(store: SqlStore) -> None:
    """No text in UTF-8 has one: whoever passes it on is told, and the store works on."""
    works: list[Callable[[], Any]] = [
        lambda: store.create(evolve(NEW, source_path="\udc80", source_key="/\udc80")),
        lambda: store.audit.note(Act("ann", "cancel", "\ud800")),
        lambda: store.runs(RunFilter(source_path="\ud800"), None, 10),
    ]
    for work in works:
        with pytest.raises(UnicodeEncodeError):
            await work()
    assert await store.unfinished() == []
    assert (await store.create(NEW))[1]


async def test_texts_are_in_the_order_of_their_bytes(store: SqlStore) -> None:
    """Whatever the language of the database: else one would find other versions of a flow than the other."""
    names = ["B", "Z", "a-b", "a", "a_b", "ab", "z", "é", "\U0001f600"]  # and a colon after each
    for flow in reversed(names):
        await store.put_flow(StoredFlow(f"{flow}:v1", "x", {}, {}, "x", "x"))
        await store.create(evolve(NEW, flow_version=f"{flow}:v1", source_key=flow))
    by_flow = await store.statistics.counts(["flow_version"], None, None, worst_first=False, limit=20)
    assert [one.of["flow_version"] for one in by_flow] == [f"{name}:v1" for name in names]
    for name in names:
        assert [one.source_key for one in await store.runs(RunFilter(flow=name), None, 20)] == [name]


async def test_a_client_is_told_that_its_source_path_is_too_long(each_state: str, wire: Wire) -> None:
    """PATH_MAX is about bytes: the file is not there, which a server with a state in a file notices in the run."""
    answer = await wire.ask(
        "POST", "/v1/runs", json={"flow_version": "people:v1", "source_path": f"{long(4000)}.csv"}
    )
    if each_state == "sqlite":
        assert answer.status == 201
    else:
        assert (answer.status, answer.document["field"]) == (422, "source_path"), answer.document
        assert "its path is too long for the state in PostgreSQL" in answer.document["detail"]
