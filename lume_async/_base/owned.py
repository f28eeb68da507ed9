"""`Owned`: a block that different tasks may enter and leave, as fixtures and `AsyncExitStack` do.

A task group must be left by the task that entered it. So the block runs in its own task, and leaving it waits for
the end of that task.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

from lume_async._base.tasks import running_loop, until_done

T = TypeVar("T")


class Owned(Generic[T]):
    """The block, entered and left in one task.

    Args:
        on_break: called if the block ends on its own; `close` raises its error.
    """

    def __init__(
        self,
        block: AbstractAsyncContextManager[T],
        name: str,
        on_break: Callable[[], object] = lambda: None,
    ) -> None:
        self._block = block
        self._name = name
        self._on_break = on_break
        self._leave = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    async def open(self) -> T:
        """Enter the block: its value."""
        loop = running_loop()
        entered: asyncio.Future[T] = loop.create_future()
        self._owner = loop.create_task(self._own(entered), name=self._name)
        try:
            either: list[asyncio.Future[Any]] = [self._owner, entered]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._owner.cancel()
            await until_done(self._owner)
            raise
        if not entered.done():
            await self.close()
        return entered.result()

    async def close(self) -> None:
        """Leave the block and wait for its end; a cancellation makes it hurry. Raises the block's error."""
        if self._owner is None:
            return
        self._leave.set()
        await until_done(self._owner, hurry=self._owner.cancel)
        if self._failure is not None:
            raise self._failure

    async def _own(self, entered: "asyncio.Future[T]") -> None:
        try:
            async with self._block as value:
                entered.set_result(value)
                await self._leave.wait()
        except BaseException as error:
            # Kept for `close`: a task would pass SystemExit and KeyboardInterrupt to the loop.
            self._failure = error
            if entered.done() and not self._leave.is_set():
                self._on_break()
