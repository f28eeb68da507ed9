"""`pull`: reads plain and asynchronous iterables alike."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def pull(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """Yield the items; a plain iterable is stepped on the event loop and must not block.

    An asynchronous generator is always closed at the end, not left to garbage collection.
    """
    if isinstance(items, AsyncIterable):
        try:
            async for item in items:
                yield item
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()
    else:
        for item in items:
            yield item
