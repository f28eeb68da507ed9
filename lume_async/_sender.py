"""`Sender.send(call)`: key, gate, slot, transport, decoding, retry. The only place where these meet."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable
from typing import TypeVar

from attrs import define

from lume_async import _endpoints
from lume_async._backoff import Rng
from lume_async._clock import Clock
from lume_async._config import Settings
from lume_async._endpoints import Call
from lume_async._gate import Gate
from lume_async._keys import Keys
from lume_async._observe import Observer, RequestFinished
from lume_async._perloop import PerLoop
from lume_async._retry import Retry, answer_lost, refuses_for_good
from lume_async._secret import Secret
from lume_async._transport import Transport
from lume_async._waiter import LAST_LOOK
from lume_async._wire import Response, error_from, server_time
from lume_async.errors import (
    ApiError,
    ApiTimeoutError,
    AuthenticationError,
    ClientClosedError,
    RunNotFoundError,
    SubmissionUnknownError,
)

T = TypeVar("T")

GRACE = 10.0
"""Seconds after our own submission in which a 404 on the run is read as 'not yet'."""

REMEMBERED = 10_000
"""How many of our own submissions are remembered for that."""

_CLOSES_THE_GATE = frozenset({429, 503})


@define
class Sending:
    """How one call went so far; the caller may look at it afterwards.

    Attributes:
        attempts: how often it was sent.
        lost: whether an answer to a submission was lost on the way.
        first_sent: when it was first sent, on the clock's monotonic time; a caller that knows it sets it.
        dated: whether to note the server's time.
        server_offset: the server's wall clock minus the clock's monotonic time, from the newest `Date`.
        rekeyed: whether a refused key was asked for anew.
        key: the API key of the newest attempt.
    """

    attempts: int = 0
    lost: bool = False
    first_sent: float | None = None
    dated: bool = False
    server_offset: float | None = None
    rekeyed: bool = False
    key: Secret | None = None


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
        self.clock = clock
        self.rng = rng
        self.observer = observer
        self.retry = retry
        self.capabilities: frozenset[str] | None = None
        self._offered = ""
        self._transport = transport
        self._keys = Keys(settings.api_key)
        self._gate = Gate(clock)
        self._slots = PerLoop(lambda: asyncio.Semaphore(settings.max_connections))
        self._ours: OrderedDict[str, float] = OrderedDict()
        self._held = 0
        self.closed = False

    async def send(
        self,
        call: Call[T],
        *,
        timeout: float | None = None,
        sending: Sending | None = None,
        once: bool = False,
    ) -> T:
        """Send until there is an answer, the retries are used up, or `timeout` seconds are over.

        Args:
            timeout: seconds for the whole call, retries included; None for no limit of its own.
            sending: filled with how the call went.
            once: send once only, for callers that come back anyway.

        Raises:
            ApiError: see the tree in `lume_async.errors`.
            ClientClosedError: the client is closed.
        """
        clock = self.clock
        deadline = None if timeout is None else clock.now() + timeout
        state = Sending() if sending is None else sending
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
                if call.submission is not None and answer_lost(error):
                    state.lost = True
                delay = await self._delay(call, error, state)
                if once or delay is None or (deadline is not None and clock.now() + delay >= deadline):
                    raise _verdict(call, error, state)
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
        self.closed = True
        await self._transport.aclose()

    def can(self, capability: str) -> bool:
        """Whether the server is known to have it."""
        return self.capabilities is not None and capability in self.capabilities

    def may_hold(self) -> bool:
        """Whether one more request may be left with the server while it waits for a change.

        Such a request keeps a connection busy: at most half of them, so that short requests always get one.
        """
        return self.can("wait") and self._held < self.settings.max_connections // 2

    def submitted(self, run_id: str) -> None:
        """Remember a run of our own: a server may need a moment before it finds it."""
        self._ours[run_id] = self.clock.now()
        if len(self._ours) > REMEMBERED:
            self._ours.popitem(last=False)

    def is_fresh(self, run_id: str | None) -> bool:
        """Whether it is so new a run of ours that the server may not find it yet."""
        at = self._ours.get(run_id or "", -math.inf)
        return self.clock.now() - at < GRACE

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
        slot = self._slots.get()
        if self._gate.pace.free and not slot.locked():
            epoch = await self._gate.enter()
            await slot.acquire()
        else:
            epoch = await self._turn(slot, deadline)
        try:
            if self.closed:
                raise ClientClosedError("the client is closed: make a new one")
            response = await self._exchange(call, state, deadline)
        finally:
            slot.release()
        self._learn(call, response, state, epoch)
        return _read(call, response, self.clock, state.key)

    async def _turn(self, slot: asyncio.Semaphore, deadline: float | None) -> int:
        left = None if deadline is None else deadline - self.clock.now()
        try:
            async with asyncio.timeout(left):
                await slot.acquire()
                try:
                    return await self._gate.enter()
                except BaseException:
                    slot.release()
                    raise
        except TimeoutError:
            pass
        raise ApiTimeoutError(
            "no turn in time: max_connections requests are under way, or the server asked for a pause",
            reached=False,
        )

    async def _exchange(self, call: Call[T], state: Sending, deadline: float | None) -> Response:
        """Put the request on the wire and time it."""
        headers = {"User-Agent": self.settings.user_agent, **call.headers}
        if call.keyed:
            headers["lume-api-key"] = state.key = await self._keys.get()
        started = self.clock.now()
        if state.first_sent is None:
            state.first_sent = started
        request = self._transport.request(
            call.method,
            call.path,
            headers=headers,
            body=call.stream() if call.stream else call.body,
            timeout=self._limit(call, None if deadline is None else deadline - started),
        )
        if self.observer.listening:
            return await self._observed(request, call.operation, state.attempts, started)
        return await request

    async def _observed(
        self, request: Awaitable[Response], operation: str, attempt: int, started: float
    ) -> Response:
        """The request, its start and its end told to the log and the hooks."""
        self.observer.started(operation, attempt)
        status, request_id, failure = None, None, None
        try:
            response = await request
            status, request_id = response.status, response.headers.get("X-Request-Id")
            return response
        except BaseException as error:
            failure = type(error).__name__
            raise
        finally:
            duration = self.clock.now() - started
            self.observer.finished(
                RequestFinished(operation, attempt, duration, status, request_id, error=failure)
            )

    def _limit(self, call: Call[T], left: float | None) -> float:
        """How long this attempt may take: the request timeout, clipped to the time left."""
        limit = self.settings.request_timeout
        if left is None:
            return call.hold + limit
        if call.hold:
            return call.hold + min(limit, max(left - call.hold, LAST_LOOK))
        return max(0.0, min(limit, left))

    def _learn(self, call: Call[T], response: Response, state: Sending, epoch: int) -> None:
        """What every answer tells: capabilities, the server's clock, whether it is under pressure."""
        headers, now = response.headers, self.clock.now()
        offered = headers.get("Lume-Capabilities")
        if offered is not None and offered != self._offered:  # a proxy's own answer has none: changes nothing
            self._offered, self.capabilities = offered, _capabilities(offered)
        if response.status in _CLOSES_THE_GATE:
            self._gate.pace.refused(now, epoch, error_from(response, wall=self.clock.wall()).retry_after)
        else:
            self._gate.pace.succeeded(now)
        if state.dated:
            date = server_time(headers.get("Date"))
            if date is not None:
                state.server_offset = date - now

    async def _delay(self, call: Call[T], error: ApiError, state: Sending) -> float | None:
        """Seconds until the next attempt, None where there must be none."""
        if isinstance(error, AuthenticationError) and error.status_code == 401:
            if self._keys.rotates and call.keyed and not state.rekeyed:
                state.rekeyed = True
                return 0.0
            return None
        if isinstance(error, RunNotFoundError) and self.is_fresh(call.run_id):
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
                await self._attempt(_endpoints.health(), Sending(attempts=1), self.clock.now() + 10.0)
            except ApiError:
                return False
        return self.can("idempotency")


def _read(call: Call[T], response: Response, clock: Clock, key: Secret | None) -> T:
    """The value of an answer.

    Raises:
        ApiError: it is none.
    """
    status = response.status
    if not (200 <= status < 300 or (status == 304 and "If-None-Match" in call.headers)):
        raise _about(call, error_from(response, on_run=call.run_id is not None, wall=clock.wall()), key)
    try:
        return call.decode(response)
    except ApiError as caught:
        error = caught
    error.status_code = status
    error.request_id = response.headers.get("X-Request-Id")
    error.body = response.body[:2048].decode("utf-8", "replace")
    raise _about(call, error, key)


def _about(call: Call[T], error: ApiError, key: Secret | None) -> ApiError:
    """The error, with the request in its message, and without the key: some servers repeat what they refuse."""
    error.args = (f"{call.method} {call.path}: {_without(key, error.args[0])}",)
    error.body = _without(key, error.body)
    return error


def _without(key: Secret | None, text: str) -> str:
    # Shorter ones are made up, and words like "test" stand in a body for other reasons.
    return text.replace(key, "[redacted]") if key and len(key) >= 8 else text


def _verdict(call: Call[T], error: ApiError, state: Sending) -> ApiError:
    """The error to raise: an answer that was lost must never pass for a refusal."""
    if not state.lost or refuses_for_good(error) or error.status_code == 409 or call.submission is None:
        return error
    return submission_unknown(call, error, state)


def submission_unknown(call: Call[T], error: ApiError | None, state: Sending) -> SubmissionUnknownError:
    """What a submission ends with whose answer was lost; `error` is why nothing more can be found out."""
    request, key = call.submission, call.headers.get("Idempotency-Key")
    assert request is not None
    unknown = SubmissionUnknownError(
        f"the answer to a submission was lost ({error or 'the process that sent it ended'}): a run of "
        f"{request.flow_version!r} on {request.source_path!r} may exist. Look for it with "
        f"list_runs(source_path=...), or submit again with idempotency_key={key!r} if the server knows such keys",
        idempotency_key=key,
        request=request,
        attempts=state.attempts,
        status_code=error.status_code if error else None,
        request_id=error.request_id if error else None,
    )
    unknown.__cause__ = error
    return unknown


def _capabilities(text: str) -> frozenset[str]:
    return frozenset(word.strip().lower() for word in text.split(",") if word.strip())
