"""PostgreSQL as a source and a target, with psycopg (extra `postgres`).

A query uses a cursor on the server, which sends some rows at a time. Rows for a table are copied by `COPY` into a
temporary table, then by one statement into the table itself.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lume_async._base.elided import elided
from lume_local._flow.databases import with_parameter
from lume_local._shared.failing import on_error, require
from lume_local._worker.databases.database import LONGEST, DatabaseTrouble, DatabaseUrl, Row

if TYPE_CHECKING:
    import psycopg

_DEFAULTS = {"connect_timeout": "10", "tcp_user_timeout": "60000", "keepalives_idle": "30"}
"""Settings of libpq, in seconds and milliseconds, that detect a lost server. The URL overrides them."""
_COPIED = re.compile(r"COPY \w+, line (\d+)(.*)")
_SESSION = {
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lock_timeout": "60s",
}
"""Makes values uniform, whatever the role's own settings are, and limits the wait for a lock."""
_UNDONE = re.compile(r"40...|55P03|57P0[1-5]|08...")
"""SQLSTATEs of a transaction that was ended because of others (deadlock, serialization failure, a lock), or with its
connection or the server. Its statements may well be right.
"""


def connect(url: DatabaseUrl) -> "psycopg.Connection[Any]":
    try:
        require("psycopg", "postgres", "a PostgreSQL database")
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError as error:  # psycopg also raises it without libpq
        raise DatabaseTrouble(str(error)) from None
    try:
        given = conninfo_to_dict(url.text)
    except psycopg.Error:  # its message quotes a part of the URL
        raise DatabaseTrouble(f"{url.env} does not hold a valid postgresql:// URL") from None
    options: dict[str, Any] = {"application_name": "lume", **_DEFAULTS, **given, "client_encoding": "UTF8"}
    with psycopg_errors(url, f"{url.shown} ({url.env}) can't be reached"):
        connection = psycopg.connect(**options)
        with on_error(connection.close):
            for name, value in _SESSION.items():
                connection.execute("SELECT set_config(%s, %s, false)", [name, value])
            connection.commit()
    return connection


def sent(statement: str) -> bytes:
    """Encode a statement, as psycopg's types accept only literal strings; ours contain quoted names."""
    return statement.encode()


@contextmanager
def psycopg_errors(url: DatabaseUrl, what: str, *, blames_rows: bool = False) -> Iterator[None]:
    """Convert errors of psycopg to `DatabaseTrouble`, with the failed action and the server's message.

    If `what` blames the rows, it is left out where the transaction was ended because of others.
    """
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        # Including a lock, which may belong to a lost session of ours that the server still keeps.
        lost = isinstance(error, psycopg.OperationalError)
        words = error.diag.message_primary or str(error) or type(error).__name__
        words = url.scrubbed(words + _where(error))
        # A broken connection has no SQLSTATE.
        is_undone = lost and bool(_UNDONE.fullmatch(error.sqlstate or "08000"))
        if is_undone and error.sqlstate and blames_rows:
            what = f"{url.shown} ended the transaction, which says nothing about the rows (SQLSTATE {error.sqlstate})"
        raise DatabaseTrouble(f"{what}: {words}", may_pass=lost, is_undone=is_undone) from None


def _where(error: "psycopg.Error") -> str:
    """Return the row or value concerned, if the server reports it."""
    detail = (error.diag.message_detail or "").rstrip(".")
    if not detail and (copied := _COPIED.match(error.diag.context or "")):
        detail = f"line {copied[1]} of the mapped rows{copied[2]}"
    return f" ({elided(detail, LONGEST)})" if detail else ""


_FIRST, _MOST = 500, 20_000
_AT_ONCE = 4 * 1024 * 1024
"""Characters to aim at per batch: rows may be short or very long."""


class PostgresQuery:
    """See `Query`. All values arrive as the server's own text, exact and the same everywhere."""

    def __init__(self, url: DatabaseUrl, query: str, source_path: str) -> None:
        self._url = url
        self._connection = connect(url)
        with on_error(self.close):
            self._begin(*with_parameter(query, "$1"), source_path)

    def _begin(self, query: str, has_parameter: bool, source_path: str) -> None:
        from psycopg import RawCursor
        from psycopg.types.string import TextLoader

        with psycopg_errors(self._url, f"the query can't be run on {self._url.shown}"):
            self._connection.read_only = True
            self._cursor = RawCursor(self._connection)
            parameters = [source_path] if has_parameter else None
            # `binary` selects the protocol that allows only one statement; the answer is empty.
            declare = sent(f"DECLARE _lume_rows NO SCROLL CURSOR FOR {query}")
            self._cursor.execute(declare, parameters, binary=True)
            self._cursor.execute("FETCH FORWARD 0 FROM _lume_rows")
            columns = self._cursor.description or []
            self.names = [column.name for column in columns]
            for column in columns:
                self._cursor.adapters.register_loader(column.type_code, TextLoader)

    def batches(self) -> Iterator[list[Row]]:
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
        self._connection.close()
