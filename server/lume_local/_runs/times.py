"""Times in the wire format: RFC 3339, UTC, microseconds; and the times of a run's stages."""

from datetime import UTC, datetime, timedelta
from typing import Any

Stages = list[dict[str, Any]]
"""The stages of a run: when each began and ended, and how many rows it processed."""


def now_text() -> str:
    return as_text(datetime.now(UTC))


def ago_text(seconds: float) -> str:
    """Return the time that many seconds ago. These strings sort chronologically."""
    return as_text(datetime.now(UTC) - timedelta(seconds=seconds))


def as_text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def seconds_between(start: str | None, end: str | None) -> float | None:
    """Return the seconds between two times, never below 0 (a clock may be set back); None if one is missing."""
    if start is None or end is None:
        return None
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def entered(stages: Stages, name: str, rows: int | None, now: str) -> Stages:
    """Return the stages with a new one that begins now; `rows` is the row count of the previous one."""
    return [*closed(stages, rows, now), {"name": name, "started_at": now, "finished_at": None, "rows": None}]


def closed(stages: Stages, rows: int | None, now: str) -> Stages:
    """Return the stages with the last one ended now, after this many rows."""
    if not stages:
        return []
    return [*stages[:-1], {**stages[-1], "finished_at": now, "rows": rows}]
