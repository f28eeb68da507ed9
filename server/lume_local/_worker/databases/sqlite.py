"""SQLite as a source and a target, with Python's own module."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lume_local._flow.definition import quoted
from lume_local._shared.failing import on_error
from lume_local._worker.databases.access import Access, Query
from lume_local._worker.databases.built import Built
from lume_local._worker.databases.columns import (
    TYPES,
    TableColumn,
    UniqueIndex,
    affinity,
    as_compared,
    item,
)
from lume_local._worker.databases.database import (
    NUMBER,
    DatabaseTrouble,
    DatabaseUrl,
    Row,
    plain,
)
from lume_local._worker.databases.loader import PATIENCE, FileLoader, check_there

_AT_ONCE = 500
_WHERE = re.compile(r"\bwhere\b", re.IGNORECASE)
_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_REFUSED_BY_THE_FILE = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
"""The file is opened read-only; R-trees prepare such statements even for reading."""
_BLANK = r"(?:\s|--[^\n]*\n|/\*.*?\*/)+"
_REPLACES = re.compile(_BLANK.join(["ON", "CONFLICT", "REPLACE"]), re.IGNORECASE | re.DOTALL)
_KEEPS = re.compile(_BLANK.join(["NOT", "NULL", _REPLACES.pattern]), re.IGNORECASE | re.DOTALL)
"""This clause gives a column its default value and replaces no row."""


def connect(url: DatabaseUrl, mode: str) -> sqlite3.Connection:
    """Connect to an existing file; `mode` is `ro`, `rw`, or `rwc` to create it. Raises `DatabaseTrouble`."""
    check_there(url, mode)
    with sqlite_errors(url, f"{url.shown} ({url.env}) can't be opened"):
        connection = sqlite3.connect(
            f"file:{quote(url.path)}?mode={mode}", uri=True, timeout=PATIENCE, isolation_level=None
        )
        with on_error(connection.close):
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return connection


@contextmanager
def sqlite_errors(url: DatabaseUrl, what: str, *, blames_rows: bool = False) -> Iterator[None]:
    """Convert errors of `sqlite3` to `DatabaseTrouble`."""
    try:
        yield
    except sqlite3.Error as error:
        words = str(error)
        if words.startswith("Could not decode to UTF-8"):
            words = "a text in it is not UTF-8: let the query give hex() of it, or CAST it to a BLOB"
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_AUTH:
            words = "only a SELECT may be sent"
        raise DatabaseTrouble(f"{what}: {words}", may_pass="locked" in words) from None


def _columns_of(connection: sqlite3.Connection, table: str) -> list[TableColumn]:
    query = (
        'SELECT c.name, c.type, c."notnull" AND c.dflt_value IS NULL, c.hidden IN (2, 3) '
        "FROM sqlite_master AS t, pragma_table_xinfo(t.name) AS c "
        "WHERE t.type IN ('table', 'view') AND t.name = ? COLLATE NOCASE AND c.hidden <> 1"
    )
    return [
        TableColumn(name, kind, *map(bool, flags))
        for name, kind, *flags in connection.execute(query, [table])
    ]


def _unique_of(connection: sqlite3.Connection, table: str) -> list[UniqueIndex]:
    """Return the unique indexes; the columns have their collations."""
    query = (
        "SELECT i.name, c.name, c.coll, iif(i.partial, m.sql, '') FROM pragma_index_list(?1) AS i, "
        "pragma_index_xinfo(i.name) AS c LEFT JOIN sqlite_master AS m ON m.type = 'index' AND m.name = i.name "
        'WHERE i."unique" AND c.key '
        "UNION ALL SELECT '', name, 'BINARY', '' FROM pragma_table_info(?1) WHERE pk"
    )
    found: dict[str, UniqueIndex] = {}
    for index, column, collation, defined in connection.execute(query, [table]):
        one = found.setdefault(index, UniqueIndex({}, _WHERE.split(defined)[-1] if defined else ""))
        one.columns[column or ""] = collation  # an expression has no name
    return list(found.values())


def _is_table(connection: sqlite3.Connection, table: str) -> bool:
    found = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE"
    return connection.execute(found, [table]).fetchone() is not None


ACCESS = Access(TYPES["sqlite"], "?", connect, sqlite_errors, _columns_of, _unique_of, _is_table)


class SqliteQuery(Query):
    """See `Query`."""

    access = ACCESS

    def _begin(self, query: str, parameters: list[str]) -> None:
        self._connection.set_authorizer(_authorized)
        self._cursor = self._connection.execute(query, parameters)
        self.names = [column[0] for column in self._cursor.description or ()]

    def _fetch(self) -> list[Row]:
        return [tuple(map(_as_text, row)) for row in self._cursor.fetchmany(_AT_ONCE)]


def _authorized(action: int, first: str | None, *_: str | None) -> int:
    """Allow only actions that read: a file opened read-only doesn't stop a statement from writing another one."""
    is_version = action == sqlite3.SQLITE_PRAGMA and first == "data_version"  # full-text tables read it
    is_allowed = action in _READING or action in _REFUSED_BY_THE_FILE or is_version
    return sqlite3.SQLITE_OK if is_allowed else sqlite3.SQLITE_DENY


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return f"\\x{value.hex()}"
    return plain(repr(value))


class SqliteLoader(FileLoader):
    """See `Loader`."""

    access, begin = ACCESS, "BEGIN IMMEDIATE"
    joined = "CROSS JOIN"  # SQLite builds an index if the table has none, and keeps the order

    def _check_more(self, connection: sqlite3.Connection) -> None:
        """Check that SQLite doesn't replace NULLs of the flow with numbers, as it does in one kind of key."""
        query = (
            "SELECT name FROM pragma_table_info(?1) WHERE pk AND type = 'INTEGER' COLLATE NOCASE "
            "AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')"
        )
        optional = {name.lower(): name for name in self._load.names if name not in self._load.required}
        for (name,) in connection.execute(query, [self._load.table]):
            if name.lower() in optional:
                raise DatabaseTrouble(
                    f"{self._load.table} numbers rows without a value for {name}, its INTEGER PRIMARY KEY: set "
                    f"required = true for {optional[name.lower()]} to reject them, or leave it to the table"
                )

    def _insert_into(self, connection: sqlite3.Connection) -> str:
        """Return an `INSERT` by which no row replaces another, even if the table has ON CONFLICT REPLACE.

        ABORT overrides that clause, but also the statements of all triggers, so only such a table gets it.
        """
        (defined,) = connection.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE",
            [self._load.table],
        ).fetchone()
        replaces = _REPLACES.search(_KEEPS.sub("", defined))
        return f"INSERT{' OR ABORT' if replaces else ''} INTO {quoted(self._load.table)}"

    def _check_key(self, connection: sqlite3.Connection, rows: Built) -> None:
        """Check that rows have different keys in each unique index that the upsert may use."""
        key, types = self._load.key, dict(self._load.columns)
        indexes = [one.columns for one in self._unique(connection) if key and one.finds(self._load)]
        for compared in {
            tuple(as_compared(types[name], quoted(name), one[name]) for name in key) for one in indexes
        }:
            rows.check_key(key, compared)

    def _stage(self, connection: sqlite3.Connection, rows: Built, built: Path, *, numbered: bool) -> str:
        """Copy the rows to a temporary table, whose columns convert values as the table's own do."""
        load = self._load
        self._into = self._insert_into(connection)
        if load.history:
            self._collations = next(one.columns for one in self._unique(connection) if one.finds(load))
        columns = [f"{quoted(name)} {affinity(self._given[name])}" for name in load.names]
        connection.execute("DROP TABLE IF EXISTS temp._lume_new")
        connection.execute(
            f"CREATE TEMP TABLE _lume_new ({', '.join(columns)}, {NUMBER} INTEGER PRIMARY KEY)"
        )
        items = [item(kind, quoted(name)) for name, kind in load.columns]
        insert = f"INSERT INTO temp._lume_new VALUES ({', '.join('?' * (len(items) + 1))})"
        for batch in rows.batches([*items, NUMBER if numbered else "row_number() OVER ()"]):
            connection.executemany(insert, batch)
        return "temp._lume_new"

    def _value(self, name: str) -> str:
        return f"n.{quoted(name)}"

    def _is_same(self, name: str) -> str:
        return f"t.{quoted(name)} COLLATE {self._collations[name]} = {self._value(name)}"

    def _differs(self, name: str) -> str:
        return f"t.{quoted(name)} COLLATE BINARY IS NOT {self._value(name)}"

    @contextmanager
    def _apart(self, connection: sqlite3.Connection) -> Iterator[None]:
        connection.execute("SAVEPOINT some")
        try:
            yield
        except sqlite3.IntegrityError as error:
            if not connection.in_transaction:  # ON CONFLICT ROLLBACK has undone the whole load
                where = f"{self._load.table} in {self._url.shown}"
                raise DatabaseTrouble(f"{where} refuses the rows: {error}") from None
            connection.execute("ROLLBACK TO some")
            raise
        finally:
            if connection.in_transaction:
                connection.execute("RELEASE some")

    def _refusal(self, error: Exception, *, rejects: bool) -> str:
        return str(error) if isinstance(error, sqlite3.IntegrityError) else ""
