"""Context managers that cross the hop: entered and left by the same task."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from lume_sync._owner import Owner, settle
from lume_sync._portal import Portal

Exit = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class Held(Owner):
    """Owns an asynchronous context manager from its entry to its exit.

    Args:
        portal: the way to the loop.
        manager: what to enter and to leave.
        afterwards: awaited when it was left, however it was left.
    """

    def __init__(
        self,
        portal: Portal,
        manager: AbstractAsyncContextManager[Any, Any],
        afterwards: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(portal)
        self._manager = manager
        self._afterwards = afterwards
        self._leaving: asyncio.Future[Exit] | None = None
        self._left: asyncio.Future[bool] | None = None

    async def enter(self) -> None:
        """On the loop: enter the manager."""
        loop = asyncio.get_running_loop()
        entered: asyncio.Future[None] = loop.create_future()
        self._leaving, self._left = loop.create_future(), loop.create_future()
        self.begin(self._own(entered, self._leaving, self._left))
        try:
            await entered
        except asyncio.CancelledError:  # Ctrl-C in the caller
            await self.cancel()
            raise

    async def leave(self, *error: Any) -> bool:
        """On the loop: leave the manager; whether it swallows the error."""
        if self._leaving is None or self._left is None:
            raise RuntimeError("this context was never entered")
        settle(self._leaving, error)
        try:
            return await asyncio.shield(self._left)
        except asyncio.CancelledError:
            await self.cancel()
            raise
        finally:
            if self._afterwards is not None:
                await self._afterwards()

    async def _own(
        self,
        entered: "asyncio.Future[None]",
        leaving: "asyncio.Future[Exit]",
        left: "asyncio.Future[bool]",
    ) -> None:
        try:
            await self._manager.__aenter__()
        except BaseException as error:
            settle(entered, error)
            return
        settle(entered, None)
        try:
            reason = await leaving
        except asyncio.CancelledError as error:  # the portal is being closed
            reason = (type(error), error, error.__traceback__)
        try:
            swallowed = await self._manager.__aexit__(*reason)
        except BaseException as error:
            settle(left, error)
        else:
            settle(left, bool(swallowed))
