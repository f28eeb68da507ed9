"""Transactions, connections and answers that are lost: repeated, undone as a whole, or in doubt."""

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import postgres_server
import psycopg
import pytest
from attrs import evolve
from local import stores
from local.runs.postgres.support import NEW, until
from local.several_servers import Line
from local.states import moved

from lume_async.models import RunStatus
from lume_local._runs import recorder
from lume_local._runs.health import Health
from lume_local._runs.postgres import lease, postgres_sql, postgres_state
from lume_local._runs.postgres.postgres_sql import in_doubt
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import (
    StoredRun,
    StoreError,
    StoreFailed,
    StoreUnavailable,
)
from lume_local._runs.waiters import Hub


async def test_a_conflict_with_another_transaction_is_repeated(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = ["40001", "40P01"]
    note = store.feed.note

    async def sometimes(run_id: str, status: str, finished_at: str | None) -> None:
        if codes:
            await store.sql.row(f"SELECT public.raised('{codes.pop()}')")
        await note(run_id, status, finished_at)

    await store.sql.write(
        lambda: store.sql.change(
            "CREATE OR REPLACE FUNCTION public.raised(code text) RETURNS void LANGUAGE plpgsql AS "
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


async def test_a_transaction_of_a_server_that_was_stopped_ends_before_its_lease_is_taken(
    store: SqlStore,
) -> None:
    row = await store.sql.single(lambda: store.sql.row("SHOW idle_in_transaction_session_timeout"))
    assert 0 < int(row[0].removesuffix("s")) <= lease.LEASE


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


@pytest.mark.thorough
async def test_a_statement_that_takes_too_long_is_not_repeated(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_sql, "_BUSY", 1)
    async with stores.at(url) as store, asyncio.timeout(5):
        with pytest.raises(StoreUnavailable, match="QueryCanceled"):  # at once, as it would be the same again
            await store.sql.single(lambda: store.sql.rows("SELECT pg_sleep(1.2)"))


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
