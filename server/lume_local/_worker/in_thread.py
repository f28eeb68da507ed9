"""A run in a thread of this process, which its caller can watch and stop.

DuckDB would delay Ctrl-C until the end of its statement if it worked in the main thread.
"""

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import duckdb

from lume_local._flow.definition import read_definition
from lume_local._shared.commit import explain
from lume_local._shared.lock import held
from lume_local._shared.protocol import Done, Execute, Failed, Json
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import confine_check, connect
from lume_local._worker.engine import RunFailed
from lume_local._worker.one_process import Instances, execute, place_of
from lume_local._worker.steps import Context, progress_in

_TICK = 0.1
"""Seconds between two interrupts of a run that is to stop: each ends one statement only."""


def compiled_here(definition: Json) -> Json:
    """Compile a flow in this process. Raises `FlowError`."""
    with connect() as connection:
        confine_check(connection)
        return compile_flow(connection, read_definition(definition))


class RunInThread:
    """One run. Any thread may read its progress and stop it.

    Args:
        on_stage: called with the name of each stage and the number of rows of the previous one.
    """

    def __init__(self, on_stage: Callable[[str, int | None], None]) -> None:
        self._on_stage = on_stage
        self._stage = "SYNCING_SOURCE"
        self._stopped = Event()
        self._connection: duckdb.DuckDBPyConnection | None = None

    @property
    def progress(self) -> float:
        connection = self._connection
        try:
            return 0.0 if connection is None else progress_in(self._stage, connection)
        except duckdb.Error:  # closed meanwhile
            return 1.0

    @property
    def is_stopped(self) -> bool:
        return self._stopped.is_set()

    def stop(self) -> None:
        """Let `execute` end soon, with an error and without output."""
        self._stopped.set()

    def execute(self, job: Execute) -> Done | Failed:
        """Carry out the job; return its outcome, or raise what interrupts this thread."""
        found = list[Any]()
        thread = Thread(target=self._execute, args=(job, found.append), name="lume-run", daemon=True)
        thread.start()
        try:
            self._wait_for(thread)
        except BaseException:
            self.stop()
            self._wait_for(thread)
            raise
        (outcome,) = found
        if isinstance(outcome, BaseException):
            raise outcome
        assert isinstance(outcome, Done | Failed)
        return outcome

    def _wait_for(self, thread: Thread) -> None:
        while thread.is_alive():
            thread.join(_TICK)
            if self._stopped.is_set() and (connection := self._connection) is not None:
                connection.interrupt()

    def _execute(self, job: Execute, report: Callable[[Any], None]) -> None:
        place = place_of(job)
        try:
            with (
                held(Path(job.folder) / "lock"),
                Instances().connection(job, place) as self._connection,
            ):
                try:
                    context = Context(self._connection, job, self._enter, self._pause, self._pause)
                    report(Done(execute(context, place)))
                finally:
                    self._connection = None
        except RunFailed as error:
            report(Failed(str(error), error.metrics))
        except OSError as error:
            report(Failed(f"the run's folder can't be used: {explain(error)}", None))
        except BaseException as error:
            report(error)

    def _pause(self) -> None:
        if self._stopped.is_set():
            raise duckdb.InterruptException("stopped")

    def _enter(self, stage: str, rows: int | None) -> None:
        self._pause()
        self._stage = stage
        self._on_stage(stage, rows)
