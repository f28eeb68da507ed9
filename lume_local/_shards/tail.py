"""Whether a shard of a CSV file ends where a record does: what makes cutting at quotes that are counted certain.

A shard is read from its first record on, as the whole file would be read there. That goes on just the same up to the
shard's end, unless a record begins within it and ends behind it. Then the shard holds no more than the beginning of
that record; its first line is refused, with an odd number of quotes in it; nothing up to the shard's end closes the
last of them; and it is no further from there than a record may be long.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lume_local._shards.split import Quotes
from lume_local._worker.sources.formats.dialect import LINE_END, Dialect
from lume_local._worker.sources.intake import Malformed

_LINE_END = re.compile(LINE_END)


def ends_within_a_record(path: Path, malformed: Malformed, flow: dict[str, Any]) -> bool:
    """Whether a record goes on behind the end of the file at `path`, of which these lines were refused."""
    quotes = Quotes(flow["csv"])
    if not quotes.quote or not malformed.total:
        return False
    refused = {raw for _, _, raw in malformed.rows() if quotes.are_odd(raw)}
    if not refused:
        return False
    with path.open("rb") as file:
        size = file.seek(0, 2)
        start = max(0, size - flow["max_line_bytes"] - 2)
        file.seek(start)
        tail = file.read()
    unclosed = re.compile(Dialect.of(flow["csv"]).unclosed)
    return any(
        line in refused and unclosed.match(tail, at) is not None for at, line in _lines(tail, whole=not start)
    )


def _lines(data: bytes, *, whole: bool) -> Iterator[tuple[int, bytes]]:
    """Where each line begins, and the line; of a part of a file without the first one, which may be half a line."""
    at = 0
    for end in _LINE_END.finditer(data):
        if at or whole:
            yield at, data[at : end.start()]
        at = end.end()
