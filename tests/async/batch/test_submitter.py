"""Submitting the items of a run_many: a full server, a deadline, a cancelled batch, what a restart must know."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import evolve
from doubts import KEEPS, REQUEST, Server, commit, killed, resumed
from fake_service import Service, other_tasks

from lume_async import (
    ApiConnectionError,
    LumeRun,
    Outcome,
    RateLimitError,
    RunNotFoundError,
    RunRequest,
    SubmissionUnknownError,
)
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


async def test_a_full_server_is_not_waited_for_longer_than_it_keeps_the_key() -> None:
    service = Service(capabilities=["idempotency"])
    full = evolve(FULL, headers={"Retry-After": "100"})
    posts = Posts(service, None, full)

    def answer(request: FakeRequest) -> Answer:
        own = posts(request)
        if isinstance(own, FakeAnswer):
            own = evolve(own, headers={**own.headers, "Lume-Idempotency-Expires": "90"})
        return own

    (outcome,) = await outcomes_of(service, force(1), answer)
    assert isinstance(outcome.error, SubmissionUnknownError)
    assert sum(request.method == "POST" for request in service.log) == 1, "the one whose answer was lost"


async def test_a_lost_answer_and_then_a_full_server_is_unknown_where_they_are_not() -> None:
    service = Service()
    (outcome,) = await outcomes_of(service, force(1), Posts(service, None, FULL, FULL, FULL, FULL))
    assert isinstance(outcome.error, SubmissionUnknownError)
    assert service.created == ["run_0"]


# Answers that are lost again and again

BROKEN = [FakeAnswer(500, {}), FakeAnswer(502, b"<html>"), FakeAnswer(201, b"{"), ApiConnectionError("reset")]
quiet = pytest.mark.filterwarnings("ignore:.*has not answered:RuntimeWarning")


def broken(
    service: Service, failure: Answer, until: float, kept: float | None = None
) -> Callable[[FakeRequest], Answer]:
    """The service behind a gateway that breaks each answer to a submission up to then; all have arrived."""
    expires = {} if kept is None else {"Lume-Idempotency-Expires": f"{kept:g}"}

    def answer(request: FakeRequest) -> Answer:
        own = service(request)
        if isinstance(own, FakeAnswer):
            own = evolve(own, headers={**own.headers, **expires})
        if request.method == "POST" and service.clock.now() < until:
            return failure
        return own

    return answer


@quiet
@pytest.mark.parametrize("journal", [None, "j.db"])
@pytest.mark.parametrize("force_rerun", [True, False])
@pytest.mark.parametrize("timeout", [None, 1800.0])
@pytest.mark.parametrize("failure", BROKEN, ids=["500", "502", "cut", "reset"])
async def test_what_has_a_key_is_sent_again_for_as_long_as_it_takes(
    tmp_path: Path, failure: Answer, timeout: float | None, force_rerun: bool, journal: str | None
) -> None:
    service = Service(capabilities=["idempotency"])
    item = RunRequest("f:v1", "s0", force_rerun=force_rerun)
    answer = broken(service, failure, until=1500.0)
    path = journal and tmp_path / journal
    (outcome,) = await outcomes_of(service, [item], answer, timeout=timeout, journal=path)
    assert outcome.result().id == "run_0"
    assert not outcome.result().reused
    assert service.created == ["run_0"]
    sent = sum(request.method == "POST" for request in service.log)
    assert sent < 3 * 1500 / 30, "the pauses grow to a minute"


@quiet
@pytest.mark.parametrize(
    ("timeout", "kept", "ends"),
    [
        (600.0, None, (600, 620)),
        (7200.0, None, (7200, 7220)),
        (None, None, (3600, 3700)),  # without a deadline: an hour
        (None, 86_400.0, (3600, 3700)),
        (
            None,
            1000.0,
            (900, 980),
        ),  # the server may have dropped the key: a run that has failed since is hidden
        (7200.0, 1000.0, (900, 980)),
    ],
)
async def test_it_ends_with_the_deadline_the_hour_or_the_key(
    timeout: float | None, kept: float | None, ends: tuple[int, int]
) -> None:
    service = Service(capabilities=["idempotency"])
    answer = broken(service, FakeAnswer(500, {}), until=1e9, kept=kept)
    (outcome,) = await outcomes_of(service, [RunRequest("f:v1", "s0")], answer, timeout=timeout)
    assert isinstance(outcome.error, SubmissionUnknownError)
    assert ends[0] <= service.clock.now() <= ends[1]
    assert service.created == ["run_0"]


@quiet
async def test_the_hour_is_one_for_all_items_while_none_gets_an_answer() -> None:
    """Else a long batch, of which only a few items are under way, ends after as many hours as it has rounds."""
    service = Service(capabilities=["idempotency"])
    answer = broken(service, FakeAnswer(500, {}), until=1e9)
    outcomes = await outcomes_of(service, force(20), answer, max_active=2)
    assert all(isinstance(outcome.error, SubmissionUnknownError) for outcome in outcomes)
    assert len(service.created) == len(outcomes) == 20
    assert 3600 <= service.clock.now() <= 3800


@quiet
async def test_an_answer_for_one_item_begins_the_hour_of_the_next_ones_again() -> None:
    service = Service(capabilities=["idempotency"])
    breaks = {"s0": (0.0, 2400.0), "s1": (2400.0, 4800.0), "s2": (4800.0, 7200.0)}

    def answer(request: FakeRequest) -> Answer:
        own = service(request)
        begin, end = breaks[request.json()["source_path"]] if request.method == "POST" else (0.0, 0.0)
        return FakeAnswer(500, {}) if begin <= service.clock.now() < end else own

    outcomes = await outcomes_of(service, force(3), answer, max_active=1)
    assert [outcome.result().id for outcome in outcomes] == ["run_0", "run_1", "run_2"]


@pytest.mark.parametrize("capabilities", [["idempotency"], []])
@pytest.mark.parametrize("status", [401, 404])
async def test_what_no_time_mends_is_not_sent_again(status: int, capabilities: list[str]) -> None:
    service = Service(capabilities=capabilities)
    answer = Posts(service, None, *[FakeAnswer(status, b"<html>")] * 9)
    (outcome,) = await outcomes_of(service, [RunRequest("f:v1", "s0")], answer)
    assert isinstance(outcome.error, SubmissionUnknownError)
    assert sum(request.method == "POST" for request in service.log) == 1


async def test_without_keys_it_is_sent_as_often_as_retry_says() -> None:
    service = Service(capabilities=[])
    answer = broken(service, FakeAnswer(500, {}), until=1e9)
    (outcome,) = await outcomes_of(service, [RunRequest("f:v1", "s0")], answer, timeout=7200.0)
    assert isinstance(outcome.error, SubmissionUnknownError)
    assert service.clock.now() < 60


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


# What a restart must know


async def in_doubt(
    path: Path,
    request: RunRequest,
    *,
    listing: int = 200,
    keys: bool = True,
    keeps: bool = True,
    received: bool,
    by_server: bool = True,
    age: float = 100.0,
) -> Server:
    """The server of a submission that was in doubt when its process ended, so many seconds ago.

    Args:
        listing: the status of its list of runs.
        keys: whether it replays its answer to a known idempotency key.
        keeps: whether it says for how long it keeps one; an hour later it has forgotten them all in any case.
    """
    server = Server(idempotency=keys, headers=KEEPS if keeps else {})
    server.holds = True
    server.listing = FakeAnswer(listing, {"detail": "no list"}) if listing != 200 else None
    killed(path, server.clock.wall(), by_server=by_server, request=request)
    if received:
        commit(server, request)
    await later(server, age)
    return server


async def later(server: Server, seconds: float) -> None:
    await server.clock.sleep(seconds)
    if server.clock.now() > 3600:
        server.forget_keys()


@pytest.mark.parametrize("received", [False, True])
@pytest.mark.parametrize("force_rerun", [False, True])
@pytest.mark.parametrize("listing", [200, 404])
@pytest.mark.parametrize(
    ("keys", "keeps", "expired"),
    [(False, False, False), (True, True, False), (True, True, True), (True, False, False)],
)
async def test_a_batch_resumed_in_doubt_ends_with_one_run(
    tmp_path: Path, keys: bool, keeps: bool, listing: int, force_rerun: bool, received: bool, expired: bool
) -> None:
    """Only what neither the list, nor the key, nor a refused duplicate shows stays unknown."""
    request, path = RunRequest("f:v1", "s0", force_rerun=force_rerun), tmp_path / "j.db"
    age = 3700.0 if expired else 100.0
    server = await in_doubt(
        path, request, listing=listing, keys=keys, keeps=keeps, received=received, age=age
    )

    for _ in range(2):
        outcome = await resumed(server, path, request)
        is_listed = listing == 200 and received
        if is_listed or not force_rerun or (keys and not expired):
            assert outcome.result().succeeded
            assert not outcome.result().reused
            assert outcome.result().idempotency_key == "the-key"
            assert server.created == ["run_0"]
        else:
            assert isinstance(outcome.error, SubmissionUnknownError)
            assert outcome.error.idempotency_key == "the-key"
            assert server.created == ["run_0"] * received


@pytest.mark.parametrize("force_rerun", [False, True])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.filterwarnings("ignore:.*has not answered:RuntimeWarning")
async def test_what_is_sent_again_without_a_list_is_as_old_as_it_was(
    tmp_path: Path, full: bool, force_rerun: bool
) -> None:
    """The second start loses its answer, too: the third one must not believe that the key is younger."""
    request, path = RunRequest("f:v1", "s0", force_rerun=force_rerun), tmp_path / "j.db"
    server = await in_doubt(path, request, listing=404, received=True, age=3000.0)

    def lost(asked: FakeRequest) -> Answer | None:
        if asked.method != "POST":
            return None
        is_full = full and server.clock.now() < 3650
        return FakeAnswer(503, {}, {"Retry-After": "60"}) if is_full else ApiConnectionError("reset")

    server.before = lost
    assert isinstance((await resumed(server, path, request)).error, SubmissionUnknownError)
    server.before = lambda asked: None
    await later(server, max(0.0, 3700 - server.clock.now()))
    outcome = await resumed(server, path, request)

    assert server.created == ["run_0"]
    if force_rerun:
        assert isinstance(outcome.error, SubmissionUnknownError)
    else:
        assert outcome.result().id == "run_0"
        assert not outcome.result().reused


async def test_a_key_whose_age_only_this_machine_knows_is_not_sent_again_without_a_list(
    tmp_path: Path,
) -> None:
    path = tmp_path / "j.db"
    server = await in_doubt(path, REQUEST, listing=404, received=True, by_server=False, age=3700.0)
    server.clock.offset -= 3600  # the clock was wrong, and is right again
    assert isinstance((await resumed(server, path)).error, SubmissionUnknownError)
    assert server.created == ["run_0"]


async def test_a_list_that_was_read_before_is_waited_for_by_the_next_start(tmp_path: Path) -> None:
    """A gateway's 404 for the second page: its service has a list, which may have the run."""
    request, path = RunRequest("f:v1", "s0"), tmp_path / "j.db"
    server = await in_doubt(path, request, keys=False, keeps=False, received=False)
    lists = {"items": [], "next_cursor": "2"}

    def gateway(asked: FakeRequest) -> Answer | None:
        if not asked.path.startswith("/v1/runs?"):
            return None
        return FakeAnswer(404, b"default backend - 404") if "cursor" in asked.path else FakeAnswer(200, lists)

    server.before = gateway
    assert isinstance((await resumed(server, path, request)).error, SubmissionUnknownError)
    assert server.created == []


async def test_a_gateway_without_its_service_starts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    server = await in_doubt(path, REQUEST, received=False)
    server.before = lambda asked: None if asked.path == "/healthz" else FakeAnswer(404, b"default backend")
    assert isinstance((await resumed(server, path)).error, SubmissionUnknownError)
    server.before = lambda asked: None
    assert (await resumed(server, path)).result().id == "run_0"


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
