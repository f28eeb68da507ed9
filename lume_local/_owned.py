"""A block in a task of its own, so that `async with` may be entered in one task and left in another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from lume_async._base.owned import Owned

T = TypeVar("T")


@asynccontextmanager
async def owned(block: AbstractAsyncContextManager[T], name: str) -> AsyncIterator[T]:
    """The block, entered and left in one task. If it ends by itself, with an error, so does what is in it here."""
    host = asyncio.current_task()
    assert host is not None
    broke = False

    def on_break() -> None:
        nonlocal broke
        broke = True
        host.cancel()

    owner = Owned(block, name, on_break)
    value = await owner.open()
    try:
        yield value
    except asyncio.CancelledError:
        if not broke:
            raise
        host.uncancel()  # it was this file that cancelled; the owner's error says why
    finally:
        await owner.close()
