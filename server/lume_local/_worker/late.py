"""Finds the rows that are rejected although they break no check, and notes them in the table `_lume_duplicates`.

First the rows that repeat a unique value of an earlier accepted row. Then, among the rows that would otherwise be
mapped, the rows that a database refuses: because the table that a value refers to lacks it, because the target's own
table refuses the row, or because a value repeats one of an earlier run. Which rows a table refuses is known once the
others are inserted, so its transaction is open from here on.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection

from lume_local._flow.definition import quoted
from lume_local._shared.commit import begin
from lume_local._worker.sources.source import Pause
from lume_local._worker.sql import STAGED, RowsFile, copy_to, literal, row_of, text
from lume_local._worker.statements import NUMBER, count_of
from lume_local._worker.steps import Context, TakenIn
from lume_local._worker.targets.target import TargetError

_FETCH = 10_000
_AT_ONCE = 5000
"""How many values one statement looks up."""


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
    """Create the table; `why` is the reason of rows that do not repeat a value (see `refuse_late` and `returned`)."""
    more = (
        "" if returned is None else f" UNION ALL SELECT n, bits, why FROM read_parquet({literal(returned)})"
    )
    connection.execute(
        f"CREATE TEMP TABLE _lume_duplicates AS SELECT n, bits, NULL::VARCHAR AS why FROM ({query}){more}"
    )
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


def refuse_late(context: Context, taken: TakenIn, has_duplicates: bool, folder: Path) -> Counter[str]:
    """Add the rows that a database refuses to the table, created if missing; return how many have each reason.

    The total has the empty reason. A dry run skips a table that a run would create. Raises `TargetError`.
    """
    connection, flow = context.connection, context.flow
    if not has_duplicates:
        note_nothing(connection)
    before = _count(connection)
    counts = Counter[str]()
    for reference in flow["references"]:
        name = reference["name"]
        reason = f"{name}: is not in {reference['table']}.{reference['column']}"
        if missing := _missing(connection, taken, reference, context.pause):
            value = f"CAST({quoted(name)} AS VARCHAR)"
            rows = f"SELECT {NUMBER}, 0, {text(reason)} FROM {_candidates(taken)} WHERE {value} IN (SELECT unnest(?))"
            found = connection.execute(f"INSERT INTO _lume_duplicates {rows}", [missing]).fetchone()
            assert found is not None
            counts[reason] += int(found[0])
    if flow["judged_by_table"]:
        from lume_local._worker.targets.database_target import DatabaseTarget

        target = context.targets["mapped"]
        table = context.earlier or (target if isinstance(target, DatabaseTarget) else None)
        if not (context.job.dry_run and (table is None or table.may_create)):
            assert table is not None, "only a dry run, without a server, does not know of earlier runs"
            path = folder / "candidates.parquet"
            copy_to(connection, taken.statements.numbered(taken.staged), path, STAGED)
            refused = table.judge(path, partial(begin, context.folder))
            path.unlink()
            for reasons in refused.values():
                counts.update(reasons)
            if refused:
                rows = "SELECT unnest(?), 0, unnest(?)"
                whys = ["; ".join(reasons) for reasons in refused.values()]
                connection.execute(f"INSERT INTO _lume_duplicates {rows}", [list(refused), whys])
    counts[""] = _count(connection) - before
    return counts


def _count(connection: DuckDBPyConnection) -> int:
    return int(row_of(connection, "SELECT count(*) FROM _lume_duplicates")[0])


def _candidates(taken: TakenIn) -> str:
    return f"({taken.statements.numbered(taken.staged)})"


def _missing(
    connection: DuckDBPyConnection, taken: TakenIn, reference: dict[str, Any], pause: Pause
) -> list[str]:
    """Return the values that the column of the other table lacks."""
    from lume_local._worker.databases.database import DatabaseTrouble  # here: few flows have references
    from lume_local._worker.databases.references import ReferenceLookup

    value, missing = f"CAST({quoted(reference['name'])} AS VARCHAR)", list[str]()
    query = f"SELECT DISTINCT {value} AS v FROM {_candidates(taken)} WHERE v IS NOT NULL ORDER BY v"
    try:
        with closing(ReferenceLookup(*(reference[key] for key in ("url_env", "table", "column")))) as lookup:
            found = connection.execute(query)
            while rows := found.fetchmany(_AT_ONCE):
                pause()
                missing += lookup.missing([one for (one,) in rows])
    except DatabaseTrouble as trouble:
        raise TargetError(f"columns.{reference['name']}.references: {trouble}") from None
    return missing
