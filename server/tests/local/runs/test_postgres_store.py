"""What is special about the store in PostgreSQL: many transactions at a time, lost connections, the lease, forms."""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import postgres_server
import psycopg
import pytest
from attrs import evolve
from local import stores
from local.several_servers import Line
from local.states import moved

from lume_async.models import RunStatus
from lume_local._runs import recorder
from lume_local._runs.health import Health
from lume_local._runs.postgres import lease, postgres_sql, postgres_state
from lume_local._runs.postgres.postgres_sql import connect, in_doubt
from lume_local._runs.postgres.postgres_store import PostgresStore
from lume_local._runs.sql import schemas
from lume_local._runs.sql.sql_arrivals import SqlArrivals
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sql.tables import VERSION
from lume_local._runs.store.arrived import Arrived
from lume_local._runs.store.audit import DISMISS, PURGE, Act, ActFilter
from lume_local._runs.store.drafts import Reject, Room, RowChange, Saved
from lume_local._runs.store.records import (
    Cursor,
    Duplicate,
    NewRun,
    RunFilter,
    StoredRun,
    StoreError,
    StoreFailed,
    StoreUnavailable,
)
from lume_local._runs.waiters import Hub

NEW = NewRun("f:v1", "a.csv", "/a.csv", {"n": 1}, False, None, "print")


@pytest.fixture
def url(postgres: postgres_server.Server) -> Iterator[str]:
    with stores.database(postgres) as url:
        yield url


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    async with stores.at(url) as store:
        yield store


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


# -- many at a time


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
            *(create(store, source, None) for source in range(40) for store in (one, two) for _ in range(3))
        )
        assert sum(bool(win) for win in wins) == 40
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


@pytest.mark.thorough
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


# -- what goes wrong


async def test_a_conflict_with_another_transaction_is_repeated(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = ["40001", "40P01"]
    note = store.feed.note

    async def sometimes(run_id: str, status: str, finished_at: str | None) -> None:
        if codes:
            await store.sql.row(f"SELECT lume.raised('{codes.pop()}')")
        await note(run_id, status, finished_at)

    await store.sql.write(
        lambda: store.sql.change(
            "CREATE FUNCTION lume.raised(code text) RETURNS void LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = code; END $$"
        )
    )
    monkeypatch.setattr(store.feed, "note", sometimes)
    run, is_new = await store.create(NEW)
    assert is_new
    assert not codes
    assert [one.run_id for one in await store.unfinished()] == [run.run_id]


@pytest.mark.parametrize(
    "harm",
    [
        "SET LOCAL idle_in_transaction_session_timeout = '20ms'",  # of a server that was stopped
        "SET TRANSACTION READ ONLY",  # PostgreSQL has become a standby
        "SELECT pg_terminate_backend(pg_backend_pid())",
    ],
)
async def test_what_ends_a_transaction_from_outside_is_repeated(store: SqlStore, harm: str) -> None:
    harms = [harm]

    async def work() -> int:
        if harms:
            await store.sql.changed(harms.pop())
            await asyncio.sleep(0.2)
        return await store.sql.changed("INSERT INTO notes VALUES ('run_1', 'x')")

    assert await store.sql.write(work) == 1
    assert (await store.attention.of("run_1")).notes == ("x",)


@pytest.mark.thorough
async def test_deadlocks_are_resolved(store: SqlStore) -> None:
    """Two transactions that lock two names in either order, until both have one of them."""
    both = asyncio.Barrier(2)
    first = set[str]()

    async def work(mine: str, other: str) -> str:
        await store.sql.lock(mine)
        await store.sql.row("SELECT 1")
        if mine not in first:
            first.add(mine)
            await both.wait()
        await store.sql.lock(other)
        await store.sql.row("SELECT 1")
        return mine

    done = await asyncio.gather(
        store.sql.write(lambda: work("a", "b")), store.sql.write(lambda: work("b", "a"))
    )
    assert done == ["a", "b"]


@pytest.mark.thorough
async def test_connections_that_were_lost_are_made_anew(store: SqlStore, url: str) -> None:
    run, _ = await store.create(NEW)
    for _ in range(3):
        await asyncio.gather(*(store.get(run.run_id) for _ in range(10)))
        execute(
            url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'lume'",
        )
        assert await store.get(run.run_id) == run
    moved_on = await moved(store, run.run_id, "SYNCING_SOURCE")
    assert moved_on.rev == run.rev + 1


@pytest.mark.thorough
async def test_a_server_that_stops_within_a_transaction_holds_nobody_up(url: str) -> None:
    """Its connection is there, and sends nothing: PostgreSQL ends it."""
    async with stores.at(url) as frozen, stores.at(url) as other:
        never, has_lock = asyncio.Event(), asyncio.Event()

        async def stopped() -> None:
            await frozen.sql.lock("source", NEW.flow_version, NEW.source_key)
            await frozen.sql.row("SELECT 1")
            has_lock.set()
            await never.wait()

        task = asyncio.create_task(frozen.sql.write(stopped))
        await has_lock.wait()
        async with asyncio.timeout(lease.LEASE + 2):
            _, is_new = await other.create(NEW)
        assert is_new
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_operation_that_is_cancelled_is_undone_as_a_whole(store: SqlStore) -> None:
    within = asyncio.Event()

    async def work() -> None:
        await store.sql.changed("INSERT INTO notes VALUES ('run_1', 'half')")
        within.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.sql.write(work))
    await within.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await store.attention.of("run_1")).notes == ()
    assert (await store.create(NEW))[1]


async def test_the_log_says_nothing_of_operations_that_are_cancelled(
    store: SqlStore, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As by a server that ends: anyio cancels again and again, for which psycopg closes the connection."""
    with anyio.move_on_after(0.2) as scope:
        await store.sql.single(lambda: store.sql.rows("SELECT pg_sleep(60)"))
    assert scope.cancelled_caught
    assert not caplog.messages
    async with await psycopg.AsyncConnection.connect(url) as foreign:
        with anyio.move_on_after(0.2):
            await foreign.execute("SELECT pg_sleep(60)")
    assert caplog.messages == ["query cancellation interrupted (CancelledError): closing connection"]


@pytest.mark.parametrize("is_done", [True, False])
async def test_a_commit_whose_answer_is_lost_is_in_doubt(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    execute_ = psycopg.AsyncConnection.execute

    async def cut(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        if query == "COMMIT":
            if is_done:
                await execute_(self, query, *args, **kwargs)
            monkeypatch.undo()
            await execute_(self, "SELECT pg_terminate_backend(pg_backend_pid())", prepare=False)
        return await execute_(self, query, *args, **kwargs)

    monkeypatch.setattr(psycopg.AsyncConnection, "execute", cut)
    with pytest.raises(StoreUnavailable, match="the answer of PostgreSQL to a COMMIT was lost") as caught:
        await store.create(evolve(NEW, idempotency_key="k"))
    assert caught.value.is_in_doubt
    assert (await store.run_of_key("k") is not None) is is_done
    _, is_new = await store.create(evolve(NEW, idempotency_key="k"))
    assert is_new is not is_done


async def test_of_an_end_whose_answer_is_lost_everybody_hears(
    store: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrivals, webhooks and metrics, once, though the second attempt finds that the run has ended."""
    run, _ = await store.create(NEW)
    update, lost, ended, messages = store.update, [in_doubt(OSError())], list[StoredRun](), list[str]()

    async def updated(*args: Any, **values: Any) -> StoredRun | None:
        found = await update(*args, **values)
        if lost:
            raise lost.pop()
        return found

    monkeypatch.setattr(store, "update", updated)
    monkeypatch.setattr(recorder, "RETRY", 0.01)
    told = recorder.RunRecorder(
        store, Hub(), Health(tmp_path), lambda: messages.append("look"), lambda run: ended.append(run)
    )
    await told.end(run.run_id, RunStatus.FAILED, message="why")
    assert [(one.run_id, one.status) for one in ended] == [(run.run_id, "FAILED")]
    assert messages == ["look"]
    await told.end(run.run_id, RunStatus.FAILED, message="why")
    assert len(ended) == 1


@pytest.mark.thorough
async def test_an_outage_is_unavailable_and_tells_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with postgres_server.running() as server:
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(stores.at(server.url))
            run, _ = await store.create(NEW)
            server._pg_ctl("stop", "-m", "immediate")
            for work in (lambda: store.get(run.run_id), lambda: moved(store, run.run_id, "SYNCING_SOURCE")):
                with pytest.raises(StoreUnavailable, match="PostgreSQL can't be used") as caught:
                    await work()
                assert not caught.value.is_in_doubt
                assert "127.0.0.1" not in str(caught.value)
                assert postgres_server.USER not in str(caught.value)
            with pytest.raises(StoreError, match="it can't be reached: nothing listens at its"):
                await stack.enter_async_context(stores.at(server.url))
            server.start()
            async with asyncio.timeout(20):
                while True:
                    try:
                        assert await store.get(run.run_id) == run
                        break
                    except StoreUnavailable:
                        await asyncio.sleep(0.1)
    assert postgres_server.PASSWORD not in caplog.text
    assert postgres_server.QUOTED not in caplog.text


@pytest.mark.thorough
async def test_a_connection_on_which_no_answer_comes_is_given_up(
    url: str,
    postgres: postgres_server.Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It stands, as one through a proxy whose server is gone: what is sent is acknowledged, and that is all."""
    for module in (postgres_sql, lease):
        monkeypatch.setattr(module, "UNANSWERED", 1.0)
    async with Line(postgres.port).running() as line, asyncio.timeout(60):
        through = url.replace(f":{postgres.port}/", f":{line.port}/")
        async with postgres_state.leased(url, Health(tmp_path)), stores.at(through) as store:
            run, _ = await store.create(NEW)
            health = Health(tmp_path)
            waiting = asyncio.create_task(postgres_state.leased(through, health).__aenter__())
            await asyncio.sleep(2 * lease.LOOK)
            dead = asyncio.create_task(line.down(5))
            await asyncio.sleep(0)
            with pytest.raises(StoreUnavailable, match=r"can't be used \(TimeoutError\)") as caught:
                await store.get(run.run_id)
            assert not caught.value.is_in_doubt
            await until(lambda: health.reasons() == [f"{lease.WHERE}: it no longer answers"])
            await dead
            await until(lambda: not health.reasons())
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert await store.get(run.run_id) == run
    said = [record.getMessage() for record in caplog.records if record.name == "psycopg.pool"]
    assert said == [], "which connection it was: its host, database and user"


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


async def until_done_or_locked(url: str, task: asyncio.Task[Any]) -> None:
    waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(20):
        while not task.done() and not await asyncio.to_thread(execute, url, waits):
            await asyncio.sleep(0.01)


# -- the lease


@pytest.mark.thorough
async def test_a_server_that_has_lost_its_lease_writes_nothing_more(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW", 2.0)  # until it learns of it
    with pytest.raises(lease.LeaseLost, match="another server has taken the state"):
        async with postgres_state.leased(url, Health(tmp_path)) as (first, _):
            run, _ = await first.create(NEW)
            execute(url, "UPDATE lume.lease SET fence = fence + 1, holder = 'another'")  # as it takes it
            works: list[Callable[[], Awaitable[object]]] = [
                lambda: first.create(evolve(NEW, source_key="/b")),
                lambda: first.update(run, "SYNCING_SOURCE"),
                lambda: first.publishing.allow(run.run_id),
                first.publishing.check,
                lambda: first.attention.dismiss(run.run_id, "why", "ann"),
                lambda: first.forget("9999", 10),
                lambda: first.arrivals.note(Arrived("acme", "in/a.csv", "s", b"x", move=True), None),
                lambda: first.audit.note(Act("ann", DISMISS, run.run_id)),
            ]
            for work in works:
                with pytest.raises(StoreUnavailable, match="another server has the state"):
                    await work()
            assert await first.require(run.run_id) == run
            await asyncio.sleep(10)


async def test_a_server_that_was_stopped_is_not_ready_until_it_knows_that_it_has_the_lease(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE", 0.4)
    monkeypatch.setattr(lease, "RENEW", 0.1)
    health = Health(tmp_path)
    async with postgres_state.leased(url, health) as (_, had):
        await asyncio.sleep(0.2)
        assert health.reasons() == []
        time.sleep(0.5)
        assert health.reasons() == ["the state in PostgreSQL: is not certain at the moment"]
        await until(lambda: not health.reasons())  # nobody has taken it meanwhile
        assert not had.is_lost
    with pytest.raises(lease.LeaseLost):
        async with postgres_state.leased(url, health):
            await until(lambda: not health.reasons())
            execute(url, "UPDATE lume.lease SET fence = fence + 1, holder = 'another'")
            time.sleep(0.5)
            while True:
                assert health.reasons()  # from the first request on that it answers
                await asyncio.sleep(0)


async def test_who_takes_the_lease_waits_for_what_is_being_written(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note that is checked before is there before; one that is checked later is refused."""
    monkeypatch.setattr(lease, "RENEW", 60.0)  # it does not learn of it
    file = Arrived("acme", "in/a.csv", "s", b"x", move=True)
    async with postgres_state.leased(url, Health(tmp_path)) as (first, had):
        whole, others = SqlArrivals.add, list[asyncio.Task[bool]]()

        async def second() -> bool:
            async with postgres_state.leased(url, Health(tmp_path)) as (store, _):
                with pytest.raises(StoreUnavailable, match="another server has the state"):
                    await first.arrivals.note(evolve(file, path="in/b.csv"), None)
                assert await store.arrivals.known(evolve(file, path="in/b.csv")) is None
                return await store.arrivals.known(file) is not None

        async def slowly(*values: Any) -> None:
            if not others:
                execute(url, "UPDATE lume.lease SET until = '-infinity'")
                others.append(asyncio.create_task(second()))
                await until_done_or_locked(url, others[0])
            await whole(*values)

        monkeypatch.setattr(SqlArrivals, "add", slowly)
        await first.arrivals.note(file, None)
        assert await others[0]
        assert not had.is_lost


@pytest.mark.thorough
async def test_a_second_server_gets_the_state_once_the_first_ends(url: str, tmp_path: Path) -> None:
    async def second() -> int:
        async with postgres_state.leased(url, Health(tmp_path)) as (store, had):
            await store.newest()  # PostgreSQL drops no database while a connection is being made
            return had.fence

    async with postgres_state.leased(url, Health(tmp_path)) as (_, first):
        waiting = asyncio.create_task(second())
        await asyncio.sleep(2 * lease.LOOK)
        assert not waiting.done()
    async with asyncio.timeout(lease.LEASE):  # it need not run out
        assert await waiting == first.fence + 1


@pytest.mark.thorough
async def test_a_server_that_waits_goes_on_after_postgresql_has_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE", 60.0)  # it does not run out meanwhile
    health = Health(tmp_path)

    async def second(url: str) -> int:
        async with postgres_state.leased(url, health) as (_, had):
            return had.fence

    with postgres_server.running() as server:
        async with postgres_state.leased(server.url, Health(tmp_path)) as (_, first):
            waiting = asyncio.create_task(second(server.url))
            await asyncio.sleep(2 * lease.LOOK)
            for _ in range(2):
                crash = asyncio.create_task(asyncio.to_thread(server.crash))
                await until(lambda: bool(health.reasons()))
                await crash
                await until(lambda: not health.reasons())
                assert not waiting.done()
        async with asyncio.timeout(20):
            assert await waiting == first.fence + 1


@pytest.mark.parametrize(
    ("said", "waits"),
    [
        ("the database system is starting up", True),
        ("connection timeout expired", True),
        ("[Errno -2] Name or service not known: could not translate host name", True),
        ("server closed the connection unexpectedly", True),
        ("sorry, too many clients already", True),
        ("SSL SYSCALL error: EOF detected", True),
        ("SSL connection has been closed unexpectedly", True),
        ("server does not support SSL, but SSL was required", False),
        ('password authentication failed for user "few"', False),
        ('database "few" does not exist', False),
        ('no pg_hba.conf entry for host "10.0.0.1", user "few", database "few", no encryption', False),
        ('invalid port number: "99999"', False),
    ],
)
async def test_a_server_waits_for_what_may_end_by_itself(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, waits: bool
) -> None:
    """At its start, and when it has had the connection before."""
    monkeypatch.setattr(lease, "RENEW", 0.001)
    attempts = 0

    async def failing(url: str) -> postgres_sql.Connection:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise psycopg.OperationalError(f"connection failed: {said}")
        return await connect(url)

    monkeypatch.setattr(postgres_state, "connect", failing)
    health = Health(tmp_path)
    try:
        async with postgres_state.leased(url, health) as (store, _):
            await store.newest()
            await until(lambda: not health.reasons())
    except StoreError:
        assert (attempts, waits) == (1, False)
    else:
        assert (attempts, waits) == (4, True)


async def test_a_server_does_not_wait_for_the_lease_of_a_form_that_it_can_not_use(
    url: str, tmp_path: Path
) -> None:
    async with postgres_state.leased(url, Health(tmp_path)) as (store, _):
        await store.newest()
        execute(url, f"UPDATE lume.facts SET value = '{VERSION + 1}' WHERE name = 'form'")
        with pytest.raises(StoreError, match=f"in form {VERSION + 1} of the state"):
            async with asyncio.timeout(5), postgres_state.leased(url, Health(tmp_path)):
                pass


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.thorough
async def test_a_server_that_died_before_the_clock_was_set_back_is_not_waited_for(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE", 1.5)
    async with postgres_state.leased(url, Health(tmp_path)) as (store, first):
        await store.newest()
    execute(url, "UPDATE lume.lease SET until = clock_timestamp() + interval '1 hour'")
    async with asyncio.timeout(10), postgres_state.leased(url, Health(tmp_path)) as (store, second):
        await store.newest()
        assert second.fence == first.fence + 1
        async with await connect(url) as third:
            with pytest.raises(TimeoutError):  # the second one is heard of
                await asyncio.wait_for(lease.acquire(third, "third", 3, lambda _: None), 2 * lease.LEASE)


async def test_only_what_is_allowed_while_it_is_active_may_be_published(store: PostgresStore) -> None:
    run, _ = await store.create(NEW)
    assert not await store.publishing.is_allowed(run.run_id)
    assert await store.publishing.allow(run.run_id)
    assert await store.publishing.allow(run.run_id)
    assert await store.publishing.is_allowed(run.run_id)
    await moved(store, run.run_id, "CANCELLED")
    assert not await store.publishing.allow(run.run_id)
    assert not await store.publishing.allow("run_of_nobody")


@pytest.mark.thorough
async def test_a_statement_that_takes_too_long_is_not_repeated(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_sql, "_BUSY", 1)
    async with stores.at(url) as store, asyncio.timeout(5):
        with pytest.raises(StoreUnavailable, match="QueryCanceled"):  # at once, as it would be the same again
            await store.sql.single(lambda: store.sql.rows("SELECT pg_sleep(1.2)"))


# -- forms


async def test_a_newer_state_is_refused_with_both_versions(url: str) -> None:
    async with stores.at(url):
        pass
    execute(url, f"UPDATE lume.facts SET value = '{VERSION + 1}' WHERE name = 'form'")
    execute(url, "UPDATE lume.facts SET value = '9.9.9' WHERE name = 'written_by'")
    with pytest.raises(
        StoreError, match=rf"lume-client 9\.9\.9, in form {VERSION + 1} .* uses form {VERSION}"
    ):
        async with stores.at(url):
            pass


FORM_2 = Path(__file__).parent / "states/postgresql-form-2.sql"


def content(url: str) -> dict[str, list[tuple[object, ...]]]:
    """The rows of all tables, without what a start of a server changes."""
    tables = execute(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'lume' ORDER BY 1")
    found = {str(name): sorted(execute(url, f"TABLE lume.{name}"), key=repr) for (name,) in tables}
    del found["lease"]
    found["facts"] = [row for row in found["facts"] if row[0] == "store_id"]
    return found


@pytest.mark.parametrize("form", [2, 3])
async def test_nothing_of_a_state_of_an_earlier_form_is_lost(
    form: int, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(url, FORM_2.read_text())  # form 3 has the same tables
    execute(url, f"UPDATE lume.facts SET value = '{form}' WHERE name = 'form'")
    before = content(url)
    async with stores.at(url) as store:
        runs = await store.runs(RunFilter(), None, 10)
        assert [run.status for run in runs[:3]] == ["CREATED", "TRANSFORMING", "PARTIAL_FAILED"]
        assert await store.run_of_key("order-4") == runs[0].run_id
        assert await store.deliveries.pending() == 2
        inbox = await store.ledger.inbox("people", "2026-01-01")
        assert {one.reason: one.open for one in inbox} == {None: 3, "id: is not a valid integer": 3}
        assert await store.arrivals.counts("acme") == (2, 0)
    after = content(url)
    assert after.pop("layout_counts") == []
    assert [row[-1] for row in after["runs"]] == [None] * len(before["runs"])  # `layout`
    assert after | {"runs": [row[:-1] for row in after["runs"]]} == before
    assert f"is now in form {VERSION}, it was in form {form}" in caplog.text
    caplog.clear()
    async with stores.at(url):
        assert caplog.text == ""


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE lume.runs ADD COLUMN tenant TEXT",
        "DROP INDEX lume.by_source",
        "DROP TRIGGER run_ended ON lume.runs",
        "ALTER TABLE lume.runs DISABLE TRIGGER run_ended",
        "ALTER TABLE lume.runs ALTER flow_version SET STATISTICS -1",
        "CREATE OR REPLACE FUNCTION lume.run_ended() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RETURN NULL; END $$",
        "ALTER TABLE lume.runs DROP CONSTRAINT runs_status_check",
        "DROP INDEX lume.one_success; CREATE INDEX one_success ON lume.runs (flow_version, source_key)",
    ],
)
async def test_another_schema_than_that_of_its_form_is_refused(url: str, statement: str) -> None:
    """In form 2: a build between two releases has written it. In the present one: somebody has changed it."""
    execute(url, FORM_2.read_text())
    execute(url, statement)
    before = content(url)
    with pytest.raises(StoreError, match=r"^it is in form 2 of the state, with other tables than .*0\.1\.0"):
        async with stores.at(url):
            pass
    assert content(url) == before
    assert execute(url, "SELECT value FROM lume.facts WHERE name = 'form'") == [("2",)]
    execute(url, "DROP SCHEMA lume CASCADE")
    async with stores.at(url):
        pass
    execute(url, statement)
    with pytest.raises(
        StoreError, match=r"^it has another schema than .* was (changed|added|removed).* Undo that"
    ):
        async with stores.at(url):
            pass


async def test_the_schema_of_a_new_state_is_that_of_its_form(url: str) -> None:
    async with stores.at(url):
        pass
    ((noted,),) = execute(url, "SELECT value FROM lume.facts WHERE name = 'schema'")
    assert schemas.fingerprint(json.loads(str(noted))) == schemas.FINGERPRINTS["postgresql", VERSION]


async def test_a_database_that_counts_its_transactions_anew_loses_no_change(url: str) -> None:
    """As after a dump was restored elsewhere."""
    async with stores.at(url) as store:
        run, _ = await store.create(NEW)
        before = await store.newest()
    execute(url, "UPDATE lume.changes SET xid = xid + 100000000")
    seen = Cursor(before.transaction + 100_000_000, before.seq)
    for status in ("SYNCING_SOURCE", "TRANSFORMING"):
        async with stores.at(url) as store:
            await moved(store, run.run_id, status)
            changes, seen = await store.changes(seen, 10)
            assert [change.status for change in changes] == [status]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scheme": "mysql"}, "it is not a URL such as"),
        ({"netloc": "lume:a%zz@127.0.0.1"}, "it is not a valid PostgreSQL URL"),
        ({"path": "/nowhere"}, "it has no such database"),
        ({"netloc": "lume:wr0ng@{}"}, "it refuses user or password"),
        ({"netloc": "lume:wr0ng@no.such.invalid"}, "it can't be reached: the name of its host is not known"),
        ({"netloc": "lume:wr0ng@127.0.0.1:1"}, "it can't be reached: nothing listens at its host and port"),
        ({"query": "sslmode=require"}, "it can't be reached: TLS fails, or is not what both sides want"),
    ],
)
async def test_what_is_said_of_a_wrong_url(
    postgres: postgres_server.Server, change: dict[str, str], words: str
) -> None:
    parts = urlsplit(postgres.url)
    given = {name: value.format(f"127.0.0.1:{postgres.port}") for name, value in change.items()}
    with pytest.raises(StoreError, match=words) as caught:
        async with stores.at(parts._replace(**given).geturl()):
            pass
    assert "wr0ng" not in str(caught.value)
    assert postgres_server.USER not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            'no pg_hba.conf entry for host "10.0.0.1", user "few", database "few", no encryption',
            "its pg_hba.conf",
        ),
        ("the database system is starting up", "it is starting or stopping"),
        ("connection timeout expired", "it can't be reached: its host does not answer"),
        ("something else about few", "it can't be reached$"),
    ],
)
async def test_what_is_said_of_other_failures_to_connect(
    monkeypatch: pytest.MonkeyPatch, said: str, words: str
) -> None:
    async def connect(url: str) -> None:
        raise psycopg.OperationalError(f'connection to server at "10.0.0.1" failed: FATAL:  {said}')

    monkeypatch.setattr(postgres_state, "connect", connect)
    with pytest.raises(StoreError, match=words) as caught:
        async with stores.at("postgresql://few@10.0.0.1/few"):
            pass
    assert "few" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_in_another_encoding_is_refused(
    postgres: postgres_server.Server, encoding: str
) -> None:
    postgres.execute_outside(f"CREATE DATABASE other TEMPLATE template0 ENCODING '{encoding}'")
    try:
        with pytest.raises(StoreError, match=f"in the encoding UTF8, this one has {encoding}$"):
            async with stores.at(urlsplit(postgres.url)._replace(path="/other").geturl()):
                pass
    finally:
        postgres.execute_outside("DROP DATABASE other WITH (FORCE)")


async def test_a_user_without_a_connection_left(postgres: postgres_server.Server) -> None:
    postgres.execute("CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 0")
    with pytest.raises(StoreError, match="it has no connection left, for anybody or for this user"):
        async with stores.at(f"postgresql://few:few@127.0.0.1:{postgres.port}/postgres"):
            pass
    postgres.execute("DROP ROLE few")


@pytest.mark.parametrize("form", ["none", "1", None])
async def test_what_is_in_the_schema_may_be_no_state(url: str, form: str | None) -> None:
    execute(url, "CREATE SCHEMA lume")
    execute(url, "CREATE TABLE lume.facts (name TEXT PRIMARY KEY, value TEXT)")
    if form is not None:
        execute(url, f"INSERT INTO lume.facts VALUES ('form', '{form}')")
    with pytest.raises(StoreError, match="its schema lume has tables, but no state of lume-client"):
        async with stores.at(url):
            pass


async def test_an_error_of_a_statement_is_no_outage(store: SqlStore) -> None:
    with pytest.raises(StoreFailed, match="UndefinedTable") as caught:
        await store.sql.single(lambda: store.sql.rows("SELECT * FROM nothing"))
    assert not isinstance(caught.value, StoreUnavailable)


async def test_an_error_beside_the_commit_is_that_of_its_statement_and_nothing_is_logged(
    store: SqlStore, caplog: pytest.LogCaptureFixture
) -> None:
    """psycopg says what follows from it, too, with its host and user."""
    sql = store.sql

    async def work() -> None:
        await sql.rows("SELECT 1")
        for note in (None, *["x" * 5000] * 500):
            await sql.change("INSERT INTO notes VALUES (?, ?)", ["run", note])

    for _ in range(7):
        with pytest.raises(StoreFailed, match="NotNullViolation") as caught:
            await sql.write(work)
        assert not isinstance(caught.value, StoreUnavailable)
    assert caplog.text == ""


async def test_old_runs_are_purged_and_the_audit_says_so(store: SqlStore, url: str) -> None:
    for n in range(3):
        run, _ = await store.create(evolve(NEW, source_key=f"/{n % 2}", force_rerun=n == 2))
        figures = {"rows_read": 1, "columns": {"a": 1}, "source": {"bytes": 7, "header": ["id"]}}
        await moved(store, run.run_id, "SUCCEEDED", metrics=figures, finished_at="2020-01-01T00:00:00.000Z")
    found, after = await store.purge.old("2021", ("", 0), 10, outputs=False)
    assert after is not None
    assert [run.source_key for run in found] == ["/0", "/1"], "the last one says what the columns are"
    purged = await store.purge.remove(found, "2021", outputs=False, detail={})
    assert (purged.removed, purged.compact) == (1, 1), (
        "the first was done again, the second is its source's last"
    )
    assert await store.purge.old("2021", ("", 0), 10, outputs=False) == ([], (after[0], after[1]))
    acts = await store.audit.acts(ActFilter(), None, 10)
    assert [one.act.what for one in acts][:1] == [PURGE]
    for change in ("UPDATE lume.audit SET by = 'x'", "DELETE FROM lume.audit", "TRUNCATE lume.audit"):
        with pytest.raises(psycopg.errors.RaiseException, match="the audit"):
            execute(url, change)
    assert await store.audit.forget("9999", 10) == 0
    assert await store.is_used("f:v1")


async def test_the_newest_runs_of_names_that_have_none(
    url: str, store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a long history nothing is read that is not on the page."""
    execute(url, "ALTER TABLE lume.runs DISABLE TRIGGER USER")
    execute(
        url,
        "INSERT INTO lume.runs (run_id, rev, flow_version, source_path, source_key, run_metadata, force_rerun, "
        "status, created_at, stages, metrics, target_locations, arrival) SELECT 'run_' || n, 1, 'f:v1', "
        "'s', '/s' || n, '{}', 0, 'SUCCEEDED', '2026', '[]', '{}', '{}', "
        "CASE n % 2 WHEN 0 THEN 'a' ELSE 'b' END FROM generate_series(1, 20000) AS n",
    )
    execute(url, "ANALYZE lume.runs")
    plans, rows = list[str](), store.sql.rows

    async def explained(query: str, values: Sequence[Any] = ()) -> list[Any]:
        plans.extend(row[0] for row in await rows(f"EXPLAIN (ANALYZE) {query}", values))
        return await rows(query, values)

    monkeypatch.setattr(store.sql, "rows", explained)
    names = ["a", "nobody", "b", *(str(number) for number in range(20))]
    newest = [run.run_id for run in await store.newest_arrived(names, 3)]
    assert newest == ["run_20000", "run_19999", "run_19998"]
    assert not [line for line in plans if "Removed by Filter" in line or "Seq Scan" in line], "\n".join(plans)
