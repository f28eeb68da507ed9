"""Opens the state in PostgreSQL, for one server at a time."""

import logging
import os
import re
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from random import uniform

import anyio
import psycopg
from psycopg import conninfo, errors

from lume_local._runs.health import Health
from lume_local._runs.postgres import lease
from lume_local._runs.postgres.migrations import migrate, prepare
from lume_local._runs.postgres.postgres_sql import Connection, connect, connections
from lume_local._runs.postgres.postgres_store import PostgresStore
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
    "invalid (port|integer|.* value)": "it is not a valid URL of PostgreSQL",
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


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresStore]:
    """Open the store without a lease, for a process that shares it with no server. Raises `StoreError`."""
    connection = await _prepared(url)
    try:
        with _explained():
            store_id, offset = await migrate(connection)
    finally:
        await connection.close()
    async with connections(url) as pool:
        yield PostgresStore(pool, store_id, offset)


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
                store_id, offset = await migrate(connection)
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
        _check_url(url)
        connection = await connect(url)
        try:
            await prepare(connection, lease.DDL)
        except BaseException:
            await connection.close()
            raise
        return connection


def _check_url(url: str) -> None:
    """Check the URL first, because psycopg's error would quote it. Raises `StoreError`."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise StoreError("it is not a URL such as postgresql://user:password@host/database")
    try:
        conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        raise StoreError(
            "it is not a valid URL of PostgreSQL: quote special characters of a password"
        ) from None


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
