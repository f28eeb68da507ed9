"""PostgreSQL as a source and a target, by psycopg (extra `postgres`).

A query is a cursor in the server, of which some rows at a time come over. Rows for a table go by `COPY` into a
temporary one, then by one statement into the table itself.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lume_async._base.elided import elided
from lume_async._base.extras import require
from lume_local._flow.databases import RUN_COLUMN, with_parameter
from lume_local._flow.definition import quoted
from lume_local._worker.databases.built import opened
from lume_local._worker.databases.columns import TableColumn, check_columns, check_unique, no_table, spelled
from lume_local._worker.databases.database import (
    LONGEST,
    DatabaseTrouble,
    DatabaseUrl,
    Load,
    Row,
    check_all,
    on_conflict,
)
from lume_local._worker.sql import text

if TYPE_CHECKING:
    import psycopg

_DEFAULTS = {"connect_timeout": "10", "tcp_user_timeout": "60000", "keepalives_idle": "30"}
"""Of libpq, in seconds and milliseconds: so that a lost server is noticed. The URL overrides them."""
_COPIED = re.compile(r"COPY \w+, line (\d+)(.*)")
_SESSION = {
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lock_timeout": "60s",
}
"""One form of values, whatever the role's own settings are, and no endless wait for a lock."""


def connect(url: DatabaseUrl) -> "psycopg.Connection[Any]":
    try:
        require("psycopg", "postgres", "a PostgreSQL database")
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError as error:  # psycopg raises it without libpq, too
        raise DatabaseTrouble(str(error)) from None
    try:
        given = conninfo_to_dict(url.text)
    except psycopg.Error:  # its message repeats a part of the URL
        raise DatabaseTrouble(f"{url.env} does not hold a valid postgresql:// URL") from None
    options: dict[str, Any] = {"application_name": "lume", **_DEFAULTS, **given, "client_encoding": "UTF8"}
    with psycopg_errors(url, f"{url.shown} ({url.env}) can't be reached"):
        connection = psycopg.connect(**options)
        try:
            for name, value in _SESSION.items():
                connection.execute("SELECT set_config(%s, %s, false)", [name, value])
            connection.commit()
        except BaseException:
            connection.close()
            raise
    return connection


def sent(statement: str) -> bytes:
    """A statement for psycopg, whose types take only literals as texts: ours have quoted names in them."""
    return statement.encode()


@contextmanager
def psycopg_errors(url: DatabaseUrl, what: str) -> Iterator[None]:
    """Errors of psycopg as `DatabaseTrouble`: what failed, and the server's message."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        # A lock, too: it may belong to a lost session of ours that the server still keeps.
        lost = isinstance(error, psycopg.OperationalError)
        words = error.diag.message_primary or str(error) or type(error).__name__
        raise DatabaseTrouble(f"{what}: {url.scrubbed(words + _where(error))}", may_pass=lost) from None


def _where(error: "psycopg.Error") -> str:
    """The row or value concerned, if the server reports it."""
    detail = (error.diag.message_detail or "").rstrip(".")
    if not detail and (copied := _COPIED.match(error.diag.context or "")):
        detail = f"line {copied[1]} of the mapped rows{copied[2]}"
    return f" ({elided(detail, LONGEST)})" if detail else ""


_FIRST, _MOST = 500, 20_000
_AT_ONCE = 4 * 1024 * 1024
"""Characters that one batch should have: rows may be short or very long."""


class PostgresQuery:
    """See `Query`. All values come as the texts that the server makes of them: exact, and the same everywhere."""

    def __init__(self, url: DatabaseUrl, query: str, source_path: str) -> None:
        self._url = url
        self._connection = connect(url)
        try:
            self._begin(*with_parameter(query, "$1"), source_path)
        except BaseException:
            self.close()
            raise

    def _begin(self, query: str, has_parameter: bool, source_path: str) -> None:
        from psycopg import RawCursor
        from psycopg.types.string import TextLoader

        with psycopg_errors(self._url, f"the query can't be run on {self._url.shown}"):
            self._connection.read_only = True
            self._cursor = RawCursor(self._connection)
            parameters = [source_path] if has_parameter else None
            # `binary` chooses the protocol that takes one statement only; there is nothing in the answer.
            declare = sent(f"DECLARE _lume_rows NO SCROLL CURSOR FOR {query}")
            self._cursor.execute(declare, parameters, binary=True)
            self._cursor.execute("FETCH FORWARD 0 FROM _lume_rows")
            columns = self._cursor.description or []
            self.names = [column.name for column in columns]
            for column in columns:
                self._cursor.adapters.register_loader(column.type_code, TextLoader)

    def batches(self) -> Iterator[list[Row]]:
        size = _FIRST
        while True:
            with psycopg_errors(self._url, f"the query was interrupted by {self._url.shown}"):
                rows: list[Row] = self._cursor.execute(
                    sent(f"FETCH FORWARD {size} FROM _lume_rows")
                ).fetchall()
            if not rows:
                return
            length = sum(len(value) for row in rows for value in row if value is not None)
            yield rows
            size = max(1, min(_MOST, 2 * size, _AT_ONCE * len(rows) // max(1, length)))

    def close(self) -> None:
        self._connection.close()


_DIGITS = {
    "TINYINT": 3,
    "UTINYINT": 3,
    "SMALLINT": 5,
    "USMALLINT": 5,
    "INTEGER": 10,
    "UINTEGER": 10,
    "BIGINT": 19,
    "UBIGINT": 20,
    "HUGEINT": 38,
}
_INTEGERS = ("smallint", "integer", "bigint")
_LEAST = {
    "TINYINT": "smallint",
    "UTINYINT": "smallint",
    "SMALLINT": "smallint",
    "USMALLINT": "integer",
    "INTEGER": "integer",
    "UINTEGER": "bigint",
    "BIGINT": "bigint",
}
"""The smallest of them that holds all values; the others need a numeric."""
_SAME = {
    "FLOAT": ("real", "double precision"),
    "DOUBLE": ("double precision",),
    "BOOLEAN": ("boolean",),
    "VARCHAR": ("text", "character varying", "citext"),
    "UUID": ("uuid", "text", "character varying"),
    "DATE": ("date",),
    "TIME": ("time without time zone",),
    "TIMESTAMP": ("timestamp without time zone",),
    "TIMESTAMPTZ": ("timestamp with time zone",),
}


class PostgresTypes:
    """See `Types`. Types are spelled as `format_type` does."""

    def best(self, sql_type: str) -> str:
        if sql_type in _LEAST:
            return _LEAST[sql_type]
        return _SAME[sql_type][0] if sql_type in _SAME else _numeric(sql_type)

    def fits(self, given: str, sql_type: str) -> bool:
        """A text of a limited length is taken: whether a value is too long is seen when it is loaded."""
        if given == "numeric":
            return sql_type not in _SAME
        if given.startswith("numeric("):
            return sql_type not in _SAME and _holds(given, _numeric(sql_type))
        if given in _INTEGERS:
            return sql_type in _LEAST and _INTEGERS.index(given) >= _INTEGERS.index(_LEAST[sql_type])
        plain = "character varying" if given.startswith("character varying(") else given
        return plain in _SAME.get(sql_type, ())


def _numeric(sql_type: str) -> str:
    return (
        f"numeric({_DIGITS[sql_type]},0)" if sql_type in _DIGITS else sql_type.replace("DECIMAL", "numeric")
    )


def _holds(given: str, wanted: str) -> bool:
    """Whether all digits of one numeric have room in another, before the point and behind it."""
    (digits, scale), (least, fraction) = _size(given), _size(wanted)
    return scale >= fraction and digits - scale >= least - fraction


def _size(numeric: str) -> tuple[int, int]:
    digits, _, scale = numeric.removeprefix("numeric(").rstrip(")").partition(",")
    return int(digits), int(scale or 0)


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
        assert self._connection is not None
        with psycopg_errors(self._url, f"{self._url.shown} can't commit"):
            self._connection.commit()
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
