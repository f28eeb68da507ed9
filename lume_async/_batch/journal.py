"""The journal of `run_many`: submissions and outcomes, one transaction each, append-only.

After a kill at any point, the newest entry of an item shows its state:

    nothing, or UNSENT     no run can exist: submit it
    SENDING                a run may exist: find out before sending again
    SUBMITTED              the run is known: wait for its end
    ENDED, REFUSED         the outcome is known
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from attrs import fields

from lume_async._base.clock import AT_WORK
from lume_async._base.tasks import until_done
from lume_async._base.words import counted
from lume_async._batch import entries
from lume_async._batch.entries import KIND, LONGEST, REQUESTS, DamagedError, Entry, Kind, Row, Samples
from lume_async._batch.journal_file import (
    Home,
    Mark,
    close_file,
    damage,
    needs_no_log,
    open_file,
    path_of,
    shown,
    trouble,
)
from lume_async.errors import ConfigurationError, JournalError
from lume_async.models import RunRequest

_INPUT = -1
"""The item number of entries about the input as a whole."""

P = ParamSpec("P")
T = TypeVar("T")
AHEAD = 512
"""The number of items that one call reads from the journal."""


class Journal:
    """An append-only SQLite file, held by one process at a time. Its calls block: make them in a thread.

    Every call raises `JournalError` if the file is damaged, or can no longer be read or written.
    """

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection = connection
        self._path = path
        self._mark: Mark | None = None
        self._samples: Samples = {}
        self.count: int | None = None
        """The number of items of the input; None until a process has read all of it."""

    @classmethod
    def open(cls, path: str | os.PathLike[str], home: Home = None) -> Self:
        """Open the journal of the runs of `home`, or create a new one.

        Raises:
            ConfigurationError: it is in use, damaged, not writable, no journal, of a later release or another server.
        """
        name = path_of(path)
        journal = cls(open_file(name, home), name)
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
        """Close the file."""
        mark, self._mark = self._mark, None
        complete = mark is not None and needs_no_log(self._connection)

        def close_mark() -> None:
            if mark is not None:
                mark.close(remove=complete and not os.path.exists(f"{self._path}-wal"))

        with self._translated():
            close_file(self._connection, self._path, close_mark)

    def rows(self, first: int, count: int) -> dict[int, list[Row]]:
        """Return the entries of `count` items, oldest first; items without entries are omitted."""
        found: dict[int, list[Row]] = {}
        query = "SELECT item, kind, body FROM entries WHERE item >= ? AND item < ? ORDER BY item, seq"
        with self._translated():
            for item, kind, body in self._connection.execute(query, (first, first + count)):
                found.setdefault(item, []).append((kind, body))
        return found

    def entry(self, item: int, request: RunRequest, rows: list[Row]) -> Entry | None:
        """Combine the item's entries, if any. Raises `ConfigurationError` if they are of a different request."""
        if self.count is not None and item >= self.count:
            raise self._changed(f"it had {counted(self.count, 'item')}, now there are more")
        if not rows:
            return None
        entry = self._read(item, rows)
        if entry is None or entry.request == entries.canonical(request):
            return entry
        was = entries.request_of(entry.request)
        changed = ", ".join(
            f"{field.name} {getattr(was, field.name)!r} is now {getattr(request, field.name)!r}"
            for field in fields(RunRequest)
            if getattr(was, field.name) != getattr(request, field.name)
        )
        if changed:
            raise self._changed(f"item {item + 1}: {changed}")
        return entry

    def sending(
        self, item: int, request: RunRequest, key: str, at: float, *, by_server: bool = False
    ) -> None:
        """Record that the item is about to be sent; `by_server` says whether `at` is by the server's clock."""
        said = entries.canonical(request)
        self._sample(REQUESTS, said)
        self._add(item, entries.sending(item, said, key, at, by_server=by_server, samples=self._samples))

    def submitted(self, item: int, run_id: str, *, reused: bool) -> None:
        """Record the item's run."""
        self._add(item, entries.submitted(item, run_id, reused=reused))

    def unsent(self, item: int, reason: str) -> None:
        """Record a failure that cannot have started a run."""
        self._add(item, entries.plain(item, Kind.UNSENT, reason.encode("utf-8", "replace")))

    def withdraw(self, item: int, key: str) -> None:
        """Record that the item was not sent with this key."""
        entry = self._read(item, self._rows_of(item))
        if entry is not None and entry.state is Kind.SENDING and entry.key == key:
            self.unsent(item, "cancelled before it was sent")

    def ended(self, item: int, run: dict[str, Any]) -> None:
        """Record the end of the item's run."""
        self._add_outcome(item, Kind.ENDED, run)

    def refused(self, item: int, error: dict[str, Any]) -> None:
        """Record that the item's submission was permanently refused."""
        self._add_outcome(item, Kind.REFUSED, error)

    def complete(self, count: int) -> None:
        """Record the number of items. Raises `ConfigurationError` if an earlier process saw another one, or more."""
        if self.count is None:
            with self._translated():
                query = "SELECT coalesce(max(item), -1) + 1 FROM entries"
                ((seen,),) = self._connection.execute(query).fetchall()
            if seen > count:
                raise self._changed(f"it had {counted(seen, 'item')} or more, now it has {count:,}")
            self._add(_INPUT, entries.plain(_INPUT, Kind.INPUT, entries.json_of(count)))
            self.count = count
        elif self.count != count:
            raise self._changed(f"it had {counted(self.count, 'item')}, now it has {count:,}")

    def known_runs(self) -> set[str]:
        """Return the IDs of the runs started by items."""
        query = "SELECT item, kind, body FROM entries WHERE kind & ? = ?"
        known: set[str] = set()
        with self._translated():
            for item, kind, body in self._connection.execute(query, (KIND, Kind.SUBMITTED)):
                with self._translated(item):
                    run_id, reused = entries.run_of(item, (kind, body))
                if not reused:
                    known.add(run_id)
        return known

    def under_way(self) -> list[RunRequest]:
        """Return the requests of the items whose newest entry is SENDING."""
        query = (
            "SELECT item FROM entries AS one WHERE kind & ? = ? AND NOT EXISTS "
            "(SELECT 1 FROM entries WHERE item = one.item AND seq > one.seq)"
        )
        with self._translated():
            items = [item for (item,) in self._connection.execute(query, (KIND, Kind.SENDING))]
        found = [self._read(item, self._rows_of(item)) for item in items]
        return [entries.request_of(entry.request) for entry in found if entry is not None]

    def _add_outcome(self, item: int, kind: Kind, value: dict[str, Any]) -> None:
        query = (
            "SELECT kind, body FROM entries WHERE item = ?1 AND seq >= "
            "(SELECT max(seq) FROM entries WHERE item = ?1 AND kind & ?2 = ?3) ORDER BY seq"
        )
        with self._translated(item):
            rows = self._connection.execute(query, (item, KIND, Kind.SENDING))
            entry = entries.read(item, rows, self._samples)
        text = entries.json_of(value)
        self._sample(entries.topic_of(kind, value), text)
        self._add(item, entries.outcome(item, kind, value, text, entry, self._samples))

    def _sample(self, topic: int, text: bytes) -> None:
        """Record the text as the sample of its topic, if it is the first and not too long."""
        if topic and topic not in self._samples and len(text) <= LONGEST:
            row = entries.new_sample(_INPUT, topic, text)
            self._add(_INPUT, row)
            self._samples |= entries.read_input(_INPUT, [row])[1]

    def _add(self, item: int, row: Row) -> None:
        newest = "SELECT coalesce(max(seq) + 1, 0) FROM entries WHERE item = ?1"
        with self._translated():
            self._connection.execute(f"INSERT INTO entries SELECT ?1, ({newest}), ?2, ?3", (item, *row))
            if self._mark is not None:
                self._mark.set(self._mark.count + 1)

    def _rows_of(self, item: int) -> list[Row]:
        return self.rows(item, 1).get(item, [])

    def _load(self) -> None:
        """Load the input and the mark; check the first and the last item, and that no counted entry is missing."""
        ends: set[int] = set()
        with self._translated():
            self.count, self._samples = entries.read_input(_INPUT, self._rows_of(_INPUT))
            for query in (
                "SELECT item FROM entries ORDER BY item DESC LIMIT 1",
                "SELECT item FROM entries ORDER BY item LIMIT 1",
            ):
                ends.update(item for (item,) in self._connection.execute(query))
            if not all(isinstance(item, int) and item >= _INPUT for item in ends):
                raise DamagedError
        for item in ends - {_INPUT}:
            self._read(item, self._rows_of(item))
        with self._translated():
            mark = Mark.open(self._path)
            ((count,),) = self._connection.execute("SELECT count(*) FROM entries").fetchall()
            if mark.count <= count:
                mark.set(count)
                self._mark = mark
                return
            mark.close(remove=False)
        all_ = counted(mark.count, "entry", "entries")
        missing = counted(mark.count - count, f"of its {all_} is missing", f"of its {all_} are missing")
        raise JournalError(damage(self._path, missing))

    def _read(self, item: int, rows: list[Row]) -> Entry | None:
        try:  # not `_translated`: resuming a batch does this for every item
            return entries.read(item, rows, self._samples)
        except DamagedError:
            reason = self._damage(item)
        raise JournalError(reason)

    def _changed(self, what: str) -> ConfigurationError:
        return ConfigurationError(
            f"the journal {shown(self._path)} belongs to a different input ({what}): "
            "pass the same input, or start a new journal"
        )

    @contextmanager
    def _translated(self, item: int = _INPUT) -> Iterator[None]:
        """Raise `JournalError` for errors of SQLite or the mark's file, and for a damaged entry."""
        try:
            yield
            return
        except (sqlite3.Error, OSError) as error:
            reason = trouble(self._path, error)
        except DamagedError:
            reason = self._damage(item)
        raise JournalError(reason)

    def _damage(self, item: int) -> str:
        return damage(self._path, f"an entry of item {item + 1}" if item >= 0 else "an entry of the input")


class Recorder:
    """Calls a journal's methods one after the other, in a thread.

    A call is completed even if its caller is cancelled: the next start must know every run that was started.
    Opening is the thread's first call and closing its last, so no call finds the file closed.
    """

    def __init__(self, path: str | os.PathLike[str], home: Home = None) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lume-journal")
        self._journal: Future[Journal] = self._call(lambda: Journal.open(path, home))
        self._opened: Journal | None = None
        self._read: dict[int, list[Row]] = {}
        self._read_to = -1

    @classmethod
    async def open(cls, path: str | os.PathLike[str], home: Home = None) -> Self:
        """Open the journal, or create a new one. Raises `ConfigurationError` as `Journal.open` does."""
        recorder = cls(path, home)
        try:
            await recorder.read_ahead(0)
        except BaseException:
            await recorder.aclose()
            raise
        return recorder

    def has_read(self, item: int) -> bool:
        """Return whether the entries of the item were read already."""
        return item < self._read_to

    async def read_ahead(self, item: int) -> None:
        """Read the entries of the item and the next ones."""
        self._read = await self.record(Journal.rows, item, AHEAD)
        self._read_to = item + AHEAD

    def entry(self, item: int, request: RunRequest) -> Entry | None:
        """Return the entry of an item that was read ahead: see `Journal.entry`. Once per item, in input order."""
        if self._opened is None:
            self._opened = self._journal.result()  # takes a lock: once, not for every item
        return self._opened.entry(item, request, self._read.pop(item, []))

    async def record(
        self, method: Callable[Concatenate[Journal, P], T], *values: P.args, **named: P.kwargs
    ) -> T:
        """Call a method of `Journal`."""
        return await _result(self.note(method, *values, **named))

    def note(
        self, method: Callable[Concatenate[Journal, P], T], *values: P.args, **named: P.kwargs
    ) -> Future[T]:
        """Call a method of `Journal` without waiting for the result."""
        return self._call(lambda: method(self._journal.result(), *values, **named))

    async def aclose(self) -> None:
        """Close the file after all pending calls."""

        def close() -> None:
            if self._journal.exception() is None:
                self._journal.result().close()

        closing = self._call(close)
        self._thread.shutdown(wait=False)
        await until_done(asyncio.wrap_future(closing))
        closing.result()

    def _call(self, work: Callable[[], T]) -> Future[T]:
        try:
            called = self._thread.submit(work)
            AT_WORK.add(called)
            called.add_done_callback(AT_WORK.discard)
            return called
        except RuntimeError:  # the interpreter is exiting and starts no threads
            done: Future[T] = Future()
            try:
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)
            return done


async def _result(work: Future[T]) -> T:
    """Wait for the result. Cancelling the wait does not cancel the work, whose outcome is then ignored."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    def wake(_work: Future[T]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nothing waits any longer
            loop.call_soon_threadsafe(end)

    work.add_done_callback(wake)
    await ended
    return work.result()
