"""Executes statements in PostgreSQL, each operation on a connection of a pool.

Operations that read see one snapshot. Those that write have the level READ COMMITTED, where a statement sees all
that was committed before it, and lock what they decide on (`lock`, a row that is updated). What fails because of
another transaction, or because its connection is lost before the COMMIT, is repeated from its beginning.

If a connection is lost during the COMMIT, nobody knows whether the operation took effect: `StoreUnavailable` that
`is_in_doubt`.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from enum import Enum
from functools import lru_cache
from itertools import count
from random import uniform
from typing import Any, ClassVar, TypeVar

import anyio
import psycopg
from psycopg import errors
from psycopg.adapt import Loader
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from lume_local._runs.postgres.postgres_tables import NAMESPACE
from lume_local._runs.sql.operation import Row
from lume_local._runs.store.records import StoreFailed, StoreUnavailable

T = TypeVar("T")
Connection = psycopg.AsyncConnection[Any]

LEASE_LOCK = 0x6C756D65
"""The number of a lock: shared by transactions that write, taken alone by a server that gets the lease."""
MOST_CONNECTIONS = 10
PATIENCE = 5.0
"""Seconds that an operation waits for a connection."""
_ATTEMPTS = 8
_PAUSE = 0.01
"""Seconds until an operation is repeated, at first; doubled each time."""
_IDLE = 3
"""Seconds after which PostgreSQL ends a transaction whose server sends nothing: it has locks that others need."""
_BUSY = 60
"""Seconds after which it ends a statement."""
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_CONFLICTS = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.UniqueViolation,
    errors.LockNotAvailable,
)
_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)

_current: ContextVar[Connection] = ContextVar("lume_state_connection")
"""The connection of the operation that a task carries out."""


class PostgresSql:
    """See `operation.Sql`.

    Args:
        fence: the number that a server has to have to write, see `lease`; None for tests without one.
    """

    listing_index = ""

    def __init__(self, pool: AsyncConnectionPool[Connection], fence: int | None) -> None:
        self._pool = pool
        self._write = "BEGIN" if fence is None else f"BEGIN; SELECT fence({fence})"

    # -- statements of an operation

    async def rows(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        cursor = await _current.get().execute(_numbered(query), _plain(values))
        return await cursor.fetchall()

    async def row(self, query: str, values: Sequence[Any] = ()) -> Row | None:
        cursor = await _current.get().execute(_numbered(query), _plain(values))
        return await cursor.fetchone()

    async def one(self, query: str, values: Sequence[Any] = ()) -> Row:
        row = await self.row(query, values)
        assert row is not None
        return row

    async def change(self, query: str, values: Sequence[Any] = ()) -> int:
        return (await _current.get().execute(_numbered(query), _plain(values))).rowcount

    async def changes(self, query: str, rows: Sequence[Sequence[Any]]) -> None:
        for values in rows:
            await self.change(query, values)

    async def lock(self, *names: str) -> None:
        await self.row("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", ["\n".join(names)])

    async def lock_ledger(self, flow: str | None) -> None:
        if flow is None:
            return await self.lock("ledger")
        await self.row(
            "SELECT pg_advisory_xact_lock_shared(hashtextextended('ledger', 0)), "
            "pg_advisory_xact_lock(hashtextextended(?, 0))",
            [f"ledger\n{flow}"],
        )

    def must_last(self) -> None:
        """Every commit does (`synchronous_commit`)."""

    async def settled(self) -> None:
        """What is committed survives already."""

    # -- operations

    async def single(self, work: Callable[[], Awaitable[T]]) -> T:
        return await self._repeated(work, begin="")

    async def read(self, work: Callable[[], Awaitable[T]]) -> T:
        return await self._repeated(work, begin=_READ)

    async def write(self, work: Callable[[], Awaitable[T]]) -> T:
        return await self._repeated(work, begin=self._write)

    async def _repeated(self, work: Callable[[], Awaitable[T]], *, begin: str) -> T:
        for attempt in count(1):
            attempted = _Attempt()
            try:
                async with self._pool.connection(PATIENCE) as connection:
                    return await attempted.carry_out(connection, work, begin)
            except (*_CONFLICTS, *_AWAY) as error:
                if attempted.is_in_doubt:
                    raise in_doubt(error) from error
                if attempt >= _attempts(error):
                    raise failure(error) from error
            except psycopg.Error as error:
                raise failure(error) from error
            await anyio.sleep(_PAUSE * 2**attempt * uniform(0.5, 1))  # noqa: S311 - no secret
        raise AssertionError


def _attempts(error: Exception) -> int:
    """How often an operation is tried that has failed so."""
    if isinstance(error, PoolTimeout):
        return 1  # it has waited
    return 3 if isinstance(error, errors.UniqueViolation) else _ATTEMPTS


class _Attempt:
    """One attempt to carry out an operation."""

    def __init__(self) -> None:
        self.is_in_doubt = False

    async def carry_out(self, connection: Connection, work: Callable[[], Awaitable[T]], begin: str) -> T:
        if begin:
            await connection.execute(begin.encode(), prepare=False)
        token = _current.set(connection)
        try:
            result = await work()
            if begin:
                self.is_in_doubt = begin is not _READ
                await connection.execute("COMMIT", prepare=False)
                self.is_in_doubt = False
            return result
        except BaseException as error:
            if isinstance(error, _CONFLICTS):
                self.is_in_doubt = False  # it has said that it did not
            await _undone(connection)
            raise
        finally:
            _current.reset(token)


async def _undone(connection: Connection) -> None:
    """End the transaction without an effect; the pool drops a connection that is lost."""
    with anyio.CancelScope(shield=True), anyio.move_on_after(PATIENCE) as scope:
        try:
            if not connection.closed:
                await connection.rollback()
        except psycopg.Error:
            await connection.close()
    if scope.cancelled_caught:
        await connection.close()


# -- connections


async def connect(url: str) -> Connection:
    """A connection of its own. Raises psycopg.Error."""
    connection: Connection = await psycopg.AsyncConnection.connect(url, **_options())
    await _configure(connection)
    return connection


@asynccontextmanager
async def connections(url: str) -> AsyncIterator[AsyncConnectionPool[Connection]]:
    """A pool, as long as the block lasts. It connects when it has to."""
    logging.getLogger("psycopg.pool").addFilter(_is_foreign)  # what it says names users and hosts
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
    return not (isinstance(record.args, tuple) and _POOL in record.args)


def _options() -> dict[str, Any]:
    """How a server connects."""
    settings = {
        "search_path": NAMESPACE,
        "idle_in_transaction_session_timeout": f"{_IDLE}s",
        "statement_timeout": f"{_BUSY}s",
        "client_min_messages": "warning",
    }
    return {
        "autocommit": True,
        "row_factory": _row_factory,
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
    """Sums of integers."""

    def load(self, data: Any) -> int:
        return int(bytes(data))


class _Named(tuple[Any, ...]):
    """A row by position and by name; one class for each list of names."""

    __slots__ = ()
    places: ClassVar[dict[str, int]]

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.places[key] if isinstance(key, str) else key)

    def keys(self) -> Iterable[str]:
        return self.places


@lru_cache(500)
def _named(names: tuple[str, ...]) -> type[_Named]:
    return type("_Named", (_Named,), {"__slots__": (), "places": {name: n for n, name in enumerate(names)}})


def _row_factory(cursor: Any) -> Any:
    return _named(tuple(column.name for column in cursor.description or ()))


@lru_cache(2000)
def _numbered(query: str) -> Any:
    """A statement with `$1` for the first `?`, and so on. No text within a statement has a question mark."""
    numbers = count(1)
    return "".join(_marked(query, numbers))


def _marked(query: str, numbers: Iterator[int]) -> Iterator[str]:
    first, *others = query.split("?")
    yield first
    for other in others:
        yield f"${next(numbers)}{other}"


def _plain(values: Sequence[Any]) -> list[Any] | None:
    """Values as PostgreSQL takes them: its texts have no NUL, its integers are no booleans."""
    return [_one(value) for value in values] or None


def _one(value: Any) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in value else value
    return int(value) if isinstance(value, bool) else value


# -- errors


def in_doubt(error: Exception) -> StoreUnavailable:
    """A COMMIT without an answer."""
    return StoreUnavailable(
        f"the answer of PostgreSQL to a COMMIT was lost ({type(error).__name__})", is_in_doubt=True
    )


def failure(error: Exception) -> StoreFailed:
    """An error for callers. It names no user, host or password."""
    if getattr(error, "sqlstate", None) == "LM001":
        return StoreUnavailable("another server has the state")
    if isinstance(error, errors.DiskFull):
        return StoreUnavailable("the disk of PostgreSQL is full", is_full=True)
    if isinstance(error, _AWAY) or (
        isinstance(error, _CONFLICTS) and not isinstance(error, errors.UniqueViolation)
    ):
        return StoreUnavailable(f"PostgreSQL can't be used ({type(error).__name__})")
    detail = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return StoreFailed(f"{type(error).__name__}: {detail or 'no details'}")
