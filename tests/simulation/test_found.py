"""Faults that histories have found, each as a program of its own."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from lume_async import Client, LumeRun, Outcome, RunRequest, RunTimeoutError, SubmissionUnknownError
from lume_async._batch.journal import Journal
from lume_async.testing import FakeAnswer, FakeRequest, SimulatedServer, simulate
from lume_async.testing._loop import START
from lume_async.testing._server import EPOCH, HeldAnswer


class SlowServer(SimulatedServer):
    """A server that answers some requests late, by the beginning of method and path."""

    slow: dict[str, float]

    def answer(self, request: FakeRequest) -> FakeAnswer | HeldAnswer:
        now = asyncio.get_running_loop().time()
        for begin, seconds in self.slow.items():
            if f"{request.method} {request.path}".startswith(begin):
                return self._late(now + seconds, request)
        return super().answer(request)

    def _late(self, due: float, request: FakeRequest) -> FakeAnswer | HeldAnswer:
        if asyncio.get_running_loop().time() < due:
            return HeldAnswer(due, lambda: self._late(due, request))
        return super().answer(request)


def client_of_its_own() -> Client:
    return Client("key", base_url="http://lume.test")


@pytest.mark.parametrize(
    ("slow", "is_unknown"),
    [
        ({"GET /v1/runs?": 1000.0}, True),
        ({"GET /v1/runs?": 38.0, "POST /v1/runs": 1000.0}, True),
        ({"GET /v1/runs?": 1000.0, "GET /healthz": 1000.0}, True),
        ({"GET /healthz": 1000.0}, False),
    ],
    ids=["the list is silent", "the list is slow", "all is silent", "the list answers"],
)
@pytest.mark.parametrize("offers", [(), ("idempotency",)])
def test_a_resumed_batch_ends_soon_after_its_timeout_whatever_it_looks_up(
    tmp_path: Path, slow: dict[str, float], is_unknown: bool, offers: tuple[str, ...]
) -> None:
    """The lookup of a lost submission, and what follows it, have the ten seconds of a last submission together."""
    server = SlowServer(offers=offers, lasts=1.0)
    requests = [RunRequest("f:v1", f"{n}.csv") for n in range(3)]

    async def batch(timeout: float) -> list[Outcome[LumeRun]]:
        async with client_of_its_own() as client:
            items = client.run_many(requests, journal=tmp_path / "journal", timeout=timeout)
            return [outcome async for outcome in items]

    async def left() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                await batch(1000)

    async def resumed() -> tuple[list[Outcome[LumeRun]], float]:
        begun = asyncio.get_running_loop().time()
        outcomes = await batch(30)
        return outcomes, asyncio.get_running_loop().time() - begun

    server.slow = {"POST /v1/runs": 1000.0}
    simulate(left, server, faults=0.0)
    server.slow = slow
    outcomes, took = simulate(resumed, server, faults=0.0)

    assert took <= 30 + 10 + 3
    assert [isinstance(outcome.error, SubmissionUnknownError) for outcome in outcomes] == [is_unknown] * 3


def test_a_long_poll_that_is_sent_again_ends_with_the_deadline_too() -> None:
    """It asks the server to hold it for 30 s, as at its first attempt, although less is left by then."""

    class Server(SlowServer):
        def answer(self, request: FakeRequest) -> FakeAnswer | HeldAnswer:
            asked = self.requests.get("GET /v1/runs/{id}", 0)
            self.slow = {"GET /v1/runs/": 10_000.0} if asked >= 1 else {}
            return super().answer(request)

        def _late(self, due: float, request: FakeRequest) -> FakeAnswer | HeldAnswer:
            return HeldAnswer(due, lambda: FakeAnswer(500))

    server = Server(offers=("wait",), lasts=5000.0)

    async def program() -> float:
        async with client_of_its_own() as client:
            run = await client.run("f:v1", "a.csv")
            begun = asyncio.get_running_loop().time()
            with pytest.raises(RunTimeoutError):
                await run.wait(timeout=130.0)
            return asyncio.get_running_loop().time() - begun

    assert 130.0 <= simulate(program, server, faults=0.0) <= 132.0


@pytest.mark.parametrize("together", [False, True])
def test_a_404_whose_answer_takes_long_still_speaks_of_a_fresh_run(together: bool) -> None:
    class Server(SlowServer):
        """The first looks find nothing, and their answers come when the run is no longer fresh."""

        def answer(self, request: FakeRequest) -> FakeAnswer | HeldAnswer:
            asked = self.requests.get("GET /v1/runs/{id}", 0)
            found = super().answer(request)
            if not asked and request.path.startswith("/v1/runs/run_"):
                assert isinstance(found, FakeAnswer)
                due = asyncio.get_running_loop().time() + 20
                return HeldAnswer(due, lambda: found)
            return found

    server = Server(offers=(), lasts=60.0, grace=2.0)
    server.slow = {}

    async def program() -> list[str | None]:
        async with client_of_its_own() as client:
            run = await client.run("f:v1", "a.csv")
            if together:
                return [outcome.run and outcome.run.status for outcome in await client.wait_all([run])]
            return [(await run.wait()).status]

    assert simulate(program, server, faults=0.0) == ["SUCCEEDED"]


def test_a_loop_while_runs_are_pending_reads_every_end() -> None:
    """Several runs end in one moment: all have left the monitor when the first of their events is read."""
    server = SimulatedServer(offers=(), lasts=5.0)

    async def program() -> tuple[list[str], int]:
        async with client_of_its_own() as client, client.monitor() as monitor:
            for n in range(3):
                monitor.add(server.add(source_path=f"{n}.csv").id)
            await asyncio.sleep(60.0)
            batch = monitor._take_ready(100)  # as lume_sync reads them
            ends = [event.run.id for event in batch if event.run.is_terminal]
            assert monitor.pending
            while monitor.pending:
                event = await anext(monitor)
                ends += [event.run.id] if event.run.is_terminal else []
            return sorted(ends), monitor.pending

    assert simulate(program, server, faults=0.0) == (["run_0", "run_1", "run_2"], 0)


def test_a_run_that_was_submitted_before_a_kill_may_be_found_late(tmp_path: Path) -> None:
    """A 404 in the first seconds after the restart means "not yet", as after the submission."""
    server = SimulatedServer(offers=["idempotency"], lasts=1.0, grace=6.0)
    requests = [RunRequest("f:v1", "a.csv")]

    async def begun() -> None:
        async with client_of_its_own() as client:
            with suppress(TimeoutError):
                async with asyncio.timeout(2.0):
                    await anext(aiter(client.run_many(requests, journal=tmp_path / "journal")))

    async def again() -> list[Outcome[LumeRun]]:
        async with client_of_its_own() as client:
            return [outcome async for outcome in client.run_many(requests, journal=tmp_path / "journal")]

    async def both() -> list[Outcome[LumeRun]]:
        await begun()
        return await again()

    (outcome,) = simulate(both, server, faults=0.0)
    assert outcome.run is not None
    assert server.requests["GET /v1/runs/{id}"] > 2


@pytest.mark.parametrize("asks", [3.0, 30.0])
def test_the_last_poll_waits_as_long_as_the_server_asks(asks: float) -> None:
    """A timeout is no reason to ask a server for a new run before the time that it has named."""
    asked: list[float] = []

    class Clocked(SimulatedServer):
        def answer(self, request: FakeRequest) -> FakeAnswer | HeldAnswer:
            if request.path.startswith("/v1/runs/"):
                asked.append(asyncio.get_running_loop().time())
            return super().answer(request)

    server = Clocked(offers=[], lasts=1.0)
    server._habits.asks = asks

    async def batch() -> list[Outcome[LumeRun]]:
        async with client_of_its_own() as client:
            return [o async for o in client.run_many([RunRequest("f:v1", "a.csv")], timeout=4.0)]

    (outcome,) = simulate(batch, server, faults=0.0)
    assert all(moment >= START + asks for moment in asked)
    assert (outcome.run is None) == (asks > 4.0)


def test_a_feed_that_repeats_its_newest_changes_is_not_asked_again_at_once() -> None:
    server = SimulatedServer(offers=["changes"], lasts=60.0)
    server._habits.feed = "repeats"

    async def watched() -> None:
        async with client_of_its_own() as client, client.monitor() as monitor:
            for n in range(3):
                monitor.add(await client.run("f:v1", f"{n}.csv"))
            while monitor.pending:
                await anext(monitor)

    simulate(watched, server, faults=0.0)
    assert server.requests["GET /v1/changes"] < 60


def test_a_run_that_the_list_shows_may_not_be_found_by_its_id_yet(tmp_path: Path) -> None:
    server, request, path = (
        SimulatedServer(offers=(), grace=2.0),
        RunRequest("f:v1", "a.csv"),
        tmp_path / "journal",
    )

    async def main() -> Outcome[LumeRun]:
        journal = Journal.open(path)
        journal.sending(0, request, "the-key", EPOCH + asyncio.get_running_loop().time(), by_server=True)
        journal.close()
        server.add("f:v1", "a.csv")
        async with client_of_its_own() as client:
            (outcome,) = [outcome async for outcome in client.run_many([request], journal=path)]
        return outcome

    outcome = simulate(main, server, faults=0.0)
    assert (outcome.run_id, outcome.error) == ("run_0", None)
