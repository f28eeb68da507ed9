"""Which events were handled: in this process, or in a SQLite file that outlives it and that processes share."""

import sqlite3
from collections import OrderedDict
from contextlib import closing
from os import PathLike
from typing import Protocol, TypeAlias

Key: TypeAlias = tuple[str, str]
"""The run and its status."""

_PATIENCE = 10.0
"""Seconds to wait for another process that writes."""


class Memory(Protocol):
    """Remembers so many events at most; the oldest are forgotten first."""

    def knows(self, key: Key) -> bool:
        """Whether it was handled."""
        ...

    def add(self, key: Key) -> None:
        """It was handled."""
        ...


class InProcess:
    """Lost at the end of the process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: OrderedDict[Key, None] = OrderedDict()

    def knows(self, key: Key) -> bool:
        """Whether it was handled."""
        return key in self._keys

    def add(self, key: Key) -> None:
        """It was handled."""
        self._keys[key] = None
        if len(self._keys) > self._most:
            self._keys.popitem(last=False)


class InFile:
    """In a SQLite file, made where there is none. Used from any thread and process."""

    def __init__(self, path: str | PathLike[str], most: int) -> None:
        self._path = path
        self._most = most
        with self._opened() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(
                "CREATE TABLE IF NOT EXISTS handled (seq INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, "
                "status TEXT NOT NULL, UNIQUE (run_id, status)) STRICT"
            )

    def _opened(self) -> "closing[sqlite3.Connection]":
        # For each use: nothing is left to close, and nothing is shared with a process that forks.
        return closing(sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None))

    def knows(self, key: Key) -> bool:
        """Whether it was handled."""
        with self._opened() as db:
            return (
                db.execute("SELECT 1 FROM handled WHERE run_id = ? AND status = ?", key).fetchone()
                is not None
            )

    def add(self, key: Key) -> None:
        """It was handled; durable once this returns."""
        with self._opened() as db:
            db.execute("INSERT OR IGNORE INTO handled (run_id, status) VALUES (?, ?)", key)
            db.execute("DELETE FROM handled WHERE seq <= (SELECT max(seq) FROM handled) - ?", [self._most])
