"""`Batched`: an asynchronous iterator that can also hand over several items at once."""

from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import TypeVar

T = TypeVar("T")


class Batched(AsyncIterator[T]):
    """An iterator that knows which items are there without waiting.

    Not part of the public API: `async for` is enough where a step costs nothing. In lume_sync each step is a hop
    between threads, and what is ready shares one.
    """

    @abstractmethod
    def _take_ready(self, limit: int) -> list[T]:
        """Up to `limit` items that are there now; none means nothing but that the next one has to be awaited."""


def take_ready(source: AsyncIterator[T], limit: int) -> list[T]:
    """Up to `limit` items of the source that are there without waiting; none where it can't tell."""
    return source._take_ready(limit) if isinstance(source, Batched) else []
