"""The hop under Ctrl-C, and how it all ends."""

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any
from weakref import WeakSet

import pytest
from on_posix import posix_only
from sync.conftest import add, for_ever, tasks

from lume_async import ClientClosedError
from lume_sync._hops import call as _call
from lume_sync._hops.portal import Portal

# ── Ctrl-C ──────────────────────────────────────────────────────────────────────────────────────────────────────


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@posix_only
def test_ctrl_c_cancels_and_waits_for_the_clean_up(portal: Portal) -> None:
    cleaned = []

    async def interrupted() -> None:
        press_ctrl_c()
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0.05)
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt):
        portal.call(interrupted)
    assert cleaned == [True]
    assert tasks(portal) == 0


@posix_only
def test_a_coroutine_that_ignores_ctrl_c_is_left_behind(portal: Portal, short_waits: None) -> None:
    release = threading.Event()

    async def stubborn() -> None:
        press_ctrl_c()
        while not release.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
        raise ValueError("nobody listens: this must not be said on stderr")

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        portal.call(stubborn)
    assert 0.2 <= time.monotonic() - begun < 2
    release.set()
    while tasks(portal):
        time.sleep(0.005)
    gc.collect()


@posix_only
def test_a_second_ctrl_c_returns_at_once(portal: Portal) -> None:
    release = threading.Event()

    async def stubborn() -> None:
        press_ctrl_c()
        try:
            await for_ever()
        finally:
            press_ctrl_c()
            while not release.is_set():
                await asyncio.sleep(0.01)

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        portal.call(stubborn)
    assert time.monotonic() - begun < 1.5
    release.set()


def test_ctrl_c_before_the_first_step_does_not_wait(portal: Portal) -> None:
    """The coroutine is cancelled before it begins: no `finally` of its own will report that."""
    engine = portal.engine()
    call = _call.Call(engine, for_ever, (), {})
    held, release = threading.Event(), threading.Event()
    engine.loop.call_soon_threadsafe(lambda: (held.set(), release.wait(5)))
    assert held.wait(5)  # the loop stands still, so that start and cancel are handled in one turn
    call._schedule(call._start)
    threading.Timer(0.05, release.set).start()
    begun = time.monotonic()
    call._interrupt()
    assert time.monotonic() - begun < 1


# ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_states(portal: Portal) -> None:
    assert portal.state == "new"
    portal.call(add, 1)
    assert portal.state == "open"
    portal.close()
    assert portal.state == "closed"
    portal.close()
    with pytest.raises(ClientClosedError):
        portal.call(add, 1)


@pytest.mark.thorough
def test_closing_at_any_moment_ends_each_call(busy_switching: None) -> None:
    for round_ in range(20):
        portal = Portal(new_loop=asyncio.new_event_loop)
        portal.engine()

        def work(portal: Portal = portal) -> int:
            for done in count():  # without an end: these threads leave `close` little time
                try:
                    portal.call(add, 1).result()
                except ClientClosedError:
                    return done
            raise AssertionError

        with ThreadPoolExecutor(8) as pool:
            working = [pool.submit(work) for _ in range(8)]
            time.sleep(0.001 * round_)
            portal.close()
            for future in working:
                future.result(timeout=10)


def test_a_loop_that_dies_takes_nobody_along(portal: Portal) -> None:
    """Whatever ends the thread: pending calls end, later ones get a new loop."""
    engine = portal.engine()
    begun = threading.Event()

    async def wait() -> None:
        begun.set()
        await for_ever()

    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(lambda: portal.call(wait).result())
        assert begun.wait(5)
        engine.stop()
        with pytest.raises(ClientClosedError):
            pending.result(timeout=5)
    assert portal.call(add, 1).result() == 1
    assert portal.engine() is not engine


def test_generators_may_begin_while_the_interpreter_ends(portal: Portal) -> None:
    begun: list[AsyncIterator[int]] = []

    async def numbers() -> AsyncIterator[int]:
        yield 1

    async def begin() -> None:
        begun.append(numbers())
        await anext(begun[-1])

    class Interrupted(WeakSet[Any]):
        def __iter__(self) -> Iterator[Any]:
            for generator in super().__iter__():
                portal.call(begin).result()
                yield generator

    portal.call(begin).result()
    engine = portal.engine()
    engine.generators = Interrupted(engine.generators)
    portal.at_exit()
    assert len(begun) == 2
    assert portal.call(add, 1).result() == 1
