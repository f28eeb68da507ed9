"""The stages of a run as a list that grows: when each began and ended, and how many rows it has seen. Pure."""

from collections.abc import Iterable
from typing import Any

from attrs import frozen

Stages = list[dict[str, Any]]


@frozen
class Entered:
    """A stage that has begun; `rows` is what the one before has seen."""

    name: str
    rows: int | None
    at: str


def entered(stages: Stages, more: Iterable[Entered]) -> Stages:
    """With those that have begun since."""
    for one in more:
        begun = {"name": one.name, "started_at": one.at, "finished_at": None, "rows": None}
        stages = [*closed(stages, one.rows, one.at), begun]
    return stages


def closed(stages: Stages, rows: int | None, at: str) -> Stages:
    """With the last one ended then, after so many rows."""
    if not stages:
        return []
    return [*stages[:-1], {**stages[-1], "finished_at": at, "rows": rows}]
