"""Clean a messy customer list twice, with the async and with the sync API: ./scripts/demo

Every line is printed from what the embedded server really did; it runs on this machine and keeps its output.
"""

import asyncio
import csv
import io
import itertools
import os
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterable
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
ROWS, WIDTH = 3, 80
BOLD, RED, GREEN, DIM = "1", "31", "32", "2"
IN_COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


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
        if run.mapped_location:
            heading(f"{ROWS} rows before (-) and after (+)")
            show_rows(run.mapped_location)
        if run.rejects_location:
            heading(f"{ROWS} rejected rows, each with its reason")
            show_rejects(Path(run.rejects_location))
        show_reasons(run.metadata)

        heading("the same source once more")
        try:
            await lume.run(FLOW_VERSION, str(SOURCE))
        except lume.DuplicateRunError as error:
            show_refusal(error)
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
            show_refusal(error)
        again = lume.run(FLOW_VERSION, str(SOURCE), force_rerun=True)
        again.wait()
        print(f"  with force_rerun=True: {again.id} {again.status}")
        lume.close()


def paint(text: str, colour: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if IN_COLOUR else text


def line(text: str, colour: str) -> None:
    """One line of the terminal, cut off where that ends."""
    print(paint(text if len(text) <= WIDTH else text[: WIDTH - 1] + "…", colour))


def title(text: str) -> None:
    print()
    line(f"=== {text} ".ljust(WIDTH, "="), BOLD)


def heading(text: str) -> None:
    print()
    line(text, BOLD)


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
    before = SOURCE.read_text(encoding="utf-8").splitlines()[1 : 1 + ROWS]
    after = duckdb.read_parquet(file).limit(ROWS).fetchall()
    for raw, row in zip(before, after, strict=True):
        line(f"- {raw}", RED)
        line(f"+ {as_csv('' if value is None else value for value in row)}", GREEN)


def show_rejects(file: Path) -> None:
    with file.open(newline="", encoding="utf-8") as lines:
        for row in itertools.islice(csv.DictReader(lines), ROWS):
            line(f"- {as_csv(value for name, value in row.items() if not name.startswith('_lume'))}", RED)
            line(f"  {row['_lume_reasons']}", DIM)


def show_refusal(error: Exception) -> None:
    print(textwrap.fill(f"refused: {error}", WIDTH, initial_indent="  ", subsequent_indent="    "))


def as_csv(values: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def show_next(folder: Path) -> None:
    heading("What to do next")
    print("  . .venv/bin/activate               then, with a CSV file of your own:")
    print("  lume flow init FILE.csv -o flows/  write a flow with its columns and types")
    print("  lume flow try flows/*.toml FILE.csv --watch     see what it makes of it")
    print("  docs/tutorial.md                   the whole way, in five minutes")
    print(f"\nThe output of this demo is yours to look at, and to delete:\n  {folder}")


if __name__ == "__main__":
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # the names have accents, an old terminal may have none
    folder = Path(tempfile.mkdtemp(prefix="lume-demo-"))
    asyncio.run(with_async(folder / "async"))
    with_sync(folder / "sync")
    show_next(folder)
