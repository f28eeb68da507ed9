"""One value per event loop, so that a client can be used from several."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from lume_async._base.tasks import running_loop

T = TypeVar("T")


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
        """Return the values of all loops."""
        return list(self._values.items())


def forget_closed(values: WeakKeyDictionary[asyncio.AbstractEventLoop, T]) -> None:
    """Drop the values of closed loops: a lock that was waited for refers to its loop, and keeps the key alive."""
    for loop in [loop for loop in values if loop.is_closed()]:
        values.pop(loop, None)
