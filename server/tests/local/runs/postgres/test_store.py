"""What is special about the store in PostgreSQL: many transactions at a time, the feed, texts, long histories."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import psycopg
import pytest
from attrs import evolve
from local import stores
from local.runs.postgres.support import NEW, execute, until_done_or_locked
from local.states import moved

from lume_local._runs.postgres.postgres_store import PostgresStore
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.arrived import Arrived
from lume_local._runs.store.audit import DISMISS, Act, ActFilter
from lume_local._runs.store.drafts import Reject, Room, RowChange, Saved
from lume_local._runs.store.records import Duplicate, RunFilter, StoredRun


@pytest.mark.thorough
async def test_of_any_number_of_requests_for_a_source_one_gets_it(url: str) -> None:
    """Two stores, as two servers would have them, and more tasks than connections."""
    async with stores.at(url) as one, stores.at(url) as two:

        async def create(store: SqlStore, source: int, key: str | None) -> str:
            new = evolve(NEW, source_key=f"/{source}", idempotency_key=key)
            try:
                run, is_new = await store.create(new)
            except Duplicate:
                return ""
            return run.run_id if is_new else ""

        wins = await asyncio.gather(
            *(create(store, source, None) for source in range(12) for store in (one, two) for _ in range(3))
        )
        assert sum(bool(win) for win in wins) == 12
        keyed = await asyncio.gather(
            *(create(store, 100 + n, "key") for store in (one, two) for n in (0, 0, 0)),
            return_exceptions=True,
        )
        assert sum(bool(win) for win in keyed) == 1


@pytest.mark.thorough
async def test_a_change_never_comes_before_one_that_was_returned(url: str) -> None:
    """Writers whose transactions end in another order than they began; a reader that never stops."""
    runs = 60
    async with stores.at(url) as one, stores.at(url) as two:

        async def write(store: SqlStore, n: int) -> None:
            run, _ = await store.create(evolve(NEW, source_key=f"/{n}"))
            for status in ("SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET", "SUCCEEDED"):
                await moved(store, run.run_id, status)

        seen = list[tuple[str, str]]()
        cursors = [await one.newest()]
        writing = asyncio.gather(*(write((one, two)[n % 2], n) for n in range(runs)))

        async def read() -> None:
            while len(seen) < runs * 5:
                changes, cursor = await one.changes(cursors[-1], 7)
                assert cursor >= cursors[-1]
                cursors.append(cursor)
                seen.extend((change.run_id, change.status) for change in changes)

        async with asyncio.timeout(60):
            await asyncio.gather(writing, read())
        assert set(Counter(seen).values()) == {1}
        again, _ = await two.changes(cursors[0], runs * 10)
        assert [(change.run_id, change.status) for change in again] == seen
        assert len({cursor.transaction for cursor in cursors}) > 10


@pytest.mark.thorough
async def test_the_feed_waits_for_an_older_transaction_and_says_when_it_goes_on(
    store: PostgresStore, url: str
) -> None:
    start, woken = await store.newest(), asyncio.Event()
    async with await psycopg.AsyncConnection.connect(url) as other:
        await other.execute("SELECT pg_current_xact_id()")  # open, and older than what follows
        run, _ = await store.create(NEW)
        assert await store.changes(start, 10) == ([], start)
        following = asyncio.create_task(store.follow(woken.set))
        await asyncio.sleep(0.1)
        woken.clear()
        assert not woken.is_set()
        await other.rollback()
        async with asyncio.timeout(5):
            await woken.wait()
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert [change.run_id for change in (await store.changes(start, 10))[0]] == [run.run_id]


@pytest.mark.thorough
async def test_counts_are_right_after_transactions_at_a_time(store: SqlStore) -> None:
    at_a_time = asyncio.Semaphore(16)  # more would wait for a connection for too long on a busy machine
    figures = {"rows_read": 3, "rows_mapped": 2, "rows_rejected": 1, "reject_reasons": {"why": 1}}

    async def one(n: int) -> None:
        async with at_a_time:
            run, _ = await store.create(evolve(NEW, source_key=f"/{n}"))
            for status in ("SYNCING_SOURCE", "TRANSFORMING"):
                await moved(store, run.run_id, status)
            ended = {"metrics": figures, "finished_at": "2026-01-01T00:00:00Z"}
            await moved(store, run.run_id, "PARTIAL_FAILED", **ended)

    await asyncio.gather(*(one(n) for n in range(50)))
    counted = await store.statistics.counts(["status"], None, None, worst_first=False, limit=10)
    assert [(count.of["status"], count.runs, count.rows_read, count.rows_rejected) for count in counted] == [
        ("PARTIAL_FAILED", 50, 150, 50)
    ]
    account = await store.ledger.account("f")
    assert account.closes
    assert (account.read, account.open) == (150, 50)
    assert [(one.reason, one.open) for one in await store.ledger.inbox(None, "2026")] == [
        (None, 50),
        ("why", 50),
    ]


async def test_of_two_updates_from_one_state_one_takes_place(store: SqlStore) -> None:
    run, _ = await store.create(NEW)
    done = await asyncio.gather(*(store.update(run, "SYNCING_SOURCE") for _ in range(20)))
    assert len([one for one in done if one is not None]) == 1


@pytest.mark.parametrize("point", ["SELECT flow, owner FROM drafts", "DELETE FROM draft_rows"])
async def test_a_draft_that_is_saved_while_old_ones_expire_is_whole(
    url: str, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is saved after the old ones were found, and after the rows of this one are gone."""
    room = Room(10_000, 10_000)
    async with stores.at(url) as one, stores.at(url) as two, asyncio.TaskGroup() as tasks:
        await one.drafts.save("f", "ann", [RowChange(Reject("run_1", 1), {"a": "1"}, 0)], room)
        execute(url, "UPDATE lume.drafts SET changed_at = '2020'")
        saving: list[asyncio.Task[Saved]] = []

        async def begin_saving() -> None:
            change = RowChange(Reject("run_1", 2), {"a": "2"}, 0)
            saving.append(tasks.create_task(two.drafts.save("f", "ann", [change], room)))
            await until_done_or_locked(url, saving[0])

        for name in ("rows", "change"):
            whole = getattr(one.sql, name)

            async def slowly(query: str, values: Sequence[object] = (), whole: Any = whole) -> Any:
                found = await whole(query, values)
                if query.startswith(point) and not saving:
                    await begin_saving()
                return found

            monkeypatch.setattr(one.sql, name, slowly)
        assert await one.drafts.expire("2021", 10) == 1
        await saving[0]
        draft = await one.drafts.draft("f", "ann")
        rows = await one.drafts.rows("f", "ann", None, 10)
        assert draft is not None
        assert draft.rows == len(rows) == (2 if point.startswith("SELECT") else 1)
        assert execute(url, "SELECT count(*) FROM lume.draft_rows") == [(len(rows),)]


async def test_submissions_wait_for_a_pause_and_leave_it_its_connections(store: SqlStore) -> None:
    created: list[StoredRun] = []

    async def create(n: int) -> None:
        created.append((await store.create(evolve(NEW, source_key=f"/{n}")))[0])

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(create(0))
        await asyncio.sleep(0)
        async with store.submissions_paused():
            for n in range(1, 30):  # more than there are connections
                tasks.create_task(create(n))
            for _ in range(5):
                assert len(await store.active_sources()) == len(created) <= 1
    assert len(created) == 30


async def test_texts_that_postgresql_can_not_hold(store: SqlStore) -> None:
    """A NUL, as values of sources may have it: in texts, in JSON, and in the name of a run that is not one."""
    metadata = {"resubmit_of": "run_\0", "é": "\0\0\U0010ffff", "b": "\\u0000 \\\0 \\"}
    run, _ = await store.create(evolve(NEW, run_metadata=metadata))
    figures = {"rows_read": 1, "rows_rejected": 1, "reject_reasons": {"a\0b": 1}}
    ended = await moved(
        store,
        run.run_id,
        "PARTIAL_FAILED",
        error_message="a\0b",
        metrics=figures,
        finished_at="2026-01-01T00:00:00Z",
    )
    assert (ended.run_metadata, ended.metrics, ended.error_message) == (metadata, figures, "a\ufffdb")
    assert [one.reason for one in await store.ledger.inbox("f", "2026")] == [None, r"a\x00b"]


@pytest.mark.parametrize("first", ["the rerun", "the file"])
async def test_a_file_that_is_noted_while_a_rerun_takes_it_over_is_moved_by_that(
    url: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run has failed, and it was touched meanwhile."""
    file = Arrived("acme", "in/a.csv", "s", b"x", move=True)
    async with stores.at(url) as one, stores.at(url) as two, asyncio.TaskGroup() as tasks:
        failed, _ = await one.create(evolve(NEW, arrived=evolve(file, move=first == "the rerun")))
        await moved(one, failed.run_id, "FAILED")
        touched = evolve(file, seen="t")
        works: list[Callable[[], Awaitable[Any]]] = [
            lambda: one.create(NEW),
            lambda: two.arrivals.note(touched, None),
        ]
        point, sql = "UPDATE arrival_moves SET run", one.sql
        if first == "the file":
            works.reverse()
            point, sql = "INSERT INTO arrival_moves", two.sql
        meanwhile: list[asyncio.Task[Any]] = []
        for name in ("rows", "change"):
            whole = getattr(sql, name)

            async def slowly(query: str, values: Sequence[object] = (), whole: Any = whole) -> Any:
                found = await whole(query, values)
                if query.startswith(point) and not meanwhile:
                    await sql.rows("SELECT 1")  # what was put off is sent
                    meanwhile.append(tasks.create_task(works[1]()))  # type: ignore[arg-type]
                    await until_done_or_locked(url, meanwhile[0])
                return found

            monkeypatch.setattr(sql, name, slowly)
        await works[0]()
        await meanwhile[0]
        run = (await one.runs(RunFilter(), None, 1))[0]
        assert run.arrival == "acme"
        await moved(one, run.run_id, "SUCCEEDED")
        (move,) = await one.arrivals.moves("acme")
        assert (move.seen, move.is_due, move.run_seq) == ("t", True, run.seq)


async def test_nobody_changes_the_audit(store: SqlStore, url: str) -> None:
    await store.audit.note(Act("ann", DISMISS, "run_1"))
    for change in ("UPDATE lume.audit SET by = 'x'", "DELETE FROM lume.audit", "TRUNCATE lume.audit"):
        with pytest.raises(psycopg.errors.RaiseException, match="the audit"):
            execute(url, change)
    assert await store.audit.forget("9999", 10) == 0
    assert len(await store.audit.acts(ActFilter(), None, 10)) == 1
