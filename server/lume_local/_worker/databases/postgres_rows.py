"""Inserts rows into a table of PostgreSQL: first into a temporary table, then into the table, unless refused."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lume_local._flow.databases import RUN_COLUMN
from lume_local._flow.definition import quoted
from lume_local._worker.databases.built import opened
from lume_local._worker.databases.database import (
    NUMBER,
    DatabaseTrouble,
    Load,
    Refused,
    by_constraint,
    check_all,
    in_table,
    on_conflict,
    repeated,
)
from lume_local._worker.databases.postgres import sent
from lume_local._worker.databases.postgres_types import PostgresTypes, array_of, base_of, whole_text
from lume_local._worker.sql import text

if TYPE_CHECKING:
    import psycopg

_BLOCK = 1024 * 1024
_TOGETHER = 10_000
"""Rows that are inserted together, before refused rows are looked for among them."""
_OF_A_ROW = ("22", "23")
"""Classes of SQLSTATE: an invalid value, a violated constraint."""


class StagedRows:
    """The rows of one load.

    Args:
        connection: with the transaction of the load.
        given: the type of each column of the table.
        numbered: whether the rows have `NUMBER`.

    Raises:
        DatabaseTrouble: the table has lost a column since it was checked.
    """

    def __init__(
        self, connection: "psycopg.Connection[Any]", load: Load, given: dict[str, str], *, numbered: bool
    ) -> None:
        self._connection, self._load, self._given, self._numbered = connection, load, given, numbered
        self._table = PostgresTypes().spelled(load.table)
        self.count = 0
        if gone := [name for name in load.names if name not in given]:
            raise DatabaseTrouble(f"{load.table} no longer has the column {', '.join(map(repr, gone[:10]))}")

    def copy(self, built: Path) -> None:
        """Copy the rows to a temporary table that ends with the transaction."""
        load, file = self._load, built.with_suffix(".copy")
        names = [*load.names, NUMBER] if self._numbered else load.names
        with opened(built) as rows:
            rows.check_key(load.key)
            whole = {name: whole_text(one, self._given[name]) for name, one in self._each()}
            self.count = rows.write_csv(whole | ({NUMBER: NUMBER} if self._numbered else {}), file)
        items = (f"NULL::text AS {one}" if self._is_text(name) else one for name, one in self._each())
        number = f", NULL::bigint AS {NUMBER}" if self._numbered else ""
        like = f"SELECT {', '.join(items)}{number} FROM {self._table} WITH NO DATA"
        self._connection.execute(sent(f"CREATE TEMP TABLE _lume_new ON COMMIT DROP AS {like}"))
        copying = f"COPY _lume_new ({', '.join(map(quoted, names))}) FROM STDIN (FORMAT csv)"
        with self._connection.cursor() as cursor, file.open("rb") as source:
            with cursor.copy(sent(copying)) as copy:
                while block := source.read(_BLOCK):
                    copy.write(block)
            check_all(load, self.count, cursor.rowcount)
        file.unlink()

    def _each(self) -> Iterator[tuple[str, str]]:
        """Return each name, plain and as SQL."""
        return ((name, quoted(name)) for name in self._load.names)

    def _is_text(self, name: str) -> bool:
        """Return whether the temporary table has text, which is converted when the row is inserted."""
        return self._load.on_violation == "reject" or self._given[name].endswith("[]")

    def _value(self, name: str, row: str = "") -> str:
        """Return SQL for a value to insert. It is then assigned, which truncates nothing, unlike a cast."""
        value, kind = f"{row}{quoted(name)}", base_of(self._given[name])
        if self._given[name].endswith("[]"):
            return array_of(value, kind)
        return f"{value}::{kind}" if self._is_text(name) else value

    def insert(self, only: Sequence[int] | None = None) -> int:
        """Insert all or some rows by one statement; return the number written."""
        load, names = self._load, [one for _, one in self._each()]
        items = [self._value(name) for name in load.names]
        if RUN_COLUMN in self._given:
            names.append(RUN_COLUMN)
            items.append(text(load.run_id))
        # In the order of the key, concurrent upserts wait for each other without a deadlock.
        order = f" ORDER BY {', '.join(map(quoted, load.key or ([NUMBER] if self._numbered else [])))}"
        where = "" if only is None else f" WHERE {NUMBER} = ANY(%s)"
        statement = (
            f"INSERT INTO {self._table} ({', '.join(names)}) SELECT {', '.join(items)} FROM _lume_new"
            f"{{}}{order if load.key or self._numbered else ''}{on_conflict(load, names)}"
        )
        if only is None:  # without parameters, as a name may contain a %
            return self._connection.execute(sent(statement.replace("{}", "", 1))).rowcount
        statement = statement.replace("%", "%%").replace("{}", where, 1)
        return self._connection.execute(sent(statement), [list(only)]).rowcount

    def judged(self) -> Refused:
        """Insert all rows that the table accepts; return the reasons of the others."""
        refused = self.refused_for_ever()
        if refused:
            self._connection.execute(sent(f"DELETE FROM _lume_new WHERE {NUMBER} = ANY(%s)"), [list(refused)])
        is_each = self._load.on_violation == "reject"
        written = self._insert_each(refused) if is_each else self.insert()
        check_all(self._load, self.count - len(refused), written)
        return refused

    def refused_for_ever(self) -> Refused:
        """Return the rows with a unique value that, as the table compares it, is there or in an earlier row."""
        refused: Refused = {}
        number = NUMBER if self._numbered else "0"
        for name in self._load.ever:
            column, value = quoted(name), self._value(name, "n.")
            there = f"SELECT 1 FROM {self._table} AS t WHERE t.{column} = {value}"
            query = f"SELECT {number} FROM _lume_new AS n WHERE EXISTS ({there})"
            self._note(refused, query, in_table(self._load, name))
            if self._numbered:
                nth = f"row_number() OVER (PARTITION BY {value} ORDER BY {NUMBER}) AS nth"
                numbered = f"SELECT {NUMBER}, {nth} FROM _lume_new AS n WHERE {column} IS NOT NULL"
                self._note(refused, f"SELECT {NUMBER} FROM ({numbered}) AS x WHERE nth > 1", repeated(name))
        return refused

    def _note(self, refused: Refused, query: str, reason: str) -> None:
        for (number,) in self._connection.execute(sent(query)):
            refused.setdefault(number, []).append(reason)

    def _insert_each(self, refused: Refused) -> int:
        """Insert many rows at a time, in savepoints; bisect a failing batch to the refused row."""
        import psycopg

        order = ", ".join(map(quoted, self._load.key or [NUMBER]))
        query = f"SELECT {NUMBER} FROM _lume_new ORDER BY {order}"
        numbers = [number for (number,) in self._connection.execute(sent(query))]
        left = [numbers[at : at + _TOGETHER] for at in range(0, len(numbers), _TOGETHER)][::-1]
        written = 0
        while left:
            some = left.pop()
            try:
                with self._connection.transaction():
                    written += self.insert(some)
            except psycopg.Error as error:
                if (error.sqlstate or "")[:2] not in _OF_A_ROW:
                    raise
                if len(some) == 1:
                    message = error.diag.message_primary or str(error)
                    refused.setdefault(some[0], []).append(by_constraint(self._load, message))
                else:
                    half = len(some) // 2
                    left += [some[half:], some[:half]]
        return written
