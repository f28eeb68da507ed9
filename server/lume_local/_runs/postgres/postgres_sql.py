"""Executes statements in PostgreSQL, each operation on a connection of a pool.

Operations that read see one snapshot. Operations that write use READ COMMITTED, where a statement sees everything
committed before it, and lock what their decisions depend on (`lock`, an updated row). An operation that fails because
of another transaction, or loses its connection before the COMMIT, is repeated from its beginning.

Statements without a result are deferred; the last of them are sent together with the COMMIT, in one round trip.
Nothing else is pipelined: psycopg ends a pipeline with a message that makes PostgreSQL forget the limit on a
transaction's idle time.

If a connection is lost during the COMMIT, nobody knows whether the operation took effect: this raises
`StoreUnavailable` with `is_in_doubt`.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, nullcontext
from contextvars import ContextVar
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from random import uniform
from typing import Any, ClassVar, TypeVar

import anyio
import psycopg
from psycopg import errors
from psycopg.adapt import Loader
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from lume_local._runs.postgres.postgres_tables import NAMESPACE
from lume_local._runs.sql.operation import Row, Sql
from lume_local._runs.store.records import StoreFailed, StoreUnavailable, TooLong

T = TypeVar("T")
Connection = psycopg.AsyncConnection[Any]

LEASE_LOCK = 0x6C756D65
"""The number of a lock, shared by transactions that write and exclusive to a server that acquires the lease."""
MOST_CONNECTIONS = 10
PATIENCE = 5.0
"""Seconds that an operation waits for a connection."""
_ATTEMPTS = 8
_PAUSE = 0.01
"""Seconds before the first repetition of an operation; doubled each time."""
_IDLE = 3
"""Seconds after which PostgreSQL ends an idle transaction, whose locks others need."""
_BUSY = 60
"""Seconds after which PostgreSQL ends a statement."""
UNANSWERED = _BUSY + PATIENCE
"""Seconds without an answer after which a connection is given up, even if nothing reports that it is lost."""
_READ = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",)
_CONFLICTS = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.UniqueViolation,
    errors.LockNotAvailable,
)
_AWAY = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    PoolTimeout,
    TimeoutError,  # no answer
    errors.IdleInTransactionSessionTimeout,  # this server was suspended or busy
    errors.ReadOnlySqlTransaction,  # another one is the primary server now
)

_LOST = ("08", "57", "58", "XX")
"""The classes of errors that end a connection, at any point."""

_current: ContextVar["_Attempt"] = ContextVar("lume_state_operation")
"""The operation that a task carries out."""


class PostgresSql(Sql):
    """See `operation.Sql`.

    Args:
        fence: the number that a server needs to write, see `lease`; None for tests without a lease.
    """

    around_edits: tuple[str, str] = (
        "ALTER TABLE audit DISABLE TRIGGER audit_is_never_changed",
        "ALTER TABLE audit ENABLE TRIGGER audit_is_never_changed",
    )

    def __init__(self, pool: AsyncConnectionPool[Connection], fence: int | None) -> None:
        self._pool = pool
        self._write = ("BEGIN",) if fence is None else ("BEGIN", f"SELECT fence({fence})")
        self.on_written: Callable[[], None] = lambda: None

    def newest_of_each(self, groups: str, condition: str) -> str:
        newest = f"SELECT seq FROM runs WHERE {condition} ORDER BY seq DESC LIMIT ?"  # noqa: S608 - constants
        return f"SELECT seq FROM {groups} CROSS JOIN LATERAL ({newest}) AS newest"  # noqa: S608

    # -- statements of an operation

    async def rows(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        return await (await _current.get().execute(query, values)).fetchall()

    async def change(self, query: str, values: Sequence[Any] = ()) -> None:
        _current.get().put_off(query, values)

    async def changed(self, query: str, values: Sequence[Any] = ()) -> int:
        return (await _current.get().execute(query, values)).rowcount

    async def lock(self, *names: str) -> None:
        await _current.get().lock(f"pg_advisory_xact_lock({_number(*names)})")

    async def lock_ledger(self, flow: str | None) -> None:
        if flow is None:
            return await self.lock("ledger")
        all_flows, one_flow = _number("ledger"), _number("ledger", flow)
        await _current.get().lock(
            f"pg_advisory_xact_lock_shared({all_flows}), pg_advisory_xact_lock({one_flow})"
        )

    # -- operations

    async def single(self, work: Callable[[], Awaitable[T]]) -> T:
        return await self._repeated(work, begin=())

    async def read(self, work: Callable[[], Awaitable[T]]) -> T:
        return await self._repeated(work, begin=_READ)

    async def write(self, work: Callable[[], Awaitable[T]]) -> T:
        result = await self._repeated(work, begin=self._write)
        self.on_written()
        return result

    async def _repeated(self, work: Callable[[], Awaitable[T]], *, begin: Sequence[str]) -> T:
        for attempt in count(1):
            attempted = None
            try:
                async with self._pool.connection(PATIENCE) as connection:
                    attempted = _Attempt(connection, begin)
                    with anyio.fail_after(UNANSWERED):
                        return await attempted.carry_out(work)
            except (*_CONFLICTS, *_AWAY) as error:
                if attempted is not None and attempted.is_in_doubt(error):
                    raise in_doubt(error) from error
                if attempt >= _attempts(error):
                    raise failure(error) from error
            except psycopg.Error as error:
                raise failure(error) from error
            await anyio.sleep(_PAUSE * 2**attempt * uniform(0.5, 1))  # noqa: S311 - no secret
        raise AssertionError


def _attempts(error: Exception) -> int:
    """Return how often an operation that failed with this error is tried."""
    if isinstance(error, PoolTimeout | TimeoutError | errors.QueryCanceled | errors.ProgramLimitExceeded):
        return 1  # it has already waited, or would fail again
    return 3 if isinstance(error, errors.UniqueViolation) else _ATTEMPTS


class _Attempt:
    """One attempt at an operation, in a transaction if `begin` starts one."""

    def __init__(self, connection: Connection, begin: Sequence[str]) -> None:
        self._connection, self._begin = connection, begin
        self._first = list(begin)
        self._put_off: list[tuple[Any, list[Any] | None]] = []
        self._is_ending = False

    def put_off(self, query: str, values: Sequence[Any]) -> None:
        self._put_off.append((_numbered(query), _plain(values)))

    async def lock(self, functions: str) -> None:
        """Take locks, together with the beginning if that is still unsent."""
        self._first.append(f"SELECT {functions}")
        if len(self._first) == 1 or self._put_off:
            await self._sent()

    async def execute(self, query: str, values: Sequence[Any] = ()) -> psycopg.AsyncCursor[Any]:
        """Execute the deferred statements and this one."""
        await self._sent()
        return await self._connection.execute(_numbered(query), _plain(values))

    async def _sent(self) -> None:
        first, self._first = self._first, []
        if first:
            await self._connection.execute("; ".join(first).encode(), prepare=False)
        before, self._put_off = self._put_off, []
        for one in before:
            await self._connection.execute(*one)

    async def carry_out(self, work: Callable[[], Awaitable[T]]) -> T:
        token = _current.set(self)
        try:
            result = await work()
            if self._begin:
                if self._first:
                    await self._sent()
                self._is_ending = True
                async with self._connection.pipeline() if self._put_off else nullcontext():
                    for one in self._put_off:
                        await self._connection.execute(*one)
                    await self._connection.execute("COMMIT")
            return result
        except BaseException:
            with anyio.CancelScope(shield=True), anyio.move_on_after(PATIENCE) as scope:
                try:
                    if not self._connection.closed:
                        await self._connection.rollback()
                except psycopg.Error:
                    await self._connection.close()  # the pool drops it
            if scope.cancelled_caught:
                await self._connection.close()
            raise
        finally:
            _current.reset(token)

    def is_in_doubt(self, error: Exception) -> bool:
        """Return whether the COMMIT may have taken effect although this error replaced its answer."""
        has_answered = isinstance(error, psycopg.Error) and (error.sqlstate or "08")[:2] not in _LOST
        return self._is_ending and self._begin is not _READ and not has_answered


# -- connections


async def connect(url: str) -> Connection:
    """Open a connection outside the pool. Raises psycopg.Error."""
    connection: Connection = await psycopg.AsyncConnection.connect(url, **_options())
    await _configure(connection)
    return connection


@asynccontextmanager
async def connections(url: str) -> AsyncIterator[AsyncConnectionPool[Connection]]:
    """Provide a pool while the block runs. It connects when needed."""
    for name in ("psycopg", "psycopg.pool"):
        logging.getLogger(name).addFilter(_is_foreign)  # their messages name users and hosts
    pool = AsyncConnectionPool(
        url,
        connection_class=Connection,
        kwargs=_options(),
        min_size=1,
        max_size=MOST_CONNECTIONS,
        open=False,
        configure=_configure,
        name=_POOL,
        timeout=PATIENCE,
        reconnect_timeout=PATIENCE,
        num_workers=2,
    )
    async with pool:
        yield pool


_POOL = "lume-state"


def _is_foreign(record: logging.LogRecord) -> bool:
    if _current.get(None) is not None:  # for example, a cancelled operation whose connection was closed
        return False
    about = record.args if isinstance(record.args, tuple) else ()
    connections = [getattr(one, "_conn", one) for one in about]  # a pipeline's, or the connection itself
    return _POOL not in about and not any(
        getattr(one, "row_factory", None) is named_rows for one in connections
    )


class _NamedRow(tuple[Any, ...]):
    """A row by position and by name, as in SQLite; one class for each list of names."""

    __slots__ = ()
    places: ClassVar[dict[str, int]]

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.places[key] if isinstance(key, str) else key)

    def keys(self) -> Iterable[str]:
        return self.places


@lru_cache(500)
def _class_of(names: tuple[str, ...]) -> type[_NamedRow]:
    return type(
        "_NamedRow", (_NamedRow,), {"__slots__": (), "places": {name: n for n, name in enumerate(names)}}
    )


def named_rows(cursor: Any) -> Any:
    """Create the row factory of a cursor; psycopg calls it."""
    return _class_of(tuple(column.name for column in cursor.description or ()))


def _options() -> dict[str, Any]:
    """Return the options of a server's connections."""
    settings = {
        "search_path": NAMESPACE,
        "idle_in_transaction_session_timeout": f"{_IDLE}s",
        "statement_timeout": f"{_BUSY}s",
        "client_min_messages": "warning",
        # Every operation has its index: scans of a whole table or bitmap would gain nothing.
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
        "jit": "off",
    }
    return {
        "autocommit": True,
        "row_factory": named_rows,
        "cursor_factory": psycopg.AsyncRawCursor,
        "application_name": "lume",
        "connect_timeout": int(PATIENCE),
        "keepalives_idle": 2,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": 5000,
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
    }


async def _configure(connection: Connection) -> None:
    connection.adapters.register_loader("numeric", _Whole)


class _Whole(Loader):
    """Loads sums of integers."""

    def load(self, data: Any) -> int:
        return int(bytes(data))


def _number(*names: str) -> int:
    return int.from_bytes(blake2b("\n".join(names).encode(), digest_size=8).digest(), signed=True)


@lru_cache(2000)
def _numbered(query: str) -> Any:
    """Replace the first `?` of a statement by `$1`, and so on. No literal in a statement contains a question mark."""
    first, *others = query.split("?")
    return first + "".join(f"${number}{other}" for number, other in enumerate(others, 1))


def _plain(values: Sequence[Any]) -> list[Any] | None:
    """Convert values for PostgreSQL, whose strings can't contain NUL and whose integers accept no booleans."""
    return [_one(value) for value in values] or None


def _one(value: Any) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in value else value
    return int(value) if isinstance(value, bool) else value


# -- errors


def in_doubt(error: Exception) -> StoreUnavailable:
    """Return the error for a COMMIT without an answer."""
    return StoreUnavailable(
        f"the answer of PostgreSQL to a COMMIT was lost ({type(error).__name__})", is_in_doubt=True
    )


def failure(error: Exception) -> StoreFailed:
    """Convert an error for callers. The result names no user, host or password."""
    if getattr(error, "sqlstate", None) == "LM001":
        return StoreUnavailable("another server has the state")
    if isinstance(error, errors.ProgramLimitExceeded):
        return TooLong(
            "its path is too long for the state in PostgreSQL, which takes 2,600 bytes: use a shorter one"
        )
    if isinstance(error, errors.DiskFull):
        return StoreUnavailable("the disk of PostgreSQL is full", is_full=True)
    if isinstance(error, _AWAY) or (
        isinstance(error, _CONFLICTS) and not isinstance(error, errors.UniqueViolation)
    ):
        return StoreUnavailable(f"PostgreSQL can't be used ({type(error).__name__})")
    detail = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return StoreFailed(f"{type(error).__name__}: {detail or 'no details'}")
