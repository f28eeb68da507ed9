"""`Sender.send(call)`: key, gate, slot, transport, decoding, retry. The only place where these meet."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Coroutine
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any, TypeVar

from attrs import evolve

from lume_async._base.backoff import LAST_POLL, Rng
from lume_async._base.clock import Clock
from lume_async._http.api_key import Keys
from lume_async._http.events import Observer, RequestFinished
from lume_async._http.lifetime import Lifetime
from lume_async._http.limiter import Slots
from lume_async._http.per_loop import PerLoop
from lume_async._http.settings import Settings
from lume_async._http.throttle import Gate
from lume_async._http.tracing import Traced, traced_attempt, traced_call, tracing_is_on
from lume_async._http.transport import Transport
from lume_async._wire import endpoints
from lume_async._wire.answers import Response, error_from, server_time
from lume_async._wire.endpoints import Call
from lume_async._wire.headers import API_KEY, CAPABILITIES, DATE, REQUEST_ID
from lume_async._wire.reading import Sending, read, verdict
from lume_async._wire.retry import Retry, answer_lost
from lume_async.errors import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    AuthenticationError,
    ClientClosedError,
    RateLimitError,
    RunNotFoundError,
)
from lume_async.models import RunRecord

T = TypeVar("T")

GRACE = 10.0
"""Seconds after our own submission in which a 404 on the run is read as 'not yet'."""

REMEMBERED = 10_000
"""How many of our own submissions are remembered for that."""

_LONG_AGO = -math.inf, -math.inf
_CLOSES_THE_GATE = frozenset({429, 503})


class Sender:
    """One client's way to the server: everything below is shared by all its calls."""

    def __init__(
        self,
        settings: Settings,
        transport: Transport,
        *,
        retry: Retry,
        clock: Clock,
        rng: Rng,
        observer: Observer,
    ) -> None:
        self.settings = settings
        self.clock = Lifetime(clock)
        self.rng = rng
        self.observer = observer
        self.retry = retry
        self.capabilities: frozenset[str] | None = None
        self._offered: str | None = None
        self._transport = transport
        self._keys = Keys(settings.api_key, self.clock)
        self._gate = Gate(self.clock)
        self._slots = PerLoop(lambda: Slots(settings.max_connections))
        self._ours: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._held = 0

    def send(
        self,
        call: Call[T],
        *,
        timeout: float | None = None,
        sending: Sending | None = None,
        once: bool = False,
    ) -> Coroutine[Any, Any, T]:
        """Send until there is an answer, the retries are used up, or `timeout` seconds are over.

        Args:
            timeout: seconds for the whole call, retries included; None for no limit of its own.
            sending: filled with how the call went.
            once: send once only, for callers that come back anyway.

        Raises:
            ApiError: see the tree in `lume_async.errors`.
            ClientClosedError: the client is closed.
        """
        state = Sending() if sending is None else sending
        state.traced = tracing_is_on()
        send = self._send_traced if state.traced else self._send
        return send(call, timeout, state, once)

    async def _send_traced(self, call: Call[T], timeout: float | None, state: Sending, once: bool) -> T:
        with traced_call(call.operation, call.run_id):
            return await self._send(call, timeout, state, once)

    async def _send(self, call: Call[T], timeout: float | None, state: Sending, once: bool) -> T:
        clock = self.clock
        deadline = None if timeout is None else clock.now() + timeout
        held = call.hold > 0
        self._held += held  # before anything is awaited: many that ask `may_hold` at once must see each other
        try:
            while True:
                state.attempts += 1
                try:
                    return await self._attempt(call, state, deadline)
                except ApiError as caught:
                    error = caught
                error.attempts = state.attempts
                if self._rekeys(call, error, state):
                    continue
                if call.submission is not None and answer_lost(error):
                    state.lost = True
                if self.clock.over and isinstance(error, ApiConnectionError):
                    raise ClientClosedError("the client was closed during this call")
                delay = await self._delay(call, error, state)
                if once or delay is None or (deadline is not None and clock.now() + delay >= deadline):
                    raise verdict(call, error, state)
                if delay:
                    self.observer.retrying(call.operation, state.attempts, delay, error)
                    await clock.sleep(delay)
        finally:
            self._held -= held

    def over(self, transport: Transport, *, clock: Clock, rng: Rng) -> "Sender":
        """The same settings over another transport and another time: for tests."""
        return Sender(
            self.settings, transport, retry=self.retry, clock=clock, rng=rng, observer=self.observer
        )

    async def aclose(self) -> None:
        """Refuse new calls and close the connections; calls under way raise `ClientClosedError`."""
        self.clock.end()
        await self._transport.aclose()

    def can(self, capability: str) -> bool:
        """Whether the server is known to have it."""
        return self.capabilities is not None and capability in self.capabilities

    def may_hold(self) -> bool:
        """Whether one more request may be left with the server while it waits for a change.

        Such a request keeps a connection busy: at most half of them, so that short requests always get one.
        """
        return self.can("wait") and self._held < self.settings.max_connections // 2

    def submitted(self, run: RunRecord, not_before: float = 0.0) -> None:
        """A run of our own: remembered, as a server may need a moment before it finds it.

        Args:
            not_before: how many seconds the server asked to be left alone with it.
        """
        self.observer.status_changed(run.id, None, run.status)
        now = self.clock.now()
        self._ours[run.id] = now, now + not_before
        if len(self._ours) > REMEMBERED:
            self._ours.popitem(last=False)

    def is_fresh(self, run_id: str | None) -> bool:
        """Whether it is so new a run of ours that the server may not find it yet."""
        at, _ = self._ours.get(run_id or "", _LONG_AGO)
        return self.clock.now() - at < GRACE

    def quiet_until(self, run_id: str) -> float:
        """Until when the server asked to be left alone with a run as it was submitted, on the clock's own time."""
        return self._ours.get(run_id, _LONG_AGO)[1]

    def patience(self, error: Exception, run_id: str) -> float | None:
        """After a failed look at a run: how many seconds to leave the server alone, at least.

        None where the look failed for a reason that waiting does not change. A failed look is not a failed run.
        """
        if not isinstance(error, ApiError):
            return None
        fresh = isinstance(error, RunNotFoundError) and self.is_fresh(run_id)
        return (error.retry_after or 0.0) if error.retryable or fresh else None

    async def _attempt(self, call: Call[T], state: Sending, deadline: float | None) -> T:
        """Send once, after waiting for our turn; the wait for it counts against the caller's deadline only."""
        slots, pace = self._slots.get(), self._gate.pace
        if pace.rate is None and slots.take():  # almost always: nobody has to wait for a turn
            epoch = pace.epoch
        else:
            epoch = await self._turn(slots, deadline)
        try:
            limit = call.hold + self.settings.request_timeout
            if deadline is not None:
                limit = self._clipped(limit, call, deadline)
            headers = dict(call.headers)
            if call.keyed:
                headers[API_KEY] = state.key = self._keys.fixed or await self._keys.get(limit)
            if self.clock.over:
                raise ClientClosedError("the client is closed: make a new one")
            if call.submission is not None and state.first_sent is None:
                state.first_sent = self.clock.now()
            body = call.stream() if call.stream else call.body
            request = self._transport.request(
                call.method, call.path, headers=headers, body=body, timeout=limit
            )
            if state.traced or self.observer.listening:
                request = self._observed(request, call, headers, state)
            response = await request
        finally:
            slots.release()
        self._learn(response, state, epoch)
        return read(call, response, self.clock, state.key)

    async def _turn(self, slots: Slots, deadline: float | None) -> int:
        left = None if deadline is None else deadline - self.clock.now()
        closed = self._gate.pace.delay(self.clock.now())
        if left is None and closed > self.retry.max_retry_after:
            raise RateLimitError(
                f"rate limited: retry in {closed:.0f} s; no request was sent",
                retry_after=closed,
            )
        try:
            async with asyncio.timeout(left):
                await slots.acquire()
                try:
                    epoch = await self._gate.enter()
                except BaseException:
                    slots.release()
                    raise
            if deadline is None or self.clock.now() < deadline:
                return epoch
            slots.release()  # a turn without any time left for it is none
        except TimeoutError:
            pass
        if self._gate.pace.rate is None:
            why = f"max_connections={self.settings.max_connections} requests are under way"
        else:
            why = "after a 429 or 503 of the server the requests of this client are paced"
        raise ApiTimeoutError(f"timed out waiting for a request slot: {why}", reached=False)

    async def _observed(
        self, request: Coroutine[Any, Any, Response], call: Call[T], headers: dict[str, str], state: Sending
    ) -> Response:
        """The request, with its start and its end told to the log, the hooks and OpenTelemetry."""
        started, attempt = self.clock.now(), state.attempts
        event = RequestFinished(call.operation, attempt, 0.0)
        with closing(request), self._traced_attempt(call, state, headers) as traced:
            self.observer.started(call.operation, attempt)
            try:
                response = await request
                traced.status = response.status
                event = evolve(
                    event, status_code=response.status, request_id=response.headers.get(REQUEST_ID)
                )
                return response
            except BaseException as error:
                traced.error = type(error).__name__
                event = evolve(event, error=traced.error)
                raise
            finally:
                self.observer.finished(evolve(event, duration=self.clock.now() - started))

    def _traced_attempt(
        self, call: Call[T], state: Sending, headers: dict[str, str]
    ) -> AbstractContextManager[Traced]:
        if not state.traced:
            return nullcontext(Traced())
        return traced_attempt(call.operation, self.settings.base_url, call.path, state.attempts, headers)

    def _clipped(self, limit: float, call: Call[T], deadline: float) -> float:
        """How many of the `limit` seconds this attempt may take by the deadline; one that is held, a little more."""
        left = deadline - self.clock.now()
        return min(limit, max(left, call.hold + LAST_POLL if call.hold else 0.0))

    def _learn(self, response: Response, state: Sending, epoch: int) -> None:
        """What every answer tells: capabilities, the server's clock, whether it is under pressure."""
        headers, now = response.headers, self.clock.now()
        offered = headers.get(CAPABILITIES)
        if offered is not None and offered != self._offered:  # a proxy's own answer has none: changes nothing
            self._offered, self.capabilities = offered, _capabilities(offered)
        if response.status in _CLOSES_THE_GATE:
            self._gate.pace.refused(now, epoch, error_from(response, wall=self.clock.wall()).retry_after)
        else:
            self._gate.pace.succeeded(now)
        if state.dated:
            date = server_time(headers.get(DATE))
            if date is not None:
                state.server_offset = date - now

    def _rekeys(self, call: Call[T], error: ApiError, state: Sending) -> bool:
        """Whether the key was refused and is asked for anew: once per call, as it may have rotated meanwhile."""
        refused = isinstance(error, AuthenticationError) and error.status_code == 401
        if not refused or state.rekeyed or not (call.keyed and self._keys.rotates):
            return False
        state.rekeyed = True
        return True

    async def _delay(self, call: Call[T], error: ApiError, state: Sending) -> float | None:
        """Seconds until the next attempt, None where there must be none."""
        if isinstance(error, RunNotFoundError) and call.method == "GET" and self.is_fresh(call.run_id):
            return max(error.retry_after or 0.0, self.retry.backoff.delay(state.attempts - 1, self.rng))
        delay = self.retry.delay(error, state.attempts, self.rng)
        if delay is None or call.submission is None or not state.lost:
            return delay
        if call.submission.force_rerun and not await self.replays():
            return None
        return delay

    async def replays(self) -> bool:
        """Whether the server answers a known idempotency key with its first answer; asked once if unknown."""
        if self.capabilities is None:
            try:
                await self.send(endpoints.health(), timeout=10.0, once=True)
            except ApiError:
                return False
        return self.can("idempotency")


def _capabilities(text: str) -> frozenset[str]:
    return frozenset(word.strip().lower() for word in text.split(",") if word.strip())
