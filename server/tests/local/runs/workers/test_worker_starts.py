"""A worker's start and end, cancelled at each of their awaits: no process, no pipe, no place in the pool is lost."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cancelled_at import CancelledAt
from local.flows import people
from local.processes import is_gone, own_workers

from lume_async._base.tasks import task_group
from lume_local._runs.health import Health
from lume_local._runs.workers import worker_pool
from lume_local._runs.workers.worker import Worker, WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.protocol import Check, Checked, Refused


@pytest.fixture(autouse=True)
def nothing_unclosed() -> Iterator[None]:
    """What was dropped warns while it is collected, and warnings are errors."""
    yield
    gc.collect()


async def _outcome(work: CancelledAt) -> None:
    with suppress(asyncio.CancelledError):
        await work


async def test_a_caller_goes_while_its_worker_is_being_started() -> None:
    """As an HTTP client does whose connection is lost. (`check` alone goes on without its caller.)"""
    n, came = 0, True
    while came:
        n += 1
        before = own_workers()  # of what is shared by all tests
        async with WorkerPool().running() as pool:
            asking = CancelledAt(pool._answered(Check(people()), Checked, Refused), n)
            await asyncio.create_task(_outcome(asking))
            assert await pool.check(people()), "the next one is served"
            assert (pool.size, len(own_workers())) == (1, len(before) + 1)
        assert own_workers() == before
        came = asking.came
    assert n > 2


async def test_the_pool_closes_while_a_worker_is_being_started() -> None:
    n, came = 0, True
    while came:
        n += 1
        before = own_workers()
        async with task_group() as tasks:
            starting = CancelledAt(Worker.start(tasks), n, tasks.cancel_scope.cancel)
            worker = await starting
            await worker.stop()  # type: ignore[attr-defined]
        assert own_workers() == before
        came = starting.came
    assert n > 2


async def test_a_caller_goes_while_its_worker_is_being_ended() -> None:
    n, came = 0, True
    while came:
        n += 1
        async with WorkerPool().running() as pool:
            worker = await pool.take()
            ending = CancelledAt(pool.discard(worker), n)
            await asyncio.create_task(_outcome(ending))
            assert not worker.is_alive
            assert is_gone(worker.pid)
            assert pool.size == 0
        came = ending.came
    assert n > 1


async def test_a_caller_goes_in_the_moment_in_which_its_worker_fails_to_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The failed start is nobody's spare: the next one, by itself, says that all is well again."""
    health = Health(tmp_path)
    real = Worker.start

    async def fails(*_: object) -> Worker:
        monkeypatch.setattr(Worker, "start", real)
        asking.cancel()
        raise WorkerDied("no memory is left")

    monkeypatch.setattr(Worker, "start", fails)
    monkeypatch.setattr(worker_pool, "RETRY", 0.01)
    async with WorkerPool(health=health).running() as pool:
        asking = asyncio.create_task(pool.check(people()))
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert pool.size == 0
        assert "no memory is left" in str(health.reasons())
        async with asyncio.timeout(20):
            while health.reasons():
                await asyncio.sleep(0.01)
        assert pool.size == 1
