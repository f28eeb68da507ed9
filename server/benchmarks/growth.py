"""How does the cost of what a server does grow with what it holds? CPU time at n and at 10 n, and the exponent.

    python -m server.benchmarks.growth [--beside ../older] [--rounds 3] [--small] [PART OF A NAME …]

The exponent is log(cost at 10 n / cost at n) / log(10): 0 for a read of one page, 1 for what reads or writes all.
Each figure is the least of the rounds, measured in a process and a folder of its own. An older checkout is measured
by the same cases; a case that it can't do has no figure there. `--small` divides every n by ten.
"""

import argparse
import asyncio
import json
import math
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, cast

THIS = Path(__file__).parents[2]
TIMES = 20
"""Requests of each kind."""
TINY = 'flow = "tiny"\nversion = "v1"\n[columns.id]\ntype = "integer"\n'
Costs = dict[str, float]
"""Seconds of CPU time, by name."""


def bench(name: str) -> Any:
    """Return another benchmark of the checkout that is measured; an older one has them elsewhere."""
    try:
        return import_module(f"server.benchmarks.{name}")
    except ModuleNotFoundError:
        return import_module(f"benchmarks.{name}")


def spent() -> float:
    """Return the CPU seconds of this process and of the children that have ended."""
    mine, theirs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime


def cost(work: Callable[[], object], times: int = 1) -> float:
    before = spent()
    for _ in range(times):
        work()
    return (spent() - before) / times


@contextmanager
def serving(home: Path) -> Iterator[Any]:
    import lume_local

    with lume_local.serve_in_thread(home / "flows", home / ".lume", [home], max_active=1) as server:
        yield server


def gets(server: Any, **paths: str) -> Costs:
    """Return the cost of each request, with that of the client that sends it."""

    def get(path: str) -> bytes:
        headers = {"lume-api-key": server.api_key}
        with urllib.request.urlopen(
            urllib.request.Request(server.base_url + path, headers=headers)
        ) as answer:
            return cast(bytes, answer.read())

    for path in paths.values():
        get(path)
    return {name.replace("_", " "): cost(lambda path=path: get(path), TIMES) for name, path in paths.items()}  # type: ignore[misc]


def wide(home: Path, count: int) -> dict[str, Any]:
    """Return a flow of `count` columns, and write a file that it reads."""
    names = [f"column_{n}" for n in range(count)]
    (home / "wide.csv").write_text(f"{','.join(names)}\n" + f"{','.join('7' for _ in names)}\n" * 20)
    return {"flow": "wide", "version": "v1", "columns": {name: {"minLength": 1} for name in names}}


def columns(home: Path, count: int) -> Costs:
    from lume_local._flow.definition import read_definition
    from lume_local._worker.connection import connect

    compiler = "compiler" if find("lume_local._worker.compiler") else "compile"
    compile_flow = import_module(f"lume_local._worker.{compiler}.compile").compile_flow
    definition = wide(home, count)
    with connect() as connection:
        compiling = cost(lambda: compile_flow(connection, read_definition(definition)))
    (home / "flows/wide.toml").write_text(
        'flow = "wide"\nversion = "v1"\n'
        + "".join(f"[columns.{name}]\nminLength = 1\n" for name in definition["columns"])
    )

    def run() -> None:
        with serving(home) as server, server.client() as client:
            client.run("wide:v1", "wide.csv").wait()

    running = cost(run)
    return {"compiling a flow of n columns": compiling, "a start with it, and a run": running}


def find(module: str) -> bool:
    with suppress(ModuleNotFoundError):
        import_module(module)
        return True
    return False


def mapping(home: Path, count: int) -> Costs:
    import lume_local

    target, sample = wide(home, count), home / "wide.csv"
    return {"proposing a mapping of n columns": cost(lambda: asyncio.run(lume_local.propose(target, sample)))}


def files(home: Path, count: int) -> Costs:
    (home / "in").mkdir()
    for n in range(count):
        (home / f"in/{n}.csv").write_text("id\n1\n")
    source = '[source]\nuri = "{source_path}/*.csv"\n'
    (home / "flows/many.toml").write_text(
        TINY.replace("tiny", "many").replace("[columns", f"{source}[columns")
    )

    def run() -> None:
        with serving(home) as server, server.client() as client:
            client.run("many:v1", "in").wait()

    return {"a run of n globbed files": cost(run)}


def versions(home: Path, count: int) -> Costs:
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite")) as db:
        db.execute(
            f"""WITH RECURSIVE c(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM c WHERE n < {count})
            INSERT INTO flow_versions SELECT 'tiny:v' || n, content_hash || n,
            replace(definition, '"v1"', '"v' || n || '"'), compiled, compiled_by, created_at
            FROM c, flow_versions WHERE ref = 'tiny:v1'"""
        )
        db.commit()

    def start() -> None:
        with serving(home):
            pass

    starting = cost(start)
    with serving(home) as server, server.client() as client:
        found = gets(
            server, a_page_of_versions="/v1/flows?limit=50", one_version="/v1/flows/tiny/versions/v1"
        )
        new = iter(range(count + 1, count + 2 + TIMES))

        def register() -> None:
            name = f"v{next(new)}"
            client.register_flow({"flow": "tiny", "version": name, "columns": {"id": {"type": "integer"}}})

        register()
        found["registering one of n versions"] = cost(register, TIMES // 4)
        (home / "second.csv").write_text("id\n1\n")
        found["a run of one of n versions"] = cost(lambda: client.run("tiny:v1", "second.csv").wait())
    return {"a start and an end with n versions": starting} | found


def open_rows(home: Path, count: int) -> Costs:
    return inbox(home, count, runs=100, reasons=8)


def runs_with_rejects(home: Path, count: int) -> Costs:
    return {
        f"{name}, each of a run": took for name, took in inbox(home, count, runs=count, reasons=1).items()
    }


def inbox(home: Path, count: int, runs: int, reasons: int) -> Costs:
    from lume_local._runs.sqlite.sqlite_store import SqliteStore

    old = bench("inbox")
    old.OPEN, old.RUNS, old.REASONS = count, runs, reasons
    store = SqliteStore(home / "inbox.sqlite")

    async def all_of_it() -> tuple[float, float]:
        filling = spent()
        await old.fill(store)
        filling = spent() - filling
        reading = spent()
        for _ in range(TIMES):
            await store.ledger.inbox(None, "2026")
        return filling, (spent() - reading) / TIMES

    filling, reading = asyncio.run(all_of_it())
    store.close()
    return {"noting n open rows": filling, "the inbox of n open rows": reading}


def pages(home: Path, count: int) -> Costs:
    bench("history").filled(home, count)
    since = "2000-01-01T00:00:00Z"
    with serving(home) as server:
        while "backup_age" not in str(urllib.request.urlopen(f"{server.base_url}/healthz").read()):
            time.sleep(0.2)  # it copies its state at its start
        return gets(
            server,
            the_runs="/v1/runs?limit=50",
            the_runs_of_a_flow="/v1/runs?limit=50&flow=tiny",
            the_failed_runs="/v1/runs?limit=50&status=FAILED",
            the_runs_of_a_key_that_has_none="/v1/runs?limit=50&submitted_by=nobody",
            the_runs_by_part_of_a_source_that_none_has="/v1/runs?limit=50&source=zzz",
            the_changes="/v1/changes?limit=50",
            the_flows="/v1/flows?limit=50",
            the_inbox="/v1/inbox",
            the_arrivals="/v1/arrivals?limit=50",
            the_statistics_of_all_time=f"/v1/statistics?by=flow_version&since={since}",
        )


CASES: list[tuple[Callable[[Path, int], Costs], int]] = [
    (columns, 500),
    (mapping, 50),
    (files, 100),
    (versions, 1000),
    (open_rows, 100_000),
    (runs_with_rejects, 1000),
    (pages, 10_000),
]
"""The cases, each with the smaller n."""


def child(case: Callable[[Path, int], Costs], count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "flows").mkdir()
        (home / "flows/tiny.toml").write_text(TINY)
        (home / "first.csv").write_text("id\n1\n")
        with serving(home) as server, server.client() as client:
            client.run("tiny:v1", "first.csv").wait()
        print("\n" + json.dumps(case(home, count)))


def measured(checkout: Path, case: Callable[[Path, int], Costs], count: int) -> Costs:
    """Return the figures of a case in another process; empty if the checkout can't do it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LUME_", "PYTHON"))}
    paths = os.pathsep.join(map(str, (checkout, checkout / "server")))
    command = [sys.executable, "-P", __file__, "--child", case.__name__, str(count)]
    done = subprocess.run(
        command, env=kept | {"PYTHONPATH": paths}, capture_output=True, text=True, cwd=checkout
    )
    if done.returncode:
        print(f"  {checkout.name}: {case.__name__}({count}) failed: {done.stderr.strip()[-200:]}", flush=True)
        return {}
    return cast(Costs, json.loads(done.stdout.strip().rpartition("\n")[2]))


def least(checkout: Path, case: Callable[[Path, int], Costs], count: int, rounds: int) -> Costs:
    each = [measured(checkout, case, count) for _ in range(rounds)]
    return {name: min(one[name] for one in each if one) for name in next(filter(None, each), {})}


def figure(small: float | None, large: float | None) -> str:
    if not small or not large:
        return "- | - | -"
    return f"{small * 1000:,.1f} | {large * 1000:,.1f} | {math.log10(large / small):.2f}"


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--beside", type=Path)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--small", action="store_true")
    arguments.add_argument("--child", nargs=2)
    arguments.add_argument("cases", nargs="*")
    given = arguments.parse_args()
    by_name = {case.__name__: case for case, _ in CASES}
    if given.child:
        return child(by_name[given.child[0]], int(given.child[1]))
    sides = [THIS] + ([given.beside.resolve()] if given.beside else [])
    head = "| n | CPU ms at n | at 10 n | exponent |" + " at n | at 10 n | exponent |" * (len(sides) - 1)
    print(f"| {head}\n|{'---|' * head.count('|')}", flush=True)
    for case, size in CASES:
        if given.cases and not any(part in case.__name__ for part in given.cases):
            continue
        count = size // 10 if given.small else size
        found = [[least(side, case, n, given.rounds) for n in (count, 10 * count)] for side in sides]
        for name in found[0][1]:
            figures = " | ".join(figure(one.get(name), ten.get(name)) for one, ten in found)
            print(f"| {name} | {count:,} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
