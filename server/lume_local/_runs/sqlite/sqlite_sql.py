"""Executes statements in one SQLite file, directly on the event loop, and makes them durable in a thread.

A read takes microseconds, a write does not wait for the disk: a thread would only cost time. No other task runs
during an operation once it has begun, and it can't be cancelled, so it is atomic.
"""

import os
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio.to_thread import run_sync

from lume_local._runs.sql.operation import Row, Sql
from lume_local._runs.sqlite.sqlite_tables import NEVER_CHANGED
from lume_local._runs.store.records import StoreFailed, StoreUnavailable

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds that an operation waits while another program writes."""
_LOOK = 0.01
_sync = getattr(os, "fdatasync", os.fsync)  # the same call as SQLite's, if available
CHECKPOINT_EVERY = 100
"""Durable transactions between two checkpoints, which move the log's pages into the database file."""
_LONGEST_LOG = 10_000
"""Pages of the log after which a COMMIT moves them, on the event loop: writes were too dense for the thread."""


class Durability:
    """Group commit: one fsync, in a thread, for all transactions since the last one. The log must exist. Close it.

    SQLite runs with `synchronous=NORMAL`: a COMMIT writes to the write-ahead log without waiting for the disk, so the
    event loop never waits for an fsync. A transaction that must be durable before it is shown or acted on is marked
    with `wanted`; its users await `settled`, which returns once the log is durable up to it. Other transactions (the
    stages of a run) become durable with the next marked one.
    """

    def __init__(self, path: Path) -> None:
        # Closing a file releases this process's POSIX locks on it. SQLite has none on the log.
        self._log = os.open(f"{path}-wal", os.O_RDWR | os.O_CLOEXEC)
        self._checkpoints = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._one_at_a_time = anyio.Lock(fast_acquire=True)
        self._written = self._durable = self._checkpointed = 0

    def wanted(self) -> None:
        """Mark the last committed transaction as one that must become durable."""
        self._written += 1

    async def settled(self) -> None:
        """Wait until everything written so far survives a power cut. Raises OSError."""
        written = self._written
        if self._durable >= written:
            return
        async with self._one_at_a_time:
            if self._durable < written:  # otherwise the previous task's fsync covered it
                written = self._written
                await run_sync(self._make_durable, written)
                self._durable = written

    def _make_durable(self, written: int) -> None:
        _sync(self._log)
        if written - self._checkpointed >= CHECKPOINT_EVERY:
            self._checkpointed = written
            self._checkpoints.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def close(self) -> None:
        self._checkpoints.close()
        os.close(self._log)


class SqliteSql(Sql):
    """See `operation.Sql`."""

    listing_index = "INDEXED BY listing"
    around_edits: tuple[str, str] = "DROP TRIGGER audit_is_never_changed", NEVER_CHANGED

    def __init__(self, db: sqlite3.Connection, durability: Durability) -> None:
        self._db, self._durability = db, durability
        self._must_last = False
        self._path = db.execute("PRAGMA database_list").fetchone()[2]
        db.execute("PRAGMA busy_timeout = 0")  # a wait in SQLite would block the event loop
        # By default 1,000, which is a dozen runs: their COMMIT would wait for two fsyncs.
        db.execute(f"PRAGMA wal_autocheckpoint = {_LONGEST_LOG}")

    def newest_of_each(self, groups: str, condition: str) -> str:
        newest = f"SELECT seq FROM runs WHERE {condition} ORDER BY seq DESC LIMIT ?"  # noqa: S608 - constants
        return (
            f"SELECT seq FROM {groups} CROSS JOIN runs WHERE {condition} "  # noqa: S608
            f"AND seq >= (SELECT min(seq) FROM ({newest}))"
        )

    async def rows(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._db.execute(query, values).fetchall()

    async def many(self, *queries: tuple[str, Sequence[Any]]) -> list[list[Row]]:
        return await run_sync(self._many, queries)

    def _many(self, queries: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Row]]:
        with closing(sqlite3.connect(self._path, isolation_level=None)) as db:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA query_only = ON")
            db.execute("BEGIN")  # all see one state
            return [db.execute(*query).fetchall() for query in queries]

    async def change(self, query: str, values: Sequence[Any] = ()) -> None:
        self._db.execute(query, values)

    async def changed(self, query: str, values: Sequence[Any] = ()) -> int:
        return self._db.execute(query, values).rowcount

    def must_last(self) -> None:
        self._must_last = True

    async def settled(self) -> None:
        await self._durability.settled()

    async def single(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await work()
        except sqlite3.Error as error:
            raise failure(error) from error

    async def read(self, work: Callable[[], Awaitable[T]]) -> T:
        return await self.single(work)

    async def write(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            await self._begin()
            self._must_last = False
            try:
                result = await work()
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:  # SQLite itself rolls back on some errors, such as a full disk
                    self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise failure(error) from error
        if self._must_last:
            self._durability.wanted()
        return result

    async def _begin(self) -> None:
        for attempt in count(1):
            try:
                self._db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if not _is_locked(error) or attempt * _LOOK > PATIENCE:
                    raise
            await anyio.sleep(_LOOK)


def failure(error: sqlite3.Error) -> StoreFailed:
    if is_full(error):
        return StoreUnavailable("the disk is full", is_full=True)
    if _is_locked(error):
        return StoreUnavailable("another program has locked its file")
    kind = StoreUnavailable if isinstance(error, sqlite3.OperationalError) else StoreFailed
    return kind(f"{type(error).__name__}: {error}")


def is_full(error: sqlite3.Error) -> bool:
    """Return whether it is due to a full disk."""
    return _kind(error) == sqlite3.SQLITE_FULL


def _is_locked(error: sqlite3.Error) -> bool:
    return _kind(error) == sqlite3.SQLITE_BUSY


def _kind(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
