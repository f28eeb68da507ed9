"""How soon is a file that has arrived submitted, and what does a server cost to which nothing comes?

10,000 files are put into a folder of a server in a process of its own: in bursts of 100 (each a rename into place),
and all at once. The delay is that from the moment at which a file is ready (still for `quiet`) to the
creation of its run. Then nothing happens for a while, and the processor time of the server is measured. Last, a state
that knows a million files, and the folder that has them.
`FILES`, `KNOWN` and `IDLE` in the environment make it smaller.
"""

import asyncio
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

import lume_async as lume
from benchmarks._bench import header

FILES = int(os.environ.get("FILES", "10000"))
KNOWN = int(os.environ.get("KNOWN", "1000000"))
IDLE = float(os.environ.get("IDLE", "60"))
QUIET = 0.2
BURST = 100
PRAGMAS = ("page_count", "freelist_count", "page_size")

SERVER = """
import asyncio, sys, lume_local

async def main():
    async with lume_local.serve("flows", ".lume", arrivals="arrivals.toml", max_active=1) as server:
        print(server.base_url, server.api_key, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
FLOW = 'flow = "orders"\nversion = "v1"\n[columns.no]\ntype = "integer"\n'
ARRIVALS = f'[[arrival]]\nname = "acme"\nflow = "orders"\nfrom = "in/*.csv"\nready = {{ quiet = {QUIET} }}\n'


class Server:
    """A server in a process of its own, on the current folder."""

    def __enter__(self) -> "Server":
        self.began = time.monotonic()
        self._process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.base_url, self.key = self._process.stdout.readline().split()
        return self

    def client(self) -> lume.Client:
        return lume.Client(self.key, base_url=self.base_url)

    def cpu(self) -> float:
        """Seconds of processor time of the server itself, without its workers."""
        user, system = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def home(folder: Path) -> None:
    os.chdir(folder)
    for name in ("flows", "in"):
        Path(name).mkdir(exist_ok=True)
    Path("flows/orders.v1.toml").write_text(FLOW)
    Path("arrivals.toml").write_text(ARRIVALS)


async def until(client: lume.Client, submitted: int) -> None:
    while True:
        (arrival,) = (await client.arrivals(limit=1)).arrivals
        if arrival.submitted >= submitted and not arrival.waiting and arrival.watched:
            return
        await asyncio.sleep(0.05)


def put(name: str) -> float:
    """A file, renamed into place; when."""
    draft = Path(f"in/.{name}")
    draft.write_text(f"no\n{abs(hash(name))}\n")
    os.replace(draft, f"in/{name}.csv")
    return time.time()


def delays(placed: dict[str, float]) -> list[float]:
    with closing(sqlite3.connect(".lume/state/runs.sqlite")) as db:
        found = db.execute("SELECT source_path, created_at FROM runs").fetchall()
    created = {path: datetime.fromisoformat(at).timestamp() for path, at in found}
    return [created[f"in/{name}.csv"] - at - QUIET for name, at in placed.items()]


def report(what: str, found: list[float]) -> None:
    cuts = statistics.quantiles(found, n=100)
    print(f"{what}: ready to submitted p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s, most {max(found):.2f} s")


async def arriving() -> None:
    with Server() as server:
        async with server.client() as client:
            placed: dict[str, float] = {}
            for burst in range(FILES // BURST):
                placed |= {f"burst-{burst}-{n}": put(f"burst-{burst}-{n}") for n in range(BURST)}
                await asyncio.sleep(0.5)
            await until(client, FILES)
            report(f"{FILES:,} files, {BURST} at a time", delays(placed))
            began = time.monotonic()
            placed = {f"all-{n}": put(f"all-{n}") for n in range(FILES)}
            await until(client, 2 * FILES)
            report(f"{FILES:,} files at once", delays(placed))
            print(
                f"    {FILES / (time.monotonic() - began):,.0f} files a second, with the engine at work beside it"
            )


async def idling() -> None:
    with Server() as server:
        async with server.client() as client:
            await until(client, 0)
        before = server.cpu()
        await asyncio.sleep(IDLE)
        print(f"nothing happens for {IDLE:.0f} s: {(server.cpu() - before) / IDLE:.2%} of a core")


def know(number: int) -> None:
    """Files on the disk that the state knows, as if they had been submitted."""
    from lume_local._arrivals.local_place import open_folder
    from lume_local._arrivals.settings import read_arrivals
    from lume_local._runs.sources.paths import Roots
    from lume_local._runs.store.arrived import Arrived

    (arrival,) = read_arrivals(ARRIVALS)
    for n in range(number):
        os.close(os.open(f"in/{n:07}.csv", os.O_CREAT | os.O_WRONLY))

    async def note() -> None:
        roots = Roots.of((Path.cwd(),), Path(".lume"))
        async with open_folder(arrival, roots) as place:
            with closing(sqlite3.connect(".lume/state/runs.sqlite")) as db:
                async for page in place.pages():
                    found = [Arrived("acme", one.path, one.seen, one.path.encode()) for one in page]
                    contents = [(one.place, one.digest, n + 1) for n, one in enumerate(found)]
                    db.executemany("INSERT INTO arrived VALUES (?, ?, ?)", contents)
                    paths = [(one.place, one.mark, n + 1) for n, one in enumerate(found)]
                    db.executemany("INSERT INTO arrived_paths VALUES (?, ?, ?)", paths)
                db.commit()

    asyncio.run(note())


def known() -> None:
    with Server():
        pass  # makes the state
    path = Path(".lume/state/runs.sqlite")
    before = size(path)
    know(KNOWN)
    print(f"{KNOWN:,} files known: {(size(path) - before) / KNOWN:.0f} bytes each in the state")
    with Server() as server:
        up = time.monotonic() - server.began

        async def listed() -> tuple[float, float]:
            async with server.client() as client:
                placed = put("new")
                await until(client, 1)
                return delays({"new": placed})[0], server.cpu()

        delay, cpu = asyncio.run(listed())
        print(f"    up after {up:.1f} s; a file that comes then is submitted {delay:.1f} s after it is ready")
        print(f"    {cpu:.1f} s of processor time for comparing all of them")


def size(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages, free, each = (
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * each


def main() -> None:
    header()
    for measure in (lambda: asyncio.run(arriving()), lambda: asyncio.run(idling()), known):
        with tempfile.TemporaryDirectory() as folder:
            home(Path(folder))
            measure()


if __name__ == "__main__":
    main()
