"""Iterables of the two kinds that users have, read alike."""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def pull(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """The items, one by one; a plain iterable is stepped on the event loop and must not block.

    An asynchronous generator is closed at the end, an early one too: else only garbage collection would do it.
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
