"""A failed look is no failed run: every fault of the network and the server is outlived until the deadline."""

import asyncio
import contextlib
import random
from collections.abc import Callable

import pytest
from faults.support import FLOW, SEED, SOURCE, LeapingClock, client_for, leaping_client, run_reply
from loopback import Loopback, Step, forever, gone, gzipped, hang_up, html_502, reply, reset, throttled
from loopback_steps import Connection, Moment, Reply, Request
from run_service import RunService

from lume_async import (
    ApiConnectionError,
    ApiError,
    AuthenticationError,
    InvalidRequestError,
    LumeRun,
    PermissionDeniedError,
    RateLimitError,
    ResponseDecodeError,
    RunFailedError,
    RunNotFoundError,
    RunTimeoutError,
    ServerError,
)
from lume_async._http.throttle import ROW
from lume_async.testing import no_backoff

DATE = "Tue, 24 Nov 2026 17:00:00 GMT"
TWO_LATER = "Tue, 24 Nov 2026 17:00:02 GMT"

FAULTS: dict[str, tuple[Callable[[], Step], type[ApiError]]] = {
    "reset": (reset, ApiConnectionError),
    "hang up": (hang_up, ApiConnectionError),
    "cut headers": (lambda: run_reply().cut("headers"), ApiConnectionError),
    "cut body": (lambda: run_reply().cut("body"), ApiConnectionError),
    "cut chunk": (lambda: _chunked(run_reply()).cut("chunk"), ApiConnectionError),
    "cut before the last chunk": (lambda: _chunked(run_reply()).cut("last chunk"), ApiConnectionError),
    "cut gzip": (lambda: gzipped(run_reply()).cut("body"), ApiConnectionError),
    "short body": (lambda: run_reply().lying(4096), ApiConnectionError),
    "empty 200": (lambda: reply(200), ResponseDecodeError),
    "truncated JSON": (lambda: reply(200, b'{"id": "run_1", "status": "SUCC'), ResponseDecodeError),
    "HTML 200": (lambda: reply(200, "<html>hello</html>"), ResponseDecodeError),
    "no status": (lambda: reply(200, {"id": "run_1"}), ResponseDecodeError),
    "null": (lambda: reply(200, b"null"), ResponseDecodeError),
    "408": (lambda: reply(408), ApiError),
    "429 with seconds": (lambda: throttled("2"), RateLimitError),
    "429 with a date": (lambda: throttled(TWO_LATER, date=DATE), RateLimitError),
    "500": (lambda: reply(500), ServerError),
    "HTML 502": (html_502, ServerError),
    "503 with seconds": (lambda: throttled("2", 503), ServerError),
    "504": (lambda: reply(504), ServerError),
}


def _chunked(answer: Reply) -> Reply:
    return reply(answer.status, answer.body, framing="chunked")


class Outage:
    """Resets the connection and refuses the next attempts, as a server does that restarts."""

    moment: Moment = "request"

    def __init__(self, server: Loopback, clock: LeapingClock, refused: int) -> None:
        self._server, self._clock, self._left = server, clock, refused + 1

    async def play(self, connection: Connection) -> None:
        sleep = self._clock.sleep

        async def sleep_and_count(seconds: float) -> None:
            self._left -= 1
            if self._left == 0:
                self._clock.sleep = sleep  # type: ignore[method-assign]
                await self._server.accept()
            await sleep(seconds)

        self._clock.sleep = sleep_and_count  # type: ignore[method-assign]
        await gone().play(connection)


@pytest.mark.parametrize("seed", range(SEED, SEED + 12))
async def test_any_mix_of_faults_is_outlived(seed: int) -> None:
    rng = random.Random(seed)
    async with RunService(statuses=["CREATED", "NEW_ONE", "TRANSFORMING", "SUCCEEDED"]) as service:
        client, clock = leaping_client(service)
        names = [*FAULTS, "outage", "the truth"]
        for name in rng.choices(names, k=60):
            if name == "outage":
                service.fault(Outage(service, clock, rng.randint(1, 6)))
            else:
                service.fault(None if name == "the truth" else FAULTS[name][0]())
        service.capabilities = set()
        async with client:
            run = await client.run(FLOW, SOURCE)
            looks = service.runs[run.id].looks
            assert await run.wait(timeout=3600) is run

    assert run.status == "SUCCEEDED"
    assert looks == 0
    assert len(service.runs) == 1


@pytest.mark.once
@pytest.mark.parametrize(("fault", "kind"), FAULTS.values(), ids=FAULTS)
async def test_an_outage_past_the_deadline_is_a_timeout_caused_by_the_last_error(
    fault: Callable[[], Step], kind: type[ApiError]
) -> None:
    async with Loopback([run_reply("TRANSFORMING"), forever(fault())]) as server:
        client, clock = leaping_client(server)
        async with client:
            run = await client.run_status("run_1")
            begun = clock.leapt
            with pytest.raises(RunTimeoutError) as caught:
                await run.wait(timeout=60)

    assert 58 <= clock.leapt - begun <= 61.5
    assert type(caught.value.__cause__) is kind
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.run is run
    assert run.status == "TRANSFORMING"
    assert len(server.requests) < 70  # waited out, not hammered


@pytest.mark.parametrize("retry_after", [None, "soon"])
async def test_a_pause_past_the_deadline_is_named_in_the_timeout(retry_after: str | None) -> None:
    """Refused again and again, all requests pause for longer and longer; the last one has only what is left."""
    async with Loopback([run_reply("TRANSFORMING"), forever(throttled(retry_after))]) as server:
        client, _ = leaping_client(server)
        async with client:
            run = await client.run_status("run_1")
            with pytest.raises(RunTimeoutError, match=r"429|no answer within") as caught:
                await run.wait(timeout=60)

    assert isinstance(caught.value.__cause__, ApiError)
    assert len(server.requests) < 60


async def test_a_server_that_is_away_all_the_time_is_a_timeout_caused_by_a_refused_connection() -> None:
    async with Loopback([], refusing=True) as server:
        client, _ = leaping_client(server)
        async with client:
            with pytest.raises(RunTimeoutError) as caught:
                await client.attach("run_1").wait(timeout=60)

    assert isinstance(caught.value.__cause__, ApiConnectionError)
    assert not caught.value.__cause__.reached
    assert "ssl" not in str(caught.value.__cause__)  # there is none with http://


async def test_a_stalled_answer_ends_with_its_attempt_not_with_the_wait() -> None:
    async with Loopback(
        [run_reply("TRANSFORMING").stall(), run_reply("TRANSFORMING").stall("body"), run_reply()]
    ) as s:
        client, _ = leaping_client(s, request_timeout=0.3)
        async with client:
            run = await client.attach("run_1").wait(timeout=3600)

    assert run.succeeded


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, RunNotFoundError),
        (410, ApiError),
        (422, InvalidRequestError),
        (307, ApiError),
    ],
)
async def test_a_refusal_for_good_ends_the_wait_at_once(status: int, kind: type[ApiError]) -> None:
    async with Loopback([run_reply("TRANSFORMING"), reply(status)]) as server:
        client, _ = leaping_client(server)
        async with client:
            run = await client.run_status("run_1")
            with pytest.raises(kind):
                await run.wait()


async def test_a_stall_at_the_deadline_costs_a_second_at_the_most() -> None:
    script = [run_reply("TRANSFORMING"), forever(run_reply().stall())]
    async with Loopback(script) as server, client_for(server) as client:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with pytest.raises(RunTimeoutError):
            await client.attach("run_1").wait(timeout=0.2, poll_interval=0.05)
        took = loop.time() - begun

    assert 0.2 <= took < 5


@pytest.mark.once
@pytest.mark.parametrize("odd", ["NEW_ONE", "transforming", "Succeeded", " "])
async def test_an_unknown_status_is_watched_on(odd: str, caplog: pytest.LogCaptureFixture) -> None:
    script = [run_reply(odd), run_reply(odd), run_reply("TRANSFORMING"), run_reply(odd), run_reply()]
    async with Loopback(script) as server:
        client, _ = leaping_client(server)
        async with client:
            run = await client.attach("run_1").wait()

    assert run.succeeded
    warnings = [r for r in caplog.records if r.name == "lume.runs" and r.levelname == "WARNING"]
    assert len(warnings) == 1


async def test_an_unknown_status_with_an_end_is_never_a_success() -> None:
    async with Loopback([run_reply("ARCHIVED", finished_at="2026-01-01T00:00:00Z")]) as server:
        client, _ = leaping_client(server)
        async with client:
            with pytest.raises(RunFailedError) as caught:
                await client.attach("run_1").wait()

    assert caught.value.run.status == "ARCHIVED"
    assert not caught.value.run.has_output


@pytest.mark.once
@pytest.mark.parametrize("field", ["flow_version", "source_path", "run_metadata", "created_at", "metadata"])
@pytest.mark.parametrize("value", [None, 7, "text", {"new": 1}, []], ids=repr)
async def test_a_field_that_nobody_waits_for_ends_no_wait(field: str, value: object) -> None:
    async with Loopback([run_reply("TRANSFORMING", **{field: value}), run_reply(**{field: value})]) as server:
        client, _ = leaping_client(server)
        async with client:
            run = await client.attach("run_1").wait()

    assert run.succeeded


async def test_retry_after_is_a_floor_on_a_good_answer_too() -> None:
    patient = reply(200, run_reply("TRANSFORMING").body, headers={"Retry-After": "17"})
    async with Loopback([patient, run_reply()]) as server:
        client, clock = leaping_client(server)
        async with client:
            await client.attach("run_1").wait()

    assert max(clock.sleeps) >= 17


@pytest.mark.parametrize("many", [False, True])
async def test_retry_after_on_a_submission_is_a_floor_for_the_first_look(many: bool) -> None:
    begun = reply(201, run_reply("CREATED").body, headers={"Retry-After": "17"})
    async with Loopback([begun, run_reply()]) as server:
        client, clock = leaping_client(server)
        async with client:
            before = clock.now()
            run = await client.run(FLOW, SOURCE)
            with pytest.raises(RunTimeoutError):
                await run.wait(timeout=5)
            assert len(server.requests) == 1
            await (client.wait_all([run]) if many else run.wait())

    assert len(server.requests) == 2
    assert clock.now() - before >= 17


async def test_a_run_of_our_own_may_be_invisible_for_a_moment() -> None:
    async with RunService(grace=4, capabilities=()) as service:
        client, _ = leaping_client(service)
        async with client:
            run = await client.run(FLOW, SOURCE)
            await run.wait()

    assert run.succeeded


async def test_a_run_of_our_own_that_stays_invisible_is_not_found_after_ten_seconds() -> None:
    async with RunService(grace=10**6, capabilities=()) as service:
        client, clock = leaping_client(service)
        async with client:
            run = await client.run(FLOW, SOURCE)
            begun = clock.leapt
            with pytest.raises(RunNotFoundError):
                await run.wait()

    assert 8 <= clock.leapt - begun <= 20


async def test_a_run_of_others_that_is_invisible_is_not_found_at_once() -> None:
    async with RunService() as service:
        client, clock = leaping_client(service)
        async with client:
            with pytest.raises(RunNotFoundError):
                await client.attach("run_9").wait()

    assert len(service.requests) == 1
    assert clock.sleeps == []


async def test_waits_that_sleep_hold_no_connection() -> None:
    async with RunService(by_hand=True, capabilities=()) as service:
        for number in range(200):
            service.add(FLOW, f"{number}.csv")
        async with client_for(service, max_connections=2) as client:
            waits = [
                asyncio.create_task(client.attach(run_id).wait(poll_interval=3600)) for run_id in service.runs
            ]
            await service.received(200)
            await client.run(FLOW, "one more.csv")  # a place is free: all the others sleep

            assert service.connections <= 2
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)


@pytest.mark.parametrize("waiting", ["sleeping", "asking"])
async def test_a_cancelled_wait_stops_looking_and_leaves_the_run_alone(waiting: str) -> None:
    statuses = ["TRANSFORMING"]
    async with RunService(statuses=statuses, by_hand=True, capabilities=()) as service:
        run = service.add()
        if waiting == "asking":
            service.fault(run_reply().stall())
        async with client_for(service) as client:
            handle: LumeRun = client.attach(run.id)
            wait = asyncio.create_task(handle.wait(poll_interval=3600))
            await service.received(1)
            if waiting == "sleeping":
                while handle.status is None:
                    await asyncio.sleep(0)
            wait.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await wait
            assert wait.cancelled()

    assert _asked(service.requests) == {"GET"}
    assert len(service.requests) == 1
    assert run.status == "TRANSFORMING"


async def test_without_back_off_a_pause_of_all_requests_takes_no_time() -> None:
    async with Loopback([*[throttled("45")] * ROW, run_reply()]) as server, client_for(server) as client:
        with no_backoff():
            run = await client.attach("run_1").wait(timeout=None)

    assert run.succeeded


def _asked(requests: list[Request]) -> set[str]:
    return {request.method for request in requests}
