"""What does watching N runs cost? The scheduler beside a task per run, an anyio task group, a thread per run.

The transport is simulated: a look takes one turn of the event loop, so that what is measured is the scheduling. All
contestants look 5,000 times a second altogether: N runs, each every N / 5,000 seconds, for some seconds.
Prints CPU per look, memory per run, the time to start, how late looks are; writes a plot where matplotlib is there.
Then the whole `Monitor`, its feed and waits in large numbers; `crowd` as an argument prints that alone.
Last, with a server: the memory of all that a `Monitor` keeps of a run. `memory` as an argument prints that alone.
"""

import asyncio
import gc
import json
import multiprocessing
import random
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
from aiohttp import web

import lume_async
from benchmarks._bench import IMAGES, ROUNDS, header, interleaved, table
from benchmarks.monitor.crowd import print_crowd
from lume_async._base.clock import SystemClock
from lume_async._many.scheduler import Scheduler
from lume_async.testing import run_json

RATE = 5_000.0
SECONDS = 3.0


class Looks:
    """What a look does: note how late it is, take a turn of the loop."""

    def __init__(self, runs: int) -> None:
        self.interval = max(0.2, runs / RATE)
        self.count = 0
        self.late: list[float] = []
        self.due: dict[str, float] = {}

    def first(self, key: str, now: float) -> float:
        delay = random.random() * self.interval
        self.due[key] = now + delay
        return delay

    async def look(self, key: str) -> float:
        self.note(key)
        await asyncio.sleep(0)
        return self.interval

    def note(self, key: str) -> None:
        now = time.monotonic()
        self.count += 1
        self.late.append(now - self.due[key])
        self.due[key] = now + self.interval

    @property
    def p99(self) -> float:
        return sorted(self.late)[int(len(self.late) * 0.99)] if self.late else 0.0


Result = dict[str, float]


async def measured(
    looks: Looks, start: Callable[[], object], stop: Callable[[], Coroutine[Any, Any, None]]
) -> Result:
    gc.collect()
    begin = time.perf_counter()
    start()
    await asyncio.sleep(0)
    started = time.perf_counter() - begin
    await asyncio.sleep(max(0.5, started))  # what the start has delayed is not the schedule's lateness
    looks.late.clear()
    cpu, before = time.process_time(), looks.count
    await asyncio.sleep(SECONDS)
    cpu, done = time.process_time() - cpu, looks.count - before
    p99 = looks.p99
    await stop()
    return {"cpu": cpu / max(1, done), "start": started, "p99": p99, "looks": done}


def by_scheduler(keys: list[str]) -> Result:
    async def main() -> Result:
        looks = Looks(len(keys))
        scheduler = Scheduler(looks.look, limit=64, clock=SystemClock())

        def start() -> None:
            for key in keys:
                scheduler.add(key, looks.first(key, time.monotonic()))

        async with anyio.create_task_group() as group:
            group.start_soon(scheduler.run)

            async def stop() -> None:
                group.cancel_scope.cancel()

            return await measured(looks, start, stop)

    return asyncio.run(main())


def by_task(keys: list[str]) -> Result:
    async def main() -> Result:
        looks = Looks(len(keys))
        tasks: list[asyncio.Task[None]] = []

        async def follow(key: str, delay: float) -> None:
            while True:
                await asyncio.sleep(delay)
                delay = await looks.look(key)

        def start() -> None:
            first = looks.first
            tasks.extend(asyncio.ensure_future(follow(key, first(key, time.monotonic()))) for key in keys)

        async def stop() -> None:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        return await measured(looks, start, stop)

    return asyncio.run(main())


def by_task_group(keys: list[str]) -> Result:
    async def main() -> Result:
        looks = Looks(len(keys))
        async with anyio.create_task_group() as group:

            async def follow(key: str, delay: float) -> None:
                while True:
                    await anyio.sleep(delay)
                    delay = await looks.look(key)

            def start() -> None:
                for key in keys:
                    group.start_soon(follow, key, looks.first(key, time.monotonic()))

            async def stop() -> None:
                group.cancel_scope.cancel()

            result = await measured(looks, start, stop)
        return result

    return asyncio.run(main())


def by_thread(keys: list[str]) -> Result:
    looks, ended = Looks(len(keys)), threading.Event()

    def follow(key: str, delay: float) -> None:
        while not ended.wait(delay):
            looks.note(key)
            delay = looks.interval

    threading.stack_size(256 * 1024)
    begin, now = time.perf_counter(), time.monotonic()
    threads = [threading.Thread(target=follow, args=(key, looks.first(key, now))) for key in keys]
    for thread in threads:
        thread.start()
    started = time.perf_counter() - begin
    cpu, before = time.process_time(), looks.count
    time.sleep(SECONDS)
    cpu, done = time.process_time() - cpu, looks.count - before
    ended.set()
    for thread in threads:
        thread.join()
    return {"cpu": cpu / max(1, done), "start": started, "p99": looks.p99, "looks": done}


def memory_per_run(runs: int) -> float:
    """KiB that the scheduler itself keeps per run; the key belongs to the run's record."""

    async def main() -> float:
        keys = [f"run_{n:026}" for n in range(runs)]

        async def look(_key: str) -> float:
            return 1e6

        scheduler = Scheduler(look, limit=64, clock=SystemClock())
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for key in keys:
            scheduler.add(key, max(0.2, runs / RATE) * random.random())
        gc.collect()
        used = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        return used / runs / 1024

    return asyncio.run(main())


def serve(port: "multiprocessing.Queue[int]") -> None:
    """In a process of its own: every run is transforming."""

    async def status(request: web.Request) -> web.Response:
        run_id = request.match_info["run_id"]
        about = {"source_path": f"batches/{run_id[-7:]}.csv", "started_at": "2026-01-01T00:00:01.123456Z"}
        text = json.dumps(run_json(run_id, "TRANSFORMING", progress=0.25, **about))
        return web.Response(text=text, content_type="application/json", headers={"ETag": f'"{run_id[-12:]}"'})

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/v1/runs/{run_id}", status)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port.put(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


async def memory_over_http(port: int, runs: int, connected: int = 1_000) -> float:
    """Bytes of a watched run that was polled once; so many others have opened the connections before."""
    rng = random.Random(1)
    ids = [f"run_{rng.getrandbits(128):032x}" for _ in range(connected + runs)]
    url = f"http://127.0.0.1:{port}"
    client = lume_async.Client("key", base_url=url, proxy=False)
    async with client, client.monitor(poll_interval=600) as monitor:

        async def polled(some: list[str]) -> int:
            for run_id in some:
                monitor.add(run_id)
            for _ in some:
                await anext(monitor)
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        before = await polled(ids[:connected])
        used = await polled(ids[connected:]) - before
        tracemalloc.stop()
        return used / runs


def print_memory_over_http() -> None:
    print("\nmemory of a Monitor over HTTP, bytes per run")
    port: multiprocessing.Queue[int] = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(port,), daemon=True)
    server.start()
    try:
        found = port.get(timeout=60)
        for runs in (4_000, 9_000):
            print(f"  {runs:8,}  {asyncio.run(memory_over_http(found, runs)):.0f}")
    finally:
        server.terminate()
        server.join()


def main() -> None:
    header("anyio")
    alone = {"memory": print_memory_over_http, "crowd": print_crowd}
    if sys.argv[1:]:
        alone[sys.argv[1]]()
        return
    ours: dict[int, float] = {}
    theirs: dict[int, float] = {}
    for runs in (100, 1_000, 10_000, 100_000):
        keys = [f"run_{n:026}" for n in range(runs)]
        contestants: dict[str, Callable[[list[str]], Result]] = {
            "a task per run": by_task,
            "heap and 64 looks": by_scheduler,
        }
        if runs <= 10_000:
            contestants["anyio task group"] = by_task_group
        if runs <= 1_000:
            contestants["a thread per run"] = by_thread
        details: dict[str, list[Result]] = {name: [] for name in contestants}

        def measure(name: str, keys=keys, contestants=contestants, details=details) -> float:
            result = contestants[name](keys)
            details[name].append(result)
            return result["cpu"]

        results = interleaved({name: lambda n=name: measure(n) for name in contestants}, max(1, ROUNDS // 2))
        print(f"\n{runs:,} runs")
        table(results, "a task per run", unit="us/look", scale=1e6)
        for name, found in details.items():
            middle = sorted(found, key=lambda result: result["cpu"])[len(found) // 2]
            print(
                f"  {name:40} start {middle['start'] * 1e3:9.1f} ms   late p99 {middle['p99'] * 1e3:8.1f} ms"
            )
        ours[runs] = sorted(results["heap and 64 looks"])[len(results["heap and 64 looks"]) // 2] * 1e6
        theirs[runs] = sorted(results["a task per run"])[len(results["a task per run"]) // 2] * 1e6
    print("\nmemory of the scheduler, KiB per run")
    for runs in (1_000, 10_000, 100_000):
        print(f"  {runs:8,}  {memory_per_run(runs):.3f}")
    print_crowd()
    print_memory_over_http()
    plot(ours, theirs)


def plot(ours: dict[int, float], theirs: dict[int, float]) -> None:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print("\nno plot: matplotlib is not installed")
        return
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot(list(theirs), list(theirs.values()), marker="o", label="a task per run")
    axes.plot(list(ours), list(ours.values()), marker="o", label="lume_async: one heap, 64 looks")
    axes.set(xscale="log", xlabel="runs watched", ylabel="CPU per look, µs", ylim=(0, None))
    axes.legend()
    figure.savefig(IMAGES / "monitor.png", dpi=120)
    print("\nplot: docs/img/monitor.png")


if __name__ == "__main__":
    main()
