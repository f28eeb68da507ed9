"""The record behind `run_many`: what was sent, what came of it, one transaction each. Entries are only added.

Killed at any point and opened again, it says of every item of the input what is certain:

    nothing, or `unsent`   no run can exist: submit it
    `sending`              a run may exist: find out, never just send again
    `submitted`            the run is known: wait for its end
    `ended`                the outcome is known
"""

import json
import os
import sqlite3
from typing import Any, Self

from attrs import define

from lume_async.errors import ConfigurationError
from lume_async.models import RunRequest

_TABLES = """
CREATE TABLE IF NOT EXISTS entries (
    seq INTEGER PRIMARY KEY, item INTEGER NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS entries_by_item ON entries (item);
"""


@define
class Entry:
    """What the journal knows of one item.

    Attributes:
        request: what was to be run.
        key: the idempotency key of every attempt; another one where a failed run was tried again.
        at: when it was first sent under this key, in seconds since the epoch.
        reused: whether the run that it was submitted as existed before.
        state: the kind of the newest entry.
        body: what that entry says.
    """

    request: RunRequest
    key: str
    at: float
    reused: bool
    state: str
    body: dict[str, Any]


class Journal:
    """An append-only SQLite file, held by one process at a time. Its calls block: keep them off the loop."""

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection = connection
        self._path = path

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the journal, or begin a new one.

        Raises:
            ConfigurationError: another process holds it, the file is no journal, or it can't be written.
        """
        name = os.fspath(path)
        foreign = f"{name!r} is no journal of this library: take another file"
        if _is_foreign(name):  # SQLite would take a file shorter than its header for an empty database
            raise ConfigurationError(foreign)
        try:
            connection = sqlite3.connect(name, timeout=0.0, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            reason = f"the journal {name!r} can't be opened: {error}; is its folder there?"
        else:
            try:
                _prepare(connection)
                return cls(connection, name)
            except sqlite3.OperationalError as error:
                reason = f"the journal {name!r} can't be used: {error}"
                if "locked" in str(error):
                    reason = f"the journal {name!r} is in use by another process: wait for it, or take another file"
            except sqlite3.DatabaseError:
                reason = foreign
            connection.close()
        raise ConfigurationError(reason)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def begin(self, item: int, request: RunRequest, key: str, at: float) -> Entry | None:
        """What is known of the item with this number; None where it was never sent: then it is about to be.

        Raises:
            ConfigurationError: the item was another one before.
        """
        entry = self._entry(item)
        self._check(item, entry, request)
        if entry is None:
            self.sending(item, request, key, at)
        return entry

    def sending(self, item: int, request: RunRequest, key: str, at: float) -> None:
        """The item is about to be sent."""
        fields = {
            "flow_version": request.flow_version,
            "source_path": request.source_path,
            "run_metadata": request.run_metadata,
            "force_rerun": request.force_rerun,
        }
        self._add(item, "sending", {"request": fields, "key": key, "at": at})

    def submitted(self, item: int, run: dict[str, Any], *, reused: bool) -> None:
        """The item's run is known."""
        self._add(item, "submitted", {"run": run, "reused": reused})

    def unsent(self, item: int, reason: str) -> None:
        """Sending failed in a way that can't have made a run."""
        self._add(item, "unsent", {"reason": reason})

    def withdraw(self, item: int, key: str) -> None:
        """The item was not sent under this key after all."""
        newest = self._rows("SELECT kind, body FROM entries WHERE item = ? ORDER BY seq DESC LIMIT 1", item)
        if any(kind == "sending" and json.loads(body)["key"] == key for kind, body in newest):
            self.unsent(item, "cancelled before it was sent")

    def ended(self, item: int, outcome: dict[str, Any]) -> None:
        """The item's outcome is known."""
        self._add(item, "ended", outcome)

    def complete(self, count: int) -> None:
        """The input has so many items and no more.

        Raises:
            ConfigurationError: an earlier process saw another number of items.
        """
        before = self._count()
        if before is None:
            self._add(-1, "input", {"count": count})
        elif before != count:
            raise self._changed(f"it had {before:,} items, now it has {count:,}")

    def known_runs(self) -> set[str]:
        """The ids of all runs that belong to an item."""
        rows = self._rows("SELECT kind, body FROM entries WHERE kind = ?", "submitted")
        return {json.loads(body)["run"]["id"] for _kind, body in rows}

    def _entry(self, item: int) -> Entry | None:
        rows = self._rows("SELECT kind, body FROM entries WHERE item = ? ORDER BY seq", item)
        sent = [json.loads(body) for kind, body in rows if kind == "sending"]
        if not sent:
            return None
        key, (kind, body) = sent[-1]["key"], rows[-1]
        at = next(sending["at"] for sending in sent if sending["key"] == key)
        reused = next(
            (json.loads(said)["reused"] for what, said in reversed(rows) if what == "submitted"), False
        )
        return Entry(RunRequest(**sent[-1]["request"]), key, at, reused, kind, json.loads(body))

    def _check(self, item: int, entry: Entry | None, request: RunRequest) -> None:
        """Compare an item of the input with what it was before."""
        before = self._count()
        if before is not None and item >= before:
            raise self._changed(f"it had {before:,} items, now it has more")
        if entry is not None and entry.request != request:
            was, now = entry.request, request
            changed = ", ".join(
                f"{name} {getattr(was, name)!r} is now {getattr(now, name)!r}"
                for name in ("flow_version", "source_path", "run_metadata", "force_rerun")
                if getattr(was, name) != getattr(now, name)
            )
            raise self._changed(f"item {item + 1}: {changed}")

    def _count(self) -> int | None:
        rows = self._rows("SELECT kind, body FROM entries WHERE item = ?", -1)
        return json.loads(rows[0][1])["count"] if rows else None

    def _changed(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"the input is not the one that the journal {self._path!r} was begun with ({what}): "
            "give the same input, or begin a new journal"
        )

    def _add(self, item: int, kind: str, body: dict[str, Any]) -> None:
        self._connection.execute(
            "INSERT INTO entries (item, kind, body) VALUES (?, ?, ?)", (item, kind, json.dumps(body))
        )

    def _rows(self, query: str, *values: object) -> list[tuple[str, str]]:
        return self._connection.execute(query, values).fetchall()


def _is_foreign(name: str) -> bool:
    try:
        with open(name, "rb") as file:
            start = file.read(16)
    except OSError:
        return False  # opening it tells better what is wrong
    return bool(start) and start != b"SQLite format 3\0"


def _prepare(connection: sqlite3.Connection) -> None:
    """Take the file for this process alone; the lock goes with the process, however that ends.

    `synchronous = FULL` makes an entry survive a power cut, not only a killed process.
    """
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN EXCLUSIVE")
    made_by = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if made_by != _APPLICATION_ID and tables:
        raise sqlite3.DatabaseError("made by another program")
    for statement in filter(None, map(str.strip, _TABLES.split(";"))):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute("COMMIT")


_APPLICATION_ID = 0x4C754A31  # "LuJ1": SQLite's own place for whose file it is
