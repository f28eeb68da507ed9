"""SQLite as a source and a target, with Python's own module."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import quote

from attrs import define

from lume_local._flow.databases import RUN_COLUMN, with_parameter
from lume_local._flow.definition import quoted
from lume_local._shared.failing import on_error
from lume_local._worker.databases.built import Built, opened
from lume_local._worker.databases.columns import (
    SqliteTypes,
    TableColumn,
    as_compared,
    check_columns,
    check_unique,
    create_table,
    item,
    no_table,
)
from lume_local._worker.databases.database import (
    NUMBER,
    DatabaseTrouble,
    DatabaseUrl,
    Load,
    Loader,
    Refused,
    Row,
    by_constraint,
    check_all,
    in_table,
    on_conflict,
    shown,
    taken_meanwhile,
)
from lume_local._worker.sql import text
from lume_local._worker.statements import twin_reason

Batch = list[tuple[Any, ...]]


class RowsInto:
    """Inserts rows.

    Args:
        connection: with the transaction of the load.
        where: the database's name in messages.
    """

    def __init__(self, connection: sqlite3.Connection, insert: str, load: Load, where: str) -> None:
        self._connection, self._sql, self._load, self._where = connection, insert, load, where
        self._count = 0
        self._last: tuple[Any, ...] = ()

    def all(self, batches: Iterable[Batch]) -> int:
        """Insert all rows; return their number. Raises `DatabaseTrouble`, which names the refused row."""

        def each(batch: Batch) -> Iterator[tuple[Any, ...]]:
            for self._last in batch:
                self._count += 1
                yield self._last

        try:
            return sum(self._connection.executemany(self._sql, each(batch)).rowcount for batch in batches)
        except sqlite3.IntegrityError as error:
            row = shown(self._load.names, self._last[: len(self._load.names)])
            raise DatabaseTrouble(
                f"{self._load.table} in {self._where} refuses the rows: {error} (mapped row {self._count:,}: {row})"
            ) from None

    def judged(self, batches: Iterable[Batch], refused: Refused) -> int:
        """Insert numbered rows except those refused already; add the reasons of further refused rows."""
        kept = ([row for row in batch if row[-1] not in refused] for batch in batches)
        if self._load.on_violation == "fail":
            return self.all([row[:-1] for row in batch] for batch in kept)
        written = 0
        for row in chain.from_iterable(kept):
            try:
                written += self._connection.execute(self._sql, row[:-1]).rowcount
            except sqlite3.IntegrityError as error:
                refused[row[-1]] = [by_constraint(self._load, str(error))]
        return written


_PATIENCE = 60.0
"""Seconds to wait for another connection's lock."""
_AT_ONCE = 500
_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_REFUSED_BY_THE_FILE = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
"""The file is opened read-only; R-trees prepare such statements even for reading."""
_BLANK = r"(?:\s|--[^\n]*\n|/\*.*?\*/)+"
_REPLACES = re.compile(_BLANK.join(["ON", "CONFLICT", "REPLACE"]), re.IGNORECASE | re.DOTALL)
_KEEPS = re.compile(_BLANK.join(["NOT", "NULL", _REPLACES.pattern]), re.IGNORECASE | re.DOTALL)
"""This clause gives a column its default value and replaces no row."""
_LOADS = (
    "CREATE TABLE IF NOT EXISTS _lume_loads (run_id TEXT PRIMARY KEY, flow TEXT NOT NULL, source_path TEXT NOT NULL, "
    "target TEXT NOT NULL, loaded_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
)


def connect(url: DatabaseUrl, mode: str) -> sqlite3.Connection:
    """Connect to an existing file; `mode` is `ro`, `rw`, or `rwc` to create it. Raises `DatabaseTrouble`."""
    if mode != "rwc" and not Path(url.path).is_file():
        raise DatabaseTrouble(
            f"there is no SQLite file {url.path}, which {url.env} names: create it (sqlite3 {url.path} VACUUM); with "
            "create = true a run creates file and table"
        )
    with sqlite_errors(url, f"{url.shown} ({url.env}) can't be opened"):
        connection = sqlite3.connect(
            f"file:{quote(url.path)}?mode={mode}", uri=True, timeout=_PATIENCE, isolation_level=None
        )
        with on_error(connection.close):
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return connection


@contextmanager
def sqlite_errors(url: DatabaseUrl, what: str) -> Iterator[None]:
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


class SqliteQuery:
    """See `Query`."""

    def __init__(self, url: DatabaseUrl, query: str, source_path: str) -> None:
        self._url = url
        self._connection = connect(url, "ro")
        self._connection.set_authorizer(_authorized)
        with on_error(self.close), sqlite_errors(url, f"the query can't be run on {url.shown}"):
            sent, has_parameter = with_parameter(query, "?1")
            self._cursor = self._connection.execute(sent, [source_path] if has_parameter else [])
        self.names = [column[0] for column in self._cursor.description or ()]

    def batches(self) -> Iterator[list[Row]]:
        while True:
            with sqlite_errors(self._url, f"the query was interrupted by {self._url.shown}"):
                rows = self._cursor.fetchmany(_AT_ONCE)
            if not rows:
                return
            yield [tuple(map(_as_text, row)) for row in rows]

    def close(self) -> None:
        self._connection.close()


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
    number = repr(value)
    # The same number without an exponent, which integer and decimal columns refuse.
    return format(Decimal(number), "f") if "e" in number and isfinite(value) else number


@define
class _Transaction:
    """The transaction that keeps other writers away from the file while the loads of a run last."""

    connection: sqlite3.Connection
    is_committed: bool = False


class SqliteLoader:
    """See `Loader`.

    Args:
        beside: loads with open transactions. One of the same run and file shares its transaction, as neither load
            could wait for the other; it is committed or undone as a whole.
    """

    def __init__(self, url: DatabaseUrl, load: Load, beside: Iterable[Loader] = ()) -> None:
        self._url, self._load = url, load
        others = (one for one in beside if isinstance(one, SqliteLoader) and one._load.run_id == load.run_id)
        self._shared = next((one._transaction for one in others if one._url.path == url.path), None)
        self._transaction: _Transaction | None = None

    def check(self) -> None:
        """Check the flow's columns, and a unique index for an upsert; create the table of loads."""
        if self._load.create and not Path(self._url.path).is_file():
            return
        with closing(connect(self._url, "rw")) as connection:
            with sqlite_errors(self._url, f"{self._url.shown} can't be read"):
                self._check_table(connection)
            with sqlite_errors(self._url, f"{self._url.shown} can't be written to"):
                connection.execute(_LOADS)

    def _check_table(self, connection: sqlite3.Connection) -> None:
        load, types = self._load, SqliteTypes()
        columns = self._columns(connection)
        if not columns:
            view = "SELECT 1 FROM sqlite_master WHERE type = 'view' AND name = ? COLLATE NOCASE"
            if connection.execute(view, [load.table]).fetchone():
                raise DatabaseTrouble(f"{load.table} in {self._url.shown} is not a table: name one")
            if load.create:
                return
            raise no_table(load, self._url.shown, types)
        check_columns(load, load.table, columns, types)
        check_unique(load, load.table, list(map(set, self._unique(connection))), types)
        self._check_rowid(connection)

    def _columns(self, connection: sqlite3.Connection) -> list[TableColumn]:
        rows = connection.execute(
            'SELECT c.name, c.type, c."notnull" AND c.dflt_value IS NULL, c.hidden IN (2, 3) '
            "FROM sqlite_master AS t, pragma_table_xinfo(t.name) AS c "
            "WHERE t.type = 'table' AND t.name = ? COLLATE NOCASE AND c.hidden <> 1",
            [self._load.table],
        ).fetchall()
        # SQLite ignores the case of names.
        spelled: dict[str, str] = {name.lower(): name for name in (*self._load.names, RUN_COLUMN)}
        return [
            TableColumn(str(spelled.get(name.lower(), name)), kind, bool(must_be_given), bool(is_made))
            for name, kind, must_be_given, is_made in rows
        ]

    def _check_rowid(self, connection: sqlite3.Connection) -> None:
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

    def _unique(self, connection: sqlite3.Connection) -> list[dict[str, str]]:
        """Return the columns of each unique index, with their collations."""
        spelled = {name.lower(): name for name in self._load.key}
        query = (
            "SELECT i.name, c.name, c.coll FROM pragma_index_list(?1) AS i, pragma_index_xinfo(i.name) AS c "
            'WHERE i."unique" AND NOT i.partial AND c.key '
            "UNION ALL SELECT '', name, 'BINARY' FROM pragma_table_info(?1) WHERE pk"
        )
        found: dict[str, dict[str, str]] = {}
        for index, column, collation in connection.execute(query, [self._load.table]):
            name = column or ""  # an expression has no name
            found.setdefault(index, {})[spelled.get(name.lower(), name)] = collation
        return list(found.values())

    def _check_key(self, connection: sqlite3.Connection, rows: Built) -> None:
        """Check that rows have different keys in each unique index that the upsert may use."""
        key, types = self._load.key, dict(self._load.columns)
        indexes = [index for index in self._unique(connection) if key and index.keys() == set(key)]
        for compared in {
            tuple(as_compared(types[name], quoted(name), one[name]) for name in key) for one in indexes
        }:
            rows.check_key(key, compared)

    def fill(self, built: Path) -> bool:
        """Claim the load, then insert the rows, in one transaction."""
        with sqlite_errors(self._url, f"{self._load.table} in {self._url.shown} refuses the rows"):
            connection = self._claimed()
            if connection is None:
                return False
            if found := self._insert(connection, built, numbered=False):
                raise taken_meanwhile(self._load, len(found))
        return True

    def judge(self, rows: Path) -> Refused:
        """Load as `fill` does, without a commit; a failed statement leaves the transaction unchanged."""
        with sqlite_errors(self._url, f"{self._load.table} in {self._url.shown} refuses the rows"):
            connection = self._claimed()
            if connection is None:
                raise DatabaseTrouble(
                    f"the run {self._load.run_id} has been loaded into {self._load.table} before"
                )
            return self._insert(connection, rows, numbered=True)

    def _claimed(self) -> sqlite3.Connection | None:
        """Begin the transaction with the claim, locking the file; return None if the load was done before."""
        load = self._load
        self._transaction = self._shared or _Transaction(connect(self._url, "rwc" if load.create else "rw"))
        connection = self._transaction.connection
        if not connection.in_transaction:
            connection.execute("BEGIN IMMEDIATE")
        if load.create:
            connection.execute(create_table(load, SqliteTypes()))
            connection.execute(_LOADS)
            self._check_table(connection)
        claimed = connection.execute(
            "INSERT INTO _lume_loads (run_id, flow, source_path, target) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (run_id) DO NOTHING",
            [load.claim, load.flow, load.source_path, load.table],
        )
        if not claimed.rowcount:
            self.close()
            return None
        if load.mode == "replace_batch":
            connection.execute(
                f"DELETE FROM {quoted(load.table)} WHERE {RUN_COLUMN} IN "
                "(SELECT run_id FROM _lume_loads WHERE flow = ? AND source_path = ?)",
                [load.flow, load.source_path],
            )
        return connection

    def _insert(self, connection: sqlite3.Connection, built: Path, *, numbered: bool) -> Refused:
        """Insert all rows that the table accepts; return the reasons of the others, if rows are `numbered`."""
        load = self._load
        names = list(map(quoted, load.names))
        items = [item(sql_type, quoted(name)) for name, sql_type in load.columns]
        if any(column.name == RUN_COLUMN for column in self._columns(connection)):
            names.append(RUN_COLUMN)
            items.append(text(load.run_id))
        values = ", ".join("?" * len(names))
        into = self._insert_into(connection)
        insert = f"{into} ({', '.join(names)}) VALUES ({values}){on_conflict(load, names)}"
        with opened(built) as rows:
            self._check_key(connection, rows)
            refused = self._refused_for_ever(connection, rows, numbered=numbered) if load.ever else {}
            if refused and not numbered:
                return refused
            target = RowsInto(connection, insert, load, self._url.shown)
            if numbered:
                written = target.judged(rows.batches([*items, NUMBER]), refused)
            else:
                written = target.all(rows.batches(items))
            check_all(load, rows.count() - len(refused), written)
        return refused

    def _refused_for_ever(self, connection: sqlite3.Connection, rows: Built, *, numbered: bool) -> Refused:
        """Return the rows with a unique value that, as the table compares it, is there or in an earlier row."""
        refused: Refused = {}
        for name, sql_type in self._load.columns:
            if name not in self._load.ever:
                continue
            column, table = quoted(name), quoted(self._load.table)
            # The temporary column gets the affinity of the table's; the left operand decides about the collation.
            connection.execute(
                f"CREATE TEMP TABLE _lume_new AS SELECT {column} AS v, 0 AS n FROM {table} WHERE false"
            )
            values = rows.batches([item(sql_type, column), NUMBER if numbered else "0"])
            for batch in values:
                connection.executemany("INSERT INTO temp._lume_new VALUES (?, ?)", batch)
            # A join, as SQLite then builds an index if the table has none; CROSS keeps the order.
            there = f"temp._lume_new AS new CROSS JOIN {table} AS t ON t.{column} = new.v"
            for (number,) in connection.execute(f"SELECT DISTINCT new.n FROM {there}"):
                refused.setdefault(number, []).append(in_table(self._load, name))
            # The first part of a union, the table's column, decides about the collation.
            union = f"SELECT {column} AS v, 0 AS n FROM {table} WHERE false UNION ALL SELECT v, n FROM temp._lume_new"
            nth = "row_number() OVER (PARTITION BY v ORDER BY n) AS nth"
            twins = f"SELECT n FROM (SELECT v, n, {nth} FROM ({union})) WHERE nth > 1 AND v IS NOT NULL"
            for (number,) in connection.execute(twins) if numbered else ():
                refused.setdefault(number, []).append(twin_reason(name))
            connection.execute("DROP TABLE temp._lume_new")
        return refused

    def commit(self) -> None:
        """Make the load visible to all."""
        assert self._transaction is not None
        if not self._transaction.is_committed:
            with sqlite_errors(self._url, f"{self._url.shown} can't commit"):
                self._transaction.connection.execute("COMMIT")
            self._transaction.is_committed = True
        self.close()

    def close(self) -> None:
        """Close the connection, which undoes everything not committed."""
        if self._transaction is not None:
            self._transaction.connection.close()
            self._transaction = None
