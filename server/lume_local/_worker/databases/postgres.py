"""PostgreSQL as a source and a target, with psycopg (extra `postgres`).

A query uses a cursor on the server, which sends some rows at a time. Rows for a table are copied by `COPY` into a
temporary table, then by one statement into the table itself.
"""

import re

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lume_async._base.elided import elided
from lume_local._flow.databases import LONGEST_NAME, RUN_COLUMN, with_parameter
from lume_local._flow.definition import quoted
from lume_local._shared.failing import on_error, require
from lume_local._worker.databases.built import opened
from lume_local._worker.databases.columns import (
    PostgresTypes,
    TableColumn,
    UniqueIndex,
    array_of,
    base_of,
    check_columns,
    check_unique,
    create_table,
    no_table,
    whole_text,
)
from lume_local._worker.databases.database import (
    LONGEST,
    NUMBER,
    DatabaseTrouble,
    DatabaseUrl,
    Load,
    Loader,
    Refused,
    Row,
    by_constraint,
    check_all,
    in_table,
    on_conflict,
    taken_meanwhile,
)
from lume_local._worker.databases.history import Versions, instant
from lume_local._worker.sql import text
from lume_local._worker.statements import twin_reason

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


def connect(url: DatabaseUrl) -> "psycopg.Connection[Any]":
    try:
        require("psycopg", "postgres", "a PostgreSQL database")
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError as error:  # psycopg also raises it without libpq
        raise DatabaseTrouble(str(error)) from None
    try:
        given = conninfo_to_dict(url.text)
    except psycopg.Error:  # its message quotes a part of the URL
        raise DatabaseTrouble(f"{url.env} does not hold a valid postgresql:// URL") from None
    options: dict[str, Any] = {"application_name": "lume", **_DEFAULTS, **given, "client_encoding": "UTF8"}
    with psycopg_errors(url, f"{url.shown} ({url.env}) can't be reached"):
        connection = psycopg.connect(**options)
        with on_error(connection.close):
            for name, value in _SESSION.items():
                connection.execute("SELECT set_config(%s, %s, false)", [name, value])
            connection.commit()
    return connection


def sent(statement: str) -> bytes:
    """Encode a statement, as psycopg's types accept only literal strings; ours contain quoted names."""
    return statement.encode()


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


_FIRST, _MOST = 500, 20_000
_AT_ONCE = 4 * 1024 * 1024
"""Characters to aim at per batch: rows may be short or very long."""


class PostgresQuery:
    """See `Query`. All values arrive as the server's own text, exact and the same everywhere."""

    def __init__(self, url: DatabaseUrl, query: str, source_path: str) -> None:
        self._url = url
        self._connection = connect(url)
        with on_error(self.close):
            self._begin(*with_parameter(query, "$1"), source_path)

    def _begin(self, query: str, has_parameter: bool, source_path: str) -> None:
        from psycopg import RawCursor
        from psycopg.types.string import TextLoader

        with psycopg_errors(self._url, f"the query can't be run on {self._url.shown}"):
            self._connection.read_only = True
            self._cursor = RawCursor(self._connection)
            parameters = [source_path] if has_parameter else None
            # `binary` selects the protocol that allows only one statement; the answer is empty.
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


_BLOCK = 1024 * 1024
_TOGETHER = 10_000
"""Rows that are inserted together, before refused rows are looked for among them."""
_COLLATED = ("text", "character varying", "citext")
_OF_A_ROW = ("22", "23")
"""Classes of SQLSTATE: an invalid value, a violated constraint."""


class StagedRows:
    """The rows of one load.

    Args:
        connection: with the transaction of the load.
        given: the type of each column of the table.

    Raises:
        DatabaseTrouble: the table has lost a column since it was checked.
    """

    def __init__(
        self, connection: "psycopg.Connection[Any]", load: Load, given: dict[str, str], *, numbered: bool
    ) -> None:
        self._connection, self._load, self._given, self._numbered = connection, load, given, numbered
        self._table = PostgresTypes().spelled(load.table)
        self.count, self._at = 0, ""
        if gone := [name for name in load.names if name not in given]:
            raise DatabaseTrouble(f"{load.table} no longer has the column {', '.join(map(repr, gone[:10]))}")

    def copy(self, built: Path) -> None:
        """Copy the rows to a temporary table that ends with the transaction."""
        load, file = self._load, built.with_suffix(".copy")
        names = [*load.names, NUMBER] if self._numbered else load.names
        with opened(built) as rows:
            rows.check_key(load.key)
            whole = {name: whole_text(one, self._given[name]) for name, one in self._each()}
            self.count = rows.write_csv(whole | ({NUMBER: NUMBER} if self._numbered else {}), file)
        items = (f"NULL::text AS {one}" if self._is_text(name) else one for name, one in self._each())
        number = f", NULL::bigint AS {NUMBER}" if self._numbered else ""
        like = f"SELECT {', '.join(items)}{number} FROM {self._table} WITH NO DATA"
        self._connection.execute(sent(f"CREATE TEMP TABLE _lume_new ON COMMIT DROP AS {like}"))
        copying = f"COPY _lume_new ({', '.join(map(quoted, names))}) FROM STDIN (FORMAT csv)"
        with self._connection.cursor() as cursor, file.open("rb") as source:
            with cursor.copy(sent(copying)) as copy:
                while block := source.read(_BLOCK):
                    copy.write(block)
            check_all(load, self.count, cursor.rowcount)
        file.unlink()

    def _each(self) -> Iterator[tuple[str, str]]:
        """Return each name, plain and as SQL."""
        return ((name, quoted(name)) for name in self._load.names)

    def _is_text(self, name: str) -> bool:
        """Return whether the temporary table has text, which is converted when the row is inserted."""
        return self._load.on_violation == "reject" or self._given[name].endswith("[]")

    def _value(self, name: str, row: str = "") -> str:
        """Return SQL for a value to insert. It is then assigned, which truncates nothing, unlike a cast."""
        value, kind = f"{row}{quoted(name)}", base_of(self._given[name])
        if self._given[name].endswith("[]"):
            return array_of(value, kind)
        return f"{value}::{kind}" if self._is_text(name) else value

    def insert(self, only: Sequence[int] | None = None) -> int:
        """Insert all or some rows by one statement; return the number written."""
        load, names = self._load, [one for _, one in self._each()]
        items = [self._value(name, "n.") for name in load.names]
        if RUN_COLUMN in self._given:
            names.append(RUN_COLUMN)
            items.append(text(load.run_id))
        some = "" if only is None else f"n.{NUMBER} = ANY('{{{','.join(map(str, only))}}}'::bigint[])"
        into = f"INSERT INTO {self._table}"
        if load.history:
            return self._add_versions(into, names, items, some and f" AND {some}")
        # In the order of the key, concurrent upserts wait for each other without a deadlock.
        order = f" ORDER BY {', '.join(map(quoted, load.key or ([NUMBER] if self._numbered else [])))}"
        statement = (
            f"{into} ({', '.join(names)}) SELECT {', '.join(items)} FROM _lume_new AS n{some and f' WHERE {some}'}"
            f"{order if load.key or self._numbered else ''}{on_conflict(load, names)}"
        )
        return self._connection.execute(sent(statement)).rowcount

    def _add_versions(self, into: str, names: list[str], items: list[str], where: str) -> int:
        """Add versions of rows; return the number of these that then have a current one."""
        load = self._load
        versions = Versions(
            *(load, self._table, "_lume_new AS n"),
            lambda name: f"t.{quoted(name)} = {self._value(name, 'n.')}",
            self._differs,
        )
        if not self._at:
            row = self._connection.execute(sent(versions.latest())).fetchone()
            self._at = f"TIMESTAMP {text(instant(load, row and row[0]))}"
        self._connection.execute(sent(versions.close(self._at, where)))
        self._connection.execute(sent(versions.add(into, names, items, self._at, where)))
        row = self._connection.execute(sent(versions.current(where))).fetchone()
        return int(row[0]) if row else 0

    def _differs(self, name: str) -> str:
        """Return SQL that is true if the value is another one, even if only a collation considers it equal."""
        plain = base_of(self._given[name]) in _COLLATED
        exact = '({})::text COLLATE "C"' if plain else "({})"
        values = f"t.{quoted(name)}", self._value(name, "n.")
        return " IS DISTINCT FROM ".join(map(exact.format, values))

    def judged(self) -> Refused:
        """Insert all rows that the table accepts; return the reasons of the others."""
        refused = self.refused_for_ever()
        if refused:
            self._connection.execute(sent(f"DELETE FROM _lume_new WHERE {NUMBER} = ANY(%s)"), [list(refused)])
        is_each = self._load.on_violation == "reject"
        written = self._insert_each(refused) if is_each else self.insert()
        check_all(self._load, self.count - len(refused), written)
        return refused

    def refused_for_ever(self) -> Refused:
        """Return the rows with a unique value that, as the table compares it, is there or in an earlier row."""
        refused: Refused = {}
        number = NUMBER if self._numbered else "0"
        for name in self._load.ever:
            column, value = quoted(name), self._value(name, "n.")
            there = f"SELECT 1 FROM {self._table} AS t WHERE t.{column} = {value}"
            query = f"SELECT {number} FROM _lume_new AS n WHERE EXISTS ({there})"
            self._note(refused, query, in_table(self._load, name))
            if self._numbered:
                nth = f"row_number() OVER (PARTITION BY {value} ORDER BY {NUMBER}) AS nth"
                numbered = f"SELECT {NUMBER}, {nth} FROM _lume_new AS n WHERE {column} IS NOT NULL"
                self._note(
                    refused, f"SELECT {NUMBER} FROM ({numbered}) AS x WHERE nth > 1", twin_reason(name)
                )
        return refused

    def _note(self, refused: Refused, query: str, reason: str) -> None:
        for (number,) in self._connection.execute(sent(query)):
            refused.setdefault(number, []).append(reason)

    def _insert_each(self, refused: Refused) -> int:
        """Insert many rows at a time, in savepoints; bisect a failing batch to the refused row."""
        import psycopg

        order = ", ".join(map(quoted, self._load.key or [NUMBER]))
        query = f"SELECT {NUMBER} FROM _lume_new ORDER BY {order}"
        numbers = [number for (number,) in self._connection.execute(sent(query))]
        left = [numbers[at : at + _TOGETHER] for at in range(0, len(numbers), _TOGETHER)][::-1]
        written = 0
        while left:
            some = left.pop()
            try:
                with self._connection.transaction():
                    written += self.insert(some)
            except psycopg.Error as error:
                if (error.sqlstate or "")[:2] not in _OF_A_ROW:
                    raise
                if len(some) == 1:
                    message = error.diag.message_primary or str(error)
                    refused.setdefault(some[0], []).append(by_constraint(self._load, message))
                else:
                    half = len(some) // 2
                    left += [some[half:], some[:half]]
        return written


_TYPES = PostgresTypes()
_EVER = 0x6C756D65
"""The first key of the advisory locks of values; the second is the table. A batch uses the table and its hash."""
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
SELECT array_agg(coalesce(a.attname::text, '')), coalesce(pg_get_expr(i.indpred, i.indrelid), '')
FROM pg_index AS i
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, nth)
LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %s AND k.nth <= i.indnkeyatts
    AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indexprs IS NULL
GROUP BY i.indexrelid, i.indpred, i.indrelid
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


def table_of(connection: "psycopg.Connection[Any]", table: str) -> Any:
    """Return the OID of a table or view, its schema, and whether it is a table; None if it is missing."""
    return connection.execute(
        "SELECT c.oid, n.nspname, c.relkind IN ('r', 'p') FROM pg_class AS c "
        "JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)",
        [_TYPES.spelled(table)],
    ).fetchone()


def columns_of(connection: "psycopg.Connection[Any]", oid: int) -> list[TableColumn]:
    return [TableColumn(*row) for row in connection.execute(_COLUMNS, [oid])]


class PostgresLoader:
    """See `Loader`."""

    def __init__(self, url: DatabaseUrl, load: Load, beside: Iterable[Loader] = ()) -> None:
        self._url, self._load = url, load
        self._connection: psycopg.Connection[Any] | None = None
        self._oid, self._loads = 0, ""

    def check(self) -> None:
        """Check the flow's columns, a unique index for an upsert, and our rights; create the table of loads."""
        if long := [name for name in self._load.names if len(name.encode()) > LONGEST_NAME]:
            raise DatabaseTrouble(
                f"PostgreSQL cuts names off after {LONGEST_NAME} bytes: {', '.join(long)}. Give the flow shorter ones"
            )
        with (
            closing(connect(self._url)) as connection,
            psycopg_errors(self._url, f"{self._url.shown} can't be written to"),
        ):
            connection.autocommit = True
            if not self._load.create or table_of(connection, self._load.table) is not None:
                self._check_table(connection)

    def _check_table(self, connection: "psycopg.Connection[Any]") -> None:
        load = self._load
        table, schema = self._table(connection)
        check_columns(load, load.table, columns_of(connection, table), _TYPES)
        unique = connection.execute(_UNIQUE, [table]).fetchall()
        check_unique(
            load,
            load.table,
            [UniqueIndex(dict.fromkeys(names, ""), where) for names, where in unique],
            _TYPES,
        )
        for right in _NEEDED[load.mode]:
            row = connection.execute("SELECT has_table_privilege(%s::oid, %s)", [table, right]).fetchone()
            if row != (True,):
                raise DatabaseTrouble(f"the user of {self._url.env} has no right to {right} on {load.table}")
        name = f"{quoted(schema)}._lume_loads"
        if connection.execute("SELECT to_regclass(%s)", [name]).fetchone() != (None,):
            return
        with _created_at_once():
            connection.execute(sent(_LOADS.format(name)))

    def _table(self, connection: "psycopg.Connection[Any]") -> tuple[int, str]:
        """Return the table's OID and its schema."""
        row = table_of(connection, self._load.table)
        if row is None:
            near = connection.execute(_NEAR, [_TYPES.spelled(self._load.table)]).fetchone()
            raise no_table(self._load, self._url.shown, _TYPES, near and near[0])
        if not row[2]:
            raise DatabaseTrouble(f"{self._load.table} in {self._url.shown} is not a table: name one")
        return row[0], row[1]

    def fill(self, built: Path) -> bool:
        """Claim the load, then insert the rows, in one transaction."""
        load = self._load
        with psycopg_errors(
            self._url, f"{load.table} in {self._url.shown} refuses the rows", blames_rows=True
        ):
            connection = self._claimed()
            if connection is None:
                return False
            rows = self._staged(connection, built)
            if load.ever and (found := rows.refused_for_ever()):
                raise taken_meanwhile(load, len(found))
            check_all(load, rows.count, rows.insert())
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        return True

    def judge(self, rows: Path) -> Refused:
        """Do the same, row by row where the table refuses several together."""
        what = f"{self._load.table} in {self._url.shown} refuses the rows"
        with psycopg_errors(self._url, what, blames_rows=True):
            connection = self._claimed()
            if connection is None:
                raise DatabaseTrouble(
                    f"the run {self._load.run_id} has been loaded into {self._load.table} before"
                )
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            return self._staged(connection, rows, numbered=True).judged()

    def _claimed(self) -> "psycopg.Connection[Any] | None":
        """Begin the transaction with the claim; return None if the load was done before."""
        load = self._load
        self._connection = connection = connect(self._url)
        if load.create:
            connection.autocommit = True  # before the load: others need the table at once
            if table_of(connection, self._load.table) is None:
                with _created_at_once():
                    # Only one of two runs creates the table, together with its index.
                    created = "; ".join(create_table(load, _TYPES)).replace(" IF NOT EXISTS", "")
                    connection.execute(sent(created))
            self._check_table(connection)
            connection.autocommit = False
        if load.ever or load.history or load.mode == "replace_batch":
            # Each statement sees what others have committed, including their loads before we got a lock.
            connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        self._oid, schema = self._table(connection)
        self._loads = f"{quoted(schema)}._lume_loads".replace("%", "%%")  # needed with parameters
        claim = (
            f"INSERT INTO {self._loads} (run_id, flow, source_path, target) VALUES (%s, %s, %s, %s) "
            "ON CONFLICT (run_id) DO NOTHING"
        )
        claimed = connection.execute(sent(claim), [load.claim, load.flow, load.source_path, load.table])
        if not claimed.rowcount:
            self.close()
            return None
        if load.history:
            # Two transactions that changed versions at once would not see each other's.
            connection.execute(sent(f"LOCK TABLE {_TYPES.spelled(load.table)} IN SHARE ROW EXCLUSIVE MODE"))
        if load.ever:
            # Only one run at a time looks for its values and adds them.
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s::integer)", [_EVER, self._oid % 2**31])
        if load.mode == "replace_batch":
            # Only one version of the flow at a time replaces the rows of a source.
            batch = f"{load.flow}\n{load.source_path}"
            connection.execute(
                "SELECT pg_advisory_xact_lock(%s::integer, hashtext(%s))", [self._oid % 2**31, batch]
            )
        return connection

    def _staged(
        self, connection: "psycopg.Connection[Any]", file: Path, *, numbered: bool = False
    ) -> StagedRows:
        """Copy the rows to a temporary table; delete the rows of an earlier run of the batch."""
        load = self._load
        given = {column.name: column.type for column in columns_of(connection, self._oid)}
        rows = StagedRows(connection, load, given, numbered=numbered)
        rows.copy(file)
        if load.mode == "replace_batch":
            earlier = f"SELECT run_id FROM {self._loads} WHERE flow = %s AND source_path = %s"
            connection.execute(
                sent(f"DELETE FROM {_TYPES.spelled(load.table)} WHERE {RUN_COLUMN} IN ({earlier})"),
                [load.flow, load.source_path],
            )
        return rows

    def commit(self) -> None:
        """Make the load visible to all."""
        assert self._connection is not None
        with psycopg_errors(self._url, f"{self._url.shown} can't commit"):
            self._connection.commit()
        self.close()

    def close(self) -> None:
        """Close the connection; the server undoes everything not committed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _created_at_once() -> suppress:
    """Suppress the errors of a table, or of its type, that another run creates at this moment."""
    from psycopg.errors import DuplicateObject, DuplicateTable, UniqueViolation

    return suppress(UniqueViolation, DuplicateTable, DuplicateObject)
