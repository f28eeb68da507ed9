"""Arrivals as the server reports them. Data only."""

from datetime import datetime
from typing import Literal, TypeAlias, get_args

from attrs import field, frozen

from lume_async._base.public import public
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
        at: when its present version was first seen, submitted or refused.
        why: the reason of its wait, its refusal or its run's failure.
        run_id: its run, or the one that it waits for.
        status: the status of its run.
    """

    arrival: str
    path: str
    state: str
    at: datetime
    why: str | None = None
    run_id: str | None = None
    status: RunStatus | None = None


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
