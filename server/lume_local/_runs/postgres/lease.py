"""Decides which of several servers owns the state: the owner has a lease and a fence, a number never used before.

Every transaction that writes checks the fence under a lock that is taken exclusively to acquire the lease. So a
former holder can no longer change anything, regardless of its clock or of how long it was stopped. PostgreSQL's clock
decides.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager

import anyio
import psycopg

from lume_async._base.tasks import task_group
from lume_local._runs.health import Health
from lume_local._runs.postgres.postgres_sql import LEASE_LOCK, UNANSWERED, Connection, connect, failure
from lume_local._runs.store.records import StoreError

_log = logging.getLogger("lume_local")

LEASE = 5.0
"""Seconds of silence after which another server takes over the state."""
RENEW = 1.0
"""Seconds between two renewals, and between two attempts to reach PostgreSQL."""
LOOK = 0.5
"""Seconds between two attempts to get the lease. A server that ends notifies the others, which then try at once."""
WHERE = "the state in PostgreSQL"
_FREED = "lume_lease"
"""The channel that a server notifies when it gives the lease back."""

STANDBY = "lume standby"
"""The application name of a waiting server's connection, followed by its pid and host."""

DDL = f"""
CREATE TABLE IF NOT EXISTS lease (
    one BOOLEAN PRIMARY KEY DEFAULT true CHECK (one),
    fence BIGINT NOT NULL,
    holder TEXT NOT NULL,
    until TIMESTAMPTZ NOT NULL
);
INSERT INTO lease VALUES (true, 0, '', '-infinity') ON CONFLICT DO NOTHING;
CREATE OR REPLACE FUNCTION fence(number BIGINT) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_advisory_xact_lock_shared({LEASE_LOCK});
    IF NOT EXISTS (SELECT 1 FROM lease WHERE fence = number) THEN
        RAISE EXCEPTION 'another server has the state' USING ERRCODE = 'LM001';
    END IF;
END $$;
"""  # noqa: S608 - constants
"""Definitions that exist in every form of the state."""


class LeaseLost(StoreError):
    """Another server has the state: this one must end."""


class Lease:
    def __init__(self, url: str, fence: int, health: Health) -> None:
        self._url, self.fence, self._health = url, fence, health
        self.is_lost = False

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew the lease while the block runs, then give it back. `LeaseLost` ends the block."""
        async with task_group() as tasks:
            tasks.start_soon(self._renew)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
                if not self.is_lost:
                    await self._give_back()

    async def _renew(self) -> None:
        connection = None
        try:
            while True:
                try:
                    connection = connection or await connect(self._url)
                    # Counted from before the request, so it never exceeds the lease.
                    certain = time.monotonic() + LEASE
                    with anyio.fail_after(LEASE):
                        cursor = await connection.execute(
                            "UPDATE lease SET until = clock_timestamp() + make_interval(secs => $1) "
                            "WHERE fence = $2",  # even if it has expired
                            [LEASE, self.fence],
                        )
                    if not cursor.rowcount:
                        self.is_lost = True
                        raise LeaseLost(
                            "another server has taken the state, since this one was silent for too long"
                        )
                except (psycopg.Error, OSError) as error:
                    self._health.trouble(WHERE, str(failure(error)))
                    if connection is not None:
                        await connection.close()
                    connection = None
                else:
                    self._health.works(WHERE, certain)
                await anyio.sleep(RENEW)
        finally:
            if connection is not None:
                await connection.close()

    async def _give_back(self) -> None:
        """Let another server take the lease at once. If that fails, it can do so once the lease has expired."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(LEASE):
            try:
                connection = await connect(self._url)
                try:
                    await connection.execute(
                        "UPDATE lease SET until = '-infinity' WHERE fence = $1", [self.fence]
                    )
                    await connection.execute(f"NOTIFY {_FREED}")
                finally:
                    await connection.close()
            except (psycopg.Error, OSError) as error:
                _log.warning("%s: %s; it expires on its own", WHERE, failure(error))


async def acquire(connection: Connection, host: str, pid: int, waiting: Callable[[str], None]) -> int:
    """Wait for the lease; return the fence of its new holder. Raises psycopg.Error, TimeoutError.

    Args:
        pid: its process ID.
        waiting: called with the name of the current holder.
    """
    await connection.execute(f"LISTEN {_FREED}")
    await connection.execute("SELECT set_config('application_name', $1, false)", [f"{STANDBY} {pid} {host}"])
    seen, since = "", 0.0
    while True:
        silent = seen if anyio.current_time() > since + LEASE else ""
        with anyio.fail_after(UNANSWERED):
            if (fence := await _taken(connection, f"{host}, pid {pid}", silent)) is not None:
                break
            other = await (await connection.execute("SELECT holder, until::text FROM lease")).fetchone()
        assert other is not None
        waiting(other[0])
        if other[1] != seen:
            seen, since = other[1], anyio.current_time()
        async with aclosing(connection.notifies(timeout=LOOK, stop_after=1)) as notified:
            async for _ in notified:
                pass
    await connection.execute("RESET application_name")
    return fence


async def _taken(connection: Connection, holder: str, silent: str) -> int | None:
    """Take the lease if it has expired, once no transaction of its former holder is open.

    Args:
        silent: the end of a lease that has not been renewed for its full length. It has expired even if PostgreSQL's
            clock, which may have been set back, says otherwise.
    """
    free = (
        "SELECT fence FROM lease WHERE until < clock_timestamp() OR until::text = $1 FOR UPDATE SKIP LOCKED"
    )
    async with connection.transaction():
        if await (await connection.execute(free, [silent])).fetchone() is None:
            return None
        await connection.execute("SELECT pg_advisory_xact_lock($1)", [LEASE_LOCK])
        row = await (
            await connection.execute(
                "UPDATE lease SET fence = fence + 1, holder = $1, "
                "until = clock_timestamp() + make_interval(secs => $2) RETURNING fence",
                [holder, LEASE],
            )
        ).fetchone()
    assert row is not None
    return int(row[0])
