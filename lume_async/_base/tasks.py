"""The running loop, task groups and cancellation, as this library uses them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anyio.abc import TaskGroup


def loop_here() -> asyncio.AbstractEventLoop | None:
    """Return the event loop of asyncio that runs in this thread; None if there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop of asyncio. Raises `RuntimeError` if none is running here, as under trio."""
    if (loop := loop_here()) is not None:
        return loop
    raise RuntimeError(
        "lume_async runs on asyncio, and no asyncio event loop is running here. It does not run on trio: there, call "
        "lume_sync in a thread (trio.to_thread.run_sync)"
    )


@asynccontextmanager
async def task_group() -> "AsyncIterator[TaskGroup]":
    """Open a task group of anyio that raises the error itself, not a group, so that `except LumeError` works.

    The first of several errors is raised; the others become its notes.
    """
    import anyio  # here: a single request needs no tasks

    try:
        async with anyio.create_task_group() as group:
            yield group
        return
    except BaseExceptionGroup as several:
        error, *others = _leaves(several)
    for other in others:
        error.add_note(f"at the same time: {other!r}")
    raise error  # outside of `except`, so that the group is not its context


@asynccontextmanager
async def background() -> "AsyncIterator[TaskGroup]":
    """Open a task group that ends with its block."""
    async with task_group() as tasks:
        yield tasks
        tasks.cancel_scope.cancel()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def current_task() -> "asyncio.Task[Any]":
    """Return the task that is running. Raises `RuntimeError` without an event loop of asyncio, as under trio."""
    task = asyncio.current_task(running_loop())
    assert task is not None
    return task


def is_being_cancelled() -> bool:
    """Return whether a `CancelledError` that was caught is meant for this task, not for something it waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def until_done(future: asyncio.Future[Any], hurry: Callable[[], object] = lambda: None) -> None:
    """Wait for the future even if this task is cancelled: then `hurry` is called, and the error raised afterwards."""
    import anyio

    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):  # a cancelled scope around it would wake this up again and again
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as error:
                cancelled = error
                hurry()
    if cancelled is not None:
        raise cancelled
