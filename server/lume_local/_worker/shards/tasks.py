"""The tasks of a run over shards, by name, and the interface that has them done.

A failure of a task is its result: an engine restarts a task only if its process was lost.

A shard of a file is a file of its own, with the header of the whole, so that it is read like any other: its bytes, or
a whole file, are converted for DuckDB (`take_in`), and its rows judged and staged (`stage`). Other tasks work on
staged rows. A run smaller than a shard is one task (`whole`), except for its targets, which the server publishes.
"""

# ruff: noqa: S608 - the parts of its SQL are quoted, numbers, or of other modules.
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import duckdb
from attrs import asdict, evolve
from duckdb import DuckDBPyConnection

from lume_local._flow.definition import quoted
from lume_local._shared.commit import sync_file
from lume_local._shared.protocol import Execute
from lume_local._worker.connection import confine, connect
from lume_local._worker.engine import Run, RunBroke, RunFailed, attempt, begin_source
from lume_local._worker.late import later_ones
from lume_local._worker.one_process import OneProcess
from lume_local._worker.profile import profile, unmet
from lume_local._worker.shards.access import database, job_of, new_folder, open_part
from lume_local._worker.shards.shards import ends_within_a_record, look, part_name, relation_of
from lume_local._worker.sources.files import BLOCK, opened
from lume_local._worker.sources.formats.parquet import report_damage
from lume_local._worker.sources.intake import Malformed, ReadFile, rows_in
from lume_local._worker.sources.layouts import recognised
from lume_local._worker.sources.places.held import Held, changed, moved, named
from lume_local._worker.sources.places.source_kinds import source_of
from lume_local._worker.sources.read import read_source
from lume_local._worker.sources.source import File, Pause, SourceError, no_pause
from lume_local._worker.sql import copy_to, literal, row_of, scan_or_retry, text
from lume_local._worker.stage import stage_to
from lume_local._worker.statements import Statements, form_of
from lume_local._worker.steps import Context

Json = dict[str, Any]
_WITHOUT_HEADER = {".csv": "FORMAT csv, HEADER false"}


class Made(Sequence[Json]):
    """Arguments created on demand: all at once may not fit into memory.

    Args:
        make: returns the argument with a number, always the same one.
    """

    def __init__(self, count: int, make: Callable[[int], Json]) -> None:
        self._count, self._make = count, make

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < self._count:
            raise IndexError(number)
        return self._make(number)


class Tasks(Protocol):
    """Has tasks done; `pause` is called often, and raises if the run is to stop."""

    pause: Pause

    @property
    def slots(self) -> int:
        """The number of concurrent tasks."""
        ...

    def do(self, task: str, arguments: Sequence[Json]) -> Generator[Json]:
        """Yield the results in the order of the arguments. Raises the error of the first task that fails."""
        ...


def take_in(argument: Json) -> Json:
    """Task: read a shard, whose bytes are `segments` after `head`; without these, read the whole file.

    `first` is whether the file begins with the shard, and `layout` the file's, if it is known.
    """
    job, folder = job_of(argument), new_folder(Path(argument["folder"]), "shard")
    if "segments" in argument:
        path = folder / "shard"
        with path.open("wb") as out:
            out.write(argument["head"].encode("latin-1"))
            for segment in argument["segments"]:
                for block in _bytes(segment, argument["tag"], argument["shown"]):
                    out.write(block)
        is_beginning = argument["first"] or bool(argument["head"])
        file = File(path, argument["shown"], "", argument["bytes"], is_beginning, is_end=False)
        return _taken(job, folder, file, argument["layout"])
    with closing(source_of(argument["place"], job.flow)) as source:
        source.check()
        (now,) = source.each()
        if now.tag != argument["tag"]:
            raise changed(source.places[0])
        (file,) = source.fetch(folder, no_pause)  # no pause: a task is ended from outside
        file = evolve(file, shown=argument["shown"])
        return _taken(job, folder, file, argument["layout"]) | {"tag": now.tag}


def _taken(job: Execute, folder: Path, file: File, layout: str) -> Json:
    """Take in one file; return its account and relation as JSON."""
    with connect() as connection:
        confine(connection, folder, [file], job)
        if job.flow["layouts"] and not layout:
            (file,) = recognised(connection, [file], job.flow, folder, no_pause, forced=job.layout)
            if not file.layout:
                raise SourceError(f"{file.shown} holds corrected rejects: submit them alone, for their run")
        form = form_of(job.flow, layout or file.layout)
        file = evolve(file, layout=layout or file.layout, format=form["format"])
        intake = read_source(connection, [file], job.flow, folder, no_pause)
    ((_, malformed),) = intake.malformed.by_file
    path = Path(named(str(file.path)))  # another process holds the file itself
    malformed.places.path = named(malformed.places.path)
    relation = intake.relation
    for branch in relation.branches:  # the only one, so it has the file's own columns
        relation = evolve(branch.own, reader=branch.reader)
    relation = evolve(relation, reader=relation.reader.replace(literal(file.path), literal(path)))
    return {
        "folder": str(folder),
        "path": str(path),
        "is_unpacked": file.is_unpacked,
        "unpacked": file.path.stat().st_size,
        "relation": asdict(relation),
        "lines": intake.account.lines,
        "records": intake.account.records,
        "skipped": intake.account.skipped,
        "footer": intake.account.footer,
        "warnings": intake.account.warnings,
        "malformed": malformed.plain(),
        "is_cut_wrong": form["format"] == "csv" and ends_within_a_record(file.path, malformed, form),
        "layout": file.layout,
    }


def _bytes(segment: Json, tag: str, shown: str) -> Iterator[bytes]:
    left = segment["end"] - segment["start"]
    with open_part(Path(segment["path"]), tag, shown) as file:
        file.seek(segment["start"])
        while left > 0:
            block = file.read(min(left, BLOCK))
            if not block:
                raise SourceError(f"{shown} was changed while it was read: submit the run again")
            left -= len(block)
            yield block


def stage(argument: Json) -> Json:
    """Task: stage the rows of the shard `number` in one scan.

    `together` has the columns of all files, with the branch of this one's layout, and `places` the numbers of its own
    among them.
    """
    job, taken = job_of(argument), argument["taken"]
    folder, relation = new_folder(Path(taken["folder"]), "stage"), relation_of(taken["relation"])
    if argument["together"] is not None:
        together = relation_of(argument["together"])
        file = ReadFile(relation, argument["shown"], taken["records"], taken["layout"])
        relation = together.read_by([rows_in(together, file, argument["places"])])
    path = folder / part_name(argument["number"])
    records = taken["records"] - Malformed.of(taken["malformed"]).total
    with (
        _held(taken, argument["shown"], folder / "held") as source,
        database(job, Path(taken["folder"]), [source], seeds_in=folder) as (connection, seeds),
    ):
        (reader,) = relation.readers
        reader = reader.replace(literal(Path(taken["path"])), literal(source))
        statements = Statements(job.flow, relation)
        is_parquet = form_of(job.flow, taken["layout"])["format"] == "parquet"
        parquet = {argument["shown"]: source} if is_parquet else {}
        with report_damage(connection, parquet):
            scan_or_retry(
                reader,
                lambda reader: stage_to(connection, statements.by(reader), path),
                lambda rows: rows == records,
            )
        query = statements.counts(f"read_parquet({text(str(path))})")
        rows, rejected, *broken = row_of(connection, query)
    return {
        "path": str(path),
        "rows": rows,
        "rejected": rejected,
        "broken": broken,
        "bytes": os.stat(path).st_size,
        "seeds": seeds,
    }


@contextmanager
def _held(taken: Json, shown: str, copy: Path) -> Iterator[Path]:
    """Yield the file to read: a file of the source is held, unchanged since it was taken in."""
    path = Path(taken["path"])
    if path.is_relative_to(taken["folder"]):
        yield path
        return
    with closing(Held()) as held:
        handle, found = opened(path)
        source = held.hold(handle, path, copy)
        if found.tag != taken["tag"]:
            raise changed(shown)
        yield source


def whole(argument: Json) -> Json:
    """Task: return the metrics of a run and the files of its targets, or why it has failed."""
    job = Execute(**argument["job"])
    job = evolve(job, folder=str(new_folder(Path(job.folder), "whole")))
    with connect() as connection:
        # The server knows only that the task is running.
        context = Context(connection, job, lambda stage, rows: None)
        steps = OneProcess(context)
        try:
            with attempt(context):
                begin_source(context)  # without the targets: only the server can access a database
                judged = Run(context, steps).judge()
                built = {
                    part: str(steps.build(part, judged))
                    for part in context.targets
                    if part == "mapped" or judged.metrics["rows_rejected"]
                }
                return {"metrics": judged.metrics, "built": built, "ledger": judged.ledger}
        except RunFailed as error:
            return {"message": str(error), "metrics": error.metrics, "broke": isinstance(error, RunBroke)}


def build(argument: Json) -> Json:
    """Task: write the mapped rows of the shard `number` to a durable file, for the target or `joined`."""
    job, run_folder, suffix = job_of(argument), Path(argument["folder"]), argument["suffix"]
    path = new_folder(run_folder, "build") / f"part{suffix}"
    statements = Statements(job.flow, relation_of(argument["relation"]))
    first, end = argument["rows"]
    query = statements.mapped(argument["staged"], argument["duplicates"] is not None)
    with database(job, run_folder) as (connection, _):
        _take_duplicates(connection, argument["duplicates"], f"n >= {first} AND n < {end}")
        rows = copy_to(connection, query, path, _WITHOUT_HEADER.get(suffix) if argument["number"] else None)
    sync_file(path)
    return {"path": str(path), "rows": rows}


def joined(files: Sequence[Path], target: Path, pause: Pause) -> Path:
    """Concatenate the files into one durable file, and delete them."""
    with files[0].open("ab") as out:
        for path in files[1:]:
            pause()
            with path.open("rb") as file:
                shutil.copyfileobj(file, out, 4 * 1024 * 1024)
            path.unlink()
    files[0].rename(target)
    sync_file(target)
    return target


def measure(argument: Json) -> Json:
    """Task: return statistics of some `columns` or, if `counts` are given, the expectations that are not met."""
    job, run_folder = job_of(argument), Path(argument["folder"])
    mapped = argument["mapped"]
    with database(job, run_folder) as (connection, _):
        _take_duplicates(connection, argument["duplicates"])
        if "counts" in argument:
            return {"unmet": unmet(connection, job.flow["expect"], mapped, argument["counts"])}
        wanted = [column for column in job.flow["columns"] if column["name"] in argument["columns"]]
        columns, _ = profile(connection, job.flow | {"columns": wanted}, mapped)
        return {"columns": columns}


def _take_duplicates(connection: DuckDBPyConnection, path: str | None, rows: str = "true") -> None:
    """Create the coordinator's table `_lume_duplicates` with these rows only; no table if it has none."""
    if path is not None:
        connection.execute(
            f"CREATE TEMP TABLE _lume_duplicates AS SELECT * FROM read_parquet({text(path)}) WHERE {rows}"
        )


def find_twins(argument: Json) -> Json:
    """Task: find the rows that share a value, in one part of a column's values.

    If it is the only unique column, return the later rows; else return all, with the first row's number for each.
    """
    job, run_folder = job_of(argument), Path(argument["folder"])
    folder, name = new_folder(run_folder, "twins"), argument["column"]
    path, key = folder / "twins.parquet", quoted(name)
    here = f"hash({key}) % {argument['of']} = {argument['part']}"
    rows = f"(SELECT * FROM {argument['staged']} WHERE {here})"
    query = later_ones(rows, name)
    if not argument["is_only"]:
        query = (
            f"SELECT n, {argument['number']} AS k, first FROM (SELECT file_row_number AS n, "
            f"min(file_row_number) OVER (PARTITION BY {key}) AS first, "
            f"count(*) OVER (PARTITION BY {key}) AS times "
            f"FROM {rows} WHERE NOT _lume_reject AND {key} IS NOT NULL) WHERE times > 1"
        )
    with database(job, run_folder) as (connection, _):
        copy_to(connection, query, path)
    return {"path": str(path)}


def later_rows(results: Iterable[Json]) -> str:
    """Return a query for the duplicates of the only unique column."""
    return f"SELECT n, bits FROM {_all(results)}"


def shared_rows(results: Iterable[Json], columns: int) -> str:
    """Return a query for the rows that share a value in any of several columns, and the first row of each."""
    firsts = ", ".join(f"max(CASE WHEN k = {k} THEN first END) AS first{k}" for k in range(columns))
    return f"SELECT n, {firsts} FROM {_all(results)} GROUP BY n ORDER BY n"


def _all(results: Iterable[Json]) -> str:
    return f"read_parquet([{', '.join(text(result['path']) for result in results)}])"


_TASKS = {one.__name__: one for one in (look, take_in, stage, find_twins, measure, build, whole)}


def perform(task: str, argument: Json) -> Json:
    """Do a task; return its result for `value_of`."""
    try:
        return {"value": _TASKS[task](argument)}
    except SourceError as error:
        return {"failed": "source", "message": str(error), "may_pass": error.may_pass}
    except duckdb.Error as error:
        if path := moved(error):
            return {"failed": "source", "message": str(changed(path))}
        return {"failed": "duckdb", "kind": type(error).__name__, "message": named(str(error))}
    except OSError as error:
        where = named(str(error.filename)) if error.filename else None
        return {"failed": "os", "arguments": [error.errno, error.strerror or str(error), where]}


def value_of(result: Json) -> Json:
    """Return the value of a task. Raises the task's error."""
    match result.get("failed"):
        case "source":
            raise SourceError(result["message"], may_pass=result.get("may_pass", False))
        case "duckdb":
            raise getattr(duckdb, result["kind"], duckdb.Error)(result["message"])
        case "os":
            raise OSError(*result["arguments"])
    value: Json = result["value"]
    return value
