"""Finds rows that repeat a unique value of an earlier accepted row."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from duckdb import DuckDBPyConnection

from lume_local._flow.definition import quoted
from lume_local._worker.sources.formats.rows_file import RowsFile
from lume_local._worker.sql import literal, row_of
from lume_local._worker.statements import count_of

_TABLE = "CREATE TEMP TABLE _lume_duplicates AS"
_FETCH = 10_000


def find_duplicates(
    connection: DuckDBPyConnection, staged: str, unique: list[str], folder: Path, returned: Path | None
) -> list[int]:
    """Create the table `_lume_duplicates`: a row number `n` and a mask `bits` of the repeated columns.

    Returns how many rows repeat each column, then the total number of rows.

    Args:
        returned: a file of returned rows, which hold no value (see `returned`).
    """
    rows = others(staged, returned)
    query = later_ones(rows, unique[0]) if len(unique) == 1 else _shared(rows, unique)
    return note_found(connection, query, len(unique), folder, returned)


def others(staged: str, returned: Path | None) -> str:
    """Return a query for the staged rows that are not in a file of returned rows."""
    if returned is None:
        return staged
    known = f"SELECT n FROM read_parquet({literal(returned)})"
    return (
        f"(SELECT * FROM {staged} AS staged ANTI JOIN ({known}) AS known ON staged.file_row_number = known.n)"
    )


def note_found(
    connection: DuckDBPyConnection, query: str, columns: int, folder: Path, returned: Path | None = None
) -> list[int]:
    """Create the table from a query for the later rows of one column, or for all rows that share values."""
    if columns == 1:
        return _note(connection, query, columns, returned)
    with closing(RowsFile(folder / "duplicates.csv", 2)) as file:
        for n, bits in _repeating(connection, query, columns):
            file.write((str(n), str(bits)))
    numbers = "SELECT _lume_s0::BIGINT AS n, _lume_s1::BIGINT AS bits"
    return _note(connection, f"{numbers} FROM ({file.reader})", columns, returned)


def note_nothing(connection: DuckDBPyConnection) -> None:
    """Create the table without rows."""
    connection.execute("DROP TABLE IF EXISTS _lume_duplicates")
    _note(connection, "SELECT 0::BIGINT AS n, 0::BIGINT AS bits WHERE false", 1)


def _note(
    connection: DuckDBPyConnection, query: str, columns: int, returned: Path | None = None
) -> list[int]:
    """Create the table; `why` is the reason of rows that are rejected otherwise (see `late` and `returned`)."""
    more = (
        "" if returned is None else f" UNION ALL SELECT n, bits, why FROM read_parquet({literal(returned)})"
    )
    connection.execute(f"{_TABLE} SELECT n, bits, NULL::VARCHAR AS why FROM ({query}){more}")
    counts = [count_of(f"(bits & {1 << n}) <> 0") for n in range(columns)]
    return list(row_of(connection, f"SELECT {', '.join(counts)}, count(*) FROM _lume_duplicates"))


def later_ones(staged: str, name: str) -> str:
    key = quoted(name)
    return (
        "SELECT n, 1::BIGINT AS bits FROM (SELECT file_row_number AS n, "
        f"row_number() OVER (PARTITION BY {key} ORDER BY file_row_number) AS nth "
        f"FROM {staged} WHERE NOT _lume_reject AND {key} IS NOT NULL) WHERE nth > 1"
    )


def _shared(staged: str, unique: list[str]) -> str:
    """Return a query for rows that share a value, with the first row's number for each column."""
    firsts, rows = [], f"SELECT file_row_number AS n, * FROM {staged} WHERE NOT _lume_reject"
    for n, name in enumerate(unique):
        key = quoted(name)
        firsts.append(
            f"CASE WHEN {key} IS NOT NULL AND count(*) OVER (PARTITION BY {key}) > 1 "
            f"THEN min(n) OVER (PARTITION BY {key}) END AS first{n}"
        )
    names = [f"first{n}" for n in range(len(unique))]
    shared = " OR ".join(f"{name} IS NOT NULL" for name in names)
    return (
        f"SELECT n, {', '.join(names)} FROM (SELECT n, {', '.join(firsts)} FROM ({rows})) "
        f"WHERE {shared} ORDER BY n"
    )


def _repeating(connection: DuckDBPyConnection, shared: str, columns: int) -> Iterator[tuple[int, int]]:
    """Yield the repeating rows and their masks, row by row: a row rejected for one column holds no other value."""
    found = connection.execute(shared)
    held: list[set[int]] = [set() for _ in range(columns)]
    while batch := found.fetchmany(_FETCH):
        for n, *values in batch:
            bits = sum(1 << k for k, value in enumerate(values) if value in held[k])
            if bits:
                yield n, bits
                continue
            for k, value in enumerate(values):
                if value is not None:
                    held[k].add(value)
