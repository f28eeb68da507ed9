"""One value per running event loop, so that a client may be used from several and is bound to none."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from lume_async._base.tasks import running_loop

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Makes the value on first use in a loop; it goes when the loop goes."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()

    def get(self) -> T:
        """The running loop's own value."""
        loop = running_loop()
        value = self._values.get(loop)
        return self._made_in(loop) if value is None else value

    def _made_in(self, loop: asyncio.AbstractEventLoop) -> T:
        forget_closed(self._values)
        value = self._values[loop] = self._make()
        return value

    def items(self) -> list[tuple[asyncio.AbstractEventLoop, T]]:
        """Those of all loops."""
        return list(self._values.items())


def forget_closed(values: WeakKeyDictionary[asyncio.AbstractEventLoop, T]) -> None:
    """Drop what belongs to closed loops: a lock that was waited for refers to its loop, and keeps its key alive."""
    for loop in [loop for loop in values if loop.is_closed()]:
        values.pop(loop, None)
