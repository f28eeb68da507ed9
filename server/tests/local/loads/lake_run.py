"""One run of the engine in this process, from a CSV file into a table of an open format."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from local.flows import people
from local.one_run import carried_out

from lume_local._flow.databases import DATABASE
from lume_local._flow.definition import Flow, read_definition
from lume_local._runs.sources.paths import Roots
from lume_local._runs.sources.run_paths import _mapped, _rejects_table
from lume_local._shared.protocol import Execute
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect

COLUMNS = {
    "id": {"sql": '"id"', "type": "integer", "required": True, "unique": True},
    "name": {"sql": '"name"', "type": "string"},
}
AT = "2026-03-01T10:00:00.000000+00:00"


def flow_of(mapped: dict[str, Any], columns: Any = None, **changes: Any) -> Flow:
    """A flow into a table."""
    rejects = changes.pop("rejects", None)
    target = {"mapped": mapped} | ({} if rejects is None else {"rejects": rejects})
    definition = {"source": {"format": "csv"}, "columns": columns or COLUMNS, "target": target, **changes}
    return read_definition(people(**definition))


def job_of(flow: Flow, folder: Path, csv: str, run_id: str, source: str = "b1", at: str = AT) -> Execute:
    """What a server would ask a worker for."""
    home = folder / run_id
    home.mkdir(parents=True)
    file = home / "source.csv"
    file.write_text(csv)
    with connect() as connection:
        compiled = compile_flow(connection, flow)
    place = urlsplit(
        "" if isinstance(flow.mapped, str) or flow.mapped.kind == DATABASE else flow.mapped.table
    )
    stores = (f"{place.scheme}://{place.netloc}",) if place.netloc not in ("", "other") else ()
    roots = Roots.of((folder,), folder / ".lume", stores)
    values = {"data": str(folder / ".lume"), "flow": flow.name, "version": flow.version, "at": at}
    return Execute(
        run_id,
        compiled,
        {"kind": "files", "files": [{"path": str(file), "shown": str(file)}], "looked_up": ""},
        str(home / "run"),
        _mapped(roots, flow, values, source),
        {"kind": "file", "path": str(home / "rejects.csv")},
        10**9,
        2,
        rejects_table=_rejects_table(roots, flow, values, source),
        at=at,
    )


def execute(flow: Flow, folder: Path, csv: str, run_id: str = "run_1", **more: Any) -> dict[str, Any]:
    """Run it; what its commit records."""
    job = job_of(flow, folder, csv, run_id, **more)
    Path(job.folder).mkdir()
    with connect() as connection:
        return carried_out(connection, job)
