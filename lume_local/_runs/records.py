"""What a store keeps, is asked for and answers: values that say nothing of how they are kept."""

from typing import Any

from attrs import field, frozen
from attrs.converters import optional

from lume_async._base.elided import elided

ACTIVE = ("CREATED", "SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET")
"""The statuses of runs that have not ended."""
WHOLE = 2.0
"""The share of rejected rows of a run without a result: above every one that can be asked for."""
DIMENSIONS = ("hour", "day", "flow_version", "status")
"""What runs can be counted by."""


class Duplicate(Exception):
    """A run holds this source already: one that is active, or one that has processed it."""

    def __init__(self, run_id: str, *, is_active: bool) -> None:
        super().__init__(run_id, is_active)
        self.run_id = run_id
        self.is_active = is_active


class KeyReused(Exception):
    """An idempotency key came back with another request."""


class CursorForgotten(Exception):
    """Changes that came after this cursor are forgotten."""


class StoreFailed(Exception):
    """An operation failed, and nothing of it was done. The message says why."""


class StoreUnavailable(StoreFailed):
    """The same for a while: it may work later.

    Attributes:
        is_full: whether there is no room.
    """

    def __init__(self, message: str, *, is_full: bool = False) -> None:
        super().__init__(message)
        self.is_full = is_full


@frozen
class NewRun:
    """A request for a run."""

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


@frozen
class Run:
    """A run as it is stored. `rev` grows with every change."""

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
    started_at: str | None
    finished_at: str | None
    stages: list[dict[str, Any]]
    metrics: dict[str, Any]
    target_locations: dict[str, Any]
    error_message: str | None = field(converter=optional(elided))


@frozen
class Wanted:
    """Which runs are listed; None and an empty list for all.

    Attributes:
        flow: of its versions.
        source: a part of the source path.
        since: created then or later.
        attention: that wait for a person, and have no result or more than this share of their rows rejected.
    """

    flow_version: str | None = None
    flow: str | None = None
    source_path: str | None = None
    source: str | None = None
    statuses: list[str] = field(factory=list)
    since: str | None = None
    attention: float | None = None


@frozen
class Change:
    """One change of status."""

    run_id: str
    status: str
    finished_at: str | None


@frozen
class StoredFlow:
    """A flow version with its compiled form and what it was compiled by."""

    ref: str
    content_hash: str
    definition: dict[str, Any]
    compiled: dict[str, Any]
    compiled_by: str
    created_at: str


@frozen
class Delivery:
    """A body that waits to be delivered.

    Attributes:
        id: the same for all attempts.
        attempts: how many have failed.
        due: when the next may be made, in seconds since 1970.
        traceparent: that of the run's submission.
        is_lineage: whether it is an event of OpenLineage, not the run's webhook.
    """

    id: str
    run_id: str
    url: str
    body: bytes
    attempts: int
    due: float
    traceparent: str | None = None
    is_lineage: bool = False


@frozen
class Attempted:
    """How a delivery is going, without its body. `due` is None once it is settled."""

    id: str
    url: str
    attempts: int
    due: float | None
    delivered_at: str | None
    error: str | None
    at: str


@frozen
class Count:
    """Runs that have something in common: `of` has a value for each dimension asked for."""

    of: dict[str, str]
    runs: int
    rows_read: int
    rows_rejected: int
