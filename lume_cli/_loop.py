"""One event loop per command, and an orderly end on Ctrl-C and SIGTERM.

The first signal cancels the command, which stops its displays and closes its connections. The second one ends
the process at once. A signal that was ignored when the process began (a background job of a script) stays so.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn


class Interrupted(Exception):
    """The command was ended by a signal; `exit_code` is the shell's own for it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_code = 128 + number


def run(work: Coroutine[Any, Any, int]) -> int:
    """Run the command to its end; its exit code.

    Raises:
        Interrupted: Ctrl-C or SIGTERM came first.
    """
    return asyncio.run(_guarded(work))


async def _guarded(work: Coroutine[Any, Any, int]) -> int:
    loop, caught = asyncio.get_running_loop(), list[int]()
    task = asyncio.ensure_future(work)

    def heed(number: int) -> None:
        if caught:
            _leave(caught[0])
        caught.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            # Kept until the loop is closed: the second signal may come while it is being closed.
            loop.add_signal_handler(number, heed, number)
    try:
        return await task
    except asyncio.CancelledError:
        if not caught:
            raise
        raise Interrupted(caught[0]) from None


def _leave(number: int) -> NoReturn:
    """End at once: no clean-up but the cursor that a display has hidden."""
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h\n")
    sys.stderr.flush()
    os._exit(128 + number)
