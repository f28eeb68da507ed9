"""A scripted transport, a fake clock, no back-off, signed webhooks."""

import asyncio
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeAlias, Unpack

import orjson
from attrs import field, frozen
from multidict import CIMultiDict

from lume_async._base.clock import AT_WORK, SystemClock
from lume_async._base.default_client import forget_client
from lume_async._client import Client, ClientOptions
from lume_async._http.settings import ApiKey
from lume_async._http.transport import Body
from lume_async._webhooks.signatures import check_secrets, signed, veiled_secrets
from lume_async._wire.call import Receiver, Response
from lume_async.models import Json


@frozen
class FakeRequest:
    """A request that the transport received; `timeout` is in seconds.

    Examples:
        >>> request = FakeRequest("GET", "/v1/runs/run_1")
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes | None = None
    timeout: float = 0.0

    def json(self) -> Any:
        """Return the body, decoded from JSON.

        Examples:
            >>> print(FakeRequest("POST", "/v1/runs", body=b'{"force_rerun": true}').json())
            {'force_rerun': True}
        """
        return orjson.loads(self.body or b"null")


@frozen
class FakeAnswer:
    """An answer: status, body (bytes, or anything else as JSON), headers, and the seconds that it takes.

    Examples:
        >>> busy = FakeAnswer(429, {"detail": "later"}, {"Retry-After": "5"})
    """

    status: int
    body: Any = b""
    headers: Mapping[str, str] = field(factory=dict)
    took: float = 0.0


Answerer: TypeAlias = Callable[[FakeRequest], "FakeAnswer | Exception"]
"""A function from a request to its answer, or to the error of the attempt."""


QUIET_TURNS = 20
"""The clock jumps after this many iterations of the event loop that neither use it nor write a journal."""


class FakeClock:
    """A clock whose sleeps take no real time: when all tasks wait, it jumps to the end of the earliest sleep.

    Attributes:
        sleeps: the durations of all sleeps, in seconds, in the order of their start.
        offset: the wall clock minus this clock, in seconds.

    Examples:
        >>> clock = FakeClock()
        >>> clock.advance(3600)
    """

    def __init__(self, start: float = 1_000.0, *, offset: float = 1_700_000_000.0) -> None:
        self.sleeps: list[float] = []
        self.offset: float = offset
        self._now = start
        self._due: list[float] = []
        self._uses = 0

    def now(self) -> float:
        """Return the seconds from an arbitrary start; only differences are meaningful.

        Examples:
            >>> print(FakeClock(start=5).now())
            5
        """
        self._uses += 1
        return self._now

    def wall(self) -> float:
        """Return the seconds since the epoch.

        Examples:
            >>> print(FakeClock(start=5, offset=100).wall())
            105
        """
        return self._now + self.offset

    def advance(self, seconds: float) -> None:
        """Move the clock forward by `seconds`.

        Examples:
            >>> clock = FakeClock(start=5)
            >>> clock.advance(10)
            >>> print(clock.now())
            15
        """
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has advanced by `seconds`; takes no real time.

        Examples:
            >>> clock = FakeClock(start=5)
            >>> await clock.sleep(3600)
            >>> print(clock.now(), clock.sleeps)
            3605 [3600]
        """
        self.sleeps.append(seconds)
        self._uses += 1
        due = self._now + max(0.0, seconds)
        heapq.heappush(self._due, due)
        quiet, uses = 0, self._uses
        try:
            await asyncio.sleep(0)
            while due > self._now:
                quiet, uses = (quiet + 1 if uses == self._uses and not AT_WORK else 0), self._uses
                if quiet >= QUIET_TURNS and self._due[0] >= due:
                    self._now = due
                await asyncio.sleep(0)
        finally:
            self._uses += 1
            self._due.remove(due)
            heapq.heapify(self._due)


class FakeTransport:
    """A `Transport` that answers with a function, or with the items of a list in turn; an exception is raised.

    Attributes:
        requests: every request, in order.
        clock: the fake clock by which its answers take time, and its client sleeps; None: neither.

    Examples:
        >>> transport = FakeTransport([ApiConnectionError("reset"), FakeAnswer(200, run_json("run_1", "FAILED"))])
    """

    def __init__(
        self, answers: Answerer | Iterable[FakeAnswer | Exception], *, clock: FakeClock | None = None
    ) -> None:
        self.requests: list[FakeRequest] = []
        self.closed: bool = False
        self.clock: FakeClock | None = clock
        if callable(answers):
            self._answer = answers
        else:
            queue = iter(answers)
            self._answer = lambda request: next(
                queue, AssertionError(f"no answer is left for {request.method} {request.path}")
            )

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Body,
        timeout: float,
        receiver: Receiver | None = None,
    ) -> Response:
        """Record the request and answer it."""
        content = body if body is None or isinstance(body, bytes) else b"".join([part async for part in body])
        request = FakeRequest(method, path, CIMultiDict(headers), content, timeout)
        self.requests.append(request)
        await asyncio.sleep(0)
        answer = self._answer(request)
        if isinstance(answer, Exception):
            raise answer
        if self.clock is not None and answer.took:
            await self.clock.sleep(answer.took)
        body = answer.body if isinstance(answer.body, bytes) else orjson.dumps(answer.body)
        if receiver is not None and answer.status in (200, 206):
            await receiver.begin(answer.status, CIMultiDict(answer.headers))
            await receiver.write(body)
            await receiver.flush()
            body = b""
        return Response(answer.status, CIMultiDict(answer.headers), body)

    async def aclose(self) -> None:
        """Set `closed`."""
        self.closed = True


def fake_client(
    answers: Answerer | Iterable[FakeAnswer | Exception],
    *,
    clock: FakeClock | None = None,
    api_key: ApiKey | None = "test-key",
    base_url: str = "http://lume.test",
    **options: Unpack[ClientOptions],
) -> tuple[Client, FakeTransport]:
    """Return a real client over a fake transport and a fake clock, and the transport.

    Args:
        answers: a function from request to answer, or an iterable of answers.
        clock: the fake clock; default: a new one.
        options: further arguments of `Client`.

    Examples:
        >>> client, transport = fake_client([FakeAnswer(200, run_json("run_1", "SUCCEEDED"))])
        >>> run = await client.run_status("run_1")
        >>> print(run.status, transport.requests[0].path)
        SUCCEEDED /v1/runs/run_1
    """
    transport = FakeTransport(answers, clock=FakeClock() if clock is None else clock)
    if options.setdefault("transport", transport) is not transport:
        raise TypeError("fake_client makes the transport: pass none")
    return Client(api_key, base_url=base_url, **options), transport


@contextmanager
def no_backoff() -> Iterator[None]:
    """Within the block, clients of this process do not sleep between attempts or polls; deadlines still apply.

    Examples:
        >>> with no_backoff():
        ...     await run.wait()
    """
    before, SystemClock.scale = SystemClock.scale, 0.0
    try:
        yield
    finally:
        SystemClock.scale = before


def reset_default_clients() -> None:
    """Forget the clients of the module-level functions, of `lume_async` and of `lume_sync`.

    The next call creates a client from the environment, or from the arguments of `init`: call it in a test that has
    changed the environment. The pytest fixture `lume_server` does so before and after each test that uses it.

    Examples:
        >>> monkeypatch.setenv("LUME_REQUEST_TIMEOUT", "5")
        >>> reset_default_clients()
    """
    forget_client("lume_async")  # its connections end with their event loop
    if (client := forget_client("lume_sync")) is not None:
        client.close()


def sign_webhook(
    body: bytes, secret: str | bytes, *, delivery_id: str = "msg_test", at: datetime | None = None
) -> dict[str, str]:
    """Return the headers with which a server signs the delivery of a webhook.

    Args:
        body: the content of the delivery, such as `orjson.dumps({"event": "run.finished", …})`.
        secret: the receiver's secret; one that begins with `whsec_` is base64.
        delivery_id: `webhook-id`, by which a receiver recognizes a repeated delivery.
        at: the time of the delivery; default: now. Receivers refuse old ones.

    Examples:
        >>> headers = sign_webhook(b'{"run_id": "run_1"}', "the secret")
    """
    (key,) = check_secrets(veiled_secrets(secret))
    timestamp = str(int((datetime.now(UTC) if at is None else at).timestamp()))
    return signed(body, [key], delivery_id, timestamp)


def run_json(run_id: str, status: str, **fields: Json) -> dict[str, Any]:
    """Return a run as JSON, with `fields` added or replaced.

    Examples:
        >>> answer = FakeAnswer(200, run_json("run_1", "FAILED", metadata={"error_message": "no such file"}))
    """
    return {
        "id": run_id,
        "status": status,
        "flow_version": "customer_cleaner:v1",
        "source_path": "customers.csv",
        "run_metadata": None,
        "force_rerun": False,
        "created_at": "2026-01-01T00:00:00Z",
        "started_at": None,
        "finished_at": None,
        "metadata": {},
        **fields,
    }
