"""`Portal`: calls from any thread into one private event loop.

Every synchronous call of this package is a hop: it starts a coroutine of the core on the loop of one daemon thread
(`loop_thread`) and waits for it (`call`). This file decides whether a call is allowed, and on which loop.
"""

import asyncio
import socket
import sys
import threading
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, Literal, ParamSpec, TypeVar

from lume_async._base.platform import IS_POSIX
from lume_async._base.threads import in_thread
from lume_async.errors import ClientClosedError
from lume_sync._hops.call import Call, is_own
from lume_sync._hops.loop_thread import CLEAN_UP, LoopThread, refuse_greenlets

P = ParamSpec("P")
T = TypeVar("T")

_OWNERS = {"lume_sync._hops.iteration": "iteration", "lume_sync._hops.held": "block"}
"""The users' names for the functions of these modules, which own iterations and `with` blocks on the loop."""


class BlockingCallWarning(RuntimeWarning):
    """A synchronous call blocks the event loop of its caller."""


def _new_loop_apart() -> asyncio.AbstractEventLoop:
    """Return a loop that was created outside the main thread.

    In the main thread, a Windows loop would take the wake-up by Ctrl-C away from the program's own loop.
    """
    return in_thread(asyncio.new_event_loop).result()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return uvloop's factory if it is installed (extra `speed`); for the private loop only, without a policy."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop if IS_POSIX else _new_loop_apart

    class Loop(uvloop.Loop):
        # uvloop calls this before it connects to a resolved address. It answers at once if the kind of socket is
        # given; otherwise in libuv's threads, which may hang in a forked child.
        async def getaddrinfo(self, *host: Any, type: int = socket.SOCK_STREAM, **options: Any) -> Any:
            return await super().getaddrinfo(*host, type=type, **options)

    return Loop


new_event_loop = loop_factory()
"""Imported now, not with the first loop: a fork during the import would leave the import lock locked."""


class Portal:
    """One loop thread, started at the first call.

    Args:
        adopt: called with every error before it is raised.
        new_loop: creates the loop.
    """

    def __init__(
        self,
        adopt: Callable[[BaseException], object] | None = None,
        new_loop: Callable[[], asyncio.AbstractEventLoop] = new_event_loop,
    ) -> None:
        self._adopt = adopt
        self._new_loop = new_loop
        self._warned = False
        # Imported by an exit handler, where `at_exit` is registered too late to be called.
        self._exiting = _is_in_exit_handler()
        self._forget()

    @property
    def state(self) -> Literal["new", "open", "closing", "closed"]:
        """The state of the loop thread."""
        engine = self._engine
        if self._closed:
            return "closed" if engine is None or not engine.thread.is_alive() else "closing"
        return "new" if engine is None or engine.closing else "open"

    def call(
        self, func: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> "asyncio.Future[T]":
        """Run `func(...)` on the loop and wait for it; return the done future.

        Call its `result()`: it raises from C, so a traceback leads from the caller's line directly to the core,
        omitting the frames of the hop.

        Raises:
            RuntimeError: called on the loop's own thread, where it would deadlock.
            ClientClosedError: the interpreter is shutting down, or the loop was closed.
        """
        engine = self.engine()
        running = asyncio._get_running_loop()
        if running is not None:
            self._refuse_or_warn(running is engine.loop, func)
        call = Call(engine, func, args, kwargs)
        call.run()
        error = call.future.exception()
        if error is not None and self._adopt is not None:
            self._adopt(error)
        return call.future

    def engine(self) -> LoopThread:
        """Return the running loop thread, started if necessary.

        Raises:
            ClientClosedError: the interpreter is shutting down, or the portal was closed.
            RuntimeError: gevent or eventlet has patched the threads.
        """
        # During finalization daemon threads are frozen: a call would wait for ever.
        if sys.is_finalizing():
            raise too_late()
        refuse_greenlets()  # each time: a program may be patched after its first call
        engine = self._engine
        if engine is not None and not engine.closing:
            return engine
        with self._lock:
            if self._closed:
                raise ClientClosedError("this portal was closed")
            if self._engine is None or self._engine.closing:
                self._open()
            assert self._engine is not None
            return self._engine

    def close(self, timeout: float = 2 * CLEAN_UP) -> None:
        """Refuse new calls, cancel current ones (ClientClosedError), end the thread within `timeout` seconds."""
        with self._lock:
            self._closed, engine = True, self._engine
        if engine is None:
            return
        engine.stop()
        if engine.thread is not threading.current_thread():
            engine.thread.join(timeout)

    def after_fork(self) -> None:
        """Start afresh in a forked child, as the thread is gone and the lock may be held for ever."""
        if self._engine is not None:
            self._engine.abandon()
        self._forget()

    def at_exit(self) -> None:
        """Prepare for the end of the interpreter."""
        self._exiting = True
        if self._engine is not None:
            self._engine.exit()

    def _forget(self) -> None:
        # Reentrant: a finalizer or a signal handler may call while its own thread is in the middle of opening.
        self._lock = threading.RLock()
        self._closed = False
        self._engine: LoopThread | None = None

    def _open(self) -> None:
        engine = LoopThread(self._new_loop)
        try:
            engine.start()
        except RuntimeError:
            if threading.main_thread().is_alive():
                raise
            raise too_late() from None  # Python 3.12 starts no thread in exit handlers
        if self._exiting:
            engine.exit()
        if self._engine is None or self._engine.closing:
            self._engine = engine
        else:  # a finalizer or a signal handler was faster
            engine.stop()

    def _refuse_or_warn(self, own: bool, func: Callable[..., Any]) -> None:
        module = getattr(func, "__module__", "")
        name = _OWNERS.get(module) or getattr(func, "__qualname__", repr(func))
        if own:
            raise RuntimeError(
                f"{name} would deadlock: called from lume_sync's own event-loop thread;"
                f" await lume_async's {name} there, or make the call in another thread"
            )
        if self._warned or _in_ipython():
            return
        warnings.warn(
            f"{name} of lume_sync blocks the event loop that is running in this thread; in async code, await "
            f"lume_async's {name} (reported once)",
            BlockingCallWarning,
            stacklevel=_depth_of_user(),
        )
        self._warned = True  # after the warning, so that a warning turned into an error is raised each time


def too_late() -> ClientClosedError:
    """Return the error of a call during the interpreter's shutdown."""
    return ClientClosedError("the interpreter is shutting down: it is too late for this call")


def _is_in_exit_handler() -> bool:
    """Return whether this is the main thread after its end, when only exit handlers run in it."""
    main = threading.main_thread()
    return threading.current_thread() is main and not main.is_alive()


def _in_ipython() -> bool:
    """Return whether this is IPython: in a notebook a loop is always running, and cells are meant to block."""
    if "ipykernel" in sys.modules:
        return True
    shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return shell is not None and shell() is not None


def _depth_of_user() -> int:
    """Return the stack level of the nearest frame outside this package, as seen from the function that warns."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and is_own(frame):
        frame, depth = frame.f_back, depth + 1
    return depth
