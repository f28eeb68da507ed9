"""`Sender.send(call)`: the only place where key, throttle, request limiter, transport, decoding and retry meet."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, closing, nullcontext
from contextvars import ContextVar
from copy import copy
from typing import Any, TypeVar

from attrs import evolve

from lume_async._base.backoff import LAST_POLL, Rng
from lume_async._base.clock import Clock
from lume_async._base.secret import Secret
from lume_async._http.api_key import Keys
from lume_async._http.checks import passwords_in, secrets_in
from lume_async._http.events import Observer, RequestFinished
from lume_async._http.known import Known, RecentRuns
from lume_async._http.lifetime import CLOSED_MEANWHILE, Lifetime, PerLoop
from lume_async._http.settings import Settings
from lume_async._http.throttle import Throttle
from lume_async._http.tracing import Traced, traced_attempt, traced_call, tracing_is_on
from lume_async._http.transport import Body, Transport
from lume_async._wire.answers import read, refusal_in, seconds
from lume_async._wire.call import Call, CallState, Content, Response
from lume_async._wire.headers import (
    API_KEY,
    AUTHORIZATION,
    CAPABILITIES,
    DATE,
    IDEMPOTENCY_EXPIRES,
    REQUEST_ID,
)
from lume_async._wire.lost_answers import Then, decide, may_have_started_a_run, submission_unknown
from lume_async._wire.retry import Retry
from lume_async._wire.service import LUME, Service
from lume_async._wire.withhold import redact
from lume_async.errors import (
    ApiConnectionError,
    ApiError,
    ApiTimeoutError,
    ClientClosedError,
    NotSupportedError,
    RunNotFoundError,
)

NAP = 0.02
"""Seconds after which the first in the queue checks again: an answer may have opened the throttle early."""

T = TypeVar("T")
_REFUSALS = frozenset({429, 503})
on_response: ContextVar[tuple[Callable[..., object], ...]] = ContextVar("lume_on_response", default=())
"""Called with each response, its sender, call and state; the tasks that a task starts inherit it."""
SHORTEST = 0.001
"""Seconds that must be left for an attempt: in less, no server answers, and its error hides why we waited."""


class ThrottleQueue:
    """The queue of requests that wait for the throttle; one per event loop."""

    def __init__(self, throttle: Throttle, clock: Clock) -> None:
        self._throttle = throttle
        self._clock = clock
        self._lock = PerLoop(asyncio.Lock)

    async def enter(self) -> int:
        """Wait until the next request may be sent; return the throttle's epoch, for the answer to that request.

        The first in the queue holds the lock while it waits for its time; one that is cancelled
        leaves the queue and uses up no turn.
        """
        throttle = self._throttle
        if throttle.rate is not None:
            async with self._lock.get():
                # Sleep only once for each moment: under a fake clock sleeps take no time.
                slept_until = -math.inf
                while (until := throttle.opens_at) > (now := max(self._clock.now(), slept_until)):
                    slept_until = min(until, now + NAP)
                    await self._clock.sleep(slept_until - now)
                throttle.take(self._clock.now())
        return throttle.epoch


class Slots:
    """Limits the requests in flight in one event loop.

    Not `asyncio.Semaphore`, which searches all waiting requests for each cancelled one: cancelling 10,000 takes
    1.3 s of CPU time there (Python 3.13; 20 s for 40,000) and 0.16 s here. Other costs are equal (0.99 to 1.02 times
    as much per request, on asyncio and uvloop, 1 and 64 at a time).
    """

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    def take(self) -> bool:
        """Take a slot if one is free; return whether it was. While one is free, no request waits."""
        if self._free == 0:
            return False
        self._free -= 1
        return True

    async def acquire(self) -> None:
        """Wait for a slot."""
        if self.take():
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.release()  # the slot arrived together with the cancellation
            self._waiting.pop(turn, None)
            raise

    def release(self) -> None:
        """Pass the slot to the request that has waited longest, or free it."""
        while self._waiting:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class Sender:
    """One client's way to the server: everything below is shared by all its calls."""

    def __init__(
        self,
        settings: Settings,
        transport: Transport,
        service: Service = LUME,
        *,
        retry: Retry,
        clock: Clock,
        rng: Rng,
        observer: Observer,
    ) -> None:
        self.service = service
        self.settings = settings
        self.clock: Lifetime = Lifetime(clock)
        self.rng = rng
        self.observer = observer
        self.retry = retry
        self.known: Known = Known(service.promises)
        self.on_silence: set[Callable[[float, ApiError], None]] = set()
        """Called after each unanswered request, with the seconds since the first unanswered request in a row."""
        self._transport = transport
        self._keys = None if settings.api_key is None else Keys(settings.api_key, self.clock)
        self._tokens = (
            None if settings.token is None else Keys(settings.token, self.clock, "token", keeps=True)
        )
        self._passwords = (*passwords_in(settings.proxy), *secrets_in(settings.headers))
        self._throttle = Throttle(retry.max_retry_after)
        self._queue = ThrottleQueue(self._throttle, self.clock)
        # One per loop: a common one would need a lock on every request, for programs with several loops.
        # Not anyio's: nine times the cost, and it asks the context, which may be that of a trio program.
        self._limiter = PerLoop(lambda: Slots(settings.max_connections))
        self.recent_runs: RecentRuns = RecentRuns(self.clock)

    def view(self, settings: Settings, retry: Retry) -> "Sender":
        """Return the same connections, limits and knowledge of the server, with other settings for its requests."""
        view = copy(self)
        view.settings, view.retry = settings, retry
        view._passwords = (*passwords_in(settings.proxy), *secrets_in(settings.headers))
        return view

    def send(
        self,
        call: Call[T],
        *,
        timeout: float | None = None,
        state: CallState | None = None,
        once: bool = False,
    ) -> Coroutine[Any, Any, T]:
        """Send until there is an answer, the retries are used up, or `timeout` seconds have passed.

        Args:
            timeout: seconds for the whole call, retries included; None for no limit of its own.
            state: updated during the call; the caller can read it after an error, too.
            once: send only once, for callers that repeat the call anyway.

        Raises:
            ApiError: see the tree in `lume_async.errors`.
            ClientClosedError: the client is closed.
        """
        if call.service != self.service.name:
            raise NotSupportedError(
                f"{self.service.name} has no {call.operation}, a request of {call.service}"
            )
        state = CallState() if state is None else state
        state.traced = tracing_is_on()
        send = self._send_traced if state.traced else self._send
        return send(call, timeout, state, once)

    async def _send_traced(self, call: Call[T], timeout: float | None, state: CallState, once: bool) -> T:
        with traced_call(call.operation, call.run_id):
            return await self._send(call, timeout, state, once)

    async def _send(self, call: Call[T], timeout: float | None, state: CallState, once: bool) -> T:
        clock = self.clock
        deadline = None if timeout is None else clock.now() + timeout
        long_poll = call.hold > 0
        # Before anything is awaited: many that ask `may_long_poll` at once must see each other.
        self.known.long_polls += long_poll
        try:
            while True:
                state.attempts += 1
                asked = clock.now()
                try:
                    return await self._attempt(call, state, deadline)
                except ApiError as caught:
                    error = caught
                error.attempts = state.attempts
                if self._rekeys(call, error, state):
                    continue
                if call.submits is not None and may_have_started_a_run(error):
                    state.lost = True
                if clock.over and isinstance(error, ApiConnectionError):
                    raise ClientClosedError(CLOSED_MEANWHILE)
                delay = None if once else self._delay(call, error, state, asked, deadline)
                if call.submits is not None:
                    await self._check_safe(call, error, state, deadline, again=delay is not None)
                if delay is None:
                    raise error
                if delay:
                    self.observer.retrying(call.operation, state.attempts, delay, error)
                    await clock.sleep(delay)
        finally:
            self.known.long_polls -= long_poll

    def over(self, transport: Transport, *, clock: Clock, rng: Rng) -> "Sender":
        """Return the same settings over another transport and another time: for tests."""
        settings, retry, observer = self.settings, self.retry, self.observer
        return Sender(settings, transport, self.service, retry=retry, clock=clock, rng=rng, observer=observer)

    async def aclose(self) -> None:
        """Refuse new calls and close the connections; calls under way raise `ClientClosedError`."""
        self.clock.end()
        await self._transport.aclose()

    def can(self, capability: str) -> bool:
        """Return whether the server is known to have it."""
        return capability in (self.known.capabilities or ())

    def may_long_poll(self) -> bool:
        """Return whether one more request may be left with the server while it waits for a change.

        Such a request keeps a connection busy: at most half of them, so that short requests always get one.
        """
        return self.can("wait") and self.known.long_polls < self.settings.max_connections // 2

    @property
    def knows_time(self) -> bool:
        """Whether a response had a valid `Date` header."""
        return self.known.date is not None

    def server_time(self, moment: float) -> float:
        """Return a moment of the monotonic clock on the server's wall clock, by its newest `Date` header.

        If there was no `Date` header, both wall clocks are assumed to agree.
        """
        date = self.known.date
        return moment + (self.clock.wall() - self.clock.now() if date is None else date - self.known.dated[1])

    async def _attempt(self, call: Call[T], state: CallState, deadline: float | None) -> T:
        """Send once, after waiting for our turn; the wait for it counts against the caller's deadline only."""
        limiter, throttle = self._limiter.get(), self._throttle
        if throttle.rate is None and limiter.take():  # almost always: no request waits
            epoch = throttle.epoch
        else:
            epoch = await self._turn(limiter, deadline)
        stream: Content | None = None
        try:
            limit = call.hold + self.settings.request_timeout
            if deadline is not None:
                left = deadline - self.clock.now()
                # Not past the deadline; a long poll gets a bit more. One that is sent again may ask for more time
                # than is left.
                limit = min(limit, max(left, min(call.hold, left) + LAST_POLL if call.hold else 0.0))
            headers: dict[str, str] = {**self.settings.headers, **call.headers}
            if call.keyed and self._keys is not None:
                headers[API_KEY] = state.key = self._keys.known or await self._keys.get(limit)
            if self._tokens is not None:
                state.token = self._tokens.known or await self._tokens.get(limit)
                headers[AUTHORIZATION] = Secret(f"Bearer {state.token}")
            if self.clock.over:
                raise ClientClosedError
            if call.submits is not None and state.first_sent is None:
                state.first_sent = self.clock.now()
            more: dict[str, Any] = {}
            if call.receiver is not None:
                headers |= call.receiver.headers
                more["receiver"] = call.receiver
            body: Body = call.body
            if call.stream is not None:
                body = stream = call.stream()
            request = self._transport.request(
                call.method, call.path, headers=headers, body=body, timeout=limit, **more
            )
            if state.traced or self.observer.listening:
                request = self._observed(request, call, headers, state)
            began = self.clock.now()
            try:
                response = await request
            except ApiConnectionError as error:
                # A transport of the user's may quote the headers.
                error.args = (redact(error.args[0], state.key, *self._secrets(state)),)
                if self.known.silent_since is None:
                    self.known.silent_since = began
                for listener in list(self.on_silence):
                    listener(self.clock.now() - self.known.silent_since, error)
                raise
        finally:
            limiter.release()
            if stream is not None:
                stream.close()
        self._learn(response, state, epoch)
        for notice in on_response.get():
            notice(self, call, response, state)
        return read(call, response, state.key, self.clock.wall, self._secrets(state))

    def request_id(self, response: Response, state: CallState) -> str | None:
        """Return the ID that the server gave the attempt, unless it repeats a secret."""
        found = response.headers.get(REQUEST_ID)
        return found and redact(found, state.key, *self._secrets(state))

    def _secrets(self, state: CallState) -> tuple[Secret, ...]:
        """Return the secrets besides the API key that errors and logs must not repeat."""
        return self._passwords if state.token is None else (*self._passwords, state.token)

    async def _turn(self, limiter: Slots, deadline: float | None) -> int:
        left = None if deadline is None else deadline - self.clock.now()
        try:
            async with asyncio.timeout(left):
                await limiter.acquire()
                try:
                    epoch = await self._queue.enter()
                except BaseException:
                    limiter.release()
                    raise
            if deadline is None or deadline - self.clock.now() > SHORTEST:
                return epoch
            limiter.release()  # too late to send anything
        except TimeoutError:
            pass
        if self._throttle.rate is None:
            why = f"max_connections={self.settings.max_connections} requests are under way"
        else:
            why = "after refusals of the server (429, 503) the requests of this client are throttled"
        raise ApiTimeoutError(f"timed out waiting for a request slot: {why}", reached=False)

    async def _observed(
        self, request: Coroutine[Any, Any, Response], call: Call[T], headers: dict[str, str], state: CallState
    ) -> Response:
        """Send the request, and report its start and end to the log, the hooks and OpenTelemetry."""
        started, attempt = self.clock.now(), state.attempts
        event = RequestFinished(call.operation, attempt, 0.0)
        span: AbstractContextManager[Traced] = nullcontext(Traced())
        if state.traced:
            span = traced_attempt(call.operation, self.settings.base_url, call.path, attempt, headers)
        with closing(request), span as traced:
            self.observer.started(call.operation, attempt)
            try:
                response = await request
                traced.status = response.status
                event = evolve(
                    event, status_code=response.status, request_id=self.request_id(response, state)
                )
                return response
            except BaseException as error:
                traced.error = type(error).__name__
                event = evolve(event, error=traced.error)
                raise
            finally:
                self.observer.finished(evolve(event, duration=self.clock.now() - started), call.path)

    def _learn(self, response: Response, state: CallState, epoch: int) -> None:
        """Learn from a response: capabilities, the server's clock, whether it is overloaded."""
        known = self.known
        known.has_answered, known.silent_since = True, None
        headers, now = response.headers, self.clock.now()
        offered, expires = headers.get(CAPABILITIES), headers.get(IDEMPOTENCY_EXPIRES)
        if offered is not None and (offered, expires) != known.offered:  # absent from responses of a proxy
            known.offered = offered, expires
            if self.service.promises.keys is None:  # otherwise it is a gateway's
                known.capabilities = frozenset(filter(None, map(str.strip, offered.lower().split(","))))
                kept = seconds(expires)
                known.promises = known.promises._replace(keys=self.can("idempotency"), kept=kept)
        if response.status in _REFUSALS:
            self._throttle.refused(now, epoch, refusal_in(headers, self.clock.wall()))
        elif response.status < 500:  # other errors say nothing about the rate
            self._throttle.succeeded(now, epoch)
        date = headers.get(DATE)
        if date is not None:
            known.dated = date, now

    def _rekeys(self, call: Call[T], error: ApiError, state: CallState) -> bool:
        """Return whether a refused key is fetched again: once per call, as it may have been rotated meanwhile."""
        if error._is_stale and self._tokens is not None:
            self._tokens.refuse(state.token)
        sent = (self._keys if call.keyed else None, self._tokens)
        is_last = not error._is_stale or state.rekeyed
        if is_last or not any(keys is not None and keys.rotates for keys in sent):
            return False
        state.rekeyed = True
        return True

    def _delay(
        self, call: Call[T], error: ApiError, state: CallState, asked: float, deadline: float | None
    ) -> float | None:
        """Return the seconds until the next attempt; None for no further attempt."""
        if may_have_started_a_run(error) and not call.repeats:
            return None
        delay = self.retry.delay(error, state.attempts, self.rng)
        is_poll = isinstance(error, RunNotFoundError) and call.method == "GET"
        floor = error.retry_after or 0.0
        is_fresh = is_poll and self.recent_runs.is_fresh(call.run_id, asked)
        if is_fresh and floor <= self.retry.max_retry_after:
            delay = max(floor, self.retry.backoff.delay(state.attempts - 1, self.rng))
        if delay is None or deadline is None or self.clock.now() + delay < deadline:
            return delay
        return None

    async def _check_safe(
        self, call: Call[T], error: ApiError, state: CallState, deadline: float | None, *, again: bool
    ) -> None:
        """Return if a failed submission may be sent again, otherwise raise: the rule for lost answers."""
        assert call.submits is not None
        refuses, age = self.service.promises.refuse(call.submits), self.age_of(state)
        has_key = self.known.promises.keep(age)
        then = decide(error, lost=state.lost, refuses=refuses, has_key=has_key, again=again)
        if then is Then.ASK:
            await self.replays(None if deadline is None else deadline - self.clock.now())
            then = Then.SEND if self.known.promises.keep(age) else Then.UNKNOWN
        if then is Then.UNKNOWN:
            raise submission_unknown(call, error, state, self.known.promises)
        if then is not Then.SEND:
            raise error

    def age_of(self, state: CallState) -> float | None:
        """Return the seconds since the first attempt of a submission; None if unknown."""
        sent = self.sent_at(state)
        return None if sent is None else self.server_time(self.clock.now()) - sent

    def sent_at(self, state: CallState) -> float | None:
        """Return the time of the first attempt, in seconds since the epoch on the server's clock; None if unknown."""
        if state.sent_at is not None:
            return state.sent_at
        return None if state.first_sent is None else self.server_time(state.first_sent)

    async def replays(self, left: float | None = None) -> bool:
        """Return whether the server replays its first answer to a known idempotency key; asks it once if unknown.

        Args:
            left: the seconds that asking may take; None for no limit of the caller's.
        """
        if self.known.promises.keys is None:
            try:
                limit = 10.0 if left is None else min(10.0, left)
                await self.send(self.service.health(), timeout=limit, once=True)
            except ApiError:
                return False
        return self.known.promises.keys is True
