"""An hourly copy of the state file by SQLite's backup API, to restore it if it is damaged."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
from anyio.from_thread import check_cancelled
from anyio.to_thread import run_sync

from lume_local._runs.health import Health, why
from lume_local._runs.sqlite.copies import checked, replace_copy
from lume_local._runs.sqlite.state_file import CHECKED_AT_START, backup_of

INTERVAL = 3600.0
"""Seconds between two copies."""
RETRY = 5.0
"""Seconds until a failed copy is tried again."""
_WHERE, _CONTENT = "the copy of the state file", "the content of the state file"


class StateDamaged(Exception):
    """The state file is damaged. The message says how."""


async def back_up_hourly(path: Path, health: Health) -> None:
    """Copy the state file immediately and then hourly, until cancelled; a damaged file replaces no copy."""
    try:
        await run_sync(check_large, path, check_cancelled)
    except (StateDamaged, OSError, sqlite3.Error) as error:
        health.trouble(_CONTENT, f"it is damaged ({error}): end the server, and put its copy in place")
        return
    while True:
        try:
            await run_sync(back_up, path, check_cancelled)
        except (sqlite3.Error, OSError) as error:
            health.trouble(_WHERE, why(error))
            await anyio.sleep(RETRY)
        else:
            health.works(_WHERE)
            await anyio.sleep(INTERVAL)


def check_large(path: Path, check: Callable[[], object]) -> None:
    """Check a file that is too large to check before the server starts.

    Raises `StateDamaged`, sqlite3.Error, OSError.
    """
    if path.stat().st_size <= CHECKED_AT_START:
        return

    def step() -> None:
        check()  # an exception from it ends the query

    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        db.set_progress_handler(step, 100_000)
        try:
            verdict = checked(db)
        except sqlite3.OperationalError:
            check()  # raises if it caused the error
            raise
    if verdict:
        raise StateDamaged(verdict)


def back_up(path: Path, check: Callable[[], object] = lambda: None) -> None:
    """Replace the previous copy of the state file, which may be in use; see `replace_copy`."""
    replace_copy(path, backup_of(path), check)


def backup_age(path: Path) -> float | None:
    """Return the age of the copy of a state file in seconds; None if there is none."""
    try:
        return max(0.0, time.time() - backup_of(path).stat().st_mtime)
    except OSError:
        return None
