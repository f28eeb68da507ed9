"""Worker processes: started ahead of need, handed out, taken back, never outliving the pool."""

import hashlib
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from lume_async._base.tasks import task_group
from lume_local._flow.fields import FlowError
from lume_local._runs.health import Health
from lume_local._runs.workers.child import Secrets
from lume_local._runs.workers.worker import OutOfTime, Worker, WorkerDied
from lume_local._shared.protocol import (
    ArchiveRuns,
    Check,
    Checked,
    Done,
    Failed,
    Forget,
    Forgotten,
    Gather,
    Gathered,
    Job,
    Json,
    Look,
    Looked,
    Notified,
    Notify,
    Propose,
    Proposed,
    ProtocolError,
    Read,
    Refused,
    Repair,
    Repaired,
    RowsPage,
    Unreadable,
    encode,
)

Answer = TypeVar("Answer")
Refusal = TypeVar("Refusal")

CHECK_LIMIT = 20
"""Seconds of CPU time that checking a flow may take, and …"""
CHECKED_IN_A_SECOND = 25
"""… for so many columns one more: most take 2 ms, and the most complex cleaner 35 ms."""
CHECK_PATIENCE = 25.0
"""Seconds until a client is told that its check goes on: few enough that it still waits, and does not resend."""
CHECK_BACKSTOP = 600.0
"""Seconds until a check is given up."""
_MOST_VERDICTS = 4
"""The number of verdicts that are kept: a flow is tried, then registered."""
_MOST_CHECKS = 4
"""Checks in progress from which on a client that would not wait for the end is refused."""
PROPOSE_LIMIT = 45.0
"""Seconds that a proposal may take: few enough that the client still waits."""
READ_LIMIT = 60.0
"""Seconds that reading a page of an output or repairing values may take."""
GATHER_LIMIT = 600.0
"""Seconds that gathering rejects of some runs, writing an archive file or forgetting a person may take."""
QUIET = 30.0
"""Seconds without a run after which one spare worker is enough."""
RETRY = 5.0
"""Seconds until the start of a spare worker is retried after a failure."""
_WORKERS = "worker processes"


class _Pending(Generic[Answer]):
    """The result of a task of the pool; after `settled`, `found` is set unless there was a `problem`."""

    def __init__(self) -> None:
        self.settled = anyio.Event()
        self.found: Answer | None = None
        self.problem = "the server is being shut down"
        self.is_wanted = True
        """False once nobody waits for it: then it is not kept."""


_Start = _Pending[Worker]
_Verdict = _Pending[Checked | Refused]


class WorkerPool:
    """Hands out workers while its `running` block lasts; starts one in advance while there are fewer than `most`.

    Args:
        most: the maximum number of workers, not counting immediately needed ones.
        secrets: the server's own, which must not be in their environment.
    """

    def __init__(self, most: int = 1, health: Health | None = None, secrets: Secrets = frozenset) -> None:
        self._most, self._health, self._secrets = most, health, secrets
        self._tasks: TaskGroup
        self._spare: _Start | None = None
        self._idle: list[Worker] = []
        self._out: set[Worker] = set()
        self._awaited = 0
        """The number of workers being started for a waiting caller."""
        self._used, self._used_at = anyio.Event(), 0.0
        self._verdicts: dict[bytes, _Verdict] = {}
        self._is_retrying = False
        self._closed = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator["WorkerPool"]:
        """Provide the pool while the block lasts; then all its workers end."""
        async with task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._thin_out)
            try:
                yield self
            finally:
                # The readers of the workers' stderr end with them; workers being started are cancelled.
                self._closed = True
                with anyio.CancelScope(shield=True):
                    async with task_group() as endings:
                        spare, self._spare = self._spare, None
                        if spare is not None and spare.found is not None:
                            endings.start_soon(spare.found.stop)
                        for worker in (*self._idle, *self._out):
                            endings.start_soon(worker.stop)
                tasks.cancel_scope.cancel()

    def warm(self) -> None:
        """Start a spare worker in the background, if there is none and one more is allowed."""
        if self._spare is None and not self._idle and self.size < self._most and not self._closed:
            self._spare = self._begun()

    @property
    def size(self) -> int:
        """The number of workers, including those being started."""
        return len(self._out) + len(self._idle) + self._awaited + (self._spare is not None)

    def _begun(self) -> _Start:
        """Begin starting a worker in a task of the pool, so that a cancelled caller loses no process."""
        start = _Start()
        self._tasks.start_soon(self._start, start)
        return start

    async def _start(self, start: _Start) -> None:
        """Start the worker, and report to `health` whether that works."""
        try:
            start.found = await Worker.start(self._tasks, self._secrets)
        except (WorkerDied, ProtocolError) as error:
            start.problem = str(error)
            if self._spare is start:
                self._spare = None
            if self._health is not None:
                self._health.trouble(_WORKERS, start.problem)
            if not self._is_retrying and not self._closed:
                self._is_retrying = True
                self._tasks.start_soon(self._warm_later)
        else:
            if self._health is not None:
                self._health.works(_WORKERS)
            if not start.is_wanted:
                await start.found.stop()
        finally:
            start.settled.set()

    async def _warm_later(self) -> None:
        """Retry after a failed start until there is a worker: only then is the server healthy again."""
        await anyio.sleep(RETRY)
        self._is_retrying = False
        if self._idle and self._health is not None:
            self._health.works(_WORKERS)
        self.warm()

    @asynccontextmanager
    async def worker(self, *, new: bool = False) -> AsyncIterator[Worker]:
        """Provide a worker for one run while the block lasts. Raises `WorkerDied` if none can be started.

        With `new`, it is a process that has not been used before.
        """
        worker = await self.take(new=new)
        try:
            yield worker
        finally:
            await self.release(worker)

    async def take(self, *, new: bool = False) -> Worker:
        """Return a worker for one run; `release` it afterwards. Raises `WorkerDied` if none can be started."""
        self._note_use()
        worker = await (self._new() if new else self._next())
        self.warm()
        return worker

    async def _next(self) -> Worker:
        """Return a spare worker equal to a new one, or a new one; counted in `_out` from here on."""
        while self._idle:
            worker = self._idle.pop()
            self._out.add(worker)
            if worker.is_fit:
                return worker
            await self.discard(worker)
        spare, self._spare = self._spare, None
        found = None if spare is None else await self._claimed(spare)
        if found is None or found.is_fit:
            return found or await self._new()
        await self.discard(found)
        return await self._new()

    async def _new(self) -> Worker:
        start = self._begun()
        worker = await self._claimed(start)
        if worker is None:
            raise WorkerDied(start.problem)
        return worker

    async def _claimed(self, start: _Start) -> Worker | None:
        """Return the worker being started once it is ready, or None; counted in `_out` from here on."""
        self._awaited += 1
        try:
            await start.settled.wait()
        except BaseException:
            # The cancelled caller's start continues: it becomes the spare one, or ends, or has just failed.
            has_failed = start.settled.is_set() and start.found is None
            if self._spare is None and not self._closed and not has_failed:
                self._spare = start
            elif start.found is not None:
                await start.found.stop()
            else:
                start.is_wanted = False
            raise
        finally:
            self._awaited -= 1
        if start.found is not None:
            self._out.add(start.found)
        return start.found

    # -- jobs for a spare worker; all raise `WorkerDied`

    async def check(
        self, definition: Json, cleaners: list[str] | None = None, patience: float = math.inf
    ) -> Json:
        """Compile a flow (see `compile_flow`). Raises `FlowError`, including when that takes too much CPU time.

        A busy server says nothing about the flow: after `patience` seconds `WorkerDied` is raised, and the check goes
        on. Its verdict serves all callers with the same flow, now and later.
        """
        layouts = definition.get("layouts", {}).values()
        columns = len(definition["columns"]) + sum(len(one.get("columns", ())) for one in layouts)
        job = Check(definition, cleaners, CHECK_LIMIT + columns // CHECKED_IN_A_SECOND)
        key = hashlib.sha256(encode(job)).digest()
        verdict = self._verdicts.get(key)
        if verdict is None:
            going_on = sum(not one.settled.is_set() for one in self._verdicts.values())
            if going_on >= _MOST_CHECKS and patience < math.inf:
                raise WorkerDied(
                    f"the flow is not checked, as {going_on} other checks go on: try again later"
                )
            verdict = self._verdicts[key] = _Verdict()
            self._tasks.start_soon(self._judge, key, verdict, job)
        with anyio.move_on_after(patience):
            await verdict.settled.wait()
        if not verdict.settled.is_set():
            raise WorkerDied(
                f"the flow is not checked after {patience:g} s, as the server is busy; the check goes on: try again"
            )
        if verdict.found is None:
            raise WorkerDied(verdict.problem)
        return _accepted(verdict.found).compiled

    async def _judge(self, key: bytes, verdict: _Verdict, job: Check) -> None:
        """Settle a verdict, and keep the newest ones."""
        late = WorkerDied(
            f"the flow was not checked within {CHECK_BACKSTOP:g} s, as the server is busy: try again"
        )
        try:
            verdict.found = await self._answered(job, Checked, Refused, CHECK_BACKSTOP, late)
        except OutOfTime:
            problem = f"takes more than {job.seconds} s of CPU time to check: simplify its expressions"
            verdict.found = Refused("", problem)
        except WorkerDied as error:
            verdict.problem = str(error)
        finally:
            # A package that a format needs may be installed before the flow is sent again.
            needs_package = isinstance(verdict.found, Refused) and verdict.found.place == "source.format"
            if verdict.found is None or needs_package:
                del self._verdicts[key]
            verdict.settled.set()
            settled = [key for key, one in self._verdicts.items() if one.settled.is_set()]
            for old in settled[:-_MOST_VERDICTS]:
                del self._verdicts[old]

    async def propose(self, job: Propose) -> Json:
        """Make a proposal. Raises `FlowError`, including when that takes too long."""
        late = FlowError("samples", f"take longer than {PROPOSE_LIMIT:g} s to read: pass smaller ones")
        return _accepted(await self._answered(job, Proposed, Refused, PROPOSE_LIMIT, late)).proposal

    async def read(self, job: Read) -> RowsPage | Unreadable:
        return await self._answered(job, RowsPage, Unreadable, READ_LIMIT, "reading a page")

    async def gather(self, job: Gather) -> Gathered:
        """Add rejects to the files of a replay."""
        return await self._answered(job, Gathered, Gathered, GATHER_LIMIT, "gathering the rows")

    async def repair(self, job: Repair) -> Repaired:
        """Return candidates for the intended values."""
        return await self._answered(job, Repaired, Repaired, READ_LIMIT, "the repairs")

    async def archive(self, job: ArchiveRuns) -> None:
        """Write an archive file. Also raises OSError."""
        answer = await self._answered(job, Done, Failed, GATHER_LIMIT, "writing the archive")
        if isinstance(answer, Failed):
            raise OSError(answer.message)

    async def forget(self, job: Forget) -> Forgotten | Failed:
        """Find the rows of a person in an output, or the files about one."""
        return await self._answered(job, Forgotten, Failed, GATHER_LIMIT, "looking for the rows")

    async def look(self, job: Look) -> Looked:
        """Determine the content of a source. The caller limits the time, and then ends the process."""
        return await self._answered(job, Looked, Looked)

    async def notify(self, job: Notify) -> Notified:
        """Send a message. The caller limits the time, and then ends the process."""
        return await self._answered(job, Notified, Notified)

    async def _answered(
        self,
        job: Job,
        done: type[Answer],
        refused: type[Refusal],
        limit: float = math.inf,
        late: Exception | str = "",
    ) -> Answer | Refusal:
        """Have a worker do a job; `late` names it, or is the error, if it takes longer than `limit` seconds."""
        if isinstance(late, str):
            late = WorkerDied(f"{late} took longer than {limit:g} s")
        worker = await self._next()
        try:
            answer = await worker.answer(job, done, refused, limit, late)
        except BaseException as error:
            await self.discard(worker)
            if isinstance(error, ProtocolError):
                raise WorkerDied(f"the worker process can't be understood: {error}") from error
            raise
        await self.release(worker)
        return answer

    async def release(self, worker: Worker) -> None:
        """Take a worker back: for another run, or to end it."""
        try:
            keep = await worker.renewed()
        except BaseException:
            await self.discard(worker)
            raise
        if not keep or self.size > self._most or self._closed:
            await self.discard(worker)
            self.warm()
            return
        self._out.discard(worker)
        self._idle.append(worker)
        self._note_use()

    def _note_use(self) -> None:
        self._used_at = anyio.current_time()
        self._used.set()

    async def _thin_out(self) -> None:
        """End all spare workers but one after a while without requests."""
        while True:
            await self._used.wait()
            if (quiet_at := self._used_at + QUIET) > anyio.current_time():
                await anyio.sleep_until(quiet_at)
                continue
            self._used = anyio.Event()
            surplus, self._idle = self._idle[:-1], self._idle[-1:]
            self._out.update(surplus)
            async with task_group() as endings:
                for worker in surplus:
                    endings.start_soon(self.discard, worker)

    async def discard(self, worker: Worker) -> None:
        try:
            await worker.stop()
        finally:
            self._out.discard(worker)


def _accepted(answer: Answer | Refused) -> Answer:
    """Return an accepted answer. Raises `FlowError` for a refusal."""
    if isinstance(answer, Refused):
        raise FlowError(answer.place, answer.problem)
    return answer
