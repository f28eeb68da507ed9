"""Submitting the items of a run_many: a full server, a deadline, a cancelled batch, what a restart must know."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
from fake_service import Service, other_tasks

from lume_async import (
    ApiConnectionError,
    ApiTimeoutError,
    LumeRun,
    Outcome,
    RateLimitError,
    RunNotFoundError,
    RunRequest,
    SubmissionUnknownError,
)
from lume_async._batch.entries import Entry, Kind, canonical
from lume_async._batch.journal import Journal
from lume_async._batch.journal_thread import Recorder
from lume_async._wire.retry import LONGEST_FLOOR
from lume_async.testing import FakeAnswer, FakeRequest, fake_client

Answer = FakeAnswer | Exception
FULL = FakeAnswer(429, {"detail": "full"}, {"Retry-After": "7"})


class Posts:
    """The service, whose submissions meet these answers first; None: the service's own, which gets lost."""

    def __init__(self, service: Service, *first: Answer | None) -> None:
        self.service = service
        self.first: Iterator[Answer | None] = iter(first)

    def __call__(self, request: FakeRequest) -> Answer:
        if request.method != "POST":
            return self.service(request)
        answer = next(self.first, request)
        if answer is None:
            self.service(request)
            return ApiConnectionError("reset")
        return self.service(request) if answer is request else answer  # type: ignore[return-value]


def force(count: int) -> list[RunRequest]:
    return [RunRequest("f:v1", f"s{n}", {"n": n}, force_rerun=True) for n in range(count)]


async def outcomes_of(
    service: Service,
    requests: list[RunRequest],
    answer: Callable[[FakeRequest], Answer] | None = None,
    **options: object,
) -> list[Outcome[LumeRun]]:
    client, _ = fake_client(answer or service, clock=service.clock)
    return [outcome async for outcome in client.run_many(requests, **options)]  # type: ignore[arg-type]


# A full server


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "7"}, {"Retry-After": "90"}])
@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_without_room_is_waited_for(status: int, headers: dict[str, str]) -> None:
    service = Service()
    full = [FakeAnswer(status, {"detail": "no room"}, headers)] * 20
    (outcome,) = await outcomes_of(service, force(1), Posts(service, *full))
    assert outcome.result().succeeded
    assert service.created == ["run_0"]


@pytest.mark.parametrize("status", [429, 503])
async def test_who_is_told_to_wait_for_ever_tries_again_after_an_hour(status: int) -> None:
    service = Service()
    full = FakeAnswer(status, {"detail": "no room"}, {"Retry-After": "99999999999"})
    (outcome,) = await outcomes_of(service, force(1), Posts(service, full))
    assert outcome.result().succeeded
    assert service.clock.now() == pytest.approx(LONGEST_FLOOR, abs=10)


@pytest.mark.parametrize("then", [FakeAnswer(503, {}), FakeAnswer(502, {}), ApiConnectionError("reset")])
async def test_who_waited_for_a_full_server_has_all_its_attempts_again(then: Answer) -> None:
    service = Service(capabilities=["idempotency"])
    (outcome,) = await outcomes_of(service, force(1), Posts(service, FULL, FULL, FULL, then))
    assert outcome.result().succeeded
    assert service.created == ["run_0"]


async def test_a_lost_answer_and_then_a_full_server_is_waited_for_where_keys_are_known() -> None:
    service = Service(capabilities=["idempotency"])
    (outcome,) = await outcomes_of(service, force(1), Posts(service, None, FULL, FULL, FULL, FULL))
    assert outcome.result().succeeded
    assert service.created == ["run_0"]


async def test_a_lost_answer_and_then_a_full_server_is_unknown_where_they_are_not() -> None:
    service = Service()
    (outcome,) = await outcomes_of(service, force(1), Posts(service, None, FULL, FULL, FULL, FULL))
    assert isinstance(outcome.error, SubmissionUnknownError)
    assert service.created == ["run_0"]


# A server that is away for a while

REFUSED = ApiConnectionError("refused", reached=False)


async def test_a_server_that_was_there_is_waited_for() -> None:
    service = Service()
    requests = force(2)
    outcomes = await outcomes_of(service, requests, Posts(service, FULL, *[REFUSED] * 30), max_active=1)
    assert all(outcome.result().succeeded for outcome in outcomes)
    assert service.created == ["run_0", "run_1"]


async def test_a_server_that_was_never_there_is_not_waited_for() -> None:
    service = Service()
    answers = [REFUSED] * 3

    def nobody(request: FakeRequest) -> Answer:
        return answers.pop() if answers else service(request)

    (outcome,) = await outcomes_of(service, force(1), nobody)
    assert isinstance(outcome.error, ApiConnectionError)
    assert service.created == []


async def test_a_lost_answer_and_then_nobody_is_waited_for_where_keys_are_known() -> None:
    service = Service(capabilities=["idempotency"])
    (outcome,) = await outcomes_of(service, force(1), Posts(service, FULL, None, *[REFUSED] * 30))
    assert outcome.result().succeeded
    assert service.created == ["run_0"]


async def test_a_server_that_stays_away_ends_with_the_deadline(tmp_path: Path) -> None:
    service, path = Service(), tmp_path / "j.db"
    seen = Posts(service, FULL, *[REFUSED] * 1000)
    (outcome,) = await outcomes_of(service, force(1), seen, timeout=60, journal=path)
    assert isinstance(outcome.error, ApiConnectionError)
    assert "refused" in str(outcome.error)
    assert 60 <= service.clock.now() <= 60 + 10
    (outcome,) = await outcomes_of(service, force(1), journal=path)  # nothing was sent: the next start does
    assert outcome.result().succeeded


# The deadline


@pytest.mark.parametrize("pause", ["7", "3600"])
async def test_a_server_that_stays_full_ends_with_the_deadline(tmp_path: Path, pause: str) -> None:
    service, path = Service(), tmp_path / "j.db"

    def full(request: FakeRequest) -> FakeAnswer:
        return FakeAnswer(429, {"detail": "full"}, {"Retry-After": pause})

    (outcome,) = await outcomes_of(service, force(1), full, timeout=20, journal=path)
    assert isinstance(outcome.error, RateLimitError)
    assert service.clock.now() <= 20 + 10
    assert not other_tasks()
    (outcome,) = await outcomes_of(service, force(1), journal=path)  # nothing was sent: the next start does
    assert outcome.result().succeeded


async def test_a_server_that_never_answers_ends_soon_after_the_deadline() -> None:
    service = Service()

    def stall(request: FakeRequest) -> Exception:
        service.clock.advance(request.timeout)
        return ApiTimeoutError("no answer")

    (outcome,) = await outcomes_of(service, force(1), stall, timeout=5)
    assert isinstance(outcome.error, SubmissionUnknownError)
    assert service.clock.now() <= 5 + 10 + 10  # the submission, and the question what the server can do


# A cancelled batch


@pytest.mark.parametrize("ticks", range(0, 120, 3))
async def test_a_batch_that_is_cancelled_at_any_moment_forgets_nothing(tmp_path: Path, ticks: int) -> None:
    """Against a server that knows no keys: what is not known for certain could not be submitted again."""
    service, path = Service(), tmp_path / "j.db"
    batch = asyncio.ensure_future(outcomes_of(service, force(20), journal=path, max_active=8))
    for _ in range(ticks):
        await asyncio.sleep(0)
    batch.cancel()
    await asyncio.gather(batch, return_exceptions=True)
    assert not other_tasks()

    again = await outcomes_of(service, force(20), journal=path)
    assert all(outcome.result().succeeded for outcome in again)
    assert len(again) == len(service.created) == 20


async def test_what_was_to_be_recorded_is_where_nobody_waits_for_it(tmp_path: Path) -> None:
    recorder = await Recorder.open(tmp_path / "j.db")
    (request,) = force(1)
    waiting = asyncio.ensure_future(recorder.record(Journal.sending, 0, request, "key", 1.0))
    await asyncio.sleep(0)
    waiting.cancel()
    await recorder.aclose()
    assert waiting.cancelled()

    journal = Journal.open(tmp_path / "j.db")
    entry = journal.entry(0, request, journal.rows(0, 1)[0])
    journal.close()
    assert entry == Entry("key", 1.0, False, canonical(request), Kind.SENDING)


# What a restart must know


async def test_a_run_that_failed_after_the_kill_is_found_and_not_made_again(tmp_path: Path) -> None:
    service, path = Service(status="FAILED"), tmp_path / "j.db"  # knows no keys, allows a failed source again
    request = RunRequest("f:v1", "s0")
    journal = Journal.open(path)
    journal.sending(0, request, "the-key", service.clock.wall())
    journal.close()
    body = {"flow_version": "f:v1", "source_path": "s0", "force_rerun": False}
    service(FakeRequest("POST", "/v1/runs", {"Idempotency-Key": "the-key"}, orjson.dumps(body)))
    await service.clock.sleep(60)

    (outcome,) = await outcomes_of(service, [request], journal=path)
    assert outcome.result().status == "FAILED"
    assert service.created == ["run_0"]


def without_list(service: Service, status: int) -> Callable[[FakeRequest], Answer]:
    """The service, but that it can't list runs."""

    def answer(asked: FakeRequest) -> Answer:
        listing = asked.method == "GET" and asked.path.startswith("/v1/runs?")
        return FakeAnswer(status, {"detail": "no list"}) if listing else service(asked)

    return answer


@pytest.mark.parametrize("status", [405, 501])
async def test_without_a_list_of_runs_what_may_be_refused_twice_is_sent_again(
    tmp_path: Path, status: int
) -> None:
    service, path = Service(), tmp_path / "j.db"
    request = RunRequest("f:v1", "s0")
    journal = Journal.open(path)
    journal.sending(0, request, "the-key", service.clock.wall())
    journal.close()

    (outcome,) = await outcomes_of(service, [request], without_list(service, status), journal=path)
    assert outcome.result().succeeded
    assert service.created == ["run_0"]


@pytest.mark.parametrize("status", [405, 501])
async def test_without_a_list_of_runs_the_key_decides(tmp_path: Path, status: int) -> None:
    service, path = Service(capabilities=["idempotency"]), tmp_path / "j.db"
    request = RunRequest("f:v1", "s0", force_rerun=True)
    journal = Journal.open(path)
    journal.sending(0, request, "the-key", service.clock.wall())
    journal.close()

    (outcome,) = await outcomes_of(service, [request], without_list(service, status), journal=path)
    assert outcome.result().succeeded
    assert service.keys == {"the-key": "run_0"}


async def test_a_holder_that_cannot_be_seen_yet_is_followed_by_the_next_start(tmp_path: Path) -> None:
    service, path = Service(), tmp_path / "j.db"
    service.broken["s0"] = FakeAnswer(409, {"detail": "in progress", "run_id": "run_old"})
    service.broken["run_old"] = FakeAnswer(404, {"detail": "not yet"})
    request = RunRequest("f:v1", "s0")
    (outcome,) = await outcomes_of(service, [request], journal=path, on_duplicate="attach")
    assert isinstance(outcome.error, RunNotFoundError)

    del service.broken["run_old"]
    (outcome,) = await outcomes_of(service, [request], journal=path, on_duplicate="attach")
    assert outcome.result().id == "run_old"
    assert outcome.result().reused


async def test_each_item_keeps_its_key_and_whether_its_run_is_an_old_one(tmp_path: Path) -> None:
    service, path = Service(), tmp_path / "j.db"
    service.broken["same"] = FakeAnswer(409, {"detail": "in progress", "run_id": "run_old"})
    requests = [RunRequest("f:v1", "new"), RunRequest("f:v1", "same"), RunRequest("f:v1", "same")]

    def facts(outcomes: list[Outcome[LumeRun]]) -> set[tuple[str, bool, str | None]]:
        return {(it.result().id, it.result().reused, it.result().idempotency_key) for it in outcomes}

    first = facts(await outcomes_of(service, requests, journal=path, on_duplicate="attach"))
    assert sorted((run_id, reused) for run_id, reused, _key in first) == [
        ("run_0", False),
        ("run_old", True),
        ("run_old", True),
    ]
    assert len({key for _id, _reused, key in first if key}) == 3
    assert facts(await outcomes_of(service, requests, journal=path, on_duplicate="attach")) == first
