"""An event loop in a daemon thread, and the calls that wait for it."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextvars import Context
from typing import Any, Protocol
from weakref import WeakSet

from lume_async._base.immortal import immortal
from lume_sync._workers import DaemonExecutor

CLEAN_UP = 2.0
"""How many seconds a cancelled coroutine gets to tidy up before its caller continues without it."""


class Waiting(Protocol):
    """A thread that waits for something on the loop."""

    def fail(self) -> None:
        """The loop is gone: wait no longer."""


class LoopThread:
    """One loop, its thread and what is under way on it."""

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.closing = False
        self.calls: set[Waiting] = set()
        self.owners: set[asyncio.Task[Any]] = set()  # the loop itself holds its tasks only weakly
        self.generators: WeakSet[AsyncGenerator[Any, Any]] = WeakSet()
        self.exiting = False
        self.loop = new_loop()
        self.loop.set_default_executor(DaemonExecutor())
        self.thread = threading.Thread(
            # An empty context: what the first caller had in its own must not reach everybody's calls.
            target=Context().run,
            args=(self._run,),
            name="lume-sync",
            daemon=True,
        )

    def start(self) -> None:
        """Start the thread; where that fails, nothing is left behind."""
        try:
            self.thread.start()
        except BaseException:  # Ctrl-C too: the thread may or may not run by now
            self.stop()
            if not self.thread.is_alive():
                self.loop.close()
            raise

    def stop(self) -> None:
        """Ask the thread to cancel what is under way, close the loop and end. Returns at once."""
        self.closing = True
        with contextlib.suppress(RuntimeError):  # closed already
            self.loop.call_soon_threadsafe(self.loop.stop)

    def abandon(self) -> None:
        """Leave the loop alone for ever: after a fork its file descriptors are the parent's.

        Closing or collecting it would unregister the parent's sockets from the shared epoll and could send a
        TLS goodbye in the parent's name. The loop keeps its transports, so one reference holds them all.
        """
        self.closing = True
        immortal(self.loop)

    def exit(self) -> None:
        """The interpreter is about to end: from now on nothing is finalized, so that nothing can complain.

        The thread and its loop stand still then, and sessions live in asynchronous generators: collected late,
        they would warn of connections that the operating system closes anyway. Calls keep working until the
        very end; closing the sessions here would break those of exit handlers that run after this one.
        """
        self.exiting = True
        for generator in list(self.generators):
            immortal(generator)

    def _run(self) -> None:
        try:
            while not self.closing:
                self.loop.call_soon(self._follow_generators)
                # A task that raises one of these two takes the loop down with it. The caller hears of it from
                # its own task; nobody else's calls may suffer. A stray `loop.stop()` ends here as well.
                with contextlib.suppress(KeyboardInterrupt, SystemExit):
                    self.loop.run_forever()
            with contextlib.suppress(KeyboardInterrupt, SystemExit):
                self.loop.run_until_complete(self._drain())
        finally:
            self._end()

    def _follow_generators(self) -> None:
        hooks = sys.get_asyncgen_hooks()  # the loop's own; it takes them back when it stops

        def begun(generator: AsyncGenerator[Any, Any]) -> None:
            if hooks.firstiter is not None:
                hooks.firstiter(generator)
            self.generators.add(generator)
            if self.exiting:
                immortal(generator)

        sys.set_asyncgen_hooks(firstiter=begun)

    async def _drain(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLEAN_UP)
        await self.loop.shutdown_asyncgens()

    def _end(self) -> None:
        """However the thread ends, nobody may keep waiting for it."""
        self.closing = True
        self.loop.close()  # from here on nothing more can be scheduled, so the set below is complete
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
"""What swaps threads for greenlets, how to ask it about which modules, and how to use it beside this package."""


def refuse_greenlets() -> None:
    """Raise where a thread may be a greenlet: the loop in it, or what it waits for, would wait for its own caller."""
    for name, (question, modules, instead) in _PATCHERS.items():
        patcher = sys.modules.get(name)
        if patcher is not None and any(map(getattr(patcher, question), modules)):
            raise RuntimeError(
                f"threads are patched by {name.partition('.')[0]}, but lume_sync needs real OS threads: leave them "
                f"unpatched, {instead}, or call lume_sync in a separate process"
            )
