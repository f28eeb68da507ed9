"""One event loop per command, and a clean shutdown on Ctrl-C and SIGTERM.

The first signal cancels the command's task, once: an anyio cancel scope would keep cancelling whatever its
clean-up awaits (a server that drains, a session that closes). Tasks below it belong to task groups. The second
signal ends the process at once. A signal that was ignored when the process started (a background job) stays ignored.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from types import FrameType
from typing import Any, TypeVar

from lume_async._base.platform import IS_POSIX

T = TypeVar("T")
_ENDING = ("SIGINT", "SIGTERM", "SIGBREAK")
"""The signals that end a command. Only Windows has the last one, which is Ctrl-Break."""


class Interrupted(Exception):
    """The command was ended by a signal; `exit_code` is the shell's for that signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.exit_code = 128 + number


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run the command; return its result. Raises `Interrupted` if Ctrl-C or SIGTERM came first."""
    known = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in known}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    caught: list[int] = []
    try:
        return asyncio.run(_guard(work, before, caught))
    except asyncio.CancelledError:
        if not caught:
            raise
    finally:  # after the end of the loop: the second signal may arrive during its shutdown
        for number, handler in before.items():
            signal.signal(number, handler)
    raise Interrupted(caught[0])


async def _guard(work: Coroutine[Any, Any, T], numbers: Iterable[int], caught: list[int]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if caught:
            # At once; only restore the cursor that a display has hidden.
            if IS_POSIX and sys.stderr.isatty():
                with suppress(OSError):
                    os.write(2, b"\x1b[?25h\n")  # a stream may be in the middle of a write
            os._exit(128 + caught[0])
        caught.append(number)
        with suppress(RuntimeError):  # the loop is closed: the work was done
            loop.call_soon_threadsafe(task.cancel)

    for number in numbers:
        signal.signal(number, on_signal)  # not `loop.add_signal_handler`, which Windows does not have
    return await work
