"""The first task of a shard: its bytes, or a whole file, from what they are to what DuckDB reads.

A shard of a file is a file of its own, with the header of the whole one, so that it is read as any other.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import asdict, evolve

from lume_local._shards.access import job_of, new_folder, open_part
from lume_local._shards.split import ends_within_a_record
from lume_local._shared.protocol import Execute
from lume_local._worker.connection import confine, connect
from lume_local._worker.file_names import literal
from lume_local._worker.sources.files import BLOCK
from lume_local._worker.sources.places.held import changed, named
from lume_local._worker.sources.places.source_kinds import source_of
from lume_local._worker.sources.read import read_source
from lume_local._worker.sources.source import File, SourceError
from lume_local._worker.statements import Layout


def take_in(argument: dict[str, Any]) -> dict[str, Any]:
    """The task: read a shard. `segments` are its bytes, `head` what comes before; else the file is read whole.

    `first`: whether the file begins with them.
    """
    job, folder = job_of(argument), new_folder(Path(argument["folder"]), "shard")
    if "segments" in argument:
        return _taken(job, folder, _shard(argument, folder / "shard", job.flow["format"]))
    with closing(source_of(argument["place"], job.flow)) as source:
        source.check()
        (now,) = source.each()
        if now.tag != argument["tag"]:
            raise changed(source.places[0])
        (file,) = source.fetch(folder, _nothing)
        return _taken(job, folder, evolve(file, shown=argument["shown"])) | {"tag": now.tag}


def _taken(job: Execute, folder: Path, file: File) -> dict[str, Any]:
    with connect() as connection:
        confine(connection, folder, [file], job)
        intake = read_source(connection, [file], job.flow, folder, _nothing)
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
        "malformed": malformed.plain(),
        "is_cut_wrong": job.flow["format"] == "csv" and ends_within_a_record(file.path, malformed, job.flow),
    }


def layout_of(plain: dict[str, Any]) -> Layout:
    """A layout that has come as JSON."""
    names: dict[str, Any] = {key: tuple(plain[key]) for key in ("raw", "unknown", "members")}
    return Layout(**plain | names)


def _nothing() -> None:
    """A task is ended from outside."""


def _shard(argument: dict[str, Any], path: Path, format: str) -> File:
    with path.open("wb") as out:
        out.write(argument["head"].encode("latin-1"))
        for segment in argument["segments"]:
            for block in _bytes(segment, argument["tag"], argument["shown"]):
                out.write(block)
    is_beginning = argument["first"] or bool(argument["head"])
    return File(path, argument["shown"], format, argument["bytes"], is_beginning)


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
