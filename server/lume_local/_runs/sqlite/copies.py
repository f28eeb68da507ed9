"""Copies of the state: made while a server writes it, examined, and moved to another data folder.

Beside the state file there is a file for each flow with `unique = "ever"`: the values that its runs have accepted
(see `_worker/targets/earlier_values`). A run writes them before its end is recorded, so they are copied after the
state.
"""

# ruff: noqa: S608 - the parts of its SQL are constants.
import os
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import orjson
from attrs import frozen

from lume_async._base.version import __version__
from lume_local._runs.sql.sql_audit import ADD_ACT, act_values
from lume_local._runs.sql.tables import DONE, VERSION
from lume_local._runs.store.audit import Act
from lume_local._runs.store.records import ACTIVE
from lume_local._shared.commit import sync_file, sync_folder

_PAGES = 1000
"""Pages copied at a time: a cancelled copy ends after at most one such step."""
_SKIPPED = 10**9
"""More changes than a server can have numbered after the copy was made: clients have seen those numbers."""


class CopyError(Exception):
    """A copy can't be made or used. The message says why."""


def copy_state(path: Path, to: Path, check: Callable[[], object] = lambda: None) -> None:
    """Copy a file of the state, which may be written meanwhile, to a new file. Raises sqlite3.Error.

    Args:
        check: called after each part; an exception from it ends the copy.
    """
    to.touch(mode=0o600)
    with (
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as state,
        closing(sqlite3.connect(to)) as into,
    ):
        # One transaction, so one state of the file: otherwise SQLite restarts the copy after each commit.
        state.execute("BEGIN")
        state.execute("SELECT count(*) FROM sqlite_master").fetchone()
        state.backup(into, pages=_PAGES, progress=lambda *_: check())


def replace_copy(path: Path, copy: Path, check: Callable[[], object] = lambda: None) -> None:
    """Replace an earlier copy of a state file, completely or not at all; its time is when copying began.

    `check` as above. Raises sqlite3.Error, OSError.
    """
    draft = copy.with_name(f"{copy.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        began = time.time()
        copy_state(path, draft, check)
        os.utime(draft, (began, began))
        sync_file(draft)
        os.replace(draft, copy)
        sync_folder(copy.parent)
    finally:
        draft.unlink(missing_ok=True)


@frozen
class StateCounts:
    """The counts in a copy: its form and number of runs, and how many of them were active or had not begun."""

    form: int
    runs: int
    active: int
    waiting: int


def copied(path: Path, to: Path) -> StateCounts:
    """Copy a state file to a new file; return the copy's counts. Raises `CopyError`."""
    with _errors(f"{path} can't be copied"):
        copy_state(path, to)
    return examined(to)


def copied_values(folder: Path, to: Path) -> list[Path]:
    """Copy the values of all flows; return the new files. Raises `CopyError`, OSError."""
    files = sorted(folder.glob("*.sqlite"))
    if files:
        to.mkdir(mode=0o700)
    for path in files:
        with _errors(f"{path} can't be copied"):
            copy_state(path, to / path.name)
    return [to / path.name for path in files]


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise CopyError(f"{what} ({error})") from None


def examined(copy: Path) -> StateCounts:
    """Return the counts of an undamaged copy that no process writes.

    Raises:
        CopyError: it is damaged, or in a newer form than this release uses.
    """
    with _errors("its state is damaged or can't be read"), closing(_read_only(copy)) as db:
        form: int = db.execute("PRAGMA user_version").fetchone()[0]
        if form > VERSION:
            raise CopyError(f"its state was {written(db, form)}: use the release that wrote it")
        if not form:
            raise CopyError("its state is damaged (it holds no tables)")
        _check(db)
        counts = dict(db.execute("SELECT status, count(*) FROM runs GROUP BY 1").fetchall())
    waiting = counts.get("CREATED", 0)
    return StateCounts(
        form, sum(counts.values()), sum(counts.get(one, 0) for one in ACTIVE) - waiting, waiting
    )


def checked(db: sqlite3.Connection) -> str:
    """Return a file's first defect; empty if it has none. Takes as long as reading the file. Raises sqlite3.Error."""
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    return "" if verdict == "ok" else str(verdict)


def _check(db: sqlite3.Connection) -> None:
    if verdict := checked(db):
        raise CopyError(f"its state is damaged ({verdict})")


def written(db: sqlite3.Connection, form: int) -> str:
    """Return which release wrote a state file, and which one this is."""
    found = ""
    with suppress(sqlite3.DatabaseError):  # another form may lack the table
        found = fact(db, "written_by")[:40]
    by = f"lume-client {found}" if found else "another version of lume-client"
    return (
        f"written by {by}, in form {form} of the state; this is lume-client {__version__}, which uses "
        f"form {VERSION}"
    )


def store_id_of(copy: Path) -> str:
    with closing(_read_only(copy)) as db:
        return fact(db, "store_id")


def fact(db: sqlite3.Connection, name: str) -> str:
    """Return the recorded value of a name; empty if there is none."""
    row = db.execute("SELECT value FROM facts WHERE name = ?", [name]).fetchone()
    return "" if row is None else str(row[0])


def outputs_in(copy: Path) -> Iterator[tuple[str, str]]:
    """Yield the location and identity of each output that was written and not removed."""
    query = (
        "SELECT json_extract(target_locations, '$.' || part), identity FROM outputs JOIN runs USING (run_id) "
        "WHERE identity != '' AND json_extract(target_locations, '$.' || part) IS NOT NULL"
    )
    with closing(_read_only(copy)) as db:
        yield from db.execute(query)


def has_arrivals(copy: Path) -> bool:
    """Return whether files have arrived. An earlier form has no table of them."""
    with closing(_read_only(copy)) as db:
        return _has(db, "arrived") and db.execute("SELECT 1 FROM arrived LIMIT 1").fetchone() is not None


def _has(db: sqlite3.Connection, table: str) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [table]).fetchone() is not None


def move(copy: Path, old: Path, new: Path, act: Act) -> None:
    """Make a copy the state of another data folder, replacing the `old` folder in all recorded paths.

    An earlier form has no audit for the act, and no contents of sources. Numbers of changes that clients may have
    seen after the copy was made are skipped. Raises `CopyError`.
    """
    try:
        with _changed(copy, old, new) as db:
            # If there is no digest, the path is part of a content's identity, so the move makes it unknown.
            if _has(db, "sources"):
                db.execute(
                    "DELETE FROM sources WHERE digest IS NULL AND run_id IN "
                    "(SELECT run_id FROM runs WHERE source_key != moved_key(source_key))"
                )
            _move(db, "runs", "target_locations", "moved_locations")
            keyed = (
                "SELECT t.name FROM pragma_table_list AS t, pragma_table_info(t.name) AS c WHERE c.name = ?"
            )
            for (table,) in db.execute(keyed, ["source_key"]).fetchall():
                _move(db, table, "source_key", "moved_key")
            db.execute("UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'changes'", [_SKIPPED])
            if _has(db, "audit"):
                db.execute(ADD_ACT, act_values(act))
    except sqlite3.IntegrityError:
        raise CopyError(
            f"its runs have read files in {new} and the same files in {old}: restore it to another folder"
        ) from None
    except sqlite3.Error as error:
        raise CopyError(f"it can't be moved to {new} ({error})") from None


def move_values(copy: Path, state: Path, old: Path, new: Path) -> None:
    """Move the values of a flow likewise, without runs that have no output in the state. Raises `CopyError`.

    Such runs were active or had not begun when the state was copied. The counts in `columns`, which have to be high
    enough, still include them.
    """
    with _errors(f"{copy.name} is damaged or can't be moved to {new}"):
        with closing(sqlite3.connect(copy)) as db:
            _check(db)
        with _changed(copy, old, new, beside=state) as db:
            unknown = (
                "SELECT number FROM main.runs WHERE run_id NOT IN "
                f"(SELECT run_id FROM state.runs WHERE {DONE})"
            )
            db.execute(f"DELETE FROM digests WHERE run IN ({unknown})")
            db.execute(f"DELETE FROM main.runs WHERE number IN ({unknown})")
            _move(db, "main.runs", "source", "moved_key")


@contextmanager
def _changed(copy: Path, old: Path, new: Path, *, beside: Path | None = None) -> Iterator[sqlite3.Connection]:
    """Provide a transaction on a copy, with SQL functions that move places; `beside` is attached as `state`."""
    was, now = f"{old}/", f"{new}/"
    places = re.compile(f"^{re.escape(was)}", re.MULTILINE)  # a key may name several sources

    def moved_key(key: str) -> str:
        return places.sub(lambda _: now, key)

    def moved_locations(text: str) -> str:
        found: dict[str, str | None] = orjson.loads(text)
        below = {part: place for part, place in found.items() if place is not None and place.startswith(was)}
        moved = {part: f"{now}{place.removeprefix(was)}" for part, place in below.items()}
        return orjson.dumps(found | moved).decode() if moved else text

    with closing(sqlite3.connect(copy, isolation_level=None)) as db:
        db.create_function("moved_key", 1, moved_key, deterministic=True)
        db.create_function("moved_locations", 1, moved_locations, deterministic=True)
        if beside is not None:
            db.execute("ATTACH ? AS state", [str(beside)])
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")


def _move(db: sqlite3.Connection, table: str, column: str, function: str) -> None:
    db.execute(f"UPDATE {table} SET {column} = {function}({column}) WHERE {column} != {function}({column})")


def _read_only(copy: Path) -> sqlite3.Connection:
    """Open a copy without creating files beside it: it may be on a read-only medium."""
    return sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
