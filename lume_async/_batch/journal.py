"""The record behind `run_many`: what was sent, what came of it, one transaction each. Entries are only added.

Killed at any point and opened again, it says of every item of the input what is certain:

    nothing, or UNSENT     no run can exist: submit it
    SENDING                a run may exist: find out, never just send again
    SUBMITTED              the run is known: wait for its end
    ENDED, REFUSED         the outcome is known
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from attrs import fields

from lume_async._batch import entries
from lume_async._batch.entries import DamagedError, Entry, Kind, Row, Samples
from lume_async._batch.journal_file import (
    close_file,
    damage,
    needs_no_log,
    open_file,
    path_of,
    shown,
    trouble,
)
from lume_async._batch.journal_mark import Mark
from lume_async.errors import ConfigurationError, JournalError
from lume_async.models import RunRequest

_INPUT, _SAMPLES = -1, -2
"""The item numbers of what is said of the input as a whole."""


class Journal:
    """An append-only SQLite file, held by one process at a time. Its calls block: keep them off the loop.

    Each of them raises `JournalError` where the file can't be read or written any more, or is damaged.
    """

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection = connection
        self._path = path
        self._samples = Samples()
        self._mark: Mark | None = None
        self.count: int | None = None
        """How many items the input has; None where no process has seen its end."""

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Open the journal, or begin a new one.

        Raises:
            ConfigurationError: it is in use, or no journal, or damaged, or it can't be written.
        """
        name = path_of(path)
        journal = cls(open_file(name), name)
        try:
            journal._load()
        except JournalError as error:
            journal.close()
            raise ConfigurationError(str(error)) from None
        except BaseException:
            journal.close()
            raise
        return journal

    def close(self) -> None:
        """Let go of the file."""
        mark, self._mark = self._mark, None
        complete = mark is not None and needs_no_log(self._connection)
        with self._translated():
            close_file(self._connection, self._path)
            if mark is not None:
                mark.close(remove=complete and not os.path.exists(f"{self._path}-wal"))

    def rows(self, first: int, count: int) -> dict[int, list[Row]]:
        """The entries of so many items, oldest first; an item that has none is not in it."""
        found: dict[int, list[Row]] = {}
        query = "SELECT item, kind, body FROM entries WHERE item >= ? AND item < ? ORDER BY item, seq"
        with self._translated():
            for item, kind, body in self._connection.execute(query, (first, first + count)):
                found.setdefault(item, []).append((kind, body))
        return found

    def entry(self, item: int, request: RunRequest, rows: list[Row]) -> Entry | None:
        """What the item's entries mean.

        Raises:
            ConfigurationError: the item was another one before.
        """
        if self.count is not None and item >= self.count:
            raise self._changed(f"it had {self.count:,} items, now it has more")
        if not rows:
            return None
        said = entries.canonical(request)
        entry, was = self._read(item, rows, said)
        if was is not None and was is not said:
            self._compare(item, entries.request_of(was), request)
        return entry

    def sending(
        self, item: int, request: RunRequest, key: str, at: float, *, by_server: bool = False
    ) -> None:
        """The item is about to be sent; `by_server` tells whose clock `at` is by."""
        said, samples = entries.canonical(request), self._samples
        if not samples.request:
            samples.request = self._add_sample(said)
        self._add(item, Kind.SENDING, entries.sending(said, key, at, samples, by_server=by_server))

    def submitted(self, item: int, run_id: str, *, reused: bool) -> None:
        """The item's run is known."""
        self._add(item, Kind.SUBMITTED, entries.submitted(run_id, reused=reused))

    def unsent(self, item: int, reason: str) -> None:
        """Sending failed in a way that can't have made a run."""
        self._add(item, Kind.UNSENT, reason.encode("utf-8", "replace"))

    def withdraw(self, item: int, key: str) -> None:
        """The item was not sent under this key after all."""
        entry, _ = self._read(item, self._rows_of(item))
        if entry is not None and entry.state is Kind.SENDING and entry.key == key:
            self.unsent(item, "cancelled before it was sent")

    def ended(self, item: int, run: dict[str, Any]) -> None:
        """The item's run has ended."""
        value, samples = entries.json_of(run), self._samples
        said, run_id = self._submission(item)
        if not samples.run:
            samples.run = self._add_sample(entries.marked(value, said, run_id))
        self._add(item, Kind.ENDED, entries.ended(value, said, run_id, samples))

    def refused(self, item: int, error: dict[str, Any]) -> None:
        """The item's submission was refused for good."""
        said, run_id = self._submission(item)
        self._add(item, Kind.REFUSED, entries.refused(entries.json_of(error), said, run_id))

    def complete(self, count: int) -> None:
        """The input has so many items and no more.

        Raises:
            ConfigurationError: an earlier process saw another number of items, or more of them.
        """
        if self.count is None:
            if (seen := self._seen()) > count:
                raise self._changed(f"it had {seen:,} items or more, now it has {count:,}")
            self._add(_INPUT, Kind.INPUT, entries.input_of(count))
            self.count = count
        elif self.count != count:
            raise self._changed(f"it had {self.count:,} items, now it has {count:,}")

    def known_runs(self) -> set[str]:
        """The ids of the runs that items have started."""
        query = "SELECT item, kind, body FROM entries WHERE kind = ?"
        known: set[str] = set()
        with self._translated():
            for item, kind, body in self._connection.execute(query, (Kind.SUBMITTED,)):
                content = self._decoded(item, (kind, body))
                if not entries.is_reused(content):
                    known.add(entries.run_of(content))
        return known

    def under_way(self) -> list[RunRequest]:
        """The requests of the items whose sending is all that is known of them."""
        query = (
            "SELECT item FROM entries AS one WHERE kind = ? AND NOT EXISTS "
            "(SELECT 1 FROM entries WHERE item = one.item AND seq > one.seq)"
        )
        with self._translated():
            items = [item for (item,) in self._connection.execute(query, (Kind.SENDING,))]
        return [entries.request_of(self._submission(item)[0]) for item in items]

    def _seen(self) -> int:
        """How many items the input has at the least: up to the last one that there is an entry of."""
        with self._translated():
            ((last,),) = self._connection.execute("SELECT coalesce(max(item), -1) FROM entries").fetchall()
        return int(last) + 1

    def _submission(self, item: int) -> tuple[bytes, str | None]:
        entry, said = self._read(item, self._rows_of(item))
        assert entry is not None
        assert said is not None
        return said, entry.run_id

    def _add_sample(self, content: bytes) -> bytes:
        sample = entries.sample(content)
        self._add(_SAMPLES, Kind.SAMPLE, sample)
        return entries.sample_of(sample)

    def _add(self, item: int, kind: Kind, content: bytes) -> None:
        newest = "SELECT coalesce(max(seq) + 1, 0) FROM entries WHERE item = ?1"
        body = entries.encode(item, kind, content)
        with self._translated():
            self._connection.execute(f"INSERT INTO entries SELECT ?1, ({newest}), ?2, ?3", (item, kind, body))
            if self._mark is not None:
                self._mark.set(self._mark.count + 1)

    def _rows_of(self, item: int) -> list[Row]:
        return self.rows(item, 1).get(item, [])

    def _load(self) -> None:
        """What is said of the input as a whole. The entries at both ends are where they belong, or it is damaged."""
        for query in (
            "SELECT item, kind, body FROM entries ORDER BY item DESC, seq DESC LIMIT 1",
            "SELECT item, kind, body FROM entries ORDER BY item, seq LIMIT 1",
        ):
            with self._translated():
                rows = self._connection.execute(query).fetchall()
            for item, kind, body in rows:
                self._decoded(item, (kind, body))
        found = [self._decoded(_SAMPLES, row) for row in self._rows_of(_SAMPLES)]
        self._samples = Samples(*map(entries.sample_of, found))
        for row in self._rows_of(_INPUT):
            self.count = entries.count_of(self._decoded(_INPUT, row))
        self._mark = self._checked_mark()

    def _checked_mark(self) -> Mark:
        """The mark, where it says of no more entries than there are."""
        with self._translated():
            mark = Mark.open(self._path)
            ((count,),) = self._connection.execute("SELECT count(*) FROM entries").fetchall()
            if mark.count <= count:
                mark.set(count)
                return mark
            mark.close(remove=False)
        raise JournalError(
            damage(self._path, f"{mark.count - count:,} of its {mark.count:,} entries are missing")
        )

    def _read(
        self, item: int, rows: list[Row], said: bytes | None = None
    ) -> tuple[Entry | None, bytes | None]:
        try:
            return entries.read(item, rows, self._samples, said)
        except DamagedError:
            reason = damage(self._path, f"what it holds of item {item + 1}")
        raise JournalError(reason)

    def _decoded(self, item: int, row: Row) -> bytes:
        try:
            return entries.decode(item, row)[1]
        except DamagedError:
            reason = damage(self._path, f"what it holds of item {item + 1}" if item >= 0 else "its input")
        raise JournalError(reason)

    def _compare(self, item: int, was: RunRequest, now: RunRequest) -> None:
        changed = ", ".join(
            f"{field.name} {getattr(was, field.name)!r} is now {getattr(now, field.name)!r}"
            for field in fields(RunRequest)
            if getattr(was, field.name) != getattr(now, field.name)
        )
        if changed:
            raise self._changed(f"item {item + 1}: {changed}")

    def _changed(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"the input is not the one that the journal {shown(self._path)} was begun with ({what}): "
            "give the same input, or begin a new journal"
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's own errors, and those of the mark's file, become ours."""
        try:
            yield
            return
        except (sqlite3.Error, OSError) as error:
            reason = trouble(self._path, error)
        raise JournalError(reason)
