"""One piece of work at a time, in turns of API keys: none waits for more than one piece of each other key."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class TooManyWaiting(Exception):
    """This key has reached its maximum of pieces of work in progress or waiting."""


class NoTurn(Exception):
    """The turn did not come in time."""


class Turns:
    """Gives the next turn to the waiting key whose last turn is the longest ago.

    Args:
        most: the maximum of a key's pieces of work in progress or waiting; None for any number.
        patience: how many seconds one may wait; None for any time.
    """

    def __init__(self, most: int | None = None, patience: float | None = None) -> None:
        self._most, self._patience = most, patience
        self._holder: str | None = None
        self._waiting: dict[str, deque[anyio.Event]] = {}
        """The waiting work by key, the next key first."""

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Run the block as one piece of this key's work. Raises `TooManyWaiting`, `NoTurn`."""
        under_way = len(self._waiting.get(key, ())) + (key == self._holder)
        if self._most is not None and under_way >= self._most:
            raise TooManyWaiting
        if self._holder is None:
            self._holder = key
        else:
            await self._wait(key)
        try:
            yield
        finally:
            self._pass_on(key)

    async def _wait(self, key: str) -> None:
        mine = anyio.Event()
        self._waiting.setdefault(key, deque()).append(mine)
        try:
            with anyio.fail_after(self._patience):
                await mine.wait()
        except BaseException as error:
            if mine.is_set():  # its turn came in the same moment
                self._pass_on(key)
            else:
                self._waiting[key].remove(mine)
                if not self._waiting[key]:
                    del self._waiting[key]
            if isinstance(error, TimeoutError):
                raise NoTurn from None
            raise

    def _pass_on(self, key: str) -> None:
        """End a turn: its key becomes the last one, and the first one is next."""
        if key in self._waiting:
            self._waiting[key] = self._waiting.pop(key)
        self._holder = next(iter(self._waiting), None)
        if self._holder is not None:
            waiting = self._waiting[self._holder]
            waiting.popleft().set()
            if not waiting:
                del self._waiting[self._holder]
