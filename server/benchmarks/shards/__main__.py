"""What does a run over shards cost, on the pool and on clusters of this machine, beside the same run of one worker?

    .components/engines/bin/python -m server.benchmarks.shards       # Dask, Spark and Ray, too: ./scripts/components
    ROWS=2000000,10000000 python -m server.benchmarks.shards
    python -m server.benchmarks.shards growth                        # the pool by the number of shards

Each contestant is a process of its own that starts its cluster, a server, and makes one run. CPU seconds and memory
are those of all processes that come of it; what starting costs is measured with a file of ten rows, and taken off.
Every engine has two slots. On Linux only.
"""

import ctypes
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from benchmarks._bench import header
from server.benchmarks.engine import PROBE, memory, write_source

ROWS = [int(count) for count in os.environ.get("ROWS", "2000000").split(",")]
SHARDS = int(os.environ.get("SHARDS", "4"))
SLOTS = 2
NEEDS = {"one worker": None, "pool": None, "dask": "distributed", "spark": "pyspark", "ray": "ray"}
PATIENCE = 20.0
"""Seconds that the processes of a cluster get to end by themselves."""
_PR_SET_CHILD_SUBREAPER = 36
Figures = dict[str, float]


@contextmanager
def engine(name: str) -> Iterator[str | None]:
    """The URL of a cluster that is there as long as the block lasts."""
    match name:
        case "one worker":
            yield None
        case "pool":
            yield f"pool://{SLOTS}"
        case "dask":
            from distributed import LocalCluster

            with LocalCluster(n_workers=SLOTS, threads_per_worker=1, dashboard_address=None) as cluster:
                yield cluster.scheduler_address.replace("tcp:", "dask:")
        case "spark":
            yield f"spark-local://{SLOTS}"
        case _:
            yield f"{name}://local"


def run(name: str, source: str, shards: int) -> None:
    """The contestant: prints how long the run took, and what it gave."""
    import lume_local

    with engine(name) as url:
        options = {} if url is None else {"engine": url, "shard_bytes": _shard_bytes(source, shards)}
        with lume_local.serve_in_thread(flows="flows", **options) as server, server.client() as client:
            began = time.perf_counter()
            run = client.run("people:v1", source, force_rerun=True).wait()
            wall, metrics = time.perf_counter() - began, run.metadata.metrics
    if not metrics.rows_mapped:
        raise SystemExit(f"the run is {run.status}: {run.metadata.error_message}")
    print(json.dumps({"s": wall, "rows": metrics.rows_mapped, "rejects": metrics.rows_rejected}))


def _shard_bytes(source: str, shards: int) -> int:
    return max(1024, -(-os.path.getsize(source) // shards))


def measured(folder: pathlib.Path, name: str, source: str, shards: int) -> Figures:
    """The run's own figures, the CPU seconds of all its processes, and the most MB that they had together."""
    command = [sys.executable, "-m", "server.benchmarks.shards", "run", name, source, str(shards)]
    before, most = resource.getrusage(resource.RUSAGE_CHILDREN), 0
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            most = max(most, memory(os.getpid()) - memory_of_this())
            time.sleep(10 * PROBE)
        assert process.stdout is not None
        said = process.stdout.read()
    if process.returncode:
        raise SystemExit(f"{name} ended with {process.returncode}: {' '.join(command)}")
    reap()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**json.loads(said.splitlines()[-1]), "cpu": cpu, "MB": most / 1e6}


def memory_of_this() -> int:
    """Bytes of this process alone."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def reap() -> None:
    """Wait for what a cluster has left behind, and end what doesn't end by itself: only then it is counted."""
    limit = time.monotonic() + PATIENCE
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            if time.monotonic() > limit:
                for child in pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                    os.kill(int(child), signal.SIGKILL)
            time.sleep(PROBE)


def compare(rows: int, names: list[str], counts: list[int]) -> None:
    """Every contestant on one file, split into each of so many shards."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_source(folder, rows)
        with (folder / "in.csv").open() as whole:
            (folder / "few.csv").write_text("".join(line for line, _ in zip(whole, range(11), strict=False)))
        size = os.path.getsize(folder / "in.csv")
        print(f"\n{rows:,} rows, {size / 1e6:,.0f} MB, {SLOTS} slots; starting is taken off the CPU seconds")
        print(f"{'':14} {'shards':>6} {'s':>7} {'CPU s':>7} {'x one':>6} {'MB':>6} {'starting, CPU s':>16}")
        base = 0.0
        for contestant in names:
            start = measured(folder, contestant, "few.csv", 1)["cpu"]
            for shards in [1] if contestant == "one worker" else counts:
                found = measured(folder, contestant, "in.csv", shards)
                cpu = found["cpu"] - start
                base = base or cpu
                line = f"{contestant:14} {shards:6} {found['s']:7.1f} {cpu:7.1f} {cpu / base:6.2f}"
                print(f"{line} {found['MB']:6.0f} {start:16.1f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["run"]:
        run(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
        header("lume-client", "duckdb", "distributed", "pyspark", "ray")
        there = [name for name, module in NEEDS.items() if module is None or find_spec(module)]
        is_growth = sys.argv[1:2] == ["growth"]
        for count in ROWS:
            compare(count, there[:2] if is_growth else there, [2, 4, 8, 16] if is_growth else [SHARDS])
