"""How soon is the end of 2,000 runs noticed, and at what price? Then: what does run_many cost beside the engine?

Part one: a server in a process of its own, whose runs end at random within 20 s, is followed in six ways.
Part two: `run_many` over tiny real runs in `lume_local`, in a process of its own: CPU of client and engine.
Writes a plot where matplotlib is there. `RUNS`, `LASTS` and `TINY` in the environment make it smaller.
"""

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lume_async as lume
from benchmarks._bench import IMAGES, header
from lume_async import Client, RunRequest

RUNS = int(os.environ.get("RUNS", "2000"))
LASTS = float(os.environ.get("LASTS", "20"))
TINY = int(os.environ.get("TINY", "300"))

SERVER = """
import asyncio, json, random, sys, time
from datetime import UTC, datetime
from aiohttp import web

lasts, capabilities, with_runs = float(sys.argv[1]), sys.argv[2], sys.argv[3] == "True"
ends, order, requests, moved = {}, [], 0, asyncio.Condition()

def stamp(at): return datetime.fromtimestamp(at, UTC).isoformat()

def body(run_id):
    done = ends[run_id] <= time.time()
    return {"id": run_id, "status": "SUCCEEDED" if done else "TRANSFORMING", "metadata": {},
            "finished_at": stamp(ends[run_id]) if done else None}

def reply(run_id):
    run = body(run_id)
    return web.json_response(run, headers={"ETag": f'"{run["status"]}"', "Lume-Capabilities": capabilities})

async def look(request):
    global requests
    requests += 1
    run_id = request.match_info["id"]
    if run_id not in ends:
        ends[run_id] = time.time() + random.random() * lasts
        asyncio.get_running_loop().call_later(ends[run_id] - time.time(), order.append, run_id)
    wait = request.headers.get("Prefer", "")
    if wait.startswith("wait=") and body(run_id)["status"] == "TRANSFORMING":
        await asyncio.sleep(max(0.0, min(float(wait[5:]), ends[run_id] - time.time() + 0.001)))
    return reply(run_id)

async def changes(request):
    global requests
    requests += 1
    after = request.query.get("after")
    cursor = len(order) if after is None else int(after)
    until = time.time() + float(request.headers.get("Prefer", "wait=0")[5:])
    while after is not None and len(order) == cursor and time.time() < until:
        await asyncio.sleep(0.01)
    items = [] if after is None else [
        {"id": run_id, "status": "SUCCEEDED", "finished_at": stamp(ends[run_id])} for run_id in order[cursor:]]
    if with_runs and request.query.get("include") == "run":
        items = [item | {"run": body(item["id"])} for item in items]
    answer = {"items": items, "next_cursor": str(cursor + len(items))}
    return web.json_response(answer, headers={"Lume-Capabilities": capabilities})

async def main():
    app = web.Application()
    app.router.add_get("/v1/runs/{id}", look)
    app.router.add_get("/v1/changes", changes)
    app.router.add_get("/count", lambda request: web.json_response(requests))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""

Seen = dict[str, float]


@contextmanager
def server(capabilities: str, *, with_runs: bool) -> Iterator[str]:
    arguments = [sys.executable, "-c", SERVER, str(LASTS), capabilities, str(with_runs)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


async def documented_loop(client: Client, ids: list[str], seen: Seen) -> None:
    """The guide's recipe for each run, with its delays scaled to runs of 20 s: 0.5 s doubling to 6 s."""

    async def follow(run_id: str) -> None:
        await client.wait_for_run_completion(run_id, 1000, 0.5, max_delay=6)
        seen[run_id] = time.time()

    await asyncio.gather(*map(follow, ids))


def many(poll_interval: float | None) -> Callable[[Client, list[str], Seen], Awaitable[None]]:
    async def follow(client: Client, ids: list[str], seen: Seen) -> None:
        async for outcome in client.as_completed(ids, poll_interval=poll_interval):
            seen[str(outcome.run_id)] = time.time()

    return follow


async def each_held(client: Client, ids: list[str], seen: Seen) -> None:
    """`Prefer: wait`: one request per run, kept by the server until the run ends."""

    async def follow(run_id: str) -> None:
        await client.attach(run_id).wait()
        seen[run_id] = time.time()

    await asyncio.gather(*map(follow, ids))


WITH_RUNS = "feed with the runs"
POLICIES: dict[str, tuple[str, int, Callable[[Client, list[str], Seen], Awaitable[None]]]] = {
    "the guide's loop": ("", 100, documented_loop),
    "every 5 s": ("", 100, many(5.0)),
    "our back-off": ("", 100, many(None)),
    "Prefer: wait": ("wait", 2 * RUNS + 10, each_held),
    "the change feed": ("wait, changes", 100, many(None)),
    WITH_RUNS: ("wait, changes", 100, many(None)),
}


async def follow(
    url: str, connections: int, policy: Callable[[Client, list[str], Seen], Awaitable[None]]
) -> dict[str, float]:
    import aiohttp

    ids = [f"r{n}" for n in range(RUNS)]
    seen: Seen = {}
    async with Client("key", base_url=url, proxy=False, max_connections=connections) as client:
        await client.run_status("warm-up")
        cpu = time.process_time()
        await policy(client, ids, seen)
        cpu = time.process_time() - cpu
        ended = {}
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/count") as answer:
                requests = int(await answer.text())
            for run_id in ids:
                async with session.get(f"{url}/v1/runs/{run_id}") as answer:
                    ended[run_id] = lume_time((await answer.json())["finished_at"])
    delays = sorted(seen[run_id] - ended[run_id] for run_id in ids)
    return {
        "requests": requests / RUNS,
        "mean": statistics.mean(delays),
        "p95": delays[int(len(delays) * 0.95)],
        "cpu": cpu,
    }


def lume_time(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def part_one() -> dict[str, dict[str, float]]:
    print(f"\n{RUNS:,} runs that end within {LASTS:g} s")
    print(f"{'':20} {'requests/run':>12} {'mean delay':>12} {'p95':>10} {'client CPU':>12}")
    found = {}
    for name, (capabilities, connections, policy) in POLICIES.items():
        with server(capabilities, with_runs=name == WITH_RUNS) as url:
            result = found[name] = asyncio.run(follow(url, connections, policy))
        print(
            f"{name:20} {result['requests']:12.2f} {result['mean'] * 1e3:9.0f} ms {result['p95'] * 1e3:7.0f} ms "
            f"{result['cpu']:10.2f} s"
        )
    return found


ENGINE = """
import asyncio, resource, sys, lume_local

async def main(folder):
    async with lume_local.serve(flows=folder + "/flows", data=folder + "/data", roots=[folder]) as server:
        print(server.base_url, server.api_key, flush=True)
        await asyncio.to_thread(sys.stdin.read)
    times = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(sum(used.ru_utime + used.ru_stime for used in times))

asyncio.run(main(sys.argv[1]))
"""


def part_two() -> None:
    with tempfile.TemporaryDirectory() as folder:
        flows = Path(folder, "flows")
        flows.mkdir()
        (flows / "tiny.v1.toml").write_text('flow = "tiny"\nversion = "v1"\n[columns.id]\ntype = "integer"\n')
        Path(folder, "tiny.csv").write_text("id\n1\n2\n3\n")
        for n in range(TINY):
            os.link(Path(folder, "tiny.csv"), Path(folder, f"{n}.csv"))
        command = [sys.executable, "-c", ENGINE, folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdin is not None
            url, key = process.stdout.readline().split()

            async def main() -> lume.Summary:
                summary = lume.Summary()
                requests = (RunRequest("tiny:v1", f"{n}.csv", force_rerun=True) for n in range(TINY))
                async with Client(key, base_url=url, proxy=False) as client:
                    async for outcome in client.run_many(requests, journal=Path(folder, "journal.db")):
                        summary.add(outcome)
                return summary

            begun, cpu = time.perf_counter(), time.process_time()
            summary = asyncio.run(main())
            cpu, took = time.process_time() - cpu, time.perf_counter() - begun
            process.stdin.close()
            engine = float(process.stdout.read())
    print(f"\nrun_many over {TINY:,} tiny real runs, with a journal: {json.dumps(dict(summary.statuses))}")
    print(f"{took:.1f} s; CPU: client {cpu:.2f} s, engine {engine:.2f} s, ratio {cpu / engine:.3f}")


def plot(found: dict[str, dict[str, float]]) -> None:
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print("\nno plot: matplotlib is not installed")
        return
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for name, result in found.items():
        axes.scatter(result["requests"], result["mean"] * 1e3)
        axes.annotate(
            name, (result["requests"], result["mean"] * 1e3), xytext=(5, 5), textcoords="offset points"
        )
    axes.set(xlabel="requests per run", ylabel="mean delay until the end is noticed, ms", yscale="log")
    axes.margins(0.25)
    figure.savefig(IMAGES / "backfill.png", dpi=120)
    print("\nplot: docs/img/backfill.png")


if __name__ == "__main__":
    random.seed(1)
    header("aiohttp", "duckdb")
    results = part_one()
    part_two()
    plot(results)
