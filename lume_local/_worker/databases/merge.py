"""What is the same for all databases when rows come into a table. Pure."""

from collections.abc import Sequence
from typing import Any

from lume_async._base.elided import elided
from lume_local._flow.definition import quoted
from lume_local._worker.databases.database import DatabaseTrouble, Load

LONGEST = 200
"""Characters of a row in a message."""


def shown(names: Sequence[str], values: Sequence[Any]) -> str:
    """A row, or a part of it, for who looks for it."""
    text = ", ".join(
        f"{name} {'is NULL' if value is None else f'= {value}'}"
        for name, value in zip(names, values, strict=True)
    )
    return elided(text, LONGEST)


def on_conflict(load: Load, names: list[str]) -> str:
    """What an upsert says of a row that is there; `names` are the quoted columns that are written."""
    if not load.key:
        return ""
    key = list(map(quoted, load.key))
    others = [name for name in names if name not in key] or key
    sets = ", ".join(f"{name} = excluded.{name}" for name in others)
    return f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sets}"


def check_all(load: Load, rows: int, written: int) -> None:
    """That every row has come into the table: a trigger might have skipped some. Raises `DatabaseTrouble`."""
    if rows != written:
        raise DatabaseTrouble(
            f"{load.table} has taken {written:,} of {rows:,} rows: does a trigger skip some? Nothing was written"
        )
