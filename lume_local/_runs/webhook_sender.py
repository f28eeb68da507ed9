"""Delivers the outbox: one task that owns every attempt, a few at a time, each with a time limit.

At least once: an attempt that was cut short by the end of the server is made again by the next one, under the
same delivery id and with the same body.
"""

import asyncio
import logging
import time
from contextlib import suppress
from functools import partial

import aiohttp
from yarl import URL

from lume_local._runs.outbox import Deliveries, Delivery
from lume_local._runs.webhook_rules import DELIVERY_HEADER, SIGNATURE_HEADER, WebhookRefused, WebhookRules

_log = logging.getLogger("lume_local")

UNIT = 1.0
"""Seconds: after the n-th failure the next attempt waits for 2^n of them."""
MOST_ATTEMPTS = 8
MOST_AT_ONCE = 8
PATIENCE = 10.0
"""Seconds that one attempt may take."""
_GRACE = 2.0
"""Seconds that attempts under way get when the server ends."""
_AFTER_TROUBLE = 30.0


class Courier:
    """Delivers what waits. `open` it, `close` it; used from one event loop."""

    def __init__(self, deliveries: Deliveries, rules: WebhookRules) -> None:
        self._deliveries = deliveries
        self._rules = rules
        self._woken = asyncio.Event()
        self._active: dict[str, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None
        self._work: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Take up what waits, also from an earlier server; without a secret it goes on waiting."""
        if self._rules.secret is None:
            return
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MOST_AT_ONCE, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=PATIENCE),
            headers={"User-Agent": "lume_local"},
            auto_decompress=False,
        )
        self._work = asyncio.create_task(self._deliver(), name="webhooks")

    def wake(self) -> None:
        """Something was added to the outbox."""
        self._woken.set()

    async def close(self) -> None:
        """Begin nothing more; what is under way gets a moment, then it is left to the next server."""
        if self._work is None or self._session is None:
            return
        self._work.cancel()
        await asyncio.wait([self._work])
        if self._active:
            _, late = await asyncio.wait(self._active.values(), timeout=_GRACE)
            for attempt in late:
                attempt.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._session.close()

    async def _deliver(self) -> None:
        while True:
            self._woken.clear()
            try:
                pause = self._begin_due()
            except Exception:
                _log.exception("the outbox can't be read; trying again in %.0f s", _AFTER_TROUBLE)
                pause = _AFTER_TROUBLE
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    def _begin_due(self) -> float | None:
        """Begin what is due and fits. Returns the seconds until more is due; None: something will wake us."""
        now = time.time()
        for delivery in self._deliveries.waiting(2 * MOST_AT_ONCE):
            if delivery.id in self._active:
                continue
            if len(self._active) >= MOST_AT_ONCE:
                return None
            if delivery.due > now:
                return delivery.due - now
            attempt = asyncio.create_task(self._attempt(delivery), name=f"webhook {delivery.id}")
            self._active[delivery.id] = attempt
            attempt.add_done_callback(partial(self._ended, delivery.id))
        return None

    def _ended(self, delivery_id: str, attempt: asyncio.Task[None]) -> None:
        if not attempt.cancelled() and (error := attempt.exception()) is not None:
            # Its outcome could not be noted. It stays active, so that it isn't sent over and over again.
            _log.error("delivery %s is left to the next server", delivery_id, exc_info=error)
            return
        del self._active[delivery_id]
        self.wake()

    async def _attempt(self, delivery: Delivery) -> None:
        error, attempts = await self._send(delivery), delivery.attempts + 1
        if error is None:
            self._deliveries.delivered(delivery.id)
            return
        gives_up = attempts >= MOST_ATTEMPTS
        _log.log(
            logging.WARNING if gives_up else logging.INFO,
            "webhook of run %s: attempt %d of %d: %s",
            *(delivery.run_id, attempts, MOST_ATTEMPTS, error),
        )
        self._deliveries.failed(delivery.id, error, None if gives_up else time.time() + UNIT * 2**attempts)

    async def _send(self, delivery: Delivery) -> str | None:
        """One attempt; None where it has arrived, else why not."""
        assert self._session is not None
        headers = {
            "Content-Type": "application/json",
            DELIVERY_HEADER: delivery.id,
            SIGNATURE_HEADER: self._rules.signature(delivery.body),
        }
        try:
            self._rules.check(
                delivery.url
            )  # the operator may have changed the list since the run was submitted
            async with self._session.post(
                URL(delivery.url), data=delivery.body, headers=headers, allow_redirects=False
            ) as answer:
                return None if 200 <= answer.status < 300 else f"answered with status {answer.status}"
        except WebhookRefused as refused:
            return str(refused)
        except TimeoutError:
            return f"no answer within {PATIENCE:.0f} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"[:500]
