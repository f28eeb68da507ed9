"""`Slots`: so many places; who waits gets the next one that is free, first come, first served."""

import asyncio
from collections import OrderedDict


class Slots:
    """Places in one event loop.

    `asyncio.Semaphore` takes twice as long over a place that is free. anyio's asks the context which library
    it runs under, and the context of a synchronous caller may say trio.
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    def take(self) -> bool:
        """Take a place if one is free: then nobody waits. Whether one was."""
        if self._free == 0:
            return False
        self._free -= 1
        return True

    async def acquire(self) -> None:
        """Wait for a place."""
        if self.take():
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.release()  # the place came together with the cancellation
            self._waiting.pop(turn, None)
            raise

    def release(self) -> None:
        """Give a place back: to whoever waits for it longest."""
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
