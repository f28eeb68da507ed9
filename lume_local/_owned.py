"""One task that owns a block, so that `async with` may be entered in one task and left in another.

A task group belongs to the task that entered it. But pytest-asyncio enters a fixture's block in one task and
leaves it in another, and so does whoever keeps a server in an `AsyncExitStack`. So the block lives in a task
of its own, which is the only one in this package that no task group owns: whoever leaves here waits for it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, TypeVar

import anyio

T = TypeVar("T")


@asynccontextmanager
async def owned(block: AbstractAsyncContextManager[T], name: str) -> AsyncIterator[T]:
    """The block, entered and left in one task. If it ends by itself, with an error, so does what is in it here."""
    host = asyncio.current_task()
    assert host is not None
    entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()
    broke = False

    def on_end(_: asyncio.Task[None]) -> None:
        nonlocal broke
        if entered.done() and not leave.is_set():
            broke = True
            host.cancel()

    owner = asyncio.create_task(_own(block, entered, leave), name=name)
    either: list[asyncio.Future[Any]] = [owner, entered]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        owner.cancel()
        with suppress(asyncio.CancelledError):
            await _ended(owner)
        raise
    if owner.done():
        owner.result()  # raises what kept it from starting
    owner.add_done_callback(on_end)
    try:
        yield entered.result()
    except asyncio.CancelledError:
        if not broke:
            raise
        host.uncancel()  # it was this file that cancelled; the owner's error says why
    finally:
        leave.set()
        await _ended(owner)


async def _own(
    block: AbstractAsyncContextManager[T], entered: "asyncio.Future[T]", leave: asyncio.Event
) -> None:
    async with block as value:
        entered.set_result(value)
        await leave.wait()


async def _ended(owner: "asyncio.Task[None]") -> None:
    """Wait for the owner; whoever is cancelled meanwhile makes it hurry. Raises its error."""
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(
        shield=True
    ):  # a scope around the caller has cancelled for good: the wait is bounded
        while not owner.done():
            try:
                await asyncio.wait([owner])
            except asyncio.CancelledError as error:
                cancelled = error
                owner.cancel()
    if cancelled is not None:
        raise cancelled
    owner.result()
