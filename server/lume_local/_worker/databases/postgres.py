"""PostgreSQL as a source and a target, with psycopg (extra `postgres`).

A query uses a cursor on the server, which sends some rows at a time. Rows for a table are copied by `COPY` into a
temporary table, then by one statement into the table itself.
"""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lume_async._base.elided import elided
from lume_local._flow.databases import LONGEST_NAME
from lume_local._flow.definition import quoted
from lume_local._shared.failing import on_error, require
from lume_local._worker.databases.access import Access, Query
from lume_local._worker.databases.built import Built
from lume_local._worker.databases.columns import (
    PostgresTypes,
    TableColumn,
    UniqueIndex,
    array_of,
    base_of,
    create_table,
    no_table,
    whole_text,
)
from lume_local._worker.databases.database import (
    LONGEST,
    NUMBER,
    DatabaseTrouble,
    DatabaseUrl,
    Refused,
    Row,
    check_all,
)
from lume_local._worker.databases.loader import Loader
from lume_local._worker.sql import copy_to

if TYPE_CHECKING:
    import psycopg


_DEFAULTS = {"connect_timeout": "10", "tcp_user_timeout": "60000", "keepalives_idle": "30"}
"""Settings of libpq, in seconds and milliseconds, that detect a lost server. The URL overrides them."""
_COPIED = re.compile(r"COPY \w+, line (\d+)(.*)")
_SESSION = {
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lock_timeout": "60s",
}
"""Makes values uniform, whatever the role's own settings are, and limits the wait for a lock."""
_UNDONE = re.compile(r"40...|55P03|57P0[1-5]|08...")
"""SQLSTATEs of a transaction that was ended because of others (deadlock, serialization failure, a lock), or with its
connection or the server. Its statements may be right, so it can be repeated.
"""


def connect(url: DatabaseUrl, mode: str) -> "psycopg.Connection[Any]":
    """Connect, for reading only if the mode is `ro`. Statements have `$1` as their parameters."""
    try:
        require("psycopg", "postgres", "a PostgreSQL database")
        import psycopg
        from psycopg import RawCursor
        from psycopg.conninfo import conninfo_to_dict
    except ImportError as error:  # psycopg also raises it without libpq
        raise DatabaseTrouble(str(error)) from None
    try:
        given = conninfo_to_dict(url.text)
    except psycopg.Error:  # its message quotes a part of the URL
        raise DatabaseTrouble(f"{url.env} does not hold a valid postgresql:// URL") from None
    options: dict[str, Any] = {"application_name": "lume", **_DEFAULTS, **given, "client_encoding": "UTF8"}
    with psycopg_errors(url, f"{url.shown} ({url.env}) can't be reached"):
        connection = psycopg.connect(**options, cursor_factory=RawCursor)
        with on_error(connection.close):
            for name, value in _SESSION.items():
                connection.execute("SELECT set_config($1, $2, false)", [name, value])
            connection.commit()
            connection.read_only = True if mode == "ro" else None
    return connection


@contextmanager
def psycopg_errors(url: DatabaseUrl, what: str, *, blames_rows: bool = False) -> Iterator[None]:
    """Convert errors of psycopg to `DatabaseTrouble`, with the failed action and the server's message.

    If `what` blames the rows, it is left out where the transaction was ended because of others.
    """
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        # Including a lock, which may belong to a lost session of ours that the server still keeps.
        lost = isinstance(error, psycopg.OperationalError)
        words = error.diag.message_primary or str(error) or type(error).__name__
        detail = (error.diag.message_detail or "").rstrip(".")
        if not detail and (copied := _COPIED.match(error.diag.context or "")):
            detail = f"line {copied[1]} of the mapped rows{copied[2]}"
        words = url.scrubbed(words + (f" ({elided(detail, LONGEST)})" if detail else ""))
        # A broken connection has no SQLSTATE.
        is_undone = lost and bool(_UNDONE.fullmatch(error.sqlstate or "08000"))
        if is_undone and error.sqlstate and blames_rows:
            what = f"{url.shown} ended the transaction, which says nothing about the rows (SQLSTATE {error.sqlstate})"
        raise DatabaseTrouble(f"{what}: {words}", may_pass=lost, is_undone=is_undone) from None


_EVER = 0x6C756D65
"""The first key of the advisory locks of values; the second is the table. A batch uses the table and its hash."""
_LOADS = (
    "CREATE TABLE IF NOT EXISTS {} (run_id text PRIMARY KEY, flow text NOT NULL, source_path text NOT NULL, "
    "target text NOT NULL, loaded_at timestamptz NOT NULL DEFAULT now())"
)
_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod),
    attnotnull AND NOT atthasdef AND attidentity = '', attgenerated <> '' OR attidentity = 'a'
FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_UNIQUE = """
SELECT array_agg(coalesce(a.attname::text, '')), coalesce(pg_get_expr(i.indpred, i.indrelid), '')
FROM pg_index AS i
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, nth)
LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = to_regclass($1) AND k.nth <= i.indnkeyatts
    AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indexprs IS NULL
GROUP BY i.indexrelid, i.indpred, i.indrelid
"""
_NEAR = """
SELECT c.oid::regclass::text
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace, parse_ident(lower($1)) AS name
WHERE c.relkind IN ('r', 'p') AND lower(c.relname) = name[array_upper(name, 1)]
    AND CASE WHEN array_length(name, 1) > 1 THEN lower(n.nspname) = name[1] ELSE pg_table_is_visible(c.oid) END
"""
_NEEDED = {
    "append": ("INSERT",),
    "replace_batch": ("INSERT", "SELECT", "DELETE"),
    "upsert": ("INSERT", "SELECT", "UPDATE"),
}


def table_of(connection: Any, table: str) -> Any:
    """Return the OID of a table or view, its schema, and whether it is a table; None if it is missing."""
    return connection.execute(
        "SELECT c.oid, n.nspname, c.relkind IN ('r', 'p') FROM pg_class AS c "
        "JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)",
        [_TYPES.spelled(table)],
    ).fetchone()


def _columns_of(connection: Any, table: str) -> list[TableColumn]:
    return [TableColumn(*row) for row in connection.execute(_COLUMNS, [_TYPES.spelled(table)])]


def _unique_of(connection: Any, table: str) -> list[UniqueIndex]:
    found = connection.execute(_UNIQUE, [_TYPES.spelled(table)])
    return [UniqueIndex(dict.fromkeys(names, ""), where) for names, where in found]


def _is_table(connection: Any, table: str) -> bool:
    return bool((table_of(connection, table) or (0, "", False))[2])


_TYPES = PostgresTypes()
ACCESS = Access(_TYPES, "$", connect, psycopg_errors, _columns_of, _unique_of, _is_table)


_FIRST, _MOST = 500, 20_000
_AT_ONCE = 4 * 1024 * 1024
"""Characters to aim at per batch: rows may be short or very long."""


class PostgresQuery(Query):
    """See `Query`. All values arrive as the server's own text, exact and the same everywhere."""

    access = ACCESS

    def _begin(self, query: str, parameters: list[str]) -> None:
        from psycopg.types.string import TextLoader

        self._cursor, self._size = self._connection.cursor(), _FIRST
        # `binary` selects the protocol that allows only one statement; the answer is empty.
        declare = f"DECLARE _lume_rows NO SCROLL CURSOR FOR {query}"
        self._cursor.execute(declare, parameters or None, binary=True)
        self._cursor.execute("FETCH FORWARD 0 FROM _lume_rows")
        columns = self._cursor.description or []
        self.names = [column.name for column in columns]
        for column in columns:
            self._cursor.adapters.register_loader(column.type_code, TextLoader)

    def _fetch(self) -> list[Row]:
        rows: list[Row] = self._cursor.execute(f"FETCH FORWARD {self._size} FROM _lume_rows").fetchall()
        length = sum(len(value) for row in rows for value in row if value is not None)
        self._size = max(1, min(_MOST, 2 * self._size, _AT_ONCE * len(rows) // max(1, length)))
        return rows


_BLOCK = 1024 * 1024
_COLLATED = ("text", "character varying", "citext")
_OF_A_ROW = ("22", "23")
"""Classes of SQLSTATE: an invalid value, a violated constraint."""


class PostgresLoader(Loader):
    """See `Loader`. The rows are copied to a temporary table, then inserted by one statement."""

    access, joined = ACCESS, "JOIN"

    _connection: "psycopg.Connection[Any] | None" = None

    def check(self) -> None:
        if long := [name for name in self._load.names if len(name.encode()) > LONGEST_NAME]:
            raise DatabaseTrouble(
                f"PostgreSQL cuts names off after {LONGEST_NAME} bytes: {', '.join(long)}. Give the flow shorter ones"
            )
        super().check()

    def _near(self, connection: Any) -> str | None:
        near = connection.execute(_NEAR, [self._table]).fetchone()
        return near and str(near[0])

    def _check_more(self, connection: Any) -> None:
        """Check our rights."""
        for right in _NEEDED[self._load.mode]:
            query = "SELECT has_table_privilege(to_regclass($1)::oid, $2)"
            if connection.execute(query, [self._table, right]).fetchone() != (True,):
                raise DatabaseTrouble(
                    f"the user of {self._url.env} has no right to {right} on {self._load.table}"
                )

    def _create_loads(self, connection: Any) -> None:
        connection.commit()
        if (found := table_of(connection, self._load.table)) is None:
            return
        name = f"{quoted(found[1])}._lume_loads"
        if connection.execute("SELECT to_regclass($1)", [name]).fetchone() == (None,):
            with _created_at_once():
                connection.execute(_LOADS.format(name))
        connection.commit()

    def _begin(self, built: Path) -> Any:
        load = self._load
        connection: Any = connect(self._url, "rw")
        self._connection = connection
        if load.create:
            # Committed before the load: others need the table at once.
            if table_of(connection, load.table) is None:
                with _created_at_once():
                    # Only one of two runs creates the table, together with its index.
                    created = "; ".join(create_table(load, _TYPES)).replace(" IF NOT EXISTS", "")
                    connection.execute(created)
            connection.commit()
            self._check_table(connection)
            self._create_loads(connection)
        if load.ever or load.history or load.mode == "replace_batch":
            # Each statement sees what others have committed, including their loads before we got a lock.
            connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        found = table_of(connection, load.table)
        if found is None:
            raise no_table(load, self._url.shown, _TYPES, self._near(connection))
        self._oid, self.loads = found[0] % 2**31, f"{quoted(found[1])}._lume_loads"
        return connection

    def _lock(self, connection: Any) -> None:
        load = self._load
        if load.history:
            # Two transactions that changed versions at once would not see each other's.
            connection.execute(f"LOCK TABLE {self._table} IN SHARE ROW EXCLUSIVE MODE")
        if load.ever:
            # Only one run at a time looks for its values and adds them.
            connection.execute("SELECT pg_advisory_xact_lock($1, $2::integer)", [_EVER, self._oid])
        if load.mode == "replace_batch":
            # Only one version of the flow at a time replaces the rows of a source.
            batch = f"{load.flow}\n{load.source_path}"
            connection.execute("SELECT pg_advisory_xact_lock($1::integer, hashtext($2))", [self._oid, batch])

    def _insert(self, connection: Any, built: Path, *, numbered: bool) -> Refused:
        """Insert the rows; deferred constraints are checked for each one if they are judged, else at the end."""
        if numbered:
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        refused = super()._insert(connection, built, numbered=numbered)
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        return refused

    def _stage(self, connection: Any, rows: Built, built: Path, *, numbered: bool) -> str:
        """Copy the rows to a temporary table that ends with the transaction."""
        load, file = self._load, built.with_suffix(".copy")
        names = [*load.names, NUMBER] if numbered else load.names
        # NULL is empty, every string is quoted.
        csv = f"FORMAT csv, HEADER false, FORCE_QUOTE ({', '.join(map(quoted, names))})"
        whole = [
            f"{whole_text(one, self._given[name])} AS {one}" for name in load.names for one in [quoted(name)]
        ]
        values = ", ".join([*whole, *([NUMBER] if numbered else [])])
        count = copy_to(rows.connection, f"SELECT {values} FROM {rows.rows}", file, csv)
        items = [f"NULL::text AS {quoted(one)}" if self._is_text(one) else quoted(one) for one in load.names]
        items += [f"NULL::bigint AS {NUMBER}"] if numbered else []
        like = f"SELECT {', '.join(items)} FROM {self._table} WITH NO DATA"
        connection.execute(f"CREATE TEMP TABLE _lume_new ON COMMIT DROP AS {like}")
        copying = f"COPY _lume_new ({', '.join(map(quoted, names))}) FROM STDIN (FORMAT csv)"
        with connection.cursor() as cursor, file.open("rb") as source:
            with cursor.copy(copying) as copy:
                while block := source.read(_BLOCK):
                    copy.write(block)
            check_all(load, count, cursor.rowcount)
        file.unlink()
        return "_lume_new"

    def _is_text(self, name: str) -> bool:
        """Return whether the temporary table has text, which is converted when the row is inserted."""
        return self._load.on_violation == "reject" or self._given[name].endswith("[]")

    def _value(self, name: str) -> str:
        """Return the value as SQL. It is then assigned, which truncates nothing, unlike a cast."""
        value, kind = f"n.{quoted(name)}", base_of(self._given[name])
        if self._given[name].endswith("[]"):
            return array_of(value, kind)
        return f"{value}::{kind}" if self._is_text(name) else value

    def _differs(self, name: str) -> str:
        plain = base_of(self._given[name]) in _COLLATED
        exact = '({})::text COLLATE "C"' if plain else "({})"
        return " IS DISTINCT FROM ".join(map(exact.format, (f"t.{quoted(name)}", self._value(name))))

    def _order(self, *, numbered: bool) -> str:
        """See `Loader`: in the order of the key, concurrent upserts wait for each other without a deadlock."""
        by = self._load.key or ([NUMBER] if numbered else [])
        return f" ORDER BY {', '.join(map(quoted, by))}" if by else ""

    def _apart(self, connection: Any) -> AbstractContextManager[Any]:
        return connection.transaction() if self._load.on_violation == "reject" else nullcontext()

    def _refusal(self, error: Exception, *, rejects: bool) -> str:
        """See `Loader`. The error of a load that may not reject rows names the row already."""
        import psycopg

        if not rejects or not isinstance(error, psycopg.Error):
            return ""
        is_of_row = (error.sqlstate or "")[:2] in _OF_A_ROW
        return (error.diag.message_primary or str(error)) if is_of_row else ""

    def commit(self) -> None:
        assert self._connection is not None
        with self._errors(f"{self._url.shown} can't commit"):
            self._connection.commit()
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _created_at_once() -> suppress:
    """Suppress the errors of a table, or of its type, that another run creates at this moment."""
    from psycopg.errors import DuplicateObject, DuplicateTable, UniqueViolation

    return suppress(UniqueViolation, DuplicateTable, DuplicateObject)
