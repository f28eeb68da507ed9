"""The second task of a shard: its rows, judged, in a Parquet file; the one scan of a run's statements."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from attrs import evolve

from lume_local._shards.access import database, job_of, new_folder
from lume_local._shards.intake import layout_of
from lume_local._shards.shards import part_name
from lume_local._worker.compiler.checks import text
from lume_local._worker.file_names import literal
from lume_local._worker.scan_again import scan_or_retry
from lume_local._worker.sources import files
from lume_local._worker.sources.formats.parquet import report_damage
from lume_local._worker.sources.intake import Malformed
from lume_local._worker.sources.places.held import Held, changed
from lume_local._worker.sources.several_files import rows_in
from lume_local._worker.stage import stage_to
from lume_local._worker.statements import Statements


def stage(argument: dict[str, Any]) -> dict[str, Any]:
    """The task: judge the rows of the shard `number`. `together` are the columns of all of several files."""
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
        rows, rejected, *broken = connection.execute(query).fetchall()[0]
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
    """Where to read what was taken in: a file of the source is held, as it was then."""
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
