"""Operations of a store as coroutine functions, written once, and the parts of it that each database has of its own.

An operation awaits the statements of an `Sql`, which knows their transaction. SQLite executes them directly, so that
no other task runs between two of them; PostgreSQL takes a round trip for each.
"""

# ruff: noqa: B027 - methods without a body are those that one of the two databases does not need.
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence, Sized
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

from lume_local._runs.store.records import Cursor, StatusChange

P = ParamSpec("P")
T = TypeVar("T")
_ROWS_AT_ONCE = 2_000
"""Rows of one statement: SQLite accepts 32,766 values."""


class Row(Protocol):
    """A row of a result, by position and by name."""

    def __getitem__(self, key: int | str, /) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...
    def keys(self) -> Iterable[str]:
        """Return the column names."""
        ...


class Sql(ABC):
    """Executes statements. Values are marked with `?`; a statement is in SQL that both databases understand.

    The base of both databases' classes: one needs no locks, the other no fsync.
    """

    listing_index = ""
    """A hint for the database to find runs in the index `listing`, if it needs one."""
    around_edits: tuple[str, str]
    """The statements before and after a change of the audit, which is otherwise refused."""

    @abstractmethod
    def newest_of_each(self, groups: str, condition: str) -> str:
        """Return a query for the `seq` of the newest runs with a condition, at most `?` for each row of `groups`.

        The condition has no values of its own.
        """

    @abstractmethod
    async def rows(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a result."""

    async def many(self, *queries: tuple[str, Sequence[Any]]) -> list[list[Row]]:
        """Return all rows of results that may be long: they read one state, and nobody waits for them."""
        return [await self.rows(*query) for query in queries]

    async def row(self, query: str, values: Sequence[Any] = ()) -> Row | None:
        """Return the first row of a result; None if there is none."""
        rows = await self.rows(query, values)
        return rows[0] if rows else None

    async def one(self, query: str, values: Sequence[Any] = ()) -> Row:
        """Return the first row of a result that has one."""
        return (await self.rows(query, values))[0]

    @abstractmethod
    async def change(self, query: str, values: Sequence[Any] = ()) -> None:
        """Execute a statement without a result: before the next one that has a result, or at the end."""

    @abstractmethod
    async def changed(self, query: str, values: Sequence[Any] = ()) -> int:
        """Execute a statement; return how many rows it has changed."""

    async def lock(self, *names: str) -> None:
        """Lock these names against other transactions, from the next statement until this transaction ends.

        SQLite has one transaction at a time.
        """

    async def lock_ledger(self, flow: str | None) -> None:
        """Lock the ledger of a flow, or of all flows, in the same way."""

    def must_last(self) -> None:
        """Require that this transaction survives a power cut before its effects are shown.

        In PostgreSQL every commit lasts (`synchronous_commit`).
        """

    async def settled(self) -> None:
        """Wait until all such transactions so far are durable. Raises OSError, `StoreFailed`."""

    # -- for the decorators

    @abstractmethod
    async def single(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do work that is a single statement."""

    @abstractmethod
    async def read(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do work whose statements read one state."""

    @abstractmethod
    async def write(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do work whose changes take effect together or not at all; it may be repeated from its beginning."""


class SqlPart:
    """A part of a store: operations on some of its tables."""

    def __init__(self, sql: Sql) -> None:
        self.sql = sql


class Feed(ABC):
    """The changes of runs, in an order in which no change appears before one that was already returned.

    Each method but `follow` is part of an operation.
    """

    @abstractmethod
    async def note(self, run_id: str, status: str, finished_at: str | None) -> None:
        """Add a change."""

    @abstractmethod
    async def changes(self, after: Cursor, limit: int) -> tuple[list[StatusChange], Cursor]:
        """See `SqlStore`."""

    @abstractmethod
    async def newest(self) -> Cursor:
        """See `SqlStore`."""

    @abstractmethod
    async def forget(self, before: str, limit: int) -> int:
        """Delete changes from before a time without gaps, oldest first; return how many."""

    async def follow(self, visible: Callable[[], None]) -> None:
        """See `SqlStore`."""


class Publishing:
    """The right to publish the outputs of runs: if several servers share the state, one at a time has it.

    This one is for a state file, whose lock ends with the server's process.
    """

    is_shared = False
    """Whether another server may take the state while this one runs."""

    async def allow(self, run_id: str) -> bool:
        """Record that a run's output is about to be published; return False if the run has ended and must not be.

        Raises `StoreUnavailable` if another server has the state.
        """
        return True

    async def is_allowed(self, run_id: str) -> bool:
        """Return whether that is recorded: the run's worker, if alive, may then publish at any time."""
        return True

    async def check(self) -> None:
        """Raise `StoreUnavailable` if another server has the state."""


Method = Callable[P, Awaitable[T]]
if TYPE_CHECKING:
    from types import CoroutineType  # takes parameters from Python 3.13 on

    Operation = Callable[P, CoroutineType[Any, Any, T]]


def statement(method: Method[P, T]) -> "Operation[P, T]":
    """Make an operation of one statement that changes nothing."""
    return _operation(method, "single")


def reading(method: Method[P, T]) -> "Operation[P, T]":
    """Make an operation of several statements that see one state."""
    return _operation(method, "read")


def writing(method: Method[P, T]) -> "Operation[P, T]":
    """Make an operation that takes effect as a whole or not at all."""
    return _operation(method, "write")


def marks(values: Sized) -> str:
    """Return the text between the parentheses of an `IN`."""
    return ", ".join("?" * len(values)) or "NULL"


def given(*conditions: tuple[str, Any]) -> tuple[list[str], list[Any]]:
    """Return the conditions whose value is not None, and their values."""
    found = [(condition, value) for condition, value in conditions if value is not None]
    return [condition for condition, _ in found], [value for _, value in found]


def for_rows(query: str, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the query with rows in place of `{}`, and its values; several times for very many rows."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[start : start + _ROWS_AT_ONCE]
        yield (
            query.format(", ".join(f"({marks(row)})" for row in some)),
            [value for row in some for value in row],
        )


async def change_all(sql: Sql, query: str, rows: Sequence[Sequence[Any]]) -> None:
    """Execute a statement without a result for rows in place of `{}`, which may be none."""
    for one, values in for_rows(query, rows):
        await sql.change(one, values)


def _operation(method: Method[P, T], how: str) -> "Operation[P, T]":
    @wraps(method)
    async def carried_out(*args: P.args, **kwargs: P.kwargs) -> T:
        owner: Any = args[0]
        found: T = await getattr(owner.sql, how)(partial(method, *args, **kwargs))
        return found

    return cast("Operation[P, T]", carried_out)  # mypy infers a Coroutine
