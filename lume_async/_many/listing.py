"""Listing runs: page after page, each fetched when the one before has been read."""

from collections.abc import AsyncGenerator

from lume_async._http.sender import Sender
from lume_async._many.iterables import Chunked
from lume_async._run.handle import LumeRun
from lume_async._wire import endpoints
from lume_async.errors import ResponseDecodeError
from lume_async.models import RunStatus

PAGE = 100
"""How many runs one request asks for."""


def list_runs(
    sender: Sender,
    *,
    flow_version: str | None,
    source_path: str | None,
    status: RunStatus | str | None,
    limit: int | None,
) -> Chunked[LumeRun]:
    """The runs that match, newest first.

    Raises:
        ValueError: `limit` is no whole number of at least 1.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"limit must be a whole number of at least 1, not {limit!r}")
    asked = {"flow_version": flow_version, "source_path": source_path, "status": status}
    filters = {name: str(value) for name, value in asked.items() if value is not None}
    return Chunked(_pages(sender, filters, limit))


async def _pages(
    sender: Sender, filters: dict[str, str], limit: int | None
) -> AsyncGenerator[list[LumeRun], None]:
    left, cursor = limit, None
    seen: set[str] = set()
    while True:
        size = PAGE if left is None else min(PAGE, left)
        page = await sender.send(endpoints.runs({**filters, "limit": str(size)}, cursor))
        records = page.items[:left]  # a server may give more than it was asked for
        yield [LumeRun(sender, record.id, record) for record in records]
        left = None if left is None else left - len(records)
        if left == 0 or page.next_cursor is None:
            return
        if page.next_cursor in seen:
            raise ResponseDecodeError(
                "the server gave the same cursor twice @ $.next_cursor", retryable=False
            )
        cursor = page.next_cursor
        seen.add(cursor)
