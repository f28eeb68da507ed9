"""Loads into a database that is one file, with one writer at a time: SQLite and DuckDB."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, ClassVar

from attrs import define

from lume_local._flow.databases import HISTORY_COLUMNS, RUN_COLUMN
from lume_local._flow.definition import quoted
from lume_local._worker.databases.columns import (
    TableColumn,
    Types,
    UniqueIndex,
    check_columns,
    check_unique,
    create_table,
    no_table,
)
from lume_local._worker.databases.database import (
    FILES,
    DatabaseTrouble,
    DatabaseUrl,
    Load,
    Loader,
    Refused,
    in_table,
    taken_meanwhile,
)
from lume_local._worker.statements import twin_reason

PATIENCE = 60.0
"""Seconds to wait for another connection's lock."""


def check_there(url: DatabaseUrl, mode: str) -> None:
    """Check that the file exists, unless `mode` is `rwc`. Raises `DatabaseTrouble`."""
    if mode != "rwc" and not Path(url.path).is_file():
        kind = FILES[url.scheme]
        how = {"sqlite": "sqlite3 {} VACUUM", "duckdb": "duckdb {} -c CHECKPOINT"}[url.scheme].format(
            url.path
        )
        raise DatabaseTrouble(
            f"there is no {kind} file {url.path}, which {url.env} names: create it ({how}); with "
            "create = true a run creates file and table"
        )


@define
class _Transaction:
    """The transaction that keeps other writers away from the file while the loads of a run last."""

    connection: Any
    is_begun: bool = False
    is_committed: bool = False


class FileLoader(ABC):
    """See `Loader`. A kind of file is a subclass.

    One load of the same run and file shares the transaction of another, as neither could wait for the other; it is
    committed or undone as a whole.
    """

    types: ClassVar[Types]
    begin: ClassVar[str]
    joined: ClassVar[str]
    """The join by which new values are looked up in the table."""

    def __init__(self, url: DatabaseUrl, load: Load, beside: Iterable[Loader] = ()) -> None:
        self._url, self._load = url, load
        others = (one for one in beside if isinstance(one, FileLoader) and one._load.run_id == load.run_id)
        self._shared = next((one._transaction for one in others if one._url.path == url.path), None)
        self._transaction: _Transaction | None = None

    @abstractmethod
    def _connect(self, mode: str, built: Path | None = None) -> Any:
        """Open the file; `mode` is `ro`, `rw`, or `rwc` to create it. Only `built` of other files can be read."""

    @abstractmethod
    def _errors(self, what: str) -> AbstractContextManager[None]:
        """Convert errors of the database to `DatabaseTrouble`."""

    @abstractmethod
    def _columns(self, connection: Any) -> list[TableColumn]: ...

    @abstractmethod
    def _is_view(self, connection: Any) -> bool: ...

    @abstractmethod
    def _unique(self, connection: Any) -> list[UniqueIndex]: ...

    @abstractmethod
    def _insert(self, connection: Any, built: Path, *, numbered: bool) -> Refused:
        """Insert all rows that the table accepts; return the reasons of the others, if rows are `numbered`."""

    def _spelled(self, name: str) -> str:
        """Return a name of the table as the load spells it: these databases ignore its case."""
        names = (*self._load.names, RUN_COLUMN, *HISTORY_COLUMNS)
        return {one.lower(): one for one in names}.get(name.lower(), name)

    def _twice(self, connection: Any, name: str, new: str, *, numbered: bool) -> Iterator[tuple[int, str]]:
        """Yield the rows with a unique value that, as the table compares it, is there or in an earlier row.

        `new` is SQL with the values `v` of rows `n`.
        """
        column, table = quoted(name), self.types.spelled(self._load.table)
        there = f"SELECT DISTINCT new.n FROM {new} AS new {self.joined} {table} AS t ON t.{column} = new.v"
        # The first part of the union, the table's column, decides about the collation.
        union = (
            f"SELECT {column} AS v, 0 AS n FROM {table} WHERE false UNION ALL SELECT v, n FROM {new} AS new"
        )
        nth = "row_number() OVER (PARTITION BY v ORDER BY n) AS nth"
        twins = f"SELECT n FROM (SELECT v, n, {nth} FROM ({union})) WHERE nth > 1 AND v IS NOT NULL"
        yield from ((n, in_table(self._load, name)) for (n,) in connection.execute(there).fetchall())
        if numbered:
            yield from ((n, twin_reason(name)) for (n,) in connection.execute(twins).fetchall())

    def check(self) -> None:
        """Check the flow's columns, and a unique index for an upsert; create the table of loads."""
        if self._load.create and not Path(self._url.path).is_file():
            return
        with closing(self._connect("rw")) as connection:
            with self._errors(f"{self._url.shown} can't be read"):
                self._check_table(connection)
            with self._errors(f"{self._url.shown} can't be written to"):
                self._create_loads(connection)

    def _check_table(self, connection: Any) -> None:
        load = self._load
        columns = self._columns(connection)
        if not columns:
            if self._is_view(connection):
                raise DatabaseTrouble(f"{load.table} in {self._url.shown} is not a table: name one")
            if load.create:
                return
            raise no_table(load, self._url.shown, self.types)
        check_columns(load, load.table, columns, self.types)
        check_unique(load, load.table, self._unique(connection), self.types)

    def _create_loads(self, connection: Any) -> None:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS _lume_loads (run_id TEXT PRIMARY KEY, flow TEXT NOT NULL, "
            "source_path TEXT NOT NULL, target TEXT NOT NULL, loaded_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )

    def fill(self, built: Path) -> bool:
        """Claim the load, then insert the rows, in one transaction."""
        with self._errors(f"{self._load.table} in {self._url.shown} refuses the rows"):
            connection = self._claimed(built)
            if connection is None:
                return False
            if found := self._insert(connection, built, numbered=False):
                raise taken_meanwhile(self._load, len(found))
        return True

    def judge(self, rows: Path) -> Refused:
        """Load as `fill` does, without a commit; a failed statement leaves the transaction unchanged."""
        with self._errors(f"{self._load.table} in {self._url.shown} refuses the rows"):
            connection = self._claimed(rows)
            if connection is None:
                raise DatabaseTrouble(
                    f"the run {self._load.run_id} has been loaded into {self._load.table} before"
                )
            return self._insert(connection, rows, numbered=True)

    def _claimed(self, built: Path) -> Any:
        """Begin the transaction with the claim, locking the file; return None if the load was done before."""
        load = self._load
        mode = "rwc" if load.create else "rw"
        self._transaction = self._shared or _Transaction(self._connect(mode, built))
        connection = self._transaction.connection
        if not self._transaction.is_begun:
            connection.execute(self.begin)
            self._transaction.is_begun = True
        if load.create:
            for statement in create_table(load, self.types) if not self._columns(connection) else ():
                connection.execute(statement)
            self._create_loads(connection)
            self._check_table(connection)
        claimed = connection.execute(
            "INSERT INTO _lume_loads (run_id, flow, source_path, target) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (run_id) DO NOTHING RETURNING run_id",
            [load.claim, load.flow, load.source_path, load.table],
        )
        if not claimed.fetchall():
            self.close()
            return None
        if load.mode == "replace_batch":
            connection.execute(
                f"DELETE FROM {self.types.spelled(load.table)} WHERE {RUN_COLUMN} IN "
                "(SELECT run_id FROM _lume_loads WHERE flow = ? AND source_path = ?)",
                [load.flow, load.source_path],
            )
        return connection

    def commit(self) -> None:
        """Make the load visible to all."""
        assert self._transaction is not None
        if not self._transaction.is_committed:
            with self._errors(f"{self._url.shown} can't commit"):
                self._transaction.connection.execute("COMMIT")
            self._transaction.is_committed = True
        self.close()

    def close(self) -> None:
        """Close the connection, which undoes everything not committed."""
        if self._transaction is not None:
            self._transaction.connection.close()
            self._transaction = None
