"""`Lifetime`: a client's own clock, on which nobody sleeps longer than the client is open."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from lume_async._base.clock import Clock
from lume_async._http.per_loop import PerLoop
from lume_async.errors import ClientClosedError


class Lifetime:
    """A `Clock`: the same time as another one, but every sleep ends with the client."""

    def __init__(self, clock: Clock) -> None:
        self.now: Callable[[], float] = clock.now
        self.wall: Callable[[], float] = clock.wall
        self.over: bool = False
        """Whether the client was closed."""
        self._clock = clock
        self._listeners: PerLoop[set[Callable[[], object]]] = PerLoop(set)

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds.

        Raises:
            ClientClosedError: the client is closed, or was closed meanwhile.
        """
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
        raise ClientClosedError("the client was closed during this call")

    def listen(self, ended: Callable[[], object]) -> None:
        """Call `ended` in the running loop when the client is closed.

        Raises:
            ClientClosedError: it is closed already.
        """
        listeners = self._listeners.get()
        listeners.add(ended)
        if self.over:  # asked last: who closes it at this moment finds the one or is found by the other
            listeners.discard(ended)
            raise ClientClosedError("the client is closed: make a new one")

    def forget(self, ended: Callable[[], object]) -> None:
        """Don't call it any more."""
        for _, listeners in self._listeners.items():
            listeners.discard(ended)

    def end(self) -> None:
        """The client is closed: everyone hears of it, each in its own loop. May be called from any thread."""
        self.over = True
        for loop, listeners in self._listeners.items():
            with suppress(RuntimeError):  # that loop is closed, and with it whoever listened
                loop.call_soon_threadsafe(_call_all, listeners)


def _call_all(listeners: set[Callable[[], object]]) -> None:
    while listeners:
        listeners.pop()()
