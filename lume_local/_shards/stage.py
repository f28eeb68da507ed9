"""The second task of a shard: its rows, judged, in a Parquet file; the one scan of a run's statements."""

import os
from pathlib import Path
from typing import Any

from attrs import evolve

from lume_local._shards.database import job_of, opened
from lume_local._shards.folders import made_below
from lume_local._shards.intake import layout_of
from lume_local._shards.parts import part_name
from lume_local._worker.checks import text
from lume_local._worker.scan_again import scanned
from lume_local._worker.sources.many import rows_in
from lume_local._worker.sources.parquet import damage_is_told
from lume_local._worker.statements import Statements
from lume_local._worker.targets.formats import STAGED, copy_to


def stage(argument: dict[str, Any]) -> dict[str, Any]:
    """The task: judge the rows of the shard `number`. `together` are the columns of all of several files."""
    job, taken = job_of(argument), argument["taken"]
    folder, layout = made_below(Path(taken["folder"]), "stage"), layout_of(taken["layout"])
    if argument["together"] is not None:
        together = layout_of(argument["together"])
        layout = evolve(together, reader=rows_in(together, layout, argument["shown"]))
    statements = Statements(job.flow, layout)
    path = folder / part_name(argument["number"])
    with opened(job, Path(taken["folder"]), [Path(taken["path"])], seeds_in=folder) as (connection, seeds):
        parquet = {argument["shown"]: Path(taken["path"])} if job.flow["format"] == "parquet" else {}
        with damage_is_told(connection, parquet):
            scanned(statements, lambda them: copy_to(connection, them.stage(), path, STAGED))
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
