"""What do a large file, many small files and an upload cost? CPU, memory and disk, of the server and of its workers.

    python -m server.benchmarks.costs --gb 5                a run of one CSV of 5 GB, to Parquet
    python -m server.benchmarks.costs --gb 5 --unique       the same with a column whose values must not repeat
    python -m server.benchmarks.costs --files 10000         that many files of 10 rows, by `run_many` with a journal
    python -m server.benchmarks.costs --files 10000 --arrive         the same, as arrivals
    python -m server.benchmarks.costs --files 10000 --together 1000  the same, a thousand files a run
    python -m server.benchmarks.costs --upload 11           an upload of 11 GB, whose connection breaks at each GB
    python -m server.benchmarks.costs --runs 100000         a backup of that many runs, and its restore

Everything happens in a new folder below `--scratch`, which is removed at the end, also after a failure. Nothing
starts unless the disk has room for twice the data. Seconds depend on what else the machine does, CPU seconds hardly.
"""

import argparse
import asyncio
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
from faults.cutting import Cutter

import lume_async as lume
import lume_local
from benchmarks._bench import header
from server.benchmarks import history

GB = 10**9
ROW = 100
"""Bytes of a row, about."""
EVERY = 0.5
"""Seconds between two looks at the processes and the disk."""
SERVER = """
import asyncio, sys, lume_local

async def main():
    options = {"arrivals": "arrivals.toml"} if "arrive" in sys.argv else {}
    async with lume_local.serve("flows", ".lume", ["."], max_active=1, max_upload_bytes=10**12, **options) as server:
        print(server.base_url, server.api_key, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
FLOW = """
flow = "costs"
version = "v1"
[columns.id]
type = "integer"
required = true
[columns.name]
sql = 'trim("name")'
[columns.email]
format = "email"
[columns.amount]
type = "number"
sql_type = "DECIMAL(12,2)"
minimum = 0
[columns.ordered]
format = "date"
[columns.country]
enum = ["DE", "FR", "ES", "PT", "BR"]
[columns.note]
"""
ARRIVALS = '[[arrival]]\nname = "costs"\nflow = "costs"\nfrom = "in/*.csv"\nready = { quiet = 0.2 }\n'
ROWS = """
SELECT id, 'Name ' || (hash(id) % 100000)::VARCHAR AS name, 'user' || id || '@example.org' AS email,
    CASE WHEN id % 100 = 7 THEN 'unknown' ELSE ((hash(id + 1) % 1000000) / 100)::VARCHAR END AS amount,
    (DATE '2020-01-01' + (hash(id + 2) % 2000)::INTEGER)::VARCHAR AS ordered,
    ['DE', 'FR', 'ES', 'PT', 'BR'][1 + (hash(id + 3) % 5)::INTEGER] AS country,
    md5(id::VARCHAR) AS note
FROM range({first}, {last}) AS t(id)
"""


def write(path: Path, first: int, last: int) -> None:
    with duckdb.connect(config={"threads": 1, "memory_limit": "500MB"}) as connection:
        connection.execute(f"COPY ({ROWS.format(first=first, last=last)}) TO '{path}' (HEADER)")


def ticks(pid: int) -> tuple[float, float]:
    """The CPU seconds of a process, and of its children that have ended."""
    fields = [int(one) for one in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]]
    rate = os.sysconf("SC_CLK_TCK")
    return (fields[0] + fields[1]) / rate, (fields[2] + fields[3]) / rate


def peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def below(pid: int) -> Iterator[int]:
    """The processes that a process has started, and theirs."""
    with suppress(OSError):  # a process or a thread may end meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                yield child
                yield from below(child)


def size(folder: Path) -> int:
    """Bytes on the disk."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(where, name)).st_blocks * 512
    return total


class Measured:
    """A server on the current folder: its costs since the start of the measurement."""

    def __init__(self, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER, *words], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url, self.key = self._process.stdout.readline().split()
        self._of_workers: dict[int, float] = {}
        self.worker_peak, self.disk_peak, self._ended = 0, 0, threading.Event()
        self._watch = threading.Thread(target=self._watching, daemon=True)

    def client(self, **options: Any) -> lume.Client:
        return lume.Client(self.key, base_url=self.url, **options)

    def __enter__(self) -> "Measured":
        self._look()
        self._before = self._cpu()
        self._began, self._own = time.monotonic(), time.process_time()
        self._watch.start()
        return self

    def _watching(self) -> None:
        while not self._ended.wait(EVERY):
            self._look()
            self.disk_peak = max(self.disk_peak, size(Path(".lume")))

    def _look(self) -> None:
        for child in below(self._process.pid):
            with suppress(OSError, ValueError):
                self._of_workers[child] = ticks(child)[0]
                self.worker_peak = max(self.worker_peak, peak(child))

    def _cpu(self) -> tuple[float, float]:
        return ticks(self._process.pid)[0], sum(self._of_workers.values())

    def report(self, what: str, per: int = 1, unit: str = "") -> None:
        """Print what it has cost."""
        self._look()
        (server, workers), (server_before, workers_before) = self._cpu(), self._before
        server, workers = server - server_before, workers - workers_before
        took, own = time.monotonic() - self._began, time.process_time() - self._own
        print(
            f"{what}: {took:,.0f} s on this machine; CPU {server:,.1f} s of the server, {workers:,.1f} s of workers, "
            f"{own:,.1f} s of the client; peak {peak(self._process.pid) / 1e6:,.0f} MB of the server, "
            f"{self.worker_peak / 1e6:,.0f} MB of a worker; disk {self.disk_peak / 1e6:,.0f} MB at most, "
            f"{size(Path('.lume')) / 1e6:,.0f} MB afterwards, {size(Path('.lume/state')) / 1e6:,.1f} MB of it state",
            flush=True,
        )
        if unit:
            with closing(sqlite3.connect(".lume/state/runs.sqlite")) as db:
                query = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
                each = db.execute(query).fetchone()[0] / per
            print(
                f"    {unit}: CPU {1000 * server / per:.1f} ms of the server, {1000 * workers / per:.1f} ms of "
                f"workers, {1000 * own / per:.1f} ms of the client; {each:,.0f} bytes in the state file",
                flush=True,
            )

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watch.join()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def needs(count: float) -> None:
    """End unless the disk has room for so many bytes."""
    if (free := shutil.disk_usage(".").free) < count:
        sys.exit(f"this needs {count / GB:.0f} GB, and {free / GB:.0f} GB are free")


async def large(gigabytes: float, *, is_unique: bool) -> None:
    needs(2 * gigabytes * GB)
    if is_unique:
        Path("flows/costs.v1.toml").write_text(
            FLOW.replace("required = true", "required = true\nunique = true")
        )
    write(Path("large.csv"), 0, int(gigabytes * GB / ROW))
    length = Path("large.csv").stat().st_size
    with Measured() as server:
        async with server.client() as client:
            run = await client.run("costs:v1", "large.csv")
            await run.wait(timeout=None)
        metrics = run.metadata.metrics
        outputs = ", ".join(
            f"{path.name} {path.stat().st_size / 1e6:,.0f} MB"
            for path in sorted(Path(".lume/out").rglob("*.*"))
        )
        server.report(
            f"{length / GB:.2f} GB, {metrics.rows_read:,} rows, {metrics.rows_rejected:,} rejected ({outputs}), "
            f"{run.status}"
        )


async def many(count: int, *, together: int = 1, do_arrive: bool = False) -> None:
    needs(count * 40_000)
    if do_arrive:
        Path("arrivals.toml").write_text(ARRIVALS)
    if together > 1:
        Path("flows/costs.v1.toml").write_text(f'{FLOW}[source]\nuri = "{{source_path}}/*.csv"\n')
    write(Path("ten.csv"), 0, 10)
    head, *rows = Path("ten.csv").read_text().splitlines(keepends=True)
    names = [f"in/{n // together}" if together > 1 else f"in/{n:07}.csv" for n in range(0, count, together)]
    for n in range(count):
        folder = Path(f"in/{n // together}" if together > 1 else "in")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{n:07}.csv").write_text("".join([head, f"{n}{rows[0]}", *rows[1:]]))
    with Measured(*["arrive"] * do_arrive) as server:
        async with server.client() as client:
            if do_arrive:
                while await ended(client) < count:
                    await asyncio.sleep(5)
            else:
                requests = (lume.RunRequest("costs:v1", name) for name in names)
                async with client.run_many(
                    requests, journal="journal.db", max_active=20, timeout=None
                ) as outcomes:
                    async for outcome in outcomes:
                        assert outcome.run is not None, outcome
        server.report(
            f"{count:,} files of 10 rows, {together:,} a run" + ", arriving" * do_arrive, count, "a file"
        )
        files = sum(1 for path in Path(".lume").rglob("*") if path.is_file())
        print(
            f"    {files / count:.1f} files a file in the data folder; journal "
            f"{Path('journal.db').stat().st_size / count if not do_arrive else 0:,.0f} bytes a file",
            flush=True,
        )


async def ended(client: lume.Client) -> int:
    ends = ("SUCCEEDED", "PARTIAL_FAILED")
    return sum(one.runs for one in await client.statistics() if one.status in ends)


async def upload(gigabytes: float) -> None:
    needs(2.1 * gigabytes * GB)
    write(Path("large.csv"), 0, int(gigabytes * GB / ROW))
    length = Path("large.csv").stat().st_size
    with Measured() as server:
        async with Cutter(server.url, lambda number: GB) as cutter:
            retry = lume.Retry(attempts=3, backoff=lume.Backoff(0.01, maximum=0.1))
            async with lume.Client(server.key, base_url=cutter.here, proxy=False, retry=retry) as client:
                await client.upload("large.csv")
        server.report(
            f"an upload of {length / GB:.2f} GB, {cutter.passed / GB:.2f} GB sent on "
            f"{cutter.connections} connections"
        )


def restored(count: int) -> None:
    needs(count * 10_000)
    place = Path.cwd() / "history"
    place.mkdir()
    history.prepared(place)
    history.filled(place, count)
    for name, work in (
        ("backup", lambda: lume_local.back_up(place / ".lume", "backup")),
        ("restore", lambda: lume_local.restore("backup", "restored")),
    ):
        began, before = time.monotonic(), spent()
        work()
        print(
            f"{name} of {count:,} runs: {time.monotonic() - began:.1f} s on this machine, "
            f"CPU {spent() - before:.1f} s",
            flush=True,
        )
    print(f"    the backup has {size(Path('backup')) / 1e6:,.0f} MB")


def spent() -> float:
    mine, theirs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime


@contextmanager
def home(scratch: Path) -> Iterator[None]:
    scratch.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        before = Path.cwd()
        os.chdir(folder)
        Path("flows").mkdir()
        Path("flows/costs.v1.toml").write_text(FLOW)
        try:
            yield
        finally:
            os.chdir(before)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gb", type=float)
    parser.add_argument("--unique", action="store_true")
    parser.add_argument("--files", type=int)
    parser.add_argument("--arrive", action="store_true")
    parser.add_argument("--together", type=int, default=1, metavar="FILES")
    parser.add_argument("--upload", type=float, metavar="GB")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()))
    asked = parser.parse_args()
    header()
    with home(asked.scratch):
        if asked.gb:
            asyncio.run(large(asked.gb, is_unique=asked.unique))
        if asked.files:
            asyncio.run(many(asked.files, together=asked.together, do_arrive=asked.arrive))
        if asked.upload:
            asyncio.run(upload(asked.upload))
        if asked.runs:
            restored(asked.runs)


if __name__ == "__main__":
    main()
