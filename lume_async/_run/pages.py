"""A list that comes in pages: each is fetched when the one before has been read."""

from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from lume_async._http.sender import Sender
from lume_async._wire.call import Call
from lume_async._wire.endpoints import Page
from lume_async.errors import ResponseDecodeError

T = TypeVar("T")

EMPTY = 1000
"""After so many pages in a row without an item the server is not believed that there is more."""


async def pages(
    sender: Sender, ask: Callable[[int, str | None], Call[Page[T]]], size: int, limit: int | None = None
) -> AsyncGenerator[list[T], None]:
    """The items of each page, also of an empty one; at most `limit` of all of them.

    Args:
        ask: makes the request for so many items from a cursor on.
        size: how many items one request asks for.

    Raises:
        ResponseDecodeError: the server would lead in a circle, or on and on.
    """
    left, cursor = limit, None
    seen, empty = set[str](), 0
    while True:
        page = await sender.send(ask(size if left is None else min(size, left), cursor))
        items = page.items[:left]  # a server may give more than it was asked for
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
    """Raises `ValueError` where it is no number of items."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"limit must be a whole number of at least 1, not {limit!r:.60}")
