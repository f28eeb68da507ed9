"""An hourly copy of the state file, by SQLite's backup API, to restore from if the file itself is damaged."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from lume_local._runs.health import Health, why
from lume_local._runs.sqlite.state_file import backup_of
from lume_local._shared.commit import sync_file, sync_folder

INTERVAL = 3600.0
"""Seconds between two copies."""
RETRY = 5.0
"""Seconds until a copy that failed is tried again."""
_PAGES = 1000
"""Copied at a time: the server writes in between."""
_WHERE = "the copy of the state file"


async def back_up_hourly(path: Path, health: Health) -> None:
    """Copy the state file until cancelled; the first copy is made at once."""
    while True:
        try:
            await run_sync(back_up, path)
        except (sqlite3.Error, OSError) as error:
            health.trouble(_WHERE, why(error))
            await anyio.sleep(RETRY)
        else:
            health.works(_WHERE)
            await anyio.sleep(INTERVAL)


def back_up(path: Path) -> None:
    """Put a copy in the place of the one before, whole or not at all."""
    copy = backup_of(path)
    draft = copy.with_name(f"{copy.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(path)) as state, closing(sqlite3.connect(draft)) as into:
            state.backup(into, pages=_PAGES)
        sync_file(draft)
        os.replace(draft, copy)
        sync_folder(copy.parent)
    finally:
        draft.unlink(missing_ok=True)
