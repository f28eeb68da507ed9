"""Two quick Ctrl-C, at any two moments at which Python handles a signal: nothing is left, a following call works.

The second one arrives while the first is being handled: while the clean-up is waited for, between two statements of
that, in a finalizer.
"""

import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from threading import enumerate as threads
from typing import Any

import anyio
import pytest
from sync.conftest import add, tasks

from lume_async._base.batched import pull
from lume_sync._hops import call, loop_thread
from lume_sync._hops.held import Held
from lume_sync._hops.iteration import Items
from lume_sync._hops.portal import Portal
from lume_sync._hops.workers import Pulled

if sys.version_info >= (3, 12):
    from sync.interrupted_at import interrupted_at
else:
    pytest.skip("needs sys.monitoring", allow_module_level=True)

MOMENTS = 85
"""The first Ctrl-C comes at one of so many moments; from about the fiftieth on each case waits for the loop."""


class Left:
    """Whether anything was begun that did not end."""

    def __init__(self) -> None:
        self.open = 0

    @asynccontextmanager
    async def block(self) -> AsyncIterator[None]:
        self.open += 1
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                try:
                    yield
                finally:
                    group.cancel_scope.cancel()
                    with anyio.CancelScope(shield=True):
                        await anyio.sleep(0.002)
        finally:
            self.open -= 1

    async def wait(self) -> None:
        async with self.block():
            await anyio.sleep_forever()

    async def items(self) -> AsyncIterator[int]:
        self.open += 1
        try:
            yield 1
            await self.wait()
        finally:
            self.open -= 1

    def numbers(self) -> Iterator[int]:
        self.open += 1
        try:
            yield 1
            time.sleep(0.01)
            yield 2
        finally:
            self.open -= 1

    async def pulled(self, numbers: Pulled[int]) -> AsyncIterator[int]:
        async with aclosing(pull(numbers)) as source:
            async for number in source:
                yield number
        await self.wait()


def a_call(portal: Portal, left: Left) -> None:
    portal.call(left.wait).result()


def a_loop(portal: Portal, left: Left) -> None:
    for _ in Items(portal, left.items(), lambda item: item):
        pass


def a_loop_in_a_block(portal: Portal, left: Left) -> None:
    with Items(portal, left.items(), lambda item: item) as items:
        for _ in items:
            pass


def a_loop_that_is_left(portal: Portal, left: Left) -> None:
    with Items(portal, left.items(), lambda item: item) as items:
        for _ in items:
            raise KeyboardInterrupt


def a_loop_with_a_thread(portal: Portal, left: Left) -> None:
    for _ in Items(portal, left.pulled(Pulled(left.numbers())), lambda item: item):
        pass


def a_block(portal: Portal, left: Left) -> None:
    held = Held(portal, left.block())
    portal.call(held.enter).result()
    try:
        portal.call(left.wait).result()
    finally:
        portal.call(held.leave, None, None, None).result()


CASES = [a_call, a_loop, a_loop_in_a_block, a_loop_that_is_left, a_loop_with_a_thread, a_block]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "SLICE", 0.005)
    monkeypatch.setattr(loop_thread, "SWEEP", 0.01)
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # a Ctrl-C in a finalizer is shown and dropped


def interrupt(case: Callable[[Portal, Left], None], portal: Portal, first: int, second: int) -> None:
    left, before = Left(), {*threads()}

    def rest() -> Any:
        return left.open, tasks(portal), [thread for thread in threads() if thread not in before]

    with interrupted_at(first, second), suppress(KeyboardInterrupt):
        case(portal, left)
    deadline = time.monotonic() + 5
    while (found := rest()) != (0, 0, []):
        assert time.monotonic() < deadline, f"{case.__name__}, {first}, {second}: {found}"
        time.sleep(0.001)
    assert portal.call(add, 1, 2).result() == 3


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_two_interruptions(portal: Portal, case: Callable[[Portal, Left], None]) -> None:
    portal.call(add, 1).result()
    for number in range(10):
        interrupt(case, portal, MOMENTS - 3 * number, MOMENTS - 3 * number + 1 + number)


@pytest.mark.thorough
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("first", range(1, MOMENTS, 12))
def test_two_interruptions_at_every_moment(
    portal: Portal, case: Callable[[Portal, Left], None], first: int
) -> None:
    portal.call(add, 1).result()
    for each in range(first, first + 12, 2):
        for second in range(each + 1, each + 20, 5):
            interrupt(case, portal, each, second + each // 2 % 2)
