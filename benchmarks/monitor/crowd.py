"""A whole `Monitor`, its change feed and waits, in large numbers, over a transport in memory. CPU time each."""

import asyncio
import gc
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import lume_async
from benchmarks._bench import ROUNDS
from lume_async._base.clock import SystemClock
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json

RUNS, CURSORS, WAITS = 100_000, 1_000, 10_000
SECONDS = 3.0
CAPABILITIES = "Lume-Capabilities"


class Clock(SystemClock):
    """The short pauses of the feed take a turn of the loop, so that its work is measured and not its rest."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds if seconds > 1 else 0)


class Server:
    """Runs that never end. With `feed`, a request after a cursor is answered with the next change, up to the last.

    Attributes:
        looks: how often a run was asked for.
    """

    def __init__(self, *, feed: int = 0) -> None:
        self.looks = 0
        self._feed = feed
        self.read = asyncio.Event()

    def __call__(self, request: FakeRequest) -> FakeAnswer:
        url = urlsplit(request.path)
        headers = {CAPABILITIES: "changes"} if self._feed else {}
        if url.path == "/v1/changes":
            after = int(parse_qs(url.query).get("after", ["0"])[0])
            if after == self._feed:
                self.read.set()
                return FakeAnswer(200, {"items": [], "next_cursor": str(after)}, headers, took=60.0)
            item = {"id": f"run_{after:026}", "status": "SYNCING_TARGET", "finished_at": None}
            return FakeAnswer(200, {"items": [item], "next_cursor": str(after + 1)}, headers)
        self.looks += 1
        return FakeAnswer(200, run_json(url.path.rpartition("/")[2], "TRANSFORMING"), headers)


@asynccontextmanager
async def client_of(server: Server) -> AsyncIterator[lume_async.Client]:
    assert lume_async.RunMetadata(
        stages=[{"name": "x"}]
    ).stages  # imports what decodes, before the clock starts
    client, transport = fake_client(server, clock=Clock())  # type: ignore[arg-type]
    transport.requests = Forgetful()
    async with client:
        yield client


class Forgetful(list[FakeRequest]):
    def append(self, _request: FakeRequest) -> None: ...


async def added() -> float:
    """A run that is added to a monitor of many."""
    async with client_of(Server()) as client, client.monitor(poll_interval=600) as monitor:
        ids = [f"run_{n:026}" for n in range(RUNS)]
        begun = time.process_time()
        for run_id in ids:
            monitor.add(run_id)
        return (time.process_time() - begun) / RUNS


async def polled() -> float:
    """A poll of a monitor of many, of which the next event is read."""
    server = Server()
    async with client_of(server) as client, client.monitor(poll_interval=60) as monitor:
        for n in range(RUNS):
            monitor.add(f"run_{n:026}")
        await anext(monitor)
        gc.collect()
        begun, before = time.process_time(), server.looks
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS):
                async for _event in monitor:
                    pass
        return (time.process_time() - begun) / (server.looks - before)


async def fed() -> float:
    """A cursor of the change feed with one change, in a monitor of many."""
    server = Server(feed=CURSORS)
    async with client_of(server) as client:
        await client.run_status("run_0")  # announces the capability
        async with client.monitor(poll_interval=600) as monitor:
            for n in range(RUNS):
                monitor.add(f"run_{n:026}")
            begun = time.process_time()
            await server.read.wait()
            return (time.process_time() - begun) / CURSORS


async def cancelled() -> float:
    """A wait that is started, polls, and is cancelled with all others."""
    server = Server()
    async with client_of(server) as client:
        gc.collect()
        begun = time.process_time()
        waits = [asyncio.ensure_future(client.attach(f"run_{n:026}").wait()) for n in range(WAITS)]
        while server.looks < WAITS:
            await asyncio.sleep(0)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        used = (time.process_time() - begun) / WAITS
    left = len(asyncio.all_tasks()) - 1
    assert not left, f"{left} tasks are left"
    return used


ROWS: dict[str, Callable[[], Coroutine[Any, Any, float]]] = {
    f"add to a monitor of {RUNS:,} runs": added,
    f"poll in a monitor of {RUNS:,} runs": polled,
    f"one of {CURSORS:,} feed cursors, {RUNS:,} runs": fed,
    f"one of {WAITS:,} cancelled waits": cancelled,
}


def print_crowd() -> None:
    print(f"\n{'a crowd, CPU':44} {'us':>10} {'best':>10}")
    for name, measure in ROWS.items():
        found = [asyncio.run(measure()) * 1e6 for _ in range(max(3, ROUNDS // 2))]
        print(f"{name:44} {statistics.median(found):10.1f} {min(found):10.1f}")
