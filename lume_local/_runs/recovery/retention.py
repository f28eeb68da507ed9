"""Deletes what has expired at startup and daily, in small steps. Runs are always kept."""

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel

from lume_local._runs.health import Health, why
from lume_local._runs.records import StoreFailed
from lume_local._runs.store import Store
from lume_local._runs.times import ago_text

INTERVAL = 86400.0
"""Seconds between two sweeps."""
RETRY = 60.0
_AT_ONCE = 1000
"""Rows of each kind per transaction: requests are answered in between."""


async def forget_what_is_old(store: Store, keep: float | None, health: Health) -> None:
    """Drop old rows until cancelled, which is between two transactions.

    Args:
        store: what is swept.
        keep: how many seconds things are kept; None for ever.
        health: where failures are reported.
    """
    if keep is not None:
        await swept_daily(lambda: store.forget(ago_text(keep), _AT_ONCE), "dropping old rows", health)


async def swept_daily(step: Callable[[], Awaitable[int]], what: str, health: Health) -> None:
    """Sweep until cancelled; a step returns how much it has done, nothing where it is done."""
    while True:
        try:
            while await step():
                await anyio.lowlevel.checkpoint()
        except (StoreFailed, OSError) as error:
            health.trouble(what, why(error))
            await anyio.sleep(RETRY)
        else:
            health.works(what)
            await anyio.sleep(INTERVAL)
