"""Upgrades the state file of an earlier release to the current form: forward only, all steps in one transaction.

The file is copied first: the copy is the way back, since an earlier release refuses a newer form. The number does
not identify a form by itself: until 90e5a3b, form 2 was the current form 1.
"""

import logging
import sqlite3
from pathlib import Path

from lume_local._runs.sql import schemas
from lume_local._runs.sql.sql_arrivals import ARRIVALS
from lume_local._runs.sql.sql_drafts import DRAFTS
from lume_local._runs.sql.tables import (
    AUDIT,
    LAYOUTS,
    LEDGER,
    LISTING,
    MENDS,
    MESSAGES,
    OLD_RUNS,
    QUEUE,
    SEEDS,
    SOURCES,
    VERSION,
)
from lume_local._runs.sqlite.copies import fact, replace_copy
from lume_local._runs.sqlite.sqlite_tables import AUDITING, MENDING
from lume_local._runs.store.records import StoreError

_log = logging.getLogger("lume_local")

KIND = "sqlite"

STEPS = {
    1: f"""
        {SOURCES}
        {MENDS}
        {MENDING}
        ALTER TABLE runs ADD COLUMN submitted_by TEXT;
        ALTER TABLE runs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE runs ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE runs ADD COLUMN purged INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE runs ADD COLUMN arrival TEXT;
        DROP INDEX by_status;
        DROP INDEX listing;
        {LISTING}
        {QUEUE}
        {LEDGER}
        {DRAFTS}
        {SEEDS}
        {ARRIVALS}
        {AUDIT}
        {AUDITING}
        {OLD_RUNS}
        {MESSAGES}
    """,
    # An earlier step from 1 kept the triggers that some builds had created.
    2: f"DROP TRIGGER mend_created; DROP TRIGGER mend_ended; {MENDING}",
    3: f"ALTER TABLE runs ADD COLUMN layout TEXT; {LAYOUTS}",
}
"""The steps by the form that they begin with; each ends with the next form. A released step never changes."""


def migrate(db: sqlite3.Connection, path: Path, found: int) -> None:
    """Upgrade the file from an earlier form, whose number was `found` in it, to `VERSION`.

    Raises:
        StoreError: its tables do not match that form; it is left unchanged.
        sqlite3.Error: for example, the disk is full.
        OSError: the copy can't be made.
    """
    is_first = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'seeds'").fetchone() is None
    steps = " ".join(STEPS[at] for at in range(1 if is_first else found, VERSION))
    try:
        db.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {VERSION};")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        raise _unknown(db, path, found) from error
    if not schemas.is_current(KIND, parts(db)):
        raise _unknown(db, path, found)
    note_parts(db)
    # Another connection still sees the file before the upgrade.
    copy = path.with_name(f"{path.name}.form-{found}")
    replace_copy(path, copy)
    db.execute("COMMIT")
    _log.warning(
        "%s is now in form %d of the state, it was in form %d: %s is a copy from before, for the earlier release",
        *(path, VERSION, found, copy),
    )


def _unknown(db: sqlite3.Connection, path: Path, found: int) -> StoreError:
    return StoreError(f"{path} {schemas.unknown(found, fact(db, 'written_by'))}")


def check(db: sqlite3.Connection, path: Path) -> None:
    """Raise `StoreError` if a file claims to be in the current form but is not."""
    why = schemas.mismatch(KIND, parts(db), fact(db, schemas.FACT), fact(db, "written_by"))
    if why:
        raise StoreError(f"{path} {why}")


def parts(db: sqlite3.Connection) -> schemas.Parts:
    """Return the schema of a file, without SQLite's own entries."""
    query = "SELECT type || ' ' || name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite^_%' ESCAPE '^'"
    return {name: schemas.part(sql) for name, sql in db.execute(query)}


def note_parts(db: sqlite3.Connection) -> None:
    """Record the schema as the one that the file was given."""
    db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", [schemas.FACT, schemas.written(parts(db))])
