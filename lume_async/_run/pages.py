"""Paged lists: each page is fetched when the previous one has been read."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import takewhile
from typing import TypeVar

from lume_async._base import arguments
from lume_async._http.sender import Sender
from lume_async._run.state import RunState
from lume_async._wire import endpoints
from lume_async._wire.call import Call
from lume_async._wire.endpoints import Page
from lume_async.errors import ResponseDecodeError
from lume_async.models import RunRecord

T = TypeVar("T")

RUNS = 100
"""Runs per request."""

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


async def run_pages(
    sender: Sender,
    filters: Mapping[str, str | list[str]],
    oldest: datetime | None = None,
    limit: int | None = None,
) -> AsyncGenerator[list[RunState], None]:
    """Yield the runs that match, newest first, page by page.

    Args:
        oldest: older runs end the list, even if the server does not know the parameter `since`.
    """
    if oldest is not None:
        filters = {**filters, "since": oldest.astimezone(UTC).isoformat()}

    def ask(size: int, cursor: str | None) -> Call[Page[RunRecord]]:
        return endpoints.runs({**filters, "limit": str(size)}, cursor)

    async with aclosing(pages(sender, ask, RUNS, limit)) as found:
        async for page in found:
            runs = [RunState(record.id, record) for record in page]
            young = list(takewhile(lambda run: _is_young(run, oldest), runs))
            yield young
            if len(young) < len(runs):  # newest first: all that follow are older
                return


def _is_young(run: RunState, oldest: datetime | None) -> bool:
    return oldest is None or run.created_at is None or run.created_at >= oldest


def check_limit(limit: int | None) -> None:
    """Raise `ValueError` unless `limit` is None or a positive whole number."""
    if limit is not None:
        arguments.whole(limit, "limit")
