"""Parts that differ by database, besides executing statements: the feed, and the right to publish."""

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
        """Delete changes from before a time without gaps, oldest first; return how many."""
        ...

    async def follow(self, visible: Callable[[], None]) -> None:
        """See `SqlStore`."""
        ...


class Publishing(Protocol):
    """The right to publish the outputs of runs: if several servers share the state, one at a time has it."""

    @property
    def is_shared(self) -> bool:
        """Whether another server may take the state while this one runs."""
        ...

    async def allow(self, run_id: str) -> bool:
        """Record that a run's output is about to be published; return False if the run has ended and must not be.

        Raises `StoreUnavailable` if another server has the state.
        """
        ...

    async def is_allowed(self, run_id: str) -> bool:
        """Return whether that is recorded: the run's worker, if alive, may then publish at any time."""
        ...

    async def check(self) -> None:
        """Raise `StoreUnavailable` if another server has the state."""
        ...
