"""Who owns tasks: a block (`task_group`), or, for an iterator that has none, its iteration (`owned`)."""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectSendStream

T = TypeVar("T")


@asynccontextmanager
async def task_group() -> AsyncIterator[TaskGroup]:
    """A task group of anyio's, but what went wrong arrives as it is and not as a group of one.

    Callers expect `except LumeError` to work whether or not tasks were involved. Of several errors the first is
    raised; the others are its notes.
    """
    try:
        async with anyio.create_task_group() as group:
            yield group
        return
    except BaseExceptionGroup as several:
        error, *others = _leaves(several)
    for other in others:
        error.add_note(f"at the same time: {other!r}")
    raise error  # out here: the group is not its context


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def owned(
    work: Callable[[MemoryObjectSendStream[T]], Awaitable[None]], *, ready: int = 0
) -> AsyncGenerator[T, None]:
    """Yield what `work` sends from a task of its own, which begins with the first step and never outlives the last.

    A task group can't be open in an asynchronous generator while that yields: each step may come from another task,
    and a cancel scope is left by the task that entered it. So the group is opened by `work`, in one task from
    beginning to end, and this generator, which may be stepped, closed, cancelled or collected anywhere, owns that
    task alone: however it ends, the task is cancelled and waited for first.

    Args:
        work: sends the items; its error is raised after those that it has sent.
        ready: how many items may wait for the reader; 0 makes each `send` wait until its item is taken.
    """
    send, receive = anyio.create_memory_object_stream[T](ready)

    async def body() -> None:
        with send:
            await work(send)

    task = asyncio.create_task(body())
    try:
        with receive:
            async for item in receive:
                yield item
    finally:
        task.cancel()
        await _end_of(task)
        send.close()  # a task that was cancelled before its first step has closed nothing
        failure = None if task.cancelled() else task.exception()
        # What fails on the way out is raised, too; but no cancellation is lost over it.
        if failure is not None and not isinstance(sys.exception(), asyncio.CancelledError):
            raise failure


async def _end_of(task: asyncio.Task[None]) -> None:
    """Wait for a task that was cancelled; who is cancelled meanwhile hears of it afterwards."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError


def is_being_cancelled() -> bool:
    """Whether a `CancelledError` that arrived just now is meant for this task, not for something it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
