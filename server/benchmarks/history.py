"""Does a long history cost anything? A server over 0, 10,000, 100,000 and 1,000,000 runs that have ended.

The history is that of real runs of this server, copied by SQL with names of their own, of two keys by turns. What is
measured is the server's own CPU time for each request, over HTTP; for the start also the time until it responds.

    python -m server.benchmarks.history [N …]
"""

import asyncio
import hashlib
import multiprocessing
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp

import lume_async
import lume_local
from benchmarks._bench import header

FLOW = 'flow = "tiny"\nversion = "v1"\n[columns.id]\ntype = "integer"\n'
KEY = "a key of the benchmark"
TIMES, RUNS = 200, 100
"""Requests of each kind, and whole runs."""


def serve(home: str, pipe: Connection) -> None:
    keys = f"{home}/keys.toml"
    began, cpu = time.perf_counter(), time.process_time()
    with lume_local.serve_in_thread(
        f"{home}/flows", f"{home}/.lume", [home], max_active=1, keys=keys
    ) as server:
        pipe.send((server.base_url, time.perf_counter() - began, time.process_time() - cpu))
        while pipe.recv() is not None:
            pipe.send(time.process_time())


class Server:
    """A server over a folder, in its own process."""

    def __init__(self, home: Path) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, its = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(str(home), its), daemon=True)
        self._process.start()
        self.url, self.start_seconds, self.start_cpu = self._pipe.recv()

    def cpu(self) -> float:
        self._pipe.send("cpu")
        found: float = self._pipe.recv()
        return found

    def end(self) -> None:
        self._pipe.send(None)
        self._process.join(60)


def prepared(home: Path) -> None:
    """A folder with the state of one run."""
    (home / "flows").mkdir()
    (home / "flows/tiny.toml").write_text(FLOW)
    (home / "first.csv").write_text("id\n1\n")
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    (home / "keys.toml").write_text(f'[nightly]\nrole = "admin"\nsha256 = "{digest}"\n')
    server = Server(home)
    with lume_sync_client(server.url) as client:
        client.run("tiny:v1", "first.csv").wait()
    server.end()


def lume_sync_client(url: str) -> Any:
    import lume_sync

    return lume_sync.Client(KEY, base_url=url)


def filled(home: Path, count: int) -> None:
    """Copy the run so many times, with all that belongs to it."""
    (home / ".lume/state/runs.sqlite.backup").unlink(missing_ok=True)
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite", isolation_level=None)) as db:
        names = [row[1] for row in db.execute("PRAGMA table_info(runs)") if row[1] != "seq"]
        own = {
            "run_id": "printf('run_%032x', n)",
            "source_path": "'in/' || n || '.csv'",
            "source_key": "'/in/' || n || '.csv'",
            "submitted_by": "iif(n % 2, 'nightly', 'person')",
            "finished_at": "at",
            "created_at": "at",
        }
        columns = ", ".join(own.get(name, f"runs.{name}") for name in names)
        db.executescript(
            f"""
            PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -500000;
            BEGIN;
            CREATE TEMP TABLE n AS
                WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {count})
                SELECT n, strftime('%Y-%m-%dT%H:%M:%S.000000Z', 'now', '-20 days', '+' || n || ' seconds') AS at
                FROM c;
            INSERT INTO runs ({", ".join(names)}) SELECT {columns} FROM n, runs WHERE runs.seq = 1 ORDER BY n;
            INSERT INTO changes (run_id, status, finished_at, at)
                SELECT printf('run_%032x', n), 'SUCCEEDED', at, at FROM n ORDER BY n;
            INSERT INTO outputs SELECT printf('run_%032x', n), part, identity FROM n, outputs WHERE identity != '';
            INSERT INTO sources SELECT printf('run_%032x', n), bytes, seen, digest FROM n, sources;
            INSERT INTO idempotency_keys SELECT 'key' || n, 'x', printf('run_%032x', n), at FROM n;
            COMMIT;
            """
        )


Ask = Callable[[aiohttp.ClientSession, int], Awaitable[Any]]


async def asked(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def deep(session: aiohttp.ClientSession) -> str:
    """What has a list begin in the middle of the history."""
    page = await asked(session, "/v1/runs?limit=1")
    if page["next_cursor"] is None:
        return ""
    head, _, newest = page["next_cursor"].partition("-")
    return f"&cursor={head}-{max(1, int(newest) // 2)}"


async def per_request(server: Server, ask: Ask) -> float:
    """CPU milliseconds."""
    async with aiohttp.ClientSession(server.url, headers={"lume-api-key": KEY}) as session:
        await ask(session, -1)
        cpu = server.cpu()
        for n in range(TIMES):
            await ask(session, n)
        return (server.cpu() - cpu) / TIMES * 1000


async def whole_runs(server: Server, home: Path) -> float:
    """CPU milliseconds of the server for each run; its worker is another process."""
    async with lume_async.Client(KEY, base_url=server.url) as client:
        for n in range(-1, RUNS):
            (home / f"new{n}.csv").write_text("id\n1\n")
        await (await client.run("tiny:v1", "new-1.csv")).wait()
        cpu = server.cpu()
        for n in range(RUNS):
            await (await client.run("tiny:v1", f"new{n}.csv")).wait()
        return (server.cpu() - cpu) / RUNS * 1000


async def copied(server: Server) -> None:
    """Wait for the copy of the state, and the check of a large one: the server makes them once at its start."""
    async with aiohttp.ClientSession(server.url) as session:
        while "backup_age_seconds" not in await asked(session, "/healthz"):
            await asyncio.sleep(0.2)


async def measured(home: Path, server: Server) -> dict[str, float]:
    await copied(server)
    async with aiohttp.ClientSession(server.url, headers={"lume-api-key": KEY}) as session:
        middle = await deep(session)
        feed = (await asked(session, "/v1/changes"))["next_cursor"]

    def get(path: str) -> Ask:
        return lambda session, n: asked(session, path)

    async def submit(session: aiohttp.ClientSession, n: int) -> None:
        body = {"flow_version": "tiny:v1", "source_path": "first.csv"}
        async with session.post("/v1/runs", json=body) as answer:
            assert answer.status == 409

    return {
        "a submission: a source that is done": await per_request(server, submit),
        "the list": await per_request(server, get("/v1/runs?limit=50")),
        "the list, in the middle": await per_request(server, get(f"/v1/runs?limit=50{middle}")),
        "by key, in the middle": await per_request(
            server, get(f"/v1/runs?limit=50&submitted_by=nightly{middle}")
        ),
        "by flow, in the middle": await per_request(server, get(f"/v1/runs?limit=50&flow=tiny{middle}")),
        "by part of the source": await per_request(server, get("/v1/runs?limit=50&source=1")),
        "by status and time": await per_request(
            server, get("/v1/runs?limit=50&status=SUCCEEDED&since=2000-01-01T00:00:00Z")
        ),
        "the feed": await per_request(server, get(f"/v1/changes?after={feed}&limit=50")),
        "a whole run": await whole_runs(server, home),
    }


def main(counts: list[int]) -> None:
    header("aiohttp", "duckdb")
    print(f"\n{'runs':>10} {'MB':>7} {'start, s':>9} {'CPU-s':>6}  CPU-ms of the server each: ", flush=True)
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            home = Path(name)
            prepared(home)
            if count:
                filled(home, count)
            size = os.path.getsize(home / ".lume/state/runs.sqlite") / 1e6
            server = Server(home)
            found = asyncio.run(measured(home, server))
            server.end()
        figures = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
        print(
            f"{count:10,} {size:7.0f} {server.start_seconds:9.2f} {server.start_cpu:6.2f}  {figures}",
            flush=True,
        )


if __name__ == "__main__":
    main([int(one) for one in sys.argv[1:]] or [0, 10_000, 100_000, 1_000_000])
