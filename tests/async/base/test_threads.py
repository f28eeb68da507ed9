"""Threads that nobody waits for."""

import asyncio
import contextvars
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lume_async._base.threads import ForkShy, JobThread, in_thread

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


def test_work_is_done_in_a_daemon_thread() -> None:
    assert in_thread(threading.current_thread).result(timeout=20).daemon
    with pytest.raises(ZeroDivisionError):
        in_thread(lambda: 1 // 0).result(timeout=20)


async def test_an_iterator_that_has_no_more_is_an_error_and_no_wait_for_ever() -> None:
    """asyncio refuses a StopIteration in a callback of its own: who waits would never hear of it."""
    with pytest.raises(RuntimeError, match="StopIteration") as raised:
        await asyncio.wait_for(asyncio.wrap_future(in_thread(lambda: next(iter(())))), 20)
    assert isinstance(raised.value.__cause__, StopIteration)


def test_and_here_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert in_thread(threading.current_thread).result(timeout=1) is threading.current_thread()


def test_a_fork_waits_for_what_it_should_not_meet() -> None:
    shy, begun, release = ForkShy(), threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        working = pool.submit(shy.run, lambda: (begun.set(), release.wait(20)))
        assert begun.wait(20)
        threading.Timer(0.05, release.set).start()
        shy._delay()
        assert release.is_set()
        late = pool.submit(shy.run, lambda: "after the fork")
        with pytest.raises(TimeoutError):
            late.result(timeout=0.05)
        shy._release()
        assert late.result(timeout=20) == "after the fork"
        working.result(timeout=20)


def test_a_fork_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ForkShy, "LONGEST_DELAY", 0.05)
    shy, begun, release = ForkShy(), threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(shy.run, lambda: (begun.set(), release.wait(20)))
        assert begun.wait(20)
        before = time.monotonic()
        shy._delay()
        assert time.monotonic() - before >= 0.05
        shy._release()
        release.set()
        working.result(timeout=20)
    shy._delay()  # at once, now that nothing is under way
    shy._release()


async def test_a_worker_runs_its_jobs_in_turn_in_one_daemon_thread_and_in_its_creators_context() -> None:
    variable.set("creator")
    worker = JobThread()
    variable.set("another")
    first = await worker.run(threading.current_thread)
    assert first is await worker.run(threading.current_thread)
    assert first.daemon
    assert first is not threading.current_thread()
    assert await worker.run(variable.get) == "creator"
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await worker.run(lambda: next(iter(())))
    done: list[threading.Thread] = []
    worker.then(lambda: done.append(threading.current_thread()))
    worker.close()
    await asyncio.to_thread(first.join, 20)
    assert not first.is_alive()
    assert done == [first]


async def test_a_workers_job_that_blocks_is_not_waited_for() -> None:
    worker, release = JobThread(), threading.Event()
    thread = await worker.run(threading.current_thread)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await worker.run(release.wait, 20)
    assert not worker.closed
    worker.close()
    assert worker.closed
    release.set()
    await asyncio.to_thread(thread.join, 20)
    assert not thread.is_alive()


async def test_a_worker_that_is_dropped_ends() -> None:
    worker = JobThread()
    thread = await worker.run(threading.current_thread)
    del worker
    await asyncio.to_thread(thread.join, 20)
    assert not thread.is_alive()


async def test_a_worker_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    worker, done = JobThread(), list[str]()
    assert await worker.run(threading.current_thread) is threading.current_thread()
    worker.then(lambda: done.append("then"))
    worker.close()
    assert done == ["then"]
