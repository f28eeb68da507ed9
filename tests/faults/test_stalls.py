"""A server that answers nobody for longer than a request may take, and then everybody: all limits end at once."""

import asyncio
import socket
from collections.abc import Iterator

import pytest
from faults.support import FLOW, client_for, run_reply, run_script
from loopback import Loopback, Request, Step

import lume_sync
from lume_async import ApiTimeoutError, Backoff, Client, Retry, RunTimeoutError

STALL, LIMIT, CROWD = 2.5, 1.0, 30
PATIENT = Retry(attempts=1_000, backoff=Backoff(0.001, maximum=0.5))


class Stalling(Loopback):
    """Until `STALL` seconds are over, requests arrive and get no answer."""

    def __init__(self) -> None:
        super().__init__(self._reply_to)
        self._until = asyncio.get_running_loop().time() + STALL

    def _reply_to(self, request: Request) -> Step:
        if request.method == "POST":
            answer = run_reply("CREATED", f"run_{request.json()['source_path']}", 201)
        else:
            answer = run_reply(run_id=request.path.rpartition("/")[2])
        return answer.stall() if asyncio.get_running_loop().time() < self._until else answer


@pytest.mark.thorough
async def test_waits_and_submissions_outlast_it_and_no_limit_ends_anything_else() -> None:
    async with (
        Stalling() as server,
        client_for(server, request_timeout=LIMIT, retry=PATIENT, max_connections=2 * CROWD) as client,
    ):
        ids = [f"run_{number}" for number in range(CROWD)]
        waits = (client.attach(run_id).wait(40) for run_id in ids)
        submissions = (client.run(FLOW, str(number)) for number in range(CROWD))
        outcomes = await asyncio.gather(*waits, *submissions, return_exceptions=True)
        await asyncio.sleep(LIMIT)  # here a limit that was left behind would end this test

    assert [getattr(outcome, "id", outcome) for outcome in outcomes] == ids * 2


@pytest.fixture
def mute() -> Iterator[str]:
    """The URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("count", [1, 2, 100], ids=["one", "two", "more than polls at a time"])
async def test_each_timeout_of_many_runs_names_the_server_that_never_answers(mute: str, count: int) -> None:
    async with Client("secret-key", base_url=mute) as client:
        async with asyncio.timeout(20):
            outcomes = await client.wait_all([f"r{number}" for number in range(count)], timeout=0.2)

    assert len(outcomes) == count
    for outcome in outcomes:
        assert isinstance(outcome.error, RunTimeoutError)
        assert isinstance(outcome.error.__cause__, ApiTimeoutError)
        assert f"; the last error was: {outcome.error.__cause__}" in str(outcome.error)


def test_so_do_those_of_the_facade(mute: str) -> None:
    with lume_sync.Client("secret-key", base_url=mute) as client:
        outcomes = client.wait_all(["r1", "r2"], timeout=0.2)

    assert [type(outcome.error.__cause__) for outcome in outcomes if outcome.error] == [ApiTimeoutError] * 2


@pytest.mark.thorough
@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("private", ["asyncio", "uvloop"])
async def test_calls_from_threads_outlast_it_too(private: str) -> None:
    async with Stalling() as server:
        done = await run_script(
            f"""
            import sys
            from concurrent.futures import ThreadPoolExecutor
            if {private!r} == "asyncio":
                sys.modules["uvloop"] = None
            import lume_sync as lume
            retry = lume.Retry(attempts=1_000, backoff=lume.Backoff(0.001, maximum=0.5))
            client = lume.Client(base_url={server.url!r}, request_timeout={LIMIT}, retry=retry, proxy=False)
            def work(number):
                statuses = [client.run_status(f"run_{{number}}-{{call}}").status for call in range(5)]
                return [client.attach(f"run_{{number}}").wait(40).status, *statuses]
            with ThreadPoolExecutor(30) as pool:
                found = [status for statuses in pool.map(work, range(30)) for status in statuses]
            print(len(found), *set(found))
            """
        )

    assert (done.code, done.out, done.err) == (0, "180 SUCCEEDED\n", "")
