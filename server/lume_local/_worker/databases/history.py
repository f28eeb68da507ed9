"""The statements of an upsert that adds versions of rows, and keeps the earlier ones: the same for all databases."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from lume_local._flow.databases import HISTORY_COLUMNS, VALID_FROM
from lume_local._flow.definition import quoted
from lume_local._worker.databases.database import DatabaseTrouble, Load
from lume_local._worker.sql import text

_FROM, _TO, _CURRENT = map(quoted, HISTORY_COLUMNS)
Sql = Callable[[str], str]
"""SQL about a column."""


class Versions(NamedTuple):
    """The versions of a load, in a table that is `t` in all SQL.

    Attributes:
        table: its name, as SQL.
        rows: SQL of the new rows, named `n`; empty for a single row, whose values are parameters.
        is_same: whether a row of the table has the new value of a column of the key.
        differs: whether it has another value of a column; NULL equals NULL.
    """

    load: Load
    table: str
    rows: str
    is_same: Sql
    differs: Sql

    def begin(self, execute: Callable[[str], Any]) -> str:
        """Return, as SQL, the instant from which the versions of the load are valid. Raises `DatabaseTrouble`."""
        return f"TIMESTAMP {text(instant(self.load, execute(self.latest()).fetchone()[0]))}"

    def write(
        self,
        execute: Callable[[str], Any],
        into: str,
        names: list[str],
        values: list[str],
        at: str,
        where: str = "",
    ) -> int:
        """Add versions of all rows by a few statements; return the number of rows that then have a current one."""
        execute(self.close(at, where))
        execute(self.add(into, names, values, at, where))
        return int(execute(self.current(where)).fetchone()[0])

    def latest(self) -> str:
        """Return the query for the latest begin of the current versions that have a key of the rows."""
        return f"SELECT CAST(max(t.{_FROM}) AS VARCHAR) FROM {self._current()}"

    def close(self, at: str, where: str = "") -> str:
        """Return the statement that ends, at an instant, the current versions with other values.

        `where` is a further condition for the rows, which begins with AND.
        """
        others = " OR ".join(self.differs(name) for name in self.load.names if name not in self.load.key)
        rows = f" FROM {self.rows}" if self.rows else ""
        return (
            f"UPDATE {self.table} AS t SET {_TO} = {at}, {_CURRENT} = false{rows} "
            f"WHERE {self._is_current}{where} AND ({others or 'false'})"
        )

    def add(self, into: str, names: list[str], values: list[str], at: str, where: str = "") -> str:
        """Return the statement that adds, from an instant on, the rows whose keys have no current version."""
        listed = ", ".join([*names, _FROM, _CURRENT])
        there = f"SELECT 1 FROM {self.table} AS t WHERE {self._is_current}"
        rows = f" FROM {self.rows}" if self.rows else ""
        items = ", ".join([*values, at, "true"])
        return f"{into} ({listed}) SELECT {items}{rows} WHERE NOT EXISTS ({there}){where}"

    def current(self, where: str = "") -> str:
        """Return the query for the number of current versions that have a key of the rows."""
        return f"SELECT count(*) FROM {self._current()}{where}"

    def _current(self) -> str:
        return f"{', '.join(filter(None, (f'{self.table} AS t', self.rows)))} WHERE {self._is_current}"

    @property
    def _is_current(self) -> str:
        return " AND ".join([f"t.{_CURRENT}", *map(self.is_same, self.load.key)])


def instant(load: Load, latest: str | None) -> str:
    """Return the instant from which the versions of a load are valid: the run's, or just after the latest version.

    Raises `DatabaseTrouble`.
    """
    at = datetime.fromisoformat(load.at).astimezone(UTC).replace(tzinfo=None)
    if latest is not None:
        try:
            at = max(at, datetime.fromisoformat(latest) + timedelta(microseconds=1))
        except (ValueError, OverflowError, TypeError):
            raise DatabaseTrouble(
                f"{load.table} has a current row with {VALID_FROM} = {latest[:40]!r}: no version can begin after that"
            ) from None
    return f"{at:%Y-%m-%d %H:%M:%S.%f}"
