"""The executor of one machine: a process for each slot, started on demand and kept until the end of the run.

A process receives one line for a task, `{"function": "module:name", "argument": {…}}`, and answers with one,
`{"result": {…}}`, or `{"error": "…"}` if the function raises. While it works it sends an empty object every few
seconds. The end of its stdin ends it at once. A process that dies or stays silent for too long is replaced, and its
task starts again.
"""

import os
import queue
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, Self

import orjson
from attrs import define, field

from lume_local._shards.executor import (
    MOST_ATTEMPTS,
    TICK,
    ExecutorLost,
    Function,
    Json,
    Pause,
    function_of,
    job_of,
)
from lume_local._shared.interpreter import command

SILENCE = 60.0
"""Seconds of silence after which a process counts as stopped or stuck."""
_PROGRAM = "from lume_local._shards.engines.pool import main; main()"
_READ = 1024 * 1024


class _Process:
    """One process, and the number of its task.

    The selector reports when there is output to read or room for more of a task: a process that is stopped, or starts
    slowly, accepts no more than fits into a pipe.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                command(_PROGRAM),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C in a terminal is for the server
            )
        except OSError as error:
            raise ExecutorLost(
                f"a process of the pool can't be started: {error.strerror or error}"
            ) from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        self._selector = selector
        selector.register(self._stdout, selectors.EVENT_READ, self)
        self._unsent = memoryview(b"")
        self._read = b""
        self._heard = time.monotonic()
        self.task: int | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self, number: int, line: bytes) -> None:
        self.task, self._heard = number, time.monotonic()
        self._unsent = memoryview(line)
        self.send()
        if self._unsent:
            self._selector.register(self._stdin, selectors.EVENT_WRITE, self)

    def send(self) -> None:
        """Send as much of the task as the pipe accepts now. Call it again when there is room."""
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self._stdin.fileno(), self._unsent) :]
                self._heard = time.monotonic()
        except BlockingIOError:
            return
        except BrokenPipeError:  # it is gone; the end of its stdout shows that
            self._unsent = memoryview(b"")
        self._no_longer_sending()

    def _no_longer_sending(self) -> None:
        with suppress(KeyError):
            self._selector.unregister(self._stdin)

    def answers(self) -> list[Json] | None:
        """Return its answers since the last call; None if it is gone. Call it when there is output to read."""
        block = os.read(self._stdout.fileno(), _READ)
        if not block:
            return None
        self._heard = time.monotonic()
        *lines, self._read = (self._read + block).split(b"\n")
        return [answer for line in lines if (answer := orjson.loads(line))]

    @property
    def is_silent(self) -> bool:
        """Return whether it has a task and has been silent for too long."""
        return self.task is not None and time.monotonic() > self._heard + SILENCE

    def end(self) -> str:
        self._process.kill()
        code = self._process.wait()
        self._no_longer_sending()
        self._selector.unregister(self._stdout)
        self._stdin.close()
        self._stdout.close()
        if code >= 0:
            return f"ended with exit code {code}"
        with suppress(ValueError):
            return f"was killed by signal {signal.Signals(-code).name}"
        return f"was killed by signal {-code}"


@define
class _Batch:
    """The tasks of one call of `map`: those waiting, the attempts at each, and the results so far."""

    function: Function
    arguments: Sequence[Json]
    waiting: deque[int] = field(init=False)
    begun: list[int] = field(init=False)
    results: dict[int, Json] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.waiting = deque(range(len(self.arguments)))
        self.begun = [0] * len(self.arguments)

    def line(self, number: int) -> bytes:
        return orjson.dumps(job_of(self.function, self.arguments[number])) + b"\n"


class Pool:
    """See `Executor`."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._processes: list[_Process] = []
        self._selector: selectors.BaseSelector

    def __enter__(self) -> Self:
        self._selector = selectors.DefaultSelector()
        return self

    def __exit__(self, *_: object) -> None:
        for process in list(self._processes):
            self._drop(process)
        self._selector.close()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Generator[Json]:
        batch = _Batch(function, arguments)
        try:
            for number in range(len(arguments)):
                while number not in batch.results:
                    pause()
                    self._hand_out(batch)
                    self._listen(batch)
                yield batch.results.pop(number)
        finally:
            for process in [one for one in self._processes if one.task is not None]:
                self._drop(process)

    def _hand_out(self, batch: _Batch) -> None:
        """Give waiting tasks to free processes."""
        while batch.waiting:
            free = next((one for one in self._processes if one.task is None), None)
            if free is None and len(self._processes) == self.slots:
                return
            number = batch.waiting.popleft()
            batch.begun[number] += 1
            if free is None:
                free = _Process(self._selector)
                self._processes.append(free)
            free.begin(number, batch.line(number))

    def _listen(self, batch: _Batch) -> None:
        """Wait briefly for answers, and for room for tasks."""
        for key, events in self._selector.select(TICK):
            process: _Process = key.data
            if process not in self._processes:
                continue  # just replaced
            if events & selectors.EVENT_WRITE:
                process.send()
                continue
            answers = process.answers()
            if answers is None:
                self._replace(process, batch)
                continue
            for answer in answers:
                if "error" in answer:
                    raise ExecutorLost(f"a process of the pool can't do its task: {answer['error']}")
                assert process.task is not None
                batch.results[process.task], process.task = answer["result"], None
        for process in [one for one in self._processes if one.is_silent]:
            self._replace(process, batch)

    def _replace(self, process: _Process, batch: _Batch) -> None:
        """Replace a process; its task, if any, is next."""
        number, how = process.task, self._drop(process)
        if number is None:
            return
        if batch.begun[number] >= MOST_ATTEMPTS:
            raise ExecutorLost(f"a task was lost {MOST_ATTEMPTS} times: its process in the pool {how}")
        batch.waiting.appendleft(number)

    def _drop(self, process: _Process) -> str:
        self._processes.remove(process)
        return process.end()


_HEARTBEAT = 5.0


def main() -> None:
    """Do tasks until stdin ends."""
    # Answers need the real stdout; anything else that prints goes to stderr.
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(tasks,), name="leash", daemon=True).start()
    while True:
        line, ended = tasks.get(), threading.Event()

        def beat(ended: threading.Event = ended) -> None:
            while not ended.wait(_HEARTBEAT):
                _say(out, {})

        heart = threading.Thread(target=beat, name="heartbeat", daemon=True)
        heart.start()
        answer = _answer(line)
        ended.set()
        heart.join()
        _say(out, answer)


def _read(tasks: "queue.SimpleQueue[bytes]") -> None:
    for line in sys.stdin.buffer:
        tasks.put(line)
    os._exit(1)  # a worker must not outlive the run that holds its stdin


def _answer(line: bytes) -> dict[str, Any]:
    try:
        task = orjson.loads(line)
        return {"result": function_of(task["function"])(task["argument"])}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _say(out: BinaryIO, answer: dict[str, Any]) -> None:
    try:
        out.write(orjson.dumps(answer) + b"\n")
    except OSError:  # nobody is listening
        os._exit(1)
