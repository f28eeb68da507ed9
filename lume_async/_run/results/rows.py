"""`Rows`: the rows that a run has mapped or rejected, fetched as needed."""

import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import aclosing
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from attrs import evolve

from lume_async._base.batched import Chunked, Items
from lume_async._base.public import public
from lume_async._http.sender import Sender
from lume_async._run.pages import check_limit, cut, pages
from lume_async._run.results import frames
from lume_async._wire.call import Call
from lume_async._wire.endpoints import Page
from lume_async._wire.row_endpoints import Row, RowsOf, arrow_rows, rows
from lume_async.errors import InvalidRequestError, MissingLibraryError, NotSupportedError, ResponseDecodeError

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

PAGE, ARROW_PAGE = 1000, 100_000
"""Rows per request, as JSON and as Arrow."""


@public
class Rows(Items[dict[str, Any]]):
    """The rows of a run's output, or of a flow's table: an iterator of dicts, with one page in memory.

    A rejected row has `_lume_row` (its number among the parsed rows), `_lume_line` (the line of the file on which it
    begins, None if there are no lines), `_lume_reasons` (a list), and the columns of the source. A malformed line has
    no `_lume_row`, and `_lume_raw` is its text; a record of JSON or XML has its path as `_lume_path`.
    Numbers keep all their digits: one that a `float` would change, for example of a `DECIMAL(38,2)`, is a
    `decimal.Decimal`.

    `to_arrow`, `to_arrow_batches`, `to_polars` and `to_pandas` always fetch all rows, even if the iterator has read
    some.

    Raises:
        InvalidRequestError: raised by the iteration: the run has not ended, has no output, or its output was changed
            since.
        NotSupportedError: raised by the iteration: the server does not offer rows.
        ApiError: raised by the iteration: see the tree in `lume_async.errors`.

    Examples:
        >>> async for row in run.mapped():
        ...     print(row["customer_id"], row["balance"])
    """

    def __init__(
        self,
        sender: Sender,
        of: RowsOf,
        *,
        limit: int | None = None,
        reasons: Callable[[], Awaitable[Collection[str]]] | None = None,
    ) -> None:
        check_limit(limit)
        self._sender, self._of, self._limit, self._reasons = sender, of, limit, reasons
        self._rows = Chunked(self._fetch())

    async def __anext__(self) -> dict[str, Any]:
        return await anext(self._rows)

    async def aclose(self) -> None:
        await self._rows.aclose()

    async def to_arrow(self) -> "pyarrow.Table":
        """Return all rows as a `pyarrow.Table`.

        If the server sends Arrow, each column has the type of the output: the flow's type, or the source's for
        rejects of a Parquet file. Otherwise the types are inferred from the values, as in `to_polars`.

        Raises:
            MissingLibraryError: pyarrow is not installed (extra `arrow`).
            ResponseDecodeError: the pages have different columns, or values that no table takes.

        Examples:
            >>> table = await run.mapped().to_arrow()
        """
        pyarrow = await _library("pyarrow")
        async with aclosing(self._tables(pyarrow)) as found:
            tables = [table async for table in found]
        return await to_thread.run_sync(pyarrow.concat_tables, tables, abandon_on_cancel=True)

    def to_arrow_batches(self) -> Items["pyarrow.RecordBatch"]:
        """Return all rows as `pyarrow.RecordBatch`es with one schema, as in `to_arrow`; about 8 MB of them in memory.

        If the server sends JSON only, all rows are in memory before the first batch.

        Raises:
            MissingLibraryError: pyarrow is not installed (extra `arrow`); raised by the first step.
            ResponseDecodeError: a batch has other columns than the first; the message says where and how.

        Examples:
            >>> async for batch in run.mapped().to_arrow_batches():
            ...     print(batch.num_rows)
        """
        return Chunked(self._batches(), f"batches of {self!r}")

    async def to_polars(self) -> "polars.DataFrame":
        """Return all rows as a `polars.DataFrame`. Even if empty, it has the columns, provided pyarrow is installed.

        Raises:
            MissingLibraryError: polars is not installed.

        Examples:
            >>> frame = await run.rejects().to_polars()
        """
        library = await _library("polars")
        frame: polars.DataFrame = await self._to_frame(library, frames.to_polars, library.from_arrow)
        return frame

    async def to_pandas(self) -> "pandas.DataFrame":
        """Return all rows as a `pandas.DataFrame`. Even if empty, it has the columns, provided pyarrow is installed.

        Raises:
            MissingLibraryError: pandas is not installed.

        Examples:
            >>> frame = await run.rejects().to_pandas()
        """
        return await self._to_frame(await _library("pandas"), frames.to_pandas, methodcaller("to_pandas"))

    def __repr__(self) -> str:
        """Return the run, the kind of rows, and how to get them."""
        limit = "" if self._limit is None else f", limit={self._limit}"
        return f"<Rows of {self._of.name}{limit}; iterate over it, or call to_pandas()>"

    def _take_ready(self, limit: int) -> list[Row]:
        return self._rows._take_ready(limit)

    def _fetch(self) -> AsyncGenerator[list[Row], None]:
        return self._pages(partial(rows, self._of), PAGE)

    async def _pages(self, call: Callable[..., Call[Page[Row]]], size: int) -> AsyncGenerator[Any, None]:
        """Yield page after page; warn if no row has the reason."""
        none = True

        def ask(limit: int, cursor: str | None) -> Call[Page[Row]]:
            return call(limit=limit, cursor=cursor)

        async with aclosing(cut(pages(self._sender, ask, size, self._limit), self._limit)) as found:
            async for page in found:
                none = none and not len(page)
                yield page
        if none and self._reasons is not None and (reason := self._of.filters.get("reason")):
            _warn(self._of, str(reason), await self._reasons())

    async def _tables(self, pyarrow: Any) -> AsyncGenerator[Any, None]:
        """Yield tables of one schema: each page, or all rows at once if the server sends JSON only."""
        first, batches = None, 0
        try:
            call = partial(arrow_rows, self._of, pyarrow)
            async with aclosing(self._pages(call, ARROW_PAGE)) as found:
                async for table in found:
                    first = table.schema if first is None else first
                    frames.check_schema(first, table.schema, batches + 1)
                    batches += len(table.to_batches())
                    yield table
            return
        except (NotSupportedError, InvalidRequestError) as error:
            # A server that knows no Arrow may also refuse such a large page. JSON will show a real error, too.
            if first is not None or not (isinstance(error, NotSupportedError) or error.status_code == 400):
                raise
        yield await self._to_table(pyarrow, frames.to_arrow)

    async def _batches(self) -> AsyncGenerator[list[Any], None]:
        async with aclosing(self._tables(await _library("pyarrow"))) as found:
            async for table in found:
                yield table.to_batches()

    async def _to_frame(
        self, library: Any, frame: Callable[[Any, list[Row]], Any], from_arrow: Callable[[Any], Any]
    ) -> Any:
        """Do as `_to_table`; if there are no rows, get the columns from Arrow, as JSON has none."""
        found = await self._to_table(library, frame)
        if len(found):
            return found
        try:
            table = await Rows(self._sender, self._of, limit=1).to_arrow()
        except MissingLibraryError:
            return found
        return from_arrow(table.slice(0, 0))

    async def _to_table(self, library: Any, frame: Callable[[Any, list[Row]], Any]) -> Any:
        """Return all rows as a table of that library, from JSON; the slow conversion runs in a thread."""
        async with aclosing(self._fetch()) as found:
            rows = [row async for page in found for row in page]
        try:
            return await to_thread.run_sync(frame, library, rows, abandon_on_cancel=True)
        except Exception as error:  # each library has errors of its own
            reason = f"{type(error).__name__}: {error}"
        raise ResponseDecodeError(f"the rows can't become a table: {reason}", retryable=False)


def in_decimals(rows: Rows) -> Rows:
    """Return the same rows, from the first, with all digits of their fractions: 1.00 is no float, which has 1.0."""
    return Rows(rows._sender, evolve(rows._of, has_decimals=True), limit=rows._limit, reasons=rows._reasons)


async def _library(name: str) -> Any:
    """Import a library, in a thread. Raises `MissingLibraryError`."""
    return await to_thread.run_sync(frames.library, name, abandon_on_cancel=True)


def _warn(of: RowsOf, reason: str, counted: Collection[str]) -> None:
    """Warn that no row has the reason, which may be misspelled, unless the run has no rejects."""
    if not counted or reason in counted:
        return
    from difflib import get_close_matches

    near = get_close_matches(reason, counted, n=1)
    part = [one for one in counted if reason.lower() in one.lower()]
    meant = f"did you mean {(part or near)[0]!r}? " if part or near else ""
    warnings.warn(
        f"no row of run {of.run_id} was rejected for the reason {reason!r}: {meant}Its reasons: {'; '.join(counted)}",
        stacklevel=2,
    )
