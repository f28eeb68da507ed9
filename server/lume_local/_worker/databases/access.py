"""How a kind of database is reached and read."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, ClassVar, NamedTuple

from lume_local._flow.databases import with_parameter
from lume_local._shared.failing import on_error
from lume_local._worker.databases.columns import TableColumn, Types, UniqueIndex
from lume_local._worker.databases.database import DatabaseUrl, Row


class Access(NamedTuple):
    """The access to a kind of database; all but `errors` and `connect` raise its driver's errors.

    Attributes:
        mark: precedes the number of a parameter.
        connect: opens a connection; the mode is `ro`, `rw`, or `rwc` to create a file. Raises `DatabaseTrouble`.
        errors: converts errors of the driver to `DatabaseTrouble`, with the failed action. If that blames the rows
            (`blames_rows`), it is left out where the transaction was ended because of others.
        columns: returns the columns of a table or view; none if it is missing.
        unique: returns the unique indexes of a table.
        is_table: returns whether it is a table, and no view.
    """

    types: Types
    mark: str
    connect: Callable[[DatabaseUrl, str], Any]
    errors: Callable[..., AbstractContextManager[None]]
    columns: Callable[[Any, str], list[TableColumn]]
    unique: Callable[[Any, str], list[UniqueIndex]]
    is_table: Callable[[Any, str], bool]


class Query(ABC):
    """A started query, before any of its rows has arrived. Raises `DatabaseTrouble`.

    Attributes:
        names: of its columns.
    """

    access: ClassVar[Access]
    names: list[str]

    def __init__(self, url: DatabaseUrl, query: str, source_path: str) -> None:
        self._url = url
        self._connection = self.access.connect(url, "ro")
        with on_error(self.close), self.access.errors(url, f"the query can't be run on {url.shown}"):
            sent, has_parameter = with_parameter(query, f"{self.access.mark}1")
            self._begin(sent, [source_path] if has_parameter else [])

    @abstractmethod
    def _begin(self, query: str, parameters: list[str]) -> None:
        """Start the query, and set `names`."""

    @abstractmethod
    def _fetch(self) -> list[Row]:
        """Return the next rows; none at the end."""

    def batches(self) -> Iterator[list[Row]]:
        """Yield batches of its rows."""
        while True:
            with self.access.errors(self._url, f"the query was interrupted by {self._url.shown}"):
                rows = self._fetch()
            if not rows:
                return
            yield rows

    def close(self) -> None:
        """Release the connection."""
        self._connection.close()
