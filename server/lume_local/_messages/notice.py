"""A notice as rules and texts use it; `_runs.deliveries.notices` writes it."""

import re
from typing import Any

import orjson
from attrs import field, frozen

from lume_local._messages.values import without_values


@frozen
class Notice:
    """The end of a run, or a refused file.

    Attributes:
        kind: a status, or `arrival.refused`.
        place: the source, or the file.
        reasons: reasons of rejects, with the number of rows.
        error: the error; it may quote values.
        unusual: one sentence for each unusual property of the run.
        at: the time, formatted as on the wire.
    """

    kind: str
    flow: str
    flow_version: str
    at: str
    run_id: str = ""
    place: str = ""
    read: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(factory=dict)
    error: str | None = None
    unusual: list[str] = field(factory=list)
    arrival: str = ""

    @classmethod
    def of(cls, body: bytes) -> "Notice":
        given: dict[str, Any] = orjson.loads(body)
        return cls(**{name: value for name, value in given.items() if name in cls.__annotations__})

    @property
    def share(self) -> float:
        """The share of rejected rows."""
        return self.rejected / self.read if self.read else 0.0

    def why(self, *, with_values: bool) -> str:
        """Return the error in one line; without values it is the same for all runs that fail alike."""
        if not self.error:
            return "the server gave no reason"
        if with_values:
            return self.error
        name = re.escape(self.place.rpartition("/")[2])
        return without_values(
            re.sub(rf"['\"]?[^\s('\"]*{name}['\"]?", "the source", self.error) if name else self.error
        )
