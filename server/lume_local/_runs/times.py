"""Times in the wire format: RFC 3339, UTC, microseconds."""

from datetime import UTC, datetime, timedelta


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
