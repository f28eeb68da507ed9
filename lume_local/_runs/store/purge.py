"""What the state says of old runs, and removes of them (see `_runs.purge`)."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

from attrs import frozen

from lume_local._runs.store.records import StoredRun

LookedAt: TypeAlias = tuple[str, int] | None
"""The end and the number of the last run that was looked at; None once there are no more."""


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


class Purge(Protocol):
    """The old runs of a state. `outputs`: whether the server removes outputs, and so must know where they are."""

    async def old(
        self, before: str, after: tuple[str, int], limit: int, *, outputs: bool
    ) -> tuple[list[StoredRun], LookedAt]:
        """Of the next `limit` runs that ended before a time, those that can be removed or made compact; in order.

        Args:
            after: where the previous call ended.
        """
        ...

    async def remove(
        self, found: Sequence[StoredRun], before: str, *, outputs: bool, detail: dict[str, Any]
    ) -> Purged:
        """Remove these runs or make them compact, as far as that is still right. It is an act, with that detail."""
        ...
