"""What do thousands of watchers of the change feed cost those beside them?

A server in its own process, N long polls of `GET /v1/changes` in another, each asking again at once; here five tiny
runs, one after the other. Prints how long these took, what the watchers got, and the server's CPU time.

    python -m server.benchmarks.watchers [N …]          default: 0 100 1000 5000
"""

import asyncio
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp

import lume_async
import lume_local
from benchmarks._bench import header

FLOW = 'flow = "tiny"\nversion = "v1"\n[columns.id]\ntype = "integer"\n'
RUNS = 5
ROUNDS = int(os.environ.get("ROUNDS", "3"))


def serve(home: str, pipe: Connection) -> None:
    with lume_local.serve_in_thread(f"{home}/flows", f"{home}/.lume", [home], max_active=1) as server:
        pipe.send((server.base_url, server.api_key))
        while pipe.recv() is not None:
            pipe.send(sum(os.times()[:2]))


def watch(count: int, url: str, key: str, pipe: Connection) -> None:
    async def go() -> None:
        got = [0, 0]
        connector = aiohttp.TCPConnector(limit=0)
        headers = {"lume-api-key": key, "Prefer": "wait=50"}
        async with aiohttp.ClientSession(url, connector=connector, headers=headers) as session:

            async def one(first: asyncio.Semaphore) -> None:
                async with first, session.get("/v1/changes") as answer:
                    cursor = (await answer.json())["next_cursor"]
                while True:
                    async with session.get("/v1/changes", params={"after": cursor}) as answer:
                        page = await answer.json()
                    cursor = page["next_cursor"]
                    got[0] += 1
                    got[1] += len(page["items"])

            begin = asyncio.Semaphore(50)
            tasks = [asyncio.create_task(one(begin)) for _ in range(count)]
            await asyncio.sleep(1 + count / 500)
            pipe.send("ready")
            while await asyncio.to_thread(pipe.recv) is not None:
                pipe.send(tuple(got))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(go())


async def five(url: str, key: str, home: Path, name: str) -> float:
    async with lume_async.Client(key, base_url=url) as client:
        files = [home / f"{name}-{n}.csv" for n in range(RUNS + 1)]
        for file in files:
            file.write_text("id\n1\n")
        await (await client.run("tiny:v1", files[0].name)).wait()  # a worker is ready, the connection stands
        began = time.perf_counter()
        for file in files[1:]:
            await (await client.run("tiny:v1", file.name)).wait()
        return time.perf_counter() - began


def measured(count: int) -> None:
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "flows").mkdir()
        (home / "flows/tiny.toml").write_text(FLOW)
        mine, its = spawn.Pipe()
        server = spawn.Process(target=serve, args=(name, its), daemon=True)
        server.start()
        url, key = mine.recv()
        watching, other = spawn.Pipe()
        watchers = spawn.Process(target=watch, args=(count, url, key, other), daemon=True)
        watchers.start()
        watching.recv()
        mine.send("cpu")
        cpu = mine.recv()
        took = [asyncio.run(five(url, key, home, f"s{n}")) for n in range(ROUNDS)]
        mine.send("cpu")
        cpu = mine.recv() - cpu
        watching.send("?")
        responses, changes = watching.recv()
        per = changes / responses if responses else 0.0
        print(
            f"{count:8,} {statistics.median(took):10.2f} {max(took):8.2f} {cpu / ROUNDS:14.2f} "
            f"{responses:12,} {per:14.1f}",
            flush=True,
        )
        for pipe, process in ((watching, watchers), (mine, server)):
            pipe.send(None)
            process.join(20)
            process.kill()


if __name__ == "__main__":
    header("aiohttp", "duckdb")
    print(f"\nwatchers   {RUNS} runs, s      max   server CPU-s    responses   changes each")
    for wanted in map(int, sys.argv[1:] or ["0", "100", "1000", "5000"]):
        measured(wanted)
