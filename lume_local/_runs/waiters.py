"""Long polls that wait for a run. One future per waiter, keyed by run: a change wakes only those that it concerns."""

import asyncio
from collections import defaultdict

EVERY_RUN = "*"
"""The key of those that wait for a change of any run."""
MOST_WAITERS = 10_000


class Hub:
    """Wakes waiters. Used from one event loop."""

    def __init__(self) -> None:
        self._waiters: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._count = 0
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether there is room for one more waiter; if not, answer at once."""
        return not self._closed and self._count < MOST_WAITERS

    async def wait(self, key: str, seconds: float) -> None:
        """Return at the next `notify` of the key, at `close`, or after `seconds`."""
        if not self.is_open:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[key].add(future)
        self._count += 1
        try:
            async with asyncio.timeout(seconds):
                await future
        except TimeoutError:
            pass
        finally:
            self._count -= 1
            waiters = self._waiters[key]
            waiters.discard(future)
            if not waiters:
                del self._waiters[key]

    def notify(self, run_id: str) -> None:
        """A run has changed."""
        for key in (run_id, EVERY_RUN):
            for future in self._waiters.get(key, ()):
                if not future.done():
                    future.set_result(None)

    def close(self) -> None:
        """Wake all waiters, and accept no more."""
        self._closed = True
        for waiters in self._waiters.values():
            for future in waiters:
                if not future.done():
                    future.set_result(None)
