"""What is posted to the loop from other threads: its order, its failures, and how often the loop is woken for it."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from sync.conftest import add

from lume_sync._hops.loop_thread import LoopThread
from lume_sync._hops.portal import Portal

THREADS = 64


class Counted:
    """The loop of an engine, and how often it was woken."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.wakes, self.is_interrupted = loop, 0, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loop, name)

    def call_soon_threadsafe(self, *arguments: Any, **options: Any) -> None:
        if self.is_interrupted:
            self.is_interrupted = False
            raise KeyboardInterrupt
        self.wakes += 1
        self.loop.call_soon_threadsafe(*arguments, **options)


@contextmanager
def standing_still(engine: LoopThread) -> Iterator[Counted]:
    """A turn of the loop, in which it looks at nothing else until the end of the block."""
    held, release, plain = threading.Event(), threading.Event(), engine.loop
    plain.call_soon_threadsafe(lambda: (held.set(), release.wait(5)))
    assert held.wait(5)
    counted = Counted(plain)
    engine.loop = counted  # type: ignore[assignment]
    try:
        yield counted
    finally:
        engine.loop = plain
        release.set()


def test_posts_between_two_turns_wake_the_loop_once(portal: Portal) -> None:
    """Each wake-up is a system call that gives the interpreter's lock away: with one for each call
    of 64 threads, asyncio's loop takes 5 to 9 % more CPU."""
    seen: list[int] = []
    with standing_still(portal.engine()) as loop:
        for number in range(THREADS):
            portal.engine().post(partial(seen.append, number))
        assert loop.wakes == 1
    assert portal.call(add, 1).result() == 1
    assert seen == list(range(THREADS))

    with standing_still(portal.engine()) as loop:
        portal.engine().post(partial(seen.append, THREADS))
        assert loop.wakes == 1, "after it has looked, the loop has to be woken again"
    assert portal.call(add, 1).result() == 1
    assert seen[-1] == THREADS


def test_ctrl_c_at_a_wake_up_loses_nothing(portal: Portal) -> None:
    engine, seen = portal.engine(), list[int]()
    with standing_still(engine) as loop:
        loop.is_interrupted = True
        with pytest.raises(KeyboardInterrupt):
            engine.post(partial(seen.append, 1))
        engine.post(partial(seen.append, 2))
        assert loop.wakes == 1
    assert portal.call(add, 1).result() == 1
    assert seen == [1, 2]


def test_a_post_that_fails_keeps_none_of_the_others_from_running(portal: Portal) -> None:
    engine, seen, errors = portal.engine(), list[int](), list[BaseException]()
    engine.loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))

    def fail() -> None:
        raise ValueError

    with standing_still(engine):
        for callback in (fail, partial(seen.append, 1), fail, partial(seen.append, 2)):
            engine.post(callback)
    for _ in range(3):
        portal.call(asyncio.sleep, 0)
    assert seen == [1, 2]
    assert [type(error) for error in errors] == [ValueError, ValueError]


def test_a_closed_loop_refuses_posts_and_keeps_none(portal: Portal) -> None:
    class Callback:
        def __call__(self) -> None: ...

    engine, callback = portal.engine(), Callback()
    gone: Callable[[], object] = weakref.ref(callback)
    portal.close()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            engine.post(callback)
    del callback
    gc.collect()
    assert gone() is None


def test_a_loop_that_closes_before_it_looks_refuses_the_next_post() -> None:
    """Its caller would otherwise wait for a second, until it sees that the thread has ended."""
    engine = LoopThread(asyncio.new_event_loop)
    engine.post(lambda: None)
    engine._end()
    with pytest.raises(RuntimeError):
        engine.post(lambda: None)
    assert not engine._posted
