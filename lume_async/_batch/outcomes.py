"""`Outcomes`: the iterator that `run_many` returns, and the `Outbox` that feeds it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from anyio import WouldBlock
from anyio.streams.memory import MemoryObjectSendStream

from lume_async._base.batched import Items, Steps
from lume_async._many.owned import owned
from lume_async._run.handle import LumeRun
from lume_async.models import Outcome


class Outbox:
    """Outcomes that wait for the reader; taking one frees a place for another request."""

    def __init__(self, places: int) -> None:
        self.places = asyncio.Semaphore(places)  # anyio's needs a running loop at creation
        self.ready: deque[Outcome[LumeRun]] = deque()
        self.wake: MemoryObjectSendStream[None] | None = None

    def put(self, outcome: Outcome[LumeRun]) -> None:
        """Add an outcome, and wake the reader if it is the first."""
        self.ready.append(outcome)
        if len(self.ready) == 1 and self.wake is not None:
            with suppress(WouldBlock):  # it is awake already
                self.wake.send_nowait(None)

    def take(self) -> Outcome[LumeRun]:
        """Remove and return the oldest outcome."""
        self.places.release()
        return self.ready.popleft()


class Outcomes(Items[Outcome[LumeRun]]):
    """The outcomes of a batch.

    Args:
        work: the batch, which runs from the first step to the last; its error is raised after the outcomes.
    """

    def __init__(self, outbox: Outbox, work: Callable[[], Awaitable[None]]) -> None:
        self._outbox = outbox

        # Quoted: evaluating anyio's type imports modules, which fails during interpreter shutdown.
        async def batch(wake: "MemoryObjectSendStream[None]") -> None:
            outbox.wake = wake
            await work()

        wakes = owned(batch, take=lambda wake: wake, ready=1)
        self._wakes = Steps(wakes.__anext__, wakes)

    async def __anext__(self) -> Outcome[LumeRun]:
        while not self._outbox.ready:
            if self._wakes.is_busy:  # another task waits for outcomes, which are for all
                await self._wakes.until_free()
            else:
                await self._wakes.next()
        return self._outbox.take()

    def _take_ready(self, limit: int) -> list[Outcome[LumeRun]]:
        """Return only outcomes from the journal: taking others early would free places for more runs."""
        ready, taken = self._outbox.ready, list[Outcome[LumeRun]]()
        while len(taken) < limit and ready and ready[0].remembered:
            taken.append(self._outbox.take())
        return taken

    async def aclose(self) -> None:
        """End the batch; outcomes that were not taken are dropped."""
        self._outbox.ready.clear()
        await self._wakes.aclose()
