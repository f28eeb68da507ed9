"""Remembers handled events, in memory or in a SQLite file that processes share."""

import sqlite3
from collections import OrderedDict
from contextlib import closing
from os import PathLike
from typing import TypeAlias

from lume_async._base import arguments
from lume_async.errors import ConfigurationError

Key: TypeAlias = tuple[str, str]
"""The run and its status."""

_TABLE = """
CREATE TABLE IF NOT EXISTS handled (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL, status TEXT NOT NULL, UNIQUE (run_id, status)
) STRICT
"""
_PATIENCE = 10.0
"""Seconds to wait while another process writes."""


class InProcess:
    """Keeps a limited number of events in memory; the oldest are forgotten first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: OrderedDict[Key, None] = OrderedDict()

    def knows(self, key: Key) -> bool:
        return key in self._keys

    def add(self, key: Key) -> None:
        self._keys[key] = None
        if len(self._keys) > self._most:
            self._keys.popitem(last=False)


class InFile:
    """Keeps events in a SQLite file, created if missing. May be used from any thread and process."""

    def __init__(self, path: str | PathLike[str], most: int) -> None:
        self._path = arguments.path(path, "path", ConfigurationError)
        self._most = most
        try:
            with self._open() as db:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute(_TABLE)
        except sqlite3.Error as error:
            raise ConfigurationError(f"the path {self._path!r} can't be used: {error}") from error

    def _open(self) -> "closing[sqlite3.Connection]":
        # A connection per use: nothing has to be closed later, and a fork shares nothing.
        return closing(sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None))

    def knows(self, key: Key) -> bool:
        with self._open() as db:
            found = db.execute("SELECT 1 FROM handled WHERE run_id = ? AND status = ?", key).fetchone()
        return found is not None

    def add(self, key: Key) -> None:
        """Record the event; durable when this returns."""
        with self._open() as db:
            db.execute("INSERT OR IGNORE INTO handled (run_id, status) VALUES (?, ?)", key)
            db.execute("DELETE FROM handled WHERE seq <= (SELECT max(seq) FROM handled) - ?", [self._most])
