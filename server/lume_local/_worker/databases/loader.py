"""Loads the rows of a run into a table: the same steps in each kind of database, in one transaction."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any, ClassVar

from attrs import define, evolve

from lume_async._base.elided import elided
from lume_async._base.words import counted
from lume_local._flow.databases import HISTORY_COLUMNS, RUN_COLUMN
from lume_local._flow.definition import quoted
from lume_local._worker.databases.access import Access
from lume_local._worker.databases.built import Built, opened
from lume_local._worker.databases.columns import (
    TableColumn,
    UniqueIndex,
    check_columns,
    check_unique,
    create_table,
    no_table,
)
from lume_local._worker.databases.database import (
    FILES,
    LONGEST,
    NUMBER,
    DatabaseTrouble,
    DatabaseUrl,
    Load,
    Refused,
    check_all,
    instant,
    shown,
)
from lume_local._worker.sql import text
from lume_local._worker.statements import twin_reason

PATIENCE = 60.0
"""Seconds to wait for another connection's lock."""
_TOGETHER = 10_000
"""Rows that are inserted together, before refused rows are looked for among them."""


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


def _parted(numbers: list[int]) -> list[list[int]]:
    return [numbers[at : at + _TOGETHER] for at in range(0, len(numbers), _TOGETHER)]


class Loader(ABC):
    """One load, in one transaction, which holds from `fill` to `commit`. A kind of database is a subclass.

    Args:
        beside: loads of this process with open transactions.
    """

    access: ClassVar[Access]
    joined: ClassVar[str]
    """The join by which new values are looked up in the table."""
    loads: str = "_lume_loads"
    """The table of finished loads, as SQL."""

    def __init__(self, url: DatabaseUrl, load: Load, beside: "Iterable[Loader]" = ()) -> None:
        self._url, self._load = url, load
        self._table = self.access.types.spelled(load.table)
        self._given: dict[str, str] = {}
        """The type of each column of the table."""
        self._at = ""
        """From when versions of rows are valid, as SQL."""
        self._into = f"INSERT INTO {self._table}"

    @abstractmethod
    def _begin(self, built: Path) -> Any:
        """Begin the transaction, create tables that are missing if the load may, and return the connection."""

    @abstractmethod
    def _create_loads(self, connection: Any) -> None:
        """Create the table of finished loads, unless it exists."""

    @abstractmethod
    def _value(self, name: str) -> str:
        """Return SQL for the new value of a column, of a row `n`, as the table has it."""

    @abstractmethod
    def _differs(self, name: str) -> str:
        """Return SQL that is true if the value is another one, even if only a collation considers it equal."""

    @abstractmethod
    def commit(self) -> None:
        """Make the load visible to all. After `DatabaseTrouble` it is unknown whether it is."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection, which undoes everything not committed."""

    def _errors(self, what: str, *, blames_rows: bool = False) -> AbstractContextManager[None]:
        """Convert errors of the database to `DatabaseTrouble`."""
        return self.access.errors(self._url, what, blames_rows=blames_rows)

    def _refuses(self) -> AbstractContextManager[None]:
        return self._errors(f"{self._load.table} in {self._url.shown} refuses the rows", blames_rows=True)

    def _columns(self, connection: Any) -> list[TableColumn]:
        return self.access.columns(connection, self._load.table)

    def _unique(self, connection: Any) -> list[UniqueIndex]:
        return self.access.unique(connection, self._load.table)

    def _near(self, connection: Any) -> str | None:
        """Return a table whose name differs only in case, where databases distinguish it."""
        return None

    def _check_more(self, connection: Any) -> None:
        """Check what only this kind of database needs. Raises `DatabaseTrouble`."""
        return

    def _lock(self, connection: Any) -> None:
        """Keep other loads from what this one looks at; a file has one writer anyway."""
        return

    def check(self) -> None:
        """Check the flow's columns, and a unique index for an upsert; create the table of loads.

        Raises `DatabaseTrouble`.
        """
        with closing(self.access.connect(self._url, "rw")) as connection:
            with self._errors(f"{self._url.shown} can't be read"):
                self._check_table(connection)
            with self._errors(f"{self._url.shown} can't be written to"):
                self._create_loads(connection)

    def _check_table(self, connection: Any) -> None:
        load = self._load
        columns = self._columns(connection)
        if not columns and load.create:
            return
        if not columns:
            raise no_table(load, self._url.shown, self.access.types, self._near(connection))
        if not self.access.is_table(connection, load.table):
            raise DatabaseTrouble(f"{load.table} in {self._url.shown} is not a table: name one")
        check_columns(load, load.table, columns, self.access.types)
        check_unique(load, load.table, self._unique(connection), self.access.types)
        self._check_more(connection)

    def fill(self, built: Path) -> bool:
        """Begin the transaction and do everything in it that can fail; return False if the load was done before.

        Its first change claims the run, so that the same load can't be done twice. Raises `DatabaseTrouble`.
        """
        with self._refuses():
            connection = self._claimed(built)
            if connection is None:
                return False
            if found := self._insert(connection, built, numbered=False):
                raise DatabaseTrouble(
                    f"{counted(len(found), 'row has', 'rows have')} values of {', '.join(self._load.ever)} that "
                    f"other runs have loaded into {self._load.table} meanwhile"
                )
        return True

    def judge(self, rows: Path) -> Refused:
        """Load only the rows that the table accepts; return why it refuses the others.

        `rows` also has the column `NUMBER`, which identifies each row. Raises `DatabaseTrouble`.
        """
        with self._refuses():
            connection = self._claimed(rows)
            if connection is None:
                raise DatabaseTrouble(
                    f"the run {self._load.run_id} has been loaded into {self._load.table} before"
                )
            return self._insert(connection, rows, numbered=True)

    def _claimed(self, built: Path) -> Any:
        """Begin the transaction with the claim; return None if the load was done before."""
        load, mark = self._load, self.access.mark
        connection = self._begin(built)
        claimed = connection.execute(
            f"INSERT INTO {self.loads} (run_id, flow, source_path, target) "
            f"VALUES ({mark}1, {mark}2, {mark}3, {mark}4) ON CONFLICT (run_id) DO NOTHING RETURNING run_id",
            [load.claim, load.flow, load.source_path, load.table],
        )
        if not claimed.fetchall():
            self.close()
            return None
        self._lock(connection)
        if load.mode == "replace_batch":
            connection.execute(
                f"DELETE FROM {self._table} WHERE {RUN_COLUMN} IN "
                f"(SELECT run_id FROM {self.loads} WHERE flow = {mark}1 AND source_path = {mark}2)",
                [load.flow, load.source_path],
            )
        return connection

    def _insert(self, connection: Any, built: Path, *, numbered: bool) -> Refused:
        """Insert all rows that the table accepts; return the reasons of the others, if rows are `numbered`."""
        load = self._load
        self._given = {column.name: column.type for column in self._columns(connection)}
        if gone := [name for name in load.names if name not in self._given]:  # since the table was checked
            raise DatabaseTrouble(f"{load.table} no longer has the column {', '.join(map(repr, gone[:10]))}")
        with self._opened(connection, built) as rows:
            self._check_key(connection, rows)
            source = self._stage(connection, rows, built, numbered=numbered)
            refused = self._refused_for_ever(connection, source, numbered=numbered)
            if refused and not numbered:
                return refused
            names = [*load.names, RUN_COLUMN] if RUN_COLUMN in self._given else load.names
            if refused:
                source = self._without(connection, source, list(refused))
            written = self._write(
                connection, f"{source} AS n", list(map(quoted, names)), refused, numbered=numbered
            )
            check_all(load, rows.count() - len(refused), written)
        return refused

    def _opened(self, connection: Any, built: Path) -> AbstractContextManager[Built]:
        """Open the rows for the duration of the block."""
        return opened(built)

    def _check_key(self, connection: Any, rows: Built) -> None:
        rows.check_key(self._load.key)

    def _stage(self, connection: Any, rows: Built, built: Path, *, numbered: bool) -> str:
        """Return the rows as SQL of the database, in a temporary table if it can't read them itself."""
        return rows.rows

    def _refused_for_ever(self, connection: Any, source: str, *, numbered: bool) -> Refused:
        """Return the rows with a unique value that, as the table compares it, is there or in an earlier row."""
        refused: Refused = {}
        for name in self._load.ever:
            column, number = quoted(name), NUMBER if numbered else "0"
            new = f"(SELECT {self._value(name)} AS v, {number} AS n FROM {source} AS n)"
            there = f"SELECT DISTINCT new.n FROM {new} AS new {self.joined} {self._table} AS t ON t.{column} = new.v"
            # The first part of the union, the table's column, decides about the collation.
            typed = f"SELECT {column} AS v, 0 AS n FROM {self._table} WHERE false"
            union = f"{typed} UNION ALL SELECT v, n FROM {new} AS new"
            nth = f"SELECT v, n, row_number() OVER (PARTITION BY v ORDER BY n) AS nth FROM ({union}) AS x"
            twins = f"SELECT n FROM ({nth}) AS x WHERE nth > 1 AND v IS NOT NULL"
            is_there = f"{name}: is in {self._load.table} already"
            for reason, query in ((is_there, there), (twin_reason(name), twins)):
                for (number,) in connection.execute(query).fetchall() if numbered or query is there else ():
                    refused.setdefault(number, []).append(reason)
        return refused

    def _is_same(self, name: str) -> str:
        """Return SQL that is true if the table considers the values of a key equal."""
        return f"t.{quoted(name)} = {self._value(name)}"

    def _without(self, connection: Any, source: str, numbers: list[int]) -> str:
        """Return the source without these rows."""
        for some in _parted(numbers):
            connection.execute(f"DELETE FROM {source} WHERE {NUMBER} IN ({', '.join(map(str, some))})")
        return source

    def _order(self, *, numbered: bool) -> str:
        """Return the ORDER BY clause in which rows are inserted."""
        return ""

    def _apart(self, connection: Any) -> AbstractContextManager[Any]:
        """Undo only the statements of the block if it fails."""
        return nullcontext()

    def _refusal(self, error: Exception, *, rejects: bool) -> str:
        """Return why the table refuses a row; nothing if the error says all, or does not come from a row."""
        return ""

    def _write(
        self, connection: Any, source: str, names: list[str], refused: Refused, *, numbered: bool
    ) -> int:
        """Insert the rows; return how many, and add the reasons of those the table refuses.

        Rows that may be refused are inserted many at a time; a failing batch is bisected to the refused row. `names`
        are the columns that are written, as SQL.
        """
        load, written = self._load, 0
        order, rejects = self._order(numbered=numbered), numbered and load.on_violation == "reject"

        def batches() -> list[list[int]]:
            found = connection.execute(f"SELECT n.{NUMBER} FROM {source}{order}")
            return _parted([number for (number,) in found])[::-1]

        left = batches() if rejects else [[]]
        while left:
            some = left.pop()
            where = f"n.{NUMBER} IN ({', '.join(map(str, some))})" if some else "true"
            try:
                with self._apart(connection):
                    written += self._write_from(connection.execute, source, names, where, order)
            except Exception as error:
                if not (reason := self._refusal(error, rejects=rejects)):
                    raise
                if not some:
                    left = batches()
                elif len(some) > 1:
                    half = len(some) // 2
                    left += [some[half:], some[:half]]
                elif rejects:
                    # Without a value: each would be another reason.
                    plain = reason.partition(": ")[0] if reason.startswith("invalid input") else reason
                    refused.setdefault(some[0], []).append(elided(f"{load.table}: {plain}", LONGEST))
                else:
                    one = f"FROM {source} WHERE n.{NUMBER}"
                    (count,) = connection.execute(f"SELECT count(*) {one} <= {some[0]}").fetchone()
                    listed = ", ".join(f"n.{quoted(name)}" for name in load.names)
                    row = shown(
                        load.names, connection.execute(f"SELECT {listed} {one} = {some[0]}").fetchone()
                    )
                    raise DatabaseTrouble(
                        f"{load.table} in {self._url.shown} refuses the rows: {reason} (mapped row {count:,}: {row})"
                    ) from None
        return written

    def _write_from(
        self, execute: Callable[[str], Any], source: str, names: list[str], where: str, order: str
    ) -> int:
        """Insert rows of a source by one statement, or add versions of them by a few; return the number written."""
        load = self._load
        items = [*map(self._value, load.names), text(load.run_id)][: len(names)]
        if not load.history:
            key = list(map(quoted, load.key))
            sets = ", ".join(f"{one} = excluded.{one}" for one in [n for n in names if n not in key] or key)
            conflict = f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sets}" if key else ""
            query = f"SELECT {', '.join(items)} FROM {source} WHERE {where}{order}"
            done = execute(f"{self._into} ({', '.join(names)}) {query}{conflict}")
            # DuckDB returns it as a row.
            return int(done.rowcount if done.rowcount >= 0 else done.fetchone()[0])
        begin, end, current = map(quoted, HISTORY_COLUMNS)
        is_current = " AND ".join([f"t.{current}", *map(self._is_same, load.key)])
        both = f"{self._table} AS t, {source} WHERE {is_current}"
        if not self._at:
            (latest,) = execute(f"SELECT CAST(max(t.{begin}) AS VARCHAR) FROM {both}").fetchone()
            self._at = text(instant(load, latest))
        differs = " OR ".join(self._differs(name) for name in load.names if name not in load.key) or "false"
        execute(
            f"UPDATE {self._table} AS t SET {end} = {self._at}, {current} = false FROM {source} "
            f"WHERE {is_current} AND {where} AND ({differs})"
        )
        execute(
            f"{self._into} ({', '.join([*names, begin, current])}) SELECT {', '.join([*items, self._at, 'true'])} "
            f"FROM {source} WHERE NOT EXISTS (SELECT 1 FROM {self._table} AS t WHERE {is_current}) AND {where}"
        )
        return int(execute(f"SELECT count(*) FROM {both} AND {where}").fetchone()[0])


@define
class _Transaction:
    """The transaction that keeps other writers away from the file while the loads of a run last."""

    connection: Any
    is_begun: bool = False
    is_committed: bool = False


class FileLoader(Loader):
    """A load into a database that is one file, with one writer at a time: SQLite and DuckDB.

    One load of the same run and file shares the transaction of another, as neither could wait for the other; it is
    committed or undone as a whole.
    """

    begin: ClassVar[str]

    def __init__(self, url: DatabaseUrl, load: Load, beside: Iterable[Loader] = ()) -> None:
        super().__init__(url, load)
        others = (one for one in beside if isinstance(one, FileLoader) and one._load.run_id == load.run_id)
        self._shared = next((one._transaction for one in others if one._url.path == url.path), None)
        self._transaction: _Transaction | None = None

    def _connect(self, built: Path) -> Any:
        """Open the file to write it, creating it if the load may."""
        return self.access.connect(self._url, "rwc" if self._load.create else "rw")

    def _spelled(self, name: str) -> str:
        """Return a name of the table as the load spells it: these databases ignore its case."""
        names = (*self._load.names, RUN_COLUMN, *HISTORY_COLUMNS)
        return {one.lower(): one for one in names}.get(name.lower(), name)

    def _columns(self, connection: Any) -> list[TableColumn]:
        return [evolve(one, name=self._spelled(one.name)) for one in super()._columns(connection)]

    def _unique(self, connection: Any) -> list[UniqueIndex]:
        there = super()._unique(connection)
        return [
            UniqueIndex({self._spelled(name): kind for name, kind in one.columns.items()}, one.where)
            for one in there
        ]

    def check(self) -> None:
        if not self._load.create or Path(self._url.path).is_file():
            super().check()

    def _create_loads(self, connection: Any) -> None:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS _lume_loads (run_id TEXT PRIMARY KEY, flow TEXT NOT NULL, "
            "source_path TEXT NOT NULL, target TEXT NOT NULL, loaded_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )

    def _begin(self, built: Path) -> Any:
        load = self._load
        self._transaction = self._shared or _Transaction(self._connect(built))
        connection = self._transaction.connection
        if not self._transaction.is_begun:
            connection.execute(self.begin)
            self._transaction.is_begun = True
        if load.create:
            for statement in create_table(load, self.access.types) if not self._columns(connection) else ():
                connection.execute(statement)
            self._create_loads(connection)
            self._check_table(connection)
        return connection

    def commit(self) -> None:
        assert self._transaction is not None
        if not self._transaction.is_committed:
            with self._errors(f"{self._url.shown} can't commit"):
                self._transaction.connection.execute("COMMIT")
            self._transaction.is_committed = True
        self.close()

    def close(self) -> None:
        if self._transaction is not None:
            self._transaction.connection.close()
            self._transaction = None
