"""Sends the deliveries of the outbox: a few attempts at a time, each with a time limit, all owned by one block.

Hosts take turns, and each gets few concurrent attempts, so an unresponsive host delays no other.

Delivery is at least once: if the end of the server interrupts an attempt, the next server repeats it with the same
delivery id and body.
"""

import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from operator import itemgetter

import aiohttp
import anyio
from aiohttp.abc import AbstractResolver
from anyio.abc import TaskGroup
from yarl import URL

from lume_async._base.elided import elided
from lume_async._base.tasks import task_group
from lume_local._runs.deliveries.addresses import OutwardResolver
from lume_local._runs.deliveries.lineage import LineageEvents
from lume_local._runs.deliveries.webhooks import ListedHost, WebhookRefused, WebhookRules, signed_headers
from lume_local._runs.health import Health, why
from lume_local._runs.sql.beside_runs import SqlDeliveries
from lume_local._runs.store.records import VARIABLE, PendingDelivery, StoreFailed
from lume_local._runs.upkeep import until_it_works

_log = logging.getLogger("lume_local")

UNIT = 1.0
"""Seconds: after the n-th failure the next attempt waits 2^n units."""
MOST_ATTEMPTS = 12
"""The last attempt comes 68 minutes after the first: a receiver may be away for an hour."""
MOST_PER_HOST = 2
"""Concurrent attempts for one entry of `webhook_hosts`."""
MOST_AT_ONCE = 64
"""Concurrent attempts for all hosts. Only half may be a host's second one: 64 hosts must hang to delay the others."""
_LONGEST_PAUSE = UNIT * 2**MOST_ATTEMPTS
PATIENCE = 10.0
"""The time limit of one attempt, in seconds."""
_GRACE = 2.0
"""Seconds that attempts in progress get when the server ends."""
RETRY = 5.0
"""Seconds until the next try if the outbox can't be read or written."""
_OUTBOX = "the webhooks' outbox"
_WORDS = {"webhook": "webhook", "lineage": "lineage event", "message": "message"}

Carry = Callable[[str, bytes], Awaitable[str | None]]
"""Sends a message, given the variable with its address and its body. Returns None or why it failed, in time."""


class WebhookSender:
    """Sends pending deliveries while its `running` block lasts; used from one event loop.

    Args:
        given_up: called with the kind of a delivery after its last attempt.
    """

    def __init__(
        self,
        deliveries: SqlDeliveries,
        rules: WebhookRules,
        health: Health,
        lineage: LineageEvents | None = None,
        carry: Carry | None = None,
        given_up: Callable[[str], object] = lambda _kind: None,
    ) -> None:
        self._deliveries = deliveries
        self._rules = rules
        self._lineage = lineage
        self._carry = carry
        self._given_up = given_up
        ways = {"webhook": bool(rules.secrets), "lineage": lineage is not None, "message": carry is not None}
        self._kinds = [kind for kind, is_open in ways.items() if is_open]
        self._health = health
        self._woken = anyio.Event()
        self._active: dict[str, str | ListedHost] = {}
        """The host of each active attempt, by delivery."""
        self._session: aiohttp.ClientSession
        self._lineage_session: aiohttp.ClientSession
        self._closing = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send deliveries, including pending ones of an earlier server.

        Webhooks stay pending without a secret, lineage events without a URL, messages without a carrier. At the end
        no new attempt begins; active ones get a short grace period, and the rest is left to the next server.
        """
        if not self._kinds:
            yield
            return
        async with (
            _opened(OutwardResolver(self._rules)) as self._session,
            _opened(None) as self._lineage_session,  # the operator's own address
            task_group() as tasks,
        ):
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
        waiting = await self._deliveries.waiting(2 * MOST_PER_HOST, self._kinds)
        due, later = [], []
        for one in waiting:
            if one.id in active:
                continue
            if now < one.due <= now + _LONGEST_PAUSE:  # a later time means that the clock was set back
                later.append(one.due)
            else:
                due.append((self._host(one), one))
        for host, delivery in _in_turns(due):
            if self._has_room(host):
                body = await self._deliveries.body(delivery.id)
                self._active[delivery.id] = host
                tasks.start_soon(self._attempt, delivery, body)
        return min(later) - now if later else None

    def _host(self, delivery: PendingDelivery) -> str | ListedHost:
        """Return the host that a delivery counts for: its entry of `webhook_hosts`, or its URL if it has none."""
        try:
            return self._rules.check(delivery.url) if delivery.kind == "webhook" else delivery.url
        except WebhookRefused:
            return delivery.url

    def _has_room(self, host: str | ListedHost) -> bool:
        """Return whether one more attempt for the host may begin; messages to one address keep their order."""
        count = list(self._active.values()).count(host)
        most = 1 if isinstance(host, str) and host.startswith(VARIABLE) else MOST_PER_HOST
        return count < most and len(self._active) < (MOST_AT_ONCE // 2 if count else MOST_AT_ONCE)

    async def _attempt(self, delivery: PendingDelivery, body: bytes) -> None:
        try:
            error = await self._send(delivery, body)
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
        _log.log(level, words, _WORDS[delivery.kind], delivery.run_id or "-", attempts, MOST_ATTEMPTS, error)

    async def _send(self, delivery: PendingDelivery, body: bytes) -> str | None:
        """Make one attempt; return None if it was delivered, otherwise the reason."""
        if delivery.kind == "message":
            assert self._carry is not None
            return await self._carry(delivery.url.removeprefix(VARIABLE), body)
        try:
            session, url, more = self._addressed(delivery, body)
            headers = {
                "Content-Type": "application/json",
                **more,
                **({"traceparent": delivery.traceparent} if delivery.traceparent else {}),
            }
            async with session.post(URL(url), data=body, headers=headers, allow_redirects=False) as answer:
                return None if 200 <= answer.status < 300 else f"answered with status {answer.status}"
        except WebhookRefused as refused:
            return str(refused)
        except TimeoutError:
            return f"no answer within {PATIENCE:.0f} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return elided(f"{type(error).__name__}: {error}")

    def _addressed(
        self, delivery: PendingDelivery, body: bytes
    ) -> tuple[aiohttp.ClientSession, str, dict[str, str]]:
        """Return the session, URL and headers of a delivery. Raises `WebhookRefused`."""
        if delivery.kind == "lineage":
            assert self._lineage is not None
            return self._lineage_session, self._lineage.url, self._lineage.headers
        # The operator may have changed the list since the run was submitted.
        self._rules.check(delivery.url)
        headers = signed_headers(self._rules.secrets, delivery.id, int(time.time()), body)
        return self._session, delivery.url, headers


def _in_turns(
    due: Sequence[tuple[str | ListedHost, PendingDelivery]],
) -> list[tuple[str | ListedHost, PendingDelivery]]:
    """Order deliveries in rounds: the first of each host, then the second of each; `due` decides within a round."""
    before: Counter[str | ListedHost] = Counter()
    turns = []
    for host, delivery in due:
        turns.append((before[host], host, delivery))
        before[host] += 1
    return [(host, delivery) for _, host, delivery in sorted(turns, key=itemgetter(0))]


def _opened(resolver: AbstractResolver | None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=MOST_AT_ONCE, force_close=True, resolver=resolver, use_dns_cache=False
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=PATIENCE),
        headers={"User-Agent": "lume_local"},
        auto_decompress=False,
    )
