"""The database for trying flows on samples. It is opened once, and each cleaner's macros are created once."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from attrs import field, frozen
from duckdb import DuckDBPyConnection

from lume_local._flow.definition import read_definition
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect

Json = dict[str, Any]


@frozen
class Trials:
    """Gives each trial its own connection, with which its tables end. Open it with `opened_trials`."""

    _database: DuckDBPyConnection
    _made: set[str] = field(factory=set, init=False)

    def cursor(self) -> AbstractContextManager[DuckDBPyConnection]:
        """Open a connection without tables."""
        return self._database.cursor()

    @contextmanager
    def compiled(self, source: Json, columns: Json) -> Iterator[tuple[DuckDBPyConnection, Json]]:
        """Compile a flow of these columns, and lend its connection; its statement runs on rows right away."""
        with self.cursor() as connection:
            flow = read_definition(flow_of(source, columns))
            compiled = compile_flow(connection, flow, made=self._made, rehearsed=False)
            self._made.update(compiled["cleaners"])
            yield connection, compiled


@contextmanager
def opened_trials() -> Iterator[Trials]:
    """Open the database for the duration of the block."""
    with connect() as database:
        yield Trials(database)


def flow_of(source: Json, columns: Json) -> Json:
    """Return a flow with these columns."""
    return {"flow": "sample", "version": "v1", "source": source, "columns": columns}
