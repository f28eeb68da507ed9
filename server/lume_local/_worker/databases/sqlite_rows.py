"""Inserts rows into a table of SQLite, unless its constraints refuse them."""

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from lume_local._worker.databases.database import DatabaseTrouble, Load, Refused, by_constraint, shown

Batch = list[tuple[Any, ...]]


class RowsInto:
    """Inserts rows.

    Args:
        connection: with the transaction of the load.
        insert: the statement for one row.
        where: the database's name in messages.
    """

    def __init__(self, connection: sqlite3.Connection, insert: str, load: Load, where: str) -> None:
        self._connection, self._sql, self._load, self._where = connection, insert, load, where
        self._count = 0
        self._last: tuple[Any, ...] = ()

    def all(self, batches: Iterable[Batch]) -> int:
        """Insert all rows; return their number. Raises `DatabaseTrouble`, which names the refused row."""
        try:
            return sum(
                self._connection.executemany(self._sql, self._each(batch)).rowcount for batch in batches
            )
        except sqlite3.IntegrityError as error:
            row = shown(self._load.names, self._last[: len(self._load.names)])
            raise DatabaseTrouble(
                f"{self._load.table} in {self._where} refuses the rows: {error} (mapped row {self._count:,}: {row})"
            ) from None

    def _each(self, batch: Batch) -> Iterator[tuple[Any, ...]]:
        for self._last in batch:
            self._count += 1
            yield self._last

    def judged(self, batches: Iterable[Batch], refused: Refused) -> int:
        """Insert numbered rows except those refused already; add the reasons of further refused rows."""
        kept = ([row for row in batch if row[-1] not in refused] for batch in batches)
        if self._load.on_violation == "fail":
            return self.all([row[:-1] for row in batch] for batch in kept)
        return sum(self._written(row, refused) for batch in kept for row in batch)

    def _written(self, row: tuple[Any, ...], refused: Refused) -> int:
        try:
            return self._connection.execute(self._sql, row[:-1]).rowcount
        except sqlite3.IntegrityError as error:
            refused[row[-1]] = [by_constraint(self._load, str(error))]
            return 0
