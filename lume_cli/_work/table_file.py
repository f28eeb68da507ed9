"""The table of a flow as text, and as a file that is replaced as a whole."""

import uuid
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from lume_async import Client, Rows
from lume_async._base import platform
from lume_async._run.results.frames import library
from lume_async._run.row_text import CsvDialect
from lume_async._wire.endpoints import path_of
from lume_async._wire.row_endpoints import STATE, RowsOf
from lume_cli._output.text import as_json


async def as_lines(rows: AsyncIterable[dict[str, Any]], kind: str) -> AsyncGenerator[str, None]:
    """Yield the rows as lines of NDJSON, or of CSV after a header."""
    names = list[str]()
    async for row in rows:
        if kind == "ndjson":
            yield as_json(row) + "\n"
            continue
        header, line = CsvDialect().lines([row], columns=names or row)
        if not names:
            names = list(row)
            yield header
        yield line


async def written(client: Client, of: RowsOf, rows: Rows, place: Path) -> bool:
    """Write the rows to a file in the format of its suffix; return False if it has them already. Raises OSError."""
    suffix = place.suffix.lower()
    if suffix in (".csv", ".ndjson"):
        with _Draft(place) as draft, draft.path.open("w", encoding="utf-8", newline="") as file:
            async with aclosing(as_lines(rows, suffix[1:])) as lines:
                async for line in lines:
                    file.write(line)
        return True
    pyarrow = library("pyarrow")
    parquet = library("pyarrow.parquet")
    with suppress(pyarrow.ArrowException, FileNotFoundError):
        schema = parquet.read_schema(place) if suffix == ".parquet" else pyarrow.ipc.open_file(place).schema
        if state := (schema.metadata or {}).get(STATE):
            asked = path_of(of.path, {**of.filters, "limit": "1"})
            if (await client.request("GET", asked, headers={"If-None-Match": state.decode()})).status == 304:
                return False
    opened = parquet.ParquetWriter if suffix == ".parquet" else pyarrow.ipc.new_file
    with _Draft(place) as draft:
        writer = None
        async with rows.to_arrow_batches() as batches:
            async for batch in batches:
                writer = writer or opened(str(draft.path), batch.schema)
                writer.write_batch(batch)
        if writer is None:
            writer = opened(str(draft.path), (await rows.to_arrow()).schema)
        writer.close()
    return True


class _Draft:
    """A file beside the one that it replaces at the end of the block, unless that fails."""

    def __init__(self, place: Path) -> None:
        self._place, self.path = place, place.with_name(f".{place.name}.{uuid.uuid4().hex}.part")

    def __enter__(self) -> "_Draft":
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        try:
            if failure is None:
                platform.replace(self.path, self._place)
        finally:
            self.path.unlink(missing_ok=True)
