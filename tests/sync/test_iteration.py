"""Iterations and context managers across the hop: one owner task each, nothing left behind."""

import asyncio
import contextvars
import gc
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from on_posix import posix_only
from sync.conftest import tasks

import lume_sync
from lume_async import ClientClosedError
from lume_async._base.batched import Batched
from lume_async.testing import fake_client
from lume_sync._hops.held import Held
from lume_sync._hops.iteration import BATCH, Items
from lume_sync._hops.portal import Portal

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Numbers(AsyncIterator[int]):
    """Counts its steps; pages of ten are ready at once; `hang_at` waits for ever."""

    def __init__(self, count: int, *, hang_at: int | None = None) -> None:
        self.left = list(range(count))
        self.page: list[int] = []
        self.steps = 0
        self.hang_at = hang_at
        self.closed = 0
        self.hanging = threading.Event()

    async def __anext__(self) -> int:
        self.steps += 1
        await asyncio.sleep(0)
        if self.hang_at is not None and self.left and self.left[0] >= self.hang_at:
            self.hanging.set()
            await asyncio.Event().wait()
        if not self.page:
            self.page, self.left = self.left[:10], self.left[10:]
        if not self.page:
            raise StopAsyncIteration
        return self.page.pop(0)

    async def aclose(self) -> None:
        self.closed += 1


class Pages(Numbers, Batched[int]):
    def _take_ready(self, limit: int) -> list[int]:
        taken, self.page = self.page[:limit], self.page[limit:]
        return taken


async def ticks(log: list[str]) -> AsyncIterator[int]:
    """Holds a cancel scope and a child task over its yields, as no generator should, and as some do."""
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            for number in range(1000):
                yield number
                await anyio.sleep(0)
            group.cancel_scope.cancel()
    finally:
        log.append("closed")


def iterate(portal: Portal, source: AsyncIterator[Any]) -> Items[Any]:
    return Items(portal, source, lambda item: item)


def eventually(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_it_says_what_it_is(portal: Portal) -> None:
    assert repr(iterate(portal, Numbers(1))) == "<items, fetched as needed: use a for loop or list(...)>"
    core, _ = fake_client([])
    runs = lume_sync.Client._wrap(core).list_runs()
    assert repr(runs) == "<runs, fetched as needed: use a for loop or list(...)>"


def test_all_items_in_order_and_then_the_end(portal: Portal) -> None:
    source = Numbers(25)
    iteration = iterate(portal, source)
    assert list(iteration) == list(range(25))
    assert list(iteration) == []
    assert source.closed == 1
    assert tasks(portal) == 0


def test_ready_items_share_a_hop_and_nothing_is_fetched_ahead(portal: Portal) -> None:
    source = Pages(2000)
    iteration = iterate(portal, source)
    assert source.steps == 0
    assert next(iteration) == 0
    assert source.steps == 1
    assert [next(iteration) for _ in range(9)] == list(range(1, 10))
    assert source.steps == 1  # the second page only when it is asked for
    assert list(iteration) == list(range(10, 2000))
    assert source.steps == 201  # one step a page, one for the end


def test_a_hop_brings_a_bounded_batch(portal: Portal) -> None:
    source = Pages(0)
    source.page = list(range(3 * BATCH))
    assert list(iterate(portal, source)) == list(range(3 * BATCH))
    assert source.steps == 4


def test_an_error_comes_once_after_the_items_before_it(portal: Portal) -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ValueError("broken")

    iteration = iterate(portal, broken())
    assert next(iteration) == 1
    with pytest.raises(ValueError, match="broken") as caught:
        next(iteration)
    assert caught.value.__context__ is None
    assert list(iteration) == []


def test_an_index_error_of_the_callers_own_is_not_swallowed(portal: Portal) -> None:
    iteration: Items[int] = Items(portal, Numbers(1), [7][1:].__getitem__)
    with pytest.raises(IndexError):
        next(iteration)


def test_leaving_early_stops_the_work(portal: Portal) -> None:
    log: list[str] = []
    for number in iterate(portal, ticks(log)):
        if number == 3:
            break
    eventually(lambda: log == ["closed"] and tasks(portal) == 0)


def test_a_dropped_reference_stops_the_work(portal: Portal) -> None:
    log: list[str] = []
    iteration = iterate(portal, ticks(log))
    next(iteration)
    cycle: list[Any] = [iteration]
    cycle.append(cycle)
    del iteration, cycle
    gc.collect()
    eventually(lambda: log == ["closed"] and tasks(portal) == 0)


def test_close_waits_for_the_clean_up(portal: Portal) -> None:
    log: list[str] = []
    iteration = iterate(portal, ticks(log))
    next(iteration)
    iteration.close()
    assert log == ["closed"]
    assert list(iteration) == []
    iteration.close()


def test_close_from_another_thread_ends_the_step_under_way(portal: Portal) -> None:
    source = Numbers(1, hang_at=0)
    iteration = iterate(portal, source)
    with ThreadPoolExecutor(1) as pool:
        stepping = pool.submit(lambda: list(iteration))
        assert source.hanging.wait(5)
        iteration.close()
        assert stepping.result(timeout=5) == []
    assert source.closed == 1


def test_threads_may_share_an_iteration(portal: Portal) -> None:
    iteration = iterate(portal, Pages(5000))
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda _: list(iteration), range(8)))
    assert sorted(number for part in parts for number in part) == list(range(5000))


def test_every_step_sees_the_callers_context(portal: Portal) -> None:
    async def read() -> AsyncIterator[str]:
        while True:
            yield variable.get()

    iteration = iterate(portal, read())
    for value in ("first", "second"):
        variable.set(value)
        assert next(iteration) == value


@posix_only
def test_ctrl_c_gives_up_one_step_and_waits_for_its_clean_up(portal: Portal) -> None:
    """What can go on after that does so: a monitor in a notebook, say."""

    class Interrupted(Numbers):
        async def __anext__(self) -> int:
            if self.steps == 1:
                self.steps += 1
                os.kill(os.getpid(), signal.SIGINT)
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(0.02)
                    log.append("cleaned")
            return await super().__anext__()

    log: list[str] = []
    iteration = iterate(portal, Interrupted(2))
    assert next(iteration) == 0
    with pytest.raises(KeyboardInterrupt):
        next(iteration)
    assert log == ["cleaned"]
    assert list(iteration) == [1]


@posix_only
def test_ctrl_c_ends_a_generator(portal: Portal) -> None:
    async def interrupted() -> AsyncIterator[int]:
        yield 1
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    iteration = iterate(portal, interrupted())
    with pytest.raises(KeyboardInterrupt):
        list(iteration)
    assert list(iteration) == []
    assert tasks(portal) == 0


def test_closing_the_portal_ends_an_iteration(portal: Portal) -> None:
    source = Numbers(1, hang_at=0)
    iteration = iterate(portal, source)
    with ThreadPoolExecutor(1) as pool:
        stepping = pool.submit(lambda: list(iteration))
        assert source.hanging.wait(5)
        portal.close()
        with pytest.raises(ClientClosedError):
            stepping.result(timeout=5)
    with pytest.raises(ClientClosedError):
        next(iterate(portal, Numbers(1)))


# ── context managers ────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def group(log: list[Any]) -> AsyncIterator[None]:
    async with anyio.create_task_group() as task_group:
        task_group.start_soon(anyio.sleep_forever)
        try:
            yield
        except ValueError as error:
            log.append(error)
        finally:
            task_group.cancel_scope.cancel()
            log.append("left")


def test_one_task_enters_and_leaves(portal: Portal) -> None:
    log: list[Any] = []
    held = Held(portal, group(log))
    portal.call(held.enter).result()
    assert log == []
    assert portal.call(held.leave, None, None, None).result() is False
    assert log == ["left"]
    assert tasks(portal) == 0


def test_the_manager_sees_the_error_and_may_swallow_it(portal: Portal) -> None:
    log: list[Any] = []
    held = Held(portal, group(log))
    portal.call(held.enter).result()
    error = ValueError("in the block")
    assert portal.call(held.leave, ValueError, error, None).result() is True
    assert log == [error, "left"]


def test_errors_of_entering_and_leaving_reach_the_caller(portal: Portal) -> None:
    @asynccontextmanager
    async def broken(*, late: bool) -> AsyncIterator[None]:
        if not late:
            raise ValueError("early")
        yield
        raise ValueError("late")

    with pytest.raises(ValueError, match="early"):
        portal.call(Held(portal, broken(late=False)).enter).result()
    held = Held(portal, broken(late=True))
    portal.call(held.enter).result()
    with pytest.raises(ValueError, match="late"):
        portal.call(held.leave, None, None, None).result()


def test_leaving_what_was_never_entered_is_an_error(portal: Portal) -> None:
    with pytest.raises(RuntimeError, match="not entered"):
        portal.call(Held(portal, group([])).leave, None, None, None).result()


@posix_only
def test_an_exit_that_is_given_up_and_then_fails_makes_no_noise(
    portal: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        yield
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    held = Held(portal, slow())
    portal.call(held.enter).result()
    with pytest.raises(KeyboardInterrupt):
        portal.call(held.leave, None, None, None)
    del held
    gc.collect()
    assert tasks(portal) == 0
    assert caplog.text == ""


def test_what_is_dropped_without_its_exit_is_left(portal: Portal) -> None:
    """As after a Ctrl-C between the end of a `with` block and its exit."""
    log: list[Any] = []
    held = Held(portal, group(log))
    portal.call(held.enter).result()
    gc.disable()
    try:
        del held
        eventually(lambda: log == ["left"] and tasks(portal) == 0)
    finally:
        gc.enable()


def test_closing_the_portal_leaves_what_is_held(portal: Portal) -> None:
    log: list[Any] = []
    held = Held(portal, group(log))
    portal.call(held.enter).result()
    portal.close()
    assert log == ["left"]


@pytest.fixture(autouse=True)
def _no_cycles_left() -> Iterator[None]:
    """What a test leaves behind must make no noise when it is collected."""
    yield
    gc.collect()
