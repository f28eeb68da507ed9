"""Asynchronous context managers for synchronous code: entered and left by the same task."""

import asyncio
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, TypeAlias

from lume_sync._hops.iteration import Items
from lume_sync._hops.owner import Owner, refuse_others, settle
from lume_sync._hops.portal import Portal

Exit: TypeAlias = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]
Manager: TypeAlias = AbstractAsyncContextManager[Any, Any]


class Held:
    """An asynchronous context manager, entered and left from any thread.

    Garbage collection also leaves the manager: a Ctrl-C between two steps of a `with` statement can prevent its exit.

    Args:
        portal: runs calls on the loop.
        manager: the context manager.
        steps: the iteration of its items, which ends with the context.
    """

    def __init__(self, portal: Portal, manager: Manager, steps: Items[Any] | None = None) -> None:
        self._owner = _Context(portal, manager, steps, self)

    async def enter(self) -> None:
        """Enter the manager, on the loop."""
        await self._owner.enter()

    async def leave(self, *error: Any) -> bool:
        """Leave the manager, on the loop; return whether it suppresses the error."""
        return await self._owner.leave(error)

    def __del__(self) -> None:
        owner = getattr(self, "_owner", None)  # None: the constructor failed
        if owner is not None:
            owner.drop()


class _Context(Owner):
    """Owns an asynchronous context manager from its entry to its exit."""

    def __init__(self, portal: Portal, manager: Manager, steps: Items[Any] | None, handle: Held) -> None:
        super().__init__(portal, handle)
        self._manager = manager
        self._steps = steps
        self._leaving: asyncio.Future[Any] | None = None
        self._left: asyncio.Future[bool] | None = None

    async def enter(self) -> None:
        loop = asyncio.get_running_loop()
        entered: asyncio.Future[None] = loop.create_future()
        leaving, left = loop.create_future(), loop.create_future()
        self.begin(self._own(entered, leaving, left))
        if self._steps is not None:
            self._steps._bind(self.engine)
        try:
            await entered
        except asyncio.CancelledError:  # Ctrl-C in the caller
            await self.cancel()
            raise
        self._leaving, self._left = leaving, left

    async def leave(self, error: Any) -> bool:
        refuse_others(self.portal, self.engine, "block")
        if self._leaving is None or self._left is None:
            raise RuntimeError("this context was not entered, or was left")
        settle(self._leaving, error)
        left = self._left
        self._leaving = self._left = None  # they would keep the frames of the error's traceback alive
        try:
            return await asyncio.shield(left)
        except asyncio.CancelledError:
            await self.cancel()
            raise

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
        except asyncio.CancelledError as error:  # garbage-collected, or the portal is closing
            reason = (type(error), error, error.__traceback__)
        settle(left, await self._exit(reason))

    async def _exit(self, reason: Exit) -> bool | BaseException:
        try:
            try:
                return bool(await self._manager.__aexit__(*reason))
            finally:
                if self._steps is not None:
                    await self._steps._stop()
        except BaseException as error:
            return error
