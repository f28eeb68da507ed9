"""Returned rows: rejects of earlier runs, whose keys are compared with the keys that runs have accepted since.

Rows are compared with the rows of their own source: the mapped rows of the first run on it, and of all runs on its
rejects. Only the columns that must be unique are read from these outputs. If an output is gone, a row is held back.

Keys are kept in files in the run's folder: for each output the row numbers and the keys, as text, because another
version may have other types. `job.accepted`:
- `unique`: the columns.
- `origins`: for each source the records of this run, as `[first, count]`; null for all. With `rejects`, which reads
  the rejects that this run corrects, these are numbers of rejects.
- `outputs`: for each run its `run_id`, how to read its mapped rows (`read` or `table`; neither if they are gone),
  its `columns`, and `of`: `[origin, first row, count]`, with null for all.
- `lacking`: for each column the number of these outputs without it.
"""

# ruff: noqa: S608 - the parts of its SQL are constants, numbers or quoted.
import csv
import json
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import duckdb
from attrs import field, frozen
from duckdb import DuckDBPyConnection

from lume_async._base.words import counted
from lume_local._flow.databases import DATABASE, RUN_COLUMN
from lume_local._flow.definition import quoted
from lume_local._shared.commit import explain
from lume_local._shared.folders import MANIFEST, named_in
from lume_local._shared.protocol import Json, Read, read_job
from lume_local._worker.databases.built import own_database
from lume_local._worker.databases.database import DatabaseTrouble, DatabaseUrl
from lume_local._worker.databases.kinds import ACCESS, QUERIES
from lume_local._worker.object_stores import StoreTrouble
from lume_local._worker.outputs.pages import open_output, opened
from lume_local._worker.outputs.row_json import Broken, text_of
from lume_local._worker.rejects import malformed_records
from lume_local._worker.sources.mending.mended_rows import numbers_of_rejects
from lume_local._worker.sources.places.held import named
from lume_local._worker.sql import STAGED, RowsFile, copy_to, csv_reader, literal, row_of, text
from lume_local._worker.steps import Context, TakenIn
from lume_local._worker.targets.lake_target import LakeLoad
from lume_local._worker.targets.target import TargetError
from lume_local._worker.targets.target_kinds import lake_of

_ALL = 2**62
"""A number larger than any row's."""
_LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of the longest line read from a CSV output."""
_AT_ONCE = 1000
_Numbers = tuple[object, ...]


def find_returned(context: Context, taken: TakenIn, folder: Path) -> Path:
    """Write to a file the rows that repeat an accepted key or can't be compared.

    The file has the number `n` of each row, the mask `bits` of its repeated columns, and `why` it is held back.
    Raises `TargetError`.
    """
    accepted = context.job.accepted
    assert accepted is not None
    keys = _Keys(accepted["unique"], folder)
    # Unlike the connection for the flow's expressions, this one can read outputs.
    with own_database("512MB", folder / "keys-spill") as connection:
        for number, output in enumerate(accepted["outputs"]):
            context.pause()
            keys.read(connection, number, output)
        for outputs in keys.tables.values():
            context.pause()
            keys.read_table(connection, outputs)
    path = folder / "returned.parquet"
    copy_to(context.connection, _found(context, taken, keys), path, STAGED)
    return path


def held_back(connection: DuckDBPyConnection) -> dict[str, int]:
    """Count the rows by the reason why they can't be compared."""
    query = "SELECT why, count(*) FROM _lume_duplicates WHERE why IS NOT NULL GROUP BY why ORDER BY why"
    return dict(connection.execute(query).fetchall())


def not_compared(lacking: dict[str, int]) -> dict[str, int]:
    """Return warnings about outputs that lack a column that must be unique."""
    return {
        f"{name}: not compared with {counted(count, 'earlier run')} of this source, whose version lacks the column": 1
        for name, count in lacking.items()
    }


def _found(context: Context, taken: TakenIn, keys: "_Keys") -> str:
    """Return the query for the rows that repeat a key or can't be compared."""
    names, folder = list(enumerate(keys.unique)), keys.folder
    spans = _written(folder / "spans.csv", ("origin", "first", "last"), _spans(context, taken))
    pairs = _written(folder / "pairs.csv", ("output", "origin", "low", "high"), keys.pairs)
    gone = _written(folder / "gone.csv", ("origin", "run_id"), keys.gone)
    repeated = []
    bits = {name: 1 << n for n, name in enumerate(context.flow["unique"])}
    for k, name in names:
        (_, kind, *_) = row_of(context.connection, f"DESCRIBE SELECT {quoted(name)} FROM {taken.staged}")
        accepted = f"SELECT output, nth, TRY_CAST(k{k} AS {kind}) AS key FROM keys"
        repeated.append(
            f"SELECT n, {bits[name]}::BIGINT AS bits FROM these JOIN ({accepted}) ON key = k{k} "
            "JOIN pairs USING (output, origin) WHERE nth >= low AND nth < high"
        )
    of_row = ", ".join(f"s.{quoted(name)} AS k{k}" for k, name in names)
    whose = " ".join(f"WHEN k{k} IS NOT NULL THEN {text(name)}" for k, name in names)
    why = f"CASE {whose} END || ': can''t be checked, because the output of ' || run_id || ' is gone'"
    return f"""
        WITH these AS (
            SELECT s.file_row_number AS n, o.origin, {of_row} FROM {taken.staged} AS s
            JOIN ({spans}) AS o ON s.file_row_number >= o.first AND s.file_row_number < o.last
            WHERE NOT s._lume_reject
        ),
        keys AS ({keys.reader}),
        pairs AS ({pairs}),
        repeated AS (SELECT n, bit_or(bits) AS bits FROM ({" UNION ALL ".join(repeated)}) GROUP BY n),
        held AS (SELECT n, {why} AS why FROM these JOIN ({gone}) USING (origin))
        SELECT n, bits, NULL::VARCHAR AS why FROM repeated
        UNION ALL SELECT n, 0, min(why) FROM held ANTI JOIN repeated USING (n) WHERE why IS NOT NULL GROUP BY n
    """


def _spans(context: Context, taken: TakenIn) -> Iterator[_Numbers]:
    """Yield the well-formed rows of each source."""
    assert context.job.accepted is not None
    origins, malformed = context.job.accepted["origins"], list[int]()
    if rejects := context.job.accepted["rejects"]:
        yield from _spans_of_rejects(
            origins, taken, numbers_of_rejects(read_job(rejects), taken.intake.corrected)
        )
        return
    if taken.intake.malformed.total and any(origins):
        malformed = malformed_records(taken.intake.malformed)
    for origin, records in enumerate(origins):
        for start, count in records or [(0, _ALL)]:
            first, last = (one - bisect_left(malformed, one) for one in (start, start + count))
            yield origin, first, last


def _spans_of_rejects(
    origins: Sequence[Sequence[tuple[int, int]]], taken: TakenIn, numbers: Sequence[int | None]
) -> Iterator[_Numbers]:
    """Yield the same for corrected rejects. A row that matches no reject, or is unknown, may come from any source."""
    parts: dict[int, tuple[int, list[int]]] = {}
    for origin, of_origin in enumerate(origins):
        for start, count in of_origin:
            parts.setdefault(start, (start + count, []))[1].append(origin)
    starts, everything = sorted(parts), range(len(origins))
    is_known = not taken.intake.malformed.total and len(numbers) == taken.intake.account.records
    if not is_known or set(numbers) <= {None}:
        yield from ((origin, 0, _ALL) for origin in everything)
        return
    for row, number in enumerate(numbers):
        end, of = (_ALL, everything) if number is None else parts[starts[bisect_right(starts, number) - 1]]
        yield from (
            (origin, row, row + 1) for origin in (of if number is None or number < end else everything)
        )


def _written(path: Path, names: Sequence[str], rows: Iterable[_Numbers]) -> str:
    """Return a query for the rows; a column holds numbers, or text if its name ends with `_id`."""
    with closing(RowsFile(path, len(names))) as file:
        for row in rows:
            file.write(list(map(str, row)))
    kinds = ("VARCHAR" if name.endswith("_id") else "BIGINT" for name in names)
    items = (f"_lume_s{n}::{kind} AS {name}" for n, (name, kind) in enumerate(zip(names, kinds, strict=True)))
    return f"SELECT {', '.join(items)} FROM ({file.reader})"


@frozen
class _Keys:
    """The accepted keys, in files of `folder`.

    Attributes:
        pairs: rows of an output and the source that they belong to.
        gone: sources whose output is gone, each with that run.
        tables: the outputs in tables, by kind, variable or catalog, and name.
    """

    unique: Sequence[str]
    folder: Path
    files: list[Path] = field(factory=list)
    pairs: list[_Numbers] = field(factory=list)
    gone: list[_Numbers] = field(factory=list)
    tables: dict[tuple[str, ...], list[tuple[int, Json]]] = field(factory=dict)

    @property
    def reader(self) -> str:
        if not self.files:
            nothing = ", ".join(f"NULL::VARCHAR AS k{k}" for k in range(len(self.unique)))
            return f"SELECT 0::BIGINT AS output, 0::BIGINT AS nth, {nothing} WHERE false"
        return f"FROM read_parquet([{', '.join(map(literal, self.files))}])"

    def read(self, connection: DuckDBPyConnection, number: int, output: Json) -> None:
        """Read the keys of a file output; a table is noted for later. Raises `TargetError`."""
        if place := output.get("table"):
            key = place["kind"], place.get("url_env") or place.get("catalog", ""), place["table"]
            self.tables.setdefault(key, []).append((number, output))
        elif "read" in output and self._is_read(connection, number, output):
            for origin, start, count in output["of"]:
                self.pairs.append((number, origin, start, _ALL if count is None else start + count))
        else:
            self._lose(output)

    def _lose(self, output: Json) -> None:
        self.gone.extend((origin, output["run_id"]) for origin in {origin for origin, *_ in output["of"]})

    def _is_read(self, connection: DuckDBPyConnection, number: int, output: Json) -> bool:
        """Read the keys of an output; return False if it is gone or replaced."""
        job, problem = read_job(output["read"]), ""
        try:
            with open_output(job.path, str(self.folder), any_size=True) as place:
                if job.identity and job.identity != place.identity():
                    return False
                reader = _reader(job, place.path, self)
                there = {one[0].lower() for one in connection.execute(f"DESCRIBE {reader}").fetchall()}
                keys = (quoted(name) if name.lower() in there else "NULL" for name in self.unique)
                texts = ", ".join(f"CAST({key} AS VARCHAR) AS k{k}" for k, key in enumerate(keys))
                rows = f"SELECT {number}::BIGINT AS output, row_number() OVER () - 1 AS nth, {texts}"
                self._add(connection, f"{rows} FROM ({reader})")
                return not job.identity or job.identity == place.identity()
        except FileNotFoundError:
            return False
        except StoreTrouble as trouble:
            if trouble.is_missing:
                return False
            problem = str(trouble)
        except (Broken, duckdb.Error, ValueError) as error:
            problem = named(str(error)).partition("\n")[0]
        except OSError as error:
            problem = named(explain(error))
        raise TargetError(
            f"the rows of {output['run_id']}, whose keys the returned rows must not repeat, can't be read: "
            f"{problem}. Submit the run again once they can"
        )

    def _add(self, connection: DuckDBPyConnection, query: str) -> None:
        path = self.folder / f"keys{len(self.files)}.parquet"
        copy_to(connection, query, path, STAGED)
        self.files.append(path)

    def read_table(self, connection: DuckDBPyConnection, outputs: Sequence[tuple[int, Json]]) -> None:
        """Read the keys of runs that have written to one table. Raises `TargetError`.

        Without a column for the run, any row may be theirs, except in an upsert, whose keys are meant to exist.
        """
        place = outputs[0][1]["table"]
        numbers = {output["run_id"]: number for number, output in outputs}
        path, found = self.folder / f"keys{len(self.files)}.csv", set[str]()
        try:
            table = _DatabaseTable(place) if place["kind"] == DATABASE else _LakeTable(place, connection)
            names = {name.lower(): name for name in table.names()}
            if not (of_runs := RUN_COLUMN in names) and place["mode"] == "upsert":
                return
            with closing(RowsFile(path, 1 + len(self.unique))) as file:
                keys_of = [names.get(name.lower()) for name in self.unique]
                for run_id, *values in table.rows(keys_of, numbers if of_runs else ()):
                    found.add(run_id or "")
                    file.write((str(numbers.get(run_id or "", outputs[0][0])), *values))
        except DatabaseTrouble as trouble:
            raise TargetError(
                f"the keys that the returned rows must not repeat can't be read: {trouble}. Submit the run again "
                "once they can"
            ) from None
        keys = ", ".join(f"_lume_s{k + 1} AS k{k}" for k in range(len(self.unique)))
        self._add(
            connection, f"SELECT _lume_s0::BIGINT AS output, 0::BIGINT AS nth, {keys} FROM ({file.reader})"
        )
        for number, output in outputs:
            if of_runs and output["run_id"] not in found and output["table"]["mode"] != "upsert":
                self._lose(output)
            origins = ((origin, 0, _ALL) for origin, *_ in output["of"])
            self.pairs.extend((number if of_runs else outputs[0][0], *one) for one in origins)


class _DatabaseTable:
    """A table with mapped rows."""

    def __init__(self, place: Json) -> None:
        self._url = DatabaseUrl.of(place["url_env"])
        self._spelled = ACCESS[self._url.scheme].types.spelled(place["table"])

    def names(self) -> list[str]:
        with closing(
            QUERIES[self._url.scheme](self._url, f"SELECT * FROM {self._spelled} LIMIT 0", "")
        ) as query:
            return query.names

    def rows(self, columns: Sequence[str | None], run_ids: Collection[str]) -> Iterator[Sequence[str | None]]:
        """Yield the run of each row, and these columns of it, NULL for None; of all runs if none are given."""
        keys = ", ".join("NULL" if name is None else quoted(name) for name in columns)
        which = f"WHERE {RUN_COLUMN} IN ({', '.join(map(text, run_ids))})" if run_ids else ""
        items = f"{RUN_COLUMN if run_ids else 'NULL'}, {keys}"
        with closing(
            QUERIES[self._url.scheme](self._url, f"SELECT {items} FROM {self._spelled} {which}", "")
        ) as query:
            for batch in query.batches():
                yield from batch


class _LakeTable:
    """The same of a table of an open format."""

    def __init__(self, place: Json, connection: DuckDBPyConnection) -> None:
        load = LakeLoad(**place, columns=[], run_id="", flow="", source_path="")
        table = lake_of(place["kind"]).lake.open(load)
        if table is None:
            raise DatabaseTrouble(f"there is no table {load.table}")
        self._table, self._connection = table, connection

    def names(self) -> list[str]:
        return [column.name for column in self._table.columns]

    def rows(self, columns: Sequence[str | None], run_ids: Collection[str]) -> Iterator[Sequence[str | None]]:
        wanted = dict.fromkeys(filter(None, (RUN_COLUMN if run_ids else None, *columns)))
        self._connection.register("_lume_rows", self._table.scan(list(wanted), run_ids))
        keys = ", ".join("NULL" if name is None else f"{quoted(name)}::VARCHAR" for name in columns)
        items = f"{RUN_COLUMN if run_ids else 'NULL'}, {keys}"
        found = self._connection.execute(f"SELECT {items} FROM _lume_rows")
        while rows := found.fetchmany(_AT_ONCE):
            yield from rows


def _reader(job: Read, path: Path, keys: _Keys) -> str:
    """Return a query for the rows of an output, in order; `path` may be another name of its file."""
    location = Path(job.path)
    if location.name == MANIFEST:
        parts = [literal(location.with_name(Path(name).name)) for name in named_in(location)]
        return f"FROM read_parquet([{', '.join(parts)}])"
    if location.suffix.lower() == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            names = next(csv.reader(file), [])
        options = "allow_quoted_nulls=false", f"max_line_size={_LONGEST_LINE}", "parallel=false"
        dialect = (",", '"', '"')
        return f"FROM {csv_reader(path, names, dialect, 'header=true', *options)}"
    if location.suffix.lower() == ".ndjson":
        objects = RowsFile(keys.folder / "objects.csv", len(keys.unique))
        with closing(objects), opened(job, path) as rows:
            for row in rows:
                values = json.loads(row.body, parse_float=str, parse_int=str)  # DuckDB would round numbers
                objects.write([text_of(values.get(name)) for name in keys.unique])
        items = (f"_lume_s{k} AS {quoted(name)}" for k, name in enumerate(keys.unique))
        return f"SELECT {', '.join(items)} FROM ({objects.reader})"
    return f"FROM read_parquet({literal(path)})"
