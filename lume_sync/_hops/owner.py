"""`Owner`: one task that spans several hops, with its handle and its context.

anyio's cancel scopes and task groups must be left by the task that entered them, which rules out a task per hop.
"""

import asyncio
import contextlib
import contextvars
import weakref
from collections.abc import Coroutine
from typing import Any, TypeVar

from lume_async.errors import ClientClosedError
from lume_sync._hops.loop_thread import LoopThread
from lume_sync._hops.portal import Portal

T = TypeVar("T")


class Owner:
    """One task, started by the first caller in its context, cancelled when its handle is garbage-collected.

    Attributes:
        ended: whether the task is to end; any thread may set it. A cancellation alone is not enough: two at the same
            time arrive as one.
    """

    def __init__(self, portal: Portal, handle: object) -> None:
        self.portal = portal
        self.ended = False
        self._handle = weakref.ref(handle)
        self.engine: LoopThread | None = None
        self.context = contextvars.Context()
        self.task: asyncio.Task[None] | None = None

    def begin(self, body: Coroutine[Any, Any, None]) -> None:
        """Start the task, on the loop."""
        self.engine = engine = self.portal.engine()
        self.context = contextvars.copy_context()
        self.task = task = engine.loop.create_task(body, context=self.context)
        engine.own(self)
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if self.engine is not None:
            self.engine.owners.discard(self)
        self.task = None  # released on the loop: see `Call._finish`

    def adopt_context(self) -> None:
        """Copy the current caller's context variables to the task's context, on the loop."""
        for variable, value in contextvars.copy_context().items():
            if self.context.get(variable, self) is not value:
                self.context.run(variable.set, value)

    async def cancel(self) -> None:
        """End the task and wait for its clean-up, on the loop."""
        self.ended = True
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait({self.task})

    def drop(self) -> None:
        """End the task, from a finalizer on any thread: never waits, never raises."""
        self.ended = True  # first: the task may be about to begin
        engine, task = self.engine, self.task
        if engine is not None and task is not None and not engine.closing and not task.done():
            with contextlib.suppress(RuntimeError):  # the loop has just been closed
                engine.loop.call_soon_threadsafe(task.cancel)

    def is_forgotten(self) -> bool:
        """Return whether the handle is gone without `drop`: a Ctrl-C that arrives in a finalizer ends only that."""
        return self._handle() is None and self.task is not None and not self.task.cancelling()


def refuse_others(portal: Portal, engine: LoopThread | None, what: str) -> None:
    """Raise `ClientClosedError` if `engine` is not the current loop of this process."""
    if engine is not None and engine is not portal.engine():
        raise ClientClosedError(f"this {what} belongs to another process, or its loop was closed")


def settle(answer: "asyncio.Future[T]", outcome: T | BaseException) -> None:
    """Set the result or the error, unless the future is done."""
    if answer.done():
        return
    if isinstance(outcome, BaseException):
        answer.set_exception(outcome)
        answer.exception()  # retrieved, so that asyncio does not log it if nobody awaits it
    else:
        answer.set_result(outcome)
