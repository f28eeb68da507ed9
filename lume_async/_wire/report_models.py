"""Reports as the server returns them: dry runs, deliveries, counts, arrivals. Data only."""

from datetime import datetime
from typing import Any, Literal, TypeAlias, get_args

from attrs import field, frozen

from lume_async._base.public import public
from lume_async._metadata import Metrics
from lume_async.models import RunStatus

ArrivalState: TypeAlias = Literal["waiting", "submitted", "refused"]
"""The state of a file that arrived."""
ARRIVAL_STATES: tuple[str, ...] = get_args(ArrivalState)


@public
@frozen
class ArrivalInfo:
    """A place that the server watches for files.

    Attributes:
        flow: the target of its files: a flow (its newest version) or one flow version.
        uri: the files, a pattern of paths or URLs.
        watched: how files are noticed, such as `inotify`; None if the trouble prevents it.
        trouble: why the place can't be used, or a file can't be moved; None if all is well.
        waiting: the number of files that wait now.
        submitted: the total number of submitted file versions.
        refused: the number of files that are refused now.
    """

    name: str
    flow: str
    uri: str
    waiting: int
    submitted: int
    refused: int
    watched: str | None = None
    trouble: str | None = None


@public
@frozen
class ArrivalFile:
    """A file that arrived.

    Attributes:
        arrival: the name of the arrival.
        path: the path or URL of the file; once submitted, the source path of its run.
        state: `waiting`, `submitted` or `refused`; other strings of a newer server are kept.
        at: when its current version was first seen, submitted or refused.
        why: the reason of its wait, its refusal or its run's failure.
        run_id: its run, or the one that it waits for.
        status: the status of its run.
        lies_at: where it lies now, if it was put aside into the folder for failed files.
    """

    arrival: str
    path: str
    state: str
    at: datetime
    why: str | None = None
    run_id: str | None = None
    status: RunStatus | None = None
    lies_at: str | None = None


@public
@frozen
class ArrivalReport:
    """The arrivals of a server, and files of each state.

    Attributes:
        files: waiting files (longest wait first), refused files, and submitted files (newest first).
        problem: why the server's arrivals file is not in effect as it is now; None if it is.
    """

    arrivals: list[ArrivalInfo] = field(factory=list)
    files: list[ArrivalFile] = field(factory=list)
    problem: str | None = None


CountedBy: TypeAlias = Literal["hour", "day", "flow_version", "status", "layout"]
"""The dimensions by which runs are counted."""
CountOrder: TypeAlias = Literal["dimensions", "rejected"]
"""`rejected`: the largest share of rejected rows first."""


@public
@frozen
class DryRun:
    """How a run would end now, and the first rows that it would write. Nothing was published.

    Attributes:
        status: the status that the run would have.
        message: why it would fail; None if it would not.
        metrics: its counts, over the whole source.
        mapped: the first mapped rows, as `LumeRun.mapped` gives them.
        rejects: the first rejected rows, as `LumeRun.rejects` gives them.
        notes: the server's remarks.
    """

    status: RunStatus
    message: str | None = None
    metrics: Metrics = field(factory=Metrics, repr=False)
    mapped: list[dict[str, Any]] = field(factory=list, repr=False)
    rejects: list[dict[str, Any]] = field(factory=list, repr=False)
    notes: list[str] = field(factory=list, repr=False)

    @property
    def would_fail(self) -> bool:
        """Whether a run would write nothing."""
        return not self.status.has_output


@public
@frozen
class Delivery:
    """A webhook or a message of a run, and the state of its delivery.

    Attributes:
        id: the `webhook-id` of its attempts.
        kind: `webhook`, or `message` for one to people. A digest belongs to the latest run that it counts.
        state: `pending`, `delivered` or `given_up`.
        receiver: scheme, host and port of the URL; for a message, the environment variable with its address.
        attempts: the number of attempts so far.
        error: why the last attempt failed.
    """

    id: str
    state: str
    receiver: str
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None = None
    delivered_at: datetime | None = None
    error: str | None = None
    kind: str = "webhook"


@public
@frozen
class AuditEntry:
    """An act of somebody at the server; for submissions, see `LumeRun.submitted_by`.

    Attributes:
        by: the name of the key; `server` for the server itself and its own key.
        what: the kind of act, such as `cancel`, `discard` or `register_flow`; later servers may have more.
        subject: the object of the act: a run ID, a flow version, a flow, a file.
        detail: more about it, such as `why`.
    """

    at: datetime
    by: str
    what: str
    subject: str
    detail: dict[str, Any] = field(factory=dict)


@public
@frozen
class ForgetReport:
    """The places that have a person's values: found by a dry run, otherwise changed.

    Attributes:
        outputs: mapped rows, which are removed.
        rejects: rejected rows, which are emptied and, in the inbox, discarded.
        texts: entries of the server's state, such as an error message, that lose the values.
        uploads: uploads, which are removed whole.
        tables: rows that runs have loaded into tables, by table; they stay unless the call was made with `tables`.
        left: the places that stay as they are, each with the reason: sources, tables, unended runs.
        backups: when each backup was made that the server knows, by its folder. They still have the rows.
    """

    outputs: int = 0
    rejects: int = 0
    texts: int = 0
    uploads: list[str] = field(factory=list)
    tables: dict[str, int] = field(factory=dict)
    left: dict[str, str] = field(factory=dict)
    backups: dict[str, datetime] = field(factory=dict)


@public
@frozen
class RunCount:
    """The count of the runs that share the values of these dimensions; dimensions that were not requested are None.

    Attributes:
        runs: the number of runs.
        rows_read: the number of rows that they have read.
        rows_rejected: the number of rows that they have rejected.
        hour: the beginning of the hour in which they were created.
        day: the beginning of the day in which they were created.
        files: the number of files with the layout; None unless counted by layout.
    """

    runs: int
    rows_read: int
    rows_rejected: int
    hour: datetime | None = None
    day: datetime | None = None
    flow_version: str | None = None
    status: RunStatus | None = None
    layout: str | None = None
    files: int | None = None
