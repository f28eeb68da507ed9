"""A server that answers nobody for longer than a request may take, and then everybody: all limits end at once."""

import asyncio

import pytest
from faults.support import FLOW, client_for, run_reply, run_script
from loopback import Loopback, Request, Step

from lume_async import Backoff, Retry

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
