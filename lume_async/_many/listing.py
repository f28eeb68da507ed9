"""Listing runs: page after page, each fetched when the one before has been read."""

from collections.abc import AsyncGenerator, Collection, Mapping
from datetime import UTC, datetime

from lume_async._base.duration import Duration, seconds
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
    status: RunStatus | str | Collection[RunStatus | str] | None,
    since: datetime | Duration | None,
    limit: int | None,
) -> Chunked[LumeRun]:
    """The runs that match, newest first.

    Raises:
        ValueError: an argument that makes no sense; no request was sent.
    """
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise ValueError(f"limit must be a whole number of at least 1, not {limit!r}")
    statuses = [status] if isinstance(status, str) else status
    if statuses is not None and not statuses:
        raise ValueError("status must name a status: an empty collection matches no run")
    asked = {"flow_version": flow_version, "source_path": source_path}
    filters: dict[str, str | list[str]] = {
        name: str(value) for name, value in asked.items() if value is not None
    }
    if statuses is not None:
        filters["status"] = [str(one) for one in statuses]
    return Chunked(_pages(sender, filters, _oldest(sender, since), limit))


def _oldest(sender: Sender, since: datetime | Duration | None) -> datetime | None:
    """The moment before which runs are too old."""
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise ValueError("since must be an aware datetime, such as datetime.now(UTC)")
        return since
    if since is None:
        return None
    return datetime.fromtimestamp(sender.clock.wall() - seconds(since, "since"), UTC)


async def _pages(
    sender: Sender, filters: Mapping[str, str | list[str]], oldest: datetime | None, limit: int | None
) -> AsyncGenerator[list[LumeRun], None]:
    left, cursor = limit, None
    seen: set[str] = set()
    while True:
        size = PAGE if left is None else min(PAGE, left)
        page = await sender.send(endpoints.runs({**filters, "limit": str(size)}, cursor))
        # A server may give more than it was asked for.
        runs = [LumeRun(sender, record.id, record) for record in page.items[:left]]
        young = [run for run in runs if oldest is None or run.created_at is None or run.created_at >= oldest]
        yield young
        left = None if left is None else left - len(runs)
        if left == 0 or page.next_cursor is None or len(young) < len(runs):  # they come newest first
            return
        if page.next_cursor in seen:
            raise ResponseDecodeError(
                "the server gave the same cursor twice @ $.next_cursor", retryable=False
            )
        cursor = page.next_cursor
        seen.add(cursor)
