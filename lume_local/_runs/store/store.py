"""What the server requires of a store for its state; there are two, `sqlite` and `postgres`.

Callers rely on these guarantees:

- **Atomic.** An operation takes effect as a whole or not at all, and sees one state: no other operation comes between
  its reads and its writes. Between two operations, anything may happen. To write depending on what was read, pass the
  state that was read (`update`), or pause submissions (`submissions_paused`).
- **Failures.** After `StoreFailed` nothing has changed. After `StoreUnavailable` a retry may work; a store on another
  machine may have lost its answer: if it `is_in_doubt`, what was to be written may be there. A cancelled operation
  took effect or did not, never in part.
- **Order.** Every operation sees the effects of those that ended before it began; only the feed may have their
  changes later (`follow`). A change never enters the feed before one that was already returned.
- **Durable.** When `settled` returns, the runs created, the runs ended and the flow versions stored before its call
  survive a power cut. Await it before showing them to clients or acting on them. Stages of runs may be lost.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from lume_local._runs.store.arrived import ArrivedFiles
from lume_local._runs.store.audit import Act, Audit
from lume_local._runs.store.drafts import Drafts
from lume_local._runs.store.ledger import Claim, Ledger
from lume_local._runs.store.messages import Messages
from lume_local._runs.store.publishing import Publishing
from lume_local._runs.store.purge import Purge
from lume_local._runs.store.records import (
    KINDS,
    Attempted,
    Count,
    Cursor,
    FollowUp,
    NewRun,
    PendingDelivery,
    RunFilter,
    StatusChange,
    StoredFlow,
    StoredRun,
)
from lume_local._shared.identity import SourceContent


class Deliveries(Protocol):
    """The outbox. A delivery is settled once it is delivered or abandoned."""

    async def waiting(self, most: int, kinds: Collection[str] = KINDS) -> list[PendingDelivery]:
        """The first pending deliveries for each receiver, at most so many each, in the order in which they are due.

        Only of these kinds.
        """
        ...

    async def body(self, delivery_id: str) -> bytes:
        """The body of a pending delivery."""
        ...

    async def of_run(self, run_id: str) -> list[Attempted]:
        """The webhooks and messages of a run, oldest first; settled ones until they are deleted."""
        ...

    async def pending(self) -> int:
        """How many are neither delivered nor abandoned."""
        ...

    async def delivered(self, delivery_id: str) -> None:
        """The receiver has accepted it."""
        ...

    async def failed(self, delivery_id: str, error: str, due: float | None) -> None:
        """An attempt has failed; the next is due at that time, None abandons the delivery."""
        ...


class Outputs(Protocol):
    """For each run and part (`mapped`, `rejects`) the identity of its file when it was written."""

    async def identity(self, run_id: str, part: str) -> str | None:
        """The identity of an output, empty once it is removed; None if it is not a file, such as rows of a table."""
        ...

    async def written_before(self, before: str, limit: int) -> list[tuple[str, str, str, str]]:
        """Files of runs that ended before a time: run, part, identity, and the run's locations as JSON.

        Without objects: the owner of an object store removes those.
        """
        ...

    async def forget(self, run_id: str, part: str) -> None:
        """The output is removed: a file at its location is another one."""
        ...


class Sources(Protocol):
    """What runs have read."""

    async def read_by(self, run_id: str) -> SourceContent | None:
        """What identifies the content that a run has read; None if that was not recorded."""
        ...

    async def last_header(self, flow_version: str) -> list[str] | None:
        """The columns that the latest run with output has read; None if there is no such run or it recorded none."""
        ...


class Statistics(Protocol):
    """Counts of runs and their rows, updated in the same transaction as the runs."""

    async def last_figures(self, flow: str, limit: int) -> list[tuple[int, int]]:
        """The rows that the latest runs with output have read and rejected, in any version, newest first.

        Without runs that process rejects of others.
        """
        ...

    async def counts(
        self, by: Sequence[str], since: str | None, flow: str | None, *, worst_first: bool, limit: int
    ) -> list[Count]:
        """Runs created in or after the hour of `since`, grouped.

        Args:
            worst_first: sort by the share of rejected rows, else by the dimensions.
        """
        ...


class Attention(Protocol):
    """What people did about runs that need attention."""

    async def dismiss(self, run_id: str, why: str, by: str) -> None:
        """Note that nothing is left to do about a run, and that `by` has decided so (`audit.DISMISS`)."""
        ...

    async def of(self, run_id: str) -> FollowUp:
        """What was done about a run, and which run it is about itself."""
        ...


class Store(Protocol):
    """The whole state. Runs have the rule "one success, one attempt at a time" for each flow version and source."""

    @property
    def store_id(self) -> str:
        """Identifies this state, so that cursors of an earlier one are refused."""
        ...

    @property
    def kind(self) -> str:
        """Where the state is, such as `sqlite`."""
        ...

    @property
    def form(self) -> int:
        """The number of its form: each release that changes it has a higher one."""
        ...

    @property
    def deliveries(self) -> Deliveries:
        """The outbox."""
        ...

    @property
    def messages(self) -> Messages:
        """Notices."""
        ...

    @property
    def outputs(self) -> Outputs:
        """The identities of outputs."""
        ...

    @property
    def sources(self) -> Sources:
        """The contents of sources."""
        ...

    @property
    def arrivals(self) -> ArrivedFiles:
        """The files that arrived."""
        ...

    @property
    def attention(self) -> Attention:
        """What people did."""
        ...

    @property
    def ledger(self) -> Ledger:
        """What happened to rejected rows."""
        ...

    @property
    def drafts(self) -> Drafts:
        """Rejected rows that people edit."""
        ...

    @property
    def audit(self) -> Audit:
        """Who did what."""
        ...

    @property
    def purge(self) -> Purge:
        """The removal of old runs."""
        ...

    @property
    def publishing(self) -> Publishing:
        """The right to publish."""
        ...

    @property
    def statistics(self) -> Statistics:
        """Counts."""
        ...

    async def settled(self) -> None:
        """Wait until all runs created or ended so far, and all flow versions, survive a power cut.

        Raises OSError, `StoreFailed`.
        """
        ...

    def submissions_paused(self) -> AbstractAsyncContextManager[None]:
        """As long as the block lasts, creating runs and storing flow versions waits. Keep it short."""
        ...

    async def active_sources(self) -> list[str]:
        """The source keys of the runs that have not ended."""
        ...

    async def active_seeds(self) -> list[str]:
        """The source paths of the seeds that runs bring which have not ended."""
        ...

    async def forget(self, before: str, limit: int) -> int:
        """Delete changes, idempotency keys and settled deliveries from before a time; how many were deleted.

        At most `limit` of each: call it until it returns 0. Runs stay (see `purge`), and flow versions.
        """
        ...

    # -- runs

    async def create(self, new: NewRun, claims: Sequence[Claim] = ()) -> tuple[StoredRun, bool]:
        """Claim the source for a new run, or find the run of the same idempotency key; whether it is new.

        Of any number of requests for one source, one gets it. A replay and a forced rerun are acts (`of_submission`).
        Raises `Duplicate`, `KeyReused`.

        Args:
            claims: the rows of other runs that it replays; `Claimed` is raised unless all can be had.
        """
        ...

    async def update(
        self,
        seen: StoredRun,
        status: str,
        *,
        event: bytes | None = None,
        outputs: dict[str, str] | None = None,
        lineage: bytes | None = None,
        notice: bytes | None = None,
        read: SourceContent | None = None,
        ledger: Mapping[str, Any] | None = None,
        act: Act | None = None,
        **values: Any,
    ) -> StoredRun | None:
        """Change a run from the state in which it was read, as one change; None if that is no longer its state.

        Args:
            seen: the run as it was read; compared by `rev`.
            status: the new one.
            event: the body for the run's webhook, if it has one; added to the outbox in the same transaction.
            outputs: the identities of the files it has written.
            lineage: the OpenLineage event for this change.
            notice: what the messages about it are made of.
            read: identifies the content of its source.
            ledger: what the worker has reported of the rejects.
            act: what somebody did that this change is.
            values: further fields of `StoredRun`.
        """
        ...

    async def get(self, run_id: str) -> StoredRun | None:
        """A run, or None."""
        ...

    async def require(self, run_id: str) -> StoredRun:
        """A run that must exist."""
        ...

    async def run_of_key(self, key: str) -> str | None:
        """The run of an idempotency key, whatever its request was; None if there is none."""
        ...

    async def notes(self, run_id: str) -> list[str]:
        """The notes on how a run was submitted. They never change."""
        ...

    async def unfinished(self) -> list[StoredRun]:
        """All runs that have not ended, oldest first."""
        ...

    async def overtaken_by(
        self, run: StoredRun, since: str, location: str, *, of_source: bool
    ) -> StoredRun | None:
        """The newest run submitted after this one that has ended since that time with output at that location.

        Args:
            of_source: only runs of the same flow, in any version, and the same source.
        """
        ...

    async def next_waiting(self, taken: Collection[str], at_limit: Collection[str] = ()) -> StoredRun | None:
        """The run that is to begin next: CREATED, not among `taken`, and not of a key that is `at_limit`.

        One of these that ends with a colon stands for all that begin so: the tokens of an entry.

        Those with a higher priority come first. Otherwise (key, flow) take turns: the next run of each, then the one
        after, in the order in which they were created.
        """
        ...

    async def waiting(self) -> int:
        """How many runs have not begun."""
        ...

    async def runs(self, wanted: RunFilter, before: int | None, limit: int) -> list[StoredRun]:
        """A page of runs, newest first, older than the run with sequence number `before`."""
        ...

    async def newest_by(self, submitters: Collection[str], limit: int) -> list[StoredRun]:
        """The newest runs that one of these has submitted, newest first."""
        ...

    async def runs_of(self, refs: Collection[str], *, with_output: bool = False) -> dict[str, int]:
        """How many runs used each of these flow versions, or have output; versions without such runs are omitted."""
        ...

    async def is_used(self, ref: str) -> bool:
        """Whether any run used a flow version, also one that was purged since."""
        ...

    # -- the feed of status changes

    async def changes(self, after: Cursor, limit: int) -> tuple[list[StatusChange], Cursor]:
        """Changes after a cursor, oldest first, without a gap, and the cursor after them. Raises `CursorForgotten`.

        A later call never returns a change that belongs before one of these.
        """
        ...

    async def newest(self) -> Cursor:
        """The end of the feed."""
        ...

    async def follow(self, visible: Callable[[], None]) -> None:
        """Call `visible` when changes appear in the feed after the operations that made them, until cancelled.

        It returns if there can be none.
        """
        ...

    # -- flow versions; the registry decides which may be replaced

    async def put_flow(self, flow: StoredFlow, act: Act | None = None) -> None:
        """Store a flow version, or its newly compiled form; with the act that this is, if it is one."""
        ...

    async def flows(self) -> list[StoredFlow]:
        """All flow versions."""
        ...
