"""Operations of the store as coroutine functions."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import CoroutineType
from typing import Any, ParamSpec, TypeVar, cast

from lume_local._runs.records import StoreFailed, StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")


def operation(method: Callable[P, T]) -> "Callable[P, CoroutineType[Any, Any, T]]":
    """Turn a method that takes microseconds into a coroutine function; a thread would only cost time.

    No other task runs during the call, and it can't be cancelled, so it is atomic.
    """

    @wraps(method)
    async def carried_out(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except sqlite3.Error as error:
            raise failure(error) from error

    return cast("Callable[P, CoroutineType[Any, Any, T]]", carried_out)  # mypy infers a Coroutine


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """A block whose changes take effect together or not at all."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    finally:
        if db.in_transaction:  # SQLite itself rolls back on some errors, such as a full disk
            db.execute("ROLLBACK")


def failure(error: sqlite3.Error) -> StoreFailed:
    if is_full(error):
        return StoreUnavailable("the disk is full", is_full=True)
    kind = StoreUnavailable if isinstance(error, sqlite3.OperationalError) else StoreFailed
    return kind(f"{type(error).__name__}: {error}")


def is_full(error: sqlite3.Error) -> bool:
    """Whether it is due to a full disk."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
