"""Sends the deliveries of the outbox: a few attempts at a time, each with a time limit, all owned by one block.

At least once: an attempt that the end of the server interrupts is repeated by the next server, with the same delivery
id and the same body.
"""

import errno
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
from aiohttp.abc import AbstractResolver, ResolveResult
from anyio.abc import TaskGroup
from yarl import URL

from lume_async._base.elided import elided
from lume_async._base.tasks import task_group
from lume_local._runs.deliveries.lineage import LineageEvents
from lume_local._runs.deliveries.webhooks import WebhookRefused, WebhookRules, is_this_machine, signed_headers
from lume_local._runs.health import Health, why
from lume_local._runs.records import PendingDelivery, StoreFailed
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
"""Seconds for attempts in progress when the server ends."""
RETRY = 5.0
"""Seconds until the next try if the outbox can't be read or written."""
_OUTBOX = "the webhooks' outbox"


class WebhookSender:
    """Sends pending deliveries while its `running` block lasts; used from one event loop."""

    def __init__(
        self,
        deliveries: Deliveries,
        rules: WebhookRules,
        health: Health,
        lineage: LineageEvents | None = None,
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
        """Send deliveries, including those of an earlier server.

        Webhooks stay pending without a secret, lineage events without a URL. At the end no attempt begins; those in
        progress get a moment, then they are left to the next server.
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
        """Begin the attempts that are due, up to the limit. Returns the seconds until the next, if known."""
        now = time.time()
        kinds = {"webhooks": bool(self._rules.secrets), "lineage": self._lineage is not None}
        active = set(self._active)  # an attempt that ends during the query may still appear as due
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

    async def _attempt(self, delivery: PendingDelivery) -> None:
        try:
            error = await self._send(delivery)
            while not await self._noted(delivery, error):  # noqa: ASYNC110 - else it would be sent over and over again
                await anyio.sleep(RETRY)
        finally:
            self._active.discard(delivery.id)
            self.wake()

    async def _noted(self, delivery: PendingDelivery, error: str | None) -> bool:
        """Record the result of an attempt; False if that failed."""
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

    async def _send(self, delivery: PendingDelivery) -> str | None:
        """Make one attempt; None if it was delivered, else the reason."""
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

    def _addressed(self, delivery: PendingDelivery) -> tuple[aiohttp.ClientSession, str, dict[str, str]]:
        """The session, the URL and the headers of a delivery. Raises `WebhookRefused`."""
        if delivery.is_lineage:
            assert self._lineage is not None
            return self._lineage_session, self._lineage.url, self._lineage.headers
        # The operator may have changed the list since the run was submitted.
        self._rules.check(delivery.url)
        headers = signed_headers(self._rules.secrets, delivery.id, int(time.time()), delivery.body)
        return self._session, delivery.url, headers


class OutwardResolver(AbstractResolver):
    """Resolves host names, and refuses any other name that resolves to this machine."""

    def __init__(self) -> None:
        self._resolver: Any = aiohttp.DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises OSError if there are none, or if one may not be called."""
        found: list[ResolveResult] = await self._resolver.resolve(host, port, family)
        if not is_this_machine(host) and any(is_this_machine(one["host"]) for one in found):
            words = f"{host} leads to this machine, which is called only by its own name and port"
            raise OSError(errno.EACCES, words)
        return found

    async def close(self) -> None:
        await self._resolver.close()


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
