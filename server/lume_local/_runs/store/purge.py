"""Values for the purge of old runs (see `_runs.purge`)."""

from typing import TypeAlias

from attrs import frozen

LookedAt: TypeAlias = tuple[str, int] | None
"""The end and the number of the last examined run; None at the end of the list."""


@frozen
class Purged:
    """How many runs were removed, and how many were made compact."""

    removed: int = 0
    compact: int = 0

    @property
    def runs(self) -> int:
        return self.removed + self.compact

    def __add__(self, other: "Purged") -> "Purged":
        return Purged(self.removed + other.removed, self.compact + other.compact)
