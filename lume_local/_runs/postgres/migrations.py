"""Creates the state in PostgreSQL, or brings that of an earlier release to the present form: forward only.

Each step is one transaction, so that a server that is killed between two of them goes on with the next.
"""

import logging
import uuid
from importlib.metadata import version

from lume_local._runs.postgres.postgres_sql import Connection
from lume_local._runs.postgres.postgres_tables import NAMESPACE, TABLES
from lume_local._runs.sql.tables import VERSION
from lume_local._runs.store.records import StoreError

_log = logging.getLogger("lume_local")

STEPS: dict[int, str] = {}
"""By the form that a step begins with; it ends with the next. A step never changes once it is released."""
_OLDEST = 130000
_SKIPPED = 1_000_000_000
"""More transactions than there were since the copy was made."""


async def prepare(connection: Connection, ddl: str) -> None:
    """Create what is there in every form, before a server may write. Raises `StoreError`, psycopg.Error."""
    release = connection.info.server_version
    if release < _OLDEST:
        raise StoreError(f"the state needs PostgreSQL 13 or later, this is {release // 10000}")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(f"the state needs a database in the encoding UTF8, this one has {encoding}")
    row = await (await connection.execute("SELECT pg_is_in_recovery()")).fetchone()
    assert row is not None
    if row[0]:
        raise StoreError("the state needs a PostgreSQL that can be written, this one is a standby")
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('lume prepare', 0))")
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {NAMESPACE}")
        await connection.execute(ddl.encode(), prepare=False)


async def migrate(connection: Connection) -> tuple[str, int]:
    """Bring the state to `VERSION`; its id, and what is added to the numbers of transactions.

    Only the server that may write does so. Raises `StoreError` for a newer one, or another one; psycopg.Error.
    """
    form = await _form(connection)
    if form > VERSION:
        by = await _fact(connection, "written_by")
        raise StoreError(
            f"the state in PostgreSQL was written by lume-client {by[:40]}, in form {form} of the state; this is "
            f"lume-client {version('lume-client')}, which uses form {VERSION}: start the version that wrote it, or "
            "use another database"
        )
    if not form:
        async with connection.transaction():
            await connection.execute(TABLES.encode(), prepare=False)
            await _put(connection, "store_id", uuid.uuid4().hex[:8])
            await _put(connection, "form", str(VERSION))
    await connection.execute("SET statement_timeout = 0")  # a step may take long after a long history
    for at in range(form or VERSION, VERSION):
        async with connection.transaction():
            await connection.execute(STEPS[at].encode(), prepare=False)
            await _put(connection, "form", str(at + 1))
        _log.warning("the state in PostgreSQL is now in form %d, it was in form %d", at + 1, at)
    await _put(connection, "written_by", version("lume-client"))
    return await _fact(connection, "store_id"), await _offset(connection)


async def _form(connection: Connection) -> int:
    """The form of the state, 0 if there is none. Raises `StoreError`."""
    row = await (await connection.execute("SELECT to_regclass('facts')::text")).fetchone()
    assert row is not None
    if row[0] is None:
        return 0
    text = await _fact(connection, "form")
    if not text.isdecimal() or (int(text) < VERSION and int(text) not in STEPS):
        raise StoreError(
            f"its schema {NAMESPACE} has tables, but no state of lume-client: use another database"
        )
    return int(text)


async def _offset(connection: Connection) -> int:
    """A restored database counts its transactions anew: they have to come after those whose changes it has."""
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
    """What is noted under a name, empty if nothing is."""
    row = await (await connection.execute("SELECT value FROM facts WHERE name = $1", [name])).fetchone()
    return "" if row is None else str(row[0])


async def _put(connection: Connection, name: str, value: str) -> None:
    await connection.execute(
        "INSERT INTO facts VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [name, value],
    )
