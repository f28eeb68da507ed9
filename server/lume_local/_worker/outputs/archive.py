"""Writes records of old runs as Parquet, a format that the server itself doesn't handle."""

import os
from pathlib import Path

from lume_local._shared.commit import sync_file
from lume_local._shared.protocol import ArchiveRuns
from lume_local._worker.connection import connect
from lume_local._worker.sql import literal, text

_COLUMNS = {
    **dict.fromkeys(("run_id", "flow_version", "source_path", "source_key", "status"), "VARCHAR"),
    **dict.fromkeys(("created_at", "started_at", "finished_at"), "TIMESTAMPTZ"),
    **dict.fromkeys(("submitted_by", "error_message", "run_metadata", "stages"), "VARCHAR"),
    **dict.fromkeys(("metrics", "target_locations", "seeds"), "VARCHAR"),
    **dict.fromkeys(("rows_read", "rows_mapped", "rows_rejected"), "BIGINT"),
    "force_rerun": "BOOLEAN",
}


def archive(job: ArchiveRuns) -> None:
    """Write the file atomically and durably. Raises OSError, duckdb.Error."""
    draft = Path(job.target).with_name(f".{Path(job.target).name}.draft")
    columns = ", ".join(f"{name}: {text(kind)}" for name, kind in _COLUMNS.items())
    rows = f"read_json({literal(Path(job.rows))}, format = 'newline_delimited', columns = {{{columns}}})"
    query = f"SELECT * FROM {rows} ORDER BY finished_at"  # noqa: S608 - quoted
    try:
        with connect() as connection:
            connection.execute(f"COPY ({query}) TO {text(str(draft))} (FORMAT parquet, COMPRESSION zstd)")
        os.chmod(draft, 0o600)
        sync_file(draft)
        os.replace(draft, job.target)
    finally:
        draft.unlink(missing_ok=True)
