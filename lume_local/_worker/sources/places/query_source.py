"""A query of a database as a source."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lume_local._shared.content import SourceContent
from lume_local._worker.databases.database import DatabaseTrouble, Query, Row
from lume_local._worker.databases.database_kinds import query_of
from lume_local._worker.databases.url import DatabaseUrl
from lume_local._worker.sources.formats.names import visible_columns
from lume_local._worker.sources.places.query_rows import write_rows
from lume_local._worker.sources.source import File, Pause, Single, SourceError, no_pause


class QuerySource:
    """See `Source`.

    Args:
        place: `{"kind": "query", "url_env": …, "query": …, "source_path": …}`.
        flow: the compiled flow.
    """

    def __init__(self, place: dict[str, Any], flow: dict[str, Any]) -> None:
        self._place, self._flow = place, flow
        self.places: list[str] = []

    def check(self, pause: Pause = no_pause) -> None:
        """The database takes the query, and it has the columns that the flow reads."""
        with self._begun():
            pass

    def content(
        self, known: SourceContent | None, most: int, pause: Pause = no_pause
    ) -> SourceContent | None:
        """What a query gives is known once it has given it."""
        return None

    def each(self) -> list[Single]:
        """There is no file: it is read as a whole."""
        return []

    def fetch(self, folder: Path, pause: Pause) -> list[File]:
        """Its rows, written down as they come."""
        path = folder / "rows"
        with self._begun() as (query, shown):
            batches = _paused(query.batches(), pause)
            write_rows(path, query.names, batches, self._flow["max_line_bytes"], shown)
        return [File(path, shown, "rows", path.stat().st_size)]

    @contextmanager
    def _begun(self) -> Iterator[tuple[Query, str]]:
        """The query, and what messages call it. No connection stays open behind the block."""
        try:
            url = DatabaseUrl.of(self._place["url_env"])
            shown = f"the query on {url.shown}"
            with closing(query_of(url, self._place["query"], self._place["source_path"])) as query:
                if not query.names:
                    raise SourceError(f"{shown} gives no columns: it must be a SELECT")
                visible_columns(self._flow, query.names, shown)
                yield query, shown
        except DatabaseTrouble as trouble:
            raise SourceError(str(trouble)) from None

    def check_unchanged(self, pause: Pause = no_pause) -> None:
        """A query sees one state of the database."""

    def close(self) -> None:
        """No connection is open any more."""


def _paused(batches: Iterator[list[Row]], pause: Pause) -> Iterator[list[Row]]:
    for batch in batches:
        pause()
        yield batch
