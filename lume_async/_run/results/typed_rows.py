"""Converts rows to values of a user's class: attrs, a dataclass or a TypedDict."""

import threading
from collections.abc import Callable, MutableSequence, MutableSet, Sequence, Set
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from typing import Any, NoReturn, TypeVar, get_origin

import attrs
import cattrs
from cattrs import Converter, transform_error

from lume_async._base import arguments
from lume_async._base.batched import Items, take_ready
from lume_async._decoding import reason_of
from lume_async._run.results.rows import Rows
from lume_async.errors import ResponseDecodeError

T = TypeVar("T")

_COLLECTIONS = frozenset({list, tuple, set, frozenset, Sequence, MutableSequence, Set, MutableSet})

_preparing = threading.Lock()
"""Held while the converter learns a class."""


class TypedRows(Items[T]):
    """The rows as values of a class, in the same order; columns that it lacks are left out."""

    def __init__(self, rows: Rows, into: type[T]) -> None:
        self._rows, self._into = rows, into
        self._keys = getattr(into, "__required_keys__", frozenset()) | getattr(
            into, "__optional_keys__", frozenset()
        )
        self._number = 0

    async def __anext__(self) -> T:
        return self._value(await anext(self._rows))

    async def aclose(self) -> None:
        await self._rows.aclose()

    def __repr__(self) -> str:
        return f"{self._rows!r} as {self._into.__name__}"

    def _take_ready(self, limit: int) -> list[T]:
        return [self._value(row) for row in take_ready(self._rows, limit)]

    def _value(self, row: dict[str, Any]) -> T:
        self._number += 1
        if self._keys:  # for a TypedDict, cattrs would keep all keys
            row = {name: value for name, value in row.items() if name in self._keys}
        try:
            return _converter().structure(row, self._into)
        except (cattrs.BaseValidationError, ValueError, TypeError, KeyError, ArithmeticError) as error:
            reasons = transform_error(error, path="$", format_exception=reason_of)
        raise ResponseDecodeError(
            f"row {self._number:,} is not a valid {self._into.__name__}: {'; '.join(reasons)}",
            retryable=False,
        )


def check_row_type(into: object) -> None:
    """Raise `TypeError` unless rows can become values of the class."""
    fits = isinstance(into, type) and (
        attrs.has(into) or hasattr(into, "__dataclass_fields__") or hasattr(into, "__total__")
    )
    if not fits:
        raise TypeError(
            f"as_ must be an attrs class, a dataclass or a TypedDict, not {arguments.shown(into)}"
        )
    try:
        with _preparing:
            _converter().get_structure_hook(into)
        return
    except Exception as error:  # a name in an annotation may be anything
        reason = str(error)
    raise TypeError(f"as_: rows can't become values of {arguments.shown(into)}: {reason}")


@cache
def _converter() -> Converter:
    """Return a converter that turns text into the times and numbers of the class; nothing else is coerced."""
    result = Converter(structure_fallback_factory=_unsupported)
    kinds: dict[type, tuple[type, ...]] = {str: (str,), int: (int,), bool: (bool,), bytes: ()}
    kinds |= {float: (int, float, Decimal), Decimal: (int, float, Decimal, str)}
    for kind, accepted in kinds.items():
        result.register_structure_hook(kind, _strict(kind, accepted))
    for moment in (datetime, date, time):
        result.register_structure_hook(moment, _moment(moment))

    wrapped: set[Any] = set()

    @result.register_structure_hook_factory(lambda kind: _is_collection(kind) and kind not in wrapped)
    def lists_only(kind: Any) -> Callable[[Any, Any], Any]:
        wrapped.add(kind)
        try:
            fill = result.get_structure_hook(kind, cache_result=False)
        finally:
            wrapped.remove(kind)

        def hook(value: Any, _type: Any) -> Any:
            if not isinstance(value, list):  # cattrs would take a text for its letters
                raise ValueError(f"expected list, got {type(value).__name__}")
            return fill(value, kind)

        return hook

    return result


def _unsupported(kind: Any) -> NoReturn:
    raise TypeError(f"unsupported type {kind!r}")


def _is_collection(kind: Any) -> bool:
    return (get_origin(kind) or kind) in _COLLECTIONS


def _strict(kind: type, accepted: tuple[type, ...]) -> Callable[[Any, Any], Any]:
    def hook(value: Any, wanted: Any) -> Any:
        if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"expected {kind.__name__}, got {type(value).__name__}")
        if kind is Decimal:
            return Decimal(str(value))
        return wanted(value) if isinstance(wanted, type) else kind(value)  # an enumeration, for example

    return hook


def _moment(kind: Any) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _type: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError(f"expected {kind.__name__} in ISO 8601, got {type(value).__name__}")
        return kind.fromisoformat(value)

    return hook
