"""A query of PostgreSQL as a source: a cursor in the server, of which some rows at a time come over."""

from collections.abc import Iterator

from lume_local._flow.query_parameters import with_parameter
from lume_local._worker.databases.database import Row
from lume_local._worker.databases.postgres import connect, psycopg_errors, sent
from lume_local._worker.databases.url import DatabaseUrl

_FIRST, _MOST = 500, 20_000
_AT_ONCE = 4 * 1024 * 1024
"""Characters that one batch should have: rows may be short or very long."""


class PostgresQuery:
    """See `Query`. All values come as the texts that the server makes of them: exact, and the same everywhere."""

    def __init__(self, url: DatabaseUrl, query: str, source_path: str) -> None:
        self._url = url
        self._connection = connect(url)
        try:
            self._begin(*with_parameter(query, "$1"), source_path)
        except BaseException:
            self.close()
            raise

    def _begin(self, query: str, has_parameter: bool, source_path: str) -> None:
        from psycopg import RawCursor
        from psycopg.types.string import TextLoader

        with psycopg_errors(self._url, f"the query can't be run on {self._url.shown}"):
            self._connection.read_only = True
            self._cursor = RawCursor(self._connection)
            parameters = [source_path] if has_parameter else None
            # `binary` chooses the protocol that takes one statement only; there is nothing in the answer.
            declare = sent(f"DECLARE _lume_rows NO SCROLL CURSOR FOR {query}")
            self._cursor.execute(declare, parameters, binary=True)
            self._cursor.execute("FETCH FORWARD 0 FROM _lume_rows")
            columns = self._cursor.description or []
            self.names = [column.name for column in columns]
            for column in columns:
                self._cursor.adapters.register_loader(column.type_code, TextLoader)

    def batches(self) -> Iterator[list[Row]]:
        """Each `FETCH` is one batch."""
        size = _FIRST
        while True:
            with psycopg_errors(self._url, f"the query was interrupted by {self._url.shown}"):
                rows: list[Row] = self._cursor.execute(
                    sent(f"FETCH FORWARD {size} FROM _lume_rows")
                ).fetchall()
            if not rows:
                return
            length = sum(len(value) for row in rows for value in row if value is not None)
            yield rows
            size = max(1, min(_MOST, 2 * size, _AT_ONCE * len(rows) // max(1, length)))

    def close(self) -> None:
        """The cursor ends with its connection."""
        self._connection.close()
