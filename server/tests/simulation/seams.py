"""Where a simulated process touches the world outside: its statements, its file operations, its clock.

Each statement of a state and each file operation is a point, numbered as it happens. A process can be killed before
or after one; from then on all its further ones raise `Killed`, so that no cleanup has any effect. Whatever a product
module calls through `os`, `io` or `sqlite3` comes by here: a new statement is a new point by itself.
"""

import builtins
import datetime
import fcntl
import io
import os
import random
import re
import sqlite3
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from pathlib import Path
from typing import Any

import anyio.lowlevel
import pytest
from anyio.from_thread import check_cancelled
from anyio.to_thread import run_sync

EPOCH = 1_800_000_000.0
"""The time at which histories begin, in seconds since 1970."""
FILE_OPERATIONS = (
    *("replace", "rename", "link", "symlink", "unlink", "remove", "rmdir", "mkdir", "open", "write"),
    *("ftruncate", "truncate", "fsync", "fdatasync", "utime", "chmod"),
)
"""The functions of `os` that change files; `open` only if it may create or write one."""
_IDENTIFIER = re.compile("[0-9a-f]{16,}")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Killed(BaseException):
    """The process has ended: nothing that it still does has an effect."""


class SimProcess:
    """A server or a worker, as far as the seams know it.

    Attributes:
        kind: `server` or `worker`.
        offset: seconds by which its clock is ahead.
        postponed: what it is to do once it is no longer frozen.
    """

    def __init__(self, world: "Points", kind: str, pid: int) -> None:
        self.world, self.kind, self.pid = world, kind, pid
        self.is_dead = self.is_frozen = False
        self.offset = 0.0
        self.postponed: list[tuple[Callable[..., object], tuple[Any, ...], Context]] = []
        self.connections: list[SimConnection] = []
        self.locks: set[int] = set()

    def check(self) -> None:
        if self.is_dead:
            raise Killed

    def thaw(self) -> None:
        """Let it go on, if it is frozen; a dead one unwinds."""
        self.is_frozen = False
        postponed, self.postponed = self.postponed, []
        for callback, args, context in postponed:
            self.world.loop.call_soon(callback, *args, context=context)

    def die(self) -> None:
        """End it, as `kill -9` does: the system takes back its locks and its open transactions."""
        self.is_dead = True
        self.thaw()
        for lock in self.locks:
            with suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_UN)
        for connection in self.connections:
            connection.abandon()


current: ContextVar[SimProcess | None] = ContextVar("simulated_process", default=None)


class Points:
    """The points of a history, numbered from 0 on while it `counts`.

    Attributes:
        kills: the points at which their processes are killed, and whether that happens after them.
        traced: the statements that SQLite itself has reported, if it `traces` them.
        ahead: seconds by which all clocks are ahead of the loop's time.
    """

    def now(self) -> float:
        """Return the time in seconds since 1970."""
        raise NotImplementedError

    traces = False

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.counts = False
        self.names: list[str] = []
        self.traced: Counter[str] = Counter()
        self.is_in_point = False
        self.kills: list[tuple[int, bool]] = []
        self.ahead = 0.0
        self.on_kill: Callable[[SimProcess], None] = SimProcess.die
        self.checks: list[Callable[[SimProcess, str, str], None]] = []
        """Called with the process, the operation and its subject, after each operation."""

    def passed(self, kind: str, name: str, work: Callable[[], Any]) -> Any:
        """Do the work of a point; the process may be killed before or after it."""
        process = current.get()
        if process is None:
            return work()
        process.check()
        number = len(self.names) if self.counts else -1
        if self.counts:
            self.names.append(f"{process.kind} {kind} {name}")
        self._kill(process, number, is_after=False)
        self.is_in_point = True
        try:
            result = work()
        finally:
            self.is_in_point = False
        for check in self.checks:
            check(process, kind, name)
        try:
            self._kill(process, number, is_after=True)
        except Killed:
            # The system closes the files of a process.
            if isinstance(result, io.IOBase):
                result.close()
            elif name.startswith("open ") and isinstance(result, int):
                os.close(result)
            raise
        return result

    def _kill(self, process: SimProcess, number: int, *, is_after: bool) -> None:
        if self.kills and (number, is_after) in self.kills:
            self.on_kill(process)
            raise Killed


class SimConnection(sqlite3.Connection):
    """A connection of one simulated process, whose statements are points."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.owner = current.get()
        if self.owner is not None:
            self.owner.connections.append(self)
            if self.owner.world.traces:
                self.set_trace_callback(self._traced)

    def _traced(self, statement: str) -> None:
        assert self.owner is not None
        self.owner.world.traced[statement if self.owner.world.is_in_point else "outside of a point"] += 1

    def _point(self, query: str, work: Callable[[], Any]) -> Any:
        if self.owner is None:
            return work()
        self.owner.check()
        return self.owner.world.passed("statement", " ".join(query.split())[:60], work)

    def execute(self, query: str, *values: Any) -> sqlite3.Cursor:  # type: ignore[override]
        execute = super().execute
        found: sqlite3.Cursor = self._point(query, lambda: execute(query, *values))
        return found

    def executescript(self, script: str) -> sqlite3.Cursor:  # type: ignore[override]
        execute = super().executescript
        found: sqlite3.Cursor = self._point(script, lambda: execute(script))
        return found

    def backup(self, target: sqlite3.Connection, **options: Any) -> None:  # type: ignore[override]
        backup = super().backup
        self._point("backup", lambda: backup(target, **options))

    def abandon(self) -> None:
        """Roll back, as the next process does that opens the file of a killed one."""
        with suppress(sqlite3.Error):
            if self.in_transaction:
                self.rollback()
        with suppress(sqlite3.Error):
            super().close()

    def close(self) -> None:
        if self.owner is None or not self.owner.is_dead:
            super().close()


@contextmanager
def simulated(points: Points, loop_time: Callable[[], float], seed: int) -> Iterator[pytest.MonkeyPatch]:
    """Put the seams in place while the block lasts; operations outside of a simulated process pass."""
    with pytest.MonkeyPatch.context() as patch:
        _patch_files(patch, points)
        connect = sqlite3.connect

        def connected(*args: Any, **options: Any) -> sqlite3.Connection:
            if (process := current.get()) is not None:
                process.check()
            return connect(*args, **{"factory": SimConnection, **options})

        patch.setattr(sqlite3, "connect", connected)
        _patch_clock(patch, points, loop_time)
        identifiers = random.Random(f"identifiers {seed}")
        patch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=identifiers.getrandbits(128), version=4))
        _patch_threads(patch)
        yield patch


def _patch_files(patch: pytest.MonkeyPatch, points: Points) -> None:
    for name in FILE_OPERATIONS:
        patch.setattr(os, name, _counted(points, name, getattr(os, name)))
    from lume_local._runs.sqlite import sqlite_sql

    patch.setattr(sqlite_sql, "_sync", os.fdatasync)  # bound when it was imported
    plain = io.open

    def opened(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        if current.get() is None or not set(mode) & set("wxa+"):
            return plain(file, mode, *args, **options)
        return points.passed("file", f"open {_named(file)}", lambda: plain(file, mode, *args, **options))

    patch.setattr(io, "open", opened)
    patch.setattr(builtins, "open", opened)
    flock, close = fcntl.flock, os.close

    def locked(file: Any, operation: int) -> None:
        flock(file, operation)
        process = current.get()
        if process is not None and operation & fcntl.LOCK_EX:
            process.locks.add(file if isinstance(file, int) else file.fileno())

    def closed(handle: int) -> None:
        if (process := current.get()) is not None:
            process.locks.discard(handle)
        close(handle)

    getpid = os.getpid
    patch.setattr(os, "getpid", lambda: getpid() if (process := current.get()) is None else process.pid)
    patch.setattr(fcntl, "flock", locked)
    patch.setattr(os, "close", closed)


def _counted(points: Points, name: str, real: Callable[..., Any]) -> Any:
    utime = os.utime

    def operation(*args: Any, **options: Any) -> Any:
        process = current.get()
        if process is None or (name == "open" and not args[1] & _WRITES):
            return real(*args, **options)

        def work() -> Any:
            if name == "fsync":  # a file was last written when it was made durable, by the virtual clock
                moment = int(points.now() * 1e9)
                utime(args[0], ns=(moment, moment))
            return real(*args, **options)

        return points.passed("file", f"{name} {_named(args[1] if name in _TO else args[0])}", work)

    return operation


_TO = ("replace", "rename", "link")


def _named(file: Any) -> str:
    """Return the name of a file without what differs from history to history."""
    return "" if isinstance(file, int) else _IDENTIFIER.sub("#", Path(os.fsdecode(file)).name)


def _patch_clock(patch: pytest.MonkeyPatch, points: Points, loop_time: Callable[[], float]) -> None:
    from lume_local._runs import times

    real_time, real_monotonic = time.time, time.monotonic

    def now() -> float:
        process = current.get()
        return real_time() if process is None else points.now() + process.offset

    def monotonic() -> float:
        return real_monotonic() if current.get() is None else loop_time()

    class SimDatetime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> "SimDatetime":
            return cls.fromtimestamp(now(), tz)

    patch.setattr(time, "time", now)
    patch.setattr(time, "monotonic", monotonic)
    patch.setattr(times, "datetime", SimDatetime)


def _patch_threads(patch: pytest.MonkeyPatch) -> None:
    """Do the work of threads on the loop, a turn later."""

    async def inline(work: Callable[..., Any], *args: Any, **how: Any) -> Any:
        if current.get() is None:  # of a server that another test has left in its thread
            return await run_sync(work, *args, **how)
        await anyio.lowlevel.checkpoint()
        return work(*args)

    replaced: dict[str, tuple[object, Any]] = {
        "run_sync": (run_sync, inline),
        "check_cancelled": (check_cancelled, lambda: None),
    }
    for name, module in list(sys.modules.items()):
        for attribute, (real, ours) in replaced.items():
            if name.startswith("lume_local.") and getattr(module, attribute, None) is real:
                patch.setattr(module, attribute, ours)


def freezable(base: type[Any]) -> Any:
    """Return a loop on which what a frozen process is to do waits until it goes on."""

    class FreezableLoop(base):  # type: ignore[misc]
        _busy = 0

        def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
            callback, args = self._guarded(callback, args, context)
            return super().call_soon(callback, *args, context=context)

        def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
            callback, args = self._guarded(callback, args, context)
            return super().call_at(when, callback, *args, context=context)

        def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Any:
            callback, args = self._guarded(callback, args, context)
            return super().call_later(delay, callback, *args, context=context)

        def next_turn(self, timeout: float | None) -> None:
            super().next_turn(timeout)
            # Time passes even if something is always ready: anyio arms a timer anew that has ended too early, and
            # cancels a task in each turn until it has ended.
            self._busy = self._busy + 1 if timeout == 0 else 0
            if self._busy:
                self._now += 1e-6 if self._busy < 1000 else 0.01

        def _guarded(self, callback: Any, args: Any, context: Context | None) -> tuple[Any, Any]:
            process = current.get() if context is None else context.get(current)
            if process is None or getattr(callback, "__func__", None) is FreezableLoop._act:
                return callback, args
            return self._act, (process, callback, args)

        def _act(self, process: SimProcess, callback: Any, args: Any) -> None:
            if process.is_frozen:
                process.postponed.append((callback, args, copy_context()))
            else:
                callback(*args)

    return FreezableLoop


def in_process(process: SimProcess | None, make: Callable[[], Any]) -> tuple[Any, Context]:
    """Return a coroutine and the context in which it is a part of the process."""
    context = Context()
    context.run(current.set, process)
    return context.run(make), context
