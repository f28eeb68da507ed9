"""The worker process: checks flows and executes runs, one after the other (see `small_files` for their databases).

Jobs come in on stdin, events go out on stdout (see `_shared/protocol`). Stdin is also a leash: `Cancel` on it
interrupts the run, its end (the server is gone, however it went) ends this process at once.

A run that was cancelled, or that DuckDB gave up on, or that left anything behind in this process is its last one.
"""

import importlib
import os
import queue
import resource
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
from duckdb import DuckDBPyConnection

from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._shared.commit import explain
from lume_local._shared.lock import held
from lume_local._shared.notices import Notified, Notify
from lume_local._shared.obstacle import Obstacle
from lume_local._shared.permits import AsksToCommit, Permit
from lume_local._shared.protocol import (
    ArchiveRuns,
    Cancel,
    Cancelled,
    Check,
    Checked,
    Done,
    Event,
    Execute,
    Failed,
    Finish,
    Gather,
    Lend,
    Look,
    Looked,
    Outcome,
    Progressed,
    Propose,
    Proposed,
    Read,
    Ready,
    Refused,
    StageBegun,
    decode_job,
    encode,
)
from lume_local._shared.repairs import Repair, Repaired
from lume_local._worker import one_process
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import confine_check, connect
from lume_local._worker.engine import Run, RunBroke, RunFailed
from lume_local._worker.outputs.archive import archive
from lume_local._worker.outputs.gather import gather
from lume_local._worker.outputs.pages import read_page
from lume_local._worker.small_files import Instances, SmallFiles, place_of
from lume_local._worker.sources.places.source_kinds import source_of
from lume_local._worker.sources.source import SourceError
from lume_local._worker.steps import Context
from lume_local._worker.targets.target import TargetError
from lume_local._worker.targets.target_kinds import finish

_WEIGHTS = {"SYNCING_SOURCE": (0.0, 0.2), "TRANSFORMING": (0.2, 0.62), "SYNCING_TARGET": (0.82, 0.18)}
"""Where each stage begins in a run's progress, and how much of it it is."""
_TICK = 0.1
MOST_DATA = 2 * 1024**3
"""Bytes of memory for data: twice what a run may use by DuckDB's count, which leaves out, say, long strings."""
_HEARTBEAT = 5.0
"""Seconds after which progress is sent even where there is none: a worker that is silent is taken for stopped."""


_Job = ArchiveRuns | Check | Execute | Finish | Gather | Look | Notify | Propose | Read | Repair
"""What is done."""


class EventWriter:
    """Events to the server, from any thread, one line each."""

    def __init__(self) -> None:
        # The protocol keeps the real stdout; whatever else prints in this process goes to stderr.
        self._file = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def send(self, event: Event) -> None:
        """Send one event. A server that is gone is not an error here: the leash ends this process."""
        line = encode(event)
        with self._lock:
            try:
                self._file.write(line)
            except OSError:
                os._exit(1)


class Leash:
    """Reads stdin in a thread: jobs, and `Cancel`, which stops the run that is active and lets no other begin."""

    def __init__(self) -> None:
        self._jobs: list[tuple[_Job, dict[str, str]]] = []
        self._arrived = threading.Condition()
        self.cancelled = threading.Event()
        self._permits: queue.SimpleQueue[Permit | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="leash", daemon=True).start()

    def next_job(self) -> tuple[_Job, dict[str, str]]:
        """Wait for the next job, and the variables that it is lent."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._jobs)
            return self._jobs.pop(0)

    def permit(self) -> None:
        """Wait until the server permits the commit. Raises `RunFailed`, or as an interrupt does after a `Cancel`."""
        permit = self._permits.get()
        if permit is None:
            raise duckdb.InterruptException("cancelled")
        if not permit.is_granted:
            raise RunFailed("another server has the state now, or the run has ended")

    def _read(self) -> None:
        variables: dict[str, str] = {}
        try:
            for line in sys.stdin.buffer:
                job = decode_job(line)
                if isinstance(job, Cancel):
                    self.cancelled.set()
                    self._permits.put(None)
                    continue
                if isinstance(job, Permit):
                    self._permits.put(job)
                    continue
                if isinstance(job, Lend):
                    variables = job.variables
                    continue
                with self._arrived:
                    self._jobs.append((job, variables))
                    self._arrived.notify()
                variables = {}
        except BaseException:
            traceback.print_exc()
        os._exit(1)  # without a leash there is no worker


class Pulse:
    """A thread that reports progress, and that interrupts DuckDB once the run is cancelled.

    An interrupt only stops a statement that runs right now, so it is repeated until the run has ended.
    """

    def __init__(self, connection: DuckDBPyConnection, outbox: EventWriter, leash: Leash) -> None:
        self._connection, self._outbox, self._leash = connection, outbox, leash
        self._stage = "SYNCING_SOURCE"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse", daemon=True)

    def __enter__(self) -> "Pulse":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def pause(self) -> None:
        """Where Python works on its own: nothing else would end it for a `Cancel`."""
        if self._leash.cancelled.is_set():
            raise duckdb.InterruptException("cancelled")

    def enter(self, stage: str, rows: int | None) -> None:
        """A stage begins; `rows` is what the one before has seen."""
        self.pause()
        self._stage = stage
        self._outbox.send(StageBegun(stage, rows, _WEIGHTS[stage][0]))

    def _beat(self) -> None:
        sent, due = 0.0, time.monotonic() + _HEARTBEAT
        while not self._ended.wait(0.01 if self._leash.cancelled.is_set() else _TICK):
            if self._leash.cancelled.is_set():
                self._connection.interrupt()
                continue
            start, share = _WEIGHTS[self._stage]
            part = self._connection.query_progress()  # percent of the present statement, -1 where unknown
            progress = round(start + share * max(0.0, min(part, 100.0)) / 100, 3)
            if progress > sent or time.monotonic() > due:
                sent, due = max(sent, progress), time.monotonic() + _HEARTBEAT
                self._outbox.send(Progressed(sent))


def main(over_shards: str = "") -> None:
    """Serve jobs until a run should be the last one of this process.

    `over_shards` names the function for runs with an engine, `module:name`; it is imported for the first of them.
    """
    try:
        _serve(over_shards)
    except BaseException:
        # Its text reaches the server by stderr. An orderly end would wait for the thread that reads stdin, in
        # vain: Python then aborts, and the run's error would be "signal SIGABRT".
        traceback.print_exc()
        os._exit(1)


def _serve(over_shards: str) -> None:
    _bound_memory()
    outbox, leash = EventWriter(), Leash()
    instances, before = Instances(), _surroundings()
    while True:
        outbox.send(Ready(_resident()))
        job, variables = leash.next_job()
        while not isinstance(job, Execute):
            with _lent(variables):
                answer = _answer(job)
            outbox.send(answer)
            job, variables = leash.next_job()
        with _lent(variables):
            outcome, orderly = _run(over_shards, instances, outbox, leash, job)
        # Last, for the next event belongs to the next run: nothing of this one is left in this process now.
        outbox.send(outcome)
        if not orderly or leash.cancelled.is_set() or _surroundings() != before:
            os._exit(0)
        instances.prepare()


@contextmanager
def _lent(variables: dict[str, str]) -> Iterator[None]:
    """Have these variables in the environment as long as the block lasts."""
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)


def _bound_memory() -> None:
    """An allocation that DuckDB's own limit doesn't see fails, instead of taking the machine's memory."""
    with suppress(OSError, ValueError):  # the system has no such limit, or a lower one already
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_DATA, most))


def _surroundings() -> tuple[Any, ...]:
    """What a run must leave as it has found it: else what it did would reach the next one."""
    try:
        place, files = os.getcwd(), len(os.listdir("/dev/fd"))
    except OSError:  # the folder is gone, or this system shows no open files
        place, files = "", 0
    return place, files, dict(os.environ), threading.active_count()


def _resident() -> int:
    """The bytes of memory that this process has now; where the system doesn't tell, the most it ever had."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def _answer(job: ArchiveRuns | Check | Finish | Gather | Look | Notify | Propose | Read | Repair) -> Event:
    match job:
        case Gather():
            return gather(job)
        case ArchiveRuns():
            return _archive(job)
        case Check():
            return _check(job)
        case Finish():
            return _finish(job)
        case Look():
            return _look(job)
        case Notify():
            return _notify(job)
        case Propose():
            return _propose(job)
        case Read():
            return read_page(job)
        case Repair():
            return _repair(job)


def _check(job: Check) -> Checked | Refused:
    """Compile a flow in a database of its own, which reaches no file."""
    with connect() as connection:
        confine_check(connection)
        try:
            return Checked(compile_flow(connection, read_definition(job.definition), job.cleaners))
        except FlowError as error:
            return Refused(error.place, error.problem)


def _archive(job: ArchiveRuns) -> Done | Failed:
    try:
        archive(job)
    except OSError as error:
        return Failed(explain(error), None)
    except duckdb.Error as error:
        return Failed(str(error), None)
    return Done({})


def _finish(job: Finish) -> Done | Failed:
    """What another process has left to do."""
    try:
        return Done(finish(Path(job.folder)) or {})
    except TargetError as error:
        return Failed(str(error), None, error.may_pass)
    except OSError as error:
        return Failed(explain(error), None)


def _look(job: Look) -> Looked:
    """What a source has, and its digest where nothing else tells."""
    source = source_of(job.source, {})
    try:
        source.check()
        return Looked(source.content(job.known, sys.maxsize))
    except SourceError as error:
        return Looked(None, str(error))
    finally:
        source.close()


def _propose(job: Propose) -> Proposed | Refused:
    """How samples become a target. What it needs is imported by the first such job: few workers get one."""
    from lume_local._worker.samples.proposing import make_proposal

    return make_proposal(job)


def _repair(job: Repair) -> Repaired:
    """What values might have been meant to be; imported by the first such job, as few workers get one."""
    from lume_local._worker.repairing import repaired

    return repaired(job)


def _notify(job: Notify) -> Notified:
    """Send a message. What it needs is imported by the first one: only workers that send messages get one."""
    from lume_local._worker.notifying import notify

    return notify(job)


def _run(
    over_shards: str, instances: Instances, outbox: EventWriter, leash: Leash, job: Execute
) -> tuple[Outcome, bool]:
    """Do a run and close its database: how it ended, and whether another run may follow."""
    folder, place = Path(job.folder), place_of(job)

    def permit() -> None:
        if job.asks:
            outbox.send(AsksToCommit())
            leash.permit()

    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A new server must not judge this run's folder as long as this process may still write to it.
        with (
            held(folder / "lock"),
            instances.connection(job, place) as connection,
            Pulse(connection, outbox, leash) as pulse,
        ):
            try:
                context = Context(connection, job, pulse.enter, pulse.pause, permit)
                record = _execute(context, place, over_shards)
            except RunFailed as error:
                cause = error.__context__
                may_pass = isinstance(cause, Obstacle) and cause.may_pass
                return Failed(str(error), error.metrics, may_pass), not isinstance(error, RunBroke)
            except duckdb.InterruptException:
                return Cancelled(), False
            return Done(record), True
    except OSError as error:
        return Failed(f"the run's folder can't be used: {explain(error)}", None), False


def _execute(context: Context, place: Path | None, over_shards: str) -> dict[str, Any]:
    if place is not None:
        return Run(context, SmallFiles(context, place)).execute()
    # What depends on databases, or on other runs, is decided in one place.
    if context.job.engine is None or context.flow["references"] or context.flow["judged_by_table"]:
        return one_process.execute(context)
    module, _, name = over_shards.partition(":")
    return getattr(importlib.import_module(module), name)(context)  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
