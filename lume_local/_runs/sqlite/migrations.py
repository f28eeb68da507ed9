"""Brings the state file of an earlier release to the present form: forward only, one form at a time.

Each step is one transaction, so that a server that is killed between two of them goes on with the next. Before the
first, the file is copied: the copy is how to go back, as an earlier release refuses a newer form.
"""

import logging
import sqlite3
from pathlib import Path

from lume_local._runs.sql.ledger_tables import LEDGER
from lume_local._runs.sql.sql_arrivals import ARRIVALS
from lume_local._runs.sql.sql_drafts import DRAFTS
from lume_local._runs.sql.tables import AUDIT, LISTING, MENDS, MESSAGES, OLD_RUNS, QUEUE, SEEDS, VERSION
from lume_local._runs.sqlite.copies import replace_copy
from lume_local._runs.sqlite.triggers import AUDITING, MENDING

_log = logging.getLogger("lume_local")

STEPS = {
    1: f"""
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
}
"""By the form that a step begins with; it ends with the next. A step never changes once it is released."""


def migrate(db: sqlite3.Connection, path: Path, form: int) -> None:
    """Bring the file from an earlier form to `VERSION`. Raises sqlite3.Error, OSError."""
    copy = copied(path, form)
    for at in range(form, VERSION):
        db.executescript(f"BEGIN IMMEDIATE; {STEPS[at]} PRAGMA user_version = {at + 1}; COMMIT")
    _log.warning(
        "%s is now in form %d of the state, it was in form %d: %s is a copy from before, for the earlier release",
        *(path, VERSION, form, copy),
    )


def copied(path: Path, form: int) -> Path:
    """A copy of the file in this form. It replaces that of an earlier upgrade, after which somebody went back."""
    copy = path.with_name(f"{path.name}.form-{form}")
    replace_copy(path, copy)
    return copy
