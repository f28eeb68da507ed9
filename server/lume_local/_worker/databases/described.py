"""Describes a database table as the target of a proposal: its columns, their checks, and some of their values."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from attrs import evolve, frozen

from lume_local._flow.definition import quoted
from lume_local._mapping.target import MappingTarget, TargetColumn, definition_of
from lume_local._worker.databases import postgres, sqlite
from lume_local._worker.databases.columns import PostgresTypes
from lume_local._worker.databases.database import DatabaseTrouble, DatabaseUrl

_VALUES = 1000
"""Rows of the table whose values are compared with the sample's."""
_OWN = "_lume_"


@frozen
class _Column:
    name: str
    declared: str
    required: bool
    unique: bool
    about: str = ""


def described(target: MappingTarget) -> MappingTarget:
    """Return the target with the columns of the table at its place. Raises `DatabaseTrouble`."""
    place = target.place or {}
    url, table = DatabaseUrl.of(place["url_env"]), place["table"]
    read = _of_sqlite if url.scheme == "sqlite" else _of_postgres
    columns, rows = read(url, table)
    if not columns:
        raise DatabaseTrouble(f"there is no table {table} in {url.shown}")
    return evolve(target, columns=list(_columns(columns, rows)), shown=f"{table} in {url.shown}")


def _columns(columns: Sequence[_Column], rows: Sequence[Sequence[Any]]) -> Any:
    for n, column in enumerate(columns):
        if column.name.startswith(_OWN):
            continue
        found: dict[str, Any] = {"description": column.about} if column.about else {}
        found |= definition_of(column.declared) or {"type": "string"}
        found |= ({"required": True} if column.required else {}) | ({"unique": True} if column.unique else {})
        values = [str(row[n]) for row in rows if row[n] is not None]
        yield TargetColumn(column.name, found, about=column.about, examples=values)


def _of_sqlite(url: DatabaseUrl, table: str) -> tuple[list[_Column], list[Any]]:
    """Return the columns of a table, and its first rows."""
    with (
        closing(sqlite.connect(url, "ro")) as connection,
        sqlite.sqlite_errors(url, f"{table} in {url.shown} can't be read"),
    ):
        columns = connection.execute(
            'SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?) WHERE hidden = 0', [table]
        ).fetchall()
        unique = connection.execute(
            "SELECT min(c.name) FROM pragma_index_list(?) AS i, pragma_index_info(i.name) AS c "
            'WHERE i."unique" AND NOT i.partial GROUP BY i.name HAVING count(*) = 1',
            [table],
        ).fetchall()
        single = {name for (name,) in unique}
        keys = [name for name, _, _, key in columns if key]
        rows = (
            connection.execute(f"SELECT * FROM {quoted(table)} LIMIT {_VALUES}").fetchall() if columns else []
        )
    return [
        _Column(name, kind, bool(needed or key), name in single or keys == [name])
        for name, kind, needed, key in columns
    ], rows


def _of_postgres(url: DatabaseUrl, table: str) -> tuple[list[_Column], list[Any]]:
    """Return the columns of a table, and its first rows."""
    name = PostgresTypes().spelled(table)
    with (
        closing(postgres.connect(url)) as connection,
        postgres.psycopg_errors(url, f"{table} in {url.shown} can't be read"),
    ):
        connection.read_only = True
        found = connection.execute(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, "
            "EXISTS (SELECT 1 FROM pg_index AS i WHERE i.indrelid = a.attrelid AND i.indisunique "
            "AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum), "
            "coalesce(col_description(a.attrelid, a.attnum), '') FROM pg_attribute AS a "
            "WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            [name],
        ).fetchall()
        columns = [_Column(*row) for row in found]
        casts = ", ".join(f"{quoted(one.name)}::text" for one in columns)
        query = f"SELECT {casts} FROM {name} LIMIT {_VALUES}"
        rows = connection.execute(postgres.sent(query)).fetchall() if columns else []
    return columns, rows
