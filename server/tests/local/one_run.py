"""One run of the engine in this process, without HTTP, and what became of every row."""

import csv
import io
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
from attrs import frozen
from local.flows import people

from lume_local._flow.definition import read_definition
from lume_local._shards import coordinator
from lume_local._shared.protocol import Execute
from lume_local._worker import one_process
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect
from lume_local._worker.steps import Context


@frozen
class Result:
    metrics: dict[str, Any]
    mapped: list[tuple[Any, ...]]
    rejects_file: bytes
    rejects: list[dict[str, str]]
    """Of a `.csv` file in the source's dialect; bytes that aren't text are surrogates."""

    @property
    def reasons(self) -> list[str]:
        return [row["_lume_reasons"] for row in self.rejects]

    @property
    def raws(self) -> list[str]:
        """The texts of the lines that could not be rows."""
        return [row["_lume_raw"] for row in self.rejects if row["_lume_raw"]]


def execute(
    folder: Path,
    content: str | bytes,
    suffix: str = ".parquet",
    rejects_suffix: str = ".csv",
    **changes: Any,
) -> Result:
    """Run a flow over a source."""
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "source"
    source.write_bytes(content.encode() if isinstance(content, str) else content)
    work = folder / "run"
    work.mkdir()
    rejects = folder / f"rejects{rejects_suffix}"
    with connect() as connection:
        flow = compile_flow(connection, read_definition(people(**changes)))
        job = job_of(flow, work, [source], folder / f"mapped{suffix}", rejects)
        record = carried_out(connection, job)
    mapped = fetch(f"{folder}/mapped{suffix}")
    written = rejects.read_bytes() if record["target_locations"]["rejects"] else b""
    rows = read_rejects(written, flow) if rejects_suffix == ".csv" else []
    return Result(record["metrics"], mapped, written, rows)


def compiled(**changes: Any) -> dict[str, Any]:
    """The compiled form of a flow, from another database than that of its runs, as on a server."""
    with connect() as connection:
        return compile_flow(connection, read_definition(people(**changes)))


def carried_out(connection: duckdb.DuckDBPyConnection, job: Execute) -> dict[str, Any]:
    """What the run has committed; over shards if its job has an engine."""
    execute = one_process.execute if job.engine is None else coordinator.execute
    return execute(Context(connection, job, lambda name, rows: None))


ID_AND_NAME: dict[str, Any] = {"id": {"type": "integer", "required": True, "unique": True}, "name": {}}


def execute_files(
    folder: Path, *files: tuple[str, bytes], rejects: str = ".csv", mapped: str = ".csv", **changes: Any
) -> Result:
    """Run a flow over several files."""
    (folder / "run").mkdir(parents=True)
    paths = [folder / name for name, _ in files]
    for path, (_, content) in zip(paths, files, strict=True):
        path.write_bytes(content)
    target = folder / f"rejects{rejects}"
    with connect() as connection:
        flow = compile_flow(connection, read_definition(people(**{"columns": ID_AND_NAME, **changes})))
        job = job_of(flow, folder / "run", paths, folder / f"mapped{mapped}", target)
        for file in job.source["files"]:
            file["shown"] = Path(file["path"]).name
        record = carried_out(connection, job)
    written = target.read_bytes() if record["target_locations"]["rejects"] else b""
    rows = read_rejects(written, flow) if rejects == ".csv" else []
    return Result(record["metrics"], fetch(f"{folder}/mapped{mapped}"), written, rows)


def job_of(flow: dict[str, Any], work: Path, sources: list[Path], mapped: Path, rejects: Path) -> Execute:
    """What a worker is asked for."""
    files = [{"path": str(source), "shown": str(source)} for source in sources]
    return Execute(
        run_id="run_1",
        flow=flow,
        source={"kind": "files", "files": files, "looked_up": ""},
        folder=str(work),
        mapped={"kind": "file", "path": str(mapped)},
        rejects={"kind": "file", "path": str(rejects)},
        memory_limit=10**9,
        threads=2,
    )


def read_rejects(written: bytes, flow: dict[str, Any]) -> list[dict[str, str]]:
    """The rows of a rejects file in its source's dialect."""
    text = written.decode(flow["encoding"], "surrogateescape")
    if flow["csv"]["quote"]:
        csv.field_size_limit(2**31 - 1)
        return list(csv.DictReader(io.StringIO(text, newline=""), **dialect(flow)))
    delim = flow["csv"]["delim"]
    header, *lines = text.split("\n")[:-1] or [""]
    names = header.split(delim)  # the last one's value, `_lume_raw`, goes to the end of its line
    return [dict(zip(names, line.split(delim, len(names) - 1), strict=True)) for line in lines]


def dialect(flow: dict[str, Any]) -> dict[str, Any]:
    """A compiled flow's dialect in the words of Python's module."""
    options, quote = flow["csv"], flow["csv"]["quote"]
    escape = options["escape"] if options["escape"] != quote else ""
    return {
        "delimiter": options["delim"],
        "quotechar": quote or None,
        "quoting": csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        "doublequote": not escape,
        "escapechar": escape or None,
    }


def fetch(path: str) -> list[tuple[Any, ...]]:
    """The rows of a file; points in time as they are in UTC (older DuckDBs need pytz to give a zone)."""
    connection = reader()
    columns = connection.execute(f"DESCRIBE FROM '{path}'").fetchall()
    plain = {"TIMESTAMP WITH TIME ZONE": "::TIMESTAMP"}
    quoted = ", ".join(
        '"' + name.replace('"', '""') + '"' + plain.get(kind, "") for name, kind, *_ in columns
    )
    return connection.execute(f"SELECT {quoted} FROM '{path}'").fetchall()


@cache
def reader() -> duckdb.DuckDBPyConnection:
    """Reads what runs have written. One for all: a new one costs a third of a small run."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def one_column(folder: Path, values: list[str], **column: Any) -> list[Any]:
    """What becomes of the values in a column `v`: the mapped values, and `...` for each rejected one."""
    rows = "".join(f'{n},"{value}"\n' for n, value in enumerate(values))
    columns = {"n": {"type": "integer"}, "v": column}
    # The last row is there so that never all are bad.
    result = execute(folder, "n,v\n" + rows + "-1,\n", columns=columns)
    mapped = dict(row for row in result.mapped if row[0] >= 0)
    return [mapped.get(n, ...) for n in range(len(values))]
