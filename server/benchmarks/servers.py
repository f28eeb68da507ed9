"""The store in PostgreSQL beside SQLite: submissions and whole runs a second, in the store and over HTTP.

    python -m server.benchmarks.servers [--runs N]

It starts a PostgreSQL of its own, with durable commits, and needs its programs (./scripts/components).
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

import postgres_server
from attrs import evolve

import lume_local
from lume_local._runs.health import Health
from lume_local._runs.postgres import postgres_state
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.records import NewRun

NEW = NewRun("f:v1", "a.csv", "/a.csv", {"n": 1}, False, None, "print")
FIGURES = {"rows_read": 100, "rows_mapped": 100, "rows_rejected": 0}
Opened = Callable[[], AbstractAsyncContextManager[SqlStore]]
ENV = "LUME_BENCH_STATE_URL"


async def submit(store: SqlStore, source: str) -> None:
    await store.create(evolve(NEW, source_key=source))
    await store.settled()


async def whole(store: SqlStore, source: str) -> None:
    run, _ = await store.create(evolve(NEW, source_key=source))
    await store.settled()
    for status in ("SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET"):
        run = await store.update(run, status) or run
    await store.update(run, "SUCCEEDED", metrics=FIGURES, finished_at="2026-01-01T00:00:00Z")
    await store.settled()


async def rate(
    opened: Opened, work: Callable[[SqlStore, str], Awaitable[None]], count: int, at_once: int
) -> float:
    """How many a second, by so many tasks."""
    async with opened() as store:
        sources = iter(range(count))

        async def one() -> None:
            for n in sources:
                await work(store, f"/{time.monotonic_ns()}-{n}")

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(at_once)))
        return count / (time.perf_counter() - began)


async def over_http(folder: Path, count: int, state_env: str | None) -> tuple[float, float]:
    """Submissions and runs a second of a server, by eight clients; each run has three rows."""
    (folder / "flows").mkdir(parents=True)
    (folder / "flows/f.v1.toml").write_text('flow = "f"\nversion = "v1"\n[columns.id]\ntype = "integer"\n')
    (folder / "a.csv").write_text("id\n1\n2\n3\n")
    async with (
        lume_local.serve(folder / "flows", folder / ".lume", [folder], state_env=state_env) as server,
        server.client() as client,
    ):
        await (await client.run("f:v1", "a.csv")).wait()
        began = time.perf_counter()
        sources = iter(range(count))
        runs = []

        async def submit_some() -> None:
            for n in sources:
                (folder / f"{n}.csv").hardlink_to(folder / "a.csv")
                runs.append(await client.run("f:v1", f"{n}.csv"))

        await asyncio.gather(*(submit_some() for _ in range(8)))
        submitted = time.perf_counter() - began
        await client.wait_all(runs)
        return count / submitted, count / (time.perf_counter() - began)


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder, postgres_server.running(durable=True) as server:
        import os

        os.environ[ENV] = server.url

        @asynccontextmanager
        async def sqlite() -> AsyncIterator[SqlStore]:
            with closing(SqliteStore(Path(folder) / f"{time.monotonic_ns()}.sqlite")) as store:
                yield store

        @asynccontextmanager
        async def postgresql() -> AsyncIterator[SqlStore]:
            async with postgres_state.leased(server.url, Health(Path(folder))) as (store, _):
                yield store

        kinds: dict[str, Opened] = {"sqlite": sqlite, "postgresql": postgresql}
        print(f"{'':24} {'sqlite':>12} {'postgresql':>12}   a second")
        for what, work in (("submissions", submit), ("runs", whole)):
            for at_once in (1, 8, 32):
                found = {
                    kind: statistics.median([await rate(opened, work, count, at_once) for _ in range(3)])
                    for kind, opened in kinds.items()
                }
                print(
                    f"store: {what}, {at_once:>2} at once  {found['sqlite']:12,.0f} {found['postgresql']:12,.0f}"
                )
        one = await over_http(Path(folder) / "one", count, None)
        two = await over_http(Path(folder) / "two", count, ENV)
        for what, a, b in zip(("submissions", "runs"), one, two, strict=True):
            print(f"HTTP: {what:17} {a:13,.0f} {b:12,.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=600)
    asyncio.run(main(parser.parse_args().runs))
