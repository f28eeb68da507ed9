"""Compares two checkouts by CPU time: this one (B) beside another one (A), such as a worktree of an older commit.

    git worktree add --detach ../older 862ebe83
    python -m benchmarks.compare ../older        --rounds 12 for steadier numbers, --runs 40 for larger ones
    python -m benchmarks.compare ../older --many 1500 --rounds 2        also so many files of 20 rows by `run_many`

Each side is measured in processes and a folder of its own, with this Python and its packages, in the order A B B A:
what else the machine does hits both alike. Read the median of the ratios of B to A; the minima show the size.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks._bench import header

THIS = Path(__file__).parents[1]
FLOW = """flow = "people"
version = "v1"
[columns]
id = { type = "integer", unique = true }
email = { pattern = "[^@ ]+@[^@ ]+" }
amount = { type = "number", maximum = 900 }
"""
IMPORTS = ("import aiohttp", "from lume_async import Client")
IMPORT = "import time; begun = time.process_time(); {}; print(time.process_time() - begun)"
IN_THREAD = """
import json, time
from lume_sync import Client

took = []
for n in range(6):
    begun = time.process_time()
    import lume_local
    with lume_local.serve_in_thread(data=f"data{n}", max_active=1):
        took.append(time.process_time() - begun)
first, *others = took
print(json.dumps({"`serve_in_thread`, first": first, "`serve_in_thread`, next": sum(others) / len(others)}))
"""
CLIENT = """
import asyncio, json, os, sys, time
from pathlib import Path
from lume_async import Client, RunRequest

url, key, (server, runs, gets, many) = sys.argv[1], sys.argv[2], map(int, sys.argv[3:])
TICK = os.sysconf("SC_CLK_TCK")

def times(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(one) / TICK for one in fields[11:15]]  # its own, and that of the children that have ended

def below(pid):
    there = " ".join((task / "children").read_text() for task in Path(f"/proc/{pid}/task").iterdir())
    return [each for one in there.split() for each in (int(one), *below(int(one)))]

def spent():
    of_children = sum(times(server)[2:]) + sum(sum(times(pid)) for pid in below(server))
    return {"client": time.process_time(), "server": sum(times(server)[:2]), "worker": of_children}

async def measured(count, work):
    before = spent()
    await work
    return {name: (now - before[name]) / count for name, now in spent().items()}

async def repeated(count, work):
    for n in range(count):
        await work(n)

async def main():
    async with Client(key, base_url=url, proxy=False) as client:
        ended = []
        async def run(n):
            ended.append(await (await client.run("people:v1", f"{n}.csv")).wait(poll_interval=0.05))

        async def batch():
            outcomes = client.run_many(RunRequest("people:v1", f"small/{n}.csv") for n in range(many))
            assert len([one.result() async for one in outcomes]) == many

        of_first = await measured(1, run("first"))
        of_runs = await measured(runs, repeated(runs, run))
        of_gets = await measured(gets, repeated(gets, lambda _: client.run_status(ended[0].id)))
        assert ended[0].metadata.metrics.rows_mapped
        found = {f"the first run, {name}": took for name, took in of_first.items()}
        found |= {f"a run of 100 rows, {name}": took for name, took in of_runs.items()}
        for name, took in (await measured(many, batch())).items() if many else ():
            found[f"one of {many} by run_many, {name}"] = took
        print(json.dumps(found | {f"GET /v1/runs/{{id}}, {name}": of_gets[name] for name in ("client", "server")}))

asyncio.run(main())
"""
"""It reads the processor time of a server and its workers from /proc, in ticks of 10 ms: many runs, many requests."""


def environment(checkout: Path) -> dict[str, str]:
    """Return the environment that imports the packages of a checkout; an older one has them all at its root."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LUME_", "PYTHON"))}
    return kept | {"PYTHONPATH": os.pathsep.join(map(str, (checkout, checkout / "server")))}


@contextmanager
def serving(checkout: Path, folder: Path, figures: dict[str, float]) -> Iterator[tuple[str, str, int]]:
    """Run a server of the checkout; yield its URL, key and process once it listens."""
    command = [sys.executable, "-m", "lume_cli", "serve", "--max-active", "1"]
    process = subprocess.Popen(
        command, cwd=folder, env=environment(checkout), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    file = folder / ".lume/state/server.json"  # written when it listens
    try:
        while not file.exists():
            time.sleep(0.005)
            assert process.poll() is None, f"the server of {checkout} has ended"
        ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        figures["`lume serve` to ready"] = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
        held = json.loads(file.read_text())
        yield held["base_url"], held["api_key"], process.pid
    finally:
        process.terminate()
        process.wait()


def measure(checkout: Path, runs: int, gets: int, many: int) -> dict[str, float]:
    """Return the figures of one turn, in seconds of processor time."""

    def output(program: str, *arguments: str) -> str:
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, cwd=folder, env=environment(checkout), check=True, capture_output=True)
        return done.stdout.decode()

    with tempfile.TemporaryDirectory(prefix="lume-compare-") as name:
        folder, figures = Path(name), dict[str, float]()
        (folder / "flows").mkdir()
        (folder / "flows/people.v1.toml").write_text(FLOW)
        (folder / "small").mkdir()
        rows = [f"{n},a{n}@example.org,{n * 37 % 911}.5\n" for n in range(100)]
        for source in ("first", *range(runs)):
            (folder / f"{source}.csv").write_text("".join(["id,email,amount\n", *rows]))
        for n in range(many):
            (folder / f"small/{n}.csv").write_text("".join(["id,email,amount\n", *rows[:20]]))
        for statement in IMPORTS:
            figures[statement] = float(output(IMPORT.format(statement)))
        figures |= json.loads(output(IN_THREAD))
        with serving(checkout, folder, figures) as (url, key, pid):
            figures |= json.loads(output(CLIENT, url, key, *map(str, (pid, runs, gets, many))))
    return figures


def compared(sides: Mapping[str, Path], rounds: int, *counts: int) -> dict[str, dict[str, list[float]]]:
    """Return the values of each figure by side, a pair for each turn."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: {side: [] for side in sides})
    for n in range(rounds):
        for side in sorted(sides, reverse=bool(n % 2)):
            for name, value in measure(sides[side], *counts).items():
                found[name][side].append(value)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("a", type=Path, metavar="CHECKOUT", help="the other checkout, A")
    parser.add_argument(
        "b", type=Path, nargs="?", default=THIS, metavar="B", help="in place of this checkout"
    )
    for option, default in (("--rounds", 6), ("--runs", 20), ("--gets", 500), ("--many", 0)):
        parser.add_argument(option, type=int, default=default, metavar="N")
    given = parser.parse_args()
    header("aiohttp", "duckdb")
    sides = {"A": given.a.resolve(), "B": given.b.resolve()}
    print(f"A {sides['A']}, B {sides['B']}: ms of CPU, the least of {given.rounds} turns\n")
    print(f"{'':32} {'A':>10} {'B':>10} {'median of B / A':>18}")
    for name, values in compared(sides, given.rounds, given.runs, given.gets, given.many).items():
        ratios = [b / a for a, b in zip(values["A"], values["B"], strict=True) if a]
        least = [min(values[side]) * 1000 for side in sides]
        print(f"{name:32} {least[0]:10.2f} {least[1]:10.2f} {statistics.median(ratios or [1]):18.3f}")


if __name__ == "__main__":
    main()
