"""A submission whose process was killed before it knew of a run: the run is looked up first, always."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from doubts import DAY, KEEPS, REQUEST, Server, commit, killed, resumed

from lume_async import (
    ApiConnectionError,
    RunRequest,
    SubmissionUnknownError,
)
from lume_async._batch.entries import Kind
from lume_async._batch.journal import Journal
from lume_async.testing import FakeAnswer, FakeRequest, fake_client


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "j.db"


# Always looked up before anything is sent


@pytest.mark.parametrize("idempotency", [True, False])
@pytest.mark.parametrize("force_rerun", [True, False])
@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED"])
@pytest.mark.parametrize("forgotten", [True, False])
async def test_a_run_that_exists_is_found_and_no_second_one_started(
    path: Path, idempotency: bool, force_rerun: bool, status: str, forgotten: bool
) -> None:
    server = Server(idempotency=idempotency)
    server.service.status = status
    request = RunRequest("f:v1", "s0", {"n": 0}, force_rerun)
    killed(path, server.clock.wall(), request=request)
    commit(server, request)
    await server.clock.sleep(DAY)
    if forgotten:
        server.forget_keys()
    outcome = await resumed(server, path, request)
    assert outcome.result().status == status
    assert outcome.result().idempotency_key == "the-key"
    assert not outcome.result().reused
    assert server.created == ["run_0"]
    assert "POST /v1/runs" not in server.paths


@pytest.mark.parametrize("own_key", [True, False])
@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("during", ["GET", "POST"])
async def test_who_gives_up_finding_out_withdraws_nothing(
    path: Path, during: str, closes: bool, own_key: bool
) -> None:
    """The second start ends while it looks the run up, or while it sends again: the third one looks it up, too."""
    server = Server(idempotency=during == "POST")
    request = evolve(REQUEST, idempotency_key="the-key" if own_key else None)
    killed(path, server.clock.wall(), request=request)
    if during == "GET":
        commit(server, request)
    client, transport = fake_client(server, clock=server.clock)
    answer, under_way = transport.request, asyncio.Event()

    async def unanswered(method: str, asked: str, **rest: Any) -> Any:
        answered = await answer(method, asked, **rest)
        if method == during and asked.startswith("/v1/runs"):
            under_way.set()
            await asyncio.Event().wait()
        return answered

    transport.request = unanswered  # type: ignore[method-assign]

    async def batch() -> None:
        async for _outcome in client.run_many([request], journal=path):
            pass

    second = asyncio.ensure_future(batch())
    await under_way.wait()
    if closes:
        await client.aclose()
    else:
        second.cancel()
    await asyncio.gather(second, return_exceptions=True)

    server.forget_keys()
    third = await resumed(server, path, request)
    assert third.run_id == "run_0"
    assert third.result().idempotency_key == "the-key"
    assert server.created == ["run_0"]


async def test_what_no_run_is_found_of_is_sent_again_under_its_key_after_the_list_was_read(
    path: Path,
) -> None:
    server = Server(idempotency=True)
    killed(path, server.clock.wall())
    outcome = await resumed(server, path)
    assert outcome.result().succeeded
    assert server.service.keys == {"the-key": "run_0"}
    assert server.paths.index("GET /v1/runs") < server.paths.index("POST /v1/runs")


@pytest.mark.parametrize(("age", "sent"), [(60.0, True), (3200.0, True), (3300.0, False), (DAY, False)])
async def test_a_key_that_the_server_may_have_forgotten_is_not_relied_on(
    path: Path, age: float, sent: bool
) -> None:
    server = Server(idempotency=True, headers=KEEPS)
    killed(path, server.clock.wall())
    await server.clock.sleep(age)
    outcome = await resumed(server, path)
    if sent:
        assert outcome.result().succeeded
    else:
        assert isinstance(outcome.error, SubmissionUnknownError)
        assert "while the server knows it, which is for 3600 seconds" in str(outcome.error)
        assert server.created == []


@pytest.mark.parametrize(
    "failure",
    [
        FakeAnswer(500, {}),
        ApiConnectionError("reset"),
        FakeAnswer(200, b"<html>"),
        FakeAnswer(403, {}),
    ],
)
async def test_a_look_up_that_fails_decides_nothing_even_where_keys_are_known(
    path: Path, failure: FakeAnswer | Exception
) -> None:
    server = Server(idempotency=True)
    killed(path, server.clock.wall())
    server.listing = failure
    outcome = await resumed(server, path)
    assert isinstance(outcome.error, SubmissionUnknownError)
    assert server.created == []
    server.listing = None
    assert (await resumed(server, path)).result().succeeded  # the next start goes on from there


async def test_a_full_server_is_waited_for_in_the_look_up_too(path: Path) -> None:
    server = Server(idempotency=True)
    killed(path, server.clock.wall())
    commit(server)
    server.listing = FakeAnswer(429, {}, {"Retry-After": "40"})

    def recovers(request: FakeRequest) -> FakeAnswer | Exception:
        if server.clock.now() > 200.0:
            server.listing = None
        return server(request)

    client, _ = fake_client(recovers, clock=server.clock)
    (outcome,) = [outcome async for outcome in client.run_many([REQUEST], journal=path)]
    assert outcome.result().id == "run_0"
    assert server.created == ["run_0"]


# Page by page


async def test_our_run_lies_behind_pages_of_newer_ones(path: Path) -> None:
    server = Server()
    killed(path, server.clock.wall())
    commit(server)
    for n in range(250):
        await server.clock.sleep(1.0)
        commit(server, RunRequest("f:v1", "s0", {"other": n}, force_rerun=True), key=f"other-{n}")
    outcome = await resumed(server, path)
    assert outcome.result().id == "run_0"
    assert len(server.created) == 251


async def test_more_new_runs_than_are_read_decide_nothing(path: Path) -> None:
    server = Server(idempotency=True)
    killed(path, server.clock.wall())
    commit(server)
    for n in range(2000):
        commit(server, RunRequest("f:v1", "s0", {"other": n}, force_rerun=True), key=f"other-{n}")
    outcome = await resumed(server, path)
    assert isinstance(outcome.error, SubmissionUnknownError)
    assert len(server.created) == 2001


# What fits


async def test_of_two_runs_that_fit_none_is_taken(path: Path) -> None:
    server = Server()
    killed(path, server.clock.wall())
    for key in ("the-key", "another"):
        commit(server, key=key)
    assert isinstance((await resumed(server, path)).error, SubmissionUnknownError)
    assert len(server.created) == 2


OTHERS = [
    RunRequest("f:v1", "s0", {"n": 1}, force_rerun=True),
    RunRequest("f:v1", "s0", {"n": 0}, force_rerun=False),
    RunRequest("f:v2", "s0", {"n": 0}, force_rerun=True),
    RunRequest("g:v1", "s0", {"n": 0}, force_rerun=True),
    RunRequest("f:v1", "s1", {"n": 0}, force_rerun=True),
    evolve(REQUEST, seeds={"countries": "upload://2"}),
    evolve(REQUEST, layout="shop"),
]


@pytest.mark.parametrize("filters", [True, False])
@pytest.mark.parametrize("other", OTHERS)
async def test_somebody_elses_run_is_not_taken_for_ours(
    path: Path, other: RunRequest, filters: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    if not filters:  # a server that knows no filters gives every run
        monkeypatch.setattr(server.service, "_matches", lambda run, query: True)
    killed(path, server.clock.wall())
    commit(server, other)
    assert isinstance((await resumed(server, path)).error, SubmissionUnknownError)
    commit(server)
    assert (await resumed(server, path)).result().id == "run_1"


@pytest.mark.parametrize("own", [{"seeds": {"countries": "upload://2"}}, {"layout": "shop"}])
async def test_a_run_with_the_same_seeds_and_layout_is_ours(path: Path, own: dict[str, Any]) -> None:
    server, request = Server(), evolve(REQUEST, **own)
    killed(path, server.clock.wall(), request=request)
    commit(server, request)
    assert (await resumed(server, path, request)).result().id == "run_0"


@pytest.mark.parametrize("force_rerun", [True, False])
async def test_a_key_that_is_forgotten_while_the_server_is_full_is_not_sent_any_more(
    path: Path, force_rerun: bool
) -> None:
    """Both runs are there and have failed. While their keys are known, the server has no room for a submission."""
    server = Server(idempotency=True, headers=KEEPS)
    request = evolve(REQUEST, force_rerun=force_rerun)
    journal = Journal.open(path)
    for item, key in enumerate("ab"):
        journal.sending(item, request, key, server.clock.wall(), by_server=True)
    journal.close()
    server.service.ends_as.update(run_0="FAILED", run_1="FAILED")
    for key in "ab":
        commit(server, request, key=key)
        await server.clock.sleep(1)
    await server.clock.sleep(3200)
    sent = []

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        if request.method == "GET":
            return server(request)
        sent.append(server.clock.now())
        if server.clock.now() < 3650:
            return FakeAnswer(503, {}, {"Retry-After": "100", "Lume-Capabilities": "idempotency", **KEEPS})
        server.forget_keys()
        return server(request)

    client, _ = fake_client(answer, clock=server.clock)
    outcomes = [it async for it in client.run_many([request] * 2, journal=path)]

    assert sent
    assert max(sent) < 3600
    assert [type(it.error) for it in outcomes] == [SubmissionUnknownError] * 2
    assert server.created == ["run_0", "run_1"]


# Clocks


@pytest.mark.parametrize("lag", [3.0, 50.0])
async def test_a_run_that_is_hardly_older_than_the_submission_may_be_its_own(path: Path, lag: float) -> None:
    """A gateway writes `Date`, and its clock is ahead of that of the service, which writes `created_at`."""
    server = Server(idempotency=True)
    request = RunRequest("f:v1", "s0", {"n": 0})
    commit(server, request)
    server.service.ends_as["run_0"] = "FAILED"  # so that a second submission would be taken
    killed(path, server.clock.wall() + lag, by_server=True, request=request)
    await server.clock.sleep(60)
    outcome = await resumed(server, path, request)
    assert isinstance(outcome.error, SubmissionUnknownError)
    assert server.created == ["run_0"]


@pytest.mark.parametrize("force_rerun", [True, False])
@pytest.mark.parametrize("arrived", [True, False])
async def test_what_the_list_leaves_open_the_key_decides_where_the_server_says_that_it_keeps_it(
    path: Path, arrived: bool, force_rerun: bool
) -> None:
    """A like run is hardly older: it may be ours or another one. A key that is known gives ours, else it is sent."""
    server = Server(idempotency=True, headers=KEEPS)
    request = evolve(REQUEST, force_rerun=force_rerun)
    commit(server, request, key="the-key" if arrived else "another-key")
    server.service.ends_as["run_0"] = "FAILED"
    await server.clock.sleep(30)
    killed(path, server.clock.wall(), by_server=True, request=request)

    outcome = await resumed(server, path, request)

    assert outcome.run_id == ("run_0" if arrived else "run_1")
    assert outcome.result().idempotency_key == "the-key"
    assert len(server.created) == (1 if arrived else 2)
    assert server.paths.index("GET /v1/runs") < server.paths.index("POST /v1/runs")


@pytest.mark.parametrize(("age", "by_server"), [(3300.0, True), (30.0, False)])
async def test_a_key_whose_age_is_doubtful_decides_nothing(path: Path, age: float, by_server: bool) -> None:
    server = Server(idempotency=True, headers=KEEPS)
    commit(server, key="another-key")
    await server.clock.sleep(30)
    killed(path, server.clock.wall(), by_server=by_server)
    await server.clock.sleep(age)

    outcome = await resumed(server, path)

    assert isinstance(outcome.error, SubmissionUnknownError)
    assert server.created == ["run_0"]


@pytest.mark.parametrize("away", [True, False])
async def test_a_server_that_shows_no_time_is_asked_once_and_done_without(path: Path, away: bool) -> None:
    server = Server()
    server.dated = False

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        if away and request.path == "/healthz":
            server.service.log.append(request)
            return ApiConnectionError("refused", reached=False)
        return server(request)

    client, _ = fake_client(answer, clock=server.clock)
    requests = [RunRequest("f:v1", f"s{n}", force_rerun=True) for n in range(20)]
    outcomes = [it async for it in client.run_many(requests, journal=path)]
    assert all(it.result().succeeded for it in outcomes)
    assert server.paths.count("GET /healthz") == 1
    journal = Journal.open(path)
    for item, rows in journal.rows(0, 20).items():
        entry = journal.entry(item, requests[item], rows)
        assert entry is not None
        assert (entry.by_server, entry.state) == (False, Kind.ENDED)
    journal.close()


async def test_without_a_journal_nobody_asks_for_the_time() -> None:
    server = Server()
    client, _ = fake_client(server, clock=server.clock)
    assert [it.result().id async for it in client.run_many([REQUEST])] == ["run_0"]
    assert "GET /healthz" not in server.paths
