"""What arrives at the server, as it reports it. Data only."""

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
        flow: what its files are submitted to: the newest version of a flow, or one version.
        uri: the files, a pattern of paths or URLs.
        watched: how files are noticed, such as `inotify`; None if they are not, because of the trouble.
        trouble: why the place can't be used, or a file can't be moved; None if all is well.
        waiting: the number of files that wait now.
        submitted: the number of contents that were submitted, ever.
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
        path: the path or URL of the file; of a submitted one, the source path of its run.
        state: `waiting`, `submitted` or `refused`; other strings of a newer server are kept.
        at: when it was first seen as it is, submitted or refused.
        why: what it waits for, why it is refused, or why its run failed.
        run_id: its run, or the one that it waits for.
        status: of its run.
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
        files: those that wait (longest first), are refused, and were submitted (newest first).
        problem: why the present content of the server's arrivals file is not in effect; None if it is.
    """

    arrivals: list[ArrivalInfo] = field(factory=list)
    files: list[ArrivalFile] = field(factory=list)
    problem: str | None = None
