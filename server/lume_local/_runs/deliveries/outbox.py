"""Sends the deliveries of the outbox: a few attempts at a time, each with a time limit, all owned by one block.

Each kind of delivery has a carrier. Hosts take turns, and each gets few concurrent attempts, so an unresponsive host
delays no other.

Delivery is at least once: if the end of the server interrupts an attempt, the next server repeats it with the same
delivery id and body.
"""

import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from operator import itemgetter
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from lume_async._base.tasks import task_group
from lume_local._runs.health import Health, why
from lume_local._runs.sql.sql_outbox import SqlDeliveries
from lume_local._runs.store.records import PendingDelivery, StoreFailed
from lume_local._runs.upkeep import until_it_works

_log = logging.getLogger("lume_local")

UNIT = 1.0
"""Seconds: after the n-th failure the next attempt waits 2^n units."""
MOST_ATTEMPTS = 12
"""The last attempt comes 68 minutes after the first: a receiver may be away for an hour."""
MOST_PER_HOST = 2
"""Concurrent attempts for one host, such as an entry of `webhook_hosts`."""
MOST_AT_ONCE = 64
"""Concurrent attempts for all hosts. Only half may be a host's second one: 64 hosts must hang to delay the others."""
_LONGEST_PAUSE = UNIT * 2**MOST_ATTEMPTS
_GRACE = 2.0
"""Seconds that attempts in progress get when the server ends."""
RETRY = 5.0
"""Seconds until the next try if the outbox can't be read or written."""
_OUTBOX = "the webhooks' outbox"


class Carrier(Protocol):
    """Carries the deliveries of one kind.

    Attributes:
        kind: one of `records.KINDS`.
        name: its name in the log.
        most_per_host: the maximum number of concurrent attempts for one host.
    """

    kind: str
    name: str
    most_per_host: int

    def running(self) -> AbstractAsyncContextManager[None]:
        """Allow `carry` while the block lasts."""
        ...

    def host(self, delivery: PendingDelivery) -> Hashable:
        """Return the host that a delivery counts for."""
        ...

    async def carry(self, delivery: PendingDelivery, body: bytes) -> str | None:
        """Make one attempt, in limited time; return None if it was delivered, otherwise the reason."""
        ...


class DeliveryOutbox:
    """Sends pending deliveries while its `running` block lasts; used from one event loop.

    Args:
        carriers: one for each kind that is delivered; others stay pending.
        given_up: called with the kind of a delivery after its last attempt.
    """

    def __init__(
        self,
        deliveries: SqlDeliveries,
        carriers: Iterable[Carrier],
        health: Health,
        given_up: Callable[[str], object] = lambda _kind: None,
    ) -> None:
        self._deliveries = deliveries
        self._carriers = {one.kind: one for one in carriers}
        self._health = health
        self._given_up = given_up
        self._woken = anyio.Event()
        self._active: dict[str, Hashable] = {}
        """The host of each active attempt, by delivery."""
        self._closing = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send deliveries, including pending ones of an earlier server.

        At the end no new attempt begins; active ones get a short grace period, and the rest is left to the next
        server.
        """
        if not self._carriers:
            yield
            return
        async with AsyncExitStack() as stack:
            for carrier in self._carriers.values():
                await stack.enter_async_context(carrier.running())
            tasks = await stack.enter_async_context(task_group())
            tasks.start_soon(self._deliver, tasks)
            try:
                yield
            finally:
                self._closing = True
                self.wake()
                tasks.cancel_scope.deadline = anyio.current_time() + _GRACE

    def wake(self) -> None:
        """Check for due deliveries."""
        self._woken.set()

    async def _deliver(self, tasks: TaskGroup) -> None:
        while not self._closing:
            self._woken = anyio.Event()
            try:
                pause = await self._begin_due(tasks)
            except StoreFailed as error:
                self._health.trouble(_OUTBOX, why(error))
                pause = RETRY
            with anyio.move_on_after(pause):
                await self._woken.wait()

    async def _begin_due(self, tasks: TaskGroup) -> float | None:
        """Begin due attempts, up to the limit. Returns the seconds until the next one, if known."""
        now = time.time()
        active = set(self._active)  # an attempt that ends during the query may still appear as due
        waiting = await self._deliveries.waiting(2 * MOST_PER_HOST, self._carriers)
        due, later = [], []
        for one in waiting:
            if one.id in active:
                continue
            if now < one.due <= now + _LONGEST_PAUSE:  # a later time means that the clock was set back
                later.append(one.due)
            else:
                due.append((self._carriers[one.kind].host(one), one))
        for host, delivery in _in_turns(due):
            of_host = list(self._active.values()).count(host)
            most = MOST_AT_ONCE // 2 if of_host else MOST_AT_ONCE  # leaves room for hosts without an attempt
            if of_host < self._carriers[delivery.kind].most_per_host and len(self._active) < most:
                body = await self._deliveries.body(delivery.id)
                self._active[delivery.id] = host
                tasks.start_soon(self._attempt, delivery, body)
        return min(later) - now if later else None

    async def _attempt(self, delivery: PendingDelivery, body: bytes) -> None:
        try:
            error = await self._carriers[delivery.kind].carry(delivery, body)
            # An unrecorded delivery would be sent again and again.
            await until_it_works(partial(self._note, delivery, error), _OUTBOX, self._health, RETRY)
        finally:
            del self._active[delivery.id]
            self.wake()

    async def _note(self, delivery: PendingDelivery, error: str | None) -> None:
        """Record the result of an attempt. Raises `StoreFailed`."""
        if error is None:
            return await self._deliveries.delivered(delivery.id)
        attempts = delivery.attempts + 1
        gives_up = attempts >= MOST_ATTEMPTS
        due = None if gives_up else time.time() + UNIT * 2**attempts
        await self._deliveries.failed(delivery.id, error, due)
        if gives_up:
            self._given_up(delivery.kind)
        level = logging.WARNING if gives_up else logging.INFO
        words = "%s of run %s: attempt %d of %d: %s"
        name = self._carriers[delivery.kind].name
        _log.log(level, words, name, delivery.run_id or "-", attempts, MOST_ATTEMPTS, error)


def _in_turns(due: Sequence[tuple[Hashable, PendingDelivery]]) -> list[tuple[Hashable, PendingDelivery]]:
    """Order deliveries in rounds: the first of each host, then the second of each; `due` decides within a round."""
    before: Counter[Hashable] = Counter()
    turns = []
    for host, delivery in due:
        turns.append((before[host], host, delivery))
        before[host] += 1
    return [(host, delivery) for _, host, delivery in sorted(turns, key=itemgetter(0))]
