"""What a database is to sources and targets. A kind is one file beside this one, and a line in `database_kinds`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from attrs import asdict, frozen

from lume_async._base.elided import elided
from lume_local._flow.definition import quoted

Row = tuple[str | None, ...]
"""Values as texts; NULL is None."""
LONGEST = 200
"""Characters of a row in a message."""


class DatabaseTrouble(Exception):
    """A database can't be used as the flow wants. The message says what to do, and holds no secret.

    Attributes:
        may_pass: whether it may work in a moment: the database could not be reached.
    """

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class Query(Protocol):
    """A query that was begun. Nothing of its rows has come yet.

    Attributes:
        names: of its columns.
    """

    names: list[str]

    def batches(self) -> Iterator[list[Row]]:
        """Its rows, some at a time. Raises `DatabaseTrouble`."""
        ...

    def close(self) -> None:
        """Give the connection back."""


@frozen
class Load:
    """What is to be loaded.

    Attributes:
        url_env: the environment variable with the URL.
        table: the table, with or without a schema.
        mode: `append`, `replace_batch` or `upsert`.
        key: columns of an upsert.
        columns: names and SQL types (DuckDB's) of the rows.
        run_id: claims the load: one is done once.
        flow: the name of the flow.
        source_path: the source's key: with `flow` it names the batch.
    """

    url_env: str
    table: str
    mode: str
    key: list[str]
    columns: list[list[str]]
    run_id: str
    flow: str
    source_path: str

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return [name for name, _ in self.columns]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


class Loader(Protocol):
    """One load, in one transaction, which holds from `fill` to `commit`."""

    def check(self) -> None:
        """Find what is wrong with the table. Raises `DatabaseTrouble`."""

    def fill(self, built: Path) -> bool:
        """Begin the transaction, and do in it all that can fail; false if the load was done before.

        Its first statement claims the run, so that two can't do the same load. Raises `DatabaseTrouble`.
        """
        ...

    def commit(self) -> None:
        """Make the load visible. After `DatabaseTrouble` it is unknown whether it is."""

    def close(self) -> None:
        """Undo whatever was not committed."""


def shown(names: Sequence[str], values: Sequence[Any]) -> str:
    """A row, or a part of it, for messages."""
    text = ", ".join(
        f"{name} {'is NULL' if value is None else f'= {value}'}"
        for name, value in zip(names, values, strict=True)
    )
    return elided(text, LONGEST)


def on_conflict(load: Load, names: list[str]) -> str:
    """The ON CONFLICT clause of an upsert; `names` are the quoted columns that are written."""
    if not load.key:
        return ""
    key = list(map(quoted, load.key))
    others = [name for name in names if name not in key] or key
    sets = ", ".join(f"{name} = excluded.{name}" for name in others)
    return f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sets}"


def check_all(load: Load, rows: int, written: int) -> None:
    """Check that every row is in the table, as a trigger might skip some. Raises `DatabaseTrouble`."""
    if rows != written:
        raise DatabaseTrouble(
            f"{load.table} accepted {written:,} of {rows:,} rows: does a trigger skip some? Nothing was written"
        )
