"""Long polls for a run or the feed. A change wakes the waiters of its run and all watchers of the feed."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from lume_local._runs.watchers import Watchers

MOST_WAITERS = 10_000


class ChangeWaiter:
    """Notices changes while its `with` block lasts.

    Read the state inside the block, so that a change during the read is noticed.
    """

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._changed = asyncio.Event()

    async def until(self, deadline: float) -> bool:
        """Wait for a change since the last call; False at the deadline (loop time), or once the hub is closed."""
        if not self._changed.is_set():
            if self._hub.is_closed:
                return False
            try:
                async with asyncio.timeout_at(deadline):
                    await self._changed.wait()
            except TimeoutError:
                return False
        self._changed.clear()
        return True

    def notice(self) -> None:
        self._changed.set()


class Hub:
    """Wakes waiters. Used from one event loop."""

    def __init__(self) -> None:
        self._waiters: defaultdict[str, set[ChangeWaiter]] = defaultdict(set)
        self._count = 0
        self.watchers = Watchers()
        self.is_closed = False

    @property
    def is_open(self) -> bool:
        """Whether one more waiter is allowed; if not, respond immediately."""
        return not self.is_closed and self._count + self.watchers.count < MOST_WAITERS

    @contextmanager
    def waiter(self, key: str) -> Iterator[ChangeWaiter]:
        """Provide a waiter for changes of a run."""
        waiter, waiters = ChangeWaiter(self), self._waiters[key]
        self._count += 1
        waiters.add(waiter)
        try:
            yield waiter
        finally:
            self._count -= 1
            waiters.discard(waiter)
            if not waiters:
                del self._waiters[key]

    def notify(self, *run_ids: str) -> None:
        """Report that these runs have changed; without ids, that a run was created."""
        for key in run_ids:
            for waiter in self._waiters.get(key, ()):
                waiter.notice()
        self.watchers.notify()

    def close(self) -> None:
        """Wake all waiters, and let none wait from now on."""
        self.is_closed = True
        self.watchers.close()
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.notice()
