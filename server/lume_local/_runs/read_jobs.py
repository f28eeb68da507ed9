"""What a worker needs to know to read an output of a run."""

from lume_local._flow.definition import Flow
from lume_local._runs.store.records import StoredRun
from lume_local._shared.protocol import Read

PLAIN = {"delim": ",", "quote": '"', "escape": ""}
_LITERALS = {"integer": "number", "number": "number", "boolean": "boolean"}


def read_output(
    run: StoredRun, flow: Flow, part: str, identity: str, *, limit: int, reason: str | None = None
) -> Read:
    """The job for the first page of an output; an empty identity matches any file."""
    is_rejects = part == "rejects"
    location = str(run.target_locations[part])
    # Rejects of a CSV source have its dialect and encoding.
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
