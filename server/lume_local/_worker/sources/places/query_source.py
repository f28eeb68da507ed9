"""A database query as a source.

Its rows are stored as they arrive, with a note beside them, and read as the format `rows`.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from lume_local._shared.identity import SourceContent
from lume_local._worker.databases.access import Query
from lume_local._worker.databases.database import DatabaseTrouble, DatabaseUrl, Row
from lume_local._worker.databases.kinds import QUERIES
from lume_local._worker.sources.formats.names import relation_of_table, visible_columns
from lume_local._worker.sources.intake import Reading
from lume_local._worker.sources.source import File, Pause, Single, SourceError, no_pause
from lume_local._worker.sql import RowsFile
from lume_local._worker.statements import Relation


class QuerySource:
    """See `Source`.

    Args:
        place: `{"kind": "query", "url_env": …, "query": …, "source_path": …}`.
    """

    def __init__(self, place: dict[str, Any], flow: dict[str, Any]) -> None:
        self._place, self._flow = place, flow
        self.places: list[str] = []

    def check(self, pause: Pause = no_pause) -> None:
        with self._begun():
            pass

    def content(
        self, known: SourceContent | None, most: int, pause: Pause = no_pause
    ) -> SourceContent | None:
        """Return None: a query's rows are unknown until they have arrived."""
        return None

    def each(self) -> list[Single]:
        """Return nothing: there are no files, only the whole."""
        return []

    def fetch(self, folder: Path, pause: Pause) -> list[File]:
        path = folder / "rows"
        with self._begun() as (query, shown):
            batches = _paused(query.batches(), pause)
            write_rows(path, query.names, batches, self._flow["max_line_bytes"], shown)
        return [File(path, shown, "rows", path.stat().st_size)]

    @contextmanager
    def _begun(self) -> Iterator[tuple[Query, str]]:
        """Run the query for the duration of the block, and yield its name in messages, too."""
        try:
            url = DatabaseUrl.of(self._place["url_env"])
            shown = f"the query on {url.shown}"
            begun = QUERIES[url.scheme](url, self._place["query"], self._place["source_path"])
            with closing(begun) as query:
                if not query.names:
                    raise SourceError(f"{shown} gives no columns: it must be a SELECT")
                visible_columns(self._flow, query.names, shown)
                yield query, shown
        except DatabaseTrouble as trouble:
            raise SourceError(str(trouble), may_pass=trouble.may_pass) from None

    def check_unchanged(self, pause: Pause = no_pause) -> None:
        """Do nothing: a query sees one state of the database."""

    def close(self) -> None:
        """Do nothing: no connection is still open."""


def _paused(batches: Iterator[list[Row]], pause: Pause) -> Iterator[list[Row]]:
    for batch in batches:
        pause()
        yield batch


def write_rows(path: Path, names: list[str], batches: Iterable[list[Row]], longest: int, shown: str) -> None:
    """Write and count all rows. Raises `SourceError` if one has more than `longest` characters."""
    rows = 0
    with closing(RowsFile(path, len(names))) as file:
        for row in chain.from_iterable(batches):
            rows += 1
            length = sum(len(value) for value in row if value is not None)
            if length > longest:
                raise SourceError(
                    f"row {rows:,} of {shown} has {length:,} characters: source.max_line_bytes is {longest:,}"
                )
            file.write(row)
    _note(path).write_text(json.dumps({"names": names, "rows": rows, "reader": file.reader}))


def read_rows(reading: Reading) -> Relation:
    """Return the relation of rows written by `write_rows`. Raises `SourceError`."""
    note = json.loads(_note(reading.path).read_text())
    reading.account.records += note["rows"]
    names = note["names"]
    visible = visible_columns(reading.flow, names, reading.shown)
    return relation_of_table(note["reader"], reading.flow, names, visible)


def _note(path: Path) -> Path:
    return path.with_suffix(".json")
