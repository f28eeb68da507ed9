"""`Rows`: the rows that a run has mapped or rejected, as they are needed."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

from lume_async._base.batched import Batched, Chunked
from lume_async._base.public import public
from lume_async._http.sender import Sender
from lume_async._run import frames
from lume_async._run.pages import check_limit, pages
from lume_async._wire.row_endpoints import Part, Row, rows

PAGE = 1000
"""How many rows one request asks for."""


@public
class Rows(Batched[dict[str, Any]]):
    """The rows of a run's output: an iterator of dicts, one page of them in memory.

    A rejected row has `_lume_row` (its number in the source), `_lume_line` (the line of what is no row),
    `_lume_reasons` (a list), and the columns of the source as they were; of a malformed line also `_lume_raw`, its
    text.

    `to_arrow`, `to_polars` and `to_pandas` fetch all rows from the first one on, whatever was read of the iterator.
    """

    def __init__(
        self, sender: Sender, run_id: str, part: Part, *, reason: str | None = None, limit: int | None = None
    ) -> None:
        check_limit(limit)
        self._sender, self._run_id = sender, run_id
        self._part: Part = part
        self._reason, self._limit = reason, limit
        self._rows = Chunked(self._fetched())

    def __aiter__(self) -> "Rows":
        """The iterator itself."""
        return self

    async def __anext__(self) -> dict[str, Any]:
        """The next row.

        Raises:
            InvalidRequestError: the run has not ended, has no output, or its output was changed since.
            NotSupportedError: the server gives no rows.
            ApiError: see the tree in `lume_async.errors`.
        """
        return await anext(self._rows)

    async def to_arrow(self) -> Any:
        """All rows as a `pyarrow.Table`.

        Raises:
            MissingLibraryError: pyarrow is not installed.
        """
        return await self._framed("pyarrow", frames.to_arrow)

    async def to_polars(self) -> Any:
        """All rows as a `polars.DataFrame`.

        Raises:
            MissingLibraryError: polars is not installed.
        """
        return await self._framed("polars", frames.to_polars)

    async def to_pandas(self) -> Any:
        """All rows as a `pandas.DataFrame`.

        Raises:
            MissingLibraryError: pandas is not installed.
        """
        return await self._framed("pandas", frames.to_pandas)

    def __repr__(self) -> str:
        """Which rows of which run."""
        return f"Rows({self._run_id!r}, {self._part!r})"

    def _take_ready(self, limit: int) -> list[Row]:
        return self._rows._take_ready(limit)

    def _fetched(self) -> AsyncGenerator[list[Row], None]:
        return pages(
            self._sender,
            lambda size, cursor: rows(
                self._run_id, self._part, reason=self._reason, limit=size, cursor=cursor
            ),
            PAGE,
            self._limit,
        )

    async def _framed(self, name: str, frame: Callable[[Any, list[Row]], Any]) -> Any:
        """All rows as a table of that library; importing and converting take a while, in a thread."""
        library = await asyncio.to_thread(frames.library, name)
        rows = [row async for page in self._fetched() for row in page]
        return await asyncio.to_thread(frame, library, rows)
