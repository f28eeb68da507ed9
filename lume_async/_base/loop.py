"""The event loop that a call runs in."""

import asyncio
from typing import NoReturn


def running_loop() -> asyncio.AbstractEventLoop:
    """The running loop of asyncio.

    Raises:
        RuntimeError: there is none; under trio there never is.
    """
    return asyncio._get_running_loop() or _refuse()


def _refuse() -> NoReturn:
    raise RuntimeError(
        "lume_async runs on asyncio, and no asyncio event loop is running here. It does not run on trio: there, call "
        "lume_sync in a thread (trio.to_thread.run_sync)"
    )
