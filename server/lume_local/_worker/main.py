"""The worker process: checks flows and executes runs, one after the other (see `one_process` for their databases).

Jobs come in on stdin, events go out on stdout (see `_shared/protocol`). Stdin is also a leash: `Cancel` interrupts
the run, and the end of stdin (the server is gone for whatever reason) ends this process at once.

The process ends after a run that was cancelled, that DuckDB gave up on, or that left anything behind.
"""

import importlib
import os
import queue
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
from duckdb import DuckDBPyConnection

from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._shared.commit import explain, sync_file
from lume_local._shared.failing import Obstacle
from lume_local._shared.lock import held
from lume_local._shared.protocol import (
    ArchiveRuns,
    AsksToCommit,
    Cancel,
    Cancelled,
    Check,
    Checked,
    Done,
    Event,
    Execute,
    Failed,
    Finish,
    Forget,
    Gather,
    Lend,
    Look,
    Looked,
    Notify,
    Outcome,
    Permit,
    Progressed,
    Propose,
    Read,
    Ready,
    Refused,
    Repair,
    StageBegun,
    decode_job,
    encode,
)
from lume_local._worker import one_process
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import confine_check, connect
from lume_local._worker.engine import RunBroke, RunFailed
from lume_local._worker.one_process import Instances, place_of
from lume_local._worker.outputs.pages import read_page
from lume_local._worker.sources.places.source_kinds import source_of
from lume_local._worker.sources.source import SourceError
from lume_local._worker.sql import literal, text
from lume_local._worker.steps import WEIGHTS, Context, progress_in
from lume_local._worker.targets.target import TargetError
from lume_local._worker.targets.target_kinds import finish

_TICK = 0.1
"""Seconds between looks at a run's progress."""
MOST_DATA = 2 * 1024**3
"""Bytes of memory for data: twice a run's limit by DuckDB's count, which leaves out long strings, for example."""
DATA_OF_A_COLUMN = 512 * 1024
"""Bytes added for each column of a flow: DuckDB reserves room for 2,048 values in each step, and fills little."""
_HEARTBEAT = 5.0
"""Seconds after which progress is sent even if there is none: a silent worker counts as stuck."""


_Plain = ArchiveRuns | Check | Finish | Forget | Gather | Look | Notify | Propose | Read | Repair
_Job = Execute | _Plain
"""The jobs that a worker does."""


class EventWriter:
    """Writes events to the server, from any thread, one line each."""

    def __init__(self) -> None:
        # The protocol keeps the real stdout; anything else printed in this process goes to stderr.
        self._file = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def send(self, event: Event) -> None:
        """Send one event. If the server is gone, end the process, as the leash would."""
        line = encode(event)
        with self._lock:
            try:
                self._file.write(line)
            except OSError:
                os._exit(1)


class Leash:
    """Reads stdin in a thread: jobs, and `Cancel`, which stops the active run and prevents any other."""

    def __init__(self) -> None:
        self._jobs: list[tuple[_Job, dict[str, str]]] = []
        self._arrived = threading.Condition()
        self.cancelled = threading.Event()
        self._permits: queue.SimpleQueue[Permit | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="leash", daemon=True).start()

    def next_job(self) -> tuple[_Job, dict[str, str]]:
        """Wait for the next job and the environment variables lent to it."""
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
        """Take jobs and signals from stdin, and end the process when it ends."""
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
        os._exit(1)  # a worker can't outlive its leash


class Pulse:
    """A thread that reports progress and interrupts DuckDB once the run is cancelled.

    An interrupt only stops the statement running at that moment, so it is repeated until the run has ended.
    """

    def __init__(
        self, connection: DuckDBPyConnection, send: Callable[[Event], object], cancelled: threading.Event
    ) -> None:
        self._connection, self._send, self._cancelled = connection, send, cancelled
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
        """Stop if cancelled; called where Python itself works, which no interrupt of DuckDB stops."""
        if self._cancelled.is_set():
            raise duckdb.InterruptException("cancelled")

    def enter(self, stage: str, rows: int | None) -> None:
        """Begin a stage; `rows` is the number of rows that the previous stage has seen."""
        self.pause()
        self._stage = stage
        self._send(StageBegun(stage, rows, WEIGHTS[stage][0]))

    def _beat(self) -> None:
        """Report progress; once cancelled, keep interrupting, as the run may begin another statement."""
        sent, due = 0.0, time.monotonic() + _HEARTBEAT
        while not self._ended.wait(0.01 if self._cancelled.is_set() else _TICK):
            if self._cancelled.is_set():
                self._connection.interrupt()
                continue
            progress = progress_in(self._stage, self._connection)
            if progress > sent or time.monotonic() > due:
                sent, due = max(sent, progress), time.monotonic() + _HEARTBEAT
                self._send(Progressed(sent))


def main(over_shards: str = "") -> None:
    """Serve jobs until a run should be the last one of this process.

    `over_shards` names the function for runs with an engine (`module:name`), imported for the first of them.
    """
    try:
        _serve(over_shards)
    except BaseException:
        # The traceback reaches the server through stderr. A regular exit would wait in vain for the thread that reads
        # stdin; Python would then abort, and the run's error would be "signal SIGABRT".
        traceback.print_exc()
        os._exit(1)


def _serve(over_shards: str) -> None:
    outbox, leash = EventWriter(), Leash()
    instances, before = Instances(), _surroundings()

    def permit() -> None:
        outbox.send(AsksToCommit())
        leash.permit()

    while True:
        _limit_data(MOST_DATA)
        outbox.send(Ready(_resident()))
        job, variables = leash.next_job()
        while not isinstance(job, Execute):
            with _lent(variables):
                answer = _answer(job, outbox)
            outbox.send(answer)
            job, variables = leash.next_job()
        _limit_data(MOST_DATA + DATA_OF_A_COLUMN * len(job.flow["columns"]))
        with _lent(variables):
            outcome, orderly = run_job(job, instances, outbox.send, leash.cancelled, permit, over_shards)
        # Sent last, as the next event belongs to the next run: nothing of this run is left in the process now.
        outbox.send(outcome)
        if not orderly or leash.cancelled.is_set() or _surroundings() != before:
            os._exit(0)
        instances.prepare()


def _limit_data(limit: int) -> None:
    """Let an allocation outside DuckDB's own limit fail instead of exhausting the machine's memory."""
    with suppress(OSError, ValueError):  # the system has no such limit, or already a lower one
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


@contextmanager
def _lent(variables: dict[str, str]) -> Iterator[None]:
    """Set these environment variables for the duration of the block."""
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    """End this process with SIGXCPU if the block takes more CPU time than this: planning can't be interrupted."""
    (soft, hard), core = resource.getrlimit(resource.RLIMIT_CPU), resource.getrlimit(resource.RLIMIT_CORE)
    limit = int(time.process_time()) + 1 + seconds
    if soft == resource.RLIM_INFINITY or limit < soft:  # a lower limit of the system stays
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, core[1]))  # the signal would leave one
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
        resource.setrlimit(resource.RLIMIT_CORE, core)


def _surroundings() -> tuple[Any, ...]:
    """Return the state of the process that a run must leave unchanged, as the next run would be affected."""
    try:
        place, files = os.getcwd(), len(os.listdir("/dev/fd"))
    except OSError:  # the folder is gone, or this system doesn't list open files
        place, files = "", 0
    return place, files, dict(os.environ), threading.active_count()


def _resident() -> int:
    """Return the resident memory in bytes, or the peak where the system doesn't report the current value."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


@contextmanager
def _heartbeat(outbox: EventWriter) -> Iterator[None]:
    """Report for the duration of the block that this process works."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_HEARTBEAT):
            outbox.send(Progressed(0.0))

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _answer(job: _Plain, outbox: EventWriter) -> Event:
    """Do any other job. The code for some is imported by the first such job, as few workers get one."""
    match job:
        case Gather():
            from lume_local._worker.outputs.gather import gather

            return gather(job)
        case ArchiveRuns():
            try:
                _archive(job)
            except OSError as error:
                return Failed(explain(error), None)
            except duckdb.Error as error:
                return Failed(str(error), None)
            return Done({})
        case Check():
            with _at_most(job.seconds), connect() as connection:
                confine_check(connection)
                try:
                    return Checked(compile_flow(connection, read_definition(job.definition), job.cleaners))
                except FlowError as error:
                    return Refused(error.place, error.problem)
        case Finish():
            try:
                with _heartbeat(outbox):
                    return Done(finish(Path(job.folder)) or {})
            except TargetError as error:
                return Failed(str(error), None, error.may_pass)
            except OSError as error:
                return Failed(explain(error), None)
        case Forget() if job.table:
            from lume_local._worker.outputs.forgetting_tables import forget_rows

            return forget_rows(job)
        case Forget():
            from lume_local._worker.outputs.forgetting import forget

            return forget(job)
        case Look():
            with closing(source_of(job.source, {})) as source:
                try:
                    source.check()
                    return Looked(source.content(job.known, sys.maxsize))
                except SourceError as error:
                    return Looked(None, str(error))
        case Notify():
            from lume_local._worker.notifying import notify

            return notify(job)
        case Propose():
            from lume_local._worker.samples.proposing import make_proposal

            return make_proposal(job)
        case Read():
            return read_page(job)
        case Repair():
            from lume_local._worker.cleaners.library import repaired

            return repaired(job)


_ARCHIVED = {
    **dict.fromkeys(("run_id", "flow_version", "source_path", "source_key", "status"), "VARCHAR"),
    **dict.fromkeys(("created_at", "started_at", "finished_at"), "TIMESTAMPTZ"),
    **dict.fromkeys(("submitted_by", "error_message", "run_metadata", "stages"), "VARCHAR"),
    **dict.fromkeys(("metrics", "target_locations", "seeds"), "VARCHAR"),
    **dict.fromkeys(("rows_read", "rows_mapped", "rows_rejected"), "BIGINT"),
    "force_rerun": "BOOLEAN",
}


def _archive(job: ArchiveRuns) -> None:
    """Write records of old runs as Parquet, atomically and durably. Raises OSError, duckdb.Error."""
    draft = Path(job.target).with_name(f".{Path(job.target).name}.draft")
    columns = ", ".join(f"{name}: {text(kind)}" for name, kind in _ARCHIVED.items())
    rows = f"read_json({literal(Path(job.rows))}, format = 'newline_delimited', columns = {{{columns}}})"
    query = f"SELECT * FROM {rows} ORDER BY finished_at"  # noqa: S608 - quoted
    try:
        with connect() as connection:
            connection.execute(f"COPY ({query}) TO {text(str(draft))} (FORMAT parquet, COMPRESSION zstd)")
        os.chmod(draft, 0o600)
        sync_file(draft)
        os.replace(draft, job.target)
    finally:
        draft.unlink(missing_ok=True)


def run_job(
    job: Execute,
    instances: Instances,
    send: Callable[[Event], object],
    cancelled: threading.Event,
    permit: Callable[[], None] | None = None,
    over_shards: str = "",
) -> tuple[Outcome, bool]:
    """Do a run and close its database; return its outcome, and whether another run may follow in this process.

    Args:
        send: called from two threads, with the stages and the progress.
        permit: called before the commit of a job that asks.
    """
    folder, place = Path(job.folder), place_of(job)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A new server must not judge this run's folder while this process may still write to it.
        with (
            held(folder / "lock"),
            instances.connection(job, place) as connection,
            Pulse(connection, send, cancelled) as pulse,
        ):
            try:
                context = Context(
                    connection, job, pulse.enter, pulse.pause, permit if permit and job.asks else pulse.pause
                )
                record = _execute(context, place, over_shards)
            except RunFailed as error:
                cause = error.__context__
                may_pass, told = (cause.may_pass, cause.told) if isinstance(cause, Obstacle) else (False, "")
                return Failed(str(error), error.metrics, may_pass, told), not isinstance(error, RunBroke)
            except duckdb.InterruptException:
                return Cancelled(), False
            return Done(record), True
    except OSError as error:
        return Failed(f"the run's folder can't be used: {explain(error)}", None), False


def _execute(context: Context, place: Path | None, over_shards: str) -> dict[str, Any]:
    # Checks that need databases or other runs are done in one place.
    if context.job.engine is None or context.flow["references"] or context.flow["judged_by_table"]:
        return one_process.execute(context, place)
    module, _, name = over_shards.partition(":")
    return getattr(importlib.import_module(module), name)(context)  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
