"""The process behind `SampleFile`: shows a sample of a source as a flow's expressions see it, and a flow's result.

Flows are tried in a database that is opened once, where each cleaner's macros are created once.

python -m lume_local._worker.samples.sample FILE NAME FOLDER

Reads requests on stdin, one JSON object per line, and answers each with another one. NAME is the file's name in
messages; FOLDER is for its own files.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
from attrs import asdict, evolve, field, frozen
from duckdb import DuckDBPyConnection

from lume_local._flow.definition import Flow, read_definition
from lume_local._flow.fields import FlowError
from lume_local._samples.opening import JudgedColumn, SampleRows
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect
from lume_local._worker.sources.formats.members import member_names, unread_members
from lume_local._worker.sources.formats.names import visible_columns
from lume_local._worker.sources.formats.parquet import report_damage
from lume_local._worker.sources.formats.sheets.excel import opened, read_sheet, sheets_of
from lume_local._worker.sources.formats.text.csv import names_of
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.intake import Account, Malformed, Reading
from lume_local._worker.sources.read import read_as
from lume_local._worker.sources.source import SourceError, no_pause
from lume_local._worker.sql import STAGED, RowsFile, copy_to, scan_or_retry
from lume_local._worker.stage import scan_of
from lume_local._worker.statements import BITS, Relation, Statements

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
        """Compile a flow of these columns, and lend its connection."""
        with self.of_flow(read_definition(_flow_of(source, columns))) as found:
            yield found

    @contextmanager
    def of_flow(self, flow: Flow) -> Iterator[tuple[DuckDBPyConnection, Json]]:
        """Compile a flow, and lend its connection; its statement runs on rows right away."""
        with self.cursor() as connection:
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


def kept(relation: Relation, rows: list[list[str | None]], path: Path) -> Relation:
    """Keep the rows in a file, so that every flow is tried on the same ones."""
    file = RowsFile(path, len(relation.raw))
    for row in rows:
        file.write(row)
    file.close()
    return Relation(file.reader, relation.raw, {})


def read_by(flow: Json, relation: Relation, shown: str) -> Relation:
    """Return only the columns that the flow reads: each step of its statement would carry the others along."""
    places = visible_columns(flow, list(relation.raw), shown)
    items = ", ".join(f"_lume_s{n} AS _lume_s{k}" for k, n in enumerate(places.values()))
    raw = tuple(relation.raw[n] for n in places.values())
    reader = f"SELECT {items or '1 AS _lume_none'} FROM ({relation.reader})"
    return Relation(reader, raw, {name: k for k, name in enumerate(places)})


_LOOKED_AT, _EXAMPLES = 50, 3
"""Misfits among which different ones are looked for, and those of them that are shown."""


def judged(
    trials: Trials,
    rows: Relation,
    shown: str,
    source: Mapping[str, Any],
    columns: Mapping[str, tuple[str, Mapping[str, Any]]],
) -> dict[str, JudgedColumn]:
    """Judge columns of a flow on these rows (see `ReadSample`)."""
    definitions = {name: dict(column) for name, (_, column) in columns.items()}
    with trials.compiled(dict(source), definitions) as (connection, flow):
        relation = read_by(flow, rows, shown)
        statements = Statements(flow, relation)
        connection.execute(f"CREATE TEMP TABLE _lume_stage AS {statements.stage()}")
        _, _, *counts = connection.execute(statements.counts("_lume_stage")).fetchall()[0]
        found = dict.fromkeys(columns, JudgedColumn(0, 0))
        for n, (check, count) in enumerate(zip(flow["checks"], counts, strict=True)):
            name, _, reason = check["reason"].partition(": ")
            if reason == "is required":
                found[name] = evolve(found[name], missing=count)
            elif count:
                at = relation.raw.index(columns[name][0])
                query = (
                    f"SELECT _lume_raw[{at + 1}] FROM _lume_stage "
                    f"WHERE (_lume_why{n // BITS} & {1 << (n % BITS)}) <> 0 LIMIT {_LOOKED_AT}"
                )
                values = dict.fromkeys(value for (value,) in connection.execute(query).fetchall())
                examples = [*values][:_EXAMPLES]
                found[name] = evolve(found[name], misfits=found[name].misfits + count, examples=examples)
    return found


_MOST = 100_000
"""Rows that flows are tried on."""
_AT_FIRST, _THINNED = 5_000, 1_000
"""Rows shown from the beginning; and the number of further rows after which every second one is left out, then two of
three after the same number, and so on.
"""


class HeldSample:
    """The first rows of one file, kept for trying flows on them.

    Args:
        shown: its name in messages.
        folder: for derived files; one folder for each reading.
        trials: where it is read and judged.
    """

    def __init__(self, path: Path, shown: str, folder: Path, trials: Trials) -> None:
        self._path, self._shown, self._folder, self._trials = path, shown, folder, trials
        self._readings = 0
        self._relation: Relation | None = None

    def rows(self, source: Mapping[str, Any], most: int, members: Sequence[str]) -> SampleRows:
        """Return some of the kept rows. `source` is a flow's, `members` are the members of its JSON objects."""
        with self._trials.cursor() as connection:
            reading = self._reading(connection, source, members)
            flow, folder = reading.flow, reading.folder
            kind = flow["format"]
            if kind == "excel":
                with opened(reading) as book:  # the first of several sheets represents all
                    relation = read_sheet(reading, sheets_of(reading, book)[0], most)
            else:
                relation = read_as(kind, reading)
            reading.malformed.close()
            unread = unread_members(connection, flow, relation, of_columns=False)
            # Kept in a file, so that every flow is tried on the same rows.
            path, items = folder / "rows.parquet", ", ".join(f"_lume_s{n}" for n in range(len(relation.raw)))
            few = f"SELECT {items or '1 AS _lume_none'} FROM ({{}}) LIMIT {_MOST}"
            files = {self._shown: self._path} if kind == "parquet" else {}
            with report_damage(connection, files):
                count = scan_or_retry(
                    relation.reader, lambda reader: copy_to(connection, few.format(reader), path, STAGED)
                )
            self._relation = Relation(f"FROM {scan_of(path)}", relation.raw, {})
            found = _shown(connection, self._relation, most)
            header = names_of(reading, Dialect.of(flow["csv"])) if kind == "csv" else list(relation.raw)
        lines = [one.line for one in islice(reading.malformed.rows(), 5)]
        return SampleRows(list(relation.raw), header, found, count, reading.malformed.counts, lines, unread)

    def members(self, source: Mapping[str, Any], most: int) -> list[str]:
        """Return the members of the first records of JSON or XML, as a flow names them."""
        with self._trials.cursor() as connection:
            reading = self._reading(connection, source, [])
            with closing(reading.malformed):
                relation = read_as(reading.flow["format"], reading)
            return member_names(connection, relation, most)

    def _reading(
        self, connection: DuckDBPyConnection, source: Mapping[str, Any], members: Sequence[str]
    ) -> Reading:
        self._readings += 1
        folder = self._folder / f"reading{self._readings}"
        folder.mkdir()
        flow = flow_to_read(connection, dict(source))
        flow["sources"] = dict.fromkeys(members, "")
        account, malformed = Account(self._path.stat().st_size), Malformed(folder / "malformed")
        return Reading(connection, self._path, self._shown, flow, folder, account, malformed, no_pause)

    def judge(
        self, source: Mapping[str, Any], columns: Mapping[str, tuple[str, Mapping[str, Any]]]
    ) -> dict[str, JudgedColumn]:
        """Judge columns of a flow on the kept rows (see `ReadSample`)."""
        assert self._relation is not None, "no rows were read"
        return judged(self._trials, self._relation, self._shown, source, columns)


def _shown(connection: DuckDBPyConnection, kept: Relation, most: int) -> list[list[str | None]]:
    """Return some rows from all over the sample, fewer the further down they are."""
    n, items = f"(file_row_number - {_AT_FIRST})", ", ".join(f"_lume_s{n}" for n in range(len(kept.raw)))
    query = (
        f"SELECT {items or '1'} FROM ({kept.reader}) WHERE {n} < 0 OR {n} % (1 + {n} // {_THINNED}) = 0 "
        f"ORDER BY file_row_number LIMIT {most}"
    )
    return [list(row) for row in connection.execute(query).fetchall()]


def main(path: str, shown: str, folder: str) -> None:
    """Answer requests until stdin ends."""
    with opened_trials() as trials:
        sample = HeldSample(Path(path), shown, Path(folder), trials)
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = {"found": getattr(sample, request.pop("do"))(**request)}
            except (SourceError, FlowError, duckdb.Error) as error:
                answer = {"error": str(error)}
            sys.stdout.write(json.dumps(answer, default=asdict) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
