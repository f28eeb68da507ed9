"""The table of a flow as text, and as a file that is replaced as a whole."""

import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path

from lume_async import Rows
from lume_async._base import platform
from lume_async._run.results.rows import in_decimals
from lume_async._run.row_text import CsvDialect
from lume_cli._output.text import as_json

_STATE = b"lume_etag"


async def as_lines(rows: Rows, kind: str) -> AsyncGenerator[str, None]:
    """Yield the rows as lines of NDJSON, or of CSV after a header."""
    names = list[str]()
    async for row in in_decimals(rows):
        if kind == "ndjson":
            yield as_json(row) + "\n"
            continue
        header, line = CsvDialect().lines([row], columns=names)
        if not names:
            names = list(row)
            yield header
        yield line


async def written(rows: Rows, place: Path) -> bool:
    """Write the rows to a file in the format of its suffix; return False if it has them already. Raises OSError."""
    suffix = place.suffix.lower()
    if suffix in (".csv", ".ndjson"):
        with _replacing(place) as draft, draft.open("w", encoding="utf-8", newline="") as text:
            async with aclosing(as_lines(rows, suffix[1:])) as lines:
                async for line in lines:
                    text.write(line)
        return True
    async with rows.to_arrow_batches() as batches:
        first = await anext(batches, None)
        from pyarrow import ArrowException, ipc, parquet  # there, or this would have failed

        schema = (await rows.to_arrow()).schema if first is None else first.schema
        with suppress(ArrowException, OSError):
            known = parquet.read_schema(place) if suffix == ".parquet" else ipc.open_file(place).schema
            if _STATE in (known.metadata or {}) and known.metadata == schema.metadata:
                return False
        make = parquet.ParquetWriter if suffix == ".parquet" else ipc.new_file
        with _replacing(place) as draft, make(str(draft), schema) as file:
            if first is not None:
                file.write_batch(first)
            async for batch in batches:
                file.write_batch(batch)
    return True


@contextmanager
def _replacing(place: Path) -> Iterator[Path]:
    """Yield the path of a draft beside the file, which it replaces at the end of the block."""
    draft = place.with_name(f".{place.name}.{uuid.uuid4().hex}.part")
    try:
        yield draft
        platform.replace(draft, place)
    finally:
        draft.unlink(missing_ok=True)
