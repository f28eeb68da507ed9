"""What lasts as long as a loop (`PerLoop`), and what ends with the client (`Lifetime`)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from lume_async._base.clock import Clock
from lume_async._base.tasks import running_loop
from lume_async.errors import ClientClosedError

T = TypeVar("T")

CLOSED_MEANWHILE = "the client was closed during this call"
"""The message of a `ClientClosedError` for a call under way."""


class PerLoop(Generic[T]):
    """Creates the value on first use in a loop; it is dropped with the loop."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def get(self) -> T:
        """Return the value of the running loop."""
        loop = running_loop()
        value = self._values.get(loop)
        if value is None:
            forget_closed(self._values)
            value = self._values[loop] = self._make()
        return value

    def items(self) -> list[tuple[asyncio.AbstractEventLoop, T]]:
        return list(self._values.items())


def forget_closed(values: WeakKeyDictionary[asyncio.AbstractEventLoop, T]) -> None:
    """Drop the values of closed loops: a lock that was waited for refers to its loop, and keeps the key alive."""
    for loop in [loop for loop in values if loop.is_closed()]:
        values.pop(loop, None)


class Lifetime:
    """A `Clock` with the time of another one."""

    def __init__(self, clock: Clock) -> None:
        self.now: Callable[[], float] = clock.now
        self.wall: Callable[[], float] = clock.wall
        self.over: bool = False
        """Whether the client was closed."""
        self._clock = clock
        self._listeners: PerLoop[set[Callable[[], object]]] = PerLoop(set)

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`. Raises `ClientClosedError` if the client is closed, or as soon as it is."""
        try:
            async with asyncio.timeout(None) as alarm:

                def ring() -> None:
                    alarm.reschedule(0)

                self.listen(ring)
                try:
                    return await self._clock.sleep(seconds)
                finally:
                    self.forget(ring)
        except TimeoutError:
            pass
        raise ClientClosedError(CLOSED_MEANWHILE)

    def listen(self, ended: Callable[[], object]) -> None:
        """Call `ended` in the running loop when the client is closed. Raises `ClientClosedError` if it is."""
        listeners = self._listeners.get()
        listeners.add(ended)
        if self.over:  # checked last: a concurrent close either finds the listener, or is noticed here
            listeners.discard(ended)
            raise ClientClosedError

    def forget(self, ended: Callable[[], object]) -> None:
        for _, listeners in self._listeners.items():
            listeners.discard(ended)

    def end(self) -> None:
        """Call the listeners, each in its own loop, as the client is closed. May be called from any thread."""
        self.over = True
        for loop, listeners in self._listeners.items():
            with suppress(RuntimeError):  # that loop is closed, and its listeners with it
                loop.call_soon_threadsafe(_call_all, listeners)


def _call_all(listeners: set[Callable[[], object]]) -> None:
    while listeners:
        listeners.pop()()
