"""One worker process: its start, its jobs, its end (see `_shared/protocol` for the messages).

Starting a process costs far more than a small run, so a process that ended a run normally executes the next, with a
new database. It executes a bounded number of runs, and none after a crash or a cancel. Every wait has a limit: a
process that does not answer in time is killed.
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Collection
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from lume_async._base.elided import elided
from lume_async._base.tasks import until_done
from lume_local._runs.workers.child import ChildProcess, Secrets, child, environment, lent
from lume_local._shared.failing import Obstacle
from lume_local._shared.protocol import (
    Cancel,
    Done,
    Event,
    Execute,
    Failed,
    Finish,
    Forget,
    Job,
    Json,
    Lend,
    Look,
    Permit,
    Progressed,
    Propose,
    ProtocolError,
    Ready,
    decode_event,
    encode,
)

Answer = TypeVar("Answer")
Refusal = TypeVar("Refusal")

_LONGEST_LINE = 64 * 1024 * 1024
_STDERR_KEPT = 4096
START_LIMIT = 60.0
"""Seconds that a process may take to be ready for its first job."""
SILENCE = 60.0
"""Seconds without an event after which a worker counts as stopped or stuck; a healthy one reports more often."""
PATIENCE = 5.0
"""Seconds for a worker to exit after its stdin is closed, or to be ready again after a run."""
MOST_RUNS = 1000
"""The maximum number of runs per process: this bounds leaks, and a new process costs as much as 15 runs."""
MOST_RESIDENT = 256 * 1024 * 1024
"""A process that uses more memory than this after a run gets no other; a new one uses about 70 MB."""

_PROGRAM = (
    "import gc; gc.disable(); from lume_local._worker.main import main; gc.freeze(); gc.enable(); "
    "main('lume_local._shards.coordinator:execute')"
)
"""Collecting amid the imports, which leave no garbage, would take a tenth of them."""


class WorkerDied(Exception):
    """The process ended without an answer, or had to be killed. The message says how."""


class OutOfTime(WorkerDied):
    """The process ended because a job took more CPU time than it may."""


class NotFinished(Obstacle):
    """A commit can't be carried out, or a run's steps can't be undone."""


class Worker:
    """One worker process. Create it with `start`; `stop` it."""

    def __init__(self, process: ChildProcess, given: dict[str, str], secrets: Secrets) -> None:
        self._process, self._environment, self._secrets = process, given, secrets
        self._stdin, self._stdout = process.stdin, process.stdout
        self.runs = 0
        self._is_ready = True  # for a job; false from the start of a run
        self._ended_well = False  # whether the last run ended with an ordinary event
        self._cancelled = False
        self._stderr = b""
        self._stderr_ended = anyio.Event()

    @classmethod
    async def start(cls, tasks: TaskGroup, secrets: Secrets = frozenset) -> "Worker":
        """Start a worker and wait until it is ready for a job. Raises `WorkerDied` if it can't start.

        `tasks` gets the reader of its stderr, which ends with the process. `secrets` are not in its environment.
        """
        given = environment(secrets)
        try:
            process = await child(_PROGRAM, given, _LONGEST_LINE)
        except OSError as error:
            words = f"a worker process can't be started: {error.strerror or error}"
            raise WorkerDied(words) from error
        worker = cls(process, given, secrets)
        tasks.start_soon(worker._read_stderr)
        try:
            with anyio.move_on_after(START_LIMIT):
                if not isinstance(await worker._event(), Ready):
                    raise WorkerDied(await worker.death())
                return worker
            raise WorkerDied(f"the worker process was not ready within {START_LIMIT:g} s")
        except BaseException:
            worker.kill()
            await worker.stop()
            raise

    async def _read_stderr(self) -> None:
        try:
            while block := await self._process.stderr.read(_STDERR_KEPT):
                self._stderr = (self._stderr + block)[-_STDERR_KEPT:]
        finally:
            self._stderr_ended.set()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    @property
    def is_fit(self) -> bool:
        """Whether a new process would have the same environment: a password in it may have changed."""
        return self.is_alive and self._environment == environment(self._secrets)

    async def _event(self) -> Event | None:
        """Return the next event, or None if the process has ended. Raises `ProtocolError`."""
        try:
            line = await self._stdout.readline()
        except ValueError as error:
            raise ProtocolError(f"a line of the worker is too long: {error}") from error
        return decode_event(line) if line.endswith(b"\n") else None

    async def _send(self, job: Job) -> None:
        variables = lent(_databases(job))
        with suppress(ConnectionError):  # the process has ended: the missing answer reports it
            if variables:
                self._stdin.write(encode(Lend(variables)))
            self._stdin.write(encode(job))
            await self._stdin.drain()

    async def answer(
        self, job: Job, done: type[Answer], refused: type[Refusal], limit: float, late: Exception | None
    ) -> Answer | Refusal:
        """Return the answer to a job, of one of these types. Raises `WorkerDied`, `ProtocolError`.

        If it takes longer than `limit` seconds without progress, the process is killed, and `late` is raised.
        """
        with anyio.move_on_after(limit) as patience:
            await self._send(job)
            while isinstance(event := await self._event(), Progressed):
                patience.deadline = anyio.current_time() + limit
            if event is None:
                died = await self.death()
                raise OutOfTime(died) if self._process.returncode == -signal.SIGXCPU else WorkerDied(died)
            if not isinstance(event, (done, refused)):
                raise ProtocolError(f"{event!r} is not an answer to {type(job).__name__}")
            return event
        self._is_ready = False
        self.kill()
        raise late or WorkerDied(f"the worker process did not answer within {limit:g} s")

    async def finish(self, folder: Path) -> None:
        """Carry out the commit in a run's folder, or undo its steps. Raises `NotFinished`, `WorkerDied`.

        As in the run itself, a load may last as long as its process works: repeated, it would take as long again.
        """
        late = NotFinished(f"the worker process did not respond for {SILENCE:g} s", may_pass=True)
        answer = await self.answer(Finish(str(folder)), Done, Failed, SILENCE, late)
        if isinstance(answer, Failed):
            raise NotFinished(answer.message, may_pass=answer.may_pass)

    async def run(self, job: Execute) -> AsyncGenerator[Event, None]:
        """Yield the events of a run, until its last event is taken or the process ends."""
        self.runs += 1
        self._is_ready = self._ended_well = False
        self._stderr = b""  # output of an earlier run must not explain this one's end
        await self._send(job)
        while (event := await self._event()) is not None:
            self._ended_well = isinstance(event, Done | Failed)
            yield event

    async def permit(self, is_granted: bool) -> None:
        """Answer a run that asks to commit."""
        await self._send(Permit(is_granted))

    async def cancel(self) -> None:
        """Ask the run to stop; its last event says whether it did."""
        self._cancelled = True
        await self._send(Cancel())

    async def renewed(self) -> bool:
        """Return whether the process may execute another run; waits until it is ready again."""
        if self._is_ready:
            return self.is_alive
        if not self._ended_well or self._cancelled or self.runs >= MOST_RUNS:
            return False
        event = None
        with anyio.move_on_after(PATIENCE):
            event = await self._event()
        # A cancel during this wait has reached the process, too.
        if not isinstance(event, Ready) or event.resident > MOST_RESIDENT or self._cancelled:
            return False
        self._is_ready = True
        return True

    async def death(self) -> str:
        """Wait for the end of the process, which must be near, and describe it."""
        await self._ended()
        code = self._process.returncode
        assert code is not None
        last = elided(self._stderr.decode(errors="replace").strip().rpartition("\n")[2])
        how = f"ended with exit code {code}"
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = str(-code)
            how = f"was killed by signal {name}"
        return f"the worker process {how}" + (f": {last}" if last else "")

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self) -> None:
        """Close stdin and wait for the end, even if the caller is cancelled."""

        async def stopped() -> None:
            if not self._stdin.is_closing():
                self._stdin.close()
            await self._ended()
            with suppress(ConnectionError):
                await self._stdin.wait_closed()

        stopping = asyncio.create_task(stopped())
        await until_done(stopping)
        stopping.result()

    async def _ended(self) -> None:
        """Wait for the end of the process, and kill it if it does not exit."""
        with anyio.move_on_after(PATIENCE):
            await self._process.wait()
        if self.is_alive:
            self.kill()
            await self._process.wait()
        with anyio.move_on_after(PATIENCE):  # another process may have inherited the pipe
            await self._stderr_ended.wait()


def _databases(job: Job) -> Collection[str] | None:
    """Return the variables of a job's databases and catalogs; None for any: a commit may have begun in each."""
    places: tuple[Json, ...] = ()
    match job:
        case Execute():
            places = (job.source, job.mapped, job.rejects, job.rejects_table or {})
        case Forget():
            places = (job.table,)
        case Look():
            places = (job.source,)
        case Propose():
            places = (job.target.get("place") or {},)
        case Finish():
            return None
    catalogs = tuple(
        f"PYICEBERG_CATALOG__{place['catalog']}__".upper() for place in places if place.get("catalog")
    )
    settings = {name for name in os.environ if catalogs and name.upper().startswith(catalogs)}
    return settings | {place["url_env"] for place in places if place.get("url_env")}
