"""The values that a store keeps, takes and returns, independent of their storage."""

import base64
import re
from typing import Any, NamedTuple, TypeAlias

from attrs import field, frozen
from attrs.converters import optional

from lume_async._base.elided import elided
from lume_local._runs.store.arrived import Arrived
from lume_local._runs.store.drafts import Review

ACTIVE = ("CREATED", "SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET")
"""The statuses of runs that have not ended."""
WITH_OUTPUT = ("SUCCEEDED", "PARTIAL_FAILED")
WHOLE = 2.0
"""The share of rejected rows of a run without a result: greater than any that a query can name."""
LAYOUT = "layout"
DIMENSIONS = ("hour", "day", "flow_version", "status", LAYOUT)
"""The dimensions by which runs can be counted."""

KINDS = ("webhook", "lineage", "message")
"""The kinds of deliveries."""
VARIABLE = "env:"
"""The prefix of an environment variable's name, which replaces the URL of a message."""


class Duplicate(Exception):
    """Another run is processing this source, or has processed it."""

    def __init__(self, run_id: str, flow_version: str, *, is_active: bool) -> None:
        super().__init__(run_id, flow_version, is_active)
        self.run_id, self.flow_version = run_id, flow_version
        self.is_active = is_active


class KeyReused(Exception):
    """An idempotency key was reused for a different request."""


class CursorForgotten(Exception):
    """Changes after this cursor have been deleted."""


class StoreError(Exception):
    """The state can't be used. The message says what to do."""


class StoreAway(StoreError):
    """The state can't be used because its database is away; a retry may work."""


class StoreFailed(Exception):
    """An operation failed and had no effect. The message says why."""


class StoreUnavailable(StoreFailed):
    """A temporary failure: a retry may work. If it `is_in_doubt`, the operation may have taken effect."""

    def __init__(self, message: str, *, is_full: bool = False, is_in_doubt: bool = False) -> None:
        super().__init__(message)
        self.is_full, self.is_in_doubt = is_full, is_in_doubt


class TooLong(StoreFailed):
    """The names of a source are too long for this state, which looks them up in an index."""


@frozen
class NewRun:
    """A request for a run. `arrived` is its arrived file, recorded together with it.

    Attributes:
        alike: the versions of which none processes a source again, see `FlowRegistry.alike`.
        approval: of the rows of a draft, if their flow asks for one.
    """

    flow_version: str
    source_path: str
    source_key: str
    run_metadata: Any
    force_rerun: bool
    idempotency_key: str | None
    fingerprint: str
    webhook_url: str | None = None
    traceparent: str | None = None
    note: str | None = None
    submitted_by: str | None = None
    priority: int = 0
    seeds: dict[str, dict[str, Any]] = field(factory=dict)
    layout: str | None = None
    arrived: Arrived | None = None
    alike: tuple[str, ...] = ()
    approval: Review | None = None


@frozen
class StoredRun:
    """A run as it is stored. `rev` grows with every change.

    Attributes:
        submitted_by: the name of the key; None for runs of a server that did not record it.
        seeds: the seeds that it brings, see `RunSeeds`.
        layout: the layout of its files, if its submission names one.
        is_compact: whether a purge has removed its stages and column statistics.
        arrival: the name of the arrival, if this is the last run of its file.
        is_plain: whether it is known to have no `FollowUp`.
    """

    seq: int
    run_id: str
    rev: int
    flow_version: str
    source_path: str
    source_key: str
    run_metadata: Any
    force_rerun: bool
    status: str
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None
    stages: list[dict[str, Any]] = field(factory=list)
    metrics: dict[str, Any] = field(factory=dict)
    target_locations: dict[str, Any] = field(factory=dict)
    error_message: str | None = field(default=None, converter=optional(elided))
    submitted_by: str | None = None
    seeds: dict[str, dict[str, Any]] = field(factory=dict)
    layout: str | None = None
    is_compact: bool = False
    arrival: str | None = None
    is_plain: bool = field(default=False, converter=bool, eq=False)


@frozen
class RunFilter:
    """Selects runs; None and an empty list mean all.

    Attributes:
        flow: the runs of all its versions.
        source: a substring of the source path.
        since: the earliest time of creation.
        attention: runs that need attention: without a result, or with more than this share of their rows rejected.
    """

    flow_version: str | None = None
    flow: str | None = None
    source_path: str | None = None
    source: str | None = None
    statuses: list[str] = field(factory=list)
    since: str | None = None
    attention: float | None = None
    submitted_by: str | None = None


@frozen
class FollowUp:
    """Notes on a run, and its follow-ups.

    Attributes:
        notes: the notes on its submission, which never change.
        mends: the run whose rejects it processes.
        mended_by: the runs that process its rejects, newest first.
        dismissed: why, and when (`at`), a person decided that nothing is left to do.
        arrival: whose file waits to be taken again (`name`), and where it lies if it was put aside (`lies_at`).
    """

    notes: tuple[str, ...] = ()
    mends: str | None = None
    mended_by: tuple[str, ...] = ()
    dismissed: dict[str, str] | None = None
    arrival: dict[str, str | None] | None = None


class StatusChange(NamedTuple):
    run_id: str
    status: str
    finished_at: str | None


class WaitingServer(NamedTuple):
    """A server that waits for a state which another one has.

    Attributes:
        since: the time since which it has been waiting.
    """

    host: str
    pid: int
    since: str


@frozen
class StoredFlow:
    """A flow version with its compiled form and the compiler that produced it."""

    ref: str
    content_hash: str
    definition: dict[str, Any]
    compiled: dict[str, Any]
    compiled_by: str
    created_at: str


class PendingDelivery(NamedTuple):
    """A pending delivery; its body may be large and is read separately.

    Attributes:
        id: the same for all attempts.
        due: the time of the next attempt, in seconds since 1970.
        kind: one of `KINDS`.
    """

    id: str
    run_id: str
    url: str
    attempts: int
    due: float
    traceparent: str | None = None
    kind: str = "webhook"


@frozen
class NewDelivery:
    """A new delivery for the outbox, an OpenLineage event without a URL; `run_id` is empty if it is about no run."""

    url: str
    run_id: str
    body: bytes


class StoredNotice(NamedTuple):
    """A notice, see `deliveries.notices`."""

    seq: int
    body: bytes


@frozen
class MessageState:
    """The state kept for the next message.

    Attributes:
        state: JSON; empty if there is nothing to remember.
        due: when to examine it again, in seconds since 1970; None to wait for the next notice.
        rev: grows with every change; a changed state still has the previous value, for comparison.
    """

    key: str
    state: str
    due: float | None = None
    rev: int = 0


class Attempted(NamedTuple):
    """The state of a delivery, without its body. `due` is None once it is delivered or abandoned."""

    id: str
    url: str
    attempts: int
    due: float | None
    delivered_at: str | None
    error: str | None
    at: str


class Count(NamedTuple):
    """A group of runs: `of` has its value for each requested dimension; `files` is counted by layout only."""

    of: dict[str, str]
    runs: int
    rows_read: int
    rows_rejected: int
    files: int | None = None


_FORM = re.compile(rb"1\.([^.]+)\.([0-9]{1,20})\.([0-9]{1,18})")


@frozen(order=True)
class Cursor:
    """The position after a change. Cursors sort in the order of the feed.

    Attributes:
        transaction: the transaction that made the change, in a store where changes become visible out of numbering
            order; 0 in a store that numbers them as they become visible.
    """

    transaction: int
    seq: int

    def text(self, store_id: str) -> str:
        """Return the string for clients, valid for that store only."""
        content = f"1.{store_id}.{self.transaction}.{self.seq}".encode()
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    @classmethod
    def of(cls, text: str, store_id: str) -> "Cursor | None":
        """Parse the cursor that a client sent; return None if it does not belong to that store."""
        try:
            content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:
            return None
        match = _FORM.fullmatch(content)
        if match is None or match[1] != store_id.encode():
            return None
        return cls(int(match[2]), int(match[3]))


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
