"""How fast do rows come out of a server, and go in, and how much memory does the client need?

One run of `ROWS` rows (1,000,000) with seven columns; of `JSON_ROWS` (100,000) where each row is a dict. Each way is
measured in a process of its own, and the server is one, too.
"""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks._bench import header
from lume_async import Client

ROWS = int(os.environ.get("ROWS", "1000000"))
JSON_ROWS = int(os.environ.get("JSON_ROWS", "100000"))

FLOW = """
flow = "wide"
version = "v1"
source.format = "parquet"
target.mapped = "{data}/out/{run_id}.parquet"
[columns]
id.type = "integer"
name.type = "string"
price = {type = "number", sql_type = "DECIMAL(12,2)"}
day.format = "date"
at.format = "date-time"
ok.type = "boolean"
share.type = "number"
"""
SOURCE = """
SELECT i AS id, 'name ' || (i * 7919 % 1000003) AS name, CAST(i % 100000 AS DECIMAL(12,2)) / 100 AS price,
       DATE '2020-01-01' + CAST(i % 1000 AS INTEGER) AS day,
       TIMESTAMPTZ '2020-01-01 00:00:00+00' + to_seconds(i) AS at, i % 3 = 0 AS ok, i * 1.1e0 AS share
"""
SERVER = """
import asyncio, sys, lume_local

async def main(folder):
    async with lume_local.serve(flows=folder + "/flows", data=folder + "/data", roots=[folder]) as server:
        print(server.base_url, server.api_key, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main(sys.argv[1]))
"""


async def as_json(client: Client, run_id: str, folder: str) -> int:
    return len([None async for _ in client.attach(run_id).mapped(limit=JSON_ROWS)])


async def as_batches(client: Client, run_id: str, folder: str) -> int:
    return sum([batch.num_rows async for batch in client.attach(run_id).mapped().to_arrow_batches()])


async def as_table(client: Client, run_id: str, folder: str) -> int:
    table = await client.attach(run_id).mapped().to_arrow()
    return int(table.num_rows)


async def as_file(client: Client, run_id: str, folder: str) -> int:
    await client.attach(run_id).download("mapped", folder)
    return ROWS


def given(folder: str, rows: int) -> list[dict[str, object]]:
    import duckdb

    found = duckdb.sql(f"{SOURCE} FROM range({rows}) t(i)")
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


async def rows_in(client: Client, run_id: str, folder: str) -> int:
    rows = given(folder, JSON_ROWS)
    await timed(client.upload(rows, flow_version="wide:v1"))
    return JSON_ROWS


async def table_in(client: Client, run_id: str, folder: str) -> int:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(f"{folder}/source.parquet")
    await timed(client.upload(table, flow_version="wide:v1"))
    return ROWS


async def file_in(client: Client, run_id: str, folder: str) -> int:
    await timed(client.upload(f"{folder}/source.parquet", flow_version="wide:v1"))
    return ROWS


async def timed(work: Awaitable[object]) -> None:
    """Leave out what came before: the rows were there."""
    global begun
    begun = time.perf_counter()
    await work


WAYS: dict[str, Callable[[Client, str, str], Awaitable[int]]] = {
    "out: dicts, from JSON pages": as_json,
    "out: to_arrow_batches()": as_batches,
    "out: to_arrow()": as_table,
    "out: download() of the Parquet file": as_file,
    "in: upload() of a list of dicts": rows_in,
    "in: upload() of a pyarrow.Table": table_in,
    "in: upload() of a Parquet file": file_in,
}
begun = 0.0


async def way(name: str, url: str, key: str, run_id: str, folder: str) -> None:
    """One of them, in this process."""
    global begun
    async with Client(key, base_url=url, proxy=False) as client:
        await client.attach(run_id).refresh()
        cpu, begun = time.process_time(), time.perf_counter()
        count = await WAYS[name](client, run_id, folder)
        took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    print(
        f"{name:38} {count:>11,} {took:8.2f} s {count / took:13,.0f}/s {cpu:8.2f} s {peak:8.0f} MB",
        flush=True,
    )


def main() -> None:
    import duckdb

    header("aiohttp", "duckdb", "pyarrow", "nanoarrow")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "flows").mkdir()
        Path(folder, "flows", "wide.v1.toml").write_text(FLOW)
        duckdb.execute(
            f"COPY ({SOURCE} FROM range({ROWS}) t(i)) TO '{folder}/source.parquet' (FORMAT parquet)"
        )
        command = [sys.executable, "-c", SERVER, folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            url, key = server.stdout.readline().split()

            async def run() -> str:
                async with Client(key, base_url=url, proxy=False) as client:
                    done = await (await client.run("wide:v1", f"{folder}/source.parquet")).wait()
                    assert done.metadata.metrics.rows_mapped == ROWS
                    return done.id

            run_id = asyncio.run(run())
            print(f"{'':38} {'rows':>11} {'time':>10} {'rows':>15} {'client CPU':>10} {'peak':>11}")
            for name in WAYS:
                subprocess.run(
                    [sys.executable, "-m", "server.benchmarks.rows", name, url, key, run_id, folder],
                    check=True,
                )
            server.stdin.close()


if __name__ == "__main__":
    asyncio.run(way(*sys.argv[1:])) if len(sys.argv) > 1 else main()
