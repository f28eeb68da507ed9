"""A table of PostgreSQL as a target: `COPY` into a temporary table, then one statement into the table itself."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lume_local._flow.databases import RUN_COLUMN
from lume_local._flow.definition import quoted
from lume_local._worker.compiler.checks import text
from lume_local._worker.databases.built import opened
from lume_local._worker.databases.columns import TableColumn, check_columns, check_unique, no_table, spelled
from lume_local._worker.databases.database import DatabaseTrouble, Load, check_all, on_conflict
from lume_local._worker.databases.postgres import connect, psycopg_errors, sent
from lume_local._worker.databases.postgres_types import PostgresTypes
from lume_local._worker.databases.url import DatabaseUrl

if TYPE_CHECKING:
    import psycopg

_BLOCK = 1024 * 1024
_LOADS = (
    "CREATE TABLE IF NOT EXISTS {} (run_id text PRIMARY KEY, flow text NOT NULL, source_path text NOT NULL, "
    "target text NOT NULL, loaded_at timestamptz NOT NULL DEFAULT now())"
)
_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod),
    attnotnull AND NOT atthasdef AND attidentity = '', attgenerated <> '' OR attidentity = 'a'
FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_UNIQUE = """
SELECT array_agg(a.attname::text)
FROM pg_index AS i
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, nth)
LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %s AND k.nth <= i.indnkeyatts
    AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
GROUP BY i.indexrelid
"""
_NEAR = """
SELECT c.oid::regclass::text
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace, parse_ident(lower(%s)) AS name
WHERE c.relkind IN ('r', 'p') AND lower(c.relname) = name[array_upper(name, 1)]
    AND CASE WHEN array_length(name, 1) > 1 THEN lower(n.nspname) = name[1] ELSE pg_table_is_visible(c.oid) END
"""
_NEEDED = {
    "append": ("INSERT",),
    "replace_batch": ("INSERT", "SELECT", "DELETE"),
    "upsert": ("INSERT", "SELECT", "UPDATE"),
}


class PostgresLoader:
    """See `Loader`."""

    def __init__(self, url: DatabaseUrl, load: Load) -> None:
        self._url, self._load = url, load
        self._connection: psycopg.Connection[Any] | None = None

    def check(self) -> None:
        """The table has the flow's columns, a unique index for an upsert, our rights; there is a table of loads."""
        load = self._load
        with (
            closing(connect(self._url)) as connection,
            psycopg_errors(self._url, f"{self._url.shown} can't be written to"),
        ):
            connection.autocommit = True
            table, schema = self._table(connection)
            check_columns(load, load.table, self._columns(connection, table), PostgresTypes())
            check_unique(load, load.table, [set(names) for (names,) in connection.execute(_UNIQUE, [table])])
            for right in _NEEDED[load.mode]:
                row = connection.execute("SELECT has_table_privilege(%s::oid, %s)", [table, right]).fetchone()
                if row != (True,):
                    raise DatabaseTrouble(
                        f"the user of {self._url.env} has no right to {right} on {load.table}"
                    )
            self._make_loads(connection, schema)

    def _table(self, connection: "psycopg.Connection[Any]") -> tuple[int, str]:
        """The table's number, and its schema."""
        row = connection.execute(
            "SELECT c.oid, n.nspname, c.relkind IN ('r', 'p') FROM pg_class AS c "
            "JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)",
            [spelled(self._load.table)],
        ).fetchone()
        if row is None:
            near = connection.execute(_NEAR, [spelled(self._load.table)]).fetchone()
            raise no_table(self._load, self._url.shown, PostgresTypes(), near and near[0])
        if not row[2]:
            raise DatabaseTrouble(f"{self._load.table} in {self._url.shown} is not a table: name one")
        return row[0], row[1]

    def _columns(self, connection: "psycopg.Connection[Any]", table: int) -> list[TableColumn]:
        return [TableColumn(*row) for row in connection.execute(_COLUMNS, [table])]

    def _make_loads(self, connection: "psycopg.Connection[Any]", schema: str) -> None:
        import psycopg

        name = f"{quoted(schema)}._lume_loads"
        if connection.execute("SELECT to_regclass(%s)", [name]).fetchone() != (None,):
            return
        # Another run may make it at this moment.
        with suppress(psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable):
            connection.execute(sent(_LOADS.format(name)))

    def fill(self, built: Path) -> bool:
        """In one transaction: the claim, then the rows."""
        load = self._load
        with psycopg_errors(self._url, f"{load.table} in {self._url.shown} refuses the rows"):
            self._connection = connection = connect(self._url)
            table, schema = self._table(connection)
            loads = f"{quoted(schema)}._lume_loads".replace("%", "%%")  # needed with parameters
            claim = (
                f"INSERT INTO {loads} (run_id, flow, source_path, target) VALUES (%s, %s, %s, %s) "
                "ON CONFLICT (run_id) DO NOTHING"
            )
            claimed = connection.execute(sent(claim), [load.run_id, load.flow, load.source_path, load.table])
            if not claimed.rowcount:
                self.close()
                return False
            rows = self._copy(connection, built)
            if load.mode == "replace_batch":
                earlier = f"SELECT run_id FROM {loads} WHERE flow = %s AND source_path = %s"
                connection.execute(
                    sent(f"DELETE FROM {spelled(load.table)} WHERE {RUN_COLUMN} IN ({earlier})"),
                    [load.flow, load.source_path],
                )
            self._insert(connection, table, rows)
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        return True

    def _copy(self, connection: "psycopg.Connection[Any]", built: Path) -> int:
        """The rows into a temporary table that ends with the transaction; how many there are."""
        load, names = self._load, ", ".join(map(quoted, self._load.names))
        file = built.with_suffix(".copy")
        with opened(built) as rows:
            rows.check_key(load.key)
            count = rows.write_csv(load.names, file)
        like = f"SELECT {names} FROM {spelled(load.table)} WITH NO DATA"
        connection.execute(sent(f"CREATE TEMP TABLE _lume_new ON COMMIT DROP AS {like}"))
        with connection.cursor() as cursor, file.open("rb") as source:
            with cursor.copy(sent(f"COPY _lume_new ({names}) FROM STDIN (FORMAT csv)")) as copy:
                while block := source.read(_BLOCK):
                    copy.write(block)
            check_all(load, count, cursor.rowcount)
        file.unlink()
        return count

    def _insert(self, connection: "psycopg.Connection[Any]", table: int, rows: int) -> None:
        load = self._load
        names = list(map(quoted, load.names))
        items = list(names)
        if any(column.name == RUN_COLUMN for column in self._columns(connection, table)):
            names.append(RUN_COLUMN)
            items.append(text(load.run_id))
        # In the order of the key, two upserts wait for each other and don't lock each other out.
        order = f" ORDER BY {', '.join(map(quoted, load.key))}" if load.key else ""
        insert = (
            f"INSERT INTO {spelled(load.table)} ({', '.join(names)}) "
            f"SELECT {', '.join(items)} FROM _lume_new{order}{on_conflict(load, names)}"
        )
        inserted = connection.execute(sent(insert))  # without parameters: a name may have a % in it
        check_all(load, rows, inserted.rowcount)

    def commit(self) -> None:
        """The load is there for all to see."""
        assert self._connection is not None
        with psycopg_errors(self._url, f"{self._url.shown} can't commit"):
            self._connection.commit()
        self.close()

    def close(self) -> None:
        """The server undoes what was not committed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
