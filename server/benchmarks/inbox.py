"""What do ten million open rejected rows cost: to open the inbox, in the state file, and to replay?

`the inbox` is the request of `lume inbox` on a state with OPEN rows (ten million) of RUNS runs (1,000), with
REASONS reasons (8), two of them for a quarter of the rows. It is made without sources, by what a worker reports.

`replay` sends ROWS rejected rows (one million) of FILES runs (20) through a version that accepts them, and
`plain run` is a run of that version on one file with the same rows. Seconds of the clock, and CPU seconds of the
server and its workers.
"""

import asyncio
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lume_local
from benchmarks._bench import ROUNDS, header
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.records import NewRun
from lume_local._shared.row_set import as_text, row_set
from lume_sync import Client

OPEN, RUNS, REASONS = (
    int(os.environ.get(name, n)) for name, n in (("OPEN", 10**7), ("RUNS", 1000), ("REASONS", 8))
)
ROWS, FILES = (int(os.environ.get(name, n)) for name, n in (("ROWS", 10**6), ("FILES", 20)))
FLOW = """
flow = "people"
version = "{version}"
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
[columns.mail]
{rule}
"""


async def fill(store: SqliteStore) -> None:
    """Runs with rejects, each with as many."""
    dice, count = random.Random(1), OPEN // RUNS
    for number in range(RUNS):
        each: list[list[int]] = [[] for _ in range(REASONS)]
        for row in range(count):
            for reason in {dice.randrange(REASONS) for _ in range(1 + (row % 4 == 0))}:
                each[reason].append(row)
        sets = {f"column{n}: is not valid": as_text(row_set(rows, count)) for n, rows in enumerate(each)}
        new = NewRun(f"flow{number % 10}:v1", f"{number}.csv", f"/{number}.csv", None, False, None, "x")
        run, _ = await store.create(new)
        figures = {"rows_read": 2 * count, "rows_mapped": count, "rows_rejected": count}
        now = "2026-01-01T00:00:00.000000Z"
        await store.update(run, "PARTIAL_FAILED", metrics=figures, ledger={"reasons": sets}, finished_at=now)


async def the_inbox(path: Path) -> None:
    store = SqliteStore(path)
    before = path.stat().st_size
    began = time.perf_counter()
    await fill(store)
    print(f"{OPEN:,} open rows of {RUNS:,} runs, entered in {time.perf_counter() - began:.1f} s")
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    print(f"state file: {(path.stat().st_size - before) / OPEN:.2f} bytes a row, runs included")
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        found = await store.ledger.inbox(None, "2026")
        accounts = [await store.ledger.account(one.flow) for one in found if one.reason is None]
        taken.append(time.perf_counter() - began)
    assert sum(one.open for one in accounts) == OPEN // RUNS * RUNS
    print(f"opening the inbox ({len(found)} flows and reasons): {statistics.median(taken) * 1000:.1f} ms")
    store.close()


def line(n: int) -> str:
    day = f"20{n % 25:02}-{n % 12 + 1:02}-{n % 28 + 1:02}"
    return f"{n}, Name {n % 977} ,{day},{n % 100_000}.{n % 100:02},nobody{n}\n"


def write(path: Path, numbers: range, good: int = 0) -> None:
    with path.open("w") as file:
        file.write("id,name,day,amount,mail\n")
        file.writelines(map(line, numbers))
        file.writelines(line(-n - 1).rpartition(",")[0] + ",a@example.org\n" for n in range(good))


def cpu(pid: int) -> float:
    """CPU seconds of a process and all below it, those that have ended too."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(entry.name) == pid or int(fields[1]) == pid:
                total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return total


def timed(work: Callable[[], None]) -> tuple[float, float]:
    began, used = time.perf_counter(), cpu(os.getpid())
    work()
    return time.perf_counter() - began, cpu(os.getpid()) - used


def replays(home: Path) -> None:
    (home / "flows").mkdir()
    (home / "flows/v1.toml").write_text(FLOW.format(version="v1", rule='format = "email"'))
    (home / "flows/v2.toml").write_text(FLOW.format(version="v2", rule=""))
    share = ROWS // FILES
    for n in range(FILES):
        write(home / f"{n}.csv", range(n * share, (n + 1) * share), good=10)
    write(home / "all.csv", range(ROWS))
    with (
        lume_local.serve_in_thread(
            flows=home / "flows", data=home / ".lume", roots=[home], max_active=1
        ) as server,
        server.client() as client,
    ):
        for n in range(FILES):
            run = client.run("people:v1", f"{n}.csv").wait()
            assert run.metadata.metrics.rows_rejected == share, run.metadata.metrics
        report(client)


def report(client: Client) -> None:
    def plain() -> None:
        run = client.run("people:v2", "all.csv").wait()
        assert run.metadata.metrics.rows_mapped == ROWS

    def replay() -> None:
        replay = client.replay("people", to="people:v2")
        (outcome,) = client.wait_all(replay.run_ids)
        assert outcome.result().metadata.metrics.rows_mapped == ROWS, outcome

    client.dry_run("people:v2", "0.csv")  # starts the workers
    its, mine = timed(plain), timed(replay)
    print(f"\n{ROWS:,} rows of {FILES} runs      seconds   CPU s")
    print(f"plain run                 {its[0]:10.2f} {its[1]:7.2f}")
    print(f"replay                    {mine[0]:10.2f} {mine[1]:7.2f}")
    print(f"ratio                     {mine[0] / its[0]:10.2f} {mine[1] / its[1]:7.2f}")
    assert client.inbox().flows == [], "every row was accepted"


if __name__ == "__main__":
    header("duckdb")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(the_inbox(Path(folder) / "runs.sqlite"))
        (home := Path(folder) / "home").mkdir()
        replays(home)
