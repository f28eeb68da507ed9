"""Views of a run: as JSON, a table row, a sentence, a page."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lume_async import Delivery, LumeRun
from lume_async._base.words import counted
from lume_cli._output.text import (
    age,
    as_json,
    duration,
    filtered,
    moment,
    plain,
    short,
    shorts,
    visible,
    warnings,
)

_WARNINGS = 5
"""The maximum number of warnings at the end of a run."""
_FIELDS = (
    *("id", "status", "flow_version", "source_path", "run_metadata", "force_rerun", "submitted_by"),
    *("created_at", "started_at", "finished_at", "progress", "reused"),
)
_REPLAY = "upload://lume-replay-"
_UPLOAD = re.compile(r"upload://(?:[0-9a-f]{32}-)?(.+)")

HEADERS = ("RUN", "STATUS", "FLOW", "AGE", "TOOK", "SOURCE")
"""The source comes last because only its length is unlimited: if the terminal wraps it, it can be copied whole."""


def to_dict(run: LumeRun) -> dict[str, Any]:
    """Return the run as JSON, with the field names of the wire format."""
    fields = {name: getattr(run, name) for name in _FIELDS}
    status = None if run.status is None else str(run.status)
    return fields | {"status": status, "metadata": dict(run.metadata)}


def status_word(run: LumeRun) -> str:
    """Return the status, with the progress if the server reports one."""
    if run.status is None:
        return "…"
    if run.is_terminal or run.progress is None:
        return str(run.status)
    return f"{run.status} {run.progress:.0%}"


def took(run: LumeRun) -> str:
    """Return how long the run took; empty until it has finished."""
    if run.started_at is None or run.finished_at is None:
        return ""
    return duration((run.finished_at - run.started_at).total_seconds())


def source(run: LumeRun) -> str:
    """Return the source in a table; for rejected rows of other runs the source that had them, if it is one."""
    path, about = run.source_path or "", run.run_metadata or {}
    rows: Any = about.get("mend", about.get("replay"))
    first = rows.get("source_path") if isinstance(rows, dict) else about.get("resubmit_source")
    of = f" of {_named(first)}" if isinstance(first, str) else ""
    if path.startswith(_REPLAY) and isinstance(rows, dict):
        return (
            f"{'corrections' if 'mend' in about else 'replay'} of {counted(rows.get('rows', 0), 'row')}{of}"
        )
    is_resubmit = path.startswith("upload://") and "resubmit_of" in about
    return f"corrections{of}" if is_resubmit and of else _named(path)


def _named(path: str) -> str:
    """Return a source, for an upload the name of its file, since the rest means nothing to people."""
    upload = _UPLOAD.fullmatch(path)
    return f"{upload[1]} (uploaded)" if upload else path


def rows(runs: Sequence[LumeRun]) -> list[tuple[str, ...]]:
    """Return the table rows under `HEADERS`."""
    ids, now = shorts(run.id for run in runs), datetime.now(UTC)
    return [
        (
            ids[run.id],
            status_word(run),
            run.flow_version or "",
            "" if run.created_at is None else age((now - run.created_at).total_seconds()),
            took(run),
            source(run),
        )
        for run in runs
    ]


END_HEADERS = ("RUN", "STATUS", "ROWS", "REJECTS", "TOOK", "SOURCE")


def end_rows(runs: Sequence[LumeRun]) -> list[tuple[str, ...]]:
    """Return the table rows under `END_HEADERS`: how the runs finished."""
    ids = shorts(run.id for run in runs)
    return [(ids[run.id], status_word(run), *counts(run), took(run), source(run)) for run in runs]


def counts(run: LumeRun) -> tuple[str, str]:
    """Return the rows that were read and rejected, where known."""
    metrics, stages = run.metadata.metrics, run.metadata.stages
    read = metrics.rows_read or max((stage.rows or 0 for stage in stages), default=0)
    known = is_counted(run)
    return f"{read:,}" if read or known else "", f"{metrics.rows_rejected:,}" if known else ""


def is_counted(run: LumeRun) -> bool:
    """Return whether the server has counted rows: some never do, and a run that failed early has none."""
    return bool(run.metadata.get("metrics")) and (run.has_output or run.metadata.metrics.rows_read > 0)


def elapsed(run: LumeRun, now: datetime) -> float:
    """Return the seconds since the start of the run, or its duration."""
    began = run.started_at or run.created_at
    return 0.0 if began is None else max(((run.finished_at or now) - began).total_seconds(), 0.0)


def failure(run: LumeRun) -> str | None:
    """Return the reason why the run failed; None if it did not."""
    if not run.is_terminal or run.has_output:
        return None
    return run.error_message or "the server gave no reason"


def status_counts(statuses: Mapping[str, int]) -> str:
    """Return `: SUCCEEDED 3, FAILED 1`; empty if there is nothing to count."""
    most_first = sorted(statuses.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{visible(name)} {count:,}" for name, count in most_first)
    return f": {listed}" if listed else ""


def ending(run: LumeRun) -> str:
    """Return how a finished run ended, in one sentence."""
    metrics = run.metadata.metrics
    lasted = f" in {took(run)}" if took(run) else ""
    if run.has_output and not is_counted(run):
        return f"run {short(run.id)} {run.status}{lasted}"
    if run.has_output:
        rows = counted(metrics.rows_read, "row")
        return (
            f"run {short(run.id)} {run.status}{lasted}: {rows} read, {metrics.rows_mapped:,} mapped, "
            f"{metrics.rows_rejected:,} rejected{filtered(metrics.rows_filtered)}"
        )
    return f"run {short(run.id)} {run.status}{lasted}: {failure(run)}"


def next_steps(run: LumeRun) -> list[str]:
    """Return the notes on a finished run: its warnings, and how to see rejected rows and their likely cause."""
    if not run.has_output:
        return []
    found = warnings(run.metadata.metrics.warnings)
    lines = [f"  warning: {one}" for one in found[:_WARNINGS]]
    if len(found) > _WARNINGS:
        lines.append(f"  warning: {len(found) - _WARNINGS:,} more: `lume show {short(run.id)}`")
    if not run.metadata.metrics.rows_rejected:
        return lines
    lines.append(f"  next: `lume rejects {short(run.id)}` lists the rejected rows")
    return [*lines, *(f"  hint: {hint}" for hint in _hints(run))]


def _hints(run: LumeRun) -> list[str]:
    """Likely causes of rejected rows. The server reports a wrong encoding only if the run FAILED because of it."""
    reasons = run.metadata.metrics.reject_reasons
    count = sum(count for reason, count in reasons.items() if reason.endswith("not valid UTF-8"))
    if not (count and run.has_output):
        return []
    return [
        f"{counted(count, 'row is', 'rows are')} not valid UTF-8, perhaps cp1252, as spreadsheets save CSV: "
        "save the source as UTF-8; or, if it is CSV and entirely in that encoding, set csv.encoding in a new "
        "flow version"
    ]


def locations(run: LumeRun) -> list[tuple[str, str]]:
    table = run.metadata.target_locations.rejects_table
    places = (("mapped", run.mapped_location), ("rejects", run.rejects_location), ("rejects in", table))
    return [(name, place) for name, place in places if place]


def page(run: LumeRun) -> list[tuple[str, str]]:
    """Return all details of a run as (name, value) pairs; a name may occur several times."""
    metrics = run.metadata.metrics
    lines = [
        ("run", run.id),
        ("status", status_word(run)),
        ("flow", run.flow_version or ""),
        ("source", run.source_path or ""),
        ("it lies at", (run.metadata.get("arrival") or {}).get("lies_at") or ""),
        ("created", moment(run.created_at)),
        ("started", moment(run.started_at)),
        ("finished", moment(run.finished_at) + (f" ({took(run)})" if took(run) else "")),
        ("rerun", "forced" if run.force_rerun else ""),
        ("submitted by", run.submitted_by or ""),
        ("metadata", as_json(run.run_metadata) if run.run_metadata else ""),
    ]
    lines += [("stage", _stage(stage)) for stage in run.metadata.stages]
    if is_counted(run):
        text = (
            f"{metrics.rows_read:,} read, {metrics.rows_mapped:,} mapped, {metrics.rows_rejected:,} rejected"
            f"{filtered(metrics.rows_filtered)}"
        )
        lines.append(("rows", text))
    lines += [("layout", layout) for layout in _layouts(run)]
    reasons = sorted(metrics.reject_reasons.items(), key=lambda item: (-item[1], item[0]))
    lines += [("rejected", f"{counted(count, 'row')}: {reason}") for reason, count in reasons]
    lines += [("warning", warning) for warning in warnings(run.metadata.metrics.warnings)]
    lines += [("hint", hint) for hint in _hints(run)]
    lines += locations(run)
    lines.append(("error", run.error_message or ""))
    lines += [("note", note) for note in run.metadata.notes]
    return [(name, value) for name, value in lines if value]


def _layouts(run: LumeRun) -> list[str]:
    """Return a line for each layout of the run's files; before they are counted, the submitted one."""
    source, given = run.metadata.metrics.source, " (as submitted)" if run.layout else ""
    found = {} if source is None else source.layouts
    if not found:
        return [f"{run.layout}{given}"] if run.layout else []
    cells = [(name, counted(one.files, "file"), counted(one.rows_read, "row")) for name, one in found.items()]
    names, files, rows = (max(map(len, column)) for column in zip(*cells, strict=True))
    rejected = [f", {one.rows_rejected:,} rejected" if one.rows_rejected else "" for one in found.values()]
    return [
        f"{name:<{names}}  {file:>{files}}  {row:>{rows}}{bad}{given}"
        for (name, file, row), bad in zip(cells, rejected, strict=True)
    ]


Shown = tuple[LumeRun, Sequence[Delivery] | None]
"""A run with its webhooks and messages; None if they are not known."""


def whole_page(run: LumeRun, deliveries: Sequence[Delivery] | None) -> list[tuple[str, str]]:
    """Return all details of a run, and its webhooks and messages."""
    return [*page(run), *((one.kind, _delivery(one)) for one in deliveries or ())]


def whole_dict(run: LumeRun, deliveries: Sequence[Delivery] | None) -> dict[str, Any]:
    """Return the run as JSON, with its webhooks and messages."""
    if deliveries is None:
        return to_dict(run)
    first = ("id", "kind", "state", "receiver", "attempts", "error")
    described = [{**{name: getattr(one, name) for name in first}, **plain(one)} for one in deliveries]
    return to_dict(run) | {"deliveries": described}


def _delivery(one: Delivery) -> str:
    """Return `delivered to OPS_URL, 2026-01-02 03:04:05 UTC`, or the obstacle."""
    state = {"given_up": "given up, not delivered"}.get(one.state, one.state)
    attempts = counted(one.attempts, "attempt")
    if one.delivered_at is not None:
        return f"{state} to {one.receiver}, {moment(one.delivered_at)}"
    return f"{state} to {one.receiver}, after {attempts}" + (f": {one.error}" if one.error else "")


def _stage(stage: Any) -> str:
    parts = [stage.name]
    if stage.duration_seconds is not None:
        parts.append(duration(stage.duration_seconds))
    if stage.rows is not None:
        parts.append(counted(stage.rows, "row"))
    return ", ".join(parts)
