"""User code that blocks never runs on the loop."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lume_sync._bridge import offload, pulled, veiled
from lume_sync._hops.portal import Portal
from lume_sync._hops.workers import DaemonExecutor, Pulled


async def collect(pulled: Pulled[Any], count: int | None = None) -> list[Any]:
    items = []
    async for item in pulled:
        items.append(item)
        if len(items) == count:
            break
    return items


def test_an_iterable_is_pulled_in_one_thread_of_its_own_on_demand(portal: Portal) -> None:
    threads, pulled = set(), []

    def numbers() -> Iterator[int]:
        for number in range(10):
            threads.add(threading.current_thread())
            pulled.append(number)
            yield number

    assert portal.call(collect, Pulled(numbers()), 3).result() == [0, 1, 2]
    assert pulled == [0, 1, 2]
    assert len(threads) == 1
    assert threads.isdisjoint({threading.current_thread(), portal.engine().thread})


def test_an_iterable_ends_and_its_thread_with_it(portal: Portal) -> None:
    others = threading.enumerate()
    pulled = Pulled(iter("abc"))
    assert portal.call(collect, pulled).result() == ["a", "b", "c"]
    assert portal.call(collect, pulled).result() == []
    workers = [
        thread for thread in threading.enumerate() if thread.name == "lume-worker" and thread not in others
    ]
    assert workers
    del pulled
    for worker in workers:
        worker.join(5)
        assert not worker.is_alive()


def test_where_no_thread_can_be_started_an_iterable_is_pulled_here(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in exit handlers of newer Pythons."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    monkeypatch.setattr("lume_async._base.threads.spawn", refuse)
    pulled = Pulled(iter("abc"))
    assert portal.call(collect, pulled, 1).result() == ["a"]
    assert portal.call(collect, pulled).result() == ["b", "c"]
    assert portal.call(collect, pulled).result() == []
    with pytest.raises(ValueError, match="broken"):
        portal.call(collect, Pulled(broken())).result()


def test_what_is_not_iterable_fails_in_the_callers_thread() -> None:
    with pytest.raises(TypeError):
        Pulled(7)  # type: ignore[arg-type]


def test_only_a_plain_list_or_tuple_needs_no_thread() -> None:
    class Slow(list[int]):
        """May block in a step."""

    for plain in ([1, 2], (1, 2)):
        assert pulled(plain) is plain
    for other in (Slow([1]), {1}, iter([1])):
        assert isinstance(pulled(other), Pulled)


def test_the_loop_goes_on_while_an_iterable_blocks(portal: Portal) -> None:
    release = threading.Event()

    def slow() -> Iterator[int]:
        release.wait(10)
        yield 1

    async def both() -> list[int]:
        pulling = asyncio.ensure_future(collect(Pulled(slow())))
        await asyncio.sleep(0.01)
        release.set()
        return await pulling

    assert portal.call(both).result() == [1]


def test_a_demand_taken_back_harms_nobody(portal: Portal) -> None:
    release = threading.Event()

    def slow() -> Iterator[int]:
        release.wait(10)
        yield 1
        yield 2

    async def impatient() -> list[int]:
        pulled = Pulled(slow())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(pulled)
        release.set()
        return await collect(pulled)

    assert portal.call(impatient).result() == [2]


def test_a_plain_key_function_runs_off_the_loop(portal: Portal) -> None:
    def key() -> str:
        assert threading.current_thread() not in (portal.engine().thread, main)
        return "key"

    main = threading.current_thread()
    assert portal.call(offload(key)).result() == "key"


def test_an_asynchronous_key_function_stays_as_it_is(portal: Portal) -> None:
    async def key() -> str:
        return "key"

    assert offload(key) is key
    assert portal.call(offload(lambda: key())).result() == "key"
    assert offload(None) is None


def test_secrets_are_not_shown_among_locals() -> None:
    assert repr(offload("canary")) == repr(veiled("canary")) == "'[redacted]'"
    assert offload("canary") == "canary"
    assert veiled(False) is False


def test_a_job_runs_even_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert DaemonExecutor().submit(lambda: 7).result(timeout=1) == 7


def test_a_jobs_error_and_its_cancellation() -> None:
    executor = DaemonExecutor()
    with pytest.raises(ZeroDivisionError):
        executor.submit(lambda: 1 // 0).result(timeout=5)
