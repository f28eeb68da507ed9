"""Paged lists: each page is fetched when the previous one has been read."""

from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from lume_async._base import arguments
from lume_async._http.sender import Sender
from lume_async._wire.call import Call
from lume_async._wire.endpoints import Page
from lume_async.errors import ResponseDecodeError

T = TypeVar("T")

EMPTY = 1000
"""After so many empty pages in a row, reading fails."""


async def pages(
    sender: Sender, ask: Callable[[int, str | None], Call[Page[T]]], size: int, limit: int | None = None
) -> AsyncGenerator[list[T], None]:
    """Yield the items of each page, even of an empty one; at most `limit` items altogether.

    Args:
        ask: builds the request for a number of items from a cursor on.

    Raises:
        ResponseDecodeError: the server repeats a cursor, or sends too many empty pages.
    """
    left, cursor = limit, None
    seen, empty = set[str](), 0
    while True:
        page = await sender.send(ask(size if left is None else min(size, left), cursor))
        items = page.items[:left]  # a server may send more than requested
        yield items
        left = None if left is None else left - len(items)
        if left == 0 or not page.next_cursor:
            return
        cursor, empty = page.next_cursor, 0 if items else empty + 1
        if empty == EMPTY:
            raise ResponseDecodeError(
                f"the server gave {EMPTY:,} pages in a row without an item, and each time another cursor @ $.items",
                retryable=False,
            )
        if cursor in seen:
            raise ResponseDecodeError(
                "the server gave the same cursor twice @ $.next_cursor", retryable=False
            )
        seen.add(cursor)


def check_limit(limit: int | None) -> None:
    """Raise `ValueError` unless `limit` is None or a positive whole number."""
    if limit is not None:
        arguments.whole(limit, "limit")
