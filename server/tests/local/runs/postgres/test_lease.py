"""The lease: one server has the state, and whoever has lost it writes nothing more."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import postgres_server
import psycopg
import pytest
from attrs import evolve
from local.runs.postgres.support import NEW, execute, until, until_done_or_locked
from local.states import moved

from lume_local._runs.health import Health
from lume_local._runs.postgres import lease, postgres_sql, postgres_state
from lume_local._runs.postgres.postgres_sql import connect
from lume_local._runs.postgres.postgres_store import PostgresStore
from lume_local._runs.sql.sql_arrivals import SqlArrivals
from lume_local._runs.sql.tables import VERSION
from lume_local._runs.store.arrived import Arrived
from lume_local._runs.store.audit import DISMISS, Act
from lume_local._runs.store.records import StoreError, StoreUnavailable


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
