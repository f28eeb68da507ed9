"""How a run is shown: as JSON, a table row, a sentence, a page."""

from typing import Any

from lume_async import LumeRun
from lume_cli._output.text import as_json, counted, duration, moment

HEADERS = ("RUN", "STATUS", "FLOW", "SOURCE", "CREATED", "TOOK")


def to_dict(run: LumeRun) -> dict[str, Any]:
    """The run as JSON, with the field names of the wire format."""
    times = {name: getattr(run, name) for name in ("created_at", "started_at", "finished_at")}
    return {
        "id": run.id,
        "status": None if run.status is None else str(run.status),
        "flow_version": run.flow_version,
        "source_path": run.source_path,
        "run_metadata": run.run_metadata,
        "force_rerun": run.force_rerun,
        **{name: None if time is None else time.isoformat() for name, time in times.items()},
        "progress": run.progress,
        "reused": run.reused,
        "metadata": dict(run.metadata),
    }


def status_word(run: LumeRun) -> str:
    """The status, with the progress if the server reports one."""
    if run.status is None:
        return "…"
    if run.is_terminal or run.progress is None:
        return str(run.status)
    return f"{run.status} {run.progress:.0%}"


def took(run: LumeRun) -> str:
    """How long the run took; empty until it has finished."""
    if run.started_at is None or run.finished_at is None:
        return ""
    return duration((run.finished_at - run.started_at).total_seconds())


def row(run: LumeRun) -> tuple[str, ...]:
    """The table row under `HEADERS`."""
    return (
        run.id,
        status_word(run),
        run.flow_version or "",
        run.source_path or "",
        moment(run.created_at),
        took(run),
    )


END_HEADERS = ("RUN", "STATUS", "SOURCE", "MAPPED", "TOOK")


def end_row(run: LumeRun) -> tuple[str, ...]:
    """The table row under `END_HEADERS`: how the run finished."""
    metrics = run.metadata.metrics
    rows = f"{metrics.rows_mapped:,} of {metrics.rows_read:,}" if run.has_output else ""
    return run.id, status_word(run), run.source_path or "", rows, took(run)


def ending(run: LumeRun) -> str:
    """How a finished run ended, in one sentence."""
    metrics = run.metadata.metrics
    lasted = f" in {took(run)}" if took(run) else ""
    if run.has_output:
        rows = counted(metrics.rows_read, "row")
        return (
            f"run {run.id} {run.status}{lasted}: {rows} read, {metrics.rows_mapped:,} mapped, "
            f"{metrics.rows_rejected:,} rejected"
        )
    return f"run {run.id} {run.status}{lasted}: {run.error_message or 'the server gave no reason'}"


def locations(run: LumeRun) -> list[tuple[str, str]]:
    """Where the run's output is."""
    places = (("mapped", run.mapped_location), ("rejects", run.rejects_location))
    return [(name, place) for name, place in places if place]


def page(run: LumeRun) -> list[tuple[str, str]]:
    """All details of a run as (name, value) pairs; a name may occur several times."""
    metrics = run.metadata.metrics
    lines = [
        ("run", run.id),
        ("status", status_word(run)),
        ("flow", run.flow_version or ""),
        ("source", run.source_path or ""),
        ("created", moment(run.created_at)),
        ("started", moment(run.started_at)),
        ("finished", moment(run.finished_at) + (f" ({took(run)})" if took(run) else "")),
        ("rerun", "forced" if run.force_rerun else ""),
        ("metadata", as_json(run.run_metadata) if run.run_metadata else ""),
    ]
    lines += [("stage", _stage(stage)) for stage in run.metadata.stages]
    if run.has_output or metrics.rows_read:
        text = (
            f"{metrics.rows_read:,} read, {metrics.rows_mapped:,} mapped, {metrics.rows_rejected:,} rejected"
        )
        lines.append(("rows", text))
    reasons = sorted(metrics.reject_reasons.items(), key=lambda item: (-item[1], item[0]))
    lines += [("rejected", f"{counted(count, 'row')}: {reason}") for reason, count in reasons]
    lines += locations(run)
    lines.append(("error", run.error_message or ""))
    return [(name, value) for name, value in lines if value]


def _stage(stage: Any) -> str:
    parts = [stage.name]
    if stage.duration_seconds is not None:
        parts.append(duration(stage.duration_seconds))
    if stage.rows is not None:
        parts.append(counted(stage.rows, "row"))
    return ", ".join(parts)
