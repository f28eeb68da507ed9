"""Describes for a worker how to read an output of a run."""

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


def read_output(
    run: StoredRun, flow: Flow, part: str, identity: str, *, limit: int, reason: str | None = None
) -> Read:
    """Return the job for the first page of an output; an empty identity matches any file."""
    is_rejects = part == "rejects"
    location = str(run.target_locations[part])
    # Rejects of a CSV source keep its dialect and encoding.
    as_source = is_rejects and flow.source.format == "csv"
    source = flow.source
    dialect = {"delim": source.delim, "quote": source.quote, "escape": source.escape}
    literals = {column.name: _LITERALS[column.type] for column in flow.columns if column.type in _LITERALS}
    return Read(
        path=location,
        identity=identity,
        csv=dialect if as_source else PLAIN,
        encoding=source.encoding if as_source else "utf-8",
        kinds={} if is_rejects else literals,
        position="0",
        row=0,
        rows=run.metrics["rows_rejected" if is_rejects else "rows_mapped"],
        limit=limit,
        is_rejects=is_rejects,
        reasons=list(run.metrics["reject_reasons"]) if is_rejects else [],
        reason=reason,
        types={} if is_rejects else {column.name: column.sql_type for column in flow.columns},
    )
