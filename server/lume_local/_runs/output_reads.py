"""How the outputs of a run are read: the jobs for their first pages, and the forms of malformed lines. Pure."""

from attrs import evolve

from lume_local._flow.definition import Flow
from lume_local._runs.store.records import StoredRun
from lume_local._runs.unusual import is_mend, mends_others
from lume_local._shared.protocol import Json, Read

LINES = "malformed_lines"
"""The member of a run's metrics that says how to read its malformed lines (see `line_forms` of the worker)."""
PLAIN = {"delim": ",", "quote": '"', "escape": ""}
_LITERALS = {"integer": "number", "number": "number", "boolean": "boolean"}


def lines_of(run: StoredRun, flow: Flow | None) -> list[Json] | None:
    """Return how to read the malformed lines among a run's rejects when they are corrected.

    Runs of earlier releases have no record of it. The result is then None if all their lines have the header of the
    rejects, and an empty list if that can't be known.
    """
    found: list[Json] | None = run.metrics.get(LINES)
    if found is not None:
        return found
    source = None if flow is None else flow.source
    if source is not None and (source.header.names or (source.fixed is not None and source.fixed.names)):
        return None
    is_of_lines = source is None or source.format in ("csv", "fixed")
    several = len(run.metrics.get("source", {}).get("files", ())) > 1
    of_others = mends_others(run.run_metadata) or is_mend(run.run_metadata)
    return None if is_of_lines and not several and not of_others else []


def layouts_of(run: StoredRun) -> dict[str, str]:
    """Return the layouts of a run's files by their names; by an empty name if it had only one."""
    source = run.metrics.get("source") or {}
    found = {one["file"]: one["layout"] for one in source.get("files", ()) if "layout" in one}
    layouts = list(source.get("layouts", ()))
    return found | ({"": layouts[0]} if len(layouts) == 1 else {})


def read_output(
    run: StoredRun, flow: Flow, part: str, identity: str, *, limit: int, reason: str | None = None
) -> Read:
    """Return the job for the first page of an output; an empty identity matches any file."""
    is_rejects = part == "rejects"
    rows = run.metrics["rows_rejected" if is_rejects else "rows_mapped"]
    job = read_mapped(str(run.target_locations[part]), rows, flow, identity, limit=limit)
    if not is_rejects:
        return job
    reasons = list(run.metrics["reject_reasons"])
    job = evolve(job, kinds={}, types={}, is_rejects=True, reasons=reasons, reason=reason)
    source = flow.source
    if source.format != "csv":
        return job
    # Rejects of a CSV source keep its dialect and encoding.
    dialect = {"delim": source.delim, "quote": source.quote, "escape": source.escape}
    return evolve(job, csv=dialect, encoding=source.encoding)


def read_mapped(location: str, rows: int, flow: Flow, identity: str, *, limit: int) -> Read:
    kinds = {column.name: _LITERALS[column.type] for column in flow.columns if column.type in _LITERALS}
    types = {column.name: column.sql_type for column in flow.columns}
    return Read(location, identity, PLAIN, "utf-8", kinds, "0", 0, rows, limit, types=types)
