"""Rows of PostgreSQL by position and by name, as in SQLite."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, ClassVar


class _NamedRow(tuple[Any, ...]):
    """A row by position and by name; one class for each list of names."""

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
