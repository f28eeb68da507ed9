"""One event loop per command, and a clean shutdown on Ctrl-C and SIGTERM.

The first signal cancels the command's task, once: an anyio cancel scope would keep cancelling whatever its
clean-up awaits (a server that drains, a session that closes). Tasks below it belong to task groups. The second
signal ends the process at once. A signal that was ignored when the process started (a background job) stays ignored.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn


class Interrupted(Exception):
    """The command was ended by a signal; `exit_code` is the shell's for that signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_code = 128 + number


def run(work: Coroutine[Any, Any, int]) -> int:
    """Run the command; return its exit code. Raises `Interrupted` if Ctrl-C or SIGTERM came first."""
    return asyncio.run(_guard(work))


async def _guard(work: Coroutine[Any, Any, int]) -> int:
    loop, task, caught = asyncio.get_running_loop(), asyncio.current_task(), list[int]()
    assert task is not None

    def on_signal(number: int) -> None:
        if caught:
            _leave(caught[0])
        caught.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            # Kept until the loop is closed: the second signal may arrive during the shutdown.
            loop.add_signal_handler(number, on_signal, number)
    try:
        return await work
    except asyncio.CancelledError:
        if not caught:
            raise
        raise Interrupted(caught[0]) from None


def _leave(number: int) -> NoReturn:
    """Exit at once; only restore the cursor that a display has hidden."""
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h\n")
    sys.stderr.flush()
    os._exit(128 + number)
