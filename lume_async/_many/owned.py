"""Tasks of those that no block of one task can own: an iteration (`owned`), a block left elsewhere (`Background`)."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream

from lume_async._base.tasks import running_loop, task_group, until_done
from lume_async.errors import ClientClosedError

S = TypeVar("S")
T = TypeVar("T")

_NO_NEWS = (ClientClosedError, anyio.BrokenResourceError, anyio.ClosedResourceError)


async def owned(
    work: Callable[[MemoryObjectSendStream[S]], Awaitable[None]],
    *,
    take: Callable[[S], T],
    ready: int = 0,
) -> AsyncGenerator[T, None]:
    """Yield what `work` sends from a task of its own, which begins with the first step and never outlives the last.

    A task group can't be open in an asynchronous generator while that yields: each step may come from another task,
    and a cancel scope is left by the task that entered it. So the group is opened by `work`, in one task from
    beginning to end, and this generator, which may be stepped, closed, cancelled or collected anywhere, owns that
    task alone: however it ends, the task is cancelled and waited for first.

    Args:
        work: sends the items; whatever ends it but this generator is raised after those that it has sent.
        take: makes what is yielded of an item, at the moment when the reader takes it.
        ready: how many items may wait for the reader; 0 makes each `send` wait until its item is taken.
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
            # For the reader: a task would pass SystemExit and KeyboardInterrupt on to the loop, and end without a
            # word where what it waited for was cancelled. If nobody reads on, no task is to complain of it.
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
        send.close()  # else a task that is cancelled before its first step closes nothing
        await until_done(task)
        if failures and not _is_moot(failures[0], sys.exception()):
            raise failures[0]


class Background:
    """A task group for a block that one task may enter and another leave, as fixtures and `AsyncExitStack` do.

    A task group is left by the task that entered it: so a task of its own opens it, and ends with the block.
    """

    def __init__(self) -> None:
        self._leave = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    async def open(self) -> TaskGroup:
        """The group, once it takes tasks."""
        loop = running_loop()
        opened: asyncio.Future[TaskGroup] = loop.create_future()
        self._owner = loop.create_task(self._own(opened))
        try:
            return await asyncio.shield(opened)
        except asyncio.CancelledError:
            await self.close()
            raise

    async def close(self) -> None:
        """Cancel what is in the group and wait for its end.

        Raises:
            BaseException: what one of the tasks raised.
        """
        owner = self._owner
        if owner is None:
            return
        self._leave.set()
        await until_done(owner)
        if self._failure is not None:
            raise self._failure

    async def _own(self, opened: asyncio.Future[TaskGroup]) -> None:
        try:
            async with task_group() as group:
                opened.set_result(group)
                await self._leave.wait()
                group.cancel_scope.cancel()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._failure = (
                error  # for the block: a task would pass SystemExit and KeyboardInterrupt to the loop
            )


def _is_moot(failure: BaseException, leaving: BaseException | None) -> bool:
    """Whether a reader that leaves early need not hear of it: no cancellation is lost over it; that the client was
    closed, or that nobody takes the items any more, is no news to somebody who leaves.
    """
    if isinstance(leaving, asyncio.CancelledError):
        return True
    return leaving is not None and isinstance(failure, _NO_NEWS)
