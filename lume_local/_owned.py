"""Runs a block in its own task, so that `async with` may be entered in one task and left in another."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from lume_async._base.owned import Owned

T = TypeVar("T")


@asynccontextmanager
async def owned(block: AbstractAsyncContextManager[T], name: str) -> AsyncIterator[T]:
    """Enter and leave the block in one task. If it fails meanwhile, so does the body of this block."""
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
        host.uncancel()  # cancelled by `on_break`; the owner's error says why
    finally:
        await owner.close()
