"""Tries flows on samples: in a database that is opened once, where each cleaner's macros are created once."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen
from duckdb import DuckDBPyConnection

from lume_local._flow.definition import read_definition
from lume_local._samples.opening import JudgedColumn
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect
from lume_local._worker.sources.formats.names import visible_columns
from lume_local._worker.sources.formats.rows_file import RowsFile
from lume_local._worker.statements import BITS, Layout, Statements

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
            flow = read_definition(_flow_of(source, columns))
            compiled = compile_flow(connection, flow, made=self._made, rehearsed=False)
            self._made.update(compiled["cleaners"])
            yield connection, compiled


@contextmanager
def opened_trials() -> Iterator[Trials]:
    """Open the database for the duration of the block."""
    with connect() as database:
        yield Trials(database)


def _flow_of(source: Json, columns: Json) -> dict[str, Any]:
    return {"flow": "sample", "version": "v1", "source": source, "columns": columns}


def flow_to_read(connection: DuckDBPyConnection, source: Json) -> Json:
    """Return a compiled flow that only reads its source."""
    return compile_flow(connection, read_definition(_flow_of(source, {"none": {"sql": "NULL"}})))


def kept(layout: Layout, rows: list[list[str | None]], path: Path) -> Layout:
    """Keep the rows in a file, so that every flow is tried on the same ones."""
    file = RowsFile(path, len(layout.raw))
    for row in rows:
        file.write(row)
    file.close()
    return Layout(file.reader, layout.raw, {})


def read_by(flow: Json, layout: Layout, shown: str) -> Layout:
    """Return only the columns that the flow reads: each step of its statement would carry the others along."""
    places = visible_columns(flow, list(layout.raw), shown)
    items = ", ".join(f"_lume_s{n} AS _lume_s{k}" for k, n in enumerate(places.values()))
    raw = tuple(layout.raw[n] for n in places.values())
    reader = f"SELECT {items or '1 AS _lume_none'} FROM ({layout.reader})"
    return Layout(reader, raw, {name: k for k, name in enumerate(places)})


def judged(
    trials: Trials,
    rows: Layout,
    shown: str,
    source: Mapping[str, Any],
    columns: Mapping[str, tuple[str, Mapping[str, Any]]],
) -> dict[str, JudgedColumn]:
    """Judge columns of a flow on these rows (see `ReadSample`)."""
    definitions = {name: dict(column) for name, (_, column) in columns.items()}
    with trials.compiled(dict(source), definitions) as (connection, flow):
        layout = read_by(flow, rows, shown)
        statements = Statements(flow, layout)
        connection.execute(f"CREATE TEMP TABLE _lume_stage AS {statements.stage()}")
        _, _, *counts = connection.execute(statements.counts("_lume_stage")).fetchall()[0]
        found = dict.fromkeys(columns, JudgedColumn(0, 0, None))
        for n, (check, count) in enumerate(zip(flow["checks"], counts, strict=True)):
            name, _, reason = check["reason"].partition(": ")
            if reason == "is required":
                found[name] = evolve(found[name], missing=count)
            elif count:
                at = layout.raw.index(columns[name][0])
                query = (
                    f"SELECT _lume_raw[{at + 1}] FROM _lume_stage "
                    f"WHERE (_lume_why{n // BITS} & {1 << (n % BITS)}) <> 0 LIMIT 1"
                )
                ((example,),) = connection.execute(query).fetchall()
                found[name] = evolve(found[name], misfits=found[name].misfits + count, example=example)
    return found
