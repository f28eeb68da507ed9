"""What a webhook says: the only document of the contract that is stored, with the end that it reports. Pure."""

import orjson

from lume_local._runs.records import Run


def event_body(run: Run, status: str, finished_at: str) -> bytes:
    """The body for a run that ends now, with this status."""
    document = {
        "event": "run.finished",
        "run_id": run.run_id,
        "status": status,
        "flow_version": run.flow_version,
        "source_path": run.source_path,
        "run_metadata": run.run_metadata,
        "finished_at": finished_at,
    }
    return orjson.dumps(document)
