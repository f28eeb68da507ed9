"""Group commit: one fsync, in a thread, for all transactions since the last one.

SQLite runs with `synchronous=NORMAL`: a COMMIT writes to the write-ahead log without waiting for the disk, so the
event loop never waits for an fsync. A transaction that must be durable before it is shown or acted on is marked with
`wanted`; its users await `settled`, which returns once the log is durable up to it. Other transactions (the stages of
a run) become durable with the next marked one.
"""

import os
import sqlite3
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

_sync = getattr(os, "fdatasync", os.fsync)  # the same call as SQLite's, if available
CHECKPOINT_EVERY = 100
"""Durable transactions between two checkpoints, which move the log's pages into the database file."""


class Durability:
    """The durability of one state file's write-ahead log, which must exist. Close it."""

    def __init__(self, path: Path) -> None:
        # Closing a file releases this process's POSIX locks on it. SQLite has none on the log.
        self._log = os.open(f"{path}-wal", os.O_RDWR | os.O_CLOEXEC)
        self._checkpoints = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._one_at_a_time = anyio.Lock()
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
