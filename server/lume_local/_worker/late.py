"""Rejects that depend on more than the source: a value missing from the table it refers to, a row that the target's
table refuses, or a value repeated from an earlier run.

They are found among the rows that would otherwise be mapped, and added to the table `_lume_duplicates`. Which rows a
table refuses is known once the others are inserted, so its transaction is open from here on.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from duckdb import DuckDBPyConnection

from lume_local._flow.definition import quoted
from lume_local._shared.commit import begin
from lume_local._worker.databases.database import NUMBER, DatabaseTrouble
from lume_local._worker.databases.references import lookup_of
from lume_local._worker.duplicates import note_nothing
from lume_local._worker.sources.source import Pause
from lume_local._worker.sql import STAGED, copy_to, row_of, text
from lume_local._worker.steps import Context, TakenIn
from lume_local._worker.targets.database_target import DatabaseTarget
from lume_local._worker.targets.earlier_values import EarlierValues
from lume_local._worker.targets.target import TargetError

_AT_ONCE = 5000
"""How many values one statement looks up."""


def refuse_late(context: Context, taken: TakenIn, has_duplicates: bool, folder: Path) -> Counter[str]:
    """Add these rejects to the table `_lume_duplicates`, created if missing; return how many have each reason.

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
            counts[reason] += _refuse(connection, taken, name, missing, reason)
    if flow["judged_by_table"]:
        table = _table(context)
        if not (context.job.dry_run and (table is None or table.may_create)):
            assert table is not None, "a run that counts knows what decides about its rows"
            _refuse_by_table(context, taken, table, folder / "candidates.parquet", counts)
    counts[""] = _count(connection) - before
    return counts


def _count(connection: DuckDBPyConnection) -> int:
    return int(row_of(connection, "SELECT count(*) FROM _lume_duplicates")[0])


def _table(context: Context) -> DatabaseTarget | EarlierValues | None:
    """Return the table that may refuse rows; None without a server, which would know of earlier runs."""
    target = context.targets["mapped"]
    return context.earlier or (target if isinstance(target, DatabaseTarget) else None)


def _candidates(taken: TakenIn) -> str:
    return f"({taken.statements.numbered(taken.staged)})"


def _missing(
    connection: DuckDBPyConnection, taken: TakenIn, reference: dict[str, Any], pause: Pause
) -> list[str]:
    """Return the values that the column of the other table lacks."""
    value, missing = f"CAST({quoted(reference['name'])} AS VARCHAR)", list[str]()
    query = f"SELECT DISTINCT {value} AS v FROM {_candidates(taken)} WHERE v IS NOT NULL ORDER BY v"
    try:
        with closing(lookup_of(*(reference[key] for key in ("url_env", "table", "column")))) as lookup:
            found = connection.execute(query)
            while rows := found.fetchmany(_AT_ONCE):
                pause()
                missing += lookup.missing([one for (one,) in rows])
    except DatabaseTrouble as trouble:
        raise TargetError(f"columns.{reference['name']}.references: {trouble}") from None
    return missing


def _refuse(connection: DuckDBPyConnection, taken: TakenIn, name: str, values: list[str], reason: str) -> int:
    """Note the rows with one of these values in a column; return their number."""
    value = f"CAST({quoted(name)} AS VARCHAR)"
    rows = f"SELECT {NUMBER}, 0, {text(reason)} FROM {_candidates(taken)} WHERE {value} IN (SELECT unnest(?))"
    found = connection.execute(f"INSERT INTO _lume_duplicates {rows}", [values]).fetchone()
    assert found is not None
    return int(found[0])


def _refuse_by_table(
    context: Context,
    taken: TakenIn,
    table: DatabaseTarget | EarlierValues,
    path: Path,
    counts: Counter[str],
) -> None:
    connection = context.connection
    copy_to(connection, taken.statements.numbered(taken.staged), path, STAGED)
    refused = table.judge(path, partial(begin, context.folder))
    path.unlink()
    for reasons in refused.values():
        counts.update(reasons)
    if refused:
        whys = ["; ".join(reasons) for reasons in refused.values()]
        connection.execute(
            "INSERT INTO _lume_duplicates SELECT unnest(?), 0, unnest(?)", [list(refused), whys]
        )
