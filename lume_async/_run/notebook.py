"""The HTML that notebooks show for a run. Pure."""

from typing import Any

from lume_async._base.html import facts
from lume_async.errors import ResponseDecodeError


def run_html(run: Any) -> str:
    """Return the state of a run at the last poll, as HTML."""
    try:
        shown = _facts(run)
    except ResponseDecodeError as error:
        shown = [("status", run.status), ("problem", f"its metadata can't be read: {error}")]
    return facts(f"run {run.id}", shown)


def _facts(run: Any) -> list[tuple[str, object]]:
    metrics, took = run.metadata.metrics, None
    if run.started_at and run.finished_at:
        took = f"{(run.finished_at - run.started_at).total_seconds():.1f} s"
    rows = f"{metrics.rows_read:,} read, {metrics.rows_mapped:,} mapped, {metrics.rows_rejected:,} rejected"
    reasons = sorted(metrics.reject_reasons.items(), key=lambda item: -item[1])
    return [
        ("status", run.status or "not seen yet"),
        ("flow", run.flow_version),
        ("source", run.source_path),
        ("created", run.created_at),
        ("took", took),
        ("rows", rows if run.has_output or metrics.rows_read else None),
        *(("rejected", f"{count:,}: {reason}") for reason, count in reasons),
        ("mapped rows", run.mapped_location),
        ("rejected rows", run.rejects_location),
        ("error", run.error_message),
        *(("note", note) for note in run.metadata.notes),
    ]
