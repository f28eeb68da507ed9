"""Creates the state in PostgreSQL, or brings one of an earlier release to the present form, in one transaction.

A state whose tables do not match its form is left unchanged.
"""

import logging
import uuid
from importlib.metadata import version

from lume_local._runs.postgres.postgres_sql import Connection
from lume_local._runs.postgres.postgres_tables import NAMESPACE, TABLES
from lume_local._runs.sql import schemas
from lume_local._runs.sql.tables import VERSION
from lume_local._runs.store.records import StoreAway, StoreError

_log = logging.getLogger("lume_local")

FIRST_FORM = 2
"""The form of the first release with this state: the present one has the same tables, and records them."""
KIND = "postgresql"
_PARTS = f"""
SELECT 'table ' || relname, string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, collname,
    atthasdef, attidentity, coalesce(attstattarget, -1) = 0), ', ' ORDER BY attname COLLATE "C")
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid LEFT JOIN pg_collation ON attcollation = pg_collation.oid
WHERE relnamespace = '{NAMESPACE}'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
    AND relname != 'lease'
GROUP BY relname
UNION ALL
SELECT 'index ' || relname, concat_ws(' ', indrelid::regclass, indisunique, indpred IS NOT NULL, string_agg(concat_ws(
    ' ', CASE WHEN indkey[attnum - 1] != 0 THEN attname END, format_type(atttypid, atttypmod), indoption[attnum - 1],
    coalesce(attstattarget, -1) = 0), ', ' ORDER BY attnum))
FROM pg_class JOIN pg_index ON indexrelid = pg_class.oid JOIN pg_attribute ON attrelid = indexrelid
WHERE relnamespace = '{NAMESPACE}'::regnamespace AND relname != 'lease_pkey'
GROUP BY relname, indrelid, indisunique, indpred
UNION ALL
SELECT 'check ' || conname, conrelid::regclass::text FROM pg_constraint
WHERE connamespace = '{NAMESPACE}'::regnamespace AND contype = 'c' AND conrelid != 'lease'::regclass
UNION ALL
SELECT 'function ' || proname, concat_ws(' ', pg_get_function_identity_arguments(oid), prosrc) FROM pg_proc
WHERE pronamespace = '{NAMESPACE}'::regnamespace AND proname != 'fence'
UNION ALL
SELECT 'trigger ' || tgname,
    concat_ws(' ', tgrelid::regclass, tgfoid::regproc, tgtype, tgattr, tgenabled, tgqual IS NULL)
FROM pg_trigger JOIN pg_class ON tgrelid = pg_class.oid
WHERE relnamespace = '{NAMESPACE}'::regnamespace AND NOT tgisinternal
"""  # noqa: S608 - constants
"""The schema without the parts that PostgreSQL releases spell differently: conditions and bodies of expressions."""
_OLDEST = 140000
_SKIPPED = 1_000_000_000
"""More transactions than can have happened since the copy was made."""


async def prepare(connection: Connection, ddl: str) -> None:
    """Create the objects that every form has, before a server may write. Raises `StoreError`, psycopg.Error.

    A state of a newer form is left unchanged.
    """
    release = connection.info.server_version
    if release < _OLDEST:
        raise StoreError(f"the state needs PostgreSQL 14 or later, this is {release // 10000}")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(f"the state needs a database in the encoding UTF8, this one has {encoding}")
    row = await (await connection.execute("SELECT pg_is_in_recovery()")).fetchone()
    assert row is not None
    if row[0]:
        raise StoreAway("the state needs a PostgreSQL that can be written, this one is a standby")
    await form_of(connection)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('lume prepare', 0))")
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {NAMESPACE}")
        await connection.execute(ddl.encode(), prepare=False)


async def migrate(connection: Connection) -> tuple[str, int]:
    """Upgrade the state to `VERSION`; return its id and the offset of its transaction numbers.

    Only the server that may write does so. Raises `StoreError` if it can't be upgraded, or psycopg.Error.
    """
    form = await form_of(connection)
    if form != VERSION:
        async with connection.transaction():
            await _to_present_form(connection, form)
    found, by = await _parts(connection), await _fact(connection, "written_by")
    if why := schemas.mismatch(KIND, found, await _fact(connection, schemas.FACT), by):
        raise StoreError(f"it {why}")
    await _put(connection, "written_by", version("lume-client"))
    return await _fact(connection, "store_id"), await _offset(connection)


async def _to_present_form(connection: Connection, form: int) -> None:
    if not form:
        await connection.execute(TABLES.encode(), prepare=False)
        await _put(connection, "store_id", uuid.uuid4().hex[:8])
    found = await _parts(connection)
    if form and not schemas.is_current(KIND, found):
        raise StoreError(f"it {schemas.unknown(form, await _fact(connection, 'written_by'))}")
    await _put(connection, "form", str(VERSION))
    await _put(connection, schemas.FACT, schemas.written(found))
    if form:
        _log.warning("the state in PostgreSQL is now in form %d, it was in form %d", VERSION, form)


async def _parts(connection: Connection) -> schemas.Parts:
    rows = await (await connection.execute(_PARTS.encode())).fetchall()
    return {row[0]: schemas.part(row[1]) for row in rows}


async def form_of(connection: Connection) -> int:
    """Return the form of the state, 0 if there is none. Raises `StoreError` for a newer or unknown one."""
    row = await (await connection.execute("SELECT to_regclass('facts')::text")).fetchone()
    assert row is not None
    if row[0] is None:
        return 0
    text = await _fact(connection, "form")
    if not text.isdecimal() or int(text) < FIRST_FORM:
        raise StoreError(
            f"its schema {NAMESPACE} has tables, but no state of lume-client: use another database"
        )
    if int(text) > VERSION:
        by = await _fact(connection, "written_by")
        raise StoreError(
            f"the state in PostgreSQL was written by lume-client {by[:40]}, in form {text} of the state; this is "
            f"lume-client {version('lume-client')}, which uses form {VERSION}: start the version that wrote it, or "
            "use another database"
        )
    return int(text)


async def _offset(connection: Connection) -> int:
    """Return the offset that puts transactions after the recorded changes: a restored database counts anew."""
    offset = int(await _fact(connection, "xid_offset") or 0)
    query = "SELECT coalesce(max(xid), 0), pg_current_xact_id()::text::bigint FROM changes"
    row = await (await connection.execute(query)).fetchone()
    assert row is not None
    newest, now = int(row[0]), int(row[1])
    if newest < now + offset:
        return offset
    offset = newest - now + _SKIPPED
    await _put(connection, "xid_offset", str(offset))
    return offset


async def _fact(connection: Connection, name: str) -> str:
    """Return the recorded value of a name; empty if there is none."""
    row = await (await connection.execute("SELECT value FROM facts WHERE name = $1", [name])).fetchone()
    return "" if row is None else str(row[0])


async def _put(connection: Connection, name: str, value: str) -> None:
    await connection.execute(
        "INSERT INTO facts VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [name, value],
    )
