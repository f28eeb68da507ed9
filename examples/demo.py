"""Clean a messy customer list twice, with the async and with the sync API: ./scripts/demo

Every line is printed from what the embedded server really did; it runs on this machine and keeps its output.
"""

import asyncio
import csv
import io
import itertools
import sys
import tempfile
import time
from pathlib import Path

import duckdb

import lume_async
import lume_local
import lume_sync
from lume_async import RunMetadata

EXAMPLES = Path(__file__).resolve().parent
FLOWS = EXAMPLES / "flows"
SOURCE = EXAMPLES / "data" / "customers.csv"
FLOW_VERSION = "customer_cleaner:v1"


async def with_async(data: Path) -> None:
    lume = lume_async
    title("import lume_async as lume")
    async with lume_local.serve(flows=FLOWS, data=data, roots=[SOURCE.parent]) as server:
        lume.init(api_key=server.api_key, base_url=server.base_url)
        print(f"embedded server on {server.base_url}")

        begun = time.perf_counter()
        run = await lume.run(FLOW_VERSION, str(SOURCE), run_metadata={"asked_by": "demo"})
        heading(f"{run.id}: {FLOW_VERSION} on {SOURCE.name}")
        show_status(begun, f"{run.status} (submitted)")
        async for snapshot in run.watch():
            show_status(begun, f"{snapshot.status}")

        show_metrics(run.metadata)
        show_reasons(run.metadata)
        if run.rejects_location:
            heading(f"the first rejected rows of {run.rejects_location}")
            show_rejects(Path(run.rejects_location))
        if run.mapped_location:
            heading(f"the first mapped rows of {run.mapped_location}")
            show_rows(run.mapped_location)

        heading("the same source once more")
        try:
            await lume.run(FLOW_VERSION, str(SOURCE))
        except lume.DuplicateRunError as error:
            print(f"  refused: {error}")
        again = await lume.run(FLOW_VERSION, str(SOURCE), force_rerun=True)
        await again.wait()
        print(f"  with force_rerun=True: {again.id} {again.status}")
        await lume.aclose()


def with_sync(data: Path) -> None:
    lume = lume_sync
    title("import lume_sync as lume")
    with lume_local.serve_in_thread(flows=FLOWS, data=data, roots=[SOURCE.parent]) as server:
        lume.init(api_key=server.api_key, base_url=server.base_url)
        print(f"embedded server on {server.base_url}")

        begun = time.perf_counter()
        run = lume.run(FLOW_VERSION, str(SOURCE), run_metadata={"asked_by": "demo"})
        heading(f"{run.id}: {FLOW_VERSION} on {SOURCE.name}")
        show_status(begun, f"{run.status} (submitted)")
        for snapshot in run.watch():
            show_status(begun, f"{snapshot.status}")
        show_metrics(run.metadata)

        heading("the same source once more")
        try:
            lume.run(FLOW_VERSION, str(SOURCE))
        except lume.DuplicateRunError as error:
            print(f"  refused: {error}")
        again = lume.run(FLOW_VERSION, str(SOURCE), force_rerun=True)
        again.wait()
        print(f"  with force_rerun=True: {again.id} {again.status}")
        lume.close()


def title(text: str) -> None:
    print(f"\n=== {text} {'=' * (92 - len(text))}")


def heading(text: str) -> None:
    print(f"\n{text}")


def show_status(begun: float, text: str) -> None:
    print(f"  {time.perf_counter() - begun:6.3f} s  {text}")


def show_metrics(metadata: RunMetadata) -> None:
    found = metadata.metrics
    print(
        f"\n  {found.rows_read:,} rows read = {found.rows_mapped:,} mapped + {found.rows_rejected:,} rejected"
    )


def show_reasons(metadata: RunMetadata) -> None:
    heading("why rows were rejected (a row may have several reasons)")
    for reason, count in sorted(metadata.metrics.reject_reasons.items(), key=lambda item: -item[1]):
        print(f"  {count:5,}  {reason}")
    heading("mapped all the same, with a warning")
    for reason, count in metadata["metrics"].get("warnings", {}).items():
        print(f"  {count:5,}  {reason}")


def show_rows(file: str) -> None:
    for row in duckdb.read_parquet(file).limit(4).fetchall():
        print("  " + " | ".join("" if value is None else str(value) for value in row))


def show_rejects(file: Path, rows: int = 4) -> None:
    with file.open(newline="", encoding="utf-8") as lines:
        for row in itertools.islice(csv.DictReader(lines), rows):
            source = " | ".join(value for name, value in row.items() if not name.startswith("_lume"))
            print(f"  {source}\n      {row['_lume_reasons']}")


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the names have accents, an old terminal may have none
    folder = Path(tempfile.mkdtemp(prefix="lume-demo-"))
    asyncio.run(with_async(folder / "async"))
    with_sync(folder / "sync")
    print(f"\nThe output is yours to look at, and to delete: {folder}")
