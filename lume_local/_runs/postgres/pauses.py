"""Pauses of submissions: any number of them at a time, or none as long as a pause lasts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class Pauses:
    """Only the server that has the lease submits, so this is a matter of its own tasks.

    A submission that waits has no connection: those are for the pause.
    """

    def __init__(self) -> None:
        self._one_at_a_time = anyio.Lock(fast_acquire=True)
        self._submitting = 0
        self._none = anyio.Event()

    @asynccontextmanager
    async def submitting(self) -> AsyncIterator[None]:
        async with self._one_at_a_time:  # held as long as a pause lasts
            self._submitting += 1
        try:
            yield
        finally:
            self._submitting -= 1
            if not self._submitting:
                self._none.set()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        async with self._one_at_a_time:
            while self._submitting:
                self._none = anyio.Event()
                await self._none.wait()
            yield
