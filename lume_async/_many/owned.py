"""`owned`: runs the tasks of an iteration, which a block within one task can't own."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

import anyio
from anyio.streams.memory import MemoryObjectSendStream

from lume_async._base.tasks import running_loop, until_done
from lume_async.errors import ClientClosedError

S = TypeVar("S")
T = TypeVar("T")

_EXPECTED = (ClientClosedError, anyio.BrokenResourceError, anyio.ClosedResourceError)


async def owned(
    work: Callable[[MemoryObjectSendStream[S]], Awaitable[None]],
    *,
    take: Callable[[S], T],
    ready: int = 0,
) -> AsyncGenerator[T, None]:
    """Run `work` in a task and yield what it sends; the task starts with the first step and ends with the iteration.

    An asynchronous generator can't hold a task group open while it yields: each step may come from another task, but
    a cancel scope must be left by the task that entered it. So `work` opens the group, in one task, and this
    generator owns only that task: however the iteration ends, it cancels the task and waits for it.

    Args:
        work: sends the items; its error is raised after them.
        take: converts an item when the reader takes it.
        ready: the maximum number of unread items; 0 makes each `send` wait until its item is taken.
    """
    loop = running_loop()
    send, receive = anyio.create_memory_object_stream[S](ready)
    failures: list[BaseException] = []
    leaving = False

    async def body() -> None:
        try:
            with send:
                await work(send)
        except BaseException as error:
            # Kept for the reader: a task would pass SystemExit and KeyboardInterrupt on to the loop, and end
            # silently if something that it awaited was cancelled. If the reader has stopped, asyncio must not log it.
            if not (leaving and isinstance(error, asyncio.CancelledError)):
                failures.append(error)

    task = loop.create_task(body())
    try:
        with receive:
            async for item in receive:
                yield take(item)
    finally:
        leaving = True
        task.cancel()
        send.close()  # a task that is cancelled before its first step does not close it
        await until_done(task)
        if failures:
            own = sys.exception()
            expected = own is not None and isinstance(failures[0], _EXPECTED)
            # The reader's own exception prevails over an expected failure, and a cancellation over any.
            if not (expected or isinstance(own, asyncio.CancelledError)):
                raise failures[0]
