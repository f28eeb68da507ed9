"""An event loop in a daemon thread, and the calls that wait for it."""

import asyncio
import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextvars import Context
from typing import Any, Protocol
from weakref import WeakSet

from lume_async._base.immortal import immortal
from lume_sync._hops.workers import DaemonExecutor

CLEAN_UP = 2.0
"""Seconds that a cancelled coroutine gets to clean up before its caller continues without it."""
_STEP = 0.002
"""Seconds between two turns of the loop while the interpreter ends."""
SWEEP = 1.0
"""Seconds between two searches for forgotten owners, while there are any."""


class Waiting(Protocol):
    """A thread that waits for something on the loop."""

    def fail(self) -> None:
        """End the wait, because the loop has ended."""


class Owning(Protocol):
    """The owner of a task on the loop, as long as a handle in another thread exists."""

    def is_forgotten(self) -> bool:
        """Return whether the handle is gone, and its finalizer has failed."""
        ...

    def drop(self) -> None:
        """End the task."""


class LoopThread:
    """One loop, its thread, and the calls, owners of tasks and generators on it."""

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.closing: bool = False
        self.calls: set[Waiting] = set()
        self.owners: set[Owning] = set()  # the loop holds its tasks only weakly
        self.generators: WeakSet[AsyncGenerator[Any, Any]] = WeakSet()
        self.exiting: bool = False
        self._sweeps = False
        self._posted: deque[Callable[[], None]] = deque()
        self._taken = 0
        self._woken = -1
        self._in_steps = threading.Event()
        self.loop: asyncio.AbstractEventLoop = new_loop()
        self.loop.set_default_executor(DaemonExecutor())
        self.thread: threading.Thread = threading.Thread(
            # An empty context: the first caller's context variables must not reach other calls.
            target=Context().run,
            args=(self._run,),
            name="lume-sync",
            daemon=True,
        )

    def start(self) -> None:
        """Start the thread; if that fails, clean up."""
        try:
            self.thread.start()
        except BaseException:  # includes Ctrl-C: the thread may be running
            self.stop()
            if not self.thread.is_alive():
                self.loop.close()
            raise

    def stop(self) -> None:
        """Ask the thread to cancel its tasks, close the loop and end. Returns at once."""
        self.closing = True
        with contextlib.suppress(RuntimeError):  # closed already
            self.loop.call_soon_threadsafe(self.loop.stop)

    def post(self, callback: Callable[[], None]) -> None:
        """Run the callback on the loop, after those posted before it. Raises `RuntimeError` if the loop is closed.

        Only the first post after a `_take` wakes the loop: a wake-up is a system call, during which other threads
        take the interpreter's lock, and 64 threads post 14 callbacks between two turns of the loop.
        """
        self._posted.append(callback)
        taken = self._taken
        if self._woken != taken:  # else a `_take` that has not begun will see the callback
            try:
                self.loop.call_soon_threadsafe(self._take, context=Context())
            except RuntimeError:
                self._posted.clear()
                raise
            self._woken = taken  # last: after a Ctrl-C before it, the next post wakes the loop

    def _take(self) -> None:
        self._taken += 1
        try:
            for _ in range(len(self._posted)):
                self._posted.popleft()()
        finally:
            if self._posted and self._woken != self._taken:  # a callback has failed
                self.loop.call_soon(self._take)

    def own(self, owner: Owning) -> None:
        """Keep the owner until its task has ended, on the loop."""
        self.owners.add(owner)
        if not self._sweeps:
            self._sweep()

    def _sweep(self) -> None:
        for owner in self.owners:
            if owner.is_forgotten():
                owner.drop()
        self._sweeps = bool(self.owners)
        if self._sweeps:
            self.loop.call_later(SWEEP, self._sweep)

    def abandon(self) -> None:
        """Never touch the loop again: after a fork its file descriptors are the parent's.

        Closing or collecting it would unregister the parent's sockets from the shared epoll and could close the
        parent's TLS connections. The loop refers to its transports, so one reference keeps them all.
        """
        self.closing = True
        immortal(self.loop)

    def exit(self) -> None:
        """Keep all generators from being finalized before the interpreter ends, and wait for events by sleeping.

        Sessions live in asynchronous generators: finalized after the loop has stopped, they would warn of open
        connections, which the operating system closes anyway. They are not closed here, because exit handlers that
        run later may still call the API.

        A uvloop loop that waits in libuv outlives the interpreter, and any event then ends the process with a
        segmentation fault: its callbacks ask for the lock of an interpreter that is gone. The interpreter itself
        stops a thread that sleeps.
        """
        self.exiting = True
        with contextlib.suppress(RuntimeError):  # closed already
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._in_steps.wait(CLEAN_UP)
        for generator in list(self.generators):  # none is added any more
            immortal(generator)

    def _run(self) -> None:
        try:
            while not self.closing:
                self.loop.call_soon(self._follow_generators)
                if self.exiting:
                    self._in_steps.set()
                    time.sleep(_STEP)
                    self.loop.call_soon(self.loop.stop)
                # A task that raises one of these stops the loop. Its caller gets the error from `Call`; the loop
                # is restarted for other calls, as after an unexpected `loop.stop()`.
                with contextlib.suppress(KeyboardInterrupt, SystemExit):
                    self.loop.run_forever()
            draining = self.loop.create_task(self._drain())
            draining.add_done_callback(lambda _: self.loop.stop())
            while not draining.done():  # a late `loop.stop()` would end `run_until_complete`
                with contextlib.suppress(KeyboardInterrupt, SystemExit):
                    self.loop.run_forever()
        finally:
            self._end()

    def _follow_generators(self) -> None:
        hooks = sys.get_asyncgen_hooks()  # the loop's own hooks, which it removes when it stops

        def track(generator: AsyncGenerator[Any, Any]) -> None:
            if hooks.firstiter is not None:
                hooks.firstiter(generator)
            if self.exiting:
                immortal(generator)
            else:
                self.generators.add(generator)

        sys.set_asyncgen_hooks(firstiter=track)

    async def _drain(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLEAN_UP)
        await self.loop.shutdown_asyncgens()

    def _end(self) -> None:
        """Fail the waiting calls, however the thread ends."""
        self.closing = True
        self._in_steps.set()
        self.loop.close()  # nothing can be scheduled after this, so the set below is complete
        self._taken += 1  # a `_take` that never came must not keep posts from noticing that
        self._posted.clear()
        for call in self.calls.copy():
            call.fail()


_PATCHERS = {
    "gevent.monkey": (
        *("is_module_patched", ("threading", "queue", "selectors")),
        "monkey.patch_all(thread=False, queue=False, select=False)",
    ),
    "eventlet.patcher": (
        *("is_monkey_patched", ("thread", "select")),
        "eventlet.monkey_patch(thread=False, select=False)",
    ),
}
"""Libraries that replace threads by greenlets: how to detect them, their modules, and how to use them with us."""


def refuse_greenlets() -> None:
    """Raise `RuntimeError` if threads may be greenlets: the loop would then block its own caller."""
    for name, (question, modules, instead) in _PATCHERS.items():
        patcher = sys.modules.get(name)
        if patcher is not None and any(map(getattr(patcher, question), modules)):
            raise RuntimeError(
                f"threads are patched by {name.partition('.')[0]}, but lume_sync needs real OS threads: leave them "
                f"unpatched, {instead}, or call lume_sync in a separate process"
            )
