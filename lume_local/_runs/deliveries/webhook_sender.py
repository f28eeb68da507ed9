"""Delivers the outbox: one block that owns every attempt, a few at a time, each with a time limit.

At least once: an attempt that was cut short by the end of the server is made again by the next one, under the
same delivery id and with the same body.
"""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import anyio
from aiohttp.abc import AbstractResolver
from anyio.abc import TaskGroup
from yarl import URL

from lume_async._base.elided import elided
from lume_async._base.tasks import task_group
from lume_local._runs.deliveries.lineage import Lineage
from lume_local._runs.deliveries.webhook_resolver import OutwardResolver
from lume_local._runs.deliveries.webhook_rules import WebhookRefused, WebhookRules
from lume_local._runs.deliveries.webhook_signing import signed_headers
from lume_local._runs.health import Health, why
from lume_local._runs.records import Delivery, StoreFailed
from lume_local._runs.store import Deliveries

_log = logging.getLogger("lume_local")

UNIT = 1.0
"""Seconds: after the n-th failure the next attempt waits for 2^n of them."""
MOST_ATTEMPTS = 8
MOST_AT_ONCE = 8
_LONGEST_PAUSE = UNIT * 2**MOST_ATTEMPTS
PATIENCE = 10.0
"""Seconds that one attempt may take."""
_GRACE = 2.0
"""Seconds that attempts under way get when the server ends."""
RETRY = 5.0
"""Seconds until the outbox is tried again, where it can't be read or written."""
_OUTBOX = "the webhooks' outbox"


class WebhookSender:
    """Sends pending deliveries while `running`; used from one event loop."""

    def __init__(
        self, deliveries: Deliveries, rules: WebhookRules, health: Health, lineage: Lineage | None = None
    ) -> None:
        self._deliveries = deliveries
        self._rules = rules
        self._lineage = lineage
        self._health = health
        self._woken = anyio.Event()
        self._active: set[str] = set()
        self._session: aiohttp.ClientSession
        self._lineage_session: aiohttp.ClientSession
        self._closing = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send deliveries, also those of an earlier server; webhooks stay pending without a secret, lineage events
        without an address.

        At the end no attempt is begun; attempts in progress get a moment, then they are left to the next server.
        """
        if not self._rules.secrets and self._lineage is None:
            yield
            return
        async with (
            _opened(OutwardResolver()) as self._session,
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
        """Look for deliveries that are due."""
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
        """Begin what is due and fits. Returns the seconds until more is due; None: something will wake us."""
        now = time.time()
        kinds = {"webhooks": bool(self._rules.secrets), "lineage": self._lineage is not None}
        active = set(
            self._active
        )  # what ends while the question is answered may look as if it were still due
        for delivery in await self._deliveries.waiting(2 * MOST_AT_ONCE, **kinds):
            if delivery.id in active:
                continue
            if len(self._active) >= MOST_AT_ONCE:
                return None
            if now < delivery.due <= now + _LONGEST_PAUSE:  # later: the clock was set back meanwhile
                return delivery.due - now
            self._active.add(delivery.id)
            tasks.start_soon(self._attempt, delivery)
        return None

    async def _attempt(self, delivery: Delivery) -> None:
        try:
            error = await self._send(delivery)
            while not await self._noted(delivery, error):  # noqa: ASYNC110 - else it would be sent over and over again
                await anyio.sleep(RETRY)
        finally:
            self._active.discard(delivery.id)
            self.wake()

    async def _noted(self, delivery: Delivery, error: str | None) -> bool:
        """Write down how an attempt went; whether that worked."""
        attempts = delivery.attempts + 1
        try:
            if error is None:
                await self._deliveries.delivered(delivery.id)
            else:
                gives_up = attempts >= MOST_ATTEMPTS
                due = None if gives_up else time.time() + UNIT * 2**attempts
                await self._deliveries.failed(delivery.id, error, due)
                level = logging.WARNING if gives_up else logging.INFO
                what = "lineage event" if delivery.is_lineage else "webhook"
                words = "%s of run %s: attempt %d of %d: %s"
                _log.log(level, words, what, delivery.run_id, attempts, MOST_ATTEMPTS, error)
        except StoreFailed as trouble:
            self._health.trouble(_OUTBOX, why(trouble))
            return False
        self._health.works(_OUTBOX)
        return True

    async def _send(self, delivery: Delivery) -> str | None:
        """One attempt; None where it has arrived, else why not."""
        try:
            session, url, more = self._addressed(delivery)
            headers = {
                "Content-Type": "application/json",
                **more,
                **({"traceparent": delivery.traceparent} if delivery.traceparent else {}),
            }
            async with session.post(
                URL(url), data=delivery.body, headers=headers, allow_redirects=False
            ) as answer:
                return None if 200 <= answer.status < 300 else f"answered with status {answer.status}"
        except WebhookRefused as refused:
            return str(refused)
        except TimeoutError:
            return f"no answer within {PATIENCE:.0f} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return elided(f"{type(error).__name__}: {error}")

    def _addressed(self, delivery: Delivery) -> tuple[aiohttp.ClientSession, str, dict[str, str]]:
        """By which session it is sent where, and with which headers. Raises `WebhookRefused`."""
        if delivery.is_lineage:
            assert self._lineage is not None
            return self._lineage_session, self._lineage.url, self._lineage.headers
        # The operator may have changed the list since the run was submitted.
        self._rules.check(delivery.url)
        headers = signed_headers(self._rules.secrets, delivery.id, int(time.time()), delivery.body)
        return self._session, delivery.url, headers


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
