"""The change feed: one long-poll request in place of a look at each run."""

from collections.abc import Callable

from lume_async._base.backoff import POLLING
from lume_async._http.sender import Sender
from lume_async._run.poll import SHORTEST_HOLD
from lume_async._wire import endpoints
from lume_async._wire.endpoints import LONGEST_HOLD, Change
from lume_async.errors import ApiError

RECHECK = 5.0
"""Seconds between two looks at whether the server has learnt to tell changes."""

GATHER = 0.06
"""Seconds in which further changes gather before they are asked for: else a busy server gets a request for each."""


class ChangeFeed:
    """Follows all status changes of a server, as long as it has the capability `changes`.

    Args:
        changed: told where each run is now that has changed, and when the server was asked for that.
        switched: told True when from now on every change is told, False when that has ended: a lost
            connection, an expired cursor, a server that can't. What happened in between is never told.
    """

    def __init__(
        self,
        sender: Sender,
        *,
        changed: Callable[[Change, float], None],
        switched: Callable[[bool], None],
    ) -> None:
        self._sender = sender
        self._changed = changed
        self._switched = switched

    async def follow(self) -> None:
        """Follow for ever; failures are waited out and begun anew."""
        sender, failures = self._sender, 0
        while True:
            delay = RECHECK
            if sender.can("changes"):
                try:
                    cursor = (await sender.send(endpoints.changes(None))).next_cursor
                    self._switched(True)
                    failures = 0
                    await self._read_on(cursor)
                except ApiError as error:
                    delay = max(error.retry_after or 0.0, POLLING.delay(failures, sender.rng))
                    failures += 1
                self._switched(False)
            await sender.clock.sleep(delay)

    async def _read_on(self, cursor: str | None) -> None:
        sender, idle = self._sender, 0
        while sender.can("changes"):
            started = sender.clock.now()
            hold = LONGEST_HOLD if sender.can("wait") else 0.0
            page = await sender.send(endpoints.changes(cursor, hold=hold))
            cursor = page.next_cursor
            # Of several changes of a run only the last is news: a look may have shown those before it already.
            for change in {change.id: change for change in page.items}.values():
                self._changed(change, started)
            if page.items:
                idle = 0
                await sender.clock.sleep(GATHER)
            elif sender.clock.now() - started >= SHORTEST_HOLD:
                idle = 0
            else:  # a server that does not hold the request must not be asked in a hot loop
                await sender.clock.sleep(POLLING.delay(idle, sender.rng))
                idle += 1
