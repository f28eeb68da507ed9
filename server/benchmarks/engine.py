"""What does a run of the embedded server cost, beside the same columns by DuckDB's COPY, polars and pandas?

Each contestant is a process of its own, so that its start and its imports count: CPU seconds of it and all its
children, and the most memory that they had together. Only the engine judges every row, writes rejects and proves
its account; COPY, polars and pandas make NULLs of bad values and write Parquet.

`its run` is what the engine's run alone takes, on a server that is there already, with its spare worker.

Then how that grows with the rows, and what a run of 100 rows costs on a server that is there already, one at a time
and eight at once.

On Linux only. Rows: 10,000, 100,000 and 1,000,000, or what `ROWS=100000,10000000` says; `ONLY=engine,COPY` leaves the
others out, but for COPY, which all are compared with (pandas needs 6 GB for ten million rows).
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise

from benchmarks._bench import ROUNDS, header, interleaved, table, version

ROWS = [int(count) for count in os.environ.get("ROWS", "10000,100000,1000000").split(",")]
ONLY = os.environ.get("ONLY", "engine,COPY,polars,pandas").split(",")
SMALL, SMALL_RUNS, LANES = 100, 64, 8
"""Rows of a small run, how many runs are timed, and how many of them at once."""
PAGE = os.sysconf("SC_PAGE_SIZE")
ITS_RUN = "its run"
"""A contestant that is a part of another one, and the file in which that one leaves what it took."""
PROBE = 0.01
"""Seconds between two looks at the memory."""
CALM = 0.5
"""Seconds in which nothing works once a server has started."""
FLOW = """
flow = "people"
version = "v1"
[source]
format = "csv"
[columns.id]
type = "integer"
required = true
[columns.name]
sql = 'trim(name)'
[columns.day]
format = "date"
[columns.amount]
type = "number"
sql_type = "DECIMAL(12,2)"
"""


def write_source(folder: pathlib.Path, rows: int) -> None:
    """About 60 bytes a row; one of a hundred has a bad number."""
    (folder / "flows").mkdir()
    (folder / "flows" / "people.toml").write_text(FLOW)
    with (folder / "in.csv").open("w") as file:
        file.write("id,name,day,amount,note\n")
        for n in range(rows):
            number = "x" if n % 100 == 7 else str(n)
            day = f"20{n % 25:02}-{n % 12 + 1:02}-{n % 28 + 1:02}"
            file.write(f'{number}, Name {n % 977} ,{day},{n % 100_000}.{n % 100:02},"a note, number {n}"\n')


def by_engine() -> None:
    import lume_local

    with lume_local.serve_in_thread(flows="flows") as server, server.client() as client:
        client.run("people:v1", "few.csv", force_rerun=True).wait()  # starts the worker
        used, before = cpu_of_tree(os.getpid()), 0.0
        while used > before + 0.01:  # the server starts a spare worker
            time.sleep(CALM)
            used, before = cpu_of_tree(os.getpid()), used
        began = time.perf_counter()
        run = client.run("people:v1", "in.csv", force_rerun=True).wait()
        wall, cpu = time.perf_counter() - began, cpu_of_tree(os.getpid()) - used
        pathlib.Path(ITS_RUN).write_text(f"{wall} {cpu}")
        metrics = run.metadata.metrics
        if metrics.rows_read != metrics.rows_mapped + metrics.rows_rejected or not metrics.rows_rejected:
            raise SystemExit(f"the run is {run.status}: {run.error_message}")


def small_runs() -> None:
    """Latency, rate and CPU time of small runs; the start of the server doesn't count."""
    import lume_local

    with lume_local.serve_in_thread(flows="flows") as server, server.client() as client:

        def once(lane: int = 0) -> float:
            began = time.perf_counter()
            client.run("people:v1", f"{lane}.csv", force_rerun=True).wait()
            return time.perf_counter() - began

        for lane in range(LANES):  # the first runs start workers
            once(lane)
        used, began = cpu_of_tree(os.getpid()), time.perf_counter()
        waits = [once() for _ in range(SMALL_RUNS)]
        each = (time.perf_counter() - began) / SMALL_RUNS
        used = (cpu_of_tree(os.getpid()) - used) / SMALL_RUNS
        began = time.perf_counter()
        with ThreadPoolExecutor(LANES) as threads:
            list(threads.map(lambda lane: [once(lane) for _ in range(SMALL_RUNS // LANES)], range(LANES)))
        rate = SMALL_RUNS / (time.perf_counter() - began)
    print(f"{statistics.median(waits) * 1e3:.1f} ms p50, {used * 1e3:.1f} CPU-ms each;", end=" ")
    print(f"{1 / each:.1f} runs/s one at a time, {rate:.1f} with {LANES} at once")


def cpu_of_tree(pid: int) -> float:
    """CPU seconds of a process and its children, those that have ended too."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    mine = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return mine + sum(map(cpu_of_tree, children_of(pid)))


def by_copy() -> None:
    import duckdb

    columns = "{'id': 'VARCHAR', 'name': 'VARCHAR', 'day': 'VARCHAR', 'amount': 'VARCHAR', 'note': 'VARCHAR'}"
    duckdb.sql(
        "COPY (SELECT TRY_CAST(id AS BIGINT) AS id, trim(name) AS name, TRY_CAST(day AS DATE) AS day, "
        "TRY_CAST(amount AS DECIMAL(12,2)) AS amount "
        f"FROM read_csv('in.csv', auto_detect=false, header=true, columns={columns})) "
        "TO 'out.parquet' (FORMAT parquet, COMPRESSION zstd)"
    )


def by_polars() -> None:
    import polars

    column = polars.col
    polars.scan_csv("in.csv", infer_schema=False).select(
        column("id").cast(polars.Int64, strict=False),
        column("name").str.strip_chars(),
        column("day").str.to_date("%Y-%m-%d", strict=False),
        column("amount").cast(polars.Decimal(12, 2), strict=False),
    ).sink_parquet("out.parquet", compression="zstd")


def by_pandas() -> None:
    import duckdb
    import pandas

    frame = pandas.read_csv("in.csv", dtype=str)
    made = pandas.DataFrame(
        {
            "id": pandas.to_numeric(frame["id"], errors="coerce").astype("Int64"),
            "name": frame["name"].str.strip(),
            "day": pandas.to_datetime(frame["day"], format="%Y-%m-%d", errors="coerce"),
            "amount": pandas.to_numeric(frame["amount"], errors="coerce").round(
                2
            ),  # a double: it has no decimals
        }
    )
    duckdb.sql("COPY made TO 'out.parquet' (FORMAT parquet, COMPRESSION zstd)")
    assert len(made) == len(frame)


CONTESTANTS: dict[str, Callable[[], None]] = {
    "engine": by_engine,
    "COPY": by_copy,
    "polars": by_polars,
    "pandas": by_pandas,
}


def measured(command: Sequence[str], folder: pathlib.Path) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and the most MB of a process with all its children."""
    began, most = time.perf_counter(), 0
    process = subprocess.Popen(command, cwd=folder)
    while True:
        pid, status, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        most = max(most, memory(process.pid))
        time.sleep(PROBE)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, most / 1e6


def children_of(pid: int) -> list[int]:
    """The processes that it has started and that are there."""
    paths = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in paths for child in path.read_text().split()]


def memory(pid: int) -> int:
    """Bytes of a process and its children now; what several of them share counts for each."""
    try:
        pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * PAGE + sum(map(memory, children_of(pid)))
    except OSError:  # it has ended
        return 0


def compare(rows: int) -> dict[str, tuple[float, float]]:
    """All contestants on one file: the medians of CPU seconds and MB of each."""
    walls: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_source(folder, rows)
        with (folder / "in.csv").open("rb") as source:
            (folder / "few.csv").write_bytes(b"".join(islice(source, SMALL)))
        its_walls, its_run = list[float](), list[float]()

        def once(contestant: str) -> float:
            command = [sys.executable, "-m", "server.benchmarks.engine", contestant]
            wall, cpu, peak = measured(command, folder)
            walls.setdefault(contestant, []).append(wall)
            peaks.setdefault(contestant, []).append(peak)
            if contestant == "engine":
                for its, value in zip(
                    (its_walls, its_run), (folder / ITS_RUN).read_text().split(), strict=True
                ):
                    its.append(float(value))
            return cpu

        missing = {name for name in ("polars", "pandas") if version(name) is None}
        names = [name for name in CONTESTANTS if name in ONLY and name not in missing]
        cpus = interleaved({name: lambda name=name: once(name) for name in names})  # type: ignore[misc]
    print(f"\n{rows:,} rows, {ROUNDS} rounds")
    table(cpus | ({ITS_RUN: its_run} if its_run else {}), "COPY", unit="CPU s")
    table(walls | ({ITS_RUN: its_walls} if its_run else {}), "COPY", unit="s")
    table(peaks, "COPY", unit="MB")
    return {name: (statistics.median(cpus[name]), statistics.median(peaks[name])) for name in names}


def show_growth(found: dict[int, dict[str, tuple[float, float]]]) -> None:
    """What a million rows more cost, which leaves out what a process costs that does nothing."""
    print(f"\n{'rows':>24} {'':10} {'CPU s':>8} {'MB':>8} {'CPU s per million more':>24} {'x COPY':>8}")
    for fewer, more in pairwise(found):
        slopes = {
            name: (found[more][name][0] - cpu) / (more - fewer) * 1e6
            for name, (cpu, _) in found[fewer].items()
        }
        for name, slope in slopes.items():
            cpu, peak = found[more][name]
            ratio = slope / slopes["COPY"]
            print(f"{more:24,} {name:10} {cpu:8.1f} {peak:8.0f} {slope:24.2f} {ratio:8.2f}")


def time_small_runs() -> None:
    """In a process of its own, which has no other children."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_source(folder, SMALL)
        for lane in range(LANES):
            (folder / f"{lane}.csv").write_bytes((folder / "in.csv").read_bytes())
        print(f"\nruns of {SMALL} rows: ", end="", flush=True)
        subprocess.run([sys.executable, "-m", "server.benchmarks.engine", "small"], cwd=folder, check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {**CONTESTANTS, "small": small_runs}[sys.argv[1]]()
    else:
        header("lume-client", "duckdb", "polars", "pandas")
        show_growth({count: compare(count) for count in ROWS if count})
        time_small_runs()
