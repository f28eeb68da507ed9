"""Opens the state file: created completely or not at all, and refused if it is damaged.

A server that took a damaged or emptied file for a new one would process every source again. So an existing file must
be complete, and if it is missing, there must be no sign that it existed: no log, no copy, no outputs of runs.
"""

import os
import sqlite3
import uuid
from contextlib import suppress
from pathlib import Path

from lume_async._base.version import __version__
from lume_local._runs.health import is_full
from lume_local._runs.sql.sql_arrivals import ARRIVALS
from lume_local._runs.sql.sql_drafts import DRAFTS
from lume_local._runs.sql.tables import AUDIT, COUNTS, LAYOUTS, LEDGER, MENDS, OLD_RUNS, SCHEMA, VERSION
from lume_local._runs.sqlite import sqlite_sql
from lume_local._runs.sqlite.copies import checked, written
from lume_local._runs.sqlite.migrations import check, migrate, note_parts
from lume_local._runs.sqlite.sqlite_tables import AUDITING, CHANGES, COUNTING, MENDING
from lume_local._runs.store.records import ACTIVE, StoreError
from lume_local._runs.times import now_text
from lume_local._shared.commit import sync_file, sync_folder
from lume_local._shared.failing import on_error

STATE_FILE = "runs.sqlite"
"""Its name in the folder of the state."""
CHECKED_AT_START = 64 * 1024 * 1024
"""The size up to which a file is read and checked before the server starts; a larger one is checked later."""
_LOG_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
"""The first bytes of SQLite's write-ahead log; SQLite ignores a log that begins differently."""
_SKIPPED = 1_000_000
"""More revisions and changes than can be written between two fsyncs."""


def backup_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.backup")


def open_state(path: Path, outputs: Path | None = None) -> sqlite3.Connection:
    """Open the state file, created if it does not exist. Raises `StoreError`, OSError.

    Args:
        outputs: a folder that is empty unless there was a state.
    """
    if not path.exists():
        _create(path, outputs)
    if not path.stat().st_size:
        raise _damaged(path, "is empty")
    with suppress(FileNotFoundError), _log(path).open("rb") as log:
        start = log.read(4)
        if start and start not in _LOG_MAGIC:
            raise _damaged(path, f"has a damaged log, {_log(path).name}")
    # SQLite gives new files beside it the same permissions.
    for one in (path, _log(path), path.with_name(f"{path.name}-shm"), backup_of(path)):
        with suppress(FileNotFoundError, PermissionError):  # its owner may be another user
            one.chmod(0o600)
    db = sqlite3.connect(path, isolation_level=None)
    db.row_factory = sqlite3.Row
    with on_error(db.close):
        _prepare(db, path)
    return db


def _create(path: Path, outputs: Path | None) -> None:
    """Create the file under another name first, so that an incomplete one is never used."""
    for trace in (_log(path), backup_of(path)):
        if trace.exists() and trace.stat().st_size:
            raise _damaged(path, f"is missing, but {trace.name} is there")
    if outputs is not None and outputs.exists() and any(outputs.iterdir()):
        raise StoreError(
            f"the state file {path} is missing, but {outputs} holds files: without the history of their runs, "
            f"sources would be processed again. Restore {path.parent} from a backup, or move {outputs} away to "
            "start with no history"
        )
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    db = sqlite3.connect(draft, isolation_level=None)
    try:
        tables = (
            f"{SCHEMA} {CHANGES} {COUNTS} {LAYOUTS} {MENDS} {LEDGER} {DRAFTS} {AUDIT} {OLD_RUNS} {ARRIVALS}"
        )
        triggers = f"{COUNTING} {MENDING} {AUDITING}"
        # One transaction without syncs of its own: the draft is synced as a whole before it gets its name.
        db.executescript(
            f"PRAGMA synchronous = OFF; BEGIN; {tables} {triggers} PRAGMA user_version = {VERSION};"
        )
        db.execute("INSERT INTO facts VALUES ('store_id', ?)", [uuid.uuid4().hex[:8]])
        note_parts(db)
        db.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        raise (_full(path) if is_full(path.parent) else error) from None
    finally:
        db.close()
    sync_file(draft)
    os.replace(draft, path)
    sync_folder(path.parent)


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    try:
        found: int = db.execute("PRAGMA user_version").fetchone()[0]
        if found > VERSION:
            raise StoreError(
                f"{path} was {written(db, found)}: start the version that wrote it, or use another data folder"
            )
        # In a larger one, SQLite detects here only a damaged beginning or a missing end.
        verdict = checked(db) if path.stat().st_size <= CHECKED_AT_START else ""
        if verdict or not found:
            raise _damaged(path, f"is damaged ({verdict if found else 'it holds no tables'})")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        if found < VERSION:
            migrate(db, path, found)
        check(db, path)
        # Numbers of revisions and changes that clients have seen, but a power cut has lost, are not used again.
        db.execute("BEGIN IMMEDIATE")
        db.execute(f"UPDATE runs SET rev = rev + {_SKIPPED} WHERE status IN {ACTIVE}")  # noqa: S608 - constants
        db.execute(f"UPDATE sqlite_sequence SET seq = seq + {_SKIPPED} WHERE name = 'changes'")  # noqa: S608
        opened = "INSERT OR REPLACE INTO facts VALUES ('opened', ?), ('written_by', ?)"
        db.execute(opened, [now_text(), __version__])
        db.execute("COMMIT")
        db.execute("PRAGMA synchronous = NORMAL")  # see `Durability`
    except sqlite3.DatabaseError as error:
        if sqlite_sql.is_full(error) or is_full(path.parent):  # SQLite may call it an I/O error
            raise _full(path) from None
        raise _damaged(path, f"can't be used ({error})") from None


def _full(path: Path) -> StoreError:
    return StoreError(f"the disk with {path} is full: make room, then start the server again")


def _damaged(path: Path, what: str) -> StoreError:
    copy = backup_of(path)
    if copy.exists():
        remedy = f"put its copy in place (cp {copy} {path}; it lacks later changes), or"
    else:
        remedy = "there is no copy of it:"
    return StoreError(f"the state file {path} {what}: {remedy} move {path}* away to start with no history")


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")
