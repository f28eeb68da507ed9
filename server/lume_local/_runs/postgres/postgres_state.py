"""Opens the state in PostgreSQL, for one server at a time.

It is created, or brought from an earlier release to the current form, in one transaction. A state whose tables do not
match its form is left unchanged.
"""

import logging
import os
import re
import socket
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from random import uniform

import anyio
import psycopg
from psycopg import conninfo, errors

from lume_async._base.version import __version__
from lume_local._runs.health import Health
from lume_local._runs.postgres import lease
from lume_local._runs.postgres.postgres_sql import Connection, connect, connections
from lume_local._runs.postgres.postgres_store import PostgresStore
from lume_local._runs.postgres.postgres_tables import NAMESPACE, STEP, TABLES
from lume_local._runs.sql import schemas
from lume_local._runs.sql.tables import VERSION
from lume_local._runs.store.records import StoreAway, StoreError

_log = logging.getLogger("lume_local")

LONGEST = 2.0
"""The longest pause in seconds between two attempts to reach PostgreSQL; the first is `lease.RENEW`."""
_REFUSES = {
    r"pg_hba\.conf": "its pg_hba.conf does not let this user in from this machine, or only with TLS",
    "password|authentication": "it refuses user or password",
    "database .* does not exist|role .* does not exist": "it has no such database or user",
    "SSL (?!SYSCALL|connection has)|certificate": (
        "it can't be reached: TLS fails, or is not what both sides want (sslmode, certificates)"
    ),
    "invalid (port|integer|.* value)": "it is not a valid PostgreSQL URL",
}
"""Patterns in libpq's messages, which name user and database, with their replacements: waiting does not help."""
_AWAY = {
    "too many|connection slots": "it has no connection left, for anybody or for this user",
    "starting up|shutting down|recovery mode": "it is starting or stopping",
    "resolve|translate": "it can't be reached: the name of its host is not known",
    "refused": "it can't be reached: nothing listens at its host and port",
    "timeout|timed out": "it can't be reached: its host does not answer",
}
"""The same for errors that may pass."""

_FIRST_FORM = 2
"""The form of the first release with this state; form 3 has the same tables, and records them."""
_KIND = "postgresql"
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


@asynccontextmanager
async def leased(url: str, health: Health) -> AsyncIterator[tuple[PostgresStore, lease.Lease]]:
    """Open the store once PostgreSQL is available and no other server has it; keep the lease while the block runs.

    Raises:
        StoreError: the state can't be used, and waiting does not fix that.
        LeaseLost: another server has taken it; this one can no longer change anything.
    """
    connection, fence = await _acquired(url, health)
    try:
        had = lease.Lease(url, fence, health)
        async with had.kept():
            with _explained():
                store_id, offset = await _migrate(connection)
            async with connections(url) as pool:
                yield PostgresStore(pool, store_id, offset, fence), had
    finally:
        await connection.close()


async def _acquired(url: str, health: Health) -> tuple[Connection, int]:
    """Return a connection and the fence of the lease; waits while PostgreSQL is unavailable.

    Raises `StoreError` for errors that waiting does not fix.
    """
    pause, said = lease.RENEW, ""

    def waiting(holder: str) -> None:
        nonlocal said
        health.works(lease.WHERE)
        if holder != said:
            said = holder
            _log.warning("the server %s has the state: this one takes over when that one ends", holder)

    while True:
        try:
            connection = await _prepared(url)
            pause = lease.RENEW
            try:
                with _explained():
                    return connection, await lease.acquire(
                        connection, socket.gethostname(), os.getpid(), waiting
                    )
            except BaseException:
                await connection.close()
                raise
        except StoreAway as error:
            health.trouble(lease.WHERE, str(error))
        await anyio.sleep(pause * uniform(0.5, 1))  # noqa: S311 - no secret
        pause = min(2 * pause, LONGEST)


async def _prepared(url: str) -> Connection:
    with _explained():
        # Checked first, because psycopg's error would quote the URL.
        if not url.startswith(("postgresql://", "postgres://")):
            raise StoreError("it is not a URL such as postgresql://user:password@host/database")
        try:
            conninfo.conninfo_to_dict(url)
        except psycopg.Error:
            raise StoreError(
                "it is not a valid PostgreSQL URL: percent-encode special characters of a password"
            ) from None
        connection = await connect(url)
        try:
            await _create_lease(connection)
        except BaseException:
            await connection.close()
            raise
        return connection


@contextmanager
def _explained() -> Iterator[None]:
    """Convert errors of PostgreSQL to `StoreError`, without the URL, user or password."""
    try:
        yield
    except errors.InsufficientPrivilege:
        raise StoreError("its user may not create the schema lume, or does not own it") from None
    except psycopg.OperationalError as error:
        text = str(error)
        if why := _first(_REFUSES, text):
            raise StoreError(why) from None
        raise StoreAway(_first(_AWAY, text) or "it can't be reached") from None
    except psycopg.Error as error:
        raise StoreError(error.diag.message_primary or type(error).__name__) from None
    except TimeoutError:
        raise StoreAway("it no longer answers") from None


def _first(reasons: Mapping[str, str], text: str) -> str | None:
    return next((why for words, why in reasons.items() if re.search(words, text)), None)


# -- the form of the state


async def _create_lease(connection: Connection) -> None:
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
    await _form_of(connection)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('lume prepare', 0))")
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {NAMESPACE}")
        await connection.execute(lease.DDL.encode(), prepare=False)


async def _migrate(connection: Connection) -> tuple[str, int]:
    """Upgrade the state to `VERSION`; return its id and the offset of its transaction numbers.

    Only the server that may write does so. Raises `StoreError` if it can't be upgraded, or psycopg.Error.
    """
    form = await _form_of(connection)
    if form != VERSION:
        async with connection.transaction():
            await connection.execute((STEP if form else TABLES).encode(), prepare=False)
            if not form:
                await _put(connection, "store_id", uuid.uuid4().hex[:8])
            found = await _parts(connection)
            if form and not schemas.is_current(_KIND, found):
                raise StoreError(f"it {schemas.unknown(form, await _fact(connection, 'written_by'))}")
            await _put(connection, "form", str(VERSION))
            await _put(connection, schemas.FACT, schemas.written(found))
            if form:
                _log.warning("the state in PostgreSQL is now in form %d, it was in form %d", VERSION, form)
    found, by = await _parts(connection), await _fact(connection, "written_by")
    if why := schemas.mismatch(_KIND, found, await _fact(connection, schemas.FACT), by):
        raise StoreError(f"it {why}")
    await _put(connection, "written_by", __version__)
    return await _fact(connection, "store_id"), await _offset(connection)


async def _parts(connection: Connection) -> schemas.Parts:
    rows = await (await connection.execute(_PARTS.encode())).fetchall()
    return {row[0]: schemas.part(row[1]) for row in rows}


async def _form_of(connection: Connection) -> int:
    """Return the form of the state, 0 if there is none. Raises `StoreError` for a newer or unknown one."""
    row = await (await connection.execute("SELECT to_regclass('facts')::text")).fetchone()
    assert row is not None
    if row[0] is None:
        return 0
    text = await _fact(connection, "form")
    if not text.isdecimal() or int(text) < _FIRST_FORM:
        raise StoreError(
            f"its schema {NAMESPACE} has tables, but no state of lume-client: use another database"
        )
    if int(text) > VERSION:
        by = await _fact(connection, "written_by")
        raise StoreError(
            f"the state in PostgreSQL was written by lume-client {by[:40]}, in form {text} of the state; this is "
            f"lume-client {__version__}, which uses form {VERSION}: start the version that wrote it, or "
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
