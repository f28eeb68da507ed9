"""Paged lists, in which each page is fetched when the previous one has been read, and their filters."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from itertools import takewhile
from typing import TypeVar

from lume_async._base import arguments
from lume_async._base.batched import Chunked, Items
from lume_async._base.duration import Duration, seconds
from lume_async._base.public import public
from lume_async._http.sender import Sender
from lume_async._run.state import RunState
from lume_async._wire import endpoints
from lume_async._wire.call import Call
from lume_async._wire.endpoints import Filters, Page
from lume_async.errors import ResponseDecodeError
from lume_async.models import RunRecord, plain_text

T = TypeVar("T")
Run = TypeVar("Run", bound=RunState)

RUNS = 100
"""Runs per request."""

EMPTY = 1000
"""Reading fails after this many empty pages in a row."""


@public
class Paged(Chunked[T]):
    """An iterator over a list of the server, which is fetched page by page, as `list_runs` returns it.

    Examples:
        >>> async with client.list_runs(flow="customer_cleaner") as found:
        ...     newest = await anext(found)
    """

    def __init__(
        self, source: Callable[[], AsyncGenerator[Page[T], None]], what: str, limit: int | None
    ) -> None:
        check_limit(limit)
        super().__init__(cut(source(), limit), what)
        self._source = source

    def pages(self) -> Items[Page[T]]:
        """Return an iterator over whole pages, from the beginning, each with the cursor from which to go on later.

        A page may be empty. Pass its `cursor` to the same method with the same arguments, also in another process.

        Examples:
            >>> async for page in client.list_runs(limit=500).pages():
            ...     print(len(page.items), page.cursor)
        """
        return Chunked(self._each(), f"pages of {self.what}")

    async def _each(self) -> AsyncGenerator[list[Page[T]], None]:
        async with aclosing(self._source()) as found:
            async for page in found:
                yield [page]


async def cut(source: AsyncGenerator[Page[T], None], left: int | None) -> AsyncGenerator[list[T], None]:
    """Yield the items of each page, even of an empty one; `left` altogether, as a server may send more."""
    async with aclosing(source) as found:
        async for page in found:
            yield page.items[:left]
            left = None if left is None else max(0, left - len(page.items))


async def pages(
    sender: Sender, ask: Callable[[int, str | None], Call[Page[T]]], size: int, limit: int | None = None
) -> AsyncGenerator[Page[T], None]:
    """Yield each page, even an empty one, until they have `limit` items. Raises `ResponseDecodeError`.

    `ask` builds the request for a number of items from a cursor on.
    """
    left, cursor = limit, None
    seen, empty = set[str](), 0
    while True:
        page = await sender.send(ask(size if left is None else min(size, left), cursor))
        yield page
        left = None if left is None else max(0, left - len(page.items))
        if left == 0 or not page.cursor:
            return
        cursor, empty = page.cursor, 0 if len(page.items) else empty + 1
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


def run_pages(
    sender: Sender,
    filters: Filters,
    handle: Callable[[RunRecord], Run],
    oldest: datetime | None = None,
    limit: int | None = None,
) -> Paged[Run]:
    """Return the runs that match, newest first.

    The list ends at runs before `oldest`, even if the server does not know the parameter `since`.
    """

    def ask(size: int, cursor: str | None) -> Call[Page[RunRecord]]:
        return endpoints.runs({**filters, **_since(oldest), "limit": str(size)}, cursor)

    async def source() -> AsyncGenerator[Page[Run], None]:
        async with aclosing(pages(sender, ask, RUNS, limit)) as found:
            async for page in found:
                runs = [handle(record) for record in page.items]
                young = list(takewhile(lambda run: _is_young(run, oldest), runs))
                is_end = len(young) < len(runs)  # newest first: all that follow are older
                yield Page(young, None if is_end else page.cursor)
                if is_end:
                    return

    return Paged(source, "runs", limit)


def _is_young(run: RunState, oldest: datetime | None) -> bool:
    return oldest is None or run.created_at is None or run.created_at >= oldest


def items(
    sender: Sender,
    ask: Callable[[int, str | None], Call[Page[T]]],
    size: int,
    limit: int | None,
    what: str,
) -> Paged[T]:
    """Return the items of all pages; `what` describes them in the repr. Raises `ValueError` for an invalid limit."""
    return Paged(lambda: pages(sender, ask, size, limit), what, limit)


def filters_of(
    sender: Sender, since: datetime | Duration | None = None, **texts: str | None
) -> dict[str, str | list[str]]:
    """Return the arguments that are not None as parameters of a query. Raises `ValueError`, `InvalidRequestError`."""
    found = {name: plain_text(value, name) for name, value in texts.items() if value is not None}
    return {**found, **_since(oldest(sender, since))}


def oldest(sender: Sender, since: datetime | Duration | None) -> datetime | None:
    """Return the time before which items are too old; None for no limit. Raises `ValueError`."""
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise ValueError("since must be an aware datetime, such as datetime.now(UTC)")
        return since
    if since is None:
        return None
    # `fromtimestamp` fails for times long before 1970.
    return datetime.fromtimestamp(max(0.0, sender.clock.wall() - seconds(since, "since")), UTC)


def _since(moment: datetime | None) -> dict[str, str]:
    return {} if moment is None else {"since": moment.astimezone(UTC).isoformat()}


def check_limit(limit: int | None) -> None:
    """Raise `ValueError` unless `limit` is None or a positive whole number."""
    if limit is not None:
        arguments.whole(limit, "limit")
