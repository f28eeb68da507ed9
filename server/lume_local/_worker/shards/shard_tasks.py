"""The tasks of one shard: convert its bytes, or a whole file, for DuckDB; judge and stage its rows.

A shard of a file is a file of its own, with the header of the whole, so that it is read like any other. A run smaller
than a shard is one task, except for its targets, which the server publishes.
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from attrs import asdict, evolve

from lume_local._shared.protocol import Execute
from lume_local._worker.connection import confine, connect
from lume_local._worker.engine import Run, RunBroke, RunFailed, attempt, begin_source
from lume_local._worker.one_process import OneProcess
from lume_local._worker.shards.access import database, job_of, new_folder, open_part
from lume_local._worker.shards.shards import layout_of, part_name
from lume_local._worker.shards.split import ends_within_a_record
from lume_local._worker.sources import files
from lume_local._worker.sources.files import BLOCK
from lume_local._worker.sources.formats.parquet import report_damage
from lume_local._worker.sources.intake import Malformed
from lume_local._worker.sources.places.held import Held, changed, named
from lume_local._worker.sources.places.source_kinds import source_of
from lume_local._worker.sources.read import read_source
from lume_local._worker.sources.several_files import rows_in
from lume_local._worker.sources.source import File, SourceError, no_pause
from lume_local._worker.sql import literal, row_of, scan_or_retry, text
from lume_local._worker.stage import stage_to
from lume_local._worker.statements import Statements
from lume_local._worker.steps import Context


def take_in(argument: dict[str, Any]) -> dict[str, Any]:
    """Task: read a shard, whose bytes are `segments` after `head`; without these, read the whole file.

    `first` is whether the file begins with the shard.
    """
    job, folder = job_of(argument), new_folder(Path(argument["folder"]), "shard")
    if "segments" in argument:
        return _taken(job, folder, _shard(argument, folder / "shard", job.flow["format"]))
    with closing(source_of(argument["place"], job.flow)) as source:
        source.check()
        (now,) = source.each()
        if now.tag != argument["tag"]:
            raise changed(source.places[0])
        (file,) = source.fetch(folder, no_pause)  # no pause: a task is ended from outside
        return _taken(job, folder, evolve(file, shown=argument["shown"])) | {"tag": now.tag}


def _taken(job: Execute, folder: Path, file: File) -> dict[str, Any]:
    with connect() as connection:
        confine(connection, folder, [file], job)
        intake = read_source(connection, [file], job.flow, folder, no_pause)
    ((_, malformed),) = intake.malformed.by_file
    path = Path(named(str(file.path)))  # another process holds the file itself
    layout = evolve(intake.layout, reader=intake.layout.reader.replace(literal(file.path), literal(path)))
    return {
        "folder": str(folder),
        "path": str(path),
        "is_unpacked": file.is_unpacked,
        "unpacked": file.path.stat().st_size,
        "layout": asdict(layout),
        "lines": intake.account.lines,
        "records": intake.account.records,
        "skipped": intake.account.skipped,
        "warnings": intake.account.warnings,
        "malformed": malformed.plain(),
        "is_cut_wrong": job.flow["format"] == "csv" and ends_within_a_record(file.path, malformed, job.flow),
    }


def _shard(argument: dict[str, Any], path: Path, format: str) -> File:
    with path.open("wb") as out:
        out.write(argument["head"].encode("latin-1"))
        for segment in argument["segments"]:
            for block in _bytes(segment, argument["tag"], argument["shown"]):
                out.write(block)
    is_beginning = argument["first"] or bool(argument["head"])
    return File(path, argument["shown"], format, argument["bytes"], is_beginning, is_end=False)


def _bytes(segment: dict[str, Any], tag: str, shown: str) -> Iterator[bytes]:
    left = segment["end"] - segment["start"]
    with open_part(Path(segment["path"]), tag, shown) as file:
        file.seek(segment["start"])
        while left > 0:
            block = file.read(min(left, BLOCK))
            if not block:
                raise SourceError(f"{shown} was changed while it was read: submit the run again")
            left -= len(block)
            yield block


def stage(argument: dict[str, Any]) -> dict[str, Any]:
    """Task: stage the rows of the shard `number` in one scan; `together` has the columns of all files."""
    job, taken = job_of(argument), argument["taken"]
    folder, layout = new_folder(Path(taken["folder"]), "stage"), layout_of(taken["layout"])
    if argument["together"] is not None:
        together = layout_of(argument["together"])
        layout = evolve(together, reader=rows_in(together, layout, argument["shown"]))
    path = folder / part_name(argument["number"])
    records = taken["records"] - Malformed.of(taken["malformed"]).total
    with (
        _held(taken, argument["shown"], folder / "held") as source,
        database(job, Path(taken["folder"]), [source], seeds_in=folder) as (connection, seeds),
    ):
        reader = layout.reader.replace(literal(Path(taken["path"])), literal(source))
        statements = Statements(job.flow, layout)
        parquet = {argument["shown"]: source} if job.flow["format"] == "parquet" else {}
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
def _held(taken: dict[str, Any], shown: str, copy: Path) -> Iterator[Path]:
    """Yield the file to read: a file of the source is held, unchanged since it was taken in."""
    path = Path(taken["path"])
    if path.is_relative_to(taken["folder"]):
        yield path
        return
    with closing(Held()) as held:
        handle, found = files.opened(path)
        source = held.hold(handle, path, copy)
        if found.tag != taken["tag"]:
            raise changed(shown)
        yield source


def whole(argument: dict[str, Any]) -> dict[str, Any]:
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
