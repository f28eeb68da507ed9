"""Worker processes: started ahead of need, never outliving the server (see `_shared/protocol`).

A process costs far more than a small run, so one that ended a run in an ordinary way does the next: it closed
that run's database and opened another. It serves a bounded number of runs, and none after a crash or a cancel.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from lume_local._flow.fields import FlowError
from lume_local._shared.protocol import (
    Cancel,
    Check,
    Checked,
    Done,
    Event,
    Execute,
    Failed,
    Job,
    Json,
    ProtocolError,
    Ready,
    Refused,
    decode_event,
    encode,
)

_LONGEST_LINE = 64 * 1024 * 1024
_STDERR_KEPT = 4096
_PATIENCE = 5.0
"""Seconds that a worker gets to end by itself after its leash is cut, or to be ready again after a run."""
MOST_RUNS = 100
"""How many runs one process serves: what leaks in it, leaks not for long."""
MOST_RESIDENT = 256 * 1024 * 1024
"""A process that has kept more memory than this after a run serves no other: a new one has about 70 MB."""
QUIET = 30.0
"""Seconds without a run after which one spare worker is enough."""

_HOME = str(Path(__file__).resolve().parents[2])
_START = "import sys; sys.path.insert(0, {!r}); from lume_local._worker.main import main; main()"


class WorkerDied(Exception):
    """The process ended without an answer. The message names the signal or the exit code."""


class Worker:
    """One worker process. Make it with `start`; `stop` it.

    Attributes:
        runs: how many runs it was given.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout
        self.runs = 0
        self._is_ready = True  # for a job; false from the start of a run
        self._ended_well = False  # the last run, with an ordinary event
        self._cancelled = False
        self._stderr = b""
        self._reader = asyncio.create_task(self._read_stderr(process.stderr), name="worker stderr")

    @classmethod
    async def start(cls) -> "Worker":
        """A worker that is ready for a job. Raises `WorkerDied` where it can't start."""
        environment = {name: value for name, value in os.environ.items() if name != "LUME_API_KEY"}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _START.format(_HOME),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            limit=_LONGEST_LINE,
            start_new_session=True,  # Ctrl-C in a terminal is for the server, which then ends its workers
        )
        worker = cls(process)
        try:
            event = await worker._event()
            if not isinstance(event, Ready):
                raise WorkerDied(await worker.death())
        except BaseException:
            await worker.kill()
            raise
        return worker

    async def _read_stderr(self, stream: asyncio.StreamReader) -> None:
        while block := await stream.read(_STDERR_KEPT):
            self._stderr = (self._stderr + block)[-_STDERR_KEPT:]

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process is still there."""
        return self._process.returncode is None

    async def _event(self) -> Event | None:
        """The next event, or None where the process has ended. Raises `ProtocolError`."""
        line = await self._stdout.readline()
        return decode_event(line) if line.endswith(b"\n") else None

    async def _send(self, job: Job) -> None:
        with suppress(ConnectionError):  # the process is gone: its missing answer tells
            self._stdin.write(encode(job))
            await self._stdin.drain()

    async def check(self, definition: Json) -> Json:
        """The compiled form of a flow. Raises `FlowError`, `WorkerDied`."""
        await self._send(Check(definition))
        match await self._event():
            case Checked(compiled):
                return compiled
            case Refused(place, problem):
                raise FlowError(place, problem)
            case None:
                raise WorkerDied(await self.death())
            case other:
                raise ProtocolError(f"{other!r} answers no check")

    async def run(self, job: Execute) -> AsyncIterator[Event]:
        """The events of a run, until the one that ends it is taken, or the process ends."""
        self.runs += 1
        self._is_ready = self._ended_well = False
        self._stderr = b""  # words of an earlier run must not explain this one's end
        await self._send(job)
        while (event := await self._event()) is not None:
            self._ended_well = isinstance(event, Done | Failed)
            yield event

    async def cancel(self) -> None:
        """Ask the run to stop; its last event says whether it did."""
        self._cancelled = True
        await self._send(Cancel())

    async def renewed(self) -> bool:
        """Whether another run may have this process: waits until it has put the last one behind it."""
        if self._is_ready:
            return self.is_alive
        if not self._ended_well or self._cancelled or self.runs >= MOST_RUNS:
            return False
        try:
            async with asyncio.timeout(_PATIENCE):
                event = await self._event()
        except TimeoutError:
            return False
        # A cancel that came while this waited has reached the process too.
        if not isinstance(event, Ready) or event.resident > MOST_RESIDENT or self._cancelled:
            return False
        self._is_ready = True
        return True

    async def death(self) -> str:
        """Wait for the end and put it in words."""
        code = await self._process.wait()
        await self._reader
        last = self._stderr.decode(errors="replace").strip().rpartition("\n")[2]
        how = f"was killed by signal {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        return f"the worker process {how}" + (f": {last}" if last else "")

    async def kill(self) -> None:
        """End a process that has nothing to lose."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self.stop()

    async def stop(self) -> None:
        """Cut the leash, wait, and kill what does not end by itself."""
        if not self._stdin.is_closing():
            self._stdin.close()
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._reader
        with suppress(ConnectionError):
            await self._stdin.wait_closed()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


class Pool:
    """Hands out workers and takes them back; starts one ahead of need where fewer than `most` are there."""

    def __init__(self, most: int = 1) -> None:
        self._most = most
        self._starting: asyncio.Task[Worker] | None = None
        self._idle: list[Worker] = []
        self._out: set[Worker] = set()
        self._awaited = 0
        """How many are being started for somebody who waits."""
        self._quiet: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    def warm(self) -> None:
        """Start a spare worker in the background, if there is none and one more is allowed."""
        spare = self._starting is not None or self._idle
        if not spare and self._total() < self._most and not self._closed:
            self._starting = asyncio.create_task(Worker.start(), name="spare worker")

    def _total(self) -> int:
        return len(self._out) + len(self._idle) + self._awaited + (self._starting is not None)

    async def take(self, *, new: bool = False) -> Worker:
        """A worker for one run; `release` it afterwards. Raises `WorkerDied` where none can be started.

        `new` wants a process that nobody has had before.
        """
        worker = await (self._start() if new else self._next())
        self.warm()
        return worker

    async def _next(self) -> Worker:
        """A spare worker that lives, else a new one. It counts as out from here on."""
        while self._idle:
            worker = self._idle.pop()
            self._out.add(worker)
            if worker.is_alive:
                return worker
            await self.discard(worker)
        spare, self._starting = self._starting, None
        if spare is not None:
            with suppress(WorkerDied):  # one that fails where nobody looks is no reason to give up
                return await self._started(spare)
        return await self._start()

    async def _start(self) -> Worker:
        return await self._started(asyncio.create_task(Worker.start(), name="worker"))

    async def _started(self, starting: asyncio.Task[Worker]) -> Worker:
        self._awaited += 1
        try:
            worker = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # Whoever asked is gone; the worker is not: it stays the spare one, or ends with the other ones.
            if self._starting is None:
                self._starting = starting
            else:
                starting.cancel()
            raise
        finally:
            self._awaited -= 1
        self._out.add(worker)
        return worker

    async def check(self, definition: Json) -> Json:
        """The compiled form of a flow, from a spare worker. Raises `FlowError`, `WorkerDied`."""
        worker = await self._next()
        try:
            compiled = await worker.check(definition)
        except FlowError:
            await self.release(worker)
            raise
        except BaseException:
            await self.discard(worker)
            raise
        await self.release(worker)
        return compiled

    async def release(self, worker: Worker) -> None:
        """Take a worker back: it serves another run, or ends where it has served its time."""
        try:
            keep = await worker.renewed()
        except BaseException:
            await self.discard(worker)
            raise
        if not keep or self._total() > self._most or self._closed:
            await self.discard(worker)
            self.warm()
            return
        self._out.discard(worker)
        self._idle.append(worker)
        if self._quiet is not None:
            self._quiet.cancel()
        self._quiet = asyncio.get_running_loop().call_later(QUIET, self._thin_out)

    def _thin_out(self) -> None:
        """Nobody has come for a while: end the spare workers but one."""
        surplus, self._idle = self._idle[:-1], self._idle[-1:]
        for worker in surplus:
            self._out.add(worker)
            task = asyncio.create_task(self.discard(worker), name="surplus worker")
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def discard(self, worker: Worker) -> None:
        """End a worker that nobody needs any more."""
        try:
            await worker.stop()
        finally:
            self._out.discard(worker)

    async def close(self) -> None:
        """End all workers."""
        self._closed = True
        if self._quiet is not None:
            self._quiet.cancel()
        starting, self._starting = self._starting, None
        if starting is not None:
            starting.cancel()  # one that is still starting is killed by this
            await asyncio.wait([starting])
            if not starting.cancelled() and starting.exception() is None:
                self._out.add(starting.result())
        self._out.update(self._idle)
        self._idle.clear()
        await asyncio.gather(*self._ending, *(self.discard(worker) for worker in tuple(self._out)))
