"""What each database does in a way of its own, besides executing statements: the feed, and the right to publish."""

from collections.abc import Callable
from typing import Protocol

from lume_local._runs.store.records import Cursor, StatusChange


class Feed(Protocol):
    """The changes of runs, in an order in which no change appears before one that was already returned.

    Each method but `follow` is part of an operation.
    """

    async def note(self, run_id: str, status: str, finished_at: str | None) -> None:
        """Add a change."""
        ...

    async def changes(self, after: Cursor, limit: int) -> tuple[list[StatusChange], Cursor]:
        """See `SqlStore`."""
        ...

    async def newest(self) -> Cursor:
        """See `SqlStore`."""
        ...

    async def forget(self, before: str, limit: int) -> int:
        """Delete changes from before a time without gaps, oldest first; how many were deleted."""
        ...

    async def follow(self, visible: Callable[[], None]) -> None:
        """See `SqlStore`."""
        ...


class Publishing(Protocol):
    """Which server may publish the outputs of runs, if several share the state: one at a time has it."""

    @property
    def is_shared(self) -> bool:
        """Whether another server may take the state while this one runs."""
        ...

    async def allow(self, run_id: str) -> bool:
        """Note that the output of a run is about to be published; False if it has ended, and must not be.

        Raises `StoreUnavailable` if another server has the state.
        """
        ...

    async def is_allowed(self, run_id: str) -> bool:
        """Whether that is noted: then its worker may publish at any time, if it lives."""
        ...

    async def check(self) -> None:
        """Raises `StoreUnavailable` if another server has the state."""
        ...
