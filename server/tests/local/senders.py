"""Runs of a version with layouts in this process."""

from pathlib import Path
from typing import Any

from attrs import evolve
from local.one_run import Result, carried_out, fetch, job_of, read_rejects

from lume_local._flow.definition import read_definition
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect

COLUMNS: dict[str, Any] = {
    "order_id": {"type": "integer", "required": True},
    "amount": {"type": "number", "sql_type": "DECIMAL(12,2)"},
    "note": {},
}


def definition(layouts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"flow": "orders", "version": "v1", "columns": COLUMNS, "layouts": layouts, **changes}


def run(
    folder: Path,
    layouts: dict[str, Any],
    *files: tuple[str, bytes],
    rejects: str = ".csv",
    mapped: str = ".parquet",
    job: dict[str, Any] | None = None,
    layout: str = "",
    headers: dict[str, list[str]] | None = None,
    **changes: Any,
) -> Result:
    """Run a version with these layouts over files, whose names are shown."""
    (folder / "run").mkdir(parents=True)
    paths = [folder / name for name, _ in files]
    for path, (_, content) in zip(paths, files, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    target = folder / f"rejects{rejects}"
    with connect() as connection:
        flow = compile_flow(connection, read_definition(definition(layouts, **changes)))
        made = job_of(flow, folder / "run", paths, folder / f"mapped{mapped}", target)
        for file in made.source["files"]:
            file["shown"] = file["below"] = Path(file["path"]).relative_to(folder).as_posix()
        made = evolve(made, layout=layout, headers=headers or {}, **(job or {}))
        record = carried_out(connection, made)
    written = target.read_bytes() if record["target_locations"]["rejects"] else b""
    rows = read_rejects(written, flow) if rejects == ".csv" else []
    found = [
        tuple(None if value is None else str(value) if n == 1 else value for n, value in enumerate(row))
        for row in fetch(f"{folder}/mapped{mapped}")
    ]
    return Result(record["metrics"], found, written, rows)
