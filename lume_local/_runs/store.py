"""What the server needs of whatever keeps its state; `sqlite` has the one that there is.

The guarantees, on which callers rely and which another store must give as well:

- **Atomic.** An operation is done as a whole or not at all, and sees one state: nothing comes in between its reads
  and its writes. Between two operations anything may happen. Whoever reads in order to write says from which state
  (`update`), or holds off what would matter (`submissions_paused`).
- **Failures.** `StoreFailed` says that nothing was done; `StoreUnavailable`, that it may work later. An operation
  that is cancelled was done or was not, never half.
- **Order.** What was done is seen by every operation that begins later. A change never enters the feed before one
  that was shown already.
- **Durable** is what was done before `settled` was called, once that returns: the creation and the end of runs, and
  flow versions. What is shown to clients or acted on is settled first. A power cut may take the stages of a run.
"""

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from lume_local._runs.cursor import Cursor
from lume_local._runs.records import (
    Attempted,
    Change,
    Count,
    Delivery,
    NewRun,
    Run,
    StoredFlow,
    Wanted,
)
from lume_local._shared.content import Content


class Runs(Protocol):
    """Runs, and the rule "one success, one attempt at a time" for each flow version and source."""

    async def create(self, new: NewRun) -> tuple[Run, bool]:
        """Claim the source for a new run, or find the run of the same idempotency key; whether it is new.

        Of any number of requests for one source, one gets it. Raises `Duplicate`, `KeyReused`.
        """
        ...

    async def update(
        self,
        seen: Run,
        status: str,
        *,
        event: bytes | None = None,
        outputs: dict[str, str] | None = None,
        lineage: bytes | None = None,
        read: Content | None = None,
        **values: Any,
    ) -> Run | None:
        """Move a run on from the state in which it was seen, as one change; None where that is not its state now.

        Args:
            seen: as an operation has returned it; its `rev` tells.
            status: the new one.
            event: the body for the run's webhook, if it has one: delivered because of this change, or not at all.
            outputs: the identities of what it has written.
            lineage: the event of OpenLineage for this change.
            read: what its source had.
            values: further fields of `Run`.
        """
        ...

    async def get(self, run_id: str) -> Run | None:
        """A run, or None."""
        ...

    async def require(self, run_id: str) -> Run:
        """A run that must be there."""
        ...

    async def notes(self, run_id: str) -> list[str]:
        """What is to be said of how a run came about. That never changes."""
        ...

    async def unfinished(self) -> list[Run]:
        """All runs that have not ended, oldest first."""
        ...

    async def overtaken_by(self, run: Run, since: str, location: str, *, of_source: bool) -> Run | None:
        """The newest run that was submitted after this one and has ended since that time with output there.

        Args:
            run: of which this is asked.
            since: a time.
            location: one of its `target_locations`.
            of_source: only runs of the same flow, in any version, and the same source.
        """
        ...

    async def oldest_waiting(self, taken: Collection[str]) -> Run | None:
        """The oldest run that is CREATED, without those that are taken already."""
        ...

    async def waiting(self) -> int:
        """How many runs have not begun."""
        ...

    async def runs(self, wanted: Wanted, before: int | None, limit: int) -> list[Run]:
        """A page of runs, newest first, older than the run with sequence number `before`."""
        ...

    async def runs_of(self, refs: Collection[str]) -> dict[str, int]:
        """How many runs were made with each of these flow versions, where any was."""
        ...

    async def is_used(self, ref: str) -> bool:
        """Whether any run was ever made with a flow version."""
        ...


class Changes(Protocol):
    """The feed of all changes of status."""

    async def changes(self, after: Cursor, limit: int) -> tuple[list[Change], Cursor]:
        """Changes after a place, oldest first, without a gap, and the place after them. Raises `CursorForgotten`.

        None is returned that a later call could show another one before.
        """
        ...

    async def newest(self) -> Cursor:
        """The end of the feed."""
        ...


class FlowVersions(Protocol):
    """Flow versions; what may replace what is the registry's to say."""

    async def put_flow(self, flow: StoredFlow) -> None:
        """Store a flow version, or its newly compiled form."""
        ...

    async def flows(self) -> list[StoredFlow]:
        """All flow versions."""
        ...


class Deliveries(Protocol):
    """The outbox. A delivery is settled, delivered or given up, once nothing is due any more."""

    async def waiting(self, limit: int, *, webhooks: bool = True, lineage: bool = True) -> list[Delivery]:
        """Pending deliveries of the kinds that can be sent, in the order in which they are due."""
        ...

    async def of_run(self, run_id: str) -> list[Attempted]:
        """The webhooks of a run, oldest first; settled ones until they are forgotten."""
        ...

    async def pending(self) -> int:
        """How many are neither delivered nor given up."""
        ...

    async def delivered(self, delivery_id: str) -> None:
        """The receiver has accepted it."""
        ...

    async def failed(self, delivery_id: str, error: str, due: float | None) -> None:
        """An attempt has failed; the next is due then, None gives it up."""
        ...


class Outputs(Protocol):
    """For each run and part (`mapped`, `rejects`) the identity of its file when it was written."""

    async def identity(self, run_id: str, part: str) -> str | None:
        """The identity of an output, empty when it is gone; None where it is no file: rows of a table have none."""
        ...

    async def written_before(self, before: str, limit: int) -> list[tuple[str, str, str, str]]:
        """Files of runs that ended before a time: run, part, identity, and the run's locations as JSON.

        Not objects: those of a store are removed by whoever it belongs to.
        """
        ...

    async def forget(self, run_id: str, part: str) -> None:
        """The output is gone: whatever lies at its place is not it."""
        ...


class Sources(Protocol):
    """What the sources of runs had when the runs read them."""

    async def read_by(self, run_id: str) -> Content | None:
        """What a run has read; None where that was not noted."""
        ...


class Headers(Protocol):
    """The columns that the sources of a flow had the last time."""

    async def last(self, flow_version: str) -> list[str] | None:
        """Those of its latest run with output; None before the first, or where that did not note them."""
        ...


class Statistics(Protocol):
    """Counts of runs and their rows, which a change of a run and its counts enter as one."""

    async def counts(
        self, by: Sequence[str], since: str | None, flow: str | None, *, worst_first: bool, limit: int
    ) -> list[Count]:
        """Runs created in or after the hour of `since`, grouped.

        Args:
            by: names of `DIMENSIONS`.
            since: a time; None for all.
            flow: only its versions.
            worst_first: in order of the share of rejected rows, else in that of the dimensions.
            limit: of the groups.
        """
        ...


class Store(Runs, Changes, FlowVersions, Protocol):
    """The whole state."""

    @property
    def store_id(self) -> str:
        """Says that a cursor belongs to this state and not to one that was here before."""
        ...

    @property
    def deliveries(self) -> Deliveries:
        """The outbox."""
        ...

    @property
    def outputs(self) -> Outputs:
        """What the outputs of runs were when they were written."""
        ...

    @property
    def sources(self) -> Sources:
        """What the sources of runs had."""
        ...

    @property
    def headers(self) -> Headers:
        """The columns of sources."""
        ...

    @property
    def statistics(self) -> Statistics:
        """Counts."""
        ...

    async def settled(self) -> None:
        """Wait until every run that was created or has ended by now, and every flow, outlives a power cut.

        Raises OSError, `StoreFailed`.
        """
        ...

    def submissions_paused(self) -> AbstractAsyncContextManager[None]:
        """As long as the block lasts, no run is created and no flow version stored: they wait. Keep it short."""
        ...

    async def active_sources(self) -> list[str]:
        """The source keys of the runs that have not ended."""
        ...

    async def forget(self, before: str, limit: int) -> int:
        """Drop changes, idempotency keys and settled deliveries from before a time; how many were dropped.

        At most `limit` of each: call it until nothing is left. Runs and flow versions stay.
        """
        ...
