"""What do other tools make of the same messy CSV, and at what cost? CPU seconds, memory, and a count of every row.

    python -m server.benchmarks.peers                             100,000 and 1,000,000 rows, three rounds
    python -m server.benchmarks.peers --rows 100000 --only lume,floe

One row in a hundred is bad: a text for a number, an impossible date, no e-mail, an unknown country, a negative
amount, an id that repeats. In the file `ragged`, also a line that is too short and one that is too long; the file
`even` lacks these, for tools that refuse the other one as a whole. Each tool is asked for the good rows as Parquet
and the bad ones apart; the last column says what it can't check.

Each runs in a process of its own, from its start to its end, imports included. `CPU` is user and system time of the
process and all that it has started, the median of the rounds; `peak` is the memory of its largest process. Each tool
gets a virtual environment with pinned versions below `--cache`, made once.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import NamedTuple

from benchmarks._bench import header, interleaved

COUNTRIES = ["DE", "FR", "ES", "PT", "BR"]
KINDS = ["number", "date", "missing", "country", "negative", "repeated", "short", "long"]
FLOW = f"""
flow = "orders"
version = "v1"
target = {{ mapped = "{{data}}/good.parquet", rejects = "{{data}}/bad.csv" }}
[columns]
id = {{ type = "integer", required = true, unique = true }}
email = {{ required = true }}
amount = {{ type = "number", required = true, minimum = 0 }}
day = {{ format = "date", required = true }}
country = {{ required = true, enum = {json.dumps(COUNTRIES)} }}
"""
LUME = f"""
import json, sys, pathlib
import lume_local, lume_sync
source, folder = sys.argv[1], pathlib.Path(sys.argv[2])
(folder / "flows").mkdir()
(folder / "flows" / "orders.v1.toml").write_text({FLOW!r})
with lume_local.serve_in_thread(folder / "flows", folder / "data", [str(pathlib.Path(source).parent)]) as server:
    with server.client() as client:
        found = client.run("orders:v1", source).wait().metadata.metrics
print(json.dumps({{"good": found.rows_mapped, "bad": found.rows_rejected}}))
"""
CLEAN = f"""
import json, pathlib, subprocess, sys
source, folder = sys.argv[1], pathlib.Path(sys.argv[2])
(folder / "orders.toml").write_text({FLOW!r})
lume = str(pathlib.Path(sys.executable).with_name("lume"))
command = [lume, "clean", source, "--flow", "orders.toml", "--to", "good.parquet", "--rejects", "bad.csv"]
done = subprocess.run([*command, "--allow-partial", "-o", "json"], stdout=subprocess.PIPE, check=True)
found = json.loads(done.stdout)["metadata"]["metrics"]
print(json.dumps({{"good": found["rows_mapped"], "bad": found["rows_rejected"]}}))
"""
DUCKDB = f"""
import duckdb, json, sys
source, folder = sys.argv[1:]
duckdb.sql(f'''CREATE TABLE t AS SELECT *, TRY_CAST(id AS BIGINT) AS i, TRY_CAST(amount AS DOUBLE) AS a,
    TRY_CAST(day AS DATE) AS d FROM read_csv('{{source}}', header=true, auto_detect=false, delim=',', columns={{{{
    'id': 'VARCHAR', 'email': 'VARCHAR', 'amount': 'VARCHAR', 'day': 'VARCHAR', 'country': 'VARCHAR'}}}},
    store_rejects=true)''')
good = '''coalesce(i IS NOT NULL AND email <> '' AND a >= 0 AND d IS NOT NULL AND country IN {tuple(COUNTRIES)}
    AND row_number() OVER (PARTITION BY i ORDER BY rowid) = 1, false)'''
duckdb.sql(f"CREATE TABLE u AS SELECT rowid AS at, *, {{good}} AS good FROM t ORDER BY rowid")
kept, given = "i AS id, email, a AS amount, d AS day, country", "id, email, amount, day, country"
duckdb.sql(f"COPY (SELECT {{kept}} FROM u WHERE good) TO '{{folder}}/good.parquet'")
duckdb.sql(f"COPY (SELECT {{given}} FROM u WHERE NOT good) TO '{{folder}}/bad.csv'")
lines = duckdb.execute("SELECT count(DISTINCT line) FROM reject_errors").fetchone()[0]
found = duckdb.execute("SELECT count(*) FILTER (good), count(*) FILTER (NOT good) FROM u").fetchone()
print(json.dumps({{"good": found[0], "bad": found[1] + lines}}))
"""
POLARS = f"""
import json, sys
import polars as pl
source, folder = sys.argv[1:]
rows = pl.read_csv(source, infer_schema=False).with_columns(
    i=pl.col("id").cast(pl.Int64, strict=False), a=pl.col("amount").cast(pl.Float64, strict=False),
    d=pl.col("day").str.to_date("%Y-%m-%d", strict=False))
good = (pl.col("i").is_not_null() & (pl.col("email") != "") & (pl.col("a") >= 0) & pl.col("d").is_not_null()
    & pl.col("country").is_in({COUNTRIES}) & pl.col("i").is_first_distinct()).fill_null(False)
rows = rows.with_columns(good=good)
kept = rows.filter("good").select(id="i", email="email", amount="a", day="d", country="country")
kept.write_parquet(folder + "/good.parquet")
lost = rows.filter(~pl.col("good")).select("id", "email", "amount", "day", "country")
lost.write_csv(folder + "/bad.csv")
print(json.dumps({{"good": len(kept), "bad": len(lost)}}))
"""
FLOE = """
import json, sys, pathlib
import floe
source, folder = sys.argv[1:]
columns = [("id", "int64", True), ("email", "string", False), ("amount", "float64", False), ("day", "date", False),
    ("country", "string", False)]
entity = {"name": "orders", "source": {"format": "csv", "path": source, "options": {"separator": ","}},
    "sink": {"accepted": {"format": "parquet", "path": folder + "/good"},
             "rejected": {"format": "csv", "path": folder + "/bad"}},
    "policy": {"severity": "reject"},
    "schema": {"columns": [{"name": n, "type": t, "nullable": False, "unique": u} for n, t, u in columns]}}
config = pathlib.Path(folder, "floe.yml")  # JSON is YAML
config.write_text(json.dumps({"version": "0.1", "report": {"path": folder + "/reports"}, "entities": [entity]}))
done = floe.run(str(config)).to_dict()
for one in done["entity_reports"][0]["files"]:
    if "error" in one["mismatch"]:
        sys.exit("the whole file is set aside: " + one["mismatch"]["error"]["rule"])
found = done["summary"]["results"]
print(json.dumps({"good": found["accepted_total"], "bad": found["rejected_total"]}))
"""
DLT = f"""
import csv, datetime, json, os, sys
from typing import Literal
source, folder = sys.argv[1:]
os.environ |= {{"DLT_DATA_DIR": folder, "RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL"}}
import dlt
from pydantic import BaseModel, Field

class Order(BaseModel):
    id: int
    email: str = Field(min_length=1)
    amount: float = Field(ge=0)
    day: datetime.date
    country: Literal[{", ".join(map(repr, COUNTRIES))}]

@dlt.resource(name="orders", columns=Order, schema_contract={{"columns": "discard_row", "data_type": "discard_row"}})
def orders():
    with open(source, newline="") as file:
        for row in csv.DictReader(file):
            yield row

place = dlt.destinations.filesystem("file://" + folder + "/out")
pipeline = dlt.pipeline("peers", pipelines_dir=folder + "/state", destination=place, dataset_name="d")
pipeline.run(orders(), loader_file_format="parquet")
counts = pipeline.last_trace.last_normalize_info.row_counts
print(json.dumps({{"good": counts.get("orders", 0), "bad": 0}}))
"""
GX = f"""
import json, sys
import pandas, great_expectations as gx
source, folder = sys.argv[1:]
rows = pandas.read_csv(source, dtype=str, keep_default_na=False)
number = lambda column: pandas.to_numeric(rows[column], errors="coerce")
frame = rows.assign(id=number("id"), amount=number("amount"),
    day=pandas.to_datetime(rows.day, format="%Y-%m-%d", errors="coerce"), email=rows.email.replace("", None))
context = gx.get_context(mode="ephemeral")
context.variables.progress_bars = gx.data_context.types.base.ProgressBarsConfig(globally=False)
suite = gx.ExpectationSuite(name="orders")
for column in ("id", "email", "amount", "day", "country"):
    suite.add_expectation(gx.expectations.ExpectColumnValuesToNotBeNull(column=column))
suite.add_expectation(gx.expectations.ExpectColumnValuesToBeUnique(column="id"))
suite.add_expectation(gx.expectations.ExpectColumnValuesToBeBetween(column="amount", min_value=0))
suite.add_expectation(gx.expectations.ExpectColumnValuesToBeInSet(column="country", value_set={COUNTRIES}))
batch = context.data_sources.add_pandas("p").add_dataframe_asset("a").add_batch_definition_whole_dataframe("b")
found = batch.get_batch({{"dataframe": frame}}).validate(suite, result_format={{"result_format": "COMPLETE"}})
bad = {{at for one in found.results for at in one.result.get("unexpected_index_list") or ()}}
kept = frame.drop(index=list(bad))
kept.to_parquet(folder + "/good.parquet")
rows.loc[sorted(bad)].to_csv(folder + "/bad.csv")
print(json.dumps({{"good": len(kept), "bad": len(bad)}}))
"""
PANDERA = f"""
import json, os, sys
os.environ["PANDERA_VALIDATION_DEPTH"] = "SCHEMA_AND_DATA"
import polars as pl, pandera.polars as pa
source, folder = sys.argv[1:]
rows = pl.read_csv(source, infer_schema=False).with_columns(pl.col("id").cast(pl.Int64, strict=False),
    pl.col("amount").cast(pl.Float64, strict=False), pl.col("day").str.to_date("%Y-%m-%d", strict=False))
schema = pa.DataFrameSchema({{
    "id": pa.Column(pl.Int64, unique=True),
    "email": pa.Column(str, pa.Check.str_length(min_value=1)),
    "amount": pa.Column(float, pa.Check.ge(0)), "day": pa.Column(pl.Date),
    "country": pa.Column(str, pa.Check.isin({COUNTRIES}))}})
try:
    schema.validate(rows, lazy=True)
    bad = set()
except pa.errors.SchemaErrors as error:
    bad = set(error.failure_cases["index"].drop_nulls().to_list())
rows = rows.with_row_index("at").with_columns(bad=pl.col("at").is_in(sorted(bad)))
rows.filter(~pl.col("bad")).write_parquet(folder + "/good.parquet")
rows.filter("bad").write_csv(folder + "/bad.csv")
print(json.dumps({{"good": len(rows) - len(bad), "bad": len(bad)}}))
"""


class Tool(NamedTuple):
    """A tool; without requirements it runs in this environment."""

    program: str
    requirements: tuple[str, ...] = ()
    note: str = ""


TOOLS = {
    "lume": Tool(LUME, note="a run of the embedded server"),
    "lume clean": Tool(CLEAN, note="the command, without a server"),
    "duckdb script": Tool(DUCKDB, note="by hand, without reasons"),
    "polars script": Tool(POLARS, ("polars==2.1.0",), "by hand, without reasons"),
    "floe": Tool(FLOE, ("floe-python==0.7.0",), "no limits, no lists of values"),
    "dlt": Tool(
        DLT, ("dlt[filesystem,parquet]==1.31.0", "pydantic==2.14.4"), "by a Pydantic model; no uniqueness"
    ),
    "great_expectations": Tool(
        GX, ("great_expectations==1.24.1", "pyarrow==26.0.1"), "the split by hand; both rows of a repeated id"
    ),
    "pandera": Tool(PANDERA, ("pandera[polars]==0.35.0",), "the split by hand; both rows of a repeated id"),
}


def write(folder: Path, rows: int) -> dict[str, Path]:
    """Write the two files; line n of one hundred is bad where n ends on 50, of the kinds in turn."""
    paths = {kind: folder / f"{kind}.csv" for kind in ("even", "ragged")}
    with paths["even"].open("w") as even, paths["ragged"].open("w") as ragged:
        for file in (even, ragged):
            file.write("id,email,amount,day,country\n")
        for n in range(rows):
            kind = KINDS[n // 100 % len(KINDS)] if n % 100 == 50 else ""
            fields = [str(n - 50 if kind == "repeated" else n), f"user{n}@example.org", f"{n % 10_000 / 100}"]
            fields += [f"20{n % 20 + 10}-{n % 12 + 1:02}-{n % 28 + 1:02}", COUNTRIES[n % 5]]
            bad = {
                "number": (2, "12x"),
                "date": (3, "2024-02-30"),
                "missing": (1, ""),
                "country": (4, "XX"),
            }
            at, value = (bad | {"negative": (2, "-1")}).get(kind, (0, fields[0]))
            fields[at] = value
            if kind not in ("short", "long"):
                even.write(",".join(fields) + "\n")
            fields = fields[:4] if kind == "short" else [*fields, "more"] if kind == "long" else fields
            ragged.write(",".join(fields) + "\n")
    return paths


def python_of(name: str, tool: Tool, cache: Path) -> str:
    """Return the interpreter of a tool's environment, which is made if it is missing or of other versions."""
    if not tool.requirements:
        return sys.executable
    home, wanted = cache / name, "\n".join((sys.version, *tool.requirements))
    python, stamp = home / "bin" / "python", home / "requirements"
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(home, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *tool.requirements], check=True)
        stamp.write_text(wanted)
    return str(python)


class Measured(NamedTuple):
    cpu: float
    peak: float
    answer: dict[str, int]
    trouble: str


def measure(command: list[str], source: Path) -> Measured:
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        process = subprocess.Popen([*command, str(source), folder], stdout=out, stderr=err, cwd=folder)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        lines, said = out.read().splitlines(), err.read().strip().splitlines()
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    if process.returncode:
        return Measured(cpu, peak, {}, said[-1] if said else f"exit code {process.returncode}")
    return Measured(cpu, peak, json.loads(lines[-1]), "")


def compare(commands: dict[str, list[str]], paths: dict[str, Path], rows: int, rounds: int) -> None:
    lines = {kind: sum(1 for _ in path.open()) - 1 for kind, path in paths.items()}
    print(f"\n{rows:,} rows, of them {lines['ragged'] - lines['even']:,} ragged, {rows // 100:,} bad")
    print(f"{'':20} {'CPU s':>7} {'peak MB':>8} {'good':>9} {'bad':>7} {'lost':>7}  ragged: good, bad, lost")
    last = dict[str, Measured]()

    def once(name: str) -> float:
        last[name] = measure(commands[name], paths["even"])
        print(f"  {name}: {last[name].cpu:.1f} s, {last[name].peak:.0f} MB", file=sys.stderr, flush=True)
        return last[name].cpu

    results = interleaved({name: lambda name=name: once(name) for name in commands}, rounds)
    for name, cpu in results.items():
        even, ragged = last[name], measure(commands[name], paths["ragged"])
        counts = [_counts(one, lines[kind]) for kind, one in (("even", even), ("ragged", ragged))]
        print(
            f"{name:20} {statistics.median(cpu):7.1f} {even.peak:8.0f} {counts[0]}  {counts[1]}",
            f" ({TOOLS[name].note})",
            flush=True,
        )


def _counts(measured: Measured, rows: int) -> str:
    if measured.trouble:
        return f"failed: {measured.trouble[:100]}"
    good, bad = measured.answer["good"], measured.answer["bad"]
    return f"{good:9,} {bad:7,} {rows - good - bad:7,}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(TOOLS), help="names of tools, with commas between")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lume-peers"
    parser.add_argument("--cache", type=Path, default=cache, help="the folder of the virtual environments")
    options = parser.parse_args()
    header("duckdb", "lume-local")
    print(", ".join(one for tool in TOOLS.values() for one in tool.requirements))
    clean = [Path(sys.executable).with_name("lume"), "clean", "--help"]
    if subprocess.run(clean, capture_output=True, check=False).returncode:
        TOOLS.pop("lume clean")  # this version lacks the command
    commands = {
        name: [python_of(name, TOOLS[name], options.cache), "-c", TOOLS[name].program]
        for name in options.only.split(",")
        if name in TOOLS
    }
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            compare(commands, write(Path(folder), rows), rows, options.rounds)


if __name__ == "__main__":
    main()
