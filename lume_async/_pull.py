"""Reading a plain or an asynchronous iterable alike."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def pull(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """The items, one by one; a plain iterable is stepped on the event loop and must not block."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
