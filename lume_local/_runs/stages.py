"""The stages of a run as a list that grows: when each began and ended, and how many rows it has seen. Pure."""

from typing import Any

Stages = list[dict[str, Any]]


def entered(stages: Stages, name: str, rows: int | None, now: str) -> Stages:
    """With one more that begins now; `rows` is what the one before has seen."""
    return [*closed(stages, rows, now), {"name": name, "started_at": now, "finished_at": None, "rows": None}]


def closed(stages: Stages, rows: int | None, now: str) -> Stages:
    """With the last one ended now, after so many rows."""
    if not stages:
        return []
    return [*stages[:-1], {**stages[-1], "finished_at": now, "rows": rows}]
