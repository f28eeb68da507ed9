"""A submission whose process was killed before it knew of a run: the run is looked up first, always."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import orjson
import pytest
from attrs import evolve
from fake_service import Service

from lume_async import (
    ApiConnectionError,
    DuplicateRunError,
    LumeRun,
    Outcome,
    RunRequest,
    SubmissionUnknownError,
)
from lume_async._batch.entries import Kind
from lume_async._batch.journal import Journal
from lume_async.testing import FakeAnswer, FakeClock, FakeRequest, fake_client

REQUEST = RunRequest("f:v1", "s0", {"n": 0}, force_rerun=True)
KEEPS = {"Lume-Idempotency-Expires": "3600"}
DAY = 86_400.0


class Server:
    """The service with a clock of its own in `Date`, more or fewer abilities, and a memory for keys that ends.

    Attributes:
        ahead: how many seconds its clock is ahead of the true time.
        busy: whether it refuses whatever has no key that it knows, as the newest run is still under way.
        full: for how many more submissions it has no room.
    """

    def __init__(
        self, *, idempotency: bool = False, headers: dict[str, str] | None = None, ahead: float = 0.0
    ) -> None:
        self.service = Service(capabilities=["idempotency"] if idempotency else [])
        self.clock = self.service.clock
        self.headers = headers or {}
        self.ahead = ahead
        self.dated = True
        self.listing: FakeAnswer | Exception | None = None
        self.busy = False
        self.full = 0

    @property
    def created(self) -> list[str]:
        return self.service.created

    @property
    def paths(self) -> list[str]:
        return [f"{request.method} {request.path.partition('?')[0]}" for request in self.service.log]

    def forget_keys(self) -> None:
        self.service.keys.clear()

    @property
    def known_keys(self) -> dict[str, str]:
        return self.service.keys if "idempotency" in self.service.capabilities else {}

    def _in_progress(self) -> FakeAnswer:
        """A 409 that names the newest run."""
        kind = "urn:lume:problem:run-in-progress"
        offered = {"Lume-Capabilities": ", ".join(self.service.capabilities)}
        return FakeAnswer(409, {"type": kind, "status": 409, "run_id": self.created[-1]}, offered)

    def __call__(self, request: FakeRequest) -> FakeAnswer | Exception:
        if self.listing is not None and request.method == "GET" and request.path.startswith("/v1/runs?"):
            self.service.log.append(request)
            return self.listing
        if self.full and request.method == "POST":
            self.service.log.append(request)
            self.full -= 1
            return FakeAnswer(503, {}, {"Retry-After": "1"})
        if (
            self.busy
            and request.method == "POST"
            and request.headers["Idempotency-Key"] not in self.known_keys
        ):
            self.service.log.append(request)
            answer: FakeAnswer | Exception = self._in_progress()
        else:
            answer = self.service(request)
        if isinstance(answer, Exception):
            return answer
        now = 1_700_000_000 + self.clock.now() + self.ahead
        date = {"Date": formatdate(int(now), usegmt=True)} if self.dated else {}
        body = _shifted(answer.body, self.ahead)
        return FakeAnswer(answer.status, body, {**answer.headers, **date, **self.headers}, answer.took)


def _shifted(body: object, ahead: float) -> object:
    """The times of a run, or of all runs of a list, by that clock."""
    if isinstance(body, dict) and "items" in body:
        return {**body, "items": [_shifted(item, ahead) for item in body["items"]]}
    if isinstance(body, dict) and body.get("created_at"):
        created = datetime.fromisoformat(body["created_at"]) + timedelta(seconds=ahead)
        return {**body, "created_at": created.isoformat()}
    return body


def commit(server: Server, request: RunRequest = REQUEST, key: str = "the-key") -> None:
    """What the killed process has sent arrives, and its answer does not."""
    body = {
        "flow_version": request.flow_version,
        "source_path": request.source_path,
        "run_metadata": request.run_metadata,
        "force_rerun": request.force_rerun,
        "seeds": request.seeds,
        "layout": request.layout,
    }
    server.service(FakeRequest("POST", "/v1/runs", {"Idempotency-Key": key}, orjson.dumps(body)))
    server.service.log.clear()


def killed(path: Path, at: float, *, by_server: bool = False, request: RunRequest = REQUEST) -> None:
    journal = Journal.open(path)
    journal.sending(0, request, "the-key", at, by_server=by_server)
    journal.close()


async def resumed(
    server: Server, path: Path, request: RunRequest = REQUEST, **options: object
) -> Outcome[LumeRun]:
    client, _ = fake_client(server, clock=server.clock)
    outcomes: AsyncIterator[Outcome[LumeRun]] = client.run_many([request], journal=path, **options)  # type: ignore[arg-type]
    (outcome,) = [outcome async for outcome in outcomes]
    return outcome


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


async def test_a_run_that_an_item_attached_to_may_still_be_another_items_own(path: Path) -> None:
    """Item 2 was refused for the run of item 1, whose answer was lost, and followed it."""
    server = Server()
    second = RunRequest("f:v1", "s0", {"n": 1}, force_rerun=True)
    killed(path, server.clock.wall())
    commit(server)
    journal = Journal.open(path)
    journal.sending(1, second, "other-key", server.clock.wall())
    journal.submitted(1, "run_0", reused=True)
    journal.close()
    client, _ = fake_client(server, clock=server.clock)
    outcomes = [it async for it in client.run_many([REQUEST, second], journal=path)]
    assert sorted((it.result().id, it.result().reused) for it in outcomes) == [
        ("run_0", False),
        ("run_0", True),
    ]
    assert server.created == ["run_0"]


async def test_a_run_of_another_item_is_not_taken(path: Path) -> None:
    server = Server()
    killed(path, server.clock.wall())
    commit(server, key="other-key")
    journal = Journal.open(path)
    journal.sending(1, REQUEST, "other-key", server.clock.wall())
    journal.submitted(1, "run_0", reused=False)
    journal.close()
    client, _ = fake_client(server, clock=server.clock)
    outcomes = [it async for it in client.run_many([REQUEST, REQUEST], journal=path)]
    assert {type(it.error) for it in outcomes} == {SubmissionUnknownError, type(None)}
    assert server.created == ["run_0"]


@pytest.mark.parametrize("keys", [("a", "b"), ("own a", "own b")])
@pytest.mark.parametrize("arrived", [(), (0,), (1,), (0, 1)])
async def test_of_two_items_that_are_alike_none_is_lost(
    path: Path, arrived: tuple[int, ...], keys: tuple[str, str]
) -> None:
    """The run that is there may be of either, where both were under way; their keys tell."""
    server = Server(idempotency=True, headers=KEEPS)
    own = keys[0].startswith("own")
    both = [evolve(REQUEST, idempotency_key=key if own else None) for key in keys]
    journal = Journal.open(path)
    for item, key in enumerate(keys):
        journal.sending(item, both[item], key, server.clock.wall(), by_server=True)
    journal.close()
    for item in arrived:
        commit(server, both[item], key=keys[item])
    client, _ = fake_client(server, clock=server.clock)

    outcomes = [it async for it in client.run_many(both, journal=path)]

    assert {it.result().idempotency_key: it.run_id for it in outcomes} == server.service.keys
    assert sorted(server.created) == ["run_0", "run_1"]


@pytest.mark.parametrize("arrived", [0, 1])
@pytest.mark.parametrize("knows_keys", [True, False])
async def test_a_run_under_way_is_that_of_one_of_two_items_that_are_alike(
    path: Path, arrived: int, knows_keys: bool
) -> None:
    """The server refuses the source to the other one, whose run this can't be."""
    server = Server(idempotency=knows_keys, headers=KEEPS if knows_keys else {})
    request = evolve(REQUEST, force_rerun=knows_keys)
    journal = Journal.open(path)
    for item, key in enumerate("ab"):
        journal.sending(item, request, key, server.clock.wall(), by_server=True)
    journal.close()
    commit(server, request, key="ab"[arrived])
    server.busy = True
    client, _ = fake_client(server, clock=server.clock)

    outcomes = [it async for it in client.run_many([request] * 2, journal=path)]

    (one,) = [it for it in outcomes if it.error is None]
    (other,) = [it for it in outcomes if it.error is not None]
    assert one.run_id == "run_0"
    assert isinstance(other.error, DuplicateRunError)
    assert server.created == ["run_0"]
    if knows_keys:
        assert one.result().idempotency_key == "ab"[arrived]


@pytest.mark.parametrize("question", ["known_runs", "under_way"])
async def test_of_all_items_that_were_under_way_the_journal_is_asked_once(
    path: Path, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read as a whole then, which takes seconds where it has a million items."""
    server = Server(idempotency=True, headers=KEEPS)
    requests = [RunRequest("f:v1", f"s{n}", {"n": n}) for n in range(20)]
    journal = Journal.open(path)
    for item, request in enumerate(requests):
        journal.sending(item, request, f"key-{item}", server.clock.wall(), by_server=True)
    journal.close()
    for item, request in enumerate(requests):
        commit(server, request, key=f"key-{item}")
    asked, ask = [], getattr(Journal, question)
    monkeypatch.setattr(Journal, question, lambda journal: asked.append(journal) or ask(journal))
    client, _ = fake_client(server, clock=server.clock)
    outcomes = [it async for it in client.run_many(requests, journal=path)]
    assert all(it.error is None for it in outcomes)
    assert len(asked) == 1


async def test_a_run_that_was_attached_to_in_this_process_is_still_its_own_items(path: Path) -> None:
    """Item 1 was not sent before and meets the run of item 2, whose answer the kill took. Then that fails."""
    server = Server()
    request = evolve(REQUEST, force_rerun=False)
    journal = Journal.open(path)
    journal.sending(0, request, "a", server.clock.wall())
    journal.unsent(0, "503")
    journal.sending(1, request, "b", server.clock.wall())
    journal.close()
    commit(server, request, key="b")
    server.service.ends_as["run_0"] = "FAILED"

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        server.busy = server.clock.now() <= 3
        return server(request)

    client, _ = fake_client(answer, clock=server.clock)
    options: dict[str, Any] = {"journal": path, "on_duplicate": "attach", "max_active": 1}
    outcomes = [it async for it in client.run_many([request] * 2, **options)]

    assert [(it.run_id, it.result().reused) for it in outcomes] == [("run_0", True), ("run_0", False)]
    assert server.created == ["run_0"]


async def test_of_two_items_that_are_alike_the_run_is_the_ones_that_has_started_it() -> None:
    """Its answer is lost, and the other one has attached to it by the time that it is sent again."""
    server = Server()
    request = evolve(REQUEST, force_rerun=False)

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        submits, is_first = request.method == "POST", not server.created
        said = server(request)
        server.busy = server.busy or submits
        return ApiConnectionError("reset", reached=True) if submits and is_first else said

    client, _ = fake_client(answer, clock=server.clock)
    outcomes = [it async for it in client.run_many([request] * 2, on_duplicate="attach")]

    assert sorted((it.run_id, it.result().reused) for it in outcomes) == [("run_0", False), ("run_0", True)]
    assert server.created == ["run_0"]


async def test_what_is_sent_while_a_like_item_is_looked_for_counts_too(path: Path) -> None:
    """Item 2 was never received; item 3, which asks for the same, is under way by the time that the list answers."""
    server = Server(idempotency=True, headers=KEEPS)
    another = RunRequest("f:v1", "another", {"n": 1}, force_rerun=True)
    journal = Journal.open(path)
    for item, (request, key) in enumerate([(another, "a"), (REQUEST, "b")]):
        journal.sending(item, request, key, server.clock.wall(), by_server=True)
    journal.close()
    commit(server, another, key="a")

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        asks_for_runs = request.method == "GET" and request.path.startswith("/v1/runs?source_path=s0")
        if asks_for_runs and len(server.created) < 2:
            return FakeAnswer(503, {}, {"Retry-After": "1"})
        said = server(request)
        is_slow = request.method == "POST" and isinstance(said, FakeAnswer)
        return evolve(said, took=5.0) if is_slow else said

    client, _ = fake_client(answer, clock=server.clock)
    requests = [another, REQUEST, REQUEST]
    outcomes = [it async for it in client.run_many(requests, journal=path, max_active=2)]

    assert sorted(it.result().id for it in outcomes) == ["run_0", "run_1", "run_2"]
    assert {it.result().idempotency_key: it.run_id for it in outcomes} == server.service.keys


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


async def killed_in_flight(server: Server, path: Path, *, client_ahead: float) -> None:
    """A batch on a machine whose wall clock is wrong is killed when its submission has arrived."""
    begun = path.with_name("begun.db")

    def lost(request: FakeRequest) -> FakeAnswer | Exception:
        answer = server(request)
        if request.method == "POST":
            for end in ("", "-wal"):  # as the kill leaves them
                shutil.copy(f"{begun}{end}", f"{path}{end}")
            answer = FakeAnswer(422, {"type": "urn:lume:problem:invalid"})
        return answer

    clock = FakeClock(server.clock.now(), offset=1_700_000_000 + client_ahead)
    client, _ = fake_client(lost, clock=clock)
    async for _ in client.run_many([REQUEST], journal=begun):
        pass


@pytest.mark.parametrize("ahead", [-600.0, -2.0, 2.0, 600.0])
@pytest.mark.parametrize("whose", ["client", "server", "client, still"])
async def test_a_clock_that_is_wrong_hides_no_run(path: Path, ahead: float, whose: str) -> None:
    server = Server(ahead=ahead if whose == "server" else 0.0)
    wrong = 0.0 if whose == "server" else ahead
    await server.clock.sleep(5000.4)
    commit(server, key="somebody else's, one minute before ours")
    await server.clock.sleep(60.0)
    await killed_in_flight(server, path, client_ahead=wrong)
    server.clock.offset += ahead if whose == "client, still" else 0.0
    await server.clock.sleep(30.0)
    outcome = await resumed(server, path)
    assert outcome.result().id == "run_1"
    assert server.created == ["run_0", "run_1"]


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


async def test_the_servers_time_is_recorded_with_the_first_submission(path: Path) -> None:
    server = Server(ahead=600.0)
    await killed_in_flight(server, path, client_ahead=-90.0)
    assert server.paths[:2] == ["GET /healthz", "POST /v1/runs"]
    journal = Journal.open(path)
    entry = journal.entry(0, REQUEST, journal.rows(0, 1)[0])
    journal.close()
    assert entry is not None
    assert entry.by_server
    assert entry.at == pytest.approx(1_700_000_600.0, abs=1.0)


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
