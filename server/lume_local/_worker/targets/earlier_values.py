"""The values that runs of a flow have accepted in columns with `unique = "ever"`, if the target is no table.

They are kept in one SQLite file per flow, beside the server's state: as digests, so that no data outlives its output.
Values are looked up in an index, so the number of earlier runs makes no difference.

A run looks its values up and adds the new ones in one transaction, open from `judge` to `publish`, so that runs of a
flow take turns. As with a table, a process that takes over repeats this, and the first statement claims the run.
The values of earlier runs of the same source are replaced: only the newest run of each source counts.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lume_async._base.words import counted
from lume_local._flow.definition import quoted
from lume_local._shared.commit import sync_file, sync_folder
from lume_local._shared.failing import on_error
from lume_local._worker.databases.built import opened
from lume_local._worker.databases.database import NUMBER, Refused
from lume_local._worker.sources.source import Pause, no_pause
from lume_local._worker.sql import text
from lume_local._worker.targets.target import VALUES, Begin, Step, TargetError, refuse_overtaken

PATIENCE = 3600.0
"""Seconds to wait for other runs of the flow."""
_TURN = 1.0
"""Seconds between checks whether the run was cancelled."""
_DIGEST = 16
"""Bytes of a digest, enough that no two values share one."""
_AT_ONCE = 10_000
_SCHEMA = """
CREATE TABLE runs (number INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, source TEXT NOT NULL) STRICT;
CREATE INDEX runs_by_source ON runs (source);
CREATE TABLE digests (digest BLOB PRIMARY KEY, run INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX digests_by_run ON digests (run);
CREATE TABLE columns (name TEXT PRIMARY KEY, runs INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""
_open: dict[str, sqlite3.Connection] = {}
"""The open transactions of this process, by run."""


class EarlierValues:
    """The values of one flow, for one run.

    Args:
        place: `path` of the file; `source`, the key of the run's source; and `columns`, with two numbers for each:
            ended runs that have noted their values, and runs that have not, as their versions don't demand it.
        folder: the run's own.
    """

    def __init__(self, place: dict[str, Any], folder: Path, run_id: str, pause: Pause = no_pause) -> None:
        self._place, self._run_id, self._pause = place, run_id, pause
        self._path, self._accepted = Path(place["path"]), folder / "accepted"

    @property
    def may_create(self) -> bool:
        """Whether no run has noted a value yet."""
        return not self._path.exists()

    @property
    def warnings(self) -> dict[str, int]:
        """Warnings with the number of runs whose values are unknown."""
        return {
            f'{name}: earlier runs that are not compared, as their versions have no unique = "ever": {unknown:,}': 1
            for name, (_, unknown) in self._place["columns"].items()
            if unknown
        }

    def check(self) -> None:
        """Check, before anything is read, that no values are missing. Raises `TargetError`."""
        there: dict[str, int] = {}
        if not self.may_create:
            with _connected(self._path) as connection:
                there = dict(connection.execute("SELECT name, runs FROM columns").fetchall())
        for name, (ended, _) in self._place["columns"].items():
            if (noted := there.get(name, 0)) < ended:
                raise TargetError(
                    f"columns.{name}.unique: {self._path} has the values of {noted:,} of "
                    f"{counted(ended, 'run')}: restore it "
                    "from a backup, or give the flow another name and run its sources again. Nothing was written"
                )

    def judge(self, rows: Path, begin: Begin) -> Refused:
        """Note the values of the numbered rows that repeat none of an earlier run; return why others are refused."""
        begin({"kind": VALUES, "run_id": self._run_id})
        if self.may_create:
            _create(self._path, self._run_id)
        with _errors(self._path):
            connection = _open[self._run_id] = _connect(self._path)
            _wait(connection, self._pause)
            run = _claimed(connection, self._run_id, self._place)
            assert run is not None, "a run is judged once"
            refused = self._refused(connection, rows)
            # The values of the other rows, also in a file, from which another process can add them.
            accepted = "SELECT digest FROM new WHERE row NOT IN (SELECT row FROM refused) ORDER BY digest"
            found = connection.execute(accepted)
            with self._accepted.open("wb") as file:
                while some := found.fetchmany(_AT_ONCE):
                    self._pause()
                    file.write(b"".join(digest for (digest,) in some))
            sync_file(self._accepted)
            _add(connection, run, self._accepted)
        return refused

    def _refused(self, connection: sqlite3.Connection, rows: Path) -> Refused:
        """Collect all values and look them up, in the order of the index."""
        names, found = list(self._place["columns"]), dict[int, list[int]]()
        connection.execute("CREATE TEMP TABLE new (row INTEGER, name INTEGER, digest BLOB)")
        connection.execute("CREATE TEMP TABLE refused (row INTEGER PRIMARY KEY)")
        with opened(rows) as built:
            for batch in built.batches([NUMBER, *map(_digest, names)]):
                self._pause()
                values = ((row, k, one) for row, *digests in batch for k, one in enumerate(digests) if one)
                connection.executemany("INSERT INTO new VALUES (?, ?, ?)", values)
        there = "EXISTS (SELECT 1 FROM digests WHERE digest = new.digest)"
        for row, k in connection.execute(f"SELECT row, name FROM new WHERE {there} ORDER BY digest"):
            found.setdefault(row, []).append(k)
        connection.executemany("INSERT INTO refused VALUES (?)", ((row,) for row in found))
        reasons = [f"{name}: repeats the value of an earlier run" for name in names]
        return {row: [reasons[k] for k in sorted(which)] for row, which in found.items()}

    def step(self) -> Step:
        """Return the step that is left once the run has committed, before its rows are published."""
        return {"kind": VALUES, "run_id": self._run_id, "from": str(self._accepted), "place": self._place}

    @staticmethod
    def publish(step: Step) -> None:
        """See `Target`."""
        path, run_id = Path(step["place"]["path"]), step["run_id"]
        if prepared := _open.pop(run_id, None):
            with _errors(path, may_pass=True), closing(prepared):
                prepared.execute("COMMIT")
            return
        with _connected(path, may_pass=True) as connection:
            _wait(connection, no_pause)
            if (run := _claimed(connection, run_id, step["place"])) is not None:
                refuse_overtaken(step)
                _add(connection, run, Path(step["from"]))
            connection.execute("COMMIT")

    @staticmethod
    def abandon(step: Step) -> None:
        """See `Target`. The transaction of a dead process has ended with it."""
        if prepared := _open.pop(step["run_id"], None):
            prepared.close()


def forget_values(
    earlier: dict[str, Any], pairs: Iterable[tuple[Sequence[str], str]], rows: Iterable[bytes]
) -> None:
    """Remove values in any of their columns, and digests that a run has noted: later rows may have them again.

    Raises `TargetError`.
    """
    if not (path := Path(earlier["path"])).is_file():
        return
    digests = (digest_of(name, value) for names, value in pairs for name in names)
    with _connected(path) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        connection.executemany("DELETE FROM digests WHERE digest = ?", ((one,) for one in digests))
        # A later run of the source may have accepted the value in somebody else's row.
        own = "DELETE FROM digests WHERE digest = ? AND run = (SELECT number FROM runs WHERE run_id = ?)"
        connection.executemany(own, ((one, earlier["run_id"]) for one in rows))


def digest_of(name: str, value: str) -> bytes:
    """Return the digest of a value in a column."""
    return sha256(f"{name.lower()}\n{value}".encode()).digest()[:_DIGEST]


def _digest(name: str) -> str:
    """Return SQL for the digest of a column's value, hashed as text with the name of the column."""
    value = f"{text(name.lower())} || chr(10) || CAST({quoted(name)} AS VARCHAR)"
    return f"unhex(left(sha256({value}), {2 * _DIGEST}))"


def _claimed(connection: sqlite3.Connection, run_id: str, place: dict[str, Any]) -> int | None:
    """Add the run, replacing earlier ones of its source; return its number, None if its values were noted before."""
    claim = "INSERT INTO runs (run_id, source) VALUES (?, ?) ON CONFLICT DO NOTHING RETURNING number"
    row = connection.execute(claim, [run_id, place["source"]]).fetchone()
    if row is None:
        return None
    earlier = "SELECT number FROM runs WHERE source = ? AND number < ?"
    connection.execute(f"DELETE FROM digests WHERE run IN ({earlier})", [place["source"], *row])
    count = "INSERT INTO columns VALUES (?, 1) ON CONFLICT DO UPDATE SET runs = runs + 1"
    connection.executemany(count, [(name,) for name in place["columns"]])
    return int(row[0])


def _add(connection: sqlite3.Connection, run: int, accepted: Path) -> None:
    """Add the values that the run has accepted. Raises `TargetError` if another run has taken any."""
    with accepted.open("rb") as file:
        values = ((digest, run) for digest in iter(lambda: file.read(_DIGEST), b""))
        try:
            connection.executemany("INSERT INTO digests VALUES (?, ?)", values)
        except sqlite3.IntegrityError:
            raise TargetError("another run has accepted some of its values meanwhile") from None


def _create(path: Path, run_id: str) -> None:
    """Create the file atomically. Another run may create it at this moment."""
    os.makedirs(path.parent, mode=0o700, exist_ok=True)
    draft = path.with_name(f"{run_id}.draft")
    draft.unlink(missing_ok=True)
    with _errors(path):
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN; {_SCHEMA} COMMIT")
        sync_file(draft)
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
        sync_folder(path.parent)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw", uri=True, timeout=_TURN, isolation_level=None
    )
    with on_error(connection.close):
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -32768")
    return connection


@contextmanager
def _connected(path: Path, *, may_pass: bool = False) -> Iterator[sqlite3.Connection]:
    with _errors(path, may_pass=may_pass), closing(_connect(path)) as connection:
        yield connection


def _wait(connection: sqlite3.Connection, pause: Pause) -> None:
    """Begin the transaction once no other run has one."""
    end = time.monotonic() + PATIENCE
    while True:
        pause()
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        else:
            return


@contextmanager
def _errors(path: Path, *, may_pass: bool = False) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        what = f"{path}, which has the values of earlier runs, can't be used: {error}"
        raise TargetError(what, may_pass=may_pass) from None
