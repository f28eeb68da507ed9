"""Deletes expired rows at startup and daily, in small transactions. Runs are always kept."""

import sqlite3

import anyio
import anyio.lowlevel

from lume_local._runs.health import Health, why
from lume_local._runs.store import Store
from lume_local._runs.times import ago_text

INTERVAL = 86400.0
"""Seconds between two sweeps."""
RETRY = 60.0
_AT_ONCE = 1000
"""Rows of each kind per transaction: requests are answered in between."""


async def forget_what_is_old(store: Store, keep: float | None, health: Health) -> None:
    """Sweep until cancelled, which is between two transactions.

    Args:
        store: what is swept.
        keep: how many seconds things are kept; None for ever.
        health: where failures are reported.
    """
    while keep is not None:
        try:
            before = ago_text(keep)
            while store.forget(before, _AT_ONCE):
                await anyio.lowlevel.checkpoint()
        except sqlite3.Error as error:
            health.trouble("dropping old rows", why(error))
            await anyio.sleep(RETRY)
        else:
            health.works("dropping old rows")
            await anyio.sleep(INTERVAL)
