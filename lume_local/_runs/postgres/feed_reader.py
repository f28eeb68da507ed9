"""Notices when changes become visible in the feed: that may be later than they were made.

A change waits for older transactions that are still open. Those who wait for the feed have looked by then, and are
woken again. One reader does it for all of them; it is told of writes (a hint), and looks every now and then (the
truth).
"""

from collections.abc import Awaitable, Callable

import anyio

from lume_local._runs.store.records import Cursor, StoreFailed

FIRST, LONGEST = 0.01, 0.5
"""Seconds between two looks, doubled as long as the last change that this server made is not visible."""


class FeedReader:
    """Follows the end of the feed."""

    def __init__(self, newest: Callable[[], Awaitable[Cursor]]) -> None:
        self._newest = newest
        self._last = Cursor(0, 0)
        self._more = anyio.Event()

    def written(self, change: Cursor) -> None:
        """This server makes a change, which may be undone."""
        self._last = max(self._last, change)
        self._more.set()

    async def follow(self, visible: Callable[[], None]) -> None:
        """Call `visible` when there are changes, until cancelled."""
        seen, pause = Cursor(0, 0), FIRST
        while True:
            self._more = anyio.Event()
            try:
                newest = await self._newest()
            except StoreFailed:  # reported by those who need the state
                newest = seen
            if newest > seen:
                seen, pause = newest, FIRST
                visible()
            pause = LONGEST if seen >= self._last else min(2 * pause, LONGEST)
            with anyio.move_on_after(pause):
                await (self._more.wait() if pause == LONGEST else anyio.sleep(LONGEST))
